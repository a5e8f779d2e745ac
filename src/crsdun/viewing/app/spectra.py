"""Spectra and class probabilities at points and in boxes, for the page and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.viewing.app.workspace import Layer, Workspace

MOST_POINTS = 64


@dataclass(frozen=True)
class Region:
    """A pixel, or a box of pixels whose mean is taken."""

    name: str
    top: int
    left: int
    height: int = 1
    width: int = 1

    @classmethod
    def from_json(cls, value: Any, subject: Workspace) -> Region:
        """Raises an InputError where it does not lie in the scene."""
        _, H, W = subject.shape
        try:
            numbers = {key: int(value.get(key, 1)) for key in ("top", "left", "height", "width")}
            place = cls(str(value.get("name", ""))[:80], **numbers)
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError("a point is a top and a left pixel, and for a box a height and a width") from error
        sides = ((place.top, place.height, H), (place.left, place.width, W))
        if any(start < 0 or length < 1 or start + length > whole for start, length, whole in sides):
            raise InputError(f"{place} lies outside the scene of {H}×{W} pixels")
        return place

    def of(self, image: np.ndarray) -> np.ndarray:
        """The pixels of (K,H,W), (K, pixels)."""
        part = image[:, self.top : self.top + self.height, self.left : self.left + self.width]
        return part.reshape(len(image), -1)


def spectra_at(subject: Workspace, places: list[Region], stage: int | None) -> list[dict[str, Any]]:
    """Of each place and layer: ``mean`` and ``spread`` (standard deviation) per band, and class probabilities."""
    if len(places) > MOST_POINTS:
        raise InputError(f"{len(places)} points at once are too many", f"at most {MOST_POINTS}")
    return [{"layers": {name: _at(subject, name, place, stage) for name in subject.layers}} for place in places]


def _at(subject: Workspace, name: str, place: Region, stage: int | None) -> dict[str, Any]:
    layer, k = subject.layer(name, stage)
    values = place.of(layer.cubes[k])
    told: dict[str, Any] = {"mean": _plain(values.mean(1)), "stage": k + 1}
    if values.shape[1] > 1:
        told["spread"] = _plain(values.std(1))
    shares = _shares(layer, k, place)
    if shares is not None:
        told["classes"] = _plain(shares)
    return told


def _shares(layer: Layer, k: int, place: Region) -> np.ndarray | None:
    """Probability of each class; of a layer that knows only classes, the share of the pixels."""
    probabilities, classes = layer.probabilities[k], layer.class_maps[k]
    if probabilities is not None:
        return place.of(probabilities).mean(1)
    if classes is None:
        return None
    here = place.of(classes[None])[0]
    return np.bincount(here[here >= 0], minlength=1) / max(here.size, 1)


def spectra_csv(subject: Workspace, places: list[Region], stage: int | None) -> str:
    """One row for each place, layer and band."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    header = ["point", "top", "left", "height", "width", "cube", "stage", "band", "wavelength_nm", "mean"]
    rows.writerow([*header, "standard_deviation"])
    for place, told in zip(places, spectra_at(subject, places, stage), strict=True):
        where = [_cell(place.name), place.top, place.left, place.height, place.width]
        for name, here in told["layers"].items():
            spread = here.get("spread", [0.0] * len(here["mean"]))
            for band, (mean, deviation) in enumerate(zip(here["mean"], spread, strict=True)):
                nm = "" if subject.wavelengths is None else round(subject.wavelengths[band], 4)
                rows.writerow([*where, _cell(name), here["stage"], band + 1, nm, mean, deviation])
    return file.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
