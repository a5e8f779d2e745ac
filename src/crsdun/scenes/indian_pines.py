"""Indian Pines: a small airborne scene with classes that comes with a package, for trying things offline."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from crsdun.optics.errors import InputError
from crsdun.scenes.files import by_wavelength
from crsdun.scenes.scene import UNLABELLED, Scene

CLASS_NAMES = (
    "alfalfa", "corn-notill", "corn-mintill", "corn", "grass-pasture", "grass-trees", "grass-pasture-mowed",
    "hay-windrowed", "oats", "soybean-notill", "soybean-mintill", "soybean-clean", "wheat", "woods",
    "buildings-grass-trees-drives", "stone-steel-towers",
)  # fmt: skip

# The counts of this flight are 500 · radiance + 1000; the brightest pixel counts 9604.
DARK, RANGE = 1000, 8000


def indian_pines(wavelengths: Sequence[float] | None = None) -> Scene:
    """AVIRIS over Indian Pines, 12 June 1992: 200 bands from 400 to 2499 nm, 145×145 pixels, 16 classes.

    Read from the installed package tensorly, without network. Radiance is (counts − 1000) / 8000, not below 0,
    which lies in 0..1.08. Bands are sorted by wavelength, since the spectrometers of AVIRIS overlap. Pixels that
    were not surveyed (half of them) are ``UNLABELLED``.

    Args:
        wavelengths: bands in nm to resample onto; None keeps all 200.

    Raises:
        InputError: tensorly is not installed, or a wavelength lies outside the scene's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tensorly.datasets import load_indian_pines

            data = load_indian_pines()
    except ImportError as error:
        raise InputError(
            "the Indian Pines scene comes with the package tensorly; install it: pip install crsdun[demo]"
        ) from error
    labels, centres = data["ticks"]
    counts = np.moveaxis(np.asarray(data["tensor"], dtype=np.float32), -1, 0)
    cube, ascending = by_wavelength(np.maximum((counts - DARK) / RANGE, 0), centres)
    labels = np.asarray(labels, dtype=np.int64)
    scene = Scene(
        cube,
        wavelengths=ascending,
        classes=np.where(labels == 0, UNLABELLED, labels - 1),
        class_names=CLASS_NAMES,
        name="indian_pines",
        provenance={
            "source": "Baumgardner, Biehl, Landgrebe: 220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 "
            "Indian Pine Test Site 3. Purdue University Research Repository, doi:10.4231/R7RX991C",
            "licence": "CC BY 3.0, https://creativecommons.org/licenses/by/3.0/",
            "obtained_from": "tensorly.datasets.load_indian_pines",
            "changes": f"(counts - {DARK}) / {RANGE}, not below 0; bands sorted by wavelength; "
            "label 0 (not surveyed) became -1 and labels 1..16 became 0..15",
        },
    )
    return scene if wavelengths is None else scene.resampled(tuple(wavelengths))
