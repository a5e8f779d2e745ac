"""ENVI: a text header (.hdr), and the numbers in a file beside it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from crsdun.scenes.formats.array_file import ENCODINGS, Arrays, Format, Metadata
from crsdun.scenes.formats.encoding import encoding_from
from crsdun.scenes.formats.metadata import JSON_KEY, bands_last, json_object, to_json

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
# Of the data file beside a header.
DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi", ".hyspex", ".cube", ".sli")


def find_header(data: Path) -> Path | None:
    """The header beside a data file, scene.hdr or scene.img.hdr for scene.img; None where there is none."""
    if data.suffix.lower() in DATA_SUFFIXES:
        names = (name + end for name in (data.stem, data.name) for end in (".hdr", ".HDR"))
        for header in map(data.with_name, names):
            if header != data and header.is_file():
                return header
    return None


def open_envi(path: Path) -> tuple[Arrays, Metadata]:
    """Memory-mapped; ``path`` is the header or the data file."""
    header = find_header(path) or path
    fields = read_header(header)
    metadata = json_object(unquote(fields.get(JSON_KEY, "")))
    metadata["axes"] = "HWC"
    if "wavelength" in fields:
        # Some writers put the unit behind each value.
        values = fields["wavelength"].split(",")
        units = {value.strip().lstrip("+-.0123456789eE").strip() for value in values if value.strip()} - {""}
        metadata["wavelengths"] = [
            float(value.strip().removesuffix(unit)) for value in values for unit in units or [""]
        ]
        metadata["wavelength_units"] = fields.get("wavelength units", next(iter(units), "unknown"))
    if "spectra names" in fields:
        metadata["spectra_names"] = [name.strip() for name in fields["spectra names"].split(",")]
    if "class names" in fields:
        metadata["class_names"] = [name.strip() for name in fields["class names"].split(",")]
    metadata[ENCODINGS] = {"image": encoding_from(fields, FIELDS, _numbers)}
    data: np.ndarray = np.memmap(
        _data_file(header) if header == path else path,
        dtype=np.dtype("<>"[int(fields.get("byte order", 0))] + TYPES[int(fields["data type"])]),
        mode="r",
        offset=int(fields.get("header offset", 0)),
        shape=tuple(int(fields[LENGTHS[axis]]) for axis in INTERLEAVES[fields["interleave"].lower()]),
    )
    order = [INTERLEAVES[fields["interleave"].lower()].index(axis) for axis in "HWC"]
    return {"image": data.transpose(order)}, metadata


def read_header(path: Path) -> dict[str, str]:
    """The fields of a header by their name in lower case; values in braces come without them, on one line."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    fields = re.findall(r"^[ \t]*([^=\n;]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
    return {name.lower(): " ".join(value.strip().strip("{}").split()) for name, value in fields}


def _data_file(header: Path) -> Path:
    stems = (header.with_suffix(""), header)
    candidates = [stem.with_name(stem.name + end) for stem in stems for end in DATA_SUFFIXES]
    candidates += [candidate.with_suffix(candidate.suffix.upper()) for candidate in candidates if candidate.suffix]
    data = next((each for each in candidates if each != header and each.is_file()), None)
    if data is None:
        raise ValueError("its data file is missing")
    return data


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(",") if number.strip())


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
