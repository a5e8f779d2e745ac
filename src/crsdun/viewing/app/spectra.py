"""Spectra and class probabilities at points and over boxes, for the page and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from crsdun.errors import InputError
from crsdun.viewing.app.open_scene import MOST_CLASSES, Layer, OpenScene
from crsdun.viewing.app.requests import Region, SpectraRequest


@dataclass(frozen=True)
class Spectrum:
    """What one layer holds in a region.

    Attributes:
        mean: per band, over the region.
        spread: standard deviation per band; None for a single pixel.
        classes: probability of each class; None where the layer has no classes.
        stage: from 1.
    """

    mean: list[float]
    spread: list[float] | None
    classes: list[float] | None
    stage: int


def spectra_at(scene: OpenScene, request: SpectraRequest) -> list[dict[str, Spectrum]]:
    """For each region, the spectrum of every layer by name.

    Raises:
        InputError: a region lies outside the scene.
    """
    for region in request.points:
        check_inside(region, scene)
    return [
        {name: _spectrum(scene, name, region, request.stage) for name in scene.layers} for region in request.points
    ]


def spectra_csv(scene: OpenScene, request: SpectraRequest) -> str:
    """One row for each region, layer and band; raises as ``spectra_at``."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    header = ["point", "top", "left", "height", "width", "cube", "stage", "band", "wavelength_nm", "mean"]
    rows.writerow([*header, "standard_deviation"])
    for region, spectra in zip(request.points, spectra_at(scene, request), strict=True):
        place = [_cell(region.name), region.top, region.left, region.height, region.width]
        for name, spectrum in spectra.items():
            spread = spectrum.spread or [0.0] * len(spectrum.mean)
            for band, (mean, deviation) in enumerate(zip(spectrum.mean, spread, strict=True)):
                nm = "" if scene.wavelengths is None else round(scene.wavelengths[band], 4)
                rows.writerow([*place, _cell(name), spectrum.stage, band + 1, nm, mean, deviation])
    return file.getvalue()


def check_inside(region: Region, scene: OpenScene) -> None:
    """Raise an InputError where a region does not lie in the scene."""
    _, H, W = scene.shape
    sides = ((region.top, region.height, H), (region.left, region.width, W))
    if any(start < 0 or length < 1 or start + length > whole for start, length, whole in sides):
        box = f"{region.height}×{region.width} pixels at row {region.top}, column {region.left}"
        raise InputError(f"the region of {box} lies outside the scene of {H}×{W} pixels")


def _spectrum(scene: OpenScene, name: str, region: Region, stage: int | None) -> Spectrum:
    layer, k = scene.layer(name, stage)
    values = _pixels(layer.cubes[k], region)
    spread = _rounded(values.std(1)) if values.shape[1] > 1 else None
    return Spectrum(_rounded(values.mean(1)), spread, _class_shares(layer, k, region), k + 1)


def _class_shares(layer: Layer, k: int, region: Region) -> list[float] | None:
    """Mean probability of each class; of a layer with labels only, the share of the pixels."""
    probabilities, classes = layer.probabilities[k], layer.class_maps[k]
    if probabilities is not None:
        return _rounded(_pixels(probabilities, region).mean(1))
    if classes is None:
        return None
    labels = _pixels(classes[None], region)[0]
    return _rounded(np.bincount(labels[(labels >= 0) & (labels < MOST_CLASSES)], minlength=1) / labels.size)


def _pixels(image: np.ndarray, region: Region) -> np.ndarray:
    """The pixels of (K,H,W) in a region, (K, pixels)."""
    part = image[:, region.top : region.top + region.height, region.left : region.left + region.width]
    return part.reshape(len(image), -1)


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
