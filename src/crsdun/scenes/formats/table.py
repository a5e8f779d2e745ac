"""Every file format, one row each, and the functions that read, open and write by that table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import (
    ENCODINGS,
    GRIDS,
    NAMED_AXES,
    ArrayFile,
    Arrays,
    Format,
    LazyArray,
    Metadata,
    damaged,
)
from crsdun.scenes.formats.envi import ENVI, files_of_envi, find_header
from crsdun.scenes.formats.guard import check_contents
from crsdun.scenes.formats.hdf5 import HDF5
from crsdun.scenes.formats.matlab import MAT5, MAT73
from crsdun.scenes.formats.numpy_files import NPY, NPZ
from crsdun.scenes.formats.pictures import open_folder, pictures_in
from crsdun.scenes.formats.png import PNG
from crsdun.scenes.formats.tiff import TIFF
from crsdun.scenes.formats.zarr_store import ZARR, is_old_zarr, is_zarr
from crsdun.storage import RECORD, atomic_file, atomic_folder

# Where several have the same suffix, the first that can hold the arrays is written.
FORMATS = (MAT5, MAT73, NPY, NPZ, HDF5, ENVI, TIFF, PNG, ZARR)
SUFFIXES = tuple(dict.fromkeys(suffix for format in FORMATS for suffix in format.suffixes))
# The scene in a folder of results: whole, or as it was decoded by rows.
CUBE, STORE = "cube.npz", "cube.zarr"


def read_arrays(path: str | Path) -> ArrayFile:
    """All numeric arrays of a file, whatever its format; recognised by its first bytes, not by its suffix.

    MATLAB .mat v5 and v7.3 (in MATLAB's axis order), NumPy .npy and .npz, HDF5 (nested data sets as
    "group/name"), ENVI (the header, or the data file beside it), TIFF (pages are bands), PNG and Zarr v3 (a folder).
    Pickled objects are never opened. A folder with one PNG or TIFF for each band is a cube, and of a folder of
    ``crsdun reconstruct`` its scene is read.

    Raises:
        InputError: the file is missing, empty, damaged, of another format, or holds no numbers.
    """
    file = open_arrays(path)
    return in_memory(file, list(file.arrays))


def in_memory(file: ArrayFile, names: Sequence[str]) -> ArrayFile:
    """A file that was opened, with these of its arrays read.

    Raises:
        InputError: they are too large, or their part of the file is damaged.
    """
    chosen = {name: file.arrays[name] for name in names}
    check_budget(sum(array.size * array.dtype.itemsize for array in chosen.values()), f"what {file.path} contains")
    return replace(file, arrays={**file.arrays, **{name: _in_memory(array) for name, array in chosen.items()}})


def open_arrays(path: str | Path) -> ArrayFile:
    """As ``read_arrays``, but cubes of .npy, ENVI, HDF5, .mat v7.3 and Zarr stay in the file until they are indexed.

    .npy and ENVI are memory-mapped; of HDF5 and Zarr only the chunks that hold the requested part are read. The other
    formats (.mat v5, .npz, TIFF, PNG) have to be read whole.

    Raises:
        InputError: as ``read_arrays``.
    """
    path = Path(path)
    if is_old_zarr(path):
        raise InputError(
            f"{path} is a Zarr store of version 2, and crsdun reads version 3",
            "save it again with zarr_format=3, as xarray's to_zarr and the package zarr take it",
        )
    path = _scene_in(path)
    if path.is_dir() and not is_zarr(path):
        return open_folder(path, open_arrays, SUFFIXES)
    format = ZARR if path.is_dir() else _recognised(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries; what matters is raised
            check_contents(path, format.name)
            arrays, metadata = format.open(path)
            encodings, grids, axes = (metadata.pop(key, {}) for key in (ENCODINGS, GRIDS, NAMED_AXES))
            if "wavelengths" in metadata:
                metadata["wavelengths"] = [float(value) for value in np.ravel(metadata["wavelengths"])]
    except InputError as error:
        if str(path) in error.message:
            raise
        raise InputError(f"{path} was damaged or edited: {error.message}", error.remedy or "get it again") from error
    except MemoryError:
        raise
    except Exception as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path} holds pickled Python objects, which crsdun never opens", "save plain arrays of numbers"
            ) from error
        raise damaged(path, format.name, error) from error
    real = {name: array for name, array in arrays.items() if array.size and array.dtype.kind in "biuf"}
    if not real:
        remedy = (
            "save its magnitude"
            if "c" in {array.dtype.kind for array in arrays.values()}
            else "save the cube as a plain array"
        )
        raise InputError(f"{path} ({format.name}) holds no array of real numbers", remedy)
    return ArrayFile(path, format.name, real, metadata, encodings, grids, axes)


def files_of(path: Path) -> list[Path]:
    """Every file that ``open_arrays`` reads, sorted within a folder; one that it refuses is there alone."""
    path = _scene_in(path)
    if is_zarr(path):
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_dir():
        return pictures_in(path)
    try:
        return files_of_envi(path) if _recognised(path) is ENVI else [path]
    except InputError:
        return [path]


def is_result_folder(path: Path) -> bool:
    """Whether ``crsdun reconstruct`` wrote this folder."""
    return (path / RECORD).is_file() and any((path / name).exists() for name in (CUBE, STORE))


def write_arrays(
    path: str | Path, arrays: Arrays, metadata: Metadata, overwrite: bool = False, mat_version: str | None = None
) -> None:
    """Write named arrays in the format of the suffix, whole or not at all.

    .mat, .npz, .h5/.hdf5, .tif/.tiff and .zarr hold everything. .hdr (ENVI) and .png hold the first array with the
    metadata, .npy the first array alone.

    Args:
        arrays: 3-D arrays bands first, (C,H,W).
        metadata: anything JSON can hold; entries of None are left out.
        overwrite: replace files that exist.
        mat_version: "5" or "7.3" for .mat; None takes 7.3 only where v5 is too small (2 GB).

    Raises:
        InputError: the suffix is unknown, the format cannot hold the first array, the file exists, or the disk
            refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"cannot write {path}: the suffix {suffix!r} is none of {', '.join(SUFFIXES)}")
    if mat_version not in (None, "5", "7.3"):
        raise InputError(f"there is no .mat version {mat_version!r} to write", "expected 5 or 7.3")
    formats = [format for format in FORMATS if suffix in format.suffixes]
    if suffix == ".mat" and mat_version is not None:
        formats = [MAT5 if mat_version == "5" else MAT73]
    largest = max(array.nbytes for array in arrays.values())
    format = next((format for format in formats if largest <= format.largest), formats[-1])
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if format.mark is not None:
        with atomic_folder(path, overwrite, format.mark) as part:
            format.write(part, arrays, metadata)
        return
    with atomic_file(path, overwrite, companion=format.companion) as part:
        format.write(part, arrays, metadata)


