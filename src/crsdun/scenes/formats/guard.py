"""What is checked before a file is read: how much memory its contents take, and that it needs no other file.

Compressed and sparse files can be a million times smaller than what they contain, and a file from somewhere else must
not make crsdun read another one. Each format has a check that walks through the structure of a file and yields how
many bytes its parts will take; as soon as they add up to more than the budget, the file is refused. Any exception in
a check refuses it as well (``open_arrays``).
"""

from __future__ import annotations

import io
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from crsdun.budget import check_budget, memory_budget
from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import stays_in_file
from crsdun.scenes.formats.tiff import is_plain
from crsdun.scenes.formats.zarr_store import check_zarr

MOST_LEVELS = 32  # of groups within groups, or cells within cells
MOST_OBJECTS = 100_000  # in one file
BLOCK = 1 << 20  # bytes that are decompressed at a time
LARGEST_RATIO = 1032  # of unpacked to packed size by deflate


def check_contents(path: Path, format: str) -> None:
    """Raise an InputError if the contents of a file exceed the budget, or if it refers to other files.

    Args:
        format: name of its ``Format``.
    """
    if format not in CHECKS:
        return
    known = memory_budget()
    budget, total = math.inf if known is None else known, 0
    for size in CHECKS[format](path, budget):
        total += size
        if total > budget:
            check_budget(total, f"what {path} contains")


def _refused(path: Path, reference: str) -> InputError:
    return InputError(
        f"{path} refers to another file ({reference}), which crsdun does not follow", "save everything in one file"
    )


def _too_deep(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} holds {what} to a depth of more than {MOST_LEVELS}, or more than {MOST_OBJECTS:,} objects",
        "save the arrays on one level of a new file",
    )


def _unpacked(decompressor: Any, data: bytes, budget: float) -> int:
    """Size of compressed data when unpacked, or a size beyond the budget."""
    size = 0
    while size <= budget and not decompressor.eof:
        block = decompressor.decompress(data, BLOCK)
        data = getattr(decompressor, "unconsumed_tail", b"")
        if not block:
            break
        size += len(block)
    return size


# -- NumPy -----------------------------------------------------------------------------------------------------


def _check_npy(path: Path, budget: float) -> Iterator[int]:
    with path.open("rb") as file:
        _check_npy_header(file, path.stat().st_size)
    yield 0  # it stays in the file


def _check_npz(path: Path, budget: float) -> Iterator[int]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        yield sum(member.file_size for member in members)
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_npy_header(file, member.file_size)


