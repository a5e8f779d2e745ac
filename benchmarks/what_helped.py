"""Changes measured against each other in one run: the figures under "What helped" in docs/performance.md.

python benchmarks/what_helped.py
"""

import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F

import crsdun
from crsdun.experiments.bench import Case, prepare, stopwatch, training_step
from crsdun.methods.memory import keep_freed_memory
from crsdun.networks import blocks, row_chunks
from crsdun.networks.blocks import ChannelGroupNorm

REPETITIONS = 5


def medians(variants: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Median seconds of each variant, with interleaved repetitions after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(REPETITIONS + 1):
        for name, run in variants.items():
            seconds[name].append(stopwatch(run))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


cases = {"inference 256×256": Case("crsdun_3stg", 256), "training 4×64×64": Case("crsdun_3stg", 64, 4, training=True)}
runs = {name: prepare(case) for name, case in cases.items()}

before = medians(runs)
keep_freed_memory()
for name, seconds in medians(runs).items():
    print(f"{name}: {before[name]:.2f} s, freed memory kept {seconds:.2f} s")


def with_bands(run: Callable[[], None], size: int) -> Callable[[], None]:
    def limited() -> None:
        row_chunks.BAND_BYTES = size
        run()

    return limited


for name, run in runs.items():
    variants = {f"{size} MB": with_bands(run, size << 20) for size in (1, 2, 4, 8)}
    figures = medians({**variants, "whole": with_bands(run, 1 << 40)})
    print(f"{name}, bands of " + ", ".join(f"{size} {seconds:.2f} s" for size, seconds in figures.items()))


def with_fused_attention(run: Callable[[], None]) -> Callable[[], None]:
    def fused() -> None:
        written_out, blocks.attend = (
            blocks.attend,
            lambda q, k, v, bias=None: F.scaled_dot_product_attention(q, k, v, attn_mask=bias),
        )
        run()
        blocks.attend = written_out

    return fused


training = runs["training 4×64×64"]
figures = medians({"written out": training, "PyTorch's": with_fused_attention(training)})
print("training 4×64×64, attention " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items()))


def with_bfloat16(run: Callable[[], None]) -> Callable[[], None]:
    def lower() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            run()

    return lower


for name, run in runs.items():
    figures = medians({"float32": run, "bfloat16": with_bfloat16(run)})
    print(f"{name}, " + ", ".join(f"{precision} {seconds:.2f} s" for precision, seconds in figures.items()))

widths = {}
for width in (12, 14, 16):
    network = crsdun.create("crsdun_2stg", bands=28, classes=23, width=width)
    widths[f"width {width}"] = training_step(network, batch=4, height=64, width=128)
figures = medians(widths)
print("training 2 stages, 4×64×128, " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items()))

norm = ChannelGroupNorm(28).requires_grad_(False)
x = (5 + torch.randn(1, 28, 256, 256)).contiguous(memory_format=torch.channels_last)
exact = torch.nn.functional.group_norm(x.double().contiguous(), 28)
ours, theirs = norm(x), torch.nn.functional.group_norm(x, 28)
print(f"GroupNorm, channels last: ours off by {float((ours - exact).abs().max() / exact.abs().max()):.1e}", end=", ")
print(f"PyTorch's by {float((theirs - exact).abs().max() / exact.abs().max()):.1e}")
