"""What is checked before a file is read: how much memory its contents take, and that it needs no other file.

Compressed and sparse files can be a million times smaller than what they contain, and a file from somewhere else must
not make crsdun read another one. Any exception in a check refuses the file (``open_arrays``).
"""

from __future__ import annotations

import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import check_budget, memory_budget
from crsdun.errors import InputError

MOST_LEVELS = 32  # of groups within groups
MOST_OBJECTS = 100_000  # in one file
BLOCK = 1 << 20  # bytes that are decompressed at a time
LARGEST_RATIO = 8192  # of unpacked to packed size: deflate reaches 1032, LZMA about 7000
COMPRESSED = 15  # type of a compressed element of MATLAB v5


def check_contents(path: Path, format: str) -> None:
    """Raise an InputError if the contents of a file exceed the budget, or if it refers to other files.

    Args:
        format: name of its ``Format``.
    """
    if format in CHECKS:
        CHECKS[format](path)


def _refused(path: Path, reference: str) -> InputError:
    return InputError(
        f"{path} refers to another file ({reference}), which crsdun does not follow", "save everything in one file"
    )


# -- NumPy and MATLAB v5 ---------------------------------------------------------------------------------------


def _check_npy(path: Path) -> None:
    with path.open("rb") as file:
        _check_npy_header(file, path.stat().st_size)


def _check_npz(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_budget(sum(member.file_size for member in members), f"what {path} contains")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_npy_header(file, member.file_size)


def _check_npy_header(file: Any, size: int) -> None:
    """Raise a ValueError if the header states a larger array than the ``size`` bytes of the file can hold."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    stated = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and stated > size:
        raise ValueError(f"its header states {stated} bytes, but only {size} are stored")


def _check_mat5(path: Path) -> None:
    """Elements that are compressed count with their unpacked size."""
    if _certainly_small(path):
        return
    with path.open("rb") as file:
        order = ">" if file.read(128)[126:] == b"MI" else "<"
        total = 0
        while len(tag := file.read(8)) == 8:
            kind, length = (int(value) for value in np.frombuffer(tag, f"{order}u4"))
            data = file.read(length)
            total += _unpacked(zlib.decompressobj(), data) if kind == COMPRESSED else length
            check_budget(total, f"what {path} contains")


def _unpacked(decompressor: Any, data: bytes) -> int:
    """Size of compressed data when unpacked, or a size beyond the budget."""
    budget, size = memory_budget() or math.inf, 0
    while size <= budget and not decompressor.eof:
        block = decompressor.decompress(data, BLOCK)
        data = getattr(decompressor, "unconsumed_tail", b"")
        if not block:
            break
        size += len(block)
    return size


def _certainly_small(path: Path) -> bool:
    """Whether a file cannot exceed the budget however well it is compressed."""
    return path.stat().st_size * LARGEST_RATIO <= (memory_budget() or math.inf)


# -- HDF5, which is also MATLAB v7.3 ---------------------------------------------------------------------------


def _check_hdf5(path: Path) -> None:
    """Looks at the structure only: neither names nor types have to be readable."""
    import h5py

    with h5py.File(path, "r") as file:
        waiting: list[tuple[Any, int]] = [(file.id, 0)]
        visited: set[Any] = set()
        total = 0
        while waiting:
            group, level = waiting.pop()
            if level > MOST_LEVELS or len(visited) > MOST_OBJECTS:
                raise InputError(
                    f"{path} holds groups within groups to a depth of more than {MOST_LEVELS}, or more than "
                    f"{MOST_OBJECTS:,} objects",
                    "save the arrays on one level of a new file",
                )
            links = group.links
            for index in range(group.get_num_objs()):
                name = group.get_objname_by_idx(index)
                kind = links.get_info(name).type
                if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
                    raise _refused(path, f"link {name.decode(errors='replace')!r}")
                if kind == h5py.h5l.TYPE_SOFT:  # never followed
                    continue
                node = h5py.h5o.open(group, name)
                address = h5py.h5o.get_info(node).addr
                if address in visited:
                    continue
                visited.add(address)
                if isinstance(node, h5py.h5g.GroupID):
                    waiting.append((node, level + 1))
                elif isinstance(node, h5py.h5d.DatasetID):
                    properties = node.get_create_plist()
                    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
                        raise _refused(path, f"data set {name.decode(errors='replace')!r}")
                    if node.rank != 3:  # cubes stay in the file
                        total += math.prod(node.shape or ()) * node.get_type().get_size()
                        check_budget(total, f"what {path} contains")


# -- pictures --------------------------------------------------------------------------------------------------

# TIFF's number of a compression → what unpacks it.
DECOMPRESSORS: dict[int, Callable[[], Any]] = {
    **dict.fromkeys((8, 32946, 50013), zlib.decompressobj),
    34925: lzma.LZMADecompressor,
}


def _check_tiff(path: Path) -> None:
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        if file.is_ome:
            own = re.search(r"<OME\b[^>]*\bUUID=\"([^\"]*)\"", file.ome_metadata or "")
            parts = re.findall(r"<UUID\b([^>]*)>([^<]*)<", file.ome_metadata or "")
            for attributes, identifier in parts:
                name = re.search(r"FileName=\"([^\"]*)\"", attributes)
                same = own[1] == identifier if own else name is None or name[1].lower() == path.name.lower()
                if not same:
                    raise _refused(path, f"OME-TIFF of several files, {name[1] if name else identifier!r}")
        elif file.is_ndtiff or (file.is_mmstack and len(list(path.parent.glob("*_MMStack*.tif"))) > 1):
            raise _refused(path, "one of several files of a Micro-Manager acquisition")
        if len(file.pages) > MOST_OBJECTS:
            raise InputError(f"{path} has more than {MOST_OBJECTS:,} pages", "save it as several files")
        total = 0
        page: Any
        for page in file.pages:
            total += page.nbytes
            check_budget(total, f"what {path} contains")
            if page.compression in DECOMPRESSORS and not _certainly_small(path):
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                    file.filehandle.seek(offset)
                    data = file.filehandle.read(count)
                    check_budget(_unpacked(DECOMPRESSORS[page.compression](), data), f"what {path} contains")
        check_budget(sum(series.nbytes for series in file.series), f"what {path} contains")


def _check_png(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        check_budget(image.width * image.height * 8, f"what {path} contains")


CHECKS = {
    "NumPy .npy": _check_npy,
    "NumPy .npz": _check_npz,
    "MATLAB v5": _check_mat5,
    "MATLAB v7.3": _check_hdf5,
    "HDF5": _check_hdf5,
    "TIFF": _check_tiff,
    "PNG": _check_png,
}
