"""How something was made: one record for every result, one fingerprint for every data set."""

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
from typing import Any

from crsdun.version import __version__

_command: ContextVar[tuple[str, ...]] = ContextVar("command", default=())


@contextmanager
def made_by(command: Sequence[str]) -> Iterator[None]:
    """Whatever is recorded inside the block was made by this command, such as ``sys.argv``."""
    token = _command.set(tuple(command))
    try:
        yield
    finally:
        _command.reset(token)


def record(**facts: Any) -> dict[str, Any]:
    """How a result was made, as plain JSON values: ``facts``, and what made it, when, and with which versions."""
    return {
        "made_by": f"crsdun {__version__}",
        "when": now(),
        "command": list(_command.get()),
        **facts,
        "threads": threads(),
        "versions": versions(),
    }


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of everything that computes, and the commit where crsdun runs from its repository."""
    found = {"crsdun": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    commit = _commit()
    return found | ({"git": commit} if commit else {})


def threads() -> int | None:
    """How many PyTorch computes on; None where it is not loaded."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def hardware(device: Any, processes: int = 1) -> dict[str, Any]:
    """Where it computes: ``device`` is a ``torch.device``."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "processes": processes,
        "device": device.type,
    }
    if device.type == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def sha256_of(path: str | Path) -> str:
    """Hex digest of a file."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(hashes: Mapping[str, str]) -> str:
    """One SHA-256 for all the hashes of a data set, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


@cache
def _commit() -> str | None:
    folder = str(Path(__file__).parent)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", "__init__.py")  # not merely installed inside somebody's repository
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return None
