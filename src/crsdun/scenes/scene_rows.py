"""A scene larger than memory: a store of Zarr v3 that is written, and read, by rows.

``cube`` (C,H,W) float32, NaN where nothing was written · maps (H,W), such as ``classes`` · ``wavelengths`` (C,) in
nm · what OME-Zarr 0.5 says of the axes. ``read_scene`` reads it whole, like every other file of a scene.

Legend: C bands · H, W scene.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats import open_arrays
from crsdun.scenes.formats.metadata import JSON_KEY, to_json
from crsdun.scenes.formats.zarr_store import AXES, ome, open_store, zarr_library
from crsdun.scenes.scene import UNLABELLED, Scene

CUBE, CLASSES = "cube", "classes"
# A chunk holds all bands of as many rows as fit into this many bytes.
CHUNK = 8 << 20
# Types of maps, and what stands where nothing was written.
MAPS: dict[str, tuple[str, Any]] = {
    CLASSES: ("int16", UNLABELLED),
    "confidence": ("float32", np.nan),
    "doubt": ("float32", np.nan),
}


@dataclass(frozen=True)
class SceneOutline:
    """What is known of a scene before its rows.

    Attributes:
        size: (C,H,W).
        wavelengths: in nm, ascending, length C; None where unknown.
        maps: names in ``MAPS`` of those that it will have.
        class_names: of ``classes``.
        name, provenance: as of ``Scene``.
        rows: in which it will be written, so many at a time; chunks are cut accordingly.
    """

    size: tuple[int, int, int]
    wavelengths: tuple[float, ...] | None = None
    maps: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    name: str = "scene"
    provenance: dict[str, Any] = field(default_factory=dict)
    rows: int = 1

    @property
    def chunk_rows(self) -> int:
        """The rows of a chunk: the most that fit into ``CHUNK`` and divide ``rows``."""
        bands, height, width = self.size
        most = max(1, min(height, CHUNK // (4 * bands * width)))
        return next(count for count in range(most, 0, -1) if self.rows % count == 0)


class SceneRows:
    """A store of one scene; errors as ``open_scene_rows``.

    Args:
        mode: ``r`` to read it, ``r+`` to go on writing.

    Attributes:
        path: of the store.
        size: (C,H,W).
        wavelengths, class_names, name, provenance: as of ``Scene``.
        maps: the names of its maps.
        chunk_rows: rows that are best read together.
    """

    def __init__(self, path: str | Path, mode: str = "r"):
        self.path = Path(path)
        file = open_arrays(path)
        if CUBE not in file.arrays or file.arrays[CUBE].ndim != 3 or file.metadata.get("axes", "CHW") != "CHW":
            raise InputError(f"{path} holds no cube (bands, height, width) to read by rows but {file.contents}")
        notes = file.metadata
        self._group = open_store(self.path, mode)
        self.size: tuple[int, int, int] = tuple(file.arrays[CUBE].shape)
        self.wavelengths, self.name = file.wavelengths, str(notes.get("name", self.path.stem))
        names = notes.get("class_names")
        self.class_names = None if names is None else tuple(names)
        self.provenance: dict[str, Any] = notes.get("provenance", {"file": self.path.name})
        self.chunk_rows = int(self._group[CUBE].chunks[1])

    @classmethod
    def create(cls, path: Path, outline: SceneOutline) -> SceneRows:
        """A new store without data, in place of another one; OSError where the disk refuses."""
        bands, height, width = outline.size
        notes = {
            "name": outline.name,
            "class_names": outline.class_names,
            "provenance": outline.provenance,
            "wavelength_units": "Nanometers",
            "axes": "CHW",
        }
        told = json.loads(to_json({key: value for key, value in notes.items() if value is not None}))
        attributes = {"ome": ome(outline.name, CUBE, outline.wavelengths, bands), JSON_KEY: told}
        group = zarr_library().open_group(path, mode="w", zarr_format=3, attributes=attributes)
        rows = outline.chunk_rows
        group.create_array(
            CUBE, shape=outline.size, chunks=(bands, rows, width), dtype="float32", fill_value=np.nan,
            dimension_names=AXES[3],
        )  # fmt: skip
        for name in outline.maps:
            dtype, empty = MAPS[name]
            group.create_array(
                name, shape=(height, width), chunks=(rows, width), dtype=dtype, fill_value=empty,
                dimension_names=AXES[2],
            )  # fmt: skip
        if outline.wavelengths is not None:
            values = np.asarray(outline.wavelengths, dtype=np.float64)
            group.create_array("wavelengths", data=values, dimension_names=("c",))
        return cls(path, "r+")

    @property
    def maps(self) -> tuple[str, ...]:
        return tuple(name for name in MAPS if name in self._group)

    def write(self, top: int, rows: Mapping[str, np.ndarray]) -> None:
        """Write rows of the cube, (C,rows,W), and of maps, (rows,W), by name; complete when this returns."""
        for name, values in rows.items():
            array = self._group[name]
            array[..., top : top + values.shape[-2], :] = values.astype(array.dtype, copy=False)

    def read(self, name: str, top: int, bottom: int) -> np.ndarray:
        """Rows of the cube or of a map."""
        return np.asarray(self._group[name][..., top:bottom, :])

    def rows(self, top: int, bottom: int) -> Scene:
        """Rows of the scene, from ``top`` to the one before ``bottom``, as a scene."""
        classes = self.read(CLASSES, top, bottom).astype(np.int64) if CLASSES in self._group else None
        return Scene(
            self.read(CUBE, top, bottom), self.wavelengths, classes, self.class_names, self.name, self.provenance
        )


def open_scene_rows(path: str | Path) -> SceneRows:
    """The scene in a store of Zarr, to be read by rows.

    Raises:
        InputError: it cannot be read, or holds no cube with its bands first.
    """
    return SceneRows(path)
