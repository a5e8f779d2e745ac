"""Single layers by the kernels and by PyTorch, forward and backward, interleaved, one thread: docs/performance.md.

python benchmarks/kernels.py
"""

import statistics

import torch

from crsdun.experiments.bench import stopwatch
from crsdun.methods.memory import keep_freed_memory
from crsdun.native import functions
from crsdun.networks import blocks

REPETITIONS = 7
LAYERS = {
    "depthwise 11×11, 28 channels, 4×64×64": (blocks.conv(28, 28, 11, groups=28), (4, 28, 64, 64)),
    "depthwise 5×5, 28 channels, 4×64×64": (blocks.conv(28, 28, 5, groups=28), (4, 28, 64, 64)),
    "layer 1×1, 28 → 112, 4×64×64": (blocks.conv(28, 112), (4, 28, 64, 64)),
    "feed-forward, 28 channels, 4×64×64": (blocks.FeedForward(28), (4, 28, 64, 64)),
    "window attention, 28 channels, 4×64×64": (blocks.WindowAttention(28, 1), (4, 28, 64, 64)),
    "LayerNorm, 28 channels, 4×64×64": (blocks.ChannelLayerNorm(28), (4, 28, 64, 64)),
}

keep_freed_memory()
torch.set_num_threads(1)
library = functions.library
print("| layer | kernels, ms | PyTorch, ms | ratio |\n|---|---|---|---|")
for name, (layer, shape) in LAYERS.items():
    x = torch.rand(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(REPETITIONS + 1):
        for kernels in seconds:
            functions.library = library if kernels else lambda: None
            seconds[kernels].append(stopwatch(lambda layer=layer, x=x: layer(x).sum().backward()))
    ours, theirs = (1000 * statistics.median(values[1:]) for values in seconds.values())
    print(f"| {name} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |")
