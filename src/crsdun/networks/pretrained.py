"""The trained weights shipped with the package, by name, each with its card (.md) and its training log (.csv)."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("weights")


def pretrained_weights() -> dict[str, Path]:
    """Names and files of the shipped weights."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def find_weights(given: str | os.PathLike) -> Path:
    """The given file if it exists, otherwise the file of the shipped weights of this name."""
    path = Path(given)
    return path if path.exists() else pretrained_weights().get(str(given), path)