def _scene_in(path: Path) -> Path:
    """The scene in a folder of results; any other path itself."""
    if not is_result_folder(path):
        return path
    return path / (CUBE if (path / CUBE).exists() else STORE)


def _recognised(path: Path) -> Format:
    if not path.exists():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    if not path.is_file():
        raise InputError(f"{path} is a device", "name a file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror})", "check its permissions") from error
    if not start:
        raise InputError(f"{path} is empty", "get it again")
    matches = {
        signature: format for format in FORMATS for signature in format.signatures if start.startswith(signature)
    }
    if matches:
        return matches[max(matches, key=len)]
    if find_header(path):
        return ENVI
    if path.suffix.lower() == ".mat" and 0 in start[:4]:  # v4 has no other signature
        return MAT5
    is_pickle = start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    content = "a Python pickle, which crsdun never opens" if is_pickle else f"it begins with {start!r}"
    raise InputError(
        f"{path} is not in a format that crsdun reads ({content})",
        "expected MATLAB .mat (v5 or v7.3), .npy, .npz, HDF5, ENVI with its .hdr, TIFF or PNG",
    )


def _in_memory(array: Any) -> np.ndarray:
    """A plain array in this machine's byte order."""
    values = array[(slice(None),) * array.ndim] if isinstance(array, LazyArray) else array
    mapped = isinstance(values, np.memmap)
    return values.astype(values.dtype.newbyteorder("="), copy=mapped, subok=False)
