"""How many workers of a Ray cluster do how much: the tables of docs/cluster.md.

python benchmarks/cluster.py [FRAMES]

Exposures of Produce-23 (256×256, 28 bands) become folders of results by ``crsdun_tiny``, with one thread per process:
by the local batch, and by one and two workers on this machine, in one run. Then what one frame costs, step by step:
the processor seconds of reading, decoding and writing it, the bytes that are read and written; and how many calls per
second one process hands to workers that do nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from crsdun.cli import parser
from crsdun.cli.printing import notify
from crsdun.cli.reconstruct import answering, pipeline_of, work_of
from crsdun.cluster import Crew, Staff, connected
from crsdun.optics import Exposure
from crsdun.runtime import find_measurements, simulate
from crsdun.scenes import write_measurement
from crsdun.scenes.produce import ProduceSet

WEIGHTS, CALLS = "crsdun_tiny", 4000


class Nothing:
    """Work that takes no time."""

    def __call__(self) -> Callable[[Any], None]:
        return lambda _: None


def options(folder: Path, out: str, *more: str) -> argparse.Namespace:
    typed = ["reconstruct", str(folder), "--weights", WEIGHTS, "--out", str(folder / out), "--json", *more]
    return parser().parse_args([*typed, "--threads", "1", "--device", "cpu"])


def steps(folder: Path) -> dict[str, float]:
    """Processor seconds of each step of a frame, mean over the frames, and its bytes."""
    given = options(folder, "steps")
    work = work_of(given, pipeline_of(given), find_measurements([folder]) or {})
    spent = {"read": 0.0, "decode": 0.0, "write": 0.0}
    count = 0
    for item in work.batch:
        passed: Any = item
        for name in spent:
            start = time.process_time()
            passed = getattr(work, name)(passed)
            spent[name] += time.process_time() - start if count else 0  # the first one loads libraries
        count += 1
    results = folder / "steps"
    sizes = [file.stat().st_size for file in results.rglob("*") if file.is_file()]
    return {
        **{f"{name}_cpu_s": value / (count - 1) for name, value in spent.items()},
        "bytes_read": sum(file.stat().st_size for file in folder.glob("*.npz")) / count,
        "bytes_written": sum(sizes) / count,
        "files_written": len(sizes) / count,
    }


def shared(folder: Path, crew: Crew) -> dict[str, float]:
    """Frames per second of so many workers, from the first result on, and seconds until that."""
    workers = len(crew.workers)
    given = options(folder, f"ray_{workers}")
    work = work_of(given, pipeline_of(given), find_measurements([folder]) or {})
    start = time.perf_counter()
    times = [time.perf_counter() for _ in work.elsewhere(crew.work(partial(answering, given)).map)]
    calls = time.perf_counter()
    assert len(list(crew.work(Nothing()).map(range(CALLS)))) == CALLS
    calls = time.perf_counter() - calls
    # The first frame of each worker waits for its libraries.
    rate = (len(times) - workers) / (times[-1] - times[workers - 1])
    return {"start_s": times[0] - start, "frames_per_s": rate, "calls_per_s": CALLS / calls}


def local(folder: Path) -> dict[str, float]:
    """The same of the local batch."""
    given = options(folder, "local")
    work = work_of(given, pipeline_of(given), find_measurements([folder]) or {})
    start = time.perf_counter()
    times = [time.perf_counter() for _ in work.here()]
    return {"start_s": times[0] - start, "frames_per_s": (len(times) - 1) / (times[-1] - times[0])}


def main(count: int) -> None:
    torch.set_num_threads(1)
    scenes = ProduceSet("test")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            write_measurement(simulate(scenes[number], Exposure()), folder / f"frame_{number}.npz")
        with connected(staff=Staff(1), notify=notify) as crew:
            found = {"local": local(folder), "ray 1": shared(folder, crew)}
            crew.dismiss()
            with connected(staff=Staff(2), notify=notify) as both:
                found["ray 2"] = shared(folder, both)
        costs = steps(folder)
    print("| | first result after (s) | frames per second | of the local batch |\n|---|---|---|---|")
    for title, row in found.items():
        share = row["frames_per_s"] / found["local"]["frames_per_s"]
        print(f"| {title} | {row['start_s']:.1f} | {row['frames_per_s']:.3f} | {share:.2f} |")
    print(json.dumps({"frames": count, **costs, **found}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
