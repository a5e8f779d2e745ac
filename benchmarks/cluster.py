"""How many workers of a Ray cluster do how much: the tables of docs/cluster.md.

python benchmarks/cluster.py [FRAMES] [WORKERS ...]

Exposures of Produce-23 (256×256, 28 bands) become folders of results by ``crsdun_tiny_1``, with a thread per process:
by the local batch, and by crews on this machine (1 and 2 workers), in one run, after each has loaded what it needs.
Then what one frame costs, step by step: the processor seconds of reading (its file is open), decoding and writing it,
the bytes that are read and written; and how many calls per second one process hands to workers that do nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
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
from crsdun.viewing.frame_work import FrameWork

WEIGHTS, CALLS = "crsdun_tiny_1", 4000


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


def rate(frames: Iterable[Any], count: int) -> float:
    """How many per second."""
    start = time.perf_counter()
    assert sum(not isinstance(outcome, Exception) for _, outcome in frames) == count
    return count / (time.perf_counter() - start)


def work(folder: Path, out: str, files: dict[str, Any]) -> tuple[argparse.Namespace, FrameWork]:
    given = options(folder, out)
    return given, work_of(given, pipeline_of(given), files)


def local(folder: Path, files: dict[str, Any]) -> dict[str, float]:
    """Frames per second of the local batch."""
    first = dict(list(files.items())[:1])
    rate(work(folder, "warm", first)[1].here(), 1)
    return {"frames_per_s": rate(work(folder, "local", files)[1].here(), len(files))}


def shared(folder: Path, files: dict[str, Any], crew: Crew) -> dict[str, float]:
    """The same of a crew, and the calls that it takes per second."""
    workers = len(crew.workers)
    first = dict(list(files.items())[: 2 * workers])  # two at a time are handed to a worker
    given, warm = work(folder, f"warm_{workers}", first)
    rate(warm.elsewhere(crew.work(partial(answering, given)).map), len(first))
    given, all_of_them = work(folder, f"ray_{workers}", files)
    found = rate(all_of_them.elsewhere(crew.work(partial(answering, given)).map), len(files))
    calls = rate(crew.work(Nothing()).map(range(CALLS)), CALLS)
    return {"frames_per_s": found, "calls_per_s": calls}


def main(count: int, crews: Sequence[int]) -> None:
    torch.set_num_threads(1)
    scenes = ProduceSet("test")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            write_measurement(simulate(scenes[number], Exposure()), folder / f"frame_{number}.npz")
        files = find_measurements([folder]) or {}
        with connected(staff=Staff(1), notify=notify) as first:  # Ray runs as long as this one lasts
            first.dismiss()
            found = {"local batch": local(folder, files)}
            for workers in crews:
                with connected(staff=Staff(workers), notify=notify) as crew:
                    found[f"{workers} workers"] = shared(folder, files, crew)
        costs = steps(folder)
    print("| | frames per second | of the local batch |\n|---|---|---|")
    for title, row in found.items():
        share = row["frames_per_s"] / found["local batch"]["frames_per_s"]
        print(f"| {title} | {row['frames_per_s']:.3f} | {share:.2f} |")
    print(json.dumps({"frames": count, **costs, **found}))


if __name__ == "__main__":
    count, *crews = [int(each) for each in sys.argv[1:]] or [8]
    main(count, crews or [1, 2])
