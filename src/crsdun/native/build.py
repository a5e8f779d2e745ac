"""The compiled form of ``kernels.c``: made once for this processor, where there is a C compiler, and never required.

It is compiled when it is first used (two to four seconds) and kept in ``cache_folder("native")``. Without a compiler,
without such a folder or with ``CRSDUN_NATIVE=0``, PyTorch computes everything: the same numbers, slower.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from crsdun.cache import cache_folder, find_cached, keep_cached
from crsdun.machine import cpuinfo, processor
from crsdun.storage import scratch_folder

SOURCE = Path(__file__).with_name("kernels.c")  # which includes the other files beside it
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-fPIC", "-shared"]
SECONDS_TO_COMPILE = 300


@cache
def library() -> ctypes.CDLL | None:
    """The kernels, None where they cannot be had."""
    compiler, openmp, folder = find_compiler(), torch_openmp(), cache_folder("native")
    if os.environ.get("CRSDUN_NATIVE") == "0" or compiler is None or openmp is None or folder is None:
        return None
    command = [*compiler, *FLAGS]
    key = fingerprint(command)
    try:
        if file := find_cached(folder, key):
            return ctypes.CDLL(str(file))
        with scratch_folder() as scratch:
            file = scratch / "kernels.so"
            kernels = compiled(file, command, openmp)
            keep_cached(file, folder, key)
        return kernels
    except (OSError, subprocess.SubprocessError):  # no room, no such flag, a linker that is missing, wrong numbers
        return None


def find_compiler() -> list[str] | None:
    """``$CC``, or gcc, or cc, as the start of a command; None without one."""
    given = shlex.split(os.environ.get("CC", ""))
    for command in [given] if given else [["gcc"], ["cc"]]:
        if path := shutil.which(command[0]):
            return [path, *command[1:]]
    return None


def torch_openmp() -> Path | None:
    """The OpenMP library that PyTorch has loaded: kernels use its threads instead of adding their own."""
    if not sys.platform.startswith("linux"):
        return None
    return next(iter(sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))), None)


def fingerprint(command: list[str]) -> str:
    """Of everything that the compiled form depends on."""
    sources = [file.read_text() for file in sorted(SOURCE.parent.glob("*.[ch]"))]
    facts = cpuinfo()  # a home folder may be shared by different machines
    features = facts.get("flags", facts.get("Features", ""))
    parts = [*sources, *command, torch.__version__, platform.machine(), processor(), features]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compiled(file: Path, command: list[str], openmp: Path) -> ctypes.CDLL:
    """Compile into a file, load it, and compare it with PyTorch; an OSError if any of that fails."""
    command = [*command, str(SOURCE), "-o", str(file), str(openmp)]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS_TO_COMPILE)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace"))
    kernels = ctypes.CDLL(str(file))
    check(kernels)
    return kernels


def check(kernels: ctypes.CDLL) -> None:
    """Raise an OSError unless a kernel with much of what all of them use gives PyTorch's numbers."""
    x = torch.linspace(-4, 4, 20 * 9 * 10).view(1, 20, 9, 10).contiguous(memory_format=torch.channels_last)
    gate, one = torch.linspace(-1, 1, 360).view(2, 20, 1, 3, 3)
    conv, found = torch.nn.functional.conv2d, torch.empty_like(x)
    expected = conv(x, gate, padding=1, groups=20).sigmoid()
    expected = expected * torch.nn.functional.gelu(conv(x, one.transpose(0, 1), padding=1))
    tensors, sizes = (x, gate, one, found), (1, 9, 10, 20)
    kernels.spatial_gate(*map(pointer, tensors), *map(ctypes.c_long, sizes))
    if not torch.allclose(found, expected, rtol=1e-5, atol=1e-5):
        raise OSError("the compiled kernels give wrong numbers")


def pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    """To the first value; null for None."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
