"""Cubes opened without being read, so that a crop costs its own part of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.scenes.formats import NOTES, WAVELENGTH_KEYS, ArrayFile, read_arrays


@dataclass(frozen=True)
class HdfArray:
    """A 3-D data set of an HDF5 file, read where it is indexed: as much of an array as ``np.moveaxis`` needs.

    Attributes:
        order: which axis of the file each axis here is.
    """

    path: Path
    name: str
    stored_shape: tuple[int, ...]
    dtype: np.dtype
    order: tuple[int, ...] = (0, 1, 2)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored_shape[axis] for axis in self.order)

    @property
    def ndim(self) -> int:
        return len(self.order)

    def transpose(self, order: tuple[int, ...]) -> HdfArray:
        return replace(self, order=tuple(self.order[axis] for axis in order))

    def __getitem__(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        import h5py

        stored = tuple(part[self.order.index(axis)] for axis in range(3))
        with h5py.File(self.path, "r") as file:
            return file[self.name][stored].transpose(self.order)


def open_arrays(path: str | Path) -> ArrayFile:
    """As ``read_arrays``, but cubes of .npy, ENVI, HDF5 and .mat v7.3 stay in the file until they are indexed.

    .npy and ENVI are memory-mapped, of HDF5 the chunks that are asked for are read. The other formats (.mat v5, .npz,
    TIFF, PNG) have to be read whole.

    Raises:
        InputError: as ``read_arrays``.
    """
    path = Path(path)
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(16)
    for signature, opener in OPENERS.items():
        if start.startswith(signature):
            try:
                return opener(path)
            except Exception:  # read_arrays meets it again and says what is wrong with the file
                break
    return read_arrays(path)


def _open_npy(path: Path) -> ArrayFile:
    return ArrayFile(path, "NumPy .npy", {"image": np.load(path, mmap_mode="r", allow_pickle=False)})


def _open_envi(path: Path) -> ArrayFile:
    from spectral.io import envi

    image = envi.open(str(path.absolute()))
    metadata: dict[str, Any] = {"axes": "HWC"}
    if "wavelength" in image.metadata:
        metadata["wavelengths"] = [float(value) for value in image.metadata["wavelength"]]
        metadata["wavelength_units"] = image.metadata.get("wavelength units", "unknown")
    if image.scale_factor != 1:
        metadata["scale"] = image.scale_factor
    return ArrayFile(path, "ENVI", {"image": image.open_memmap(interleave="bip")[:]}, metadata)


def _open_hdf5(path: Path) -> ArrayFile:
    import h5py

    arrays: dict[str, Any] = {}
    metadata: dict[str, Any] = {}

    def take(name: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset) or name.startswith("#") or node.dtype.kind not in "biuf":
            return
        matlab = "MATLAB_class" in node.attrs  # MATLAB writes its columns first, so everything lies transposed
        if name.rpartition("/")[-1].lower() in WAVELENGTH_KEYS and node.size > 1:
            metadata["wavelengths"] = [float(value) for value in np.ravel(node[()])]
        elif node.ndim == 3:
            array = HdfArray(path, name, node.shape, node.dtype)
            arrays[name] = array.transpose((2, 1, 0)) if matlab else array
        elif node.attrs.get("MATLAB_class") != b"char":
            arrays[name] = node[()].T if matlab else node[()]

    with h5py.File(path, "r") as file:
        if NOTES in file and h5py.check_string_dtype(file[NOTES].dtype):
            metadata = json.loads(file[NOTES].asstr()[()])
        file.visititems(take)
    if not arrays:
        raise ValueError("no array of numbers")
    return ArrayFile(path, "HDF5", arrays, metadata)


OPENERS: dict[bytes, Callable[[Path], ArrayFile]] = {
    b"\x93NUMPY": _open_npy,
    b"ENVI": _open_envi,
    b"\x89HDF\r\n\x1a\n": _open_hdf5,
    b"MATLAB 7.3": _open_hdf5,
}
