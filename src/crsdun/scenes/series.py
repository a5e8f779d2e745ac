"""Scenes one after the other in one file, HDF5 or Zarr: written scene by scene, and read so.

Legend: T scenes · C bands · H, W scene.

``cubes`` (T,C,H,W) float32, NaN where there is no data · ``classes`` (T,H,W) int32 where there are class maps ·
``wavelengths`` (C,) in nm · ``time`` (T,) in seconds · in Zarr also what OME-Zarr 0.5 says of axes and their scale.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats import ArrayFile, open_arrays
from crsdun.scenes.formats.hdf5 import HDF5_OVERHEAD
from crsdun.scenes.formats.metadata import JSON_KEY, to_json
from crsdun.scenes.formats.zarr_store import AXES, ome, open_store, zarr_library
from crsdun.scenes.measurement import name_of_exposure
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.storage import make_room

CUBES, CLASSES, RATE = "cubes", "classes", "frames_per_second"
# A chunk of a Zarr store holds as many rows of a frame as fit into this many bytes.
CHUNK = 64 << 20


# -- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """Scenes one after the other, each read when it is asked for: ``series[3].cube``.

    Attributes:
        file: that holds them.
        frames_per_second: None where unknown.
    """

    file: ArrayFile
    frames_per_second: float | None

    def __len__(self) -> int:
        """T."""
        return int(self.file.arrays[CUBES].shape[0])

    def __iter__(self) -> Iterator[Scene]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Scene:
        """A scene; one without any data, all NaN, where its frame could not be decoded.

        Raises:
            InputError: its part of the file is damaged.
        """
        index = range(len(self))[index]
        metadata, part, every = self.file.metadata, slice(index, index + 1), slice(None)
        classes = None
        if CLASSES in self.file.arrays:
            classes = np.asarray(self.file.arrays[CLASSES][part, every, every][0])
        names, name = metadata.get("class_names"), metadata.get("name", self.file.path.stem)
        return Scene(
            np.asarray(self.file.arrays[CUBES][part, every, every, every][0]),
            wavelengths=self.file.wavelengths,
            classes=classes,
            class_names=None if names is None else tuple(names),
            name=name_of_exposure(name, index, len(self)),
            provenance={**metadata.get("provenance", {"file": self.file.path.name}), "frame": index + 1},
        )


def open_series(path: str | Path) -> Series:
    """The series of scenes in a file of HDF5 or a store of Zarr.

    Raises:
        InputError: it cannot be read, or holds no series.
    """
    file = open_arrays(path)
    if not is_series(file):
        raise InputError(f"{path} holds no series of scenes (frames, bands, height, width) but {file.contents}")
    return Series(file, file.metadata.get(RATE))


def is_series(file: ArrayFile) -> bool:
    """Whether a file holds scenes one after the other."""
    return CUBES in file.arrays and file.arrays[CUBES].ndim == 4


# -- writing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """What is known of a series before its scenes.

    Attributes:
        count: T.
        frames_per_second: how fast they follow each other.
        like: a scene with the size, bands and classes of all.
        name: of the series.
        provenance: how all of them were made.
    """

    count: int
    frames_per_second: float
    like: Scene
    name: str
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], str, Any]]:
        """Shape, type and what stands where nothing is written, of the arrays that grow."""
        count, size = self.count, self.like.cube.shape
        arrays: dict[str, tuple[tuple[int, ...], str, Any]] = {CUBES: ((count, *size), "float32", np.nan)}
        if self.like.classes is not None:
            arrays[CLASSES] = ((count, *size[1:]), "int32", UNLABELLED)
        return arrays

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """What the first axes count: times in seconds, and wavelengths where they are known."""
        axes = {"time": np.arange(self.count) / self.frames_per_second}
        if self.like.wavelengths is not None:
            axes["wavelengths"] = np.asarray(self.like.wavelengths, dtype=np.float64)
        return axes

    @property
    def notes(self) -> dict[str, Any]:
        """Everything else, as in every file of ours."""
        notes = {
            "name": self.name,
            "class_names": self.like.class_names,
            "provenance": self.provenance,
            "wavelength_units": "Nanometers",
            RATE: self.frames_per_second,
        }
        return json.loads(to_json({key: value for key, value in notes.items() if value is not None}))


class SeriesWriter(ABC):
    """Writes scenes into a file in any order; what was written stays, however the program ends.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def create(self, outline: Outline) -> None:
        """Make the file, without data; it replaces another one. OSError where there is not enough room."""

    @abstractmethod
    def write(self, index: int, scene: Scene) -> None:
        """Write the scene number ``index`` from 0, complete when this returns."""


class Hdf5Series(SeriesWriter):
    """One file of HDF5. Its arrays lie in one piece each, so that no index of them can be damaged half-way."""

    def create(self, outline: Outline) -> None:
        import h5py

        sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind, _ in outline.arrays.values()]
        self.path.unlink(missing_ok=True)
        make_room(self.path, sum(sizes) + HDF5_OVERHEAD * 8 + 8 * outline.count)
        with h5py.File(self.path, "w") as file:
            for name, (shape, kind, empty) in outline.arrays.items():
                space = h5py.h5s.create_simple(shape)
                properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                properties.set_layout(h5py.h5d.CONTIGUOUS)
                properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                properties.set_fill_value(np.array(empty, kind))
                h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(kind)), space, properties)
            for name, values in outline.axes.items():
                file.create_dataset(name, data=values)
            file.create_dataset(JSON_KEY, data=to_json(outline.notes))

    def write(self, index: int, scene: Scene) -> None:
        import h5py

        with h5py.File(self.path, "r+") as file:
            file[CUBES][index] = scene.cube
            if CLASSES in file and scene.classes is not None:
                file[CLASSES][index] = scene.classes


class ZarrSeries(SeriesWriter):
    """A store of Zarr v3, with chunks of one frame or of some of its rows; frames without data take no room."""

    def create(self, outline: Outline) -> None:
        like, seconds = outline.like, 1 / outline.frames_per_second
        attributes = {"ome": ome(outline.name, CUBES, like.wavelengths, like.bands, seconds), JSON_KEY: outline.notes}
        group = zarr_library().open_group(self.path, mode="w", zarr_format=3, attributes=attributes)
        for name, (shape, kind, empty) in outline.arrays.items():
            row = int(np.prod(shape[1:])) // shape[-2] * np.dtype(kind).itemsize
            rows = max(1, min(shape[-2], CHUNK // row))
            axes = AXES[4] if len(shape) == 4 else ("t", "y", "x")
            chunks = (1, *shape[1:-2], rows, shape[-1])
            group.create_array(name, shape=shape, chunks=chunks, dtype=kind, fill_value=empty, dimension_names=axes)
        for name, values in outline.axes.items():
            axis = "t" if name == "time" else "c"
            group.create_array(name, data=values, dimension_names=(axis,))

    def write(self, index: int, scene: Scene) -> None:
        group = open_store(self.path, "r+")
        group[CUBES][index] = scene.cube
        if CLASSES in group and scene.classes is not None:
            group[CLASSES][index] = scene.classes.astype(np.int32)


# How a series may be stored, by its suffix.
SERIES: dict[str, type[SeriesWriter]] = {"h5": Hdf5Series, "zarr": ZarrSeries}
