"""Labelled scenes as a data set: the one interface of training and evaluation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

from crsdun.scenes.scene import Scene

SPLITS = ("train", "validation", "test")


class SceneSet(ABC):
    """One split of a data set: scenes with the same bands and the same classes, which are read only when indexed.

    Attributes:
        name: of data set and split for tables, such as ``produce-23 1 test``.
        split: one of ``SPLITS``.
        names: of the scenes, unique, in the fixed order of the split.
        wavelengths: of all scenes (nm, ascending), length C; None where unknown.
        class_names: of all scenes, length N, background first; None where the scenes are not labelled.
        colours: of the classes, N times (red, green, blue) in 0..255; None for the viewer's own.
    """

    name: str
    split: str
    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None
    class_names: tuple[str, ...] | None
    colours: tuple[tuple[int, int, int], ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Scene:
        """A whole scene; its classes are ``UNLABELLED`` (−1) where unknown.

        Raises:
            InputError: as ``crop`` and ``Scene.check_data``.
        """
        height, width = self.size(index)
        scene = self.crop(index, 0, 0, height, width)
        scene.check_data()
        return scene

    @property
    @abstractmethod
    def bands(self) -> int:
        """C."""

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a scene, without reading its cube."""

    @abstractmethod
    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        """A part of a scene, read without the rest of its cube where the format allows.

        Raises:
            InputError: the part does not lie inside the scene, or a file has changed since the set was opened.
        """

    def on_grid(self, wavelengths: tuple[float, ...]) -> SceneSet:
        """The same scenes on other bands (nm): each crop is resampled as by ``Scene.resampled``."""
        return ResampledSet(self, wavelengths)

    @abstractmethod
    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything the split consists of: file (relative to the data set) or scene → hex digest."""


class ResampledSet(SceneSet):
    """The scenes of a set on other bands; crops raise what ``Scene.resampled`` does.

    Args:
        scenes: with wavelengths.
        wavelengths: of the bands instead of theirs, nm, ascending.
    """

    def __init__(self, scenes: SceneSet, wavelengths: tuple[float, ...]) -> None:
        self.scenes, self.wavelengths = scenes, wavelengths
        self.name, self.split, self.names = scenes.name, scenes.split, scenes.names
        self.class_names, self.colours = scenes.class_names, scenes.colours

    @property
    def bands(self) -> int:
        return len(self.wavelengths or ())

    def size(self, index: int) -> tuple[int, int]:
        return self.scenes.size(index)

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        scene = self.scenes.crop(index, top, left, height, width)
        return scene.resampled(self.wavelengths or ())

    def on_grid(self, wavelengths: tuple[float, ...]) -> SceneSet:
        return self.scenes.on_grid(wavelengths)

    def hashes(self) -> dict[str, str]:
        """Of the scenes as they are stored."""
        return self.scenes.hashes()


class WholeScene(SceneSet):
    """One scene as a set of its own, whole, whose split is ``test``: nothing is learnt from it.

    Args:
        scene: that the set consists of.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene, self.split = scene, "test"
        self.name, self.names = f"whole {scene.name} test", (scene.name,)
        self.wavelengths, self.class_names = scene.wavelengths, scene.class_names

    @property
    def bands(self) -> int:
        return self.scene.bands

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.scene.cube.shape[1:]
        return height, width

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        return self.scene.cropped(top, left, height, width)

    def hashes(self) -> dict[str, str]:
        """Of the cube and the classes, as they are in memory."""
        arrays = {"cube": self.scene.cube, "classes": self.scene.classes}
        return {name: hashlib.sha256(each.tobytes()).hexdigest() for name, each in arrays.items() if each is not None}
