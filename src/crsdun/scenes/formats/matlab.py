"""MATLAB .mat: v5, and v7.3, which is HDF5 with a header of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.hdf5 import open_hdf5
from crsdun.scenes.formats.metadata import joined, separated


def open_mat5(path: Path) -> tuple[Arrays, Metadata]:
    from scipy.io import loadmat

    return separated({name: value for name, value in loadmat(path).items() if not name.startswith("__")})


def write_mat5(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    from scipy.io import savemat

    savemat(path, joined(arrays, metadata, "HWC"))


def write_mat73(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """HDF5 as MATLAB writes it: its header in the first 512 bytes, arrays transposed, their class named."""
    import h5py

    classes = {"float32": "single", "float64": "double", "bool": "logical"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in joined(arrays, metadata, "HWC").items():
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
