"""Arithmetic with the same bits on every machine.

IEEE 754 fixes the result of +, −, ×, ÷, √, rounding and comparison to the last bit; sine, power, sums over an axis
and matrix products are not fixed: they differ between libraries and processors. NumPy guarantees the raw stream of
PCG64 and its seeding, but not its distributions. So everything here, and every pixel of Produce-23, uses only
elementwise operations of the first kind, one at a time on float64, integers, and raw PCG64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class SceneRng:
    """Random numbers of one scene or object: raw PCG64, seeded by the SHA-256 of a text."""

    def __init__(self, seed: str):
        self.seed = seed
        self._source = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big"))

    def derived(self, purpose: str) -> SceneRng:
        """Another generator, independent of how many numbers this one has drawn."""
        return SceneRng(f"{self.seed}/{purpose}")

    def uniforms(self, count: int) -> np.ndarray:
        """(count,) in 0 ≤ x < 1."""
        return (self._source.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """low ≤ x < high."""
        return low + (high - low) * float(self.uniforms(1)[0])

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(0, 1) < probability

    def below(self, count: int) -> int:
        """An integer 0 … count−1."""
        return int(self.uniform(0, count))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The same items in random order (Fisher and Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def length(*parts: np.ndarray) -> np.ndarray:
    """√(x² + y² + …)."""
    return np.sqrt(sum(part * part for part in parts))


def ramp(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 before ``start``, 1 after ``end``, a smooth cubic between; ``start`` may be larger than ``end``."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def wave(turns: np.ndarray) -> np.ndarray:
    """An approximation of cos(2π · turns) by cubics, within 0.021."""
    t = np.abs(turns - np.floor(turns + 0.5))
    return 1 - 2 * ramp(t, 0, 0.5)


def turns(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An approximation of atan2(y, x) / 2π in −½ … ½, within 0.001 turns."""
    flat = np.abs(x) >= np.abs(y)
    q = np.where(flat, y, x) / np.where(flat, np.where(x == 0, 1, x), y)
    part = q * (0.125 + 0.04345 * (1 - np.abs(q)))
    beyond = np.where(x < 0, np.where(y < 0, -0.5, 0.5), 0)
    return np.where(flat, part + beyond, np.where(y < 0, -0.25, 0.25) - part)


def curve(points: Sequence[float], x: np.ndarray) -> np.ndarray:
    """The uniform cubic B-spline of control points over x in 0..1, with the first and last one doubled."""
    knots = np.array([points[0], *points, points[-1]])
    place = np.clip(x, 0, 1) * (len(points) - 1)
    index = np.minimum(np.floor(place), len(points) - 2).astype(np.int64)
    t = place - index
    s, tt = 1 - t, t * t
    near = 3 * tt * t - 6 * tt + 4
    far = 3 * s * s * s - 6 * s * s + 4
    return (
        s * s * s * knots[index] + near * knots[index + 1] + far * knots[index + 2] + tt * t * knots[index + 3]
    ) / 6


def noise(rng: SceneRng, x: np.ndarray, y: np.ndarray, cell: float) -> np.ndarray:
    """Smooth noise −1 … 1 at points x, y: random values on a lattice of ``cell``, ramps between them."""
    x, y = x / cell, y / cell
    left, top = np.floor(x), np.floor(y)
    columns, rows = (left - left.min()).astype(np.int64), (top - top.min()).astype(np.int64)
    width = int(columns.max()) + 2
    values = rng.uniforms((int(rows.max()) + 2) * width) * 2 - 1
    corner, right, down = rows * width + columns, ramp(x - left, 0, 1), ramp(y - top, 0, 1)
    above = values[corner] + right * (values[corner + 1] - values[corner])
    below = values[corner + width] + right * (values[corner + width + 1] - values[corner + width])
    return above + down * (below - above)


def slopes(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences (∂/∂x, ∂/∂y) of (H,W), one-sided at the border."""
    padded = np.pad(height, 1, mode="edge")
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2


def blurred(values: np.ndarray, radius: int) -> np.ndarray:
    """A soft copy of (H,W) in 0..1, in steps of 1/4096: a box of 2·radius+1, twice, in integers, zero outside."""
    whole = np.rint(values * 4096).astype(np.int64)
    box = 2 * radius + 1
    for _ in range(2):
        for axis in (0, 1):
            room = [(0, 0), (0, 0)]
            room[axis] = (radius + 1, radius)
            sums = np.cumsum(np.pad(whole, room), axis=axis)
            whole = np.take(sums, range(box, sums.shape[axis]), axis) - np.take(sums, range(whole.shape[axis]), axis)
    return whole / (4096 * box**4)
