"""Data sets of files: one cube and, where there are labels, one label map for each scene."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.provenance import sha256_of
from crsdun.scenes.array_roles import bands_first, find_array, unit_range
from crsdun.scenes.formats import ArrayFile
from crsdun.scenes.labels import LabelCodes, classes_of, read_codes
from crsdun.scenes.lazy_arrays import open_arrays
from crsdun.scenes.orientation import AS_THE_LABELS, best_orientation, edge_contrasts
from crsdun.scenes.scene import Scene
from crsdun.scenes.scene_io import by_wavelength
from crsdun.scenes.scene_set import SceneSet, window

ALL = slice(None)


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene."""

    name: str
    cube: Path
    labels: Path | None


@dataclass(frozen=True)
class FileSchema:
    """How the files of a data set are read.

    Attributes:
        bands: number of bands in the cubes' files.
        wavelengths: of those bands in nm, in the order of the files; None where unknown.
        legend: what the codes of label maps stand for; None without labels.
        class_names, colours: of the classes.
        resample: wavelengths (nm) onto which every cube is interpolated; None keeps the bands of the files.
        transposed: rows and columns of the cubes change places, so that they lie as the labels do.
        divisor: what stored numbers are divided by; None divides 8- and 16-bit integers by the largest of their
            type and leaves floating numbers as they are.
        cube_key, labels_key: names of the arrays, in files that hold several.
    """

    bands: int
    wavelengths: tuple[float, ...] | None = None
    legend: LabelCodes | None = None
    class_names: tuple[str, ...] | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    resample: tuple[float, ...] | None = None
    transposed: bool = False
    divisor: float | None = None
    cube_key: str | None = None
    labels_key: str | None = None

    def open_cube(self, path: Path) -> tuple[Any, ArrayFile]:
        """The stored numbers of a cube as (C,H,W), lying as the labels do and not read yet, and its file.

        Raises:
            InputError: the file cannot be read, or has not the bands it should.
        """
        file = open_arrays(path)
        _, stored = find_array(file, "cube", self.cube_key)
        cube = bands_first(stored, file, range(self.bands))
        if cube.shape[0] != self.bands:
            raise InputError(
                f"{path} holds {file.listing}: {cube.shape[0]} bands where {self.bands} were expected", "replace it"
            )
        return (cube.transpose((0, 2, 1)) if self.transposed else cube), file

    def scaled(self, stored: np.ndarray, file: ArrayFile) -> np.ndarray:
        """Stored numbers (C,h,w) of a file as float32 on their scale."""
        values = unit_range(stored, file)[0] if self.divisor is None else stored / self.divisor
        return np.ascontiguousarray(values, dtype=np.float32)

    def read_classes(self, path: Path, size: tuple[int, int], rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """A part of a class map, (h,w).

        Raises:
            InputError: the map cannot be read, is not of the ``size`` of the cube, or holds an unknown code.
        """
        assert self.legend is not None
        codes = read_codes(path, self.legend, self.labels_key)
        if codes.shape[:2] != size:
            turned = "; it was transposed" if codes.shape[1::-1] == size else ""
            raise InputError(
                f"{path} has {codes.shape[0]}×{codes.shape[1]} pixels but its cube {size[0]}×{size[1]}{turned}",
                "replace the one that is wrong",
            )
        return classes_of(codes[rows, columns], self.legend, path, (rows.start or 0, columns.start or 0))


@dataclass(frozen=True)
class DatasetIndex:
    """What a data set of files consists of, found without reading a cube.

    Attributes:
        name: of the data set.
        layout: what it is, in words.
        root: the folder that file names are given relative to.
        splits: scenes of each split that there is.
        lists: the files that say which scenes there are.
        unpaired: files of scenes that miss another one, or have a useless one.
        problems: what is missing or wrong, one line each; a set is not opened while there are any.
        notes: what a user should know, one line each.
    """

    name: str
    layout: str
    root: Path
    reading: FileSchema
    splits: Mapping[str, tuple[SceneFiles, ...]]
    lists: tuple[Path, ...]
    unpaired: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self, split: str) -> tuple[Path, ...]:
        """Every file of a split that exists, each once."""
        pairs = ((pair.cube, pair.labels) for pair in self.splits[split])
        return tuple({path: None for pair in pairs for path in pair if path is not None and path.is_file()})

    def hashes(self, files: Iterable[Path]) -> dict[str, str]:
        """File, relative to the root → SHA-256."""
        return {self.relative(path): sha256_of(path) for path in files}

    def edge_contrasts(self, pair: SceneFiles) -> dict[str, float]:
        """How well the labels of a scene fit its cube in every orientation; empty without labels."""
        if pair.labels is None:
            return {}
        stored, file = self.reading.open_cube(pair.cube)
        cube = self.reading.scaled(stored[:, :, :], file)
        return edge_contrasts(cube.mean(axis=0), self.reading.read_classes(pair.labels, cube.shape[1:]))

    def relative(self, path: Path) -> str:
        """How a file is called in tables and manifests."""
        return Path(os.path.relpath(path, self.root)).as_posix()


