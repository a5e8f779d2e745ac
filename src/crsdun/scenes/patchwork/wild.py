"""Produce in the wild: the objects of Produce-23 anywhere in patchwork scenes.

Shapes, spectra and class names are those of Produce-23, so what its classes mean stays: an object is its reflectance
times shading, relative to a white reference, brighter or darker. Background, class 0, is the patchwork scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from crsdun.scenes.patchwork.dataset import DrawnSet, drawn
from crsdun.scenes.patchwork.materials import GRID
from crsdun.scenes.patchwork.rendering import BRIGHTEST, SIZE, Canvas, add
from crsdun.scenes.produce import shapes
from crsdun.scenes.produce.exact_arithmetic import SceneRng, blurred
from crsdun.scenes.produce.rendering import PlacedObject, lamps, painted
from crsdun.scenes.produce.spectra import CLASS_NAMES, ILLUMINANTS, KINDS, pairs

LARGEST = 42  # pixels: half the size of the largest shape of Produce-23 at scale 1
PENUMBRA = 4  # pixels: radius of the box whose blur is an object's shadow


@dataclass(frozen=True)
class WildObject:
    """An object before it is rendered: what, where and how large.

    Attributes:
        seed: of its shape and paint.
        row, column: centre.
    """

    seed: str
    kind: str
    fake: bool
    scale: float
    row: int
    column: int

    def meets(self, rows: slice, columns: slice) -> bool:
        """Whether it or its shadow may lie in a window; far objects are not worth rendering."""
        reach = LARGEST * self.scale + 6 + 2 * PENUMBRA  # shapes have a margin of four pixels
        return (
            rows.start - reach < self.row < rows.stop + reach
            and columns.start - reach < self.column < columns.stop + reach
        )


@dataclass(frozen=True)
class LitObject:
    """An object as it can be added to any window, on any bands.

    Attributes:
        label: index into ``CLASS_NAMES``.
        top, left: of its pixels in the scene.
        cover: (h,w) in 0..1; ``shadow`` the same, blurred.
        weights: (4,h,w) float32, of the three ``spectra`` and of the gleam, which is flat.
        spectra: (4,28) on the bands of Produce-23.
    """

    label: int
    top: int
    left: int
    cover: np.ndarray
    shadow: np.ndarray
    weights: np.ndarray
    spectra: np.ndarray

    def paint(
        self,
        cube: np.ndarray,
        classes: np.ndarray,
        wavelengths: tuple[float, ...],
        light: np.ndarray,
        corner: tuple[int, int],
    ) -> None:
        """Lay it over a window of the cube (C,h,w) and of the classes (h,w), in a light (h,w).

        Args:
            corner: top and left of the window in the scene.
        """
        top, left = self.top - corner[0], self.left - corner[1]
        height, width = classes.shape
        rows = slice(max(top, 0), min(top + self.cover.shape[0], height))
        columns = slice(max(left, 0), min(left + self.cover.shape[1], width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        own = (..., slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        known = pairs()["wavelengths"]
        spectra = np.stack([np.interp(wavelengths, known, each) for each in self.spectra]).astype(np.float32)
        cover, part = self.cover[own], cube[:, rows, columns]
        part *= (1 - 0.6 * self.shadow[own]) * (1 - cover)
        add(part, spectra, self.weights[own] * (cover * light[rows, columns]))
        classes[rows, columns][cover >= 0.5] = self.label


class WildProduceSet(DrawnSet):
    """Produce in the wild, labelled as Produce-23; see ``DrawnSet``. Spectra below 400 nm are those at 400 nm."""

    title = "produce-wild"
    class_names = CLASS_NAMES

    def _render(self, seed: str, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        rng = SceneRng(seed)
        lamp, brightness = rng.below(len(ILLUMINANTS)), rng.uniform(0.25, 1.1)
        scene = drawn(f"{seed}/background")
        light = replace(scene.light, lamps=np.ones((1, len(GRID))), between=None)  # relative to a white reference
        cube = replace(scene, light=light).render(self.wavelengths, rows, columns)
        classes = np.zeros(cube.shape[1:], np.int64)
        shading = brightness * light.shade(Canvas(rows, columns, 0))
        for each in arrange(rng):
            if each.meets(rows, columns):
                corner = rows.start, columns.start
                lit(each, seed, lamp).paint(cube, classes, self.wavelengths, shading, corner)
        facts = {"kind": scene.kind, "illuminant": ILLUMINANTS[lamp]}
        return np.clip(cube, 0, BRIGHTEST, out=cube), classes, facts


def arrange(rng: SceneRng) -> list[WildObject]:
    """Two to eleven objects anywhere, over each other or partly outside, the first lowest."""
    return [
        WildObject(
            f"{rng.seed}/{number}",
            KINDS[rng.below(len(KINDS))],
            rng.chance(0.5),
            rng.uniform(0.5, 1.1),
            rng.below(SIZE),
            rng.below(SIZE),
        )
        for number in range(2 + rng.below(10))
    ]


@lru_cache(maxsize=64)
def lit(each: WildObject, seed: str, lamp: int) -> LitObject:
    """An object, rendered. The last few are kept, since shapes are slow and crops of a scene share them.

    Args:
        seed: of the scene, whose light it is in.
        lamp: under which a fake has the colour of its original.
    """
    rng = SceneRng(each.seed)
    surface = shapes.KINDS[each.kind](rng.derived("shape"), each.scale).trimmed()
    label = CLASS_NAMES.index(f"{'fake' if each.fake else 'real'} {each.kind}")
    top, left = each.row - surface.cover.shape[0] // 2, each.column - surface.cover.shape[1] // 2
    direction, halfway = lamps(SceneRng(f"{seed}/light"))
    paint = painted(rng.derived("paint"), PlacedObject(label, surface, top, left), lamp, direction, halfway)
    first = paint.shading * (1 - paint.to_other - paint.to_second)
    weights = [first, paint.shading * paint.to_other, paint.shading * paint.to_second, paint.gleam]
    room = ((0, 0), (2 * PENUMBRA, 2 * PENUMBRA), (2 * PENUMBRA, 2 * PENUMBRA))
    cover = np.pad(surface.cover, room[1:])
    return LitObject(
        label,
        top - 2 * PENUMBRA,
        left - 2 * PENUMBRA,
        cover.astype(np.float32),
        blurred(cover, PENUMBRA).astype(np.float32),
        np.pad(np.stack(weights), room).astype(np.float32),
        np.stack([paint.first, paint.other, paint.second, np.ones_like(paint.first)]),
    )
