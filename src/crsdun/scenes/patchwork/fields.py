"""Fields: numbers at the places of pixels, wherever the window that is asked for lies.

Legend: h, w window · x, y (h,w) float32, columns and rows of the scene. Randomness is a hash of places, and all else
is elementwise, so a pixel has the same value, to the last bit, in every window that holds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from crsdun.scenes.produce.exact_arithmetic import SceneRng, ramp, wave

SEEDS = 1 << 31


def hashed(seed: int, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Uniform float32 in 0 ≤ x < 1 for whole numbers as places, all alike from the seed."""
    bits = column.astype(np.int32).view(np.uint32) * np.uint32(0x9E3779B1)
    bits = (bits ^ np.uint32(seed & 0xFFFFFFFF)) * np.uint32(0x85EBCA77)
    bits = bits ^ (row.astype(np.int32).view(np.uint32) * np.uint32(0xC2B2AE3D))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    bits = bits ^ (bits >> np.uint32(16))
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def white_noise(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Independent numbers of mean 0 and standard deviation 1, nearly normal: four uniform ones added."""
    total = hashed(seed, x, y)
    for other in range(1, 4):
        total = total + hashed(seed + other, x, y)
    return (total - 2) * np.float32(np.sqrt(3))


def lattice_noise(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in 0..1: random values at whole x and y, ramps between them."""
    left, top = np.floor(x), np.floor(y)
    right, down = ramp(x - left, 0, 1), ramp(y - top, 0, 1)
    above, below = (
        (first := hashed(seed, left, row)) + right * (hashed(seed, left + 1, row) - first) for row in (top, top + 1)
    )
    return above + down * (below - above)


# -- patterns ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turned:
    """Coordinates that are turned, stretched and shifted.

    Attributes:
        cosine, sine: of the direction of the first axis.
        along, across: pixels for a unit of either axis.
        shift: of both, in units.
    """

    cosine: float
    sine: float
    along: float
    across: float
    shift: tuple[float, float]

    @classmethod
    def of(cls, rng: SceneRng, along: float, across: float, upright: float = 0.3) -> Turned:
        """In a random direction; ``upright`` is the probability of one along rows or columns."""
        angle = rng.uniform(0, 2 * np.pi)
        if rng.chance(upright):
            angle = rng.below(4) * np.pi / 2
        shift = (rng.uniform(0, 100), rng.uniform(0, 100))
        return cls(float(np.cos(angle)), float(np.sin(angle)), along, across, shift)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = (x * self.cosine + y * self.sine) / self.along + self.shift[0]
        return u, (y * self.cosine - x * self.sine) / self.across + self.shift[1]


class Pattern(ABC):
    """A field in 0..1."""

    @abstractmethod
    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(h,w) in 0..1."""


@dataclass(frozen=True)
class Noise(Pattern):
    """Noise of several octaves, each half as long as the one before.

    Attributes:
        place: its longest octave has values at whole coordinates.
        roughness: weight of an octave relative to the one before.
        sharp: 1 leaves it smooth, more makes patches with borders of it.
        veined: shows lines where it crosses its mean.
    """

    place: Turned
    seed: int
    octaves: int
    roughness: float
    sharp: float = 1
    veined: bool = False

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = self.place(x, y)
        total, weights, weight = np.zeros_like(x), 0.0, 1.0
        for octave in range(self.octaves):
            total = total + weight * lattice_noise(self.seed + octave, u * 2**octave, v * 2**octave)
            weights, weight = weights + weight, weight * self.roughness
        total = total / weights
        if self.veined:
            total = 1 - 4 * abs(total - 0.5)
        return np.clip((total - 0.5) * (1.8 * self.sharp) + 0.5, 0, 1)


@dataclass(frozen=True)
class Stripes(Pattern):
    """Stripes.

    Attributes:
        place: a period is one unit.
        bend: by how many periods slow noise shifts them.
        sharp: contrast of the borders.
        woven: others cross them.
    """

    place: Turned
    seed: int
    bend: float
    sharp: float
    woven: bool

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = self.place(x, y)
        if self.bend:
            u = u + self.bend * lattice_noise(self.seed, u / 9, v / 9)
        waves = wave(u) * (wave(v) if self.woven else 1)
        return np.clip(waves * (self.sharp / 2) + 0.5, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Gradient(Pattern):
    """From 0 to 1 across the scene."""

    place: Turned

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, _ = self.place(x - 128, y - 128)
        return np.clip(u - self.place.shift[0] + 0.5, 0, 1)


@dataclass(frozen=True)
class Dots(Pattern):
    """Round dots, at most one in each cell.

    Attributes:
        place: a cell is one unit.
        radius: of the largest, in units.
        part: of the cells that hold one.
    """

    place: Turned
    seed: int
    radius: float
    part: float

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = self.place(x, y)
        column, row = np.floor(u), np.floor(v)
        size = self.radius * (0.4 + 0.6 * hashed(self.seed, column, row))
        free = 1 - 2 * size
        right = u - column - size - free * hashed(self.seed + 1, column, row)
        down = v - row - size - free * hashed(self.seed + 2, column, row)
        inside = 1 - np.sqrt(right * right + down * down) / size
        there = hashed(self.seed + 3, column, row) < self.part
        return there * np.clip(inside * size * self.place.along, 0, 1)


@dataclass(frozen=True)
class Cells:
    """Fields of land, tiles or stones: a number 0 ≤ x < 1 for each cell.

    Attributes:
        stones: cells around random points (Voronoi) rather than rows of rectangles.
        bend: how far noise moves the borders, in cells.
    """

    place: Turned
    seed: int
    stones: bool
    bend: float

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(h,w) in 0 ≤ x < 1, constant in each cell."""
        u, v = self.place(x, y)
        if self.bend:
            u = u + self.bend * lattice_noise(self.seed + 7, 2 * u, 2 * v)
            v = v + self.bend * lattice_noise(self.seed + 8, 2 * u, 2 * v)
        if not self.stones:
            column = np.floor(u)
            row = np.floor(
                v * (0.4 + 1.2 * hashed(self.seed, column, column)) + 5 * hashed(self.seed + 1, column, column)
            )
            return hashed(self.seed + 2, column, row)
        column, row = np.floor(u), np.floor(v)
        nearest, number = np.full_like(x, 9), np.zeros_like(x)
        for right in (-1, 0, 1):
            for down in (-1, 0, 1):
                c, r = column + right, row + down
                du, dv = c + hashed(self.seed, c, r) - u, r + hashed(self.seed + 1, c, r) - v
                distance = du * du + dv * dv
                closer = distance < nearest
                nearest = np.where(closer, distance, nearest)
                number = np.where(closer, hashed(self.seed + 2, c, r), number)
        return number


def draw_seed(rng: SceneRng) -> int:
    """A seed for hashes."""
    return rng.below(SEEDS)


def draw_noise(rng: SceneRng, smallest: float = 2, largest: float = 80) -> Noise:
    """Noise with a longest octave of ``smallest`` to ``largest`` pixels; some is stretched or veined."""
    cell = smallest * (largest / smallest) ** rng.uniform(0, 1)
    stretch = rng.uniform(2, 8) if rng.chance(0.2) else 1.0
    return Noise(
        Turned.of(rng, cell * stretch, cell),
        draw_seed(rng),
        1 + rng.below(4 if cell > 6 else 2),
        rng.uniform(0.35, 0.9),
        rng.uniform(2, 8) if rng.chance(0.35) else 1.0,
        rng.chance(0.15),
    )


def draw_stripes(rng: SceneRng) -> Stripes:
    """Stripes or weave, 2.5 to 40 pixels wide."""
    period = 2.5 * 16 ** rng.uniform(0, 1)
    return Stripes(
        Turned.of(rng, period, period * rng.uniform(0.5, 2), 0.5),
        draw_seed(rng),
        rng.uniform(0, 3) if rng.chance(0.5) else 0.0,
        rng.uniform(0.8, 6),
        rng.chance(0.4),
    )


def draw_dots(rng: SceneRng) -> Dots:
    """Dots with a radius of 0.6 to 12 pixels."""
    cell = 4 * 12 ** rng.uniform(0, 1)
    radius = rng.uniform(max(0.6 / cell, 0.06), 0.35)
    return Dots(Turned.of(rng, cell, cell), draw_seed(rng), radius, rng.uniform(0.1, 0.8))


def draw_cells(rng: SceneRng) -> Cells:
    """Cells 8 to 120 pixels wide."""
    cell = 8 * 15 ** rng.uniform(0, 1)
    return Cells(
        Turned.of(rng, cell, cell * rng.uniform(0.6, 2.5)),
        draw_seed(rng),
        rng.chance(0.5),
        rng.uniform(0.1, 0.6) if rng.chance(0.4) else 0.0,
    )


def draw_pattern(rng: SceneRng) -> Pattern:
    """Any of them."""
    kind = rng.uniform(0, 1)
    if kind < 0.5:
        return draw_noise(rng)
    if kind < 0.7:
        return draw_stripes(rng)
    if kind < 0.85:
        return Gradient(Turned.of(rng, rng.uniform(60, 400), 1))
    return draw_dots(rng)
