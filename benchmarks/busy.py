"""What commands lose beside a process that wants all cores: "A busy machine" in docs/performance.md.

python benchmarks/busy.py              time alone and beside a busy process, with three ways to wait
python benchmarks/busy.py --trainings  one training on all cores, or one on each

A busy process has as many threads as there are cores, so that half of the machine is a fair share, and twice the time
alone is the best one can expect. It is one that multiplies matrices with OpenMP, or a plain loop for each core.
Each figure is the median of at most three runs. A measurement waits until still other processes leave the machine
(a minute in all) and is repeated if they disturbed it; the share of a core that they took is stored. Writes
busy.json or trainings.json here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from crsdun.machine import cores, processor
from crsdun.threads import computing_with

HERE = Path(__file__).parent

# How the threads of OpenMP wait: what a process of its own has in its environment.
CRSDUN = "crsdun"
WAYS: dict[str, dict[str, str]] = {CRSDUN: {}, "OpenMP": {}, "passive": {"OMP_WAIT_POLICY": "passive"}}

TRAININGS = ("training step, crsdun_tiny 2×64×128", "training step, crsdun_3stg 4×64×64")

MATRICES = "import torch; a = torch.rand(600, 600)\nwhile True: a @ a"
LOOP = "while True: sum(range(1000))"
BUSY = {"alone": (), "beside matrices": (MATRICES,), "beside loops": (LOOP,) * cores()}

RUNS, LONG_S, WARM_S = 3, 3.0, 3.0
DISTURBED = 0.1  # of a core
TRIES, PATIENCE_S = 2, 60.0
TRAINING_S = 10.0
STARTED = time.monotonic()


# -- in a process of its own -----------------------------------------------------------------------------------------


def cases() -> dict[str, Callable[[], Callable[[], Any]]]:
    """What is run, ready to be made."""
    import torch

    from crsdun.evaluation import ProblemSize
    from crsdun.experiments.bench import BANDS, CLASSES, inference, training_step
    from crsdun.networks import create
    from crsdun.optics import CassiCamera, random_mask
    from crsdun.solvers import create_solver

    def decoding(name: str, size: int) -> Callable[[], Any]:
        return inference(create(name, BANDS, CLASSES), ProblemSize(height=size, width=size))

    def solving(name: str, size: int, iterations: int) -> Callable[[], Any]:
        solver = create_solver(name, iterations=iterations)
        camera = CassiCamera(random_mask(size, size), bands=BANDS)
        measurement = camera.forward(torch.rand(1, BANDS, size, size))
        return lambda: solver(measurement, camera)

    def training(name: str, batch: int, height: int, width: int) -> Callable[[], Any]:
        return training_step(create(name, BANDS, CLASSES), batch, height, width)

    return {
        "crsdun_tiny 128×128": lambda: decoding("crsdun_tiny", 128),
        "crsdun_tiny 256×256": lambda: decoding("crsdun_tiny", 256),
        "crsdun_3stg 256×256": lambda: decoding("crsdun_3stg", 256),
        "GAP-TV 256×256, 30 iterations": lambda: solving("gap-tv", 256, 30),
        "LR-TV 256×256, 10 iterations": lambda: solving("lr-tv", 256, 10),
        TRAININGS[0]: lambda: training("crsdun_tiny", 2, 64, 128),
        TRAININGS[1]: lambda: training("crsdun_3stg", 4, 64, 64),
    }


def work(way: str, threads: int | None) -> None:
    """Run what the lines of standard input name, as often as they say, and print the seconds of each run."""
    with computing_with(threads) if way == CRSDUN else nullcontext():
        from crsdun.methods import keep_freed_memory

        keep_freed_memory()
        made, ready = cases(), {}
        for line in sys.stdin:
            asked = json.loads(line)
            name, seconds = asked["case"], []
            if name not in ready:
                ready[name] = made[name]()
                ready[name]()
            end = time.perf_counter() + asked["seconds"]
            while len(seconds) < asked["runs"] and time.perf_counter() < end:
                start = time.perf_counter()
                ready[name]()
                seconds.append(time.perf_counter() - start)
            print(json.dumps(seconds), flush=True)


# -- from outside ----------------------------------------------------------------------------------------------------


class Worker:
    """A process that runs cases."""

    def __init__(self, way: str, threads: int | None = None):
        command = [sys.executable, __file__, "--work", way, *([] if threads is None else ["--threads", str(threads)])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **WAYS[way]}, **pipes)

    def start(self, case: str, runs: int, seconds: float) -> None:
        print(json.dumps({"case": case, "runs": runs, "seconds": seconds}), file=self.process.stdin, flush=True)

    def seconds(self) -> list[float]:
        return json.loads(self.process.stdout.readline())

    def run(self, case: str, runs: int, seconds: float) -> list[float]:
        self.start(case, runs, seconds)
        return self.seconds()


def processor_seconds(process: subprocess.Popen | None = None) -> float:
    """Of one process, or of all."""
    if process is None:
        times = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
        ticks = sum(int(times[place]) for place in (0, 1, 2, 5, 6))  # all but idle, waiting and stolen
    else:
        times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(times[11]) + int(times[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def by_others(run: Callable[[], Any], ours: list[subprocess.Popen]) -> tuple[Any, float]:
    """What a function returns, and the share of a core that processes other than ours took meanwhile."""
    start, before = time.perf_counter(), processor_seconds() - sum(map(processor_seconds, ours))
    returned = run()
    after = processor_seconds() - sum(map(processor_seconds, ours))
    return returned, (after - before) / (time.perf_counter() - start)


def undisturbed(measure: Callable[[], Any], ours: list[subprocess.Popen]) -> tuple[Any, float]:
    """What was measured while other processes than ours took least, and the share of a core that they took."""
    tries = []
    for _ in range(TRIES):
        while time.monotonic() < STARTED + PATIENCE_S and by_others(lambda: time.sleep(0.3), ours)[1] > DISTURBED:
            pass
        tries.append(by_others(measure, ours))
        if tries[-1][1] < DISTURBED:
            break
    return min(tries, key=lambda each: each[1])


@contextmanager
def busy(programs: tuple[str, ...]) -> Iterator[list[subprocess.Popen]]:
    """Processes that run until the end of the block."""
    running = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    if running:
        time.sleep(WARM_S)
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def working(*workers: Worker) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def measure_busy() -> list[dict[str, Any]]:
    """A row for each case and each way to wait."""
    workers = {way: Worker(way) for way in WAYS}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    with working(*workers.values()):
        names = [name for name in cases() if name not in TRAININGS[1:]]  # one is enough here
        for name in names:
            for worker in workers.values():
                worker.run(name, 0, 0)  # make it and run it once
        for place, programs in BUSY.items():
            with busy(programs) as running:
                for name in names:
                    for way, worker in workers.items():
                        seconds, others = undisturbed(
                            lambda: worker.run(name, RUNS, LONG_S),  # noqa: B023
                            [worker.process, *running],
                        )
                        row = rows.setdefault((name, way), {"case": name, "way": way})
                        row[place] = {"seconds": statistics.median(seconds), "runs": seconds, "others": others}
                        print(f"{place}, {name}, {way}: {row[place]}", file=sys.stderr)
    return list(rows.values())


def print_busy(rows: list[dict[str, Any]]) -> None:
    print(
        "| case | waiting | alone | lost | "
        + " | ".join(f"{place} | of its fair share" for place in [*BUSY][1:])
        + " |"
    )
    print("|---|---|---|---|" + "---|---|" * (len(BUSY) - 1))
    plain = {row["case"]: row["alone"]["seconds"] for row in rows if row["way"] == "OpenMP"}
    for row in rows:
        best = plain[row["case"]]
        alone = row["alone"]["seconds"]
        cells = [row["case"], row["way"], f"{alone:.3f} s", f"{100 * (alone / best - 1):.0f} %"]
        for place in [*BUSY][1:]:
            seconds = row[place]["seconds"]
            cells += [f"{seconds:.2f} s", f"{seconds / (2 * best):.1f} ×"]
        print("| " + " | ".join(cells) + " |")
    others = [row[place]["others"] for row in rows for place in BUSY]
    print(f"other processes took {statistics.median(others):.2f} cores meanwhile, {max(others):.2f} at worst")


def measure_trainings() -> list[dict[str, Any]]:
    """Steps per second of one training on all cores, and of one on each core together."""
    rows = []
    for name in TRAININGS:
        row: dict[str, Any] = {"case": name}
        for what, threads in (("together", [cores()]), ("side by side", [1] * cores())):
            workers = [Worker(CRSDUN, count) for count in threads]

            def steps(workers: list[Worker] = workers, name: str = name) -> float:
                for worker in workers:
                    worker.start(name, 10**9, TRAINING_S)
                return sum(1 / statistics.median(worker.seconds()) for worker in workers)

            with working(*workers):
                for worker in workers:
                    worker.run(name, 0, 0)
                rate, others = undisturbed(steps, [worker.process for worker in workers])
            row[what] = {"steps_per_second": rate, "others": others}
        rows.append(row)
    return rows


def print_trainings(rows: list[dict[str, Any]]) -> None:
    print(f"| case | one of {cores()} threads | {cores()} of one thread, in total | others took |")
    print("|---|---|---|---|")
    for row in rows:
        one, several = row["together"], row["side by side"]
        rates = [f"{each['steps_per_second']:.2f} steps/s" for each in (one, several)]
        print(f"| {row['case']} | {' | '.join(rates)} | {max(one['others'], several['others']):.2f} cores |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--trainings", action="store_true")
    options.add_argument("--work", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        work(given.work, given.threads)
    elif given.trainings:
        record(measure_trainings, print_trainings, HERE / "trainings.json")
    else:
        record(measure_busy, print_busy, HERE / "busy.json")


def record(
    measure: Callable[[], list[dict[str, Any]]], show: Callable[[list[dict[str, Any]]], None], file: Path
) -> None:
    rows = measure()
    show(rows)
    file.write_text(json.dumps({"processor": processor(), "cores": cores(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
