"""Checkpoints that survive anything: safetensors files, written completely or not at all, without pickle.

The header holds JSON: step, best value, configuration, and a SHA-256 of the tensors and one of itself, which reveal a
damaged or edited file.
A new checkpoint is written under another name and flushed to the disk; then ``last`` becomes ``previous`` and the new
one ``last``. Whenever the process dies, there is a complete checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from torch import Tensor

from crsdun.errors import InputError
from crsdun.storage import write_bytes_durably
from crsdun.tensor_file import read_tensors
from crsdun.training.config import TrainConfig, renamed
from crsdun.typed import typed

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"


@dataclass(frozen=True)
class CheckpointHeader:
    """What is known about a run besides its tensors.

    Attributes:
        step: number of steps done.
        best: highest value of the criterion so far; None before the first validation.
        seconds: of training so far.
        figures: of the last validation.
        config: of the run; keys that were added after it was written have their defaults.
        data, files: as of ``Origin``; checkpoints of earlier versions have no files.
        sha256: of the tensors.
        header_sha256: of everything else; None in checkpoints of earlier versions.
    """

    step: int
    best: float | None
    seconds: float
    figures: dict[str, float | None]
    config: TrainConfig
    data: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    header_sha256: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Everything that is needed to resume a run.

    Attributes:
        tensors: weights, optimiser state, averages and balance, by name.
        header: everything else; writing fills in its hashes.
    """

    tensors: dict[str, Tensor]
    header: CheckpointHeader


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` as the last one of a folder.

    Raises:
        InputError: it cannot be written; the existing checkpoints are intact.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    header = asdict(replace(checkpoint.header, sha256=_digest(tensors)))
    header["header_sha256"] = _header_digest(header)
    data = to_bytes(tensors, metadata={"checkpoint": json.dumps(header)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_durably(folder / LAST, data, keep=folder / PREVIOUS)
    except OSError as error:
        intact = "the one before is intact: " if (folder / LAST).exists() else ""
        raise InputError(
            f"could not write a checkpoint into {folder}: {error.strerror or error}",
            f"{intact}free some space and give the same command again",
        ) from error


def read_checkpoint(folder: Path, notify: Callable[[str], None]) -> Checkpoint | None:
    """The last complete checkpoint of a folder, or None if there are none.

    Args:
        notify: called with a line about each damaged one.

    Raises:
        InputError: there are checkpoints, but all are damaged.
    """
    damaged = []
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            checkpoint = _read(path)
        except FileNotFoundError:
            continue
        except (OSError, SafetensorError, ValueError, KeyError, RecursionError) as error:
            damaged.append(f"{path} is damaged ({error})")
            continue
        for problem in damaged:
            notify(f"{problem}; going on from the one before, step {checkpoint.header.step}")
        return checkpoint
    if damaged:
        raise InputError("; ".join(damaged), "restore one from a copy, or start a new run with another out")
    return None


def _read(path: Path) -> Checkpoint:
    texts, tensors = read_tensors(path)
    values = json.loads(texts["checkpoint"])
    digest = _header_digest(values)
    header = typed(CheckpointHeader, {**values, "config": renamed(values["config"])}, "its header")
    if _digest(tensors) != header.sha256:
        raise ValueError("its tensors do not match their checksum")
    if header.header_sha256 not in (None, digest):
        raise ValueError("its header does not match its checksum")
    if not 0 <= header.step <= header.config.steps:
        raise ValueError(f"its header states step {header.step} of {header.config.steps}")
    return Checkpoint(tensors, header)


def _header_digest(header: dict[str, Any]) -> str:
    others = {name: value for name, value in header.items() if name != "header_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
