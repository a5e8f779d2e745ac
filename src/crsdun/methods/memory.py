"""Available memory, and keeping freed memory or giving it back."""

from __future__ import annotations

import ctypes
import platform

import torch

from crsdun import budget
from crsdun.machine import check_device

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes of the largest block that is worth keeping where memory matters more than a few page faults.
SMALL_BLOCK = 4 << 20


def available_memory(device: str | torch.device = "cpu") -> int | None:
    """Bytes that are available for a computation on ``device``, or None if the system does not say.

    Memory that this process has freed but keeps counts as used: call this before the first computation, not after it.

    Raises:
        InputError: there is no such device.
    """
    if torch.device(device).type == "cuda":
        check_device(device)
        return torch.cuda.mem_get_info(device)[0]
    return budget.available_memory()


def keep_freed_memory(largest: int = 1 << 30) -> None:
    """Make this process reuse freed memory instead of returning it to the system; does nothing without glibc.

    glibc returns every large block to the kernel when it is freed, and the next tensor of the same size faults all
    its pages in again (benchmarks/what_helped.py measures the cost). The price is that the process never shrinks, so
    this is for programs that compute, such as the command line, and is not done on import.

    Args:
        largest: bytes of a block that is kept. What lies between large kept blocks is lost where the next ones are of
            other sizes, so a process that must stay small returns them (``SMALL_BLOCK``).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    # Before version 2.35, glibc accepts at most 32 MB.
    _ = mallopt(M_MMAP_THRESHOLD, largest) or mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, -1)  # never


def return_freed_memory() -> None:
    """Return what ``keep_freed_memory`` has kept so far to the system; does nothing without glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
