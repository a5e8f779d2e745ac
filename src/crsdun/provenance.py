"""How results were made: one record for every result, one fingerprint for every data set."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from crsdun.version import __version__


class Record(TypedDict):
    """How a result was made, as every result has it."""

    made_by: str
    when: str
    command: list[str]
    threads: int | None
    versions: dict[str, str]


_command: ContextVar[tuple[str, ...]] = ContextVar("command", default=())


@contextmanager
def made_by(command: Sequence[str]) -> Iterator[None]:
    """Inside the block, records name this command, such as ``sys.argv``, as what made the result."""
    token = _command.set(tuple(command))
    try:
        yield
    finally:
        _command.reset(token)


def command() -> list[str]:
    """The command that records name as what makes a result (``made_by``); empty outside of one."""
    return list(_command.get())


def record(**facts: Any) -> dict[str, Any]:
    """How a result was made, as plain JSON values: the given ``facts``, the command, the time and the versions."""
    return {
        "made_by": f"crsdun {__version__}",
        "when": now(),
        "command": command(),
        **facts,
        "threads": threads(),
        "versions": versions(),
    }


def now() -> str:
    """The current time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of everything that computes, and the commit if crsdun runs from its repository."""
    numbers = {"crsdun": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy"):
        with suppress(PackageNotFoundError):
            numbers[name] = version(name)
    commit = _commit()
    return numbers | ({"git": commit} if commit else {})


def threads() -> int | None:
    """Number of threads of PyTorch; None if it is not loaded."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def hardware(device: Any, processes: int = 1) -> dict[str, Any]:
    """The machine that computes, as plain JSON values; ``device`` is a ``torch.device``."""
    machine: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "processes": processes,
        "device": device.type,
    }
    if device.type == "cuda":
        import torch

        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(hashes: Mapping[str, str]) -> str:
    """One SHA-256 over all hashes of a data set, by name; their order does not matter."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


@cache
def _commit() -> str | None:
    folder = str(Path(__file__).parent)

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", "__init__.py")  # and not merely installed inside another repository
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return None
