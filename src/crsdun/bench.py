"""How fast and how small: time, memory and efficiency of networks, against the machine's own matrix product.

    R           float32 rate of a matrix product of 2048³ on all threads, measured before and after
    efficiency  2 · multiply-adds / (time · R); a training step counts as three forwards

Repetitions of all cases are interleaved, so that a slow minute of the machine hits all of them; the peak of memory is
taken in a process of its own for each case, above what the process holds with the library imported. As in the command
line, freed memory is kept (``runtime.keep_freed_memory``).
"""

from __future__ import annotations

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from crsdun import __version__
from crsdun.evaluation import multiply_adds
from crsdun.networks import create
from crsdun.optics import CassiCamera, random_mask
from crsdun.runtime import keep_freed_memory
from crsdun.training import joint_loss

BANDS, CLASSES = 28, 23

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Case:
    """One thing to measure: a network by name, on scenes of size × size."""

    network: str
    size: int
    batch: int = 1
    training: bool = False

    @property
    def name(self) -> str:
        kind = "train" if self.training else "infer"
        return f"{kind} {self.network} {self.batch}×{self.size}×{self.size}"


CASES = (
    *(
        Case(network, size, batch)
        for size in (256, 512, 660)
        for batch in (1, 4)
        for network in ("crsdun_3stg", "crsdun_5stg")
    ),
    *(Case("crsdun_3stg", size, 4, training=True) for size in (64, 128)),
)
QUICK_CASES = (Case("crsdun_3stg", 256), Case("crsdun_3stg", 64, 4, training=True))


def benchmark(
    cases: tuple[Case, ...] = CASES, repetitions: int = 5, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Measure all cases; plain values, ready for JSON."""
    keep_freed_memory()
    rounds, total = 0, len(cases) * (repetitions + 2)

    def done() -> None:
        nonlocal rounds
        rounds += 1
        if progress is not None:
            progress(rounds, total)

    memory = []
    for case in cases:
        memory.append(_peak_above_import(case))
        done()
    runs = [prepare(case) for case in cases]
    for run in runs:
        run()  # the first run fills caches and is not counted
        done()
    before = matrix_rate()
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(repetitions):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
            done()
    after = matrix_rate()
    rate = (before + after) / 2

    rows = []
    for case, seconds, peak in zip(cases, times, memory, strict=True):
        products = _multiply_adds(case)
        median = statistics.median(seconds)
        rows.append(
            {
                "case": case.name,
                **asdict(case),
                "seconds": median,
                "fastest": min(seconds),
                "slowest": max(seconds),
                "peak_mb": peak,
                "multiply_adds": products,
                "efficiency": 2 * products / (median * rate * 1e9),
            }
        )
    return {
        "crsdun": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "rate_gflops_before": before,
        "rate_gflops_after": after,
        "repetitions": repetitions,
        "rows": rows,
    }


def matrix_rate(size: int = 2048, repetitions: int = 5) -> float:
    """R: GFLOP/s of a float32 matrix product of size³ on all threads, the median of some."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def prepare(case: Case) -> Callable[[], None]:
    """A function that does the case once."""
    torch.manual_seed(0)
    network = create(case.network, bands=BANDS, classes=CLASSES)
    camera = CassiCamera(random_mask(case.size, case.size), bands=BANDS)
    cube = torch.rand(case.batch, BANDS, case.size, case.size)
    measurement = camera.forward(cube)
    if not case.training:
        network.eval()

        def infer() -> None:
            with torch.inference_mode():
                network(measurement, camera)

        return infer

    classes = torch.randint(0, CLASSES, (case.batch, case.size, case.size))
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-4, fused=True)

    def train() -> None:
        loss = joint_loss(network(measurement, camera), cube, classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return train


def _multiply_adds(case: Case) -> int:
    network = create(case.network, bands=BANDS, classes=CLASSES)
    once = case.batch * multiply_adds(network, case.size, case.size)
    return 3 * once if case.training else once


def _peak_above_import(case: Case) -> float | None:
    """Peak resident memory in MB of one run, two for training, in a fresh process; None where it cannot be told."""
    if not STATUS.exists():
        return None
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure_peak, (case,))


def _measure_peak(case: Case) -> float:
    keep_freed_memory()
    imported = _status_mb("VmRSS")
    run = prepare(case)
    for _ in range(2):
        run()
    return _status_mb("VmHWM") - imported


def _status_mb(field: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
