"""How fast and how small: time, memory and efficiency of networks, against the machine's own matrix product.

    R           float32 rate of a matrix product of 2048³ on all threads, measured before and after
    efficiency  2 · multiply-adds / (time · R); a training step counts as three forwards

Repetitions of all cases are interleaved, so that a slow minute of the machine hits all of them; the peak of memory is
taken in a process of its own for each case, above what the process holds with the library imported, and above what it
holds with the network and its input ready. As in the command line, freed memory is kept
(``keep_freed_memory``).
"""

from __future__ import annotations

import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from crsdun.evaluation import ProblemSize, multiply_adds
from crsdun.methods.memory import keep_freed_memory
from crsdun.networks import Network, create
from crsdun.optics import CassiCamera, random_mask
from crsdun.runtime import export, open_engine
from crsdun.training import joint_loss
from crsdun.version import __version__

BANDS, CLASSES = ProblemSize().bands, ProblemSize().classes

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Case:
    """One thing to measure: a network by name, on scenes of size × size."""

    network: str
    size: int
    batch: int = 1
    training: bool = False
    engine: str = "torch"

    @property
    def name(self) -> str:
        kind = "train" if self.training else "infer"
        engine = "" if self.engine == "torch" else f", {self.engine}"
        return f"{kind} {self.network} {self.batch}×{self.size}×{self.size}{engine}"


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


def benchmark(
    cases: tuple[Case, ...] = CASES, repetitions: int = 5, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Measure all cases; plain values, ready for JSON. Networks for other engines are exported first (minutes)."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="crsdun-") as folder:
        return _benchmark(cases, repetitions, progress, Path(folder))


def _benchmark(
    cases: tuple[Case, ...], repetitions: int, progress: Callable[[int, int], None] | None, folder: Path
) -> dict[str, Any]:
    rounds, total = 0, len(cases) * (repetitions + 2)

    def done() -> None:
        nonlocal rounds
        rounds += 1
        if progress is not None:
            progress(rounds, total)

    for network in {case.network for case in cases if case.engine != "torch"}:
        export(_network(network), _exported(network, folder), "onnx")
    memory = []
    for case in cases:
        memory.append(_peaks(case, folder))
        done()
    runs = [prepare(case, folder) for case in cases]
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
    for case, seconds, (peak, above_model) in zip(cases, times, memory, strict=True):
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
                "peak_above_model_mb": above_model,
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
        "scaling": scaling(rows),
    }


def measure(
    open_network: Callable[[], Network], setting: ProblemSize, repetitions: int = 3
) -> dict[str, float | None]:
    """Seconds that a network takes for one scene (median) and its peak of memory, in a process of its own.

    Args:
        open_network: makes the network; a function that another process can be given.
        setting: of the scene.
        repetitions: after a first run that is not counted.

    Returns:
        ``seconds``, ``fastest``, ``slowest``, and ``peak_mb`` above the imported library (None where untold).
    """
    return _in_a_fresh_process(_measure, open_network, setting, repetitions)


def _measure(open_network: Callable[[], Network], setting: ProblemSize, repetitions: int) -> dict[str, float | None]:
    keep_freed_memory()
    imported = status_mb("VmRSS") if STATUS.exists() else 0.0
    run = inference(open_network(), setting)
    run()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "peak_mb": status_mb("VmHWM") - imported if STATUS.exists() else None,
    }


def scaling(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Multiply-adds, seconds and peak of memory for each pixel, relative to 256×256, of inference with one frame.

    1 is linear. Attention among all super-tokens of an image lets the multiply-adds themselves grow faster.
    """
    single = [row for row in rows if row["batch"] == 1 and row["engine"] == "torch" and not row["training"]]
    found = {}
    for base in (row for row in single if row["size"] == 256):
        for row in single:
            if row["network"] == base["network"] and row["size"] > base["size"]:
                pixels = (row["size"] / base["size"]) ** 2
                figures = {what: row[what] / base[what] / pixels for what in ("multiply_adds", "seconds")}
                if row["peak_mb"] is not None:
                    figures["peak_mb"] = row["peak_mb"] / base["peak_mb"] / pixels
                found[row["case"]] = figures
    return found


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


def prepare(case: Case, folder: Path | None = None) -> Callable[[], None]:
    """A function that does the case once; ``folder`` holds the networks exported for other engines."""
    torch.manual_seed(0)
    if case.training:
        return training_step(_network(case.network), case.batch, case.size, case.size)
    if case.engine == "torch":
        network = _network(case.network)
    else:
        assert folder is not None
        network = open_engine(_exported(case.network, folder), case.engine)
    return inference(network, ProblemSize(height=case.size, width=case.size), case.batch)


def inference(network: Network, setting: ProblemSize, batch: int = 1) -> Callable[[], None]:
    """A function that decodes a batch of random scenes once."""
    network.eval()
    camera = CassiCamera(random_mask(setting.height, setting.width), bands=setting.bands, step=setting.step)
    measurement = camera.forward(torch.rand(batch, setting.bands, setting.height, setting.width))

    def infer() -> None:
        with torch.inference_mode():
            network(measurement, camera)

    return infer


def training_step(network: Network, batch: int, height: int, width: int) -> Callable[[], None]:
    """A function that does one training step on a batch of random scenes: forward, loss, backward, Adam."""
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
    once = case.batch * multiply_adds(_network(case.network), case.size, case.size)
    return 3 * once if case.training else once


def _peaks(case: Case, folder: Path) -> tuple[float | None, float | None]:
    """Peak resident memory in MB, above the imported library and above what is ready to run; None where untold.

    Two runs in a fresh process, so that a training step meets its optimiser's state.
    """
    if not STATUS.exists():
        return None, None
    return _in_a_fresh_process(_measure_peaks, case, folder)


def _in_a_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _measure_peaks(case: Case, folder: Path) -> tuple[float, float]:
    keep_freed_memory()
    imported = status_mb("VmRSS")
    run = prepare(case, folder)
    ready = status_mb("VmRSS")
    for _ in range(2):
        run()
    peak = status_mb("VmHWM")
    return peak - imported, peak - ready


def status_mb(field: str) -> float:
    """A figure of this process in MB, such as ``VmRSS`` and its peak ``VmHWM``."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
