"""The library beside the same written plainly, in one run: ``crsdun bench --against plain``.

    time ratio        time of the plain network / time of ours in the same repetition, median of the repetitions
    memory ratio      peak of the plain network / peak of ours
    efficiency, peak  as in ``bench``, R with as many threads

All is measured with one thread, then with as many as PyTorch uses here; with each number of threads, repetitions of
both networks and of all cases are interleaved. Solvers have no plain counterpart: the time of their iterations is
given relative to one A x and one Aᵀ y of the plain camera, which every iteration contains.

What is plain is benchmarks/NAME.py of a clone of the repository. It defines ``like(network)``, the same network with
the same weights, and ``Camera(camera)`` with ``forward`` and ``adjoint``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from crsdun.errors import InputError
from crsdun.evaluation import ProblemSize
from crsdun.experiments.bench import (
    BANDS,
    CLASSES,
    QUICK_CASES,
    BenchRow,
    Case,
    bench_row,
    check_repetitions,
    costs_apart,
    counter,
    interleaved,
    machine,
    random_exposure,
    run_of,
)
from crsdun.methods import Progress, keep_freed_memory
from crsdun.networks import create
from crsdun.solvers import create_solver

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


SCENE = ProblemSize()


@dataclass(frozen=True)
class Plan:
    """What is measured: cases with both networks, and solvers on a scene."""

    cases: tuple[Case, ...]
    solvers: tuple[str, ...] = ()
    scene: ProblemSize = SCENE


FULL = Plan(
    (
        Case("crsdun_3stg", 256),
        Case("crsdun_3stg", 512),
        Case("crsdun_3stg", 64, 4, training=True),
        Case("crsdun_3stg", 128, 4, training=True),
        Case("crsdun_tiny", 256),
        Case("crsdun_tiny", 64, 2, training=True, width=128),
    ),
    ("gap-tv", "admm-tv", "lr-tv"),
)
QUICK = Plan(QUICK_CASES)


@dataclass(frozen=True)
class NetworkRow:
    """A case computed by both networks with so many threads."""

    threads: int
    theirs: BenchRow
    ours: BenchRow
    time_ratio: float

    @property
    def memory_ratio(self) -> float | None:
        """None where the system does not report memory."""
        ours, theirs = self.ours.timing.peak_mb, self.theirs.timing.peak_mb
        return None if ours is None or theirs is None else theirs / ours

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        ratios = {"time_ratio": self.time_ratio, "memory_ratio": self.memory_ratio}
        figures = {"ours": self.ours.figures(), "theirs": self.theirs.figures()}
        return {**self.ours.case.plain(), "threads": self.threads, **ratios, **figures}


@dataclass(frozen=True)
class SolverRow:
    """A solver with so many threads: milliseconds of an iteration, and of one A x and one Aᵀ y of the plain camera.

    Attributes:
        ratio: time of the iteration / time of A x and Aᵀ y in the same repetition, median.
    """

    solver: str
    threads: int
    iterations: int
    milliseconds: float
    fastest: float
    slowest: float
    camera_milliseconds: float
    ratio: float


@dataclass(frozen=True)
class SideBySide:
    """All rows, and by number of threads the machine's own rate in GFLOP/s, before and after."""

    against: str
    repetitions: int
    rates: dict[int, tuple[float, float]]
    networks: list[NetworkRow]
    solvers: list[SolverRow]

    def plain(self) -> dict[str, Any]:
        """As plain JSON values, with versions and machine."""
        return {
            **machine(),
            "against": self.against,
            "repetitions": self.repetitions,
            "rates": [
                {"threads": threads, "rate_gflops_before": before, "rate_gflops_after": after}
                for threads, (before, after) in self.rates.items()
            ],
            "rows": [row.plain() for row in self.networks],
            "solvers": [asdict(row) for row in self.solvers],
        }


