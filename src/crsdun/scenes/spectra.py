"""Spectra of pixels and of boxes of a scene, as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.scene import Scene


class Box(NamedTuple):
    """A part of a scene, in pixels from its upper left corner."""

    top: int
    left: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """``x12_y30`` of a single pixel, ``x10-19_y30-34`` of more: columns to the right and rows down, from 0."""
        x = f"x{self.left}" if self.width == 1 else f"x{self.left}-{self.left + self.width - 1}"
        y = f"y{self.top}" if self.height == 1 else f"y{self.top}-{self.top + self.height - 1}"
        return f"{x}_{y}"

    @property
    def pixels(self) -> int:
        return self.height * self.width


class Spectrum(NamedTuple):
    """Of the pixels of a box that hold data, for each band; NaN where none does."""

    box: Box
    mean: np.ndarray
    deviation: np.ndarray


def mean_spectrum(cube: np.ndarray, selected: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean spectrum of pixels and its standard deviation, (C,) float64; voxels without data (NaN) do not count.

    Args:
        cube: (C,H,W); no more than one band of it is copied.
        selected: which pixels, (H,W) bool; None takes all of them.
    """
    figures = []
    for band in cube:
        values = (band if selected is None else band[selected]).astype(np.float64)
        known = values[~np.isnan(values)]
        figures.append((known.mean(), known.std()) if known.size else (np.nan, np.nan))
    mean, deviation = np.array(figures).T
    return mean, deviation


def spectra_in(scene: Scene, boxes: Sequence[Box]) -> list[Spectrum]:
    """The mean spectrum of each box and its standard deviation, (C,) float64.

    Raises:
        InputError: a box does not lie inside the scene.
    """
    H, W = scene.cube.shape[1:]
    spectra = []
    for box in boxes:
        inside = min(box.top, box.left) >= 0 and box.top + box.height <= H and box.left + box.width <= W
        if not inside or min(box.height, box.width) < 1:
            raise InputError(
                f"{box.name} is no part of the scene of {W} columns (x) and {H} rows (y)", "count both from 0"
            )
        spectra.append(Spectrum(box, *mean_spectrum(scene.cropped(*box).cube)))
    return spectra


def spectra_csv(scene: Scene, boxes: Sequence[Box]) -> str:
    """A line for each band: its wavelength in nm, or its number from 1 where that is unknown, then the spectra.

    A column for each box, called by its name; behind that of several pixels their standard deviation, ``…_sd``. Cells
    without data are empty. Raises as ``spectra_in``.
    """
    header, columns = ["band"], [[str(band + 1) for band in range(scene.bands)]]
    if scene.wavelengths is not None:
        header, columns = ["wavelength_nm"], [[f"{nm:.10g}" for nm in scene.wavelengths]]
    for box, mean, deviation in spectra_in(scene, boxes):
        header.append(box.name)
        columns.append(_cells(mean))
        if box.pixels > 1:
            header.append(f"{box.name}_sd")
            columns.append(_cells(deviation))
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *zip(*columns, strict=True)])
    return file.getvalue()


def _cells(values: Iterable[float]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.7g}" for value in values]
