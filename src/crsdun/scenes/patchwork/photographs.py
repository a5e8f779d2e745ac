"""Photographs that scenes are textured with, shipped with the package (NOTICE names each with its licence).

Legend: h, w window · S side of a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from crsdun.scenes.patchwork.fields import Pattern, Turned
from crsdun.scenes.produce.exact_arithmetic import SceneRng

SIDE = 320
NAMES = (
    "astronaut", "brick", "camera", "chelsea", "china", "coffee", "coins", "flower", "grass", "gravel", "hubble",
    "ihc", "retina", "rocket",
)  # fmt: skip
SMALLEST = 40  # pixels: side of the coarsest copy
GAMMA = 2.2


@cache
def photograph(name: str, linear: bool) -> tuple[np.ndarray, ...]:
    """A photograph and its copies of half the side each: (3,S·S) float32 in 0..1.

    Args:
        name: one of ``NAMES``.
        linear: proportional to light; otherwise as the picture encodes it, where shadows are brighter.
    """
    from PIL import Image

    with files(__package__).joinpath(f"photos/{name}.jpg").open("rb") as file, Image.open(file) as picture:
        values = np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    if linear:
        values = values**GAMMA
    copies = []
    while values.shape[1] >= SMALLEST:
        copies.append(values.reshape(3, -1))
        side = values.shape[1] // 2
        values = values.reshape(3, side, 2, side, 2).mean(axis=(2, 4))
    return tuple(copies)


@dataclass(frozen=True)
class View:
    """Where a scene sees a photograph, which is mirrored at its borders without end.

    Attributes:
        place: pixels of the photograph from pixels of the scene.
    """

    name: str
    linear: bool
    place: Turned

    @classmethod
    def draw(cls, rng: SceneRng) -> View:
        """Any photograph, 0.5 to 2.5 times as large, turned and mirrored."""
        scale = 0.5 * 5 ** rng.uniform(0, 1)
        place = Turned.of(rng, scale, -scale if rng.chance(0.5) else scale, 0.7)
        shift = (rng.uniform(0, 2 * SIDE), rng.uniform(0, 2 * SIDE))
        name = NAMES[rng.below(len(NAMES))]
        return cls(name, rng.chance(0.6), Turned(place.cosine, place.sine, place.along, place.across, shift))

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The colour channels, (3,h,w) in 0..1, interpolated."""
        copies = photograph(self.name, self.linear)
        level = min(int(np.log2(max(1 / abs(self.place.along), 1))), len(copies) - 1)
        picture, side = copies[level], SIDE >> level
        u, v = (each / 2**level for each in self.place(x, y))
        left, top = np.floor(u), np.floor(v)
        right, down = u - left, v - top
        columns, rows = ([mirrored(first + step, side) for step in (0, 1)] for first in (left, top))
        values = np.zeros((3, *x.shape), np.float32)
        for row, share in zip(rows, (1 - down, down), strict=True):
            for column, part in zip(columns, (1 - right, right), strict=True):
                values += picture[:, row * side + column] * (share * part)
        return values


@dataclass(frozen=True)
class Brightness(Pattern):
    """The mean of a photograph's channels."""

    view: View

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        red, green, blue = self.view.at(x, y)
        return (red + green + blue) / 3


def mirrored(place: np.ndarray, side: int) -> np.ndarray:
    """Whole numbers, folded into 0 … side−1."""
    folded = place.astype(np.int64) % (2 * side)
    return np.where(folded < side, folded, 2 * side - 1 - folded)
