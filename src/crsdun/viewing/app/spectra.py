"""Spectra and class probabilities at points and over regions, for the page and as CSV."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crsdun.viewing.app.open_scene import MOST_CLASSES, Layer, OpenScene
from crsdun.viewing.app.requests import SpectraRequest
from crsdun.viewing.region_spectra import Entry, RegionSpectrum, in_box, rounded, spectrum_in
from crsdun.viewing.region_spectra import spectra_csv as as_csv
from crsdun.viewing.regions import Region, check_region, inside


def spectra_at(scene: OpenScene, request: SpectraRequest) -> list[dict[str, RegionSpectrum]]:
    """For each region, the spectrum of every layer by name.

    Raises:
        InputError: a region lies outside the scene, or contains no pixel.
    """
    for region in request.points:
        check_region(region, *scene.shape[1:])
    return [_spectra(scene, region, request.stage) for region in request.points]


def spectra_csv(scene: OpenScene, request: SpectraRequest) -> str:
    """One row for each region, layer and band; cells without data are empty. Raises as ``spectra_at``."""
    return as_csv(
        Entry(region, name, scene.wavelengths, spectrum)
        for region, spectra in zip(request.points, spectra_at(scene, request), strict=True)
        for name, spectrum in spectra.items()
    )


def _spectra(scene: OpenScene, region: Region, stage: int | None) -> dict[str, RegionSpectrum]:
    spectra = {}
    for name in scene.layers:
        layer, k = scene.layer(name, stage)
        spectra[name] = replace(
            spectrum_in(layer.cubes[k], region), classes=_class_shares(layer, k, region), stage=k + 1
        )
    return spectra


def _class_shares(layer: Layer, k: int, region: Region) -> list[float] | None:
    """Mean probability of each class; of a layer with labels only, the share of the pixels."""
    probabilities, classes, selected = layer.probabilities[k], layer.class_maps[k], inside(region)
    if probabilities is not None:
        return rounded(each[selected].mean() for each in in_box(probabilities, region))
    if classes is None:
        return None
    labels = in_box(classes, region)[selected]
    return rounded(np.bincount(labels[(labels >= 0) & (labels < MOST_CLASSES)], minlength=1) / labels.size)
