"""The one classifier type: from the spectrum of a pixel to its class, for any cube whose bands it can be asked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.classifiers.kinds import KINDS, Arrays
from crsdun.classifiers.normalisation import NORMALISATIONS, floor_of
from crsdun.classifiers.smoothing import smoothed, softmax, usual_difference
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, Scene

SAME_NM = 0.05  # bands nearer than this to those of a classifier are the same
PIXELS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Usual:
    """What is usual in a scene, which its parts are classified with.

    Attributes:
        floor: of the normalisation (``floor_of``).
        difference: between neighbours (``smoothed``).
    """

    floor: float
    difference: float


@dataclass(frozen=True)
class SpectralClassifier:
    """A classifier of spectra that was fitted to marked pixels (``fit_classifier``).

    Attributes:
        kind: a name in ``KINDS``.
        class_names: background first, length N.
        given: the classes that it gives, (K,) ascending places in ``class_names``: those that were marked.
        arrays: what was fitted, as its kind stores it.
        bands: C of the spectra that it knows.
        wavelengths: of these bands in nm, ascending; None where they were unknown.
        normalisation: of spectra, a name in ``NORMALISATIONS``.
        smoothing: strength with which neighbours are heard (``smoothed``); 0 for none.
        provenance: what it was fitted to and how it was chosen, as plain JSON values.
    """

    kind: str
    class_names: tuple[str, ...]
    given: np.ndarray
    arrays: Arrays = field(repr=False)
    bands: int
    wavelengths: tuple[float, ...] | None
    normalisation: str
    smoothing: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def check_bands(self, bands: int, wavelengths: tuple[float, ...] | None, name: str) -> None:
        """Raise an InputError unless spectra of so many bands, ascending, can be brought to its own.

        Args:
            wavelengths: of these bands in nm; None where they are unknown.
            name: whose they are, for the message.
        """
        if wavelengths is None and self.wavelengths is None:
            if bands != self.bands:
                raise InputError(
                    f"the classifier knows {self.bands} bands but {name!r} has {bands}, both without wavelengths",
                    "give both their wavelengths",
                )
        elif wavelengths is None:
            raise InputError(
                f"the classifier knows its wavelengths but {name!r} has none", "give them with <wavelengths>"
            )
        elif self.wavelengths is None:
            raise InputError(
                f"the classifier was made without wavelengths, but {name!r} has some",
                "make it again from a scene with wavelengths",
            )
        elif self.wavelengths[0] < min(wavelengths) - 1 or self.wavelengths[-1] > max(wavelengths) + 1:
            raise InputError(
                f"the classifier needs {self.wavelengths[0]:g}–{self.wavelengths[-1]:g} nm, but {name!r} covers "
                f"{min(wavelengths):g}–{max(wavelengths):g} nm",
                "make one from a scene with these bands",
            )

    def on_its_bands(self, scene: Scene) -> Scene:
        """A scene resampled to the bands of the classifier, where it has others; raises as ``check_bands``."""
        self.check_bands(scene.bands, scene.wavelengths, scene.name)
        if self.wavelengths is None or scene.wavelengths is None:
            return scene
        if scene.bands == self.bands and np.allclose(scene.wavelengths, self.wavelengths, rtol=0, atol=SAME_NM):
            return scene
        return scene.resampled(self.wavelengths)

    def usual(self, parts: Iterable[Scene]) -> Usual:
        """What is usual in a scene, as far as parts of it tell.

        Raises:
            InputError: as ``check_bands``.
        """
        cubes = [self.on_its_bands(part).cube for part in parts]
        floor = floor_of(cubes)
        features = (np.concatenate([*self._features(cube, floor)]).T.reshape(cube.shape) for cube in cubes)
        return Usual(floor, usual_difference(features))

    def _features(self, cube: np.ndarray, floor: float) -> Iterator[np.ndarray]:
        """The normalised spectra of its pixels, (n,C) float64, so many at once."""
        spectra = cube.reshape(self.bands, -1)
        for start in range(0, spectra.shape[1], PIXELS_AT_ONCE):
            part = spectra[:, start : start + PIXELS_AT_ONCE].T
            yield NORMALISATIONS[self.normalisation](part.astype(np.float64), floor)

    def probabilities(self, scene: Scene, usual: Usual | None = None) -> np.ndarray:
        """The share of each class, (N,H,W) float32; NaN where a band of the pixel holds no data.

        How sure the examples make it, which is no measured frequency: few examples make it too sure.

        Args:
            usual: in the whole scene, where this is a part of it.

        Raises:
            InputError: the bands are not those of the classifier and cannot be brought to them, or there is not
                enough memory.
        """
        cube = self.on_its_bands(scene).cube
        size = cube.shape[1:]
        pixels = size[0] * size[1]
        numbers = self.bands + 3 * len(self.given) + len(self.class_names) + 30
        check_budget(4 * numbers * pixels, f"the classes of {scene.name!r}")
        shares, spectra = np.empty((len(self.given), pixels), np.float32), np.empty((self.bands, pixels), cube.dtype)
        start = 0
        floor, difference = (floor_of([cube]), None) if usual is None else (usual.floor, usual.difference)
        for features in self._features(cube, floor):
            part = slice(start, start + len(features))
            known = np.isfinite(features).all(1)
            answer = softmax(KINDS[self.kind].scores(self.arrays, np.where(known[:, None], features, 0)), axis=1)
            shares[:, part] = np.where(known[:, None], answer, np.nan).T
            spectra[:, part] = features.T
            start = part.stop
        heard = smoothed(shares.reshape(-1, *size), spectra.reshape(-1, *size), self.smoothing, difference)
        whole = np.zeros((len(self.class_names), *size), np.float32)
        whole[self.given] = heard
        whole[:, np.isnan(heard[0])] = np.nan
        return whole

    def classify(self, scene: Scene, usual: Usual | None = None) -> Scene:
        """The same scene with the class map and the names of the classifier; arguments as ``probabilities``."""
        shares = self.probabilities(scene, usual)
        known = np.isfinite(shares[0])
        classes = np.where(known, np.nan_to_num(shares).argmax(0), UNLABELLED)
        return replace(scene, classes=classes, class_names=self.class_names)

    def summary(self) -> dict[str, Any]:
        """What it is and where it comes from, as plain JSON values."""
        return {
            "kind": self.kind,
            "class_names": list(self.class_names),
            "normalisation": self.normalisation,
            "smoothing": self.smoothing,
            **self.provenance,
        }
