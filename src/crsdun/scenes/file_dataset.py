"""Data sets of files: one cube and, where there are labels, one label map for each scene."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError, UnitError
from crsdun.provenance import sha256_of
from crsdun.scenes.array_roles import (
    Doubt,
    around,
    ascending_bands,
    bands_first,
    doubts,
    find_array,
    unit_range,
    with_axes,
)
from crsdun.scenes.formats import ArrayFile, files_of, open_arrays
from crsdun.scenes.formats.pictures import without_palette
from crsdun.scenes.labels import LabelCodes, classes_of, read_codes
from crsdun.scenes.orientation import AS_THE_LABELS, best_orientation, edge_contrasts, mean_picture
from crsdun.scenes.scene import Scene, window
from crsdun.scenes.scene_set import SceneSet

ALL = slice(None)
# What the setting is called here.
DIVISOR = "divisor in a .yaml of the data set"
# By how many nm a file's own wavelengths may differ from those of the data set.
SAME_WAVELENGTH = 0.5


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
        stated_by: the file whose wavelengths these are; None where the data set itself gives them.
        label_codes: what the codes of label maps stand for; None without labels.
        class_names, colours: of the classes.
        resample: wavelengths (nm) to which every cube is interpolated; None keeps the bands of the files.
        transposed: rows and columns of the cubes are swapped, to match the labels.
        divisor: what numbers are divided by, after gains that files state; None divides 8- and 16-bit integers by the
            largest value of their type and leaves floating-point numbers as they are.
        cube_key, labels_key: names of the arrays in files that hold several.
        axes: of the stored cubes, such as "hwc"; None finds out.
        palette: colours of the first label map, if it has a palette and its indices are the codes; others must agree.
    """

    bands: int
    wavelengths: tuple[float, ...] | None = None
    stated_by: Path | None = None
    label_codes: LabelCodes | None = None
    class_names: tuple[str, ...] | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    resample: tuple[float, ...] | None = None
    transposed: bool = False
    divisor: float | None = None
    cube_key: str | None = None
    labels_key: str | None = None
    axes: str | None = None
    palette: tuple[tuple[int, ...], ...] | None = None

    def open_cube(self, path: Path) -> tuple[Any, ArrayFile]:
        """The stored numbers of a cube as (C,H,W), in the orientation of the labels and not read yet, and its file.

        Raises:
            InputError: the file cannot be read, or has another number of bands.
        """
        file = with_axes(without_palette(open_arrays(path)), self.axes)
        name, stored = find_array(file, "cube", self.cube_key)
        file = around(file, name)
        if not all(file.encoding(name).good_bands):
            raise InputError(f"{path} marks bands as bad", "take them out of the file, or delete the mark")
        cube = bands_first(stored, file, range(self.bands))
        if cube.shape[0] != self.bands:
            raise InputError(
                f"{path} holds {file.contents}: {cube.shape[0]} bands where {self.bands} were expected", "replace it"
            )
        return (cube.transpose((0, 2, 1)) if self.transposed else cube), file

    def scaled(self, stored: np.ndarray, file: ArrayFile) -> np.ndarray:
        """Stored numbers (C,h,w) of a file as float32, scaled so that white is 1; NaN where there is no data."""
        name, _ = find_array(file, "cube", self.cube_key)
        return np.ascontiguousarray(unit_range(stored, file, name, self.divisor)[0], dtype=np.float32)

    def doubt(self, numbers: np.ndarray, file: ArrayFile) -> Doubt | None:
        """The doubt about the scale of a whole stored cube (C,H,W); None where there is none."""
        doubt = doubts(numbers, file, find_array(file, "cube", self.cube_key)[0], divisor=self.divisor)
        return doubt and doubt._replace(remedy=doubt.remedy.replace("<divisor>", DIVISOR))

    def check_wavelengths(self, file: ArrayFile) -> bool:
        """Whether a file states the wavelengths of its bands.

        Raises:
            InputError: they are not those of the data set, or in another order, or not one for each band.
        """
        try:
            own = file.wavelengths
        except UnitError:  # no numbers to compare
            return False
        expected = self.wavelengths
        if own and len(own) != self.bands and expected and self.stated_by is None:
            return False  # those of the data set count, as where a scene is read with its wavelengths
        if own and len(own) != self.bands:
            raise InputError(
                f"{file.path} has {self.bands} bands but {len(own)} wavelengths", "correct its list of wavelengths"
            )
        if own and not expected:
            raise InputError(
                f"{file.path} has wavelengths of {own[0]:g}–{own[-1]:g} nm, which the data set does not know",
                "give wavelengths in its .yaml, in the order of the files, and no bands",
            )
        if own and expected and not np.allclose(own, expected, 0, SAME_WAVELENGTH):
            raise InputError(
                f"{file.path} has wavelengths of {own[0]:g}–{own[-1]:g} nm but the data set {expected[0]:g}–"
                f"{expected[-1]:g} nm",
                "correct the one that is wrong",
            )
        return bool(own)

    def read_classes(self, path: Path, size: tuple[int, int], rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """A part of a class map, (h,w).

        Raises:
            InputError: the map cannot be read, is not as large as the cube (``size``), or holds an unknown code.
        """
        assert self.label_codes is not None
        codes, stated = read_codes(path, self.label_codes, self.labels_key, self.palette, self.class_names)
        if codes.shape[:2] != size:
            transposed = "; it is transposed" if codes.shape[1::-1] == size else ""
            raise InputError(
                f"{path} has {codes.shape[0]}×{codes.shape[1]} pixels but its cube {size[0]}×{size[1]}{transposed}",
                "replace the one that is wrong",
            )
        return classes_of(codes[rows, columns], stated, path, (rows.start or 0, columns.start or 0))


@dataclass(frozen=True)
class DatasetIndex:
    """What a data set of files consists of, listed without reading a cube.

    Attributes:
        name: of the data set.
        layout: which kind of data set it is, for messages.
        root: the folder to which file names are relative.
        schema: how its files are read.
        splits: the scenes of each split.
        lists: the files that define which scenes there are.
        settings: that change how the files are read, where neither they nor the lists tell.
        unpaired: files of incomplete scenes, and files that cannot be used.
        problems: what is missing or wrong, one line each; the data set is not opened while there are any.
        notes: what a user should know, one line each.
    """

    name: str
    layout: str
    root: Path
    schema: FileSchema
    splits: Mapping[str, tuple[SceneFiles, ...]]
    lists: tuple[Path, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    unpaired: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self, split: str) -> tuple[Path, ...]:
        """Every file of a split that exists, each once."""
        paths = [path for scene in self.splits[split] for path in (scene.cube, scene.labels) if path is not None]
        return tuple(dict.fromkeys(file for path in paths for file in files_of(path) if file.is_file()))

    def hashes(self, files: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of files, by their name relative to the root."""
        return {self.relative(path): sha256_of(path) for path in files}

    def edge_contrasts(self, scene: SceneFiles) -> dict[str, float]:
        """How well the labels of a scene fit its cube in every orientation; empty without labels."""
        if scene.labels is None:
            return {}
        stored, file = self.schema.open_cube(scene.cube)
        cube = self.schema.scaled(stored[:, :, :], file)
        return edge_contrasts(mean_picture(cube), self.schema.read_classes(scene.labels, cube.shape[1:]))

    def relative(self, path: Path) -> str:
        """The name of a file in tables and manifests."""
        return Path(os.path.relpath(path, self.root)).as_posix()


class FileDataset(SceneSet):
    """One split of a ``DatasetIndex``.

    Raises:
        InputError: the index has problems, or no such split.
    """

    def __init__(self, index: DatasetIndex, split: str) -> None:
        if index.problems:
            more = len(index.problems) - 1
            rest = f" ({more} more: crsdun data check lists all)" if more else ""
            raise InputError(f"{index.name}: {index.problems[0]}{rest}")
        if not index.splits.get(split):
            splits = ", ".join(name for name, scenes in index.splits.items() if scenes)
            raise InputError(f"{index.name} has no {split} split", f"it has {splits}")
        self.index, self.split = index, split
        self.scenes = index.splits[split]
        self.name = f"{index.name} {split}"
        self.names = tuple(scene.name for scene in self.scenes)
        schema = index.schema
        ascending = schema.wavelengths and tuple(sorted(schema.wavelengths))
        self.wavelengths = schema.resample or ascending
        self.class_names, self.colours = schema.class_names, schema.colours
        self._sizes: dict[int, tuple[int, int]] = {}
        self._seen: set[str] = set()  # the scenes whose scale was looked at
        self._look_at_some()

    @property
    def bands(self) -> int:
        return len(self.wavelengths) if self.wavelengths else self.index.schema.bands

    def size(self, index: int) -> tuple[int, int]:
        if index not in self._sizes:  # some formats have to be read whole for it
            height, width = self.index.schema.open_cube(self.scenes[index].cube)[0].shape[1:]
            self._sizes[index] = height, width
        return self._sizes[index]

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        files, schema = self.scenes[index], self.index.schema
        stored, file = schema.open_cube(files.cube)
        size = stored.shape[1:]
        rows, columns = window(files.name, size, top, left, height, width)
        schema.check_wavelengths(file)
        numbers = np.asarray(stored[:, rows, columns])
        if (height, width) == size and files.name not in self._seen:
            self._seen.add(files.name)
            _tell(schema.doubt(numbers, file))
        cube, wavelengths = ascending_bands(schema.scaled(numbers, file), schema.wavelengths)
        classes, origin = None, {"cube": self.index.relative(files.cube)}
        if files.labels is not None:
            classes = schema.read_classes(files.labels, size, rows, columns)
            origin["labels"] = self.index.relative(files.labels)
        scene = Scene(
            cube,
            wavelengths=wavelengths,
            classes=classes,
            class_names=self.class_names,
            name=files.name,
            provenance={"data_set": self.name, **origin},
        )
        return scene.resampled(schema.resample) if schema.resample else scene

    def _look_at_some(self) -> None:
        """Look at the first, middle and last scene: a wrong scale, or labels in another orientation than the cubes,
        would teach nonsense, silently. The scale of the others is looked at when they are read whole."""
        sample = dict.fromkeys(self.scenes[index] for index in (0, len(self) // 2, -1))
        found = {scene.name: self._doubt(scene) for scene in sample}
        if (doubt := next(iter(found.values()))) is not None and None not in found.values():  # said once for all
            doubt._replace(refused=False).tell()
            self._seen.update(self.names)
        else:
            for doubt in found.values():
                _tell(doubt)
            self._seen.update(found)
        best = best_orientation([self.index.edge_contrasts(scene) for scene in sample])
        if best not in (None, AS_THE_LABELS):
            warnings.warn(
                f"{self.name}: the labels look as if the cubes were {best}; see crsdun data check; transpose "
                "(true or false) in a .yaml of the data set swaps rows and columns",
                stacklevel=3,
            )

    def _doubt(self, scene: SceneFiles) -> Doubt | None:
        try:
            stored, file = self.index.schema.open_cube(scene.cube)
            return self.index.schema.doubt(np.asarray(stored[:, :, :]), file)
        except InputError:  # which is raised when the scene is read
            return None

    def hashes(self) -> dict[str, str]:
        settings = {
            name: hashlib.sha256(f"{name}: {value}".encode()).hexdigest()
            for name, value in self.index.settings.items()
        }
        return self.index.hashes((*self.index.lists, *self.index.files(self.split))) | settings


def _tell(doubt: Doubt | None) -> None:
    """Warn of a doubt about one scene, which others do not share."""
    if doubt is not None:
        remedy = "bring it to the scale of the other scenes" if DIVISOR in doubt.remedy else doubt.remedy
        doubt._replace(remedy=remedy, refused=False).tell()


def hash_shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that depends on them and the seed alone, on any machine and with any version of a library."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
