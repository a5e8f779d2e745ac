"""Files that come in: which kinds, how large, and what is in them."""

from __future__ import annotations

import json
import math
import re
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes import describe, read_spectral_library
from crsdun.scenes.formats.envi import DATA_SUFFIXES as ENVI_SUFFIXES
from crsdun.scenes.formats.pictures import pictures_in
from crsdun.scenes.inspection import ArrayDescription, FileDescription, WeightsDescription
from crsdun.scenes.spectral_library import TABLES
from crsdun.storage import HIDDEN
from crsdun.viewing.app.wording import page_message

MEGABYTE = 1 << 20
SUFFIXES = {".mat", ".npy", ".npz", ".h5", ".hdf5", ".hdr", ".tif", ".tiff", ".png", ".safetensors"}
SUFFIXES |= {suffix for suffix in ENVI_SUFFIXES if suffix}  # data that belongs to a .hdr
SUFFIXES |= set(TABLES)
# What a file may unpack to, in multiples of the largest upload.
UNPACKED = 4
QUOTA = 4  # what a tab may store, in the same
MOST_STEM_BYTES = 120  # of a name
MOST_HEADER_BYTES = 16 * MEGABYTE  # of safetensors
MOST_NODES, MOST_DEPTH = 20_000, 32  # of HDF5
MAT_COMPRESSED = 15  # type of an element
PYTHON_OBJECTS = 8  # what cells and structs take in Python for each byte of theirs
WEIGHTS = (".safetensors", ".onnx", ".xml")


@dataclass(frozen=True)
class FileSummary:
    """What is in a file, or the ``problem`` with it.

    Attributes:
        name: as the browser knows the file.
        is_weights: it holds a network instead of arrays.
        wavelengths: their number, the first and the last in nm; None where the file has none.
        spectra: names of the spectra that it holds instead of arrays.
    """

    name: str
    format: str = ""
    problem: str = ""
    is_weights: bool = False
    arrays: tuple[ArrayDescription, ...] = ()
    wavelengths: tuple[int, float, float] | None = None
    spectra: tuple[str, ...] = ()


