"""Scenes in which spectra tell the classes, whatever the light."""

import numpy as np

from crsdun.classifiers import Marks
from crsdun.scenes import UNLABELLED, Scene

NAMES = ("background", "leaf", "fruit")
BANDS, SIDE = 9, 24
NM = tuple(np.linspace(450, 650, BANDS))


def painted(seed: int = 0, nm: tuple[float, ...] = NM, noise: float = 0.01) -> Scene:
    """Three stripes of different spectra, shaded from top to bottom, with noise."""
    x = np.asarray(nm)
    spectra = np.stack([0.3 + 0.1 * np.sin(x / 60), np.exp(-(((x - 540) / 40) ** 2)), (x - 400) / 300])
    classes = np.repeat(np.arange(3), SIDE // 3)[None].repeat(SIDE, 0)
    light = np.linspace(0.3, 1, SIDE)[:, None]
    cube = spectra[classes].transpose(2, 0, 1) * light
    cube = cube + noise * np.random.default_rng(seed).standard_normal(cube.shape)
    cube = np.maximum(cube, 0).astype(np.float32)
    return Scene(cube, nm, classes, NAMES, f"painted {seed}")


def marked(scene: Scene, rows: tuple[int, ...] = (2, 7, 12, 17, 22)) -> Marks:
    """A pixel of each class in some rows."""
    labels = np.full(scene.classes.shape, UNLABELLED)
    for row in rows:
        for column in (3, 11, 19):
            labels[row, column] = scene.classes[row, column]
    return Marks.of_labels(labels, NAMES)
