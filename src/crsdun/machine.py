"""What this machine is, and what of it this process may use."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from crsdun.errors import InputError

CPUINFO, CGROUP, CGROUPS = Path("/proc/cpuinfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# Flags of a processor that decide how fast it multiplies matrices, and what they are called.
FEATURES = {"avx512f": "AVX-512", "avx512_bf16": "BF16", "amx_tile": "AMX"}


def processor() -> str:
    """The name of the processor, or of its kind where the system does not tell."""
    return cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_in_words() -> str:
    """The processor's name and, as far as the system tells, its kind: ``AMD EPYC (family 26 model 2, AVX-512)``."""
    facts = cpuinfo()
    kind = " ".join(f"{name.split()[-1]} {facts[name]}" for name in ("cpu family", "model") if name in facts)
    flags = facts.get("flags", "").split()
    known = ", ".join([kind] * bool(kind) + [word for flag, word in FEATURES.items() if flag in flags])
    return f"{processor()} ({known})" if known else processor()


def cpuinfo() -> dict[str, str]:
    """What Linux says of the processor, by name; empty on other systems."""
    try:
        lines = [line.partition(":") for line in CPUINFO.read_text().splitlines()]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in lines}


def best_device() -> str:
    """The kind of device to compute on: ``cuda`` or ``mps`` where there is one, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: Any) -> None:
    """Raise an InputError unless PyTorch can compute on a device, such as ``cpu``, ``cuda:1`` or ``mps``, here."""
    if str(device) == "cpu":
        return
    import torch

    try:
        if torch.zeros(1, device=device).item() == 0:
            return
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        pass
    raise InputError(f"the device {str(device)!r} cannot be used on this machine", "set <device> to cpu")


def visible_cores() -> int:
    """Cores that the process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def cores() -> int:
    """Cores that the process may use: those it may run on, or fewer where its control groups have a share of them."""
    return min([visible_cores(), *(math.ceil(share) for share in shares_of_cores())])


def shares_of_cores() -> Iterator[float]:
    """The cores' worth of time that each control group of this process allows it, and those around it."""
    for group, version in control_groups("cpu"):
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version == 1 else ("cpu.max",)
        with suppress(OSError, ValueError):  # not there, or "max"
            quota, period = map(int, " ".join((group / file).read_text() for file in files).split())
            if quota > 0:
                yield quota / period


def control_groups(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the control groups that this process is in for a controller, and of those around each; and of
    which version they are, 1 or 2.
    """
    try:
        entries = [line.split(":", 2) for line in CGROUP.read_text().splitlines()]
    except OSError:  # not on this system
        return
    for _, controllers, name in entries:
        if controllers and controller not in controllers.split(","):
            continue
        root, version = (CGROUPS / controller, 1) if controllers else (CGROUPS, 2)
        group = root / name.lstrip("/")
        # In a container the name may be that on its host, of which nothing but the root can be seen.
        for each in (group, *group.parents):
            if each.is_relative_to(root):
                yield each, version