class Uploads:
    """The folder of the uploads of a tab, and how many bytes they may have.

    Args:
        folder: is created.
        limit: bytes of the largest upload; all of them together may have ``QUOTA`` times that.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit, self.room = folder, limit, QUOTA * limit
        folder.mkdir(parents=True)

    def take(self, count: int) -> None:
        """Reserve bytes; raises an InputError where there is no room for them."""
        if count > self.room:
            raise InputError("there is no room for more uploads in this tab", "start afresh with Forget everything")
        self.room -= count


async def receive(name: str, chunks: AsyncIterator[bytes], uploads: Uploads, announced: int | None) -> Path:
    """Write an upload into a folder, whole or not at all; of several of one name, the last to be complete stays.

    All uploads run in the event loop, one step at a time, so what they reserve needs no lock.

    Args:
        name: as the browser calls it; only its last part is used.
        announced: bytes that the browser announces; too many are refused before they are read.

    Raises:
        InputError: another kind of file, too large, or no room for it.
    """
    name = re.sub(r"[^\w.\- ()+]", "_", name.replace("\\", "/").rpartition("/")[2])
    stem, suffix = Path(name.lstrip(".")).stem, Path(name.lstrip(".")).suffix
    name = stem.encode()[:MOST_STEM_BYTES].decode(errors="ignore") + suffix
    if not name or suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{name or 'this'} is not a file that can be opened here",
            "expected .mat, .npy, .npz, .h5, .tif, .png, an "
            "ENVI pair (.hdr with its data), spectra (.csv, .sli with its .hdr), or weights (.safetensors)",
        )
    too_large = InputError(
        f"{name} is larger than {uploads.limit / MEGABYTE:.0f} MB, the most this explorer takes",
        "crop it, or set a larger <limit>",
    )
    if announced is not None and announced > uploads.limit:
        raise too_large
    path, size = uploads.folder / name, 0
    with tempfile.NamedTemporaryFile(dir=uploads.folder, prefix=HIDDEN, delete=False) as file:
        part = Path(file.name)
        try:
            async for chunk in chunks:
                if size + len(chunk) > uploads.limit:
                    raise too_large
                uploads.take(len(chunk))
                size += len(chunk)
                file.write(chunk)
            file.flush()
            replaced = path.stat().st_size if path.exists() else 0
            part.replace(path)
            size = replaced
        finally:
            uploads.room += size
            part.unlink(missing_ok=True)
    return path


def summarise(path: Path, limit: int) -> FileSummary:
    """What is in a file; ``limit``: bytes of the largest upload."""
    suffix = path.suffix.lower()
    if suffix in WEIGHTS and suffix != ".safetensors":
        # Networks of other engines hold no arrays; whether they are whole shows when they are used.
        return FileSummary(path.name, format=suffix, is_weights=True)
    try:
        check_unpacked(path, limit * UNPACKED)
        if suffix in TABLES:
            return _summarise_library(path, "table")
        description = describe(path)
        if isinstance(description, FileDescription) and "spectra_names" in description.metadata:
            return _summarise_library(path, description.format)
    except (InputError, OSError, MemoryError) as error:
        return FileSummary(path.name, problem=page_message(error, [path.parent]))
    if isinstance(description, WeightsDescription):
        return FileSummary(path.name, description.format, is_weights=True)
    known = description.wavelengths
    wavelengths = (len(known), known[0], known[-1]) if known else None
    return FileSummary(path.name, description.format, arrays=description.arrays, wavelengths=wavelengths)


def _summarise_library(path: Path, format: str) -> FileSummary:
    library = read_spectral_library(path)
    known = library.wavelengths
    return FileSummary(path.name, format, wavelengths=(len(known), known[0], known[-1]), spectra=library.names)


def check_unpacked(path: Path, limit: int) -> None:
    """Raise an InputError where a file unpacks to more than ``limit`` bytes, points to other files, or is damaged."""
    try:
        size = _unpacked(path, limit)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # what cannot be checked is not read
        raise InputError(f"{path.name} is damaged or incomplete ({type(error).__name__})") from error
    if size > limit:
        raise InputError(
            f"{path.name} unpacks to {size / MEGABYTE:.0f} MB, more than the {limit / MEGABYTE:.0f} MB this explorer "
            "takes",
            "crop it, or set a larger <limit>",
        )


def _unpacked(path: Path, limit: int) -> int:
    """How many bytes a file takes in memory, from its headers alone; where it exceeds ``limit``, perhaps fewer."""
    if path.is_dir():  # named on the command line
        return sum(_unpacked(picture, limit) for picture in pictures_in(path))
    with path.open("rb") as file:
        start = file.read(16)
        file.seek(0)
        if path.suffix.lower() == ".safetensors":
            return _unpacked_safetensors(file)
        if start.startswith(b"\x93NUMPY"):
            return _unpacked_npy(file)
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                return sum(_unpacked_entry(archive, entry) for entry in archive.infolist())
        if b"HDF" in start[:8] or start.startswith(b"MATLAB 7.3"):
            return _unpacked_hdf5(path)
        if start.startswith(b"MATLAB"):
            return _unpacked_mat(file, limit)
        if start[:2] in (b"II", b"MM"):
            import tifffile

            with tifffile.TiffFile(file) as tiff:
                return sum(series.nbytes for series in tiff.series)
        if start.startswith(b"\x89PNG"):
            from PIL import Image

            with Image.open(file) as image:
                return 4 * image.width * image.height
    return path.stat().st_size


def _unpacked_npy(file: IO[bytes]) -> int:
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def _unpacked_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    if not entry.filename.endswith(".npy"):
        return entry.file_size
    with archive.open(entry) as file:
        return max(entry.file_size, _unpacked_npy(file))


def _unpacked_safetensors(file: IO[bytes]) -> int:
    length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER_BYTES:
        raise InputError(f"the header of these weights claims {length} bytes", "is the file damaged?")
    tensors = json.loads(file.read(length))
    shapes = [tensor["shape"] for name, tensor in tensors.items() if name != "__metadata__"]
    if not all(isinstance(side, int) for shape in shapes for side in shape):
        raise InputError("a tensor of these weights has a shape that is not of whole numbers", "is the file damaged?")
    return sum(8 * math.prod(shape) for shape in shapes)


def _unpacked_mat(file: IO[bytes], limit: int) -> int:
    """Of MATLAB before 7.3: elements with a tag (type, bytes), most of them compressed."""
    from scipy.io import whosmat

    kinds = whosmat(file)
    sizes = {"single": 4, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "logical": 1}
    arrays = sum(math.prod(shape) * sizes.get(kind, 8) for _, shape, kind in kinds)
    file.seek(126)
    order: Literal["little", "big"] = "little" if file.read(2) == b"IM" else "big"
    stored = 0
    while stored <= limit and len(tag := file.read(8)) == 8:
        kind, length = (int.from_bytes(part, order) for part in (tag[:4], tag[4:]))
        end = file.tell() + length
        stored += length if kind != MAT_COMPRESSED else _inflated(file, length, limit)
        file.seek(end)
    nested = any(kind in ("cell", "struct", "object", "opaque") for *_, kind in kinds)
    return max(arrays, stored * (PYTHON_OBJECTS if nested else 1))


def _inflated(file: IO[bytes], length: int, limit: int) -> int:
    """How many bytes zlib makes of the next ``length``; ends a little beyond ``limit``."""
    inflate, size = zlib.decompressobj(), 0
    while length > 0 and size <= limit:
        data = file.read(min(length, MEGABYTE // 16))
        if not data:
            break
        length -= len(data)
        while data and size <= limit:
            size += len(inflate.decompress(data, MEGABYTE))
            data = inflate.unconsumed_tail
    return size


def _unpacked_hdf5(path: Path) -> int:
    import h5py

    total = count = 0
    with h5py.File(path, "r") as file:
        groups = [(file["/"], 0)]
        while groups:
            group, depth = groups.pop()
            for name in group:
                count += 1
                if count > MOST_NODES or depth > MOST_DEPTH:
                    raise InputError(f"{path.name} has too many groups", "save what you need as a plain array")
                link = group.get(name, getlink=True)
                node = None if isinstance(link, h5py.SoftLink | h5py.ExternalLink) else group[name]
                if isinstance(link, h5py.ExternalLink) or (
                    isinstance(node, h5py.Dataset) and (node.external or node.is_virtual)
                ):
                    raise InputError(f"{path.name}: {name} is stored in another file", "save it as a plain array")
                if isinstance(node, h5py.Group):
                    groups.append((node, depth + 1))
                elif isinstance(node, h5py.Dataset):
                    total += node.nbytes
    return total
