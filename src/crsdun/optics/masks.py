"""Generated coded apertures (those in files are read by ``crsdun.scenes``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import check_same_bands

# What comes in at the border of a mask that moves: closed pixels, or those nearest to it repeated.
Edge = Literal["closed", "nearest"]
# A calibrated mask may have single elements that are brighter than an open one, few of them by more than this factor.
BRIGHTEST_MASK, FEW = 2.0, 0.01


@dataclass(frozen=True)
class RandomMask:
    """A random mask whose size is not known yet; ``str`` gives ``random:SEED``, or ``open``, as users type it.

    Attributes:
        seed, transmission: as of ``random_mask``.
    """

    seed: int = 0
    transmission: float = 0.5

    def of_size(self, height: int, width: int) -> np.ndarray:
        """The mask, (height, width) float32, as ``random_mask``."""
        return random_mask(height, width, self.transmission, self.seed)

    def __str__(self) -> str:
        return "open" if self.transmission == 1 else f"random:{self.seed}"

    def described(self) -> str:
        """The same, and its transmission where ``str`` does not tell it, for records."""
        usual = self.transmission in (RandomMask.transmission, 1)
        return str(self) if usual else f"{self}, {self.transmission:g} of it open"


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


def check_transmission(mask: Any) -> None:
    """Raise an InputError if a mask, an array or a tensor, holds raw counts in place of transmissions.

    Those of a calibration may exceed 1 (``BRIGHTEST_MASK``), whole numbers do not.
    """
    most = float(mask.max())
    if not most > 1:
        return
    whole = bool((mask == mask.round()).all())
    if whole or float((mask > BRIGHTEST_MASK).sum()) > FEW * math.prod(mask.shape):
        numbers = "whole numbers" if whole else "values"
        raise InputError(
            f"the mask holds {numbers} up to {most:g}",
            "a transmission lies in 0..1: divide by that of an open pixel, or read the file with "
            "crsdun.scenes.read_mask",
        )


def for_bands(mask: np.ndarray, known: Sequence[float] | None, wavelengths: Sequence[float] | None) -> np.ndarray:
    """A mask with its bands in the order of a camera's; itself where it has none, or one side is not known.

    Args:
        mask: (H,W), or (C,H,W) with the wavelengths ``known`` in nm.
        wavelengths: of the camera's bands in nm.

    Raises:
        InputError: they are others (``check_same_bands``).
    """
    if mask.ndim == 2 or known is None or wavelengths is None or len(known) != len(wavelengths):
        return mask  # numbers of bands are compared by the camera
    theirs, wanted = np.asarray(known, float), np.asarray(wavelengths, float)
    order, ranks = np.argsort(theirs), np.argsort(np.argsort(wanted))
    check_same_bands(
        theirs[order][ranks].tolist(),
        wanted.tolist(),
        f"the mask was calibrated for bands of {theirs.min():g}–{theirs.max():g} nm, and the camera has "
        f"{wanted.min():g}–{wanted.max():g} nm",
        "set <mask> to that of these bands, or correct the wavelengths of one of them",
    )
    return mask[order[ranks]]


def moved_mask(
    mask: np.ndarray,
    down: float,
    right: float,
    degrees: float = 0.0,
    scale: float = 1.0,
    edge: Edge = "closed",
) -> np.ndarray:
    """A slightly displaced coded aperture: moved by fractions of a pixel, with linear interpolation.

    Args:
        mask: (H,W) or (C,H,W).
        down, right: in pixels; negative moves up and left.
        degrees: by which it is turned about its centre, clockwise as displayed.
        scale: its size relative to what it was, about its centre.
        edge: what comes in from outside: ``closed`` pixels, or those ``nearest`` to them repeated.

    Returns:
        The same shape, float32.
    """
    from scipy.ndimage import affine_transform

    cosine, sine = np.cos(np.deg2rad(degrees)) / scale, np.sin(np.deg2rad(degrees)) / scale
    # Where each pixel comes from: first moved back, then turned back about the centre.
    back = np.array([[cosine, -sine], [sine, cosine]])
    centre = (np.array(mask.shape[-2:]) - 1) / 2
    offset = centre - back @ (centre + np.array([down, right]))
    planes = np.asarray(mask, dtype=np.float32).reshape(-1, *mask.shape[-2:])
    mode = "grid-constant" if edge == "closed" else "nearest"
    moved = [affine_transform(plane, back, offset, order=1, mode=mode) for plane in planes]
    return np.stack(moved).reshape(mask.shape)
