"""The spectra of regions, and the table that the explorer and napari save of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crsdun.scenes.spectra import mean_spectrum
from crsdun.viewing.regions import Region, inside

PLACE = ["point", "top", "left", "height", "width", "cube", "stage"]
HEADER = [*PLACE, "band", "wavelength_nm", "mean", "standard_deviation", "pixels"]


@dataclass(frozen=True)
class RegionSpectrum:
    """What one cube holds in a region.

    Attributes:
        mean: per band, over the pixels of the region that hold data; NaN where none does.
        spread: standard deviation per band of the same; None for a single pixel.
        pixels: how many the region has.
        classes: probability of each class; None where nothing is known of classes.
        stage: from 1.
    """

    mean: list[float]
    spread: list[float] | None
    pixels: int
    classes: list[float] | None = None
    stage: int = 1


class Entry(NamedTuple):
    """A spectrum in a table: where it is from, and the name and the wavelengths of the cube."""

    region: Region
    cube: str
    wavelengths: Sequence[float] | None
    spectrum: RegionSpectrum


def spectrum_in(cube: np.ndarray, region: Region) -> RegionSpectrum:
    """The spectrum of a region of a cube (C,H,W), in which it lies (``regions.check_region``)."""
    selected = inside(region)
    mean, spread = map(rounded, mean_spectrum(in_box(cube, region), selected))
    pixels = int(selected.sum())
    return RegionSpectrum(mean, spread if pixels > 1 else None, pixels)


def spectra_csv(entries: Iterable[Entry]) -> str:
    """One row for each spectrum and band; cells without data are empty."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(HEADER)
    for region, cube, wavelengths, spectrum in entries:
        place = [
            _cell(region.name),
            region.top,
            region.left,
            region.height,
            region.width,
            _cell(cube),
            spectrum.stage,
        ]
        spread = spectrum.spread or [0.0] * len(spectrum.mean)
        for band, (mean, deviation) in enumerate(zip(spectrum.mean, spread, strict=True)):
            nm = "" if wavelengths is None else round(wavelengths[band], 4)
            figures = ["", ""] if np.isnan(mean) else [mean, deviation]
            rows.writerow([*place, band + 1, nm, *figures, spectrum.pixels])
    return file.getvalue()


def in_box(image: np.ndarray, region: Region) -> np.ndarray:
    """The part of (...,H,W) in the box around a region, (...,height,width)."""
    return image[..., region.top : region.top + region.height, region.left : region.left + region.width]


def rounded(values: Iterable[float]) -> list[float]:
    """As they are shown and saved."""
    return [float(f"{value:.7g}") for value in values]


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
