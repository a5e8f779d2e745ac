"""Zarr v3: a folder with the chunks of arrays, read and written by the package zarr (extra ``zarr``)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import Arrays, Format, LazyArray, Metadata, damaged, stays_in_file
from crsdun.scenes.formats.attributes import text_in
from crsdun.scenes.formats.encoding import Encoding, cf_encoding
from crsdun.scenes.formats.metadata import JSON_KEY, joined, json_object, separated, with_named_axes
from crsdun.scenes.formats.zarr_chunks import MARK, chunk_shape, surplus_of_chunks

MOST_NODES, LARGEST_MARK = 10_000, 1 << 20
INSTALL = "pip install 'crsdun[zarr]', which takes Python 3.11"
# Names of the axes of our arrays, by their number.
AXES = {4: ("t", "c", "y", "x"), 3: ("c", "y", "x"), 2: ("y", "x")}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store of version 3."""
    return (path / MARK).is_file()


def is_old_zarr(path: Path) -> bool:
    """Whether a folder is one of version 2, which is not read."""
    return any((path / mark).is_file() for mark in (".zgroup", ".zarray", ".zmetadata")) and not is_zarr(path)


def zarr_library() -> Any:
    """The module zarr.

    Raises:
        InputError: it is not installed, or older than Zarr v3.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError("Zarr needs the package zarr, which is not installed", INSTALL) from error
    if not hasattr(zarr.storage, "LocalStore"):
        raise InputError(f"Zarr needs version 3 of the package zarr, not {zarr.__version__}", INSTALL)
    return zarr


def open_store(path: Path, mode: str = "r") -> Any:
    """The group or array of a store; what lies in it, but leads out of it, is refused when it is read."""
    zarr = zarr_library()

    class OwnFiles(zarr.storage.LocalStore):  # type: ignore[name-defined]
        async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
            if not (self.root / key).resolve().is_relative_to(self.root.resolve()):
                raise ValueError(f"its part {key} lies elsewhere")
            return await super().get(key, *arguments, **options)

    store = OwnFiles(path, read_only=mode == "r")
    # What each array says of itself counts, which was checked, and not what a group says of it.
    return zarr.open(store=store, mode=mode, zarr_format=3, use_consolidated=False)


def open_zarr(path: Path) -> tuple[Arrays, Metadata]:
    """Arrays of three and four axes, and large pictures, stay in the store; nested ones are called "group/name"."""
    node = open_store(path)
    members = {"image": node}
    if hasattr(node, "members"):  # a group, whose arrays come in any order
        members = dict(sorted(node.members(max_depth=None), key=lambda member: member[0]))
    values: dict[str, Any] = {}
    encodings: dict[str, Encoding] = {}
    units: dict[str, str] = {}
    for name, array in members.items():
        if not hasattr(array, "dtype") or np.dtype(array.dtype).kind not in "biufc":
            continue
        attributes = dict(array.attrs)
        encodings[name], dtype = cf_encoding(attributes, np.dtype(array.dtype), f"{name} in {path}")
        units[name] = text_in(attributes.get("units", "unknown"))
        if stays_in_file(array.shape, dtype.itemsize):
            own = name if members.get(name) is not node else ""
            values[name] = LazyArray(path, own, array.shape, dtype, read_part)
        else:
            values[name] = np.asarray(array[...]).astype(dtype, copy=False)
    notes = node.attrs.get(JSON_KEY)
    if isinstance(notes, dict):
        values[JSON_KEY] = json.dumps(notes)
    arrays, metadata = separated(values, encodings, units)
    names = {name: [str(axis) for axis in members[name].metadata.dimension_names or ()] for name in arrays}
    arrays, axes = with_named_axes(arrays, names)
    return arrays, metadata | axes


def read_part(path: Path, name: str, part: tuple[slice, ...]) -> np.ndarray:
    """A part of an array; the store itself is the array called "".

    Raises:
        InputError: it is damaged.
    """
    try:
        node = open_store(path)
        return np.asarray((node[name] if name else node)[part])
    except MemoryError:
        raise
    except Exception as error:
        raise damaged(path, "Zarr", error) from error


def write_zarr(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    values = joined(arrays, metadata, "CHW")
    notes = json_object(values.pop(JSON_KEY))
    group = zarr_library().open_group(path, mode="w", zarr_format=3, attributes={JSON_KEY: notes})
    for name, value in values.items():
        axes = ("c",) if value.ndim == 1 else AXES.get(value.ndim)
        group.create_array(name, data=np.ascontiguousarray(value), dimension_names=axes)


def ome(
    name: str, path: str, wavelengths: Sequence[float] | None, bands: int, seconds: float | None = None
) -> dict[str, Any]:
    """What OME-Zarr 0.5 says of the axes and the scale of the cube, or series of cubes, at ``path`` in a store.

    It has one channel for each band. ``seconds``: from one cube of a series to the next; None for a single cube.
    """
    labels = [f"{nm:g} nm" for nm in wavelengths] if wavelengths else [f"band {band + 1}" for band in range(bands)]
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [1.0, 1.0, 1.0]
    if seconds is not None:
        axes, scale = [{"name": "t", "type": "time", "unit": "second"}, *axes], [seconds, *scale]
    datasets = [{"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
        "omero": {"channels": [{"label": label, "active": False} for label in labels]},
    }


def check_zarr(path: Path, budget: float) -> Iterator[int]:
    """Looks at what the groups and arrays say of themselves; yields bytes that reading them takes (``guard``)."""
    waiting, seen = [path], 0
    while waiting:
        folder = waiting.pop()
        mark = folder / MARK
        if (folder.is_symlink() and folder != path) or mark.is_symlink():
            raise ValueError(f"its part {folder.name} lies elsewhere")
        seen += 1
        if seen > MOST_NODES or mark.stat().st_size > LARGEST_MARK:
            raise ValueError(f"it has more than {MOST_NODES:,} arrays, or one that says too much of itself")
        said = json.loads(mark.read_text(encoding="utf-8"))
        if said.get("node_type") == "group":
            waiting += (each.parent for each in folder.glob(f"*/{MARK}"))
            continue
        if said.get("storage_transformers"):
            raise ValueError("it transforms what it stores")
        size = np.dtype(said["data_type"]).itemsize if isinstance(said["data_type"], str) else 8
        yield size * math.prod(chunk_shape(said["chunk_grid"]))
        yield from surplus_of_chunks(folder, said, size, budget)
        shape = tuple(int(each) for each in said["shape"])
        if not stays_in_file(shape, size):
            yield size * math.prod(shape)


ZARR = Format("Zarr", (), (".zarr",), open_zarr, write_zarr, mark=MARK)