def side_by_side(
    against: str, plan: Plan = FULL, repetitions: int = 5, progress: Progress | None = None
) -> SideBySide:
    """Measure the library against ``benchmarks/{against}.py``.

    Raises:
        InputError: there is no such file, or the number of repetitions is out of range.
    """
    check_repetitions(repetitions)
    open_yardstick(against)
    keep_freed_memory()
    counts = sorted({1, torch.get_num_threads()})
    prepares = [partial(prepare, case, name) for case in plan.cases for name in (against, None)]
    solvers = [SolverRun(name, plan.scene) for name in plan.solvers]
    camera = [CameraRun(against, plan.scene)] if solvers else []
    timed = len(prepares) + len(camera) + len(solvers)
    done = counter(progress, len(counts) * (len(prepares) + timed * (repetitions + 1)))

    costs = {}
    for threads in counts:  # before this process has grown
        with threads_of_torch(threads):
            costs[threads] = costs_apart(prepares, done)
    runs: list[Callable[[], Any]] = [*(ready() for ready in prepares), *camera, *solvers]
    measured = SideBySide(against, repetitions, rates={}, networks=[], solvers=[])
    for threads in counts:
        with threads_of_torch(threads):
            rounds = interleaved(runs, repetitions, done)
        measured.rates[threads] = rounds.rate_before, rounds.rate_after
        seconds = iter(rounds.seconds)
        for case, *both in zip(plan.cases, costs[threads][::2], costs[threads][1::2], strict=True):
            times = next(seconds), next(seconds)
            theirs, ours = (bench_row(case, each, cost, rounds.rate) for each, cost in zip(times, both, strict=True))
            measured.networks.append(NetworkRow(threads, theirs, ours, ratio(*times)))
        if solvers:
            step = [each / CameraRun.steps for each in next(seconds)]
            measured.solvers.extend(
                solver_row(solver, threads, each, step) for solver, each in zip(solvers, seconds, strict=True)
            )
    return measured


def prepare(case: Case, against: str | None = None) -> Callable[[], None]:
    """A function that runs the case once, with our network or with the same written plainly."""
    torch.manual_seed(0)
    network = create(case.network, bands=BANDS, classes=CLASSES)
    return run_of(case, network if against is None else open_yardstick(against).like(network))


def open_yardstick(name: str) -> Any:
    """The module benchmarks/NAME.py of the clone that this package runs from.

    Raises:
        InputError: there is no such file, or it holds no network.
    """
    path = BENCHMARKS / f"{name}.py"
    spec = spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(
            f"there is no benchmarks/{name}.py beside this crsdun",
            "it is part of the repository, not of the installed package: clone it, install it with pip install -e ., "
            "and measure against plain",
        )
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "like"):
        raise InputError(f"{path} holds no network to measure against", "measure against plain")
    return module


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Inside the block PyTorch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """Median over the repetitions."""
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


class SolverRun:
    """Decodes a random scene without learning, with the settings the solver has by default.

    Attributes:
        iterations: of the last run.
    """

    def __init__(self, name: str, scene: ProblemSize):
        torch.manual_seed(0)
        self.solver = create_solver(name)
        self.measurement, self.camera = random_exposure(scene)
        self.iterations = 0

    def __call__(self) -> None:
        reports = [0]
        self.solver(self.measurement, self.camera, lambda done, total: reports.append(done))
        # Those that were not needed are reported all at once.
        self.iterations = sum(after - before == 1 for before, after in pairwise(reports))


class CameraRun:
    """A x and Aᵀ y of the plain camera, ``steps`` times."""

    steps = 20

    def __init__(self, against: str, scene: ProblemSize):
        torch.manual_seed(0)
        _, camera = random_exposure(scene)
        self.camera = open_yardstick(against).Camera(camera)
        self.cube = torch.rand(1, scene.bands, scene.height, scene.width)

    def __call__(self) -> None:
        with torch.inference_mode():
            for _ in range(self.steps):
                self.camera.adjoint(self.camera.forward(self.cube))


def solver_row(run: SolverRun, threads: int, seconds: Sequence[float], camera_seconds: Sequence[float]) -> SolverRow:
    """The times of whole runs as times of an iteration, beside those of the plain camera."""
    each = [value / run.iterations for value in seconds]
    median, fastest, slowest, camera = (
        1000 * value for value in (statistics.median(each), min(each), max(each), statistics.median(camera_seconds))
    )
    name, relative = run.solver.name, ratio(each, camera_seconds)
    return SolverRow(name, threads, run.iterations, median, fastest, slowest, camera, relative)
