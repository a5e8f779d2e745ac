"""ENVI: a text header (.hdr), and the numbers in a file beside it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.metadata import JSON_KEY, bands_last, json_object, to_json

# Of the data file beside a header.
DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi", ".hyspex", ".cube")


def find_header(data: Path) -> Path | None:
    """The header beside a data file, scene.hdr or scene.img.hdr for scene.img; None where there is none."""
    if data.suffix.lower() in DATA_SUFFIXES:
        for header in (data.with_suffix(".hdr"), data.with_name(data.name + ".hdr")):
            if header != data and header.is_file():
                return header
    return None


def open_envi(path: Path) -> tuple[Arrays, Metadata]:
    """Memory-mapped; ``path`` is the header or the data file."""
    from spectral.io import envi

    header = find_header(path) or path
    image = envi.open(str(header.absolute()), None if header == path else str(path.absolute()))
    fields = image.metadata
    metadata = json_object(unquote(fields.get(JSON_KEY, "")))
    metadata["axes"] = "HWC"
    if "wavelength" in fields:
        metadata["wavelengths"] = fields["wavelength"]
        metadata["wavelength_units"] = fields.get("wavelength units", "unknown")
    if "class names" in fields:
        metadata["class_names"] = fields["class names"]
    if image.scale_factor != 1:
        metadata["scale"] = image.scale_factor
    array = image.open_memmap(interleave="bip")
    if array is None:
        raise ValueError("its data file is shorter than its header states")
    return {"image": array}, metadata


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


ENVI = Format("ENVI", (b"ENVI",), (".hdr",), open_envi, write_envi, companion=".img")
