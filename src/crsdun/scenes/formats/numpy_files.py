"""NumPy: .npy, one array without metadata, and .npz, several by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.metadata import bands_last, joined, separated


def open_npy(path: Path) -> tuple[Arrays, Metadata]:
    """Memory-mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped; NumPy explains anything else better here
        array = np.load(path, allow_pickle=False)
    return separated({"image": array})


def write_npy(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """The first array alone."""
    np.save(path, bands_last(next(iter(arrays.values()))))


def open_npz(path: Path) -> tuple[Arrays, Metadata]:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        arrays, pickled = {}, None
        for name in file.files:
            try:
                arrays[name] = file[name]
            except ValueError as error:
                pickled = error  # Python objects beside the arrays
        if pickled is not None and not arrays:
            raise pickled
        return separated(arrays)


def write_npz(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    np.savez(path, **joined(arrays, metadata, "CHW"))


NPY = Format("NumPy .npy", (b"\x93NUMPY",), (".npy",), open_npy, write_npy)
NPZ = Format("NumPy .npz", (b"PK\x03\x04",), (".npz",), open_npz, write_npz)
