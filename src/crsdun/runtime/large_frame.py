"""A frame larger than memory: its rows are read and prepared when they are wanted.

Where light does not cross the rows, any rows of a frame are a frame of their own, so ``Preparation`` does with them
what it does with a whole one. What it says of a whole frame is found here in one pass over all rows (``survey``), or
from rows that stand for all (``sample``).

Legend: C bands · H, W scene · Wm measurement width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import (
    HOT_ROWS,
    CassiCamera,
    Progress,
    Validity,
    are_points,
    below_and_above,
    check_height,
    saturation_at,
)
from crsdun.runtime.preparation import (
    FILLED,
    Preparation,
    PreparedMeasurement,
    check_below,
    check_light,
    check_open,
    no_mask,
)
from crsdun.scenes import Exposures, MaskRows, Measurement, StoredMask, open_exposures
from crsdun.scenes.array_roles import are_of_exposures
from crsdun.spread import sample_rows

# Rows that are read at once in a pass over all of them.
BLOCK = 64
# Bad pixels of the camera are filled from around them, so rows are prepared with so many more above and below.
AROUND = 16


@dataclass(frozen=True)
class Survey:
    """What one pass over a frame has found, on the scale of y = A x unless it holds counts.

    Attributes:
        low, high: least and largest value of the pixels that count.
        white: the most that a white scene gives.
        digest: SHA-256 of frame and mask, as they are decoded.
        full: the counts of full pixels and their part of all, as ``optics.saturation``; None where few are full.
        hot: how many pixels are (``optics.hot_pixels``); None where the scene is one of bright points.
    """

    low: float
    high: float
    white: float
    digest: str
    full: tuple[float, float] | None = None
    hot: int | None = 0


@dataclass(frozen=True)
class LargeFrame:
    """A measurement of which only the rows that are asked for are in memory.

    Attributes:
        exposures: of its file.
        index: of this one, from 0.
        preparation: how rows are prepared; without a mask.
        mask: None where ``preparation`` has a camera file.
    """

    exposures: Exposures
    index: int
    preparation: Preparation
    mask: MaskRows | None

    @property
    def name(self) -> str:
        """What to call the measurement."""
        return self.exposures.name_of(
            self.index, self.exposures.file.metadata.get("name", self.exposures.file.path.stem)
        )

    @property
    def height(self) -> int:
        """H, rows of the frame and of the scene."""
        return int(self.exposures.frames.shape[1])

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Of the whole mask: (H,W), or (C,H,W) where every band has its own."""
        if self.mask is not None:
            return (*self.mask.stored.shape[:-2], *self.mask.shape)
        assert self.preparation.camera_file is not None
        return self.preparation.camera_file.mask.shape

    @property
    def size(self) -> tuple[int, int, int]:
        """(C,H,W) of the scene."""
        return self.prepared(0, 1).camera.bands, self.height, self.mask_shape[-1]

    def prepared(self, top: int, bottom: int) -> PreparedMeasurement:
        """The measurement of these rows, and the camera that took them.

        Raises:
            InputError: as ``Preparation.prepare``, but dark rows and rows of a closed mask are all right.
        """
        bad = self.preparation.bad_pixels
        around = AROUND if bad else HOT_ROWS  # since light does not cross the rows
        above, below, rows = min(around, top), min(around, self.height - bottom), bottom - top
        top, bottom = top - above, bottom + below
        preparation = self.preparation.of_rows(slice(top, bottom))
        if self.mask is not None:
            mask = StoredMask(self.mask.rows(top, bottom), self.mask.divisor, self.mask.wavelengths)
            preparation = replace(preparation, **mask._asdict())
        measurement = replace(self.exposures.part(self.index, top, bottom), name=self.name)
        found = preparation.prepare(measurement, whole=False, mean=self.mean if preparation.hot else None)
        inner, taken = slice(above, above + rows), found.measurement
        provenance = {**taken.provenance, FILLED: bad} if bad else taken.provenance
        valid = None if taken.valid is None else taken.valid[inner]
        measurement = replace(taken, frame=taken.frame[inner], valid=valid, provenance=provenance)
        camera = found.camera.crop(above, 0, rows, found.camera.width)
        hot = None if found.hot is None else found.hot[inner]
        return replace(found, measurement=measurement, camera=camera, hot=hot)

    def rows(self, top: int, bottom: int) -> tuple[Tensor, CassiCamera]:
        """y of these rows, (rows,Wm) float32, and the camera that took them."""
        prepared = self.prepared(top, bottom)
        return torch.from_numpy(prepared.measurement.frame), prepared.camera

    @cached_property
    def mean(self) -> float:
        """Of the frame, as far as a sample of its rows tells."""
        parts = [self.of_points().prepared(*rows).measurement.frame for rows in self.sample_rows]
        return float(np.concatenate(parts).mean())

    @property
    def sample_rows(self) -> list[tuple[int, int]]:
        """The first row of each block of the sample, and the one after its last."""
        return sample_rows(self.height)

    def sample(self) -> PreparedMeasurement:
        """Rows from all over the frame that stand for it, as one measurement."""
        parts = [self.prepared(top, bottom) for top, bottom in self.sample_rows]
        first, cameras = parts[0], [part.camera for part in parts]
        camera = first.camera.with_mask(torch.cat([each.mask for each in cameras], -2))
        if any(each.parts for each in cameras):  # light meets nothing else by rows
            camera.parts = (Validity(torch.cat([each.counted_pixels for each in cameras])),)
        else:
            camera.parts = ()
        frame = np.concatenate([part.measurement.frame for part in parts])
        measurement = replace(first.measurement, frame=frame, valid=None)
        sample = replace(first, measurement=measurement, camera=camera, hot=None)  # which the survey counts
        raw = [self.exposures.part(self.index, *rows) for rows in self.sample_rows]
        preparation = self.preparation.of_rows(np.concatenate([np.arange(*rows) for rows in self.sample_rows]))
        return preparation.doubting(
            sample, Measurement(np.concatenate([part.frame for part in raw]), counts=raw[0].holds_counts)
        )

    def blocks(self, rows: int = BLOCK) -> Iterator[tuple[int, int]]:
        """The first row of each block of rows, and the one after the last, from top to bottom."""
        return ((top, min(top + rows, self.height)) for top in range(0, self.height, rows))

    def survey(self, progress: Progress | None = None) -> Survey:
        """One pass over all rows.

        Raises:
            InputError: there is no light, the mask is closed everywhere, or as ``prepared``.
        """
        digest, high, low, white, is_open = hashlib.sha256(), -np.inf, np.inf, 0.0, False
        hot, held, light = 0, 0.0, 0.0
        fullest, lowest, below, above = _Fullest(), 0.0, 0.0, 0.0
        for top, bottom in self.blocks():
            prepared = self.prepared(top, bottom)
            y, camera = torch.from_numpy(prepared.measurement.frame), prepared.camera
            light += float(y.sum())
            if prepared.hot is not None:
                hot += int(prepared.hot.sum())
                held += float(y.numpy()[prepared.hot].sum())
            counted = camera.counted(y)
            low, high = min(low, float(counted.min())), max(high, float(counted.max()))
            white = max(white, float(camera.open_light.max()))
            is_open = is_open or bool((camera.mask > 0).any())
            for tensor in (y, *camera.tensors):
                digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
            raw = self.exposures.part(self.index, top, bottom)
            frame = self.preparation.of_rows(slice(top, bottom)).without_bad(raw.frame)
            if self.preparation.may_be_full(raw):
                fullest.add(frame)
            if self.preparation.is_as_read(raw):
                lowest = min(lowest, float(frame.min()))
                below, above = np.add((below, above), below_and_above(frame))
            if progress is not None:
                progress(bottom, self.height)
        check_open(is_open)
        check_below(lowest, below, above)
        check_light(high, calibrated=False)
        digest.update(repr((self.size, camera.offsets, camera.wavelengths)).encode())
        full, points = fullest.saturation(self.preparation.bits), are_points(hot, held, light)
        return Survey(low, high, white, digest.hexdigest(), full, None if points else hot)

    def of_points(self) -> LargeFrame:
        """The same, without looking for hot pixels."""
        return replace(self, preparation=replace(self.preparation, hot=False))

    def below(self, full: float) -> LargeFrame:
        """The same, of which pixels with so many counts, or more, do not count."""
        return replace(self, preparation=replace(self.preparation, saturated=full))


