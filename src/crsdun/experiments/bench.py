"""How fast and how small networks are: time, memory and efficiency, relative to the machine's own matrix product.

    R           float32 rate of a matrix product of 2048³ with as many threads, measured before and after
    efficiency  2 · multiply-adds / (time · R); a training step counts as three forward passes

Repetitions of all cases are interleaved, so that a slow minute of the machine affects all of them. The peak of memory
is measured in a fresh process for each case, above what the process holds with the library imported and above what it
holds with the network and its input ready. As in the command line, freed memory is kept (``keep_freed_memory``).
"""

from __future__ import annotations

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.evaluation import ProblemSize, multiply_adds
from crsdun.machine import processor_in_words
from crsdun.methods import Progress, keep_freed_memory
from crsdun.native import library
from crsdun.networks import Network, create
from crsdun.optics import CassiCamera, random_mask
from crsdun.runtime import export, open_engine
from crsdun.storage import scratch_folder
from crsdun.training import joint_loss
from crsdun.version import __version__

BANDS, CLASSES = ProblemSize().bands, ProblemSize().classes

STATUS = Path("/proc/self/status")
MOST_REPETITIONS = 10_000


@dataclass(frozen=True)
class Case:
    """One thing to measure: a network by name, on scenes that are square where no ``width`` is given."""

    network: str
    height: int
    batch: int = 1
    training: bool = False
    engine: str = "torch"
    width: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.height if self.width is None else self.width

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def name(self) -> str:
        kind = "train" if self.training else "infer"
        engine = "" if self.engine == "torch" else f", {self.engine}"
        return f"{kind} {self.network} {'×'.join(map(str, (self.batch, *self.size)))}{engine}"

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"case": self.name, **asdict(self), "width": self.size[1]}


CASES = (
    *(
        Case(network, size, batch)
        for size in (256, 512, 660)
        for batch in (1, 4)
        for network in ("crsdun_3stg", "crsdun_5stg")
    ),
    Case("crsdun_3stg", 1024),
    Case("crsdun_tiny", 256),
    *(Case(f"{network}+seg", 256) for network in ("mstpp", "ssr_6stg", "ssr_9stg", "rcump_9stg")),
    *(Case("crsdun_3stg", size, 4, training=True) for size in (64, 128)),
)
ENGINE_CASES = tuple(Case("crsdun_3stg", 256, engine=engine) for engine in ("onnxruntime", "openvino"))
QUICK_CASES = (Case("crsdun_3stg", 256), Case("crsdun_3stg", 64, 4, training=True))


@dataclass(frozen=True)
class Timing:
    """Seconds (median) of some repetitions, and the peak of memory.

    Attributes:
        peak_mb: above the imported library; None where the system does not report it.
    """

    seconds: float
    fastest: float
    slowest: float
    peak_mb: float | None

    @classmethod
    def of(cls, seconds: Sequence[float], peak_mb: float | None) -> Timing:
        return cls(statistics.median(seconds), min(seconds), max(seconds), peak_mb)


class RunCost(NamedTuple):
    """What a run takes in a process of its own.

    Attributes:
        peak_mb: peak resident memory in MB above the imported library; None where the system does not report it.
        peak_above_ready_mb: the same above what is ready to run.
        processor_seconds: of the last repetition, of all threads together; other work on the machine hardly matters.
    """

    peak_mb: float | None
    peak_above_ready_mb: float | None
    processor_seconds: float


@dataclass(frozen=True)
class BenchRow:
    """A measured case: its timing, the peak of memory above what is ready to run, and the cost of one repetition."""

    case: Case
    timing: Timing
    peak_above_model_mb: float | None
    multiply_adds: int
    efficiency: float

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.case.plain(), **self.figures()}

    def figures(self) -> dict[str, Any]:
        """What was measured, as plain JSON values."""
        rest = {name: getattr(self, name) for name in ("peak_above_model_mb", "multiply_adds", "efficiency")}
        return {**asdict(self.timing), **rest}


@dataclass(frozen=True)
class Benchmark:
    """All cases, and the machine's own rate in GFLOP/s."""

    rate_before: float
    rate_after: float
    repetitions: int
    rows: list[BenchRow]

    def plain(self) -> dict[str, Any]:
        """As plain JSON values, with versions and machine."""
        return {
            **machine(),
            "threads": torch.get_num_threads(),
            "rate_gflops_before": self.rate_before,
            "rate_gflops_after": self.rate_after,
            "repetitions": self.repetitions,
            "rows": [row.plain() for row in self.rows],
            "scaling": scaling(self.rows),
        }