class FileDataset(SceneSet):
    """One split of a ``DatasetIndex``."""

    def __init__(self, listing: DatasetIndex, split: str) -> None:
        """
        Raises:
            InputError: the listing has problems, or no such split.
        """
        if listing.problems:
            more = len(listing.problems) - 1
            rest = f" ({more} more: crsdun data check lists all)" if more else ""
            raise InputError(f"{listing.name}: {listing.problems[0]}{rest}")
        if not listing.splits.get(split):
            there = ", ".join(name for name, pairs in listing.splits.items() if pairs)
            raise InputError(f"{listing.name} has no {split} split", f"it has {there}")
        self.listing, self.split = listing, split
        self.pairs = listing.splits[split]
        self.name = f"{listing.name} {split}"
        self.names = tuple(pair.name for pair in self.pairs)
        reading = listing.reading
        known = reading.wavelengths and tuple(sorted(reading.wavelengths))
        self.wavelengths = reading.resample or known
        self.class_names, self.colours = reading.class_names, reading.colours
        self._sizes: dict[int, tuple[int, int]] = {}
        self._warn_of_orientation()

    @property
    def bands(self) -> int:
        return len(self.wavelengths) if self.wavelengths else self.listing.reading.bands

    def size(self, index: int) -> tuple[int, int]:
        if index not in self._sizes:  # some formats have to be read whole to tell it
            height, width = self.listing.reading.open_cube(self.pairs[index].cube)[0].shape[1:]
            self._sizes[index] = height, width
        return self._sizes[index]

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        pair, reading = self.pairs[index], self.listing.reading
        stored, file = reading.open_cube(pair.cube)
        size = stored.shape[1:]
        rows, columns = window(pair.name, size, top, left, height, width)
        cube, wavelengths = reading.scaled(stored[:, rows, columns], file), reading.wavelengths
        if wavelengths is not None and list(wavelengths) != sorted(wavelengths):
            cube, wavelengths = by_wavelength(cube, wavelengths)
        classes, files = None, {"cube": self.listing.relative(pair.cube)}
        if pair.labels is not None:
            classes = reading.read_classes(pair.labels, size, rows, columns)
            files["labels"] = self.listing.relative(pair.labels)
        scene = Scene(
            cube,
            wavelengths=wavelengths,
            classes=classes,
            class_names=self.class_names,
            name=pair.name,
            provenance={"data_set": self.name, **files},
        )
        return scene.resampled(reading.resample) if reading.resample else scene

    def _warn_of_orientation(self) -> None:
        """Look at the first, middle and last scene: labels of another orientation teach nonsense, silently."""
        some = {self.pairs[index] for index in (0, len(self) // 2, -1)}
        best = best_orientation([self.listing.edge_contrasts(pair) for pair in some])
        if best not in (None, AS_THE_LABELS):
            warnings.warn(
                f"{self.name}: the labels look as if the cubes were {best}; crsdun data check tells more, and "
                "transpose (true or false) in a .yaml of the data set exchanges rows and columns",
                stacklevel=3,
            )

    def hashes(self) -> dict[str, str]:
        return self.listing.hashes((*self.listing.lists, *self.listing.files(self.split)))


def hash_shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that only they and the seed decide, on any machine and with any version of a library."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
