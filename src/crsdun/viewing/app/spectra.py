"""Spectra and class probabilities at points and over regions, for the page and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crsdun.scenes.spectra import mean_spectrum
from crsdun.viewing.app.open_scene import MOST_CLASSES, Layer, OpenScene
from crsdun.viewing.app.requests import SpectraRequest
from crsdun.viewing.regions import Region, check_region, inside


@dataclass(frozen=True)
class Spectrum:
    """What one layer holds in a region.

    Attributes:
        mean: per band, over the pixels of the region that hold data; NaN where none does.
        spread: standard deviation per band of the same; None for a single pixel.
        classes: probability of each class; None where the layer has no classes.
        stage: from 1.
        pixels: how many the region has.
    """

    mean: list[float]
    spread: list[float] | None
    classes: list[float] | None
    stage: int
    pixels: int


def spectra_at(scene: OpenScene, request: SpectraRequest) -> list[dict[str, Spectrum]]:
    """For each region, the spectrum of every layer by name.

    Raises:
        InputError: a region lies outside the scene, or contains no pixel.
    """
    for region in request.points:
        check_region(region, *scene.shape[1:])
    return [_spectra(scene, region, request.stage) for region in request.points]


def spectra_csv(scene: OpenScene, request: SpectraRequest) -> str:
    """One row for each region, layer and band; cells without data are empty. Raises as ``spectra_at``."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    header = ["point", "top", "left", "height", "width", "cube", "stage", "band", "wavelength_nm", "mean"]
    rows.writerow([*header, "standard_deviation", "pixels"])
    for region, spectra in zip(request.points, spectra_at(scene, request), strict=True):
        place = [_cell(region.name), region.top, region.left, region.height, region.width]
        for name, spectrum in spectra.items():
            spread = spectrum.spread or [0.0] * len(spectrum.mean)
            for band, (mean, deviation) in enumerate(zip(spectrum.mean, spread, strict=True)):
                nm = "" if scene.wavelengths is None else round(scene.wavelengths[band], 4)
                figures = ["", ""] if np.isnan(mean) else [mean, deviation]
                rows.writerow([*place, _cell(name), spectrum.stage, band + 1, nm, *figures, spectrum.pixels])
    return file.getvalue()


def _spectra(scene: OpenScene, region: Region, stage: int | None) -> dict[str, Spectrum]:
    selected, spectra = inside(region), {}
    pixels = int(selected.sum())
    for name in scene.layers:
        layer, k = scene.layer(name, stage)
        mean, spread = map(_rounded, mean_spectrum(_box(layer.cubes[k], region), selected))
        shares = _class_shares(layer, k, region, selected)
        spectra[name] = Spectrum(mean, spread if pixels > 1 else None, shares, k + 1, pixels)
    return spectra


def _class_shares(layer: Layer, k: int, region: Region, selected: np.ndarray) -> list[float] | None:
    """Mean probability of each class; of a layer with labels only, the share of the pixels."""
    probabilities, classes = layer.probabilities[k], layer.class_maps[k]
    if probabilities is not None:
        return _rounded(each[selected].mean() for each in _box(probabilities, region))
    if classes is None:
        return None
    labels = _box(classes, region)[selected]
    return _rounded(np.bincount(labels[(labels >= 0) & (labels < MOST_CLASSES)], minlength=1) / labels.size)


def _box(image: np.ndarray, region: Region) -> np.ndarray:
    """The part of (...,H,W) in the box around a region, (...,height,width)."""
    return image[..., region.top : region.top + region.height, region.left : region.left + region.width]


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
