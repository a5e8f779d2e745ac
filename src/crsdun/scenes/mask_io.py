"""Coded apertures from files: one rule for what their numbers mean, wherever a mask is stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.masks import RandomMask
from crsdun.scenes.array_roles import bands_first, find_array, grey, unit_range
from crsdun.scenes.formats import ArrayFile, read_arrays


def parse_mask(text: str | Path, key: str | None = None) -> np.ndarray | RandomMask:
    """A mask from what a person types: ``random``, ``random:SEED``, or the name of a file.

    Args:
        key: name of the mask in its file.

    Raises:
        InputError: the seed is not a whole number, or as ``read_mask``.
    """
    kind, _, seed = str(text).partition(":")
    if kind != "random":
        return read_mask(text, key)
    if not re.fullmatch("[0-9]{0,18}", seed):
        raise InputError(f"{str(text)!r} is not a random mask", "write random:SEED with an integer, or name a file")
    return RandomMask(seed=int(seed or "0"))


def read_mask(path: str | Path, key: str | None = None) -> np.ndarray:
    """A coded aperture from any file that ``read_arrays`` reads.

    Args:
        key: name of the mask in its file; None takes the one with a known name, or the only candidate.

    Returns:
        (H,W) float32, or (C,H,W) where it was calibrated per band; scaled as ``transmission``.

    Raises:
        InputError: the file cannot be read, does not reveal which array is the mask, or is a colour picture.
    """
    file = grey(read_arrays(path))
    _, mask = find_array(file, "mask", key)
    return transmission(mask, file, file.wavelengths)


def transmission(stored: np.ndarray, file: ArrayFile, wavelengths: Sequence[float] | None) -> np.ndarray:
    """The numbers that ``file`` stores for a mask as transmissions, (H,W) or (C,H,W) float32.

    8- and 16-bit integers are divided by the largest number of their type, unless they are zeros and ones.
    """
    if stored.ndim == 3:
        stored = bands_first(stored, file, wavelengths)
    if stored.dtype.kind in "iu" and stored.max() > 1:
        stored, _ = unit_range(stored, file)
    return np.ascontiguousarray(stored, dtype=np.float32)