def benchmark(cases: tuple[Case, ...] = CASES, repetitions: int = 5, progress: Progress | None = None) -> Benchmark:
    """Measure all cases. Networks for other engines are exported first, which takes minutes."""
    check_repetitions(repetitions)
    keep_freed_memory()
    with scratch_folder() as folder:
        return _benchmark(cases, repetitions, progress, folder)


def _benchmark(cases: tuple[Case, ...], repetitions: int, progress: Progress | None, folder: Path) -> Benchmark:
    done = counter(progress, len(cases) * (repetitions + 2))
    for network in {case.network for case in cases if case.engine != "torch"}:
        export(_network(network), _exported(network, folder), "onnx")
    costs = costs_apart([partial(prepare, case, folder) for case in cases], done)
    rounds = interleaved([prepare(case, folder) for case in cases], repetitions, done)
    rows = [
        bench_row(case, seconds, cost, rounds.rate)
        for case, seconds, cost in zip(cases, rounds.seconds, costs, strict=True)
    ]
    return Benchmark(rounds.rate_before, rounds.rate_after, repetitions, rows)


def check_repetitions(repetitions: int) -> None:
    """Raise an InputError if so many cannot be meant."""
    if not 1 <= repetitions <= MOST_REPETITIONS:
        raise InputError(f"the number of repetitions must be 1 to {MOST_REPETITIONS:,}, not {repetitions}")


def counter(progress: Progress | None, total: int) -> Callable[[], None]:
    """A function to call after each of ``total`` steps."""
    steps = count(1)

    def done() -> None:
        if progress is not None:
            progress(next(steps), total)

    return done


def costs_apart(prepares: Sequence[Callable[[], Callable[[], Any]]], done: Callable[[], None]) -> list[RunCost]:
    """What each run takes in a process of its own; twice, so that a training step includes the optimiser's state."""
    costs = []
    for prepare in prepares:
        costs.append(run_apart(prepare, repetitions=2))
        done()
    return costs


@dataclass(frozen=True)
class Rounds:
    """Interleaved repetitions: the seconds of every run, and the machine's own rate in GFLOP/s."""

    seconds: list[list[float]]
    rate_before: float
    rate_after: float

    @property
    def rate(self) -> float:
        return (self.rate_before + self.rate_after) / 2


def interleaved(runs: Sequence[Callable[[], Any]], repetitions: int, done: Callable[[], None]) -> Rounds:
    """Repetitions of all runs in turn, between two measurements of R; ``done`` is called after each run."""
    for run in runs:
        run()  # the first run fills caches and is not counted
        done()
    before = matrix_rate()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repetitions):
        for run, seconds in zip(runs, times, strict=True):
            seconds.append(stopwatch(run))
            done()
    return Rounds(times, before, matrix_rate())


def bench_row(case: Case, seconds: Sequence[float], cost: RunCost, rate: float) -> BenchRow:
    """What was measured of a case on a machine of this rate in GFLOP/s."""
    timing, products = Timing.of(seconds, cost.peak_mb), _multiply_adds(case)
    return BenchRow(case, timing, cost.peak_above_ready_mb, products, 2 * products / (timing.seconds * rate * 1e9))


def time_network(open_network: Callable[[], Network], problem: ProblemSize, repetitions: int = 3) -> Timing:
    """Time a network on one scene, in a fresh process.

    Args:
        open_network: makes the network; must be picklable.
        problem: of the scene.
        repetitions: after a first run that is not counted.
    """
    return _in_a_fresh_process(_time_network, open_network, problem, repetitions)


def _time_network(open_network: Callable[[], Network], problem: ProblemSize, repetitions: int) -> Timing:
    keep_freed_memory()
    imported = status_mb("VmRSS") if STATUS.exists() else 0.0
    run = inference(open_network(), problem)
    run()
    seconds = [stopwatch(run) for _ in range(repetitions)]
    return Timing.of(seconds, status_mb("VmHWM") - imported if STATUS.exists() else None)


