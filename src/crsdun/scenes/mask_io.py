"""Coded apertures from files: one rule for what their numbers mean, wherever a mask is stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.masks import RandomMask
from crsdun.scenes.array_roles import bands_first, find_array, with_axes
from crsdun.scenes.formats import ArrayFile, read_arrays
from crsdun.scenes.formats.pictures import grey

# The noise of a calibration may exceed an open pixel by this much.
ABOVE_ONE = 1.05


def parse_mask(text: str | Path, key: str | None = None) -> np.ndarray | RandomMask:
    """A mask from what a person types: ``random``, ``random:SEED``, ``open`` (no mask at all), or the name of a file.

    Args:
        key: name of the mask in its file.

    Raises:
        InputError: the seed is not a whole number, or as ``read_mask``.
    """
    kind, _, seed = str(text).partition(":")
    if str(text) == "open" and not Path("open").exists():
        return RandomMask(transmission=1.0)
    if kind != "random":
        return read_mask(text, key)
    if not re.fullmatch("[0-9]{0,18}", seed):
        raise InputError(f"{str(text)!r} is not a random mask", "write random:SEED with an integer, or name a file")
    return RandomMask(seed=int(seed or "0"))


def read_mask(path: str | Path, key: str | None = None, axes: str | None = None) -> np.ndarray:
    """The mask alone of ``read_mask_and_scale``."""
    return read_mask_and_scale(path, key, axes)[0]


def read_mask_and_scale(
    path: str | Path, key: str | None = None, axes: str | None = None
) -> tuple[np.ndarray, float]:
    """A coded aperture from any file that ``read_arrays`` reads, and what its numbers were divided by.

    Args:
        key: name of the mask in its file; None takes the one with a known name, or the only candidate.
        axes: of a mask per band, such as "hwc"; None finds out (``bands_first``).

    Returns:
        (H,W) float32, or (C,H,W) where it was calibrated per band; scaled as ``transmission``.

    Raises:
        InputError: the file cannot be read, does not reveal which array is the mask, or is a colour picture.
    """
    file = with_axes(grey(read_arrays(path)), axes)
    name, _ = find_array(file, "mask", key)
    return transmission(name, file, file.wavelengths)


def transmission(name: str, file: ArrayFile, wavelengths: Sequence[float] | None) -> tuple[np.ndarray, float]:
    """The numbers that ``file`` stores for the mask ``name`` as transmissions, and what they were divided by.

    First the encoding that the file states is applied. Then the values decide, not their type: nothing above 1 is a
    transmission already; two values, 0 and v, are closed and open; whole numbers fill the smallest range of 2, 4, 8,
    10, 12, 14 or 16 bits that holds them.

    Returns:
        (H,W) or (C,H,W) float32.

    Raises:
        InputError: there are other numbers above 1, or the bands of a 3-D mask cannot be found.
    """
    _, stored = find_array(file, "mask", name)
    if stored.ndim == 3:
        stored = bands_first(stored, file, wavelengths)
    values = np.ascontiguousarray(file.encoding(name).decode(stored), dtype=np.float32)
    high = float(values.max())
    if not high > ABOVE_ONE:  # NaN is for the camera to refuse
        return values, 1.0
    if np.isin(values, (0, high)).all():
        return values / np.float32(high), high
    ranges = [2.0**bits - 1 for bits in (2, 4, 8, 10, 12, 14, 16) if high <= 2**bits - 1]
    if not ranges or (values != np.round(values)).any():
        fitting = 100.0 if 50 < high <= 100 else ranges[0] if ranges else high
        raise InputError(
            f"the mask in {file.path} holds transmissions up to {high:g}, but 1 is open",
            f"divide it by {fitting:g}, if that is the value of an open pixel",
        )
    return values / np.float32(ranges[0]), ranges[0]
