"""The one scene type: a hyperspectral cube with its wavelengths and, where known, its classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError

UNLABELLED = -1


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


@dataclass(frozen=True)
class Scene:
    """What every loader returns and every writer takes.

    Attributes:
        cube: (C,H,W) float32, reflectance or radiance, usually 0..1.
        wavelengths: centre of each band in nm, ascending, length C; None where unknown.
        classes: (H,W) integer class of each pixel, 0..N−1, ``UNLABELLED`` (−1) where unknown; or None.
        class_names: name of each class, length N; or None.
        name: what to call the scene in tables and pictures.
        provenance: where the scene came from and what was done to it (file, source, licence, resampling …).

    Raises:
        InputError: shapes or lengths disagree, or the cube holds NaN or infinity.
    """

    cube: np.ndarray
    wavelengths: tuple[float, ...] | None = None
    classes: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    name: str = "scene"
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cube.ndim != 3 or 0 in self.cube.shape:
            raise InputError(f"a cube has the shape (bands, height, width), not {self.cube.shape}")
        # A read-only memory map is copied here: tensors share memory with the arrays they are made of.
        object.__setattr__(self, "cube", np.require(self.cube, np.float32, ["C", "W", "E"]))
        if not np.isfinite(self.cube).all():
            count = int((~np.isfinite(self.cube)).sum())
            raise InputError(f"the cube of {self.name!r} holds {count} NaN or infinite values", "replace them first")
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", tuple(float(value) for value in self.wavelengths))
            if len(self.wavelengths) != self.bands:
                raise InputError(
                    f"{self.name!r} has {self.bands} bands but {len(self.wavelengths)} wavelengths",
                    "give one for each band",
                )
            if any(b <= a for a, b in zip(self.wavelengths, self.wavelengths[1:], strict=False)):
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

    @property
    def bands(self) -> int:
        """C."""
        return self.cube.shape[0]

    def resampled(self, wavelengths: tuple[float, ...]) -> Scene:
        """The same scene on other bands (nm), by linear interpolation of each pixel's spectrum.

        Raises:
            InputError: the scene has no wavelengths, a requested band lies outside them, or so many bands need more
                memory than the budget.
        """
        if self.wavelengths is None:
            raise InputError(f"{self.name!r} has no wavelengths, so it cannot be resampled", "give them first")
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
        cube = self.cube[right - 1] * (1 - weight) + self.cube[right] * weight
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