def stopwatch(run: Callable[[], Any]) -> float:
    """Seconds that a function takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def scaling(rows: Sequence[BenchRow]) -> dict[str, dict[str, float]]:
    """Multiply-adds, seconds and peak of memory per pixel, relative to 256×256, of inference with one frame.

    1 is linear. Attention among all super-tokens of an image makes the multiply-adds themselves grow faster.
    """
    single = [row for row in rows if row.case.batch == 1 and row.case.engine == "torch" and not row.case.training]
    ratios = {}
    for base in (row for row in single if row.case.size == (256, 256)):
        for row in single:
            if row.case.network == base.case.network and row.case.pixels > base.case.pixels:
                pixels = row.case.pixels / base.case.pixels
                small, large = base.plain(), row.plain()
                figures = [name for name in ("multiply_adds", "seconds", "peak_mb") if large[name] is not None]
                ratios[row.case.name] = {name: large[name] / small[name] / pixels for name in figures}
    return ratios


def matrix_rate(size: int = 2048, repetitions: int = 5) -> float:
    """R: median GFLOP/s of a float32 matrix product of size³."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    seconds = statistics.median(stopwatch(lambda: a @ b) for _ in range(repetitions))
    return 2 * size**3 / seconds / 1e9


def prepare(case: Case, folder: Path | None = None) -> Callable[[], None]:
    """A function that runs the case once; ``folder`` holds the networks exported for other engines."""
    torch.manual_seed(0)
    if case.engine == "torch":
        return run_of(case, _network(case.network))
    assert folder is not None
    return run_of(case, open_engine(_exported(case.network, folder), case.engine))


def run_of(case: Case, network: nn.Module) -> Callable[[], None]:
    """A function that runs the case once with this network."""
    height, width = case.size
    if case.training:
        return training_step(network, case.batch, height, width)
    return inference(network, ProblemSize(height=height, width=width), case.batch)


def random_exposure(problem: ProblemSize, batch: int = 1) -> tuple[Tensor, CassiCamera]:
    """A measurement of random scenes, and the camera that took it."""
    camera = CassiCamera(random_mask(problem.height, problem.width), bands=problem.bands, step=problem.step)
    return camera.forward(torch.rand(batch, problem.bands, problem.height, problem.width)), camera


def inference(network: nn.Module, problem: ProblemSize, batch: int = 1) -> Callable[[], None]:
    """A function that decodes a batch of random scenes once."""
    network.eval()
    measurement, camera = random_exposure(problem, batch)

    def infer() -> None:
        with torch.inference_mode():
            network(measurement, camera)

    return infer


def training_step(network: nn.Module, batch: int, height: int, width: int) -> Callable[[], None]:
    """A function that takes one training step on a batch of random scenes: forward, loss, backward, Adam."""
    camera = CassiCamera(random_mask(height, width), bands=BANDS)
    cube = torch.rand(batch, BANDS, height, width)
    measurement = camera.forward(cube)
    classes = torch.randint(0, CLASSES, (batch, height, width))
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-4, fused=True)

    def train() -> None:
        loss = joint_loss(network(measurement, camera), cube, classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return train


def _network(name: str) -> Network:
    return create(name, bands=BANDS, classes=CLASSES)


def _exported(network: str, folder: Path) -> Path:
    return folder / f"{network}.onnx"


def _multiply_adds(case: Case) -> int:
    once = case.batch * multiply_adds(_network(case.network), *case.size)
    return 3 * once if case.training else once


def run_apart(prepare: Callable[[], Callable[[], Any]], repetitions: int = 1) -> RunCost:
    """Run something in a fresh process.

    Args:
        prepare: makes ready what runs, and returns it; called in that process, so it must be picklable.
        repetitions: number of runs.
    """
    cost: RunCost = _in_a_fresh_process(_run_apart, prepare, repetitions)
    return cost


def _in_a_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    threads = (torch.get_num_threads(),)
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, threads) as pool:
        return pool.apply(function, arguments)


def _run_apart(prepare: Callable[[], Callable[[], Any]], repetitions: int) -> RunCost:
    keep_freed_memory()
    known = STATUS.exists()
    imported = status_mb("VmRSS") if known else 0.0
    run = prepare()
    ready = status_mb("VmRSS") if known else 0.0
    for _ in range(repetitions):
        start = time.process_time()
        run()
        seconds = time.process_time() - start
    peak = status_mb("VmHWM") if known else None
    return RunCost(None, None, seconds) if peak is None else RunCost(peak - imported, peak - ready, seconds)


def machine() -> dict[str, Any]:
    """What has been measured, and on what, as plain JSON values."""
    return {
        "crsdun": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processor": processor_in_words(),
        "kernels": library() is not None,
    }


def status_mb(field: str) -> float:
    """The resident memory ``VmRSS`` of this process in MB, or its peak ``VmHWM``."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
