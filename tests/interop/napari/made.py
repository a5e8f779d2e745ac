"""Small scenes, measurements and results for tests of the plugin."""

from __future__ import annotations

import numpy as np

from crsdun.optics import Exposure, nbk7_wavelengths
from crsdun.runtime import simulate
from crsdun.scenes import Measurement, Scene

BANDS, H, W = 28, 32, 40
CLASS_NAMES = ("ground", "leaf", "fruit")


def made_scene(bands: int = BANDS) -> Scene:
    """Three classes with a spectrum each, and a pixel without a class."""
    rows, columns = np.mgrid[:H, :W]
    classes = (rows // 12 + columns // 16) % 3
    shades = 0.7 + 0.3 * np.sin(rows / 5 + columns / 7)
    spectra = np.stack([np.linspace(0.2, 0.3, bands), np.linspace(0.1, 0.8, bands), np.linspace(0.9, 0.2, bands)])
    cube = spectra[classes].transpose(2, 0, 1) * shades
    classes[0, 0] = -1
    return Scene(cube, nbk7_wavelengths(bands), classes, CLASS_NAMES, "patch")


def made_measurement(bands: int = BANDS) -> Measurement:
    return simulate(made_scene(bands), Exposure())
