"""Pictures at a reduced size, as means of squares of pixels; also of pictures that come by rows."""

from __future__ import annotations

import numpy as np


class Averages:
    """Means of squares of ``factor`` × ``factor`` pixels; those at the lower and right border may be cut.

    Args:
        shape: of the whole, (…,H,W).
        factor: side of a square, in pixels.
        dtype: in which pixels are added up.
    """

    def __init__(self, shape: tuple[int, ...], factor: int, dtype: str = "float64"):
        *lead, self.height, self.width = shape
        self.factor, self._starts = factor, np.arange(0, self.width, factor)
        self._sums = np.zeros((*lead, -(-self.height // factor), len(self._starts)), dtype)

    def add(self, top: int, rows: np.ndarray) -> None:
        """Rows of the whole, (…,rows,W), from ``top`` on."""
        numbers = np.arange(top, top + rows.shape[-2]) // self.factor
        first = np.flatnonzero(np.diff(numbers, prepend=-1))
        across = np.add.reduceat(rows.astype(self._sums.dtype, copy=False), self._starts, axis=-1)
        self._sums[..., numbers[0] : numbers[-1] + 1, :] += np.add.reduceat(across, first, axis=-2)

    @property
    def mean(self) -> np.ndarray:
        """(…,⌈H/factor⌉,⌈W/factor⌉)."""
        down = np.diff(np.arange(0, self.height, self.factor), append=self.height)
        return self._sums / np.outer(down, np.diff(self._starts, append=self.width)).astype(self._sums.dtype)


def averaged(picture: np.ndarray, factor: int) -> np.ndarray:
    """The same of a picture or cube (…,H,W) that is there as a whole; itself where ``factor`` is 1."""
    if factor == 1:
        return picture
    averages = Averages(picture.shape, factor)
    averages.add(0, picture)
    return averages.mean
