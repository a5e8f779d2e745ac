"""Generated coded apertures (those in files are read by ``crsdun.scenes``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from crsdun.errors import InputError


@dataclass(frozen=True)
class RandomMask:
    """A random mask whose size is not known yet; ``str`` gives ``random:SEED``, as users type it."""

    seed: int = 0

    def of_size(self, height: int, width: int) -> np.ndarray:
        """The mask, (height, width) float32, as ``random_mask``."""
        return random_mask(height, width, seed=self.seed)

    def __str__(self) -> str:
        return f"random:{self.seed}"


def random_mask(height: int, width: int, transmission: float = 0.5, seed: int = 0) -> np.ndarray:
    """A random binary coded aperture, (height, width) float32 of zeros and ones; the same seed gives the same mask.

    Args:
        transmission: fraction of open pixels, 0..1.

    Raises:
        InputError: a size below 1 or a transmission outside 0..1.
    """
    if min(height, width) < 1 or not 0 <= transmission <= 1:
        raise InputError(
            f"a random mask of {height}×{width} with transmission {transmission} cannot be made",
            "expected sizes of at least 1 and a transmission in 0..1",
        )
    return (np.random.default_rng(seed).random((height, width)) < transmission).astype(np.float32)


def shifted_mask(
    mask: np.ndarray, down: float, right: float, edge: Literal["closed", "nearest"] = "closed"
) -> np.ndarray:
    """A slightly displaced coded aperture: moved by fractions of a pixel, with linear interpolation.

    Args:
        mask: (H,W) or (C,H,W).
        down, right: in pixels; negative moves up and left.
        edge: what comes in from outside: ``closed`` pixels, or those ``nearest`` to them repeated.

    Returns:
        The same shape, float32.
    """
    from scipy.ndimage import shift

    mode = "constant" if edge == "closed" else "nearest"
    moved = shift(np.asarray(mask, dtype=np.float32), (0,) * (mask.ndim - 2) + (down, right), order=1, mode=mode)
    return np.asarray(moved, dtype=np.float32)
