"""Regions of a scene: which pixels belong to one, and the polygons around given pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crsdun.classifiers import Marks
from crsdun.errors import InputError
from crsdun.web.values import Values

MOST_POINTS = 64  # regions at once
MOST_NAME = 80  # characters
MOST_VERTICES = 10_000  # of a region
LARGEST_COORDINATE = 1e6  # pixels

Vertex = tuple[float, float]  # x to the right and y down, in pixels from the upper left corner of the scene


@dataclass(frozen=True)
class Region:
    """A pixel, a box of pixels, or the pixels whose centres lie inside polygons.

    Attributes:
        top, left, height, width: of the region or, for polygons, of the box around them; ``top`` and ``left`` from 0.
        rings: the vertices of each polygon. Inside is what an odd number of them encloses, so that a region may have
            holes and several parts. Empty for a pixel or a box.
    """

    name: str
    top: int
    left: int
    height: int = 1
    width: int = 1
    rings: tuple[tuple[Vertex, ...], ...] = ()

    @classmethod
    def within(cls, name: str, rings: Sequence[Sequence[Vertex]]) -> Region:
        """The region inside of polygons.

        Raises:
            InputError: there are too many vertices, or a polygon has fewer than three.
        """
        count = sum(map(len, rings))
        if count > MOST_VERTICES:
            raise InputError(f"{name or 'a polygon'} has {count} vertices", f"draw it with at most {MOST_VERTICES}")
        if not rings or min(map(len, rings)) < 3:
            raise InputError("a polygon has at least three vertices")
        columns, rows = ([vertex[axis] for ring in rings for vertex in ring] for axis in (0, 1))
        top, left = math.floor(min(rows)), math.floor(min(columns))
        height, width = max(1, math.ceil(max(rows)) - top), max(1, math.ceil(max(columns)) - left)
        return cls(name, top, left, height, width, tuple(map(tuple, rings)))


def vertex_at(x: Any, y: Any) -> Vertex:
    """A vertex; raises an InputError unless both are numbers that a scene can have."""
    values = Values({"x": x, "y": y})
    if "x" not in values or "y" not in values:
        raise InputError("a vertex needs two numbers, x and y")
    limits = (-LARGEST_COORDINATE, LARGEST_COORDINATE)
    return values.number("x", 0.0, *limits), values.number("y", 0.0, *limits)


def check_region(region: Region, height: int, width: int) -> None:
    """Raise an InputError where a region does not lie in a scene of this size, or contains no pixel."""
    sides = ((region.top, region.height, height), (region.left, region.width, width))
    if any(start < 0 or length < 1 or start + length > whole for start, length, whole in sides):
        box = f"{region.height}×{region.width} pixels at row {region.top}, column {region.left}"
        raise InputError(f"the region of {box} lies outside the scene of {height}×{width} pixels")
    if region.rings and not inside(region).any():
        raise InputError(f"the centre of no pixel lies inside {region.name or 'the polygon'}", "draw it larger")


def inside(region: Region) -> np.ndarray:
    """Which pixels of the box around a region belong to it, (height,width) bool."""
    if not region.rings:
        return np.ones((region.height, region.width), bool)
    starts = np.concatenate([np.asarray(ring, float) for ring in region.rings])
    ends = np.concatenate([np.roll(np.asarray(ring, float), -1, axis=0) for ring in region.rings])
    (x0, y0), (x1, y1) = starts.T, ends.T
    centres = region.top + np.arange(region.height) + 0.5
    # Along each row, every edge that crosses it changes whether the pixels to its right are inside.
    row, edge = np.nonzero((y0 <= centres[:, None]) != (y1 <= centres[:, None]))
    share = (centres[row] - y0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + share * (x1[edge] - x0[edge])
    first = np.clip(np.ceil(crossing - region.left - 0.5), 0, region.width).astype(int)
    changes = np.zeros((region.height, region.width + 1), np.int64)
    np.add.at(changes, (row, first), 1)
    return changes.cumsum(1)[:, :-1] % 2 == 1


def marks_of(regions: Iterable[Region], height: int, width: int) -> Marks:
    """The pixels of regions as examples of classes: those of one name are of one class.

    Raises:
        InputError: a region does not lie in a scene of this size, or as ``Marks.of``.
    """
    places = []
    for region in regions:
        check_region(region, height, width)
        places.append((np.argwhere(inside(region)) + np.array((region.top, region.left)), region.name))
    return Marks.of(places, height, width)


def region_of(pixels: np.ndarray, name: str) -> Region:
    """The region of exactly these pixels.

    Args:
        pixels: (N,2) int rows and columns, at least one.

    Raises:
        InputError: their outline has too many corners.
    """
    top, left = (int(side) for side in pixels.min(0))
    height, width = (int(side) + 1 for side in np.ptp(pixels, axis=0))
    mask = np.zeros((height, width), bool)
    mask[pixels[:, 0] - top, pixels[:, 1] - left] = True
    if mask.all():
        return Region(name, top, left, height, width)
    rings = [[(float(x + left), float(y + top)) for x, y in ring] for ring in _outlines(mask)]
    return Region.within(name, rings)


def _outlines(mask: np.ndarray) -> Iterator[list[Vertex]]:
    """Polygons along the edges of pixels that enclose a mask (H,W) bool."""
    padded = np.pad(mask, 1)
    above = np.argwhere(padded[1:] != padded[:-1]) - (0, 1)  # edges to the right from (row, column)
    beside = np.argwhere(padded[:, 1:] != padded[:, :-1]) - (1, 0)  # edges down
    if len(above) + len(beside) > 20 * MOST_VERTICES:
        raise InputError("the outline of a region is too ragged", "smooth it first")
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for edges, (down, right) in ((above, (0, 1)), (beside, (1, 0))):
        for y, x in edges.tolist():
            ways.setdefault((y, x), []).append((y + down, x + right))
            ways.setdefault((y + down, x + right), []).append((y, x))
    while ways:
        here = start = next(iter(ways))
        corners: list[tuple[int, int]] = []
        while True:
            there = _step(ways, here, corners)
            corners.append(here)
            here = there
            if here == start:
                break
        turns = zip(corners[-1:] + corners[:-1], corners, corners[1:] + corners[:1], strict=True)
        yield [(x, y) for (y0, x0), (y, x), (y1, x1) in turns if not (y0 == y == y1 or x0 == x == x1)]


def _step(
    ways: dict[tuple[int, int], list[tuple[int, int]]], here: tuple[int, int], before: list[tuple[int, int]]
) -> tuple[int, int]:
    """Walk along an edge, which is then used up; it turns where two outlines touch."""
    options = ways[here]
    if before and len(options) > 1:
        straight = (2 * here[0] - before[-1][0], 2 * here[1] - before[-1][1])
        options.sort(key=lambda option: option == straight)
    there = options.pop(0)
    ways[there].remove(here)
    for place in (here, there):
        if not ways[place]:
            del ways[place]
    return there
