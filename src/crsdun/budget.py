"""How much memory a file or a setting may take: compared with the budget before anything is read or built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from crsdun.errors import InputError, Told
from crsdun.machine import control_groups

MEMINFO, STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
# The files of a control group, by its version: the limit, what is used, and the part of that which the kernel gives
# up when memory is needed.
CGROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
# Of the available memory for one object: converting, scaling and sorting it each make a copy.
SHARE = 1 / 4


class _Limit(NamedTuple):
    """Bytes that one object may take, and the setting that allows more."""

    bytes: int
    setting: str


_limit: _Limit | None = None  # of the whole process, in all threads
_own_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


def available_memory() -> int | None:
    """Bytes of main memory that this process may still take, or None if the system does not say.

    The least of what the machine has, what the control groups of a container allow, and the limit of the process.
    """
    if MEMINFO.exists():
        machine = _number_after(MEMINFO, "MemAvailable") * 1024
    else:
        try:
            machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError):  # not on this system
            return None
    allowed = [machine, *_left_in_control_groups()]
    with suppress(ImportError, OSError, StopIteration):
        import resource  # not on Windows

        addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
        if addresses != resource.RLIM_INFINITY:
            allowed.append(addresses - _number_after(STATUS, "VmSize") * 1024)
    return max(min(allowed), 0)


def _left_in_control_groups() -> Iterator[int]:
    """What is left of the memory of each control group that this process is in, and of those around it."""
    for group, version in control_groups("memory"):
        limit, usage, reclaimable = CGROUP_FILES[version]
        with suppress(OSError, ValueError, StopIteration):  # not there, or "max"
            used = int((group / usage).read_text()) - _number_after(group / "memory.stat", reclaimable)
            yield int((group / limit).read_text()) - used


def memory_budget() -> int | None:
    """Bytes that one object may take: the limits in force, else a share of what is available; None if unknown."""
    limit = _in_force()
    return limit and limit.bytes


def _in_force() -> _Limit | None:
    of_process, own = _limit, _own_limit.get()
    if of_process is None:
        available = available_memory()
        of_process = None if available is None else _Limit(int(available * SHARE), "memory")
    return min((limit for limit in (of_process, own) if limit is not None), default=None)


@contextmanager
def limited_to(limit: int | None) -> Iterator[None]:
    """Inside the block the budget of the process is ``limit`` bytes; None changes nothing."""
    global _limit
    before = _limit
    _limit = before if limit is None else _Limit(limit, "memory")
    try:
        yield
    finally:
        _limit = before


@contextmanager
def also_limited_to(limit: int, setting: str) -> Iterator[None]:
    """Inside the block this thread alone has a budget of at most ``limit`` bytes; ``setting`` allows more."""
    token = _own_limit.set(_Limit(limit, setting))
    try:
        yield
    finally:
        _own_limit.reset(token)


def check_budget(size: float, what: str, remedy: str = "make it smaller") -> None:
    """Raise an InputError if ``what`` needs more than the budget; ``size`` in bytes."""
    limit = _in_force()
    if limit is not None and size > limit.bytes:
        raise InputError(
            f"{what} needs {size / 1e9:.3g} GB of memory, more than the {limit.bytes / 1e9:.3g} GB allowed for it",
            f"{remedy}, or allow more with <{limit.setting}>",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch has no exception type of its own for it on CPUs."""
    name = type(error).__name__
    signs = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and (name == "OutOfMemoryError" or any(sign in str(error) for sign in signs))
    )


def explained(error: BaseException) -> Told | None:
    """What a person is told of an error: of an input, of memory that ran out, or of what the system refuses.

    Of anything else it is None: that is a fault of ours.
    """
    if isinstance(error, Told):
        return error
    if is_out_of_memory(error):
        return Told("there is not enough memory for this size")
    if isinstance(error, OSError):
        name = "" if error.filename is None else f"{error.filename}: "
        return Told(f"{name}{error.strerror or error}")
    return None


def _number_after(file: Path, name: str) -> int:
    """The number in the line of a file that begins with a name."""
    return int(next(line for line in file.read_text().splitlines() if line.startswith(name)).split()[1])
