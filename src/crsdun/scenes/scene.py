"""The one scene type: a hyperspectral cube with its wavelengths and, where known, its classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.labelled import labelled
from crsdun.showing import Shown, size_in_words, spectrum_in_words

if TYPE_CHECKING:
    import xarray

UNLABELLED = -1
# A scene that lacks a larger share of its voxels is not compared: what is left would no longer be that scene.
MOST_MISSING = 0.5


def window(name: str, size: tuple[int, int], top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a part of the scene ``name``.

    Raises:
        InputError: the part does not lie inside a scene of that size.
    """
    rows, columns = size
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise InputError(
            f"a crop of {height}×{width} at row {top}, column {left} leaves the {rows}×{columns} scene {name!r}",
            "choose a smaller one",
        )
    return slice(top, top + height), slice(left, left + width)


def check_labels(labels: np.ndarray, class_names: Sequence[str] | None, whose: str) -> None:
    """Raise an InputError unless labels are ``UNLABELLED`` or classes: from 0 on, and with names one of these.

    Args:
        labels: integers.
        class_names: of 0, 1, 2 …; None where they have none.
        whose: they are, for the message.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    count = high + 1 if class_names is None else len(class_names)
    if low >= UNLABELLED and high < count:
        return
    what = f" but {count} class names" if high >= count else ", and below 0 only −1 means something: an unknown class"
    raise InputError(
        f"{whose} holds labels of {low} to {high}{what}",
        f"set <unlabelled> to {high if high >= count else low}, if that marks an unknown class; else correct the one "
        "that is wrong",
    )


@dataclass(frozen=True, repr=False)
class Scene(Shown):
    """What every loader returns and every writer takes.

    Attributes:
        cube: (C,H,W) float32, reflectance or radiance, usually 0..1; NaN where there is no data. What a masked array
            masks is no data.
        wavelengths: centre of each band in nm, ascending, length C; None where unknown.
        classes: (H,W) integer class of each pixel, 0..N−1, ``UNLABELLED`` (−1) where unknown, as it is where no band
            holds data, and where a masked array is masked; or None.
        class_names: name of each class, length N; or None.
        name: what to call the scene in tables and pictures.
        provenance: where the scene came from and what was done to it (file, source, licence, resampling …).
        valid: (C,H,W) bool, where the cube holds data; None where it does everywhere.

    Raises:
        InputError: shapes or lengths disagree, the cube holds infinite values, or a class is none (``check_labels``).
    """

    cube: np.ndarray
    wavelengths: tuple[float, ...] | None = None
    classes: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    name: str = "scene"
    provenance: dict[str, Any] = field(default_factory=dict)
    valid: np.ndarray | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.cube, np.ndarray):
            object.__setattr__(self, "cube", np.asarray(self.cube))
        if self.classes is not None and not isinstance(self.classes, np.ndarray):
            object.__setattr__(self, "classes", np.asarray(self.classes))
        if self.cube.ndim != 3 or 0 in self.cube.shape:
            raise InputError(f"a cube has the shape (bands, height, width), not {self.cube.shape}")
        if np.iscomplexobj(self.cube):
            raise InputError(f"the cube of {self.name!r} holds complex numbers", "give their real parts")
        if isinstance(self.cube, np.ma.MaskedArray):
            object.__setattr__(self, "cube", np.ma.filled(self.cube.astype(np.float32), np.nan))
        if isinstance(self.classes, np.ma.MaskedArray):
            object.__setattr__(self, "classes", np.ma.filled(self.classes.astype(np.int64), UNLABELLED))
        # A read-only memory map is copied here: tensors share memory with the arrays they are made of.
        object.__setattr__(self, "cube", np.require(self.cube, np.float32, ["C", "W", "E"]))
        finite = np.isfinite(self.cube)
        object.__setattr__(self, "valid", None if finite.all() else finite)
        infinite = self.missing - int(np.isnan(self.cube).sum()) if self.missing else 0
        if infinite:
            raise InputError(
                f"the cube of {self.name!r} holds {infinite} infinite value{'s' if infinite > 1 else ''}",
                "put NaN where there is no data",
            )
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", tuple(float(value) for value in self.wavelengths))
            if len(self.wavelengths) != self.bands:
                raise InputError(
                    f"{self.name!r} has {self.bands} bands but {len(self.wavelengths)} wavelengths",
                    "give one for each band",
                )
            if not all(0 < value < math.inf for value in self.wavelengths):
                raise InputError(f"the wavelengths of {self.name!r} must be positive numbers of nanometres")
            if len(set(self.wavelengths)) < len(self.wavelengths):
                raise InputError(
                    f"two bands of {self.name!r} have the same wavelength",
                    "drop one of them, or correct the list of wavelengths",
                )
            if any(b < a for a, b in zip(self.wavelengths, self.wavelengths[1:], strict=False)):
                raise InputError(f"the wavelengths of {self.name!r} do not ascend", "sort the bands by wavelength")
        if self.classes is not None:
            if self.classes.shape != self.cube.shape[1:]:
                raise InputError(
                    f"the class map of {self.name!r} has shape {self.classes.shape} but its cube "
                    f"{self.cube.shape[1:]}",
                    "was it transposed?",
                )
            if not np.issubdtype(self.classes.dtype, np.integer):
                raise InputError(f"a class map holds integers, not {self.classes.dtype}")
            check_labels(self.classes, self.class_names, f"the class map of {self.name!r}")
            if self.valid is not None:
                empty = ~self.valid.any(axis=0)
                object.__setattr__(self, "classes", np.where(empty, UNLABELLED, self.classes.astype(np.int64)))

    def _outline(self) -> list[str]:
        count = len(self.class_names or ())
        classes = "" if self.classes is None else f"{count} classes" if count else "classes"
        missing = f"{self.missing} voxels without data" if self.missing else ""
        return [
            repr(self.name), size_in_words(self.cube.shape), spectrum_in_words(self.wavelengths), classes, missing
        ]  # fmt: skip

    @property
    def missing(self) -> int:
        """The number of voxels without data."""
        return 0 if self.valid is None else self.valid.size - int(self.valid.sum())

    def check_data(self) -> None:
        """Raise an InputError if so much is missing that the rest no longer stands for the scene.

        That is a whole band, or more than half of the voxels (``MOST_MISSING``).
        """
        if self.valid is None:
            return
        empty = np.flatnonzero(~self.valid.reshape(self.bands, -1).any(axis=1))
        if 0 < len(empty) < self.bands:
            known = self.wavelengths
            first = f"band {empty[0] + 1}" if known is None else f"the band at {known[empty[0]]:g} nm"
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            raise InputError(
                f"in {self.name!r} {first}{more} holds no data anywhere", "take such bands out of the file"
            )
        share = self.missing / self.valid.size
        if share > MOST_MISSING:
            raise InputError(f"{share:.0%} of {self.name!r} holds no data", "crop it to the part that does")

    @property
    def bands(self) -> int:
        """C."""
        return self.cube.shape[0]

    def resampled(self, wavelengths: tuple[float, ...]) -> Scene:
        """The same scene on other bands (nm), by linear interpolation of each pixel's spectrum.

        A band between two others holds no data where one of them does not.

        Raises:
            InputError: the scene has no wavelengths, a requested band lies outside them, or so many bands need more
                memory than the budget.
        """
        if self.wavelengths is None:
            raise InputError(
                f"{self.name!r} has no wavelengths, so it cannot be resampled",
                f"give them with <wavelengths>, such as 400-700:{self.bands}",
            )
        known, wanted = np.asarray(self.wavelengths), np.asarray(wavelengths, dtype=np.float64)
        if wanted.min() < known[0] - 1 or wanted.max() > known[-1] + 1:
            raise InputError(
                f"{self.name!r} covers {known[0]:g}–{known[-1]:g} nm, not {wanted.min():g}–{wanted.max():g} nm",
                "choose bands inside that range",
            )
        check_budget(
            4 * len(wanted) * math.prod(self.cube.shape[1:]),
            f"{self.name!r} on {len(wanted)} bands",
            "take fewer bands",
        )
        if len(known) == 1:
            return replace(self, cube=np.repeat(self.cube, len(wanted), axis=0), wavelengths=tuple(wanted))
        right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
        weight = np.clip((wanted - known[right - 1]) / (known[right] - known[right - 1]), 0, 1)
        weight = weight.astype(np.float32)[:, None, None]
        below, above = self.cube[right - 1] * (1 - weight), self.cube[right] * weight
        if self.valid is not None:  # a neighbour without weight need not have data
            below, above = np.where(weight == 1, 0, below), np.where(weight == 0, 0, above)
        cube = below + above
        provenance = {**self.provenance, "resampled_from_nm": [float(known[0]), float(known[-1]), len(known)]}
        return replace(self, cube=cube, wavelengths=tuple(float(value) for value in wanted), provenance=provenance)

    def cropped(self, top: int, left: int, height: int, width: int) -> Scene:
        """The part of the scene that starts at (top, left); cube and classes move together.

        Raises:
            InputError: the part does not lie inside the scene.
        """
        rows, columns = self.cube.shape[1:]
        part = (..., *window(self.name, (rows, columns), top, left, height, width))
        classes = None if self.classes is None else self.classes[part]
        return replace(self, cube=self.cube[part], classes=classes)

    def to_xarray(self) -> xarray.Dataset:
        """The scene with names on its axes, ``cube`` (y, x, wavelength) and where known ``classes`` (y, x); no copy.

        Raises:
            InputError: xarray is not installed.
        """
        variables: dict[str, Any] = {"cube": (("y", "x", "wavelength"), np.moveaxis(self.cube, 0, -1))}
        if self.classes is not None:
            variables["classes"] = (("y", "x"), self.classes)
        attributes = {"name": self.name, "provenance": self.provenance}
        return labelled(variables, self.wavelengths, attributes, self.class_names)
