"""Checkpoints that survive anything: safetensors files, written whole or not at all, no pickle.

The header holds JSON: step, best value, configuration, and the SHA-256 of the tensors, by which a damaged file is
known. A new checkpoint is written under another name and flushed to the disk; then ``last`` becomes ``previous`` and
the new one ``last``. Whenever the process dies, a whole checkpoint is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from crsdun.errors import InputError
from crsdun.storage import write_bytes_durably

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on.

    Attributes:
        tensors: weights, optimiser, averages, balance, by name.
        header: plain JSON values.
    """

    tensors: dict[str, Tensor]
    header: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Make ``checkpoint`` the last of a folder.

    Raises:
        InputError: the disk refuses; what was there is untouched.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    header = {**checkpoint.header, "sha256": _digest(tensors)}
    data = to_bytes(tensors, metadata={"checkpoint": json.dumps(header)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_durably(folder / LAST, data, keep=folder / PREVIOUS)
    except OSError as error:
        raise InputError(
            f"could not write a checkpoint into {folder}: {error.strerror or error}",
            "the one before is intact: make room there and give the same command again",
        ) from error


def read_checkpoint(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The last whole checkpoint of a folder, or None where there never was one; ``tell`` hears of damaged ones.

    Raises:
        InputError: there are checkpoints, but none is whole.
    """
    damaged = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            checkpoint = _read(path)
        except FileNotFoundError:
            continue
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            damaged.append(f"{path} is damaged ({error})")
            continue
        for words in damaged:
            tell(f"{words}; going on from the one before, step {checkpoint.header['step']}")
        return checkpoint
    if damaged:
        raise InputError(f"{'; '.join(damaged)}", "restore one from a copy, or start again with another out=")
    return None


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["checkpoint"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if _digest(tensors) != header["sha256"]:
        raise ValueError("its tensors are not those that were written")
    return Checkpoint(tensors, header)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
