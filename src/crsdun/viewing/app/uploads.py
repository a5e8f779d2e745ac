"""Files that come in: which kinds, how large, and what is in them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.scenes import describe
from crsdun.scenes.formats.envi import DATA_SUFFIXES as ENVI_SUFFIXES
from crsdun.scenes.inspection import ArrayDescription, WeightsDescription
from crsdun.viewing.app.wording import page_message

MEGABYTE = 1 << 20
SUFFIXES = {".mat", ".npy", ".npz", ".h5", ".hdf5", ".hdr", ".tif", ".tiff", ".png", ".safetensors"}
SUFFIXES |= {suffix for suffix in ENVI_SUFFIXES if suffix}  # data that belongs to a .hdr
# What a file may unpack to, in multiples of the largest upload.
UNPACKED = 4
WEIGHTS = (".safetensors", ".onnx", ".xml")


@dataclass(frozen=True)
class FileSummary:
    """What is in a file, or the ``problem`` with it.

    Attributes:
        name: as the browser knows the file.
        is_weights: it holds a network instead of arrays.
        wavelengths: their number, the first and the last in nm; None where the file has none.
    """

    name: str
    format: str = ""
    problem: str = ""
    is_weights: bool = False
    arrays: tuple[ArrayDescription, ...] = ()
    wavelengths: tuple[int, float, float] | None = None


async def receive(name: str, chunks: AsyncIterator[bytes], folder: Path, limit: int, announced: int | None) -> Path:
    """Write an upload into a folder, whole or not at all.

    Args:
        name: as the browser calls it; only its last part is used.
        limit: bytes.
        announced: bytes that the browser announces; too many are refused before they are read.

    Raises:
        InputError: another kind of file, or too large.
    """
    name = re.sub(r"[^\w.\- ()+]", "_", name.replace("\\", "/").rpartition("/")[2])[-120:].lstrip(".")
    suffix = Path(name).suffix.lower()
    if not name or suffix not in SUFFIXES:
        raise InputError(
            f"{name or 'this'} is not a file that can be opened here",
            "expected .mat, .npy, .npz, .h5, .tif, .png, an "
            "ENVI pair (.hdr with its data), or weights (.safetensors)",
        )
    too_large = InputError(
        f"{name} is larger than {limit / MEGABYTE:.0f} MB, the most this explorer takes",
        "crop it, or set a larger <limit>",
    )
    if announced is not None and announced > limit:
        raise too_large
    path, partial = folder / name, folder / f".{name}.partial"
    try:
        size = 0
        with partial.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise too_large
                file.write(chunk)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def summarise(path: Path, limit: int) -> FileSummary:
    """What is in a file; ``limit``: bytes of the largest upload."""
    suffix = path.suffix.lower()
    if suffix in WEIGHTS and suffix != ".safetensors":
        # Networks of other engines hold no arrays; whether they are whole shows when they are used.
        return FileSummary(path.name, format=suffix, is_weights=True)
    try:
        check_unpacked(path, limit * UNPACKED)
        description = describe(path)
    except (InputError, MemoryError) as error:
        return FileSummary(path.name, problem=page_message(error, [path.parent]))
    if isinstance(description, WeightsDescription):
        return FileSummary(path.name, description.format, is_weights=True)
    known = description.wavelengths
    wavelengths = (len(known), known[0], known[-1]) if known else None
    return FileSummary(path.name, description.format, arrays=description.arrays, wavelengths=wavelengths)


def check_unpacked(path: Path, limit: int) -> None:
    """Raise an InputError where a file unpacks to more than ``limit`` bytes, or asks for files of this machine."""
    try:
        size = _unpacked(path)
    except InputError:
        raise
    except Exception:  # damaged, which reading it will report
        return
    if size > limit:
        raise InputError(
            f"{path.name} unpacks to {size / MEGABYTE:.0f} MB, more than the {limit / MEGABYTE:.0f} MB this explorer "
            "takes",
            "crop it, or set a larger <limit>",
        )


def _unpacked(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    if b"HDF" in start[:8] or start.startswith(b"MATLAB 7.3"):
        return _unpacked_hdf5(path)
    if start.startswith(b"MATLAB"):
        from scipy.io import whosmat

        sizes = {"double": 8, "int64": 8, "uint64": 8, "single": 4, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}
        total = 0
        for _, shape, kind in whosmat(path):
            count = sizes.get(kind, 1)
            for side in shape:
                count *= side
            total += count
        return total
    if start[:2] in (b"II", b"MM"):
        import tifffile

        with tifffile.TiffFile(path) as file:
            return sum(series.nbytes for series in file.series)
    if start.startswith(b"\x89PNG"):
        from PIL import Image

        with Image.open(path) as image:
            return 4 * image.width * image.height
    return path.stat().st_size


def _unpacked_hdf5(path: Path) -> int:
    import h5py

    sizes = []

    def add(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            if node.external or node.is_virtual:
                raise InputError(f"{path.name}: {name} is stored in another file", "save it as a plain array")
            sizes.append(node.nbytes)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return sum(sizes)