def _check_npy_header(file: IO[bytes], size: int) -> None:
    """Raise a ValueError if the header states a larger array than the ``size`` bytes of the file can hold."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    stated = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and stated > size:
        raise ValueError(f"its header states {stated} bytes, but only {size} are stored")


# -- MATLAB v5 -------------------------------------------------------------------------------------------------

INT32, MATRIX, COMPRESSED = 5, 14, 15  # kinds of elements
# Bytes of a number as it is stored, by the kind of its element, and as MATLAB has it, by the class of its array:
# doubles that are whole numbers are stored as bytes.
STORED = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
IN_MEMORY = {4: 4, 7: 4, 8: 1, 9: 1, 10: 2, 11: 2, 12: 4, 13: 4}
CELL, STRUCT, OBJECT, SPARSE, NUMBERS, FUNCTION, OPAQUE = 1, 2, 3, 5, range(6, 16), 16, 17  # classes of arrays
CLASSES = range(1, 18)
COMPLEX = 0x800
MOST_DESCRIBING = 4096  # bytes of the flags, the shape or the length of names of an array
# Of an array within a cell or struct, however small, in Python: 240 to 680 were measured.
NESTED_ARRAY = 1024


class _Inflated(io.RawIOBase):
    """The next ``length`` bytes of a file, unpacked."""

    def __init__(self, file: IO[bytes], length: int):
        self.file, self.left, self.data, self.decompressor = file, length, b"", zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = b""
        while not block and (self.data or self.left):
            if not self.data:
                self.data = self.file.read(min(self.left, BLOCK))
                self.left = self.left - len(self.data) if self.data else 0
            block = self.decompressor.decompress(self.data, len(buffer))
            self.data = self.decompressor.unconsumed_tail
        buffer[: len(block)] = block
        return len(block)


def _check_mat5(path: Path, budget: float) -> Iterator[int]:
    """Nothing but the tags of its elements has to be unpacked, except to get past what lies in cells and structs."""
    with path.open("rb") as file:
        header = file.read(128)
        if 0 in header[:4]:  # v4, which compresses nothing
            return
        order = ">" if header[126:] == b"MI" else "<"
        while len(tag := file.read(8)) == 8:
            kind, length = np.frombuffer(tag, f"{order}u4").tolist()
            end = file.tell() + length
            if kind == COMPRESSED:
                yield from _sizes_in_matrix(path, io.BufferedReader(_Inflated(file, length), BLOCK), order)
            else:
                file.seek(-8, io.SEEK_CUR)
                yield from _sizes_in_matrix(path, file, order)
            file.seek(end)


def _sizes_in_matrix(path: Path, file: IO[bytes], order: str) -> Iterator[int]:
    """What a matrix and those within it take.

    Each is a sequence of elements: flags, shape, name, contents. Their order says what belongs to what, as it does
    for SciPy; the lengths of whole matrices may lie.
    """
    to_come = [1]  # matrices within each that has begun
    part = flags = items = longest_name = 0
    while len(tag := file.read(8)) == 8:
        kind, length = np.frombuffer(tag, f"{order}u4").tolist()
        if kind == MATRIX:
            while to_come and not to_come[-1]:
                to_come.pop()
            if not to_come:
                return
            if len(to_come) > MOST_LEVELS:
                raise _too_deep(path, "cells within cells")
            to_come[-1] -= 1
            to_come.append(0)
            part = longest_name = 0
            yield NESTED_ARRAY
            continue
        is_small = kind > 0xFFFF  # with its data in the tag
        kind, length = (kind & 0xFFFF, kind >> 16) if is_small else (kind, length)
        if kind not in STORED:  # SciPy looks it up without asking whether it is there
            raise ValueError(f"there is no kind {kind} of element")
        has_fields = part > 2 and flags & 0xFF in (STRUCT, OBJECT)
        numbers: list[int] = []
        if part < 2 or (has_fields and kind == INT32):
            if length > MOST_DESCRIBING:
                raise ValueError(f"a tag states {length} bytes where a few numbers belong")
            data = tag[4:] if is_small else file.read(length)
            numbers = np.frombuffer(data[: length // 4 * 4], f"{order}i4").tolist()
        elif not is_small:
            _skip(file, length)
        _skip(file, 0 if is_small else -length % 8)

        if part == 0:
            flags = numbers[0]
            if flags & 0xFF not in CLASSES:
                raise ValueError(f"there is no class {flags & 0xFF} of array")
            to_come[-1] = 1 if flags & 0xFF in (FUNCTION, OPAQUE) else 0
        elif part == 1:
            items = abs(math.prod(numbers))
            if flags & 0xFF == CELL:
                to_come[-1] = items
            if flags & 0xFF in (CELL, SPARSE):  # which will be filled
                yield 8 * items
        elif has_fields and numbers:
            longest_name = max(numbers[0], 1)
        elif has_fields and longest_name:
            to_come[-1] = items * (length // longest_name)
            yield 8 * to_come[-1]
        elif part > 2:
            yield length // STORED[kind] * IN_MEMORY.get(flags & 0xFF, 8)
            if len(to_come) == 2 and flags & 0xFF in NUMBERS and part == (4 if flags & COMPLEX else 3):
                return
        part += 1


def _skip(file: IO[bytes], count: int) -> None:
    if file.seekable():
        file.seek(count, io.SEEK_CUR)
    while count > 0 and not file.seekable():
        block = file.read(min(count, BLOCK))
        count = count - len(block) if block else 0


# -- HDF5, which is also MATLAB v7.3 ---------------------------------------------------------------------------

# Numbers of filters. Those that only rearrange a chunk are harmless; those with a fixed layout state how many values
# a chunk has; the others unpack to whatever their data say.
REARRANGING, STATING = (2, 3), (5, 6)
DEFLATE, SZIP, LZF = 1, 4, 32000
LARGEST_LZF_RATIO = 88


def _check_hdf5(path: Path, budget: float) -> Iterator[int]:
    """Looks at the structure only: neither names nor types have to be readable."""
    import h5py

    may_be_large = path.stat().st_size * LARGEST_RATIO > budget
    with h5py.File(path, "r") as file:
        waiting: list[tuple[Any, int]] = [(file.id, 0)]
        visited: set[Any] = set()
        largest_chunk = 0
        while waiting:
            group, level = waiting.pop()
            if level > MOST_LEVELS or len(visited) > MOST_OBJECTS:
                raise _too_deep(path, "groups within groups")
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
                    shape, size = tuple(node.shape or ()), node.get_type().get_size()
                    if not stays_in_file(shape, size):
                        yield math.prod(shape) * size
                    if properties.get_layout() == h5py.h5d.CHUNKED:
                        for size in _sizes_of_chunks(node, properties, budget if may_be_large else math.inf):
                            yield max(size - largest_chunk, 0)  # one at a time is in memory
                            largest_chunk = max(size, largest_chunk)


def _sizes_of_chunks(dataset: Any, properties: Any, budget: float) -> Iterator[int]:
    """What the chunks of an HDF5 data set take when they are read, each whole, however little of it is wanted."""
    item = dataset.get_type().get_size()
    yield math.prod(properties.get_chunk()) * item
    filters = [properties.get_filter(index) for index in range(properties.get_nfilters())]
    yield from (values[2] * item for code, _, values, _ in filters if code in STATING and len(values) > 2)
    packing = [code for code, *_ in filters if code not in (*REARRANGING, *STATING)]
    if len(packing) > 1:
        raise ValueError("its chunks are compressed more than once")
    if not packing or budget == math.inf:
        return
    chunks: list[Any] = []
    if hasattr(dataset, "chunk_iter"):  # which older releases of HDF5 lack
        dataset.chunk_iter(chunks.append)
    else:
        chunks += (dataset.get_chunk_info(index) for index in range(dataset.get_num_chunks()))
    for chunk in chunks:
        if packing[0] == DEFLATE and chunk.size * LARGEST_RATIO > budget:
            yield _unpacked(zlib.decompressobj(), dataset.read_direct_chunk(chunk.chunk_offset)[1], budget)
        elif packing[0] == SZIP:
            yield int.from_bytes(dataset.read_direct_chunk(chunk.chunk_offset)[1][:4], "little")
        elif packing[0] == LZF:
            yield chunk.size * LARGEST_LZF_RATIO


# -- pictures --------------------------------------------------------------------------------------------------

# TIFF's number of a compression → what unpacks it.
DECOMPRESSORS: dict[int, Callable[[], Any]] = {
    **dict.fromkeys((8, 32946, 50013), zlib.decompressobj),
    34925: lzma.LZMADecompressor,
}
LARGEST_LZMA_RATIO = 8192


def _check_tiff(path: Path, budget: float) -> Iterator[int]:
    import tifffile

    may_be_large = path.stat().st_size * LARGEST_LZMA_RATIO > budget
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
        pages = 0
        page: Any
        for page in file.pages:
            pages += page.nbytes
            if not (len(file.pages) == 1 and is_plain(page)):
                yield page.nbytes
            if page.compression in DECOMPRESSORS and may_be_large:
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                    file.filehandle.seek(offset)
                    data = file.filehandle.read(count)
                    unpacked = _unpacked(DECOMPRESSORS[page.compression](), data, budget)
                    yield max(unpacked - page.nbytes, 0)
        yield max(sum(series.nbytes for series in file.series) - pages, 0)


def _check_png(path: Path, budget: float) -> Iterator[int]:
    from PIL import Image

    with Image.open(path) as image:
        yield image.width * image.height * 8


CHECKS: dict[str, Callable[[Path, float], Iterator[int]]] = {
    "NumPy .npy": _check_npy,
    "NumPy .npz": _check_npz,
    "MATLAB v5": _check_mat5,
    "MATLAB v7.3": _check_hdf5,
    "HDF5": _check_hdf5,
    "TIFF": _check_tiff,
    "PNG": _check_png,
    "Zarr": check_zarr,
}
