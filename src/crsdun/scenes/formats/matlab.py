"""MATLAB .mat: v5, and v7.3, which is HDF5 with a header of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.hdf5 import open_hdf5, size_in_hdf5
from crsdun.scenes.formats.metadata import joined, separated
from crsdun.storage import make_room

DEEPEST = 8  # levels of structs in structs


def open_mat5(path: Path) -> tuple[Arrays, Metadata]:
    """Also v4. Arrays in structs and cells are called "struct/field", in one of several "struct/2/field"; sparse ones
    are filled."""
    from scipy.io import loadmat

    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", np.exceptions.ComplexWarning)
        # MATLAB stores doubles that are whole numbers as bytes; ``mat_dtype`` gives them back as doubles.
        variables = loadmat(path, mat_dtype=True)
    if any(issubclass(each.category, np.exceptions.ComplexWarning) for each in raised):  # it made them real
        variables |= {name: value for name, value in loadmat(path).items() if np.iscomplexobj(value)}
    return separated(
        {
            name: value
            for variable, content in variables.items()
            if not variable.startswith("__")
            for name, value in _leaves(path, variable, content)
        }
    )


def _leaves(path: Path, name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays in a variable: itself, or what its fields and cells hold."""
    if hasattr(value, "toarray"):
        check_budget(
            math.prod(value.shape) * value.dtype.itemsize, f"the sparse array {name} of {path}, once filled,"
        )
        value = value.toarray()
    if not isinstance(value, np.ndarray) or depth > DEEPEST:
        return
    if value.dtype.names:
        for place, struct in enumerate(value.flat):
            for field in value.dtype.names:
                yield from _leaves(path, f"{_element(name, place, value.size)}/{field}", struct[field], depth + 1)
    elif value.dtype == object:
        for place, content in enumerate(value.flat):
            yield from _leaves(path, _element(name, place, value.size), content, depth + 1)
    else:
        yield name, value


def _element(name: str, place: int, size: int) -> str:
    """What to call one of ``size`` elements: as all of them, or by its number from 1."""
    return name if size == 1 else f"{name}/{place + 1}"


def write_mat5(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    from scipy.io import savemat

    savemat(path, joined(arrays, metadata, "HWC"))


def write_mat73(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """HDF5 as MATLAB writes it: its header in the first 512 bytes, arrays transposed, their class named."""
    import h5py

    classes = {"float32": "single", "float64": "double", "bool": "logical"}
    values = joined(arrays, metadata, "HWC")
    make_room(path, size_in_hdf5(values))
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in values.items():
            is_text = isinstance(value, str)
            array = np.frombuffer(value.encode("utf-16-le"), "<u2") if is_text else value
            kind = "char" if is_text else classes.get(array.dtype.name, array.dtype.name)
            stored = array.astype(np.uint8) if kind == "logical" else array
            dataset = file.create_dataset(name, data=np.atleast_2d(stored).T)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            if kind in ("char", "logical"):
                dataset.attrs["MATLAB_int_decode"] = np.int32(stored.itemsize)
    header = b"MATLAB 7.3 MAT-file, Platform: crsdun, HDF5 schema 1.00 .".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


MAT5 = Format("MATLAB v5", (b"MATLAB",), (".mat",), open_mat5, write_mat5, largest=2**31 - 1)
MAT73 = Format("MATLAB v7.3", (b"MATLAB 7.3",), (".mat",), open_hdf5, write_mat73)
