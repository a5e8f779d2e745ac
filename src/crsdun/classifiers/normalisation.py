"""What is taken out of a spectrum before it is classified: how brightly its pixel is lit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

FEWEST_BANDS = 3  # of which the shape says anything
BRIGHT = 95  # percentile of the pixels
DARKEST = 0.05  # of the brightness of bright pixels


def standard_normal_variate(spectra: np.ndarray, floor: float) -> np.ndarray:
    """Each spectrum (…,C) less its mean over the bands, divided by its standard deviation over them.

    Shading multiplies a spectrum, and a veil of stray light or gloss adds a constant to it; neither is left. (Barnes,
    Dhanoa and Lister, Applied Spectroscopy 43, 1989.) A standard deviation below ``floor`` counts as that, so that
    the noise of what is almost black does not grow into a spectrum.
    """
    centred = spectra - spectra.mean(-1, keepdims=True)
    return centred / np.maximum(centred.std(-1, keepdims=True), max(floor, np.finfo(np.float32).tiny))


def floor_of(cubes: Sequence[np.ndarray]) -> float:
    """The floor of ``standard_normal_variate`` for a scene, from parts of it (C,H,W): a share of its bright pixels.

    It grows with the values, so that their scale does not matter.
    """
    squares = [np.einsum("chw,chw->hw", cube, cube, dtype=np.float64).ravel() / len(cube) for cube in cubes]
    brightness = np.sqrt(np.concatenate(squares))
    brightness = brightness[np.isfinite(brightness)]
    return DARKEST * float(np.percentile(brightness, BRIGHT)) if brightness.size else 0.0


# Name → (spectra (…,C), floor) → spectra as a classifier sees them.
NORMALISATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "snv": standard_normal_variate,
    "none": lambda spectra, floor: spectra,
}
