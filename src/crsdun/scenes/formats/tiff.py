"""TIFF: pages are bands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import ENCODINGS, Arrays, Format, Metadata, stays_in_file
from crsdun.scenes.formats.encoding import Encoding, encoding_from
from crsdun.scenes.formats.metadata import json_object, to_json


def open_tiff(path: Path) -> tuple[Arrays, Metadata]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        metadata = json_object(file.pages.first.description)
        if "layout" not in metadata:
            return _open_foreign(path, file, metadata)
        arrays, page = {}, 0
        for name, shape in metadata.pop("layout"):
            pages = shape[0] if len(shape) == 3 else 1
            mapped = _mapped(path, file, page) if len(shape) == 2 else None
            read = mapped if mapped is not None else file.asarray(key=range(page, page + pages))
            arrays[name] = read.reshape(shape)
            page += pages
        return arrays, metadata


def _open_foreign(path: Path, file: Any, metadata: Metadata) -> tuple[Arrays, Metadata]:
    """What other programs write: series of pages, samples or single pages that belong together."""
    mapped = _mapped(path, file, 0) if len(file.pages) == 1 else None
    if mapped is not None:
        return {"image": mapped}, metadata | {ENCODINGS: {"image": _gdal_encoding(file.pages.first.tags)}}
    try:
        series = [(each.asarray(), each.axes) for each in file.series]
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        compression = file.pages.first.compression.name
        raise InputError(
            f"{path} is compressed as {compression}", "install crsdun[tiff], or save the file without compression"
        ) from error
    array, axes = series[0]
    if len(series) > 1 and len({(each.shape, each.dtype) for each, _ in series}) == 1 and array.ndim == 2:
        series = [(array := np.stack([each for each, _ in series]), axes := "QYX")]
    if "S" in axes:
        array = np.moveaxis(array, axes.index("S"), -1)
        metadata |= {"axes": "HWC"} | ({"colour": True} if array.shape[-1] <= 4 else {})
    elif not (file.is_shaped and len(file.pages) == array.shape[0]) or len(file.series) > 1:
        metadata["pages"] = True
    # Otherwise an array was stored as it was: its first axis became the pages, whatever it means.
    arrays = {"image": array} | {f"image {place + 1}": each for place, (each, _) in enumerate(series) if place}
    return arrays, metadata | {ENCODINGS: {"image": _gdal_encoding(file.pages.first.tags)}}


def _mapped(path: Path, file: Any, page: int) -> np.ndarray | None:
    """A large grey page as a memory map; None where it is small, or does not lie in the file as it is in memory."""
    import tifffile

    stored = file.pages[page]
    if not (stored.is_memmappable and len(stored.shape) == 2 and stays_in_file(stored.shape, stored.dtype.itemsize)):
        return None
    mapped: np.ndarray = tifffile.memmap(path, page=page, mode="r")
    return mapped


def _gdal_encoding(tags: Any) -> Encoding:
    """The encoding that GDAL keeps in tags of its own."""
    fields = {}
    if "GDAL_NODATA" in tags:
        fields["no_data"] = [float(str(tags["GDAL_NODATA"].value).strip("\0 "))]
    text = str(tags["GDAL_METADATA"].value) if "GDAL_METADATA" in tags else ""
    for role in ("scale", "offset"):
        items = re.findall(rf'<Item([^>]*role="{role}"[^>]*)>([^<]*)<', text)
        numbers = [(int((re.findall(r'sample="(\d+)"', tag) or ["0"])[0]), float(number)) for tag, number in items]
        if numbers:
            fields[role] = [number for _, number in sorted(numbers)]
    return encoding_from(fields, {"no_data": ("no_data",), "gain": ("scale",), "offset": ("offset",)}, tuple)


def write_tiff(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """All arrays, page after page; the metadata and which page belongs to what in the description of the first."""
    import tifffile

    layout = [[name, array.shape] for name, array in arrays.items()]
    description: str | None = to_json({**metadata, "axes": "CHW", "layout": layout})
    large = sum(array.nbytes for array in arrays.values()) > 2**32 - 2**25
    with tifffile.TiffWriter(path, bigtiff=large) as file:
        for array in arrays.values():
            for page in array if array.ndim == 3 else [array]:
                file.write(page, photometric="minisblack", description=description, metadata=None)
                description = None  # on the first page only


TIFF = Format("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), (".tif", ".tiff"), open_tiff, write_tiff)
