"""Patchwork scenes as a data set: a part of a scene is rendered when it is asked for, and nothing but that part."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import nbk7_wavelengths
from crsdun.scenes.patchwork.materials import check_wavelengths
from crsdun.scenes.patchwork.photographs import NAMES
from crsdun.scenes.patchwork.rendering import SIZE, VERSION, Patchwork, draw_patchwork
from crsdun.scenes.produce.exact_arithmetic import SceneRng
from crsdun.scenes.scene import Scene, window
from crsdun.scenes.scene_set import SceneSet

SCENES = {"train": 100_000, "validation": 50, "test": 50}

SOURCE = "measured reflectances, CIE illuminants and photographs that NOTICE names, drawn by crsdun.scenes.patchwork"


class DrawnSet(SceneSet):
    """What the sets of this package have in common: a scene is a function of version, split and index alone.

    Args:
        split: ``train`` (100 000 scenes), ``validation`` or ``test`` (50 each).
        wavelengths: of the bands in nm, any number, ascending, 390–730.

    Raises:
        InputError: there is no such split, or a wavelength lies outside 390–730 nm.
    """

    title: str

    def __init__(self, split: str, wavelengths: tuple[float, ...] = nbk7_wavelengths()) -> None:
        if split not in SCENES:
            raise InputError(f"{self.title} has no split {split!r}", f"there are: {', '.join(SCENES)}")
        self.split = split
        self.name = f"{self.title} {VERSION} {split}"
        self.names = scene_names(split)
        self.wavelengths: tuple[float, ...] = check_wavelengths(wavelengths)

    def on_grid(self, wavelengths: tuple[float, ...]) -> DrawnSet:
        """The same scenes, rendered on other bands (nm, ascending, 390–730).

        Raises:
            InputError: a wavelength lies outside that range.
        """
        return type(self)(self.split, wavelengths)

    @property
    def bands(self) -> int:
        return len(self.wavelengths)

    def size(self, index: int) -> tuple[int, int]:
        return SIZE, SIZE

    def hashes(self) -> dict[str, str]:
        """SHA-256 of what the split is made from: name, version, bands, and the spectra and photographs."""
        text = f"{self.name} {self.wavelengths} {ingredients()}"
        return {self.name: hashlib.sha256(text.encode()).hexdigest()}

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        rows, columns = window(self.names[index], self.size(index), top, left, height, width)
        index = range(len(self))[index]
        cube, classes, facts = self._render(f"{self.title}/{VERSION}/{self.split}/{index}", rows, columns)
        return Scene(
            cube,
            self.wavelengths,
            classes,
            self.class_names,
            self.names[index],
            {"data_set": f"{self.title}, version {VERSION}", **facts, "source": SOURCE},
        )

    @abstractmethod
    def _render(self, seed: str, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray | None, dict[str, str]]:
        """A part of a scene: its cube (C,h,w) float32, its classes (h,w), and what to say about it."""


class PatchworkSet(DrawnSet):
    """Scenes of all kinds without labels, 256×256; see ``DrawnSet``."""

    title = "patchwork"
    class_names = None

    def _render(self, seed: str, rows: slice, columns: slice) -> tuple[np.ndarray, None, dict[str, str]]:
        scene = drawn(seed)
        return scene.render(self.wavelengths, rows, columns), None, {"kind": scene.kind}


@lru_cache(maxsize=16)
def drawn(seed: str) -> Patchwork:
    """The scene of a seed; the last few are kept, since validation reads the same ones in parts."""
    return draw_patchwork(SceneRng(seed))


@cache
def scene_names(split: str) -> tuple[str, ...]:
    """Of all scenes of a split."""
    return tuple(f"{split}_{index:05d}" for index in range(SCENES[split]))


@cache
def ingredients() -> str:
    """SHA-256 of the library of spectra and the photographs."""
    digest = hashlib.sha256()
    for name in ("library.npz", *(f"photos/{name}.jpg" for name in NAMES)):
        digest.update(files(__package__).joinpath(name).read_bytes())
    return digest.hexdigest()