@dataclass
class _Fullest:
    """The largest count of the rows so far, how many pixels have it, and of how many."""

    count: float = -np.inf
    pixels: int = 0
    total: int = 0

    def add(self, frame: np.ndarray) -> None:
        high = float(frame.max())
        if high > self.count:
            self.count, self.pixels = high, 0
        self.pixels += int((frame == self.count).sum())
        self.total += frame.size

    def saturation(self, bits: int | None) -> tuple[float, float] | None:
        """As ``optics.saturation`` of all rows."""
        return saturation_at(self.count, self.pixels / self.total, bits) if self.total else None


def open_large(
    file: str | Path, preparation: Preparation, mask: MaskRows | None = None, repeat: bool = False
) -> LargeFrame:
    """The frame in a file, to be decoded by rows.

    .npy, ENVI, HDF5, .mat v7.3, Zarr and TIFF in one plain piece stay in their file, and so does the mask in one of
    them; other formats are read whole.

    Args:
        preparation: what is known of it; without a mask.
        mask: None takes the one stored with the exposure, or that of the camera file.
        repeat: the mask is smaller than the scene and fills it by repeating.

    Raises:
        InputError: as ``Preparation.open`` and ``Preparation.camera_for``, or light crosses the rows.
    """
    size = None if mask is None or repeat else mask.shape
    axes = preparation.axes if are_of_exposures(preparation.axes) else None
    opened = open_exposures(file, preparation.key, preparation.wavelengths, size, axes, by_rows=True)
    exposures = replace(opened, doubtful=False)  # the camera tells
    index = exposures.place(preparation.frame)
    stored = preparation.camera_file
    if stored is None:
        mask = mask or exposures.mask_rows
        if mask is None:
            raise no_mask()
    _check_by_rows(preparation)
    height, width = exposures.frames.shape[1:]
    if repeat:
        if stored is not None:
            raise InputError("a camera file has a mask of its own size", "omit <repeat_mask>")
        assert mask is not None
        mask = mask.repeated(height, width - _span(exposures, preparation))
    frame = LargeFrame(exposures, index, preparation, None if stored is not None else mask)
    check_height(frame.mask_shape[-2:], (height, width))
    if opened.doubtful and len(opened) == frame.size[0] > 1:
        raise opened.as_cube()
    return frame


def _check_by_rows(preparation: Preparation) -> None:
    """Raise an InputError if light crosses the rows of the detector."""
    stored = preparation.camera_file
    moves = preparation.offsets if stored is None else stored.offsets
    down = any(move[0] for move in moves or () if isinstance(move, tuple | list))
    if down or (stored is not None and stored.parts):
        raise InputError(
            "this camera sends light across rows, so its frames are decoded whole", "omit <large>, or crop the frame"
        )


def _span(exposures: Exposures, preparation: Preparation) -> int:
    """Columns that the dispersion adds, where the mask does not tell how wide the scene is."""
    wavelengths = preparation.wavelengths or exposures.wavelengths
    step = preparation.step_of(exposures.step)
    if preparation.bands is None and wavelengths is None and preparation.offsets is None:
        raise InputError("behind a mask that repeats the widths do not tell the number of bands", "set <bands>")
    camera = CassiCamera(np.ones((1, 1), np.float32), preparation.bands, wavelengths, step, preparation.offsets)
    return camera.span
