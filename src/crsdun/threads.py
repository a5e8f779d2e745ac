"""Threads of a process: how many compute, and how they wait for each other.

In PyTorch's OpenMP (libgomp) a thread that waits for the others spins for milliseconds before it sleeps. Alone, that
is fastest. Where another process wants the cores, it keeps from running what it waits for, and a command takes 20
times as long. The time cannot be changed once libgomp is loaded, but libgomp spins for only a moment while there are
more OpenMP threads than cores (its manual, GOMP_SPINCOUNT). So as long as threads of this process queue for a core,
it holds some more, which sleep.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crsdun.machine import cores, visible_cores
from crsdun.provenance import threads

TASKS, MAPS = Path("/proc/self/task"), Path("/proc/self/maps")

COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # by which the user decides how threads wait

WATCH_S = 0.1
BUSY = 0.1  # seconds that the threads together queue for a core, per second
CALM_S = 1.0  # without queueing, until threads spin again


@contextmanager
def computing_with(count: int | None) -> Iterator[None]:
    """Inside the block PyTorch computes with ``count`` threads, and gives way to other processes.

    None leaves PyTorch its choice, or that of the environment; where the process has a share of fewer cores than it
    sees, it takes as many threads as that.
    """
    environment = {name: os.environ.get(name) for name in COUNTS}
    before = threads()
    if count is not None:
        os.environ.update(dict.fromkeys(COUNTS, str(count)))  # for child processes
        import torch

        torch.set_num_threads(count)  # which takes no more than there are cores from the environment
    elif before is None and COUNTS[0] not in os.environ and cores() < visible_cores():
        os.environ[COUNTS[0]] = str(cores())  # until PyTorch is loaded, if it is
    try:
        with giving_way():
            yield
    finally:
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if before is not None:
            import torch

            torch.set_num_threads(before)


@contextmanager
def giving_way() -> Iterator[None]:
    """Inside the block threads of OpenMP spin only while no other process wants the cores."""
    if not TASKS.exists() or any(name in os.environ for name in WAITING):
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(over: threading.Event) -> None:
    """Hold more threads than there are cores as long as threads of this process queue for one."""
    held: threading.Event | None = None
    queued, since = _queued(), time.perf_counter()
    calm_since = since
    while not over.wait(WATCH_S):
        queued_before, before = queued, since
        queued, since = _queued(), time.perf_counter()
        if queued - queued_before > BUSY * (since - before):
            calm_since = since
            if held is None and "torch" in sys.modules:
                held = threading.Event()
                threading.Thread(target=_hold, args=(held,), daemon=True).start()
        elif held is not None and since - calm_since > CALM_S:
            held.set()
            held = None
    if held is not None:
        held.set()


def _queued() -> float:
    """Seconds that the threads of this process have been ready to run without a core."""
    nanoseconds = 0
    for task in TASKS.iterdir():
        with suppress(OSError, IndexError):  # it has ended, or the kernel does not count
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def _openmp() -> set[str]:
    """The files of each libgomp that this process has loaded."""
    names = {line.split(maxsplit=5)[-1] for line in MAPS.read_text().splitlines() if "libgomp" in line}
    return {name for name in names if Path(name).exists()}


def _hold(released: threading.Event) -> None:
    """Have a team of threads that do nothing; it ends with the thread that it belongs to."""
    import torch  # noqa: F401  waits until it is loaded: two threads that load libraries may wait for each other

    for name in _openmp():
        openmp = ctypes.CDLL(name)
        nothing = ctypes.cast(openmp.omp_get_thread_num, ctypes.c_void_p)
        openmp.GOMP_parallel(nothing, None, visible_cores(), 0)
    released.wait()
