"""A small labelled data set in memory."""

import hashlib

import numpy as np

from crsdun.scenes import UNLABELLED, Scene
from crsdun.scenes.scene_set import SceneSet

NAMES = ("background", "real pear", "fake pear", "real plum", "fake plum")
WAVELENGTHS = (450.0, 480.0, 510.0, 550.0, 590.0, 620.0, 650.0, 690.0)


class PaintedSet(SceneSet):
    """Discs of four classes, each with a spectrum of its own, on a grey table; one corner is unlabelled.

    Scenes differ in texture: each next one is harder to see through a coded aperture.
    """

    split = "test"
    colours = None

    def __init__(self, count=3, height=32, width=48, labelled=True):
        self.name = f"painted {self.split}"
        self.names = tuple(f"scene {index}" for index in range(count))
        self.wavelengths = WAVELENGTHS
        self.class_names = NAMES if labelled else None
        self._size = height, width

    @property
    def bands(self):
        return len(WAVELENGTHS)

    def size(self, index):
        return self._size

    def crop(self, index, top, left, height, width):
        return self.whole(index).cropped(top, left, height, width)

    def hashes(self):
        return {name: hashlib.sha256(self[index].cube.tobytes()).hexdigest() for index, name in enumerate(self.names)}

    def whole(self, index):
        generator = np.random.default_rng(index)
        height, width = self._size
        rows, columns = np.mgrid[:height, :width]
        classes = np.zeros(self._size, dtype=np.int64)
        for place, label in enumerate(generator.permutation(4)[:3]):
            middle = height * generator.uniform(0.35, 0.65), width * (place + 0.5) / 3
            classes[np.hypot(rows - middle[0], columns - middle[1]) < 0.3 * height] = label + 1
        light = np.linspace(0, 1, len(WAVELENGTHS))
        spectra = np.stack([0.6 + 0 * light, light, 0.5 + 0.4 * np.sin(6 * light), 1 - light, light**2])
        texture = 1 + 0.1 * index * generator.standard_normal(self._size)
        cube = np.clip(0.8 * spectra[classes] * texture[..., None], 0, 1.2)
        classes[: height // 8, : width // 8] = UNLABELLED
        return Scene(
            np.moveaxis(cube, -1, 0),
            wavelengths=WAVELENGTHS,
            classes=None if self.class_names is None else classes,
            class_names=self.class_names,
            name=self.names[index],
        )
