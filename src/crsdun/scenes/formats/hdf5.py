"""HDF5, which is also what MATLAB v7.3 writes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, Format, LazyArray, Metadata, damaged, stays_in_file
from crsdun.scenes.formats.attributes import text_in
from crsdun.scenes.formats.encoding import Encoding, cf_encoding
from crsdun.scenes.formats.metadata import WAVELENGTH_KEYS, joined, separated, with_named_axes
from crsdun.storage import make_room

# What netCDF-4 calls a data set that is the length of an axis, and holds nothing.
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
HDF5_OVERHEAD = 8192  # bytes for each data set, and for the file


def open_hdf5(path: Path) -> tuple[Arrays, Metadata]:
    """Data sets of three and four axes, and large pictures, stay in the file; nested ones are called "group/name".

    Those of MATLAB come in its axis order.
    """
    import h5py

    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    encodings: dict[str, Encoding] = {}
    axes: dict[str, list[str]] = {}

    def take(name: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset) or name.startswith("#") or "MATLAB_empty" in node.attrs:
            return
        if text_in(node.attrs.get("NAME", "")).startswith(NO_VARIABLE):
            return
        matlab = text_in(node.attrs.get("MATLAB_class", ""))
        if h5py.check_string_dtype(node.dtype) and node.shape == ():
            values[name] = node.asstr()[()]
        elif matlab == "char":
            values[name] = node[()].T.astype("<u2").tobytes().decode("utf-16-le")
        elif node.dtype.kind in "biuf" and node.shape is not None:
            encodings[name], dtype = cf_encoding(node.attrs, node.dtype, f"{name} in {path}")
            dtype = np.dtype(bool) if matlab == "logical" else dtype
            # MATLAB stores columns first, so its arrays are transposed in the file.
            if stays_in_file(node.shape, dtype.itemsize):
                order = tuple(reversed(range(node.ndim))) if matlab else ()
                values[name] = LazyArray(path, name, node.shape, dtype, read_part, order)
            else:
                values[name] = np.asarray(node[()].T if matlab else node[()], dtype)
            units[name] = text_in(node.attrs.get("units", "unknown"))
            if not matlab:
                axes[name] = _axis_names(node)

    with h5py.File(path, "r") as file:
        file.visititems(take)
        # Some sensors keep the wavelengths as an attribute of the file, such as List_Cw_Vnir of PRISMA.
        lengths = {length for value in values.values() if np.ndim(value) == 3 for length in value.shape}
        attributes = {
            name: value
            for name, value in file.attrs.items()
            if ("_cw_" in name.lower() or name.lower() in WAVELENGTH_KEYS)
            and isinstance(value, np.ndarray)
            and value.dtype.kind == "f"
            and value.size in lengths
        }
    arrays, metadata = separated(values, encodings, units, attributes)
    arrays, named = with_named_axes(arrays, axes)
    return arrays, metadata | named


def _axis_names(node: Any) -> list[str]:
    """The labels of the axes of a data set, or the names of what is attached to them as scales; "" where is neither.

    HDF5's own functions for them trust the types of these attributes, and crash on others.
    """
    import h5py

    labels, scales = (_list_of(node, name) for name in ("DIMENSION_LABELS", "DIMENSION_LIST"))
    names = [text_in(label) if isinstance(label, str | bytes) else "" for label in labels]
    for axis, attached in enumerate(scales):
        first = attached[0] if isinstance(attached, np.ndarray) and attached.ndim == 1 and attached.size else None
        if not names[axis] and type(first) is h5py.Reference:
            with suppress(ValueError, KeyError):  # of a data set that is no longer there
                names[axis] = str(node.file[first].name or "").rpartition("/")[-1]
    return names


def _list_of(node: Any, name: str) -> list[Any]:
    """An attribute with one entry for each axis; of another kind, None for each."""
    try:
        value = node.attrs.get(name)
    except (OSError, TypeError, ValueError):
        value = None
    fits = isinstance(value, np.ndarray) and value.shape == (node.ndim,) and value.dtype.kind in "OSU"
    return list(value) if fits else [None] * node.ndim


def read_part(path: Path, name: str, part: tuple[slice, ...]) -> np.ndarray:
    """A part of a data set.

    Raises:
        InputError: it is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][part])
    except OSError as error:
        raise damaged(path, "HDF5", error) from error


def write_hdf5(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    import h5py

    values = joined(arrays, metadata, "CHW")
    make_room(path, size_in_hdf5(values))
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file.create_dataset(name, data=value)


def size_in_hdf5(values: dict[str, Any]) -> int:
    """No less than the size in bytes of a file that will hold these arrays and texts."""
    sizes = [4 * len(value) if isinstance(value, str) else value.nbytes for value in values.values()]
    return sum(sizes) + HDF5_OVERHEAD * (len(sizes) + 1)


HDF5 = Format("HDF5", (b"\x89HDF\r\n\x1a\n",), (".h5", ".hdf5"), open_hdf5, write_hdf5)
