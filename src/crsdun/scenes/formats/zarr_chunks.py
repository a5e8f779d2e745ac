"""What the stored chunks of a Zarr array unpack to, found without unpacking more than the budget.

Zarr compares a chunk with the size that its array states only once the chunk is unpacked.
"""

from __future__ import annotations

import gzip
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "zarr.json"  # in the folder of each group and each array
# What may decode chunks; none of these opens other files or runs code.
CODECS = {"bytes", "transpose", "zstd", "gzip", "blosc", "crc32c", "sharding_indexed"}
# Those that compress → the largest ratio of unpacked to packed size.
LARGEST_RATIOS = {"gzip": 1032, "zstd": 1 << 15, "blosc": 1 << 15}
SHARDS, NOT_STORED = "sharding_indexed", (1 << 64) - 1
BLOCK = 1 << 20  # bytes that are unpacked at a time
# Of zstd (RFC 8878): the first bytes of a frame, what a block may unpack to, and the kinds of blocks.
FRAME, SKIPPED = b"\x28\xb5\x2f\xfd", range(0x184D2A50, 0x184D2A60)
LARGEST_BLOCK, RAW, REPEATED = 1 << 17, 0, 1


def check_codecs(codecs: list[dict[str, Any]], level: int = 0) -> int:
    """How many of the codecs, and of those within them, compress.

    Raises:
        ValueError: one is not among ``CODECS``, or there are shards within shards.
    """
    count = 0
    for codec in codecs:
        name, inner = codec["name"], codec.get("configuration", {})
        if name not in CODECS:
            raise ValueError(f"its chunks are encoded by {name}")
        if name == SHARDS and level:
            raise ValueError("it has shards within shards")
        count += name in LARGEST_RATIOS
        count += check_codecs([*inner.get("codecs", []), *inner.get("index_codecs", [])], level + 1)
    return count


def surplus_of_chunks(folder: Path, said: dict[str, Any], itemsize: int, budget: float) -> Iterator[int]:
    """By how many bytes the largest chunk unpacks to more than its array states, if one may.

    Args:
        folder: of the array.
        said: what the array says of itself.

    Raises:
        ValueError: parts of it lie elsewhere, or as ``check_codecs``; or chunks are compressed more than once.
    """
    compressing = check_codecs(said["codecs"])
    if compressing > 1:
        raise ValueError("its chunks are compressed more than once")
    shape = chunk_shape(said["chunk_grid"])
    shards = next((codec["configuration"] for codec in said["codecs"] if codec["name"] == SHARDS), None)
    codecs = said["codecs"] if shards is None else [*said["codecs"], *shards["codecs"]]
    name = next((codec["name"] for codec in codecs if codec["name"] in LARGEST_RATIOS), None)
    if name is None:
        return
    in_shards = shards is not None and name in {codec["name"] for codec in shards["codecs"]}
    stated = itemsize * math.prod(shards["chunk_shape"] if shards is not None and in_shards else shape)
    most = 0  # since they are unpacked one at a time
    for path, stored in _files(folder):
        if stored * LARGEST_RATIOS[name] <= budget:
            continue
        with open(path, "rb") as file:
            parts = [(0, stored)]
            if shards is not None and in_shards:
                parts = _parts_of_shard(file, stored, shape, shards)
            for start, size in parts:
                if size * LARGEST_RATIOS[name] > budget:
                    file.seek(start)
                    most = max(most, _unpacked(name, file, size, budget) - stated)
    if most:
        yield most


def chunk_shape(grid: dict[str, Any]) -> list[int]:
    """The lengths of a chunk, or of a shard, along the axes."""
    return [int(each) for each in grid["configuration"]["chunk_shape"]]


def _files(folder: Path | str) -> Iterator[tuple[str, int]]:
    """The files below a folder that may hold chunks, and their sizes."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink():
                    raise ValueError(f"its part {entry.name} lies elsewhere")
                yield from _files(entry.path)
            elif entry.name != MARK and entry.is_file():
                yield entry.path, entry.stat().st_size


def _parts_of_shard(file: Any, size: int, shape: list[int], shards: dict[str, Any]) -> list[tuple[int, int]]:
    """The first byte and the length of each chunk in a shard, from the index of the shard."""
    names = [codec["name"] for codec in shards["index_codecs"]]
    if set(names) - {"bytes", "crc32c"}:
        raise ValueError(f"the index of its shards is encoded by {names[-1]}")
    order = shards["index_codecs"][0].get("configuration", {}).get("endian", "little")
    length = 16 * math.prod(whole // part for whole, part in zip(shape, shards["chunk_shape"], strict=True))
    at_end = shards.get("index_location", "end") == "end"
    file.seek(max(size - length - 4 * names.count("crc32c"), 0) if at_end else 0)
    index = file.read(length)
    numbers = [int.from_bytes(index[at : at + 8], order) for at in range(0, len(index), 8)]
    return [each for each in zip(numbers[::2], numbers[1::2], strict=False) if each[1] != NOT_STORED]


def _unpacked(name: str, file: Any, size: int, budget: float) -> int:
    """Size of the next ``size`` bytes of a file when unpacked, or a size beyond the budget."""
    if name == "blosc":  # whose header says it
        return int.from_bytes(file.read(16)[4:8], "little")
    if name == "zstd":
        return _unpacked_zstd(file, size)
    unpacked = 0
    with gzip.open(io.BytesIO(file.read(size))) as members:
        while unpacked <= budget and (block := members.read(BLOCK)):
            unpacked += len(block)
    return unpacked


def _unpacked_zstd(file: Any, size: int) -> int:
    """As the first frame says, or else the most to which the blocks of all frames may unpack."""
    unpacked, end = 0, file.tell() + size
    first = True
    while file.tell() < end:
        magic = file.read(4)
        if int.from_bytes(magic, "little") in SKIPPED:
            file.seek(int.from_bytes(file.read(4), "little"), io.SEEK_CUR)
            continue
        if magic != FRAME:
            raise ValueError("its chunks are no frames of zstd")
        flags = file.read(1)[0]
        is_single = bool(flags & 0x20)
        file.seek((not is_single) + (0, 1, 2, 4)[flags & 3], io.SEEK_CUR)  # how far back it looks, and its dictionary
        length = (int(is_single), 2, 4, 8)[flags >> 6]
        stated = int.from_bytes(file.read(length), "little") + 256 * (length == 2)
        if length and first:
            return stated
        first = is_last = False
        while not is_last:
            block = int.from_bytes(file.read(3).ljust(3, b"\1"), "little")
            is_last, kind, length = bool(block & 1), block >> 1 & 3, block >> 3
            file.seek(1 if kind == REPEATED else length, io.SEEK_CUR)
            unpacked += length if kind in (RAW, REPEATED) else LARGEST_BLOCK
        file.seek(4 * bool(flags & 4), io.SEEK_CUR)  # a checksum
    return unpacked
