"""A data set and a network so small that a run takes a second."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.scenes import UNLABELLED, Scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.training import TrainConfig, config_from

CLOCK = ("seconds", "hours")  # columns that no two runs have alike
BANDS, CLASS_NAMES = 5, ("background", "one", "two", "three")


class SmallSet(SceneSet):
    """Six scenes in memory: one spectrum for each class, in blocks, a strip of them unlabelled."""

    def __init__(self, split: str, scenes: int = 6, height: int = 48, width: int = 64):
        rng = np.random.default_rng(len(split))
        spectra = np.random.default_rng(0).random((len(CLASS_NAMES), BANDS))
        self.name, self.split = f"small {split}", split
        self.names = tuple(f"{split} {index}" for index in range(scenes))
        self.wavelengths = (400.0, 450.0, 500.0, 550.0, 600.0)
        self.class_names = CLASS_NAMES
        self.scenes = []
        for name in self.names:
            classes = np.kron(rng.integers(4, size=(height // 8, width // 8)), np.ones((8, 8), np.int64))
            cube = spectra[classes].transpose(2, 0, 1) * rng.uniform(0.8, 1.2, classes.shape)
            classes[:4] = UNLABELLED
            self.scenes.append(Scene(cube, self.wavelengths, classes, CLASS_NAMES, name))

    @property
    def bands(self) -> int:
        return BANDS

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.scenes[index].cube.shape[1:]
        return height, width

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        return self.scenes[index].cropped(top, left, height, width)

    def hashes(self) -> dict[str, str]:
        return {scene.name: hashlib.sha256(scene.cube.tobytes()).hexdigest() for scene in self.scenes}


def small_sets() -> tuple[SmallSet, SmallSet]:
    return SmallSet("train"), SmallSet("validation", scenes=2)


def small_config(out: Path | str, **sections: Any) -> TrainConfig:
    """A run of 6 steps; a section given is laid over the one here."""
    values: dict[str, Any] = {
        "data": {"source": "small"},
        "network": {"name": "crsdun_1stg", "settings": {"width": 4}},
        "camera": {"noise": {"read_sigma": 0.01}},
        "sampling": {"crop": [32, 32], "batch": 2, "flips": "both", "quarter_turns": True, "mosaic": 0.5},
        "optimiser": {"name": "adamw", "rate": 2e-3, "weight_decay": 0.01, "warm_up": 2, "clip": 1.0},
        "validation": {"every": 3},
        "steps": 6,
        "log_every": 1,
        "checkpoint_every": 2,
        "out": str(out),
    }
    for name, value in sections.items():
        values[name] = {**values[name], **value} if isinstance(values.get(name), dict) else value
    return config_from(values)


def figures(path: Path) -> list[dict[str, str]]:
    """A CSV without the columns that are wall-clock time."""
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name not in CLOCK} for row in csv.DictReader(file)]
