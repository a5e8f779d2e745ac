"""How values become brightness: single bands, error maps, and where their scales end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crsdun.showing import size_in_words, spectrum_in_words
from crsdun.viewing.colour import NO_DATA, wavelength_to_rgb, with_data

if TYPE_CHECKING:
    from crsdun.scenes import Scene

COLOUR_MAP = "magma"  # of maps, from dark to bright; told apart by colour-blind eyes
GAMMA = 1.6  # of single bands, which would be too dark on a linear scale
HIGH_PERCENTILE = 99.8  # so that a few extreme pixels do not decide on the scale


def size_of(scene: Scene, height: int | None = None, width: int | None = None) -> str:
    """How many bands and pixels a scene has, and its wavelengths where they are known, in words.

    Args:
        height, width: of the whole, where the scene is only what is shown of it.
    """
    size = size_in_words((scene.bands, height or scene.cube.shape[1], width or scene.cube.shape[2]))
    return ", ".join(filter(None, (f"{size} pixels", spectrum_in_words(scene.wavelengths))))


def upper_limit(values: np.ndarray) -> float:
    """The value from which on a band is white and a map has its last colour: the 99.8th percentile of all but NaN."""
    known = with_data(values)
    return float(np.percentile(known, HIGH_PERCENTILE)) if known.size else 1.0


def error_map(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """RMSE over bands of two cubes (C,H,W), (H,W); over those where both hold data, NaN where there are none."""
    return error_size(estimate - truth)


def error_size(error: np.ndarray) -> np.ndarray:
    """The root mean square over bands of errors (C,H,W), (H,W); NaN where there is no data in any band."""
    squares = np.square(error)
    missing = np.isnan(squares)
    if not missing.any():
        size: np.ndarray = np.sqrt(squares.mean(0))
        return size
    counts = (~missing).sum(0)
    return np.sqrt(np.where(counts > 0, np.nansum(squares, 0) / np.maximum(counts, 1), np.nan)).astype(squares.dtype)


def band_picture(band: np.ndarray, white: float, black: float = 0.0, tint: np.ndarray | None = None) -> np.ndarray:
    """A band (H,W) between two of its values, as a picture (H,W) uint8, or (H,W,3) in the colour ``tint`` (0..1)."""
    missing = np.isnan(band)
    level = np.clip((np.nan_to_num(band) - black) / (white - black if white > black else 1), 0, 1) ** (1 / GAMMA)
    image = np.rint(255 * (level if tint is None else level[..., None] * tint)).astype(np.uint8)
    image[missing] = NO_DATA
    return image


def band_tint(wavelengths: Sequence[float] | None, band: int) -> np.ndarray:
    """The colour of a band's light, (3,) 0..1, white where the wavelengths (nm) are unknown.

    Deep blue and red are lifted towards white: bright enough for text and detail on dark paper.
    """
    if wavelengths is None:
        return np.ones(3)
    tint = np.asarray(wavelength_to_rgb(wavelengths[band]))
    luminance = tint @ (0.2126, 0.7152, 0.0722)
    lift = max(0.1, (0.45 - luminance) / (1 - luminance))
    return tint + lift * (1 - tint)
