"""Changes measured against each other in one run: the figures under "What helped" in docs/performance.md.

python benchmarks/what_helped.py
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F

from crsdun.experiments.bench import Case, prepare, stopwatch
from crsdun.methods.memory import keep_freed_memory
from crsdun.native import functions
from crsdun.networks import blocks, row_chunks
from crsdun.networks.blocks import ChannelGroupNorm

REPETITIONS = 5
CASES = {
    "inference, 3 stages, 256×256": Case("crsdun_3stg", 256),
    "training step, 3 stages, 4×64×64": Case("crsdun_3stg", 64, 4, training=True),
    "inference, crsdun_tiny, 256×256": Case("crsdun_tiny", 256),
    "training step, crsdun_tiny, 2×64×128": Case("crsdun_tiny", 64, 2, training=True, width=128),
}

Variant = Callable[[], AbstractContextManager[object]]


def medians(run: Callable[[], None], variants: dict[str, Variant]) -> dict[str, float]:
    """Median seconds of each variant, with interleaved repetitions after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(REPETITIONS + 1):
        for name, variant in variants.items():
            with variant():
                seconds[name].append(stopwatch(run))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


@contextmanager
def replaced(place: object, name: str, value: object) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def without_kernels() -> AbstractContextManager[object]:
    return replaced(functions, "library", lambda: None)


@contextmanager
def in_bands_of(size: int) -> Iterator[None]:
    with without_kernels(), replaced(row_chunks, "BAND_BYTES", size):
        yield


@contextmanager
def without_onednn() -> Iterator[None]:
    """1×1 convolutions as PyTorch chooses to compute them."""

    def as_chosen(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return F.conv2d(x, weight[:, :, None, None], bias)

    with without_kernels(), replaced(blocks, "pointwise", as_chosen):
        yield


VARIANTS: dict[str, Variant] = {
    "kernels": nullcontext,
    "no kernels": without_kernels,
    "no kernels, 1×1 as PyTorch chooses": without_onednn,
    "no kernels, bands of 1 MB": lambda: in_bands_of(1 << 20),
    "no kernels, no bands": lambda: in_bands_of(1 << 40),
    "bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
}

keep_freed_memory()
every_thread = torch.get_num_threads()
for threads in sorted({1, every_thread}):
    torch.set_num_threads(threads)
    for name, case in CASES.items():
        figures = medians(prepare(case), VARIANTS)
        print(f"{name}, threads: {threads}: " + ", ".join(f"{what} {s:.2f} s" for what, s in figures.items()))
torch.set_num_threads(every_thread)

norm = ChannelGroupNorm(28).requires_grad_(False)
x = (5 + torch.randn(1, 28, 256, 256)).contiguous(memory_format=torch.channels_last)
exact = torch.nn.functional.group_norm(x.double().contiguous(), 28)
for name, found in (("ours", norm(x)), ("PyTorch's", torch.nn.functional.group_norm(x, 28))):
    print(f"GroupNorm, channels last: {name} off by {float((found - exact).abs().max() / exact.abs().max()):.1e}")
