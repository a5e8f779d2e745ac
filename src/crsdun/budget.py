"""How much memory a file or a setting may take: compared with the budget before anything is read or built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crsdun.errors import InputError

MEMINFO, STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
# Of the available memory for one object: converting, scaling and sorting it each make a copy.
SHARE = 1 / 4
_limit: int | None = None  # of the whole process, in all threads


def available_memory() -> int | None:
    """Bytes of main memory that this process may still take, or None if the system does not say."""
    if MEMINFO.exists():
        machine = _kilobytes(MEMINFO, "MemAvailable") * 1024
    else:
        try:
            machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError):  # not on this system
            return None
    with suppress(ImportError, OSError, StopIteration):
        import resource  # not on Windows

        allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
        if allowed != resource.RLIM_INFINITY:
            return min(machine, max(allowed - _kilobytes(STATUS, "VmSize") * 1024, 0))
    return machine


def memory_budget() -> int | None:
    """Bytes that one object may take: the limit in force, else a share of what is available; None if unknown."""
    if _limit is not None:
        return _limit
    available = available_memory()
    return None if available is None else int(available * SHARE)


@contextmanager
def limited_to(limit: int | None) -> Iterator[None]:
    """Inside the block the budget of the process is ``limit`` bytes; None changes nothing."""
    global _limit
    before = _limit
    _limit = before if limit is None else limit
    try:
        yield
    finally:
        _limit = before


def check_budget(size: float, what: str, remedy: str = "make it smaller") -> None:
    """Raise an InputError if ``what`` needs more than the budget; ``size`` in bytes."""
    budget = memory_budget()
    if budget is not None and size > budget:
        raise InputError(
            f"{what} needs {size / 1e9:.3g} GB of memory, more than the {budget / 1e9:.3g} GB allowed for it",
            f"{remedy}, or allow more with <memory>",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch has no exception type of its own for it on CPUs."""
    name = type(error).__name__
    signs = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and (name == "OutOfMemoryError" or any(sign in str(error) for sign in signs))
    )


def _kilobytes(file: Path, name: str) -> int:
    return int(next(line for line in file.read_text().splitlines() if line.startswith(name)).split()[1])
