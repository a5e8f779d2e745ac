"""Labelled scenes as a data set: the one interface that training and evaluation know."""

from __future__ import annotations

from abc import ABC, abstractmethod

from crsdun.errors import InputError
from crsdun.scenes.scene import Scene

SPLITS = ("train", "validation", "test")


class SceneSet(ABC):
    """One split of a data set: scenes with the same bands and the same classes, opened without being read.

    Attributes:
        name: of data set and split for tables, such as ``produce-23 1 test``.
        split: one of ``SPLITS``.
        names: one for each scene, unique, in the frozen order of the split.
        wavelengths: of all scenes (nm, ascending), length C; None where the data do not tell.
        class_names: of all scenes, length N, background first; None where the scenes are not labelled.
        colours: of the classes, N times (red, green, blue) in 0..255; None for those of the viewer.
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
        """A whole scene; its classes are ``UNLABELLED`` (−1) where nobody knows."""
        height, width = self.size(index)
        return self.crop(index, 0, 0, height, width)

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
            InputError: the part does not lie inside the scene, or a file is not what it was when the set was opened.
        """

    @abstractmethod
    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything the split consists of: file (relative to the data set) or scene → hex digest."""


def window(name: str, size: tuple[int, int], top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a part of the scene ``name``.

    Raises:
        InputError: the part does not lie inside a scene of that size.
    """
    rows, columns = size
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise InputError(
            f"a crop of {height}×{width} at row {top}, column {left} leaves the {rows}×{columns} scene {name!r}",
            "choose a smaller one",
        )
    return slice(top, top + height), slice(left, left + width)
