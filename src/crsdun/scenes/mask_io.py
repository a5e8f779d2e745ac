"""Coded apertures from files: one rule for what their numbers mean, wherever a mask is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.masks import RandomMask
from crsdun.scenes.array_roles import around, bands_first, find_array, with_axes
from crsdun.scenes.formats import ArrayFile, open_arrays, read_arrays
from crsdun.scenes.formats.array_file import let_go
from crsdun.scenes.formats.pictures import grey

# The noise of a calibration may exceed an open pixel by this much.
ABOVE_ONE = 1.05


class StoredMask(NamedTuple):
    """A coded aperture from a file; its fields are settings of ``runtime.Preparation``.

    Attributes:
        mask: (H,W) float32, or (C,H,W) where it was calibrated per band; scaled as ``transmission``.
        mask_divisor: what its numbers were divided by.
        mask_wavelengths: of the bands of a (C,H,W) mask in nm, where the file states them, in its order.
    """

    mask: np.ndarray
    mask_divisor: float = 1.0
    mask_wavelengths: tuple[float, ...] | None = None


def parse_mask(text: str | Path, key: str | None = None) -> tuple[np.ndarray | RandomMask, tuple[float, ...] | None]:
    """A mask from what a person types: ``random``, ``random:SEED``, ``open`` (no mask at all), or the name of a file.

    Args:
        key: name of the mask in its file.

    Returns:
        The mask, and its wavelengths as of ``StoredMask``: ``mask`` and ``mask_wavelengths`` of an ``Exposure``.

    Raises:
        InputError: the seed is not a whole number, or as ``read_mask``.
    """
    kind, _, seed = str(text).partition(":")
    if str(text) == "open" and not Path("open").is_file():
        return RandomMask(transmission=1.0), None
    if kind != "random":
        mask, _, wavelengths = read_stored_mask(text, key)
        return mask, wavelengths
    if not re.fullmatch("[0-9]{0,18}", seed):
        raise InputError(f"{str(text)!r} is not a random mask", "write random:SEED with an integer, or name a file")
    return RandomMask(seed=int(seed or "0")), None


def read_mask(path: str | Path, key: str | None = None, axes: str | None = None) -> np.ndarray:
    """The mask alone of ``read_stored_mask``."""
    return read_stored_mask(path, key, axes).mask


def read_stored_mask(path: str | Path, key: str | None = None, axes: str | None = None) -> StoredMask:
    """A coded aperture from any file that ``read_arrays`` reads, and what the file says of it.

    Args:
        key: name of the mask in its file; None takes the one with a known name, or the only candidate.
        axes: of a mask per band, such as "hwc"; None finds out (``bands_first``).

    Raises:
        InputError: the file cannot be read, does not reveal which array is the mask, or is a colour picture.
    """
    file = with_axes(_of_mask(grey(read_arrays(path)), key), axes)
    name, _ = find_array(file, "mask", key)
    return transmission(name, around(file, name))


def _of_mask(file: ArrayFile, key: str | None) -> ArrayFile:
    """The file; raises an InputError where it says more than a mask, which would be lost, and no array is named."""
    if key is None and file.metadata.get("kind") == "camera":
        raise InputError(f"{file.path} is a camera file", "omit <mask>, and set <camera> to it")
    return file


def transmission(name: str, file: ArrayFile, wavelengths: Sequence[float] | None = None) -> StoredMask:
    """The numbers that ``file`` stores for the mask ``name`` as transmissions.

    First the encoding that the file states is applied. Then the values decide, not their type: nothing above 1 is a
    transmission already, and so are fractions that crsdun itself wrote; two values, 0 and v, are closed and open;
    whole numbers fill the smallest range of 2, 4, 8, 10, 12, 14 or 16 bits that holds them.

    Args:
        wavelengths: of its bands in nm; None takes those in the file.

    Raises:
        InputError: there are other numbers above 1, or only two of which none is 0, or the bands of a 3-D mask cannot
            be found.
    """
    _, stored = find_array(file, "mask", name)
    known = None
    if stored.ndim == 3:
        known = file.wavelengths if wavelengths is None else tuple(wavelengths)
        stored = bands_first(stored, file, known)
    values = np.ascontiguousarray(file.encoding(name).decode(stored), dtype=np.float32)
    divisor = _Range(file).with_block(values).divisor
    known = known if known is not None and len(known) == len(values) else None
    return StoredMask(values if divisor == 1 else values / np.float32(divisor), divisor, known)


@dataclass(frozen=True)
class _Range:
    """The numbers of a mask, seen block by block.

    Attributes:
        file: that holds them.
        low, high: the least and the largest.
        between: whether there are others between these.
        whole: whether all are whole.
    """

    file: ArrayFile
    low: float = np.inf
    high: float = -np.inf
    between: bool = False
    whole: bool = True

    def with_block(self, block: np.ndarray) -> _Range:
        """The same after some more of them."""
        low, high = min(self.low, float(block.min())), max(self.high, float(block.max()))
        ends = {end for end in (self.low, self.high) if np.isfinite(end)}
        between = self.between or not ends <= {low, high} or not bool(np.isin(block, (low, high)).all())
        return _Range(self.file, low, high, between, self.whole and bool((block == np.round(block)).all()))

    @property
    def divisor(self) -> float:
        """What they are divided by, as in ``transmission``; the number of an open pixel."""
        # A calibrated mask may have elements above the level of open ones, and what crsdun wrote was read before.
        is_ours = "provenance" in self.file.metadata and not self.whole
        if is_ours or not self.high > ABOVE_ONE:  # NaN is for the camera to refuse
            return 1.0
        if not self.between and self.low in (0, self.high):
            return self.high
        if not self.between:
            raise InputError(
                f"the mask in {self.file.path} holds two values, {self.low:g} and {self.high:g}, neither of them 0",
                "save it with 0 where it is closed and 1 where it is open, or its transmissions in 0..1",
            )
        ranges = [2.0**bits - 1 for bits in (2, 4, 8, 10, 12, 14, 16) if self.high <= 2**bits - 1]
        if not ranges or not self.whole:
            fitting = next((white for white in (100.0, 255.0) if white / 2 < self.high <= white), self.high)
            raise InputError(
                f"the mask in {self.file.path} holds transmissions up to {self.high:g}, but 1 is open",
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
        wavelengths: of the bands of a (C,H,W) mask in nm, where the file states them, in its order.
        size: (H,W) of the frame that it fills by repeating down and across; None for its own.
    """

    stored: Any
    name: str
    file: ArrayFile
    wavelengths: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, name: str, file: ArrayFile, wavelengths: Sequence[float] | None = None) -> MaskRows:
        """The mask ``name`` in a file that was opened; arguments and errors as ``transmission``."""
        _, stored = find_array(file, "mask", name)
        if stored.ndim == 2:
            return cls(stored, name, file)
        known = file.wavelengths if wavelengths is None else tuple(wavelengths)
        stored = bands_first(stored, file, known)
        return cls(stored, name, file, known if known is not None and len(known) == stored.shape[0] else None)

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
        seen = _Range(self.file)
        for block in self._blocks():
            seen = seen.with_block(block)
        return seen.divisor

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
    """The coded aperture in a file, read by rows; arguments and errors as ``read_stored_mask``."""
    file = with_axes(_of_mask(grey(open_arrays(path)), key), axes)
    name, _ = find_array(file, "mask", key)
    return MaskRows.of(name, around(file, name))
