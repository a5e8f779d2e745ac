"""Coded apertures from files: one rule for what their numbers mean, wherever a mask is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.masks import RandomMask
from crsdun.scenes.array_roles import bands_first, find_array, with_axes
from crsdun.scenes.formats import ArrayFile, open_arrays, read_arrays
from crsdun.scenes.formats.array_file import let_go
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
    transmission already, and so are fractions that crsdun itself wrote; two values, 0 and v, are closed and open;
    whole numbers fill the smallest range of 2, 4, 8, 10, 12, 14 or 16 bits that holds them.

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
    # A calibrated mask may have elements above the level of open ones, and what crsdun wrote was read before.
    is_ours = "provenance" in file.metadata and bool((values != np.round(values)).any())
    if is_ours or not high > ABOVE_ONE:  # NaN is for the camera to refuse
        return values, 1.0
    divisor = _open_value(
        file, high, two=bool(np.isin(values, (0, high)).all()), whole=bool((values == np.round(values)).all())
    )
    return values / np.float32(divisor), divisor


def _open_value(file: ArrayFile, high: float, two: bool, whole: bool) -> float:
    """The number of an open pixel in a mask with numbers up to ``high``, above 1.

    Args:
        two: whether there are only two, and the other is 0.
        whole: whether all are whole.
    """
    if two:
        return high
    ranges = [2.0**bits - 1 for bits in (2, 4, 8, 10, 12, 14, 16) if high <= 2**bits - 1]
    if not ranges or not whole:
        fitting = 100.0 if 50 < high <= 100 else ranges[0] if ranges else high
        raise InputError(
            f"the mask in {file.path} holds transmissions up to {high:g}, but 1 is open",
            f"divide it by {fitting:g}, if that is the value of an open pixel",
        )
    return ranges[0]


# -- by rows -----------------------------------------------------------------------------------------------------

# Rows that are read at once to find the scale of a mask.
BLOCK = 64


@dataclass(frozen=True)
class MaskRows:
    """A coded aperture of which only the rows that are asked for are in memory.

    Attributes:
        stored: (H,W) or (C,H,W), as its file stores it; of .npy, ENVI, HDF5, .mat v7.3, Zarr and plain TIFF it is
            still in the file.
        name, file: where it comes from.
        size: (H,W) of the frame that it fills by repeating down and across; None for its own.
    """

    stored: Any
    name: str
    file: ArrayFile
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, name: str, file: ArrayFile, wavelengths: Sequence[float] | None) -> MaskRows:
        """The mask ``name`` in a file that was opened; errors as ``transmission``."""
        _, stored = find_array(file, "mask", name)
        return cls(bands_first(stored, file, wavelengths) if stored.ndim == 3 else stored, name, file)

    @property
    def shape(self) -> tuple[int, int]:
        """(H,W)."""
        return self.size or (self.stored.shape[-2], self.stored.shape[-1])

    def repeated(self, height: int, width: int) -> MaskRows:
        """The mask that fills these rows and columns, from the upper left corner on."""
        return replace(self, size=(height, width))

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Transmissions of these rows, (rows,W) or (C,rows,W) float32."""
        (height, width), own = self.shape, self.stored.shape[-2:]
        if (height, width) == own:
            return self._transmissions(top, bottom)
        whole = self._transmissions(0, own[0])  # it is small
        return whole[..., np.arange(top, bottom) % own[0], :][..., np.arange(width) % own[1]]

    @cached_property
    def divisor(self) -> float:
        """What its numbers are divided by, as in ``transmission``, found without having them all in memory."""
        high = max(float(block.max()) for block in self._blocks())
        if not high > ABOVE_ONE:
            return 1.0
        two = whole = True
        for block in self._blocks():
            two = two and bool(np.isin(block, (0, high)).all())
            whole = whole and bool((block == np.round(block)).all())
        return _open_value(self.file, high, two, whole)

    def _blocks(self) -> Iterator[np.ndarray]:
        height = self.stored.shape[-2]
        return (self._decoded(top, min(top + BLOCK, height)) for top in range(0, height, BLOCK))

    def _transmissions(self, top: int, bottom: int) -> np.ndarray:
        values, divisor = self._decoded(top, bottom), self.divisor
        return values if divisor == 1 else values / np.float32(divisor)

    def _decoded(self, top: int, bottom: int) -> np.ndarray:
        parts = (slice(None),) * (self.stored.ndim - 2) + (slice(top, bottom), slice(None))
        part = np.array(self.stored[parts])
        let_go(self.stored)
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        return np.ascontiguousarray(self.file.encoding(self.name).decode(part), dtype=np.float32)


def open_mask(path: str | Path, key: str | None = None, axes: str | None = None) -> MaskRows:
    """The coded aperture in a file, read by rows; arguments and errors as ``read_mask_and_scale``."""
    file = with_axes(grey(open_arrays(path)), axes)
    name, _ = find_array(file, "mask", key)
    return MaskRows.of(name, file, file.wavelengths)
