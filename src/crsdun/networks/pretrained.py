"""Trained weights that come with the package, by name; beside each lie its card (.md) and its training log (.csv)."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("weights")


def pretrained_weights() -> dict[str, Path]:
    """Names of the weights that the package brings, with their files."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def find_weights(given: str | os.PathLike) -> Path:
    """A weights file as it was given, or the file of shipped weights that are called so."""
    path = Path(given)
    return path if path.exists() else pretrained_weights().get(str(given), path)
