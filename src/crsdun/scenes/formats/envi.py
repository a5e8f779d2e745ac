"""ENVI: a text header (.hdr), and the numbers in a file beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TypeVar
from urllib.parse import quote, unquote

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import ENCODINGS, Arrays, Format, Metadata
from crsdun.scenes.formats.encoding import encoding_from
from crsdun.scenes.formats.metadata import JSON_KEY, bands_last, json_object, to_json

SomePath = TypeVar("SomePath", bound=PurePath)

TYPES = {
    1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 6: "c8", 9: "c16", 12: "u2", 13: "u4", 14: "i8", 15: "u8"
}  # fmt: skip
LENGTHS = {"H": "lines", "W": "samples", "C": "bands"}
INTERLEAVES = {"bip": "HWC", "bil": "HCW", "bsq": "CHW"}
FIELDS: dict[str, tuple[str, ...]] = {
    "gain": ("data gain values",),
    "offset": ("data offset values",),
    "divisor": ("reflectance scale factor",),
    "no_data": ("data ignore value",),
    "good_bands": ("bbl",),
}
# Those to reflectance, where a header also states, or states instead, those to radiance.
REFLECTANCE = {"gain": ("data reflectance gain values",), "offset": ("data reflectance offset values",)}
# Of the data file beside a header.
DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi", ".hyspex", ".cube", ".sli")


def find_header(data: Path) -> Path | None:
    """The header beside a data file, scene.hdr or scene.img.hdr for scene.img; None where there is none."""
    return next((header for header in _headers(data) if header.is_file()), None)


def without_data(paths: Sequence[SomePath]) -> list[SomePath]:
    """Those of the paths that are not the data file of a header which is among them, too."""
    known = set(paths)
    return [path for path in paths if known.isdisjoint(_headers(path))]


def _headers(data: SomePath) -> list[SomePath]:
    """What the header of a data file may be called."""
    if not data.name or data.suffix.lower() not in DATA_SUFFIXES:
        return []
    return [data.with_name(name + end) for name in (data.stem, data.name) for end in (".hdr", ".HDR")]


def open_envi(path: Path) -> tuple[Arrays, Metadata]:
    """Memory-mapped; ``path`` is the header or the data file.

    Raises:
        InputError: the data file is larger than the header says, or it is not clear which it is.
    """
    header = find_header(path) or path
    fields = read_header(header)
    metadata = json_object(unquote(fields.get(JSON_KEY, "")))
    metadata["axes"] = "HWC"
    if "wavelength" in fields:
        # Some writers put the unit behind each value.
        values = _items(fields["wavelength"])
        units = {value.lstrip("+-.0123456789eE").strip() for value in values} - {""}
        metadata["wavelengths"] = [float(value.removesuffix(unit)) for value in values for unit in units or [""]]
        metadata["wavelength_units"] = fields.get("wavelength units", next(iter(units), "unknown"))
    for name in ("spectra names", "class names"):
        if name in fields:
            metadata[name.replace(" ", "_")] = _items(fields[name])
    of_reflectance = any(name in fields for name in REFLECTANCE["gain"])
    names = FIELDS | REFLECTANCE if of_reflectance else FIELDS
    metadata[ENCODINGS] = {"image": encoding_from(fields, names, str(header))}
    axes, shape, dtype, offset = _layout(fields)
    size = offset + math.prod(shape) * dtype.itemsize
    file = _data_file(header, size) if header == path else path
    surplus = file.stat().st_size - size
    if surplus > 0:
        raise InputError(
            f"{file} has {surplus} bytes more than {header} says (header offset {offset}, then "
            f"{'×'.join(map(str, shape))} numbers of {dtype.itemsize} byte{'s' if dtype.itemsize > 1 else ''})",
            f"correct the header: header offset = {offset + surplus}, if they lie in front of the numbers; if they "
            "lie behind them, cut them off",
        )
    data: np.ndarray = np.memmap(file, dtype, "r", offset, shape)
    return {"image": data.transpose([axes.index(axis) for axis in "HWC"])}, metadata


def files_of_envi(path: Path) -> list[Path]:
    """The header and, where it can be told, the data file; ``path`` is either."""
    header = find_header(path)
    if header is not None:
        return [header, path]
    try:
        _, shape, dtype, offset = _layout(read_header(path))
        return [path, _data_file(path, offset + math.prod(shape) * dtype.itemsize)]
    except (InputError, LookupError, ValueError):  # which is said where they are read
        return [path]


def _layout(fields: dict[str, str]) -> tuple[str, tuple[int, ...], np.dtype, int]:
    """How the numbers lie in the data file: their axes, shape and type, and the bytes in front of them."""
    axes = INTERLEAVES[fields["interleave"].lower()]
    shape = tuple(int(fields[LENGTHS[axis]]) for axis in axes)
    dtype = np.dtype("<>"[int(fields.get("byte order", 0))] + TYPES[int(fields["data type"])])
    return axes, shape, dtype, int(fields.get("header offset", 0))


def read_header(path: Path) -> dict[str, str]:
    """The fields of a header by their name in lower case; values in braces come without them, on one line."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    fields = re.findall(r"^[ \t]*([^=\n;]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
    return {name.lower(): " ".join(value.strip().strip("{}").split()) for name, value in fields}


def _items(text: str) -> list[str]:
    """The items of a list; some writers put a comma behind the last one, too."""
    listed = text.rstrip(", ")
    return [item.strip() for item in listed.split(",")] if listed else []


def _data_file(header: Path, size: int) -> Path:
    """The data file beside a header: the only one, or of several the only one of this size in bytes.

    Raises:
        ValueError: there is none.
        InputError: there are several.
    """
    stems = (header.with_suffix(""), header)
    names = [stem.with_name(stem.name + end) for stem in stems for end in DATA_SUFFIXES]
    names += [name.with_suffix(name.suffix.upper()) for name in names if name.suffix]
    files: list[Path] = []
    for name in names:
        known = [header, *files]  # on some systems img and IMG are one
        if name.is_file() and not any(name.samefile(each) for each in known):
            files.append(name)
    if not files:
        raise ValueError("its data file is missing")
    fitting = [file for file in files if file.stat().st_size == size]
    if len(files) > 1 and len(fitting) != 1:
        raise InputError(
            f"several files may hold the numbers of {header}: {', '.join(file.name for file in files)}",
            "name the one that does, in place of the header",
        )
    return fitting[0] if len(files) > 1 else files[0]


def write_envi(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """The first array and all metadata; the data go into .img."""
    from spectral.io import envi

    metadata, fields = dict(metadata), {}
    if "wavelengths" in metadata:
        fields = {"wavelength": metadata.pop("wavelengths"), "wavelength units": metadata.pop("wavelength_units")}
    # Braces mean something in an ENVI header, so the JSON is stored without them.
    fields[JSON_KEY] = quote(to_json(metadata), safe=' :,"[]()/')
    array = bands_last(next(iter(arrays.values())))
    envi.save_image(str(path), array, interleave="bip", ext=".img", metadata=fields)


ENVI = Format("ENVI", (b"ENVI", b"\xef\xbb\xbfENVI"), (".hdr",), open_envi, write_envi, companion=".img")
