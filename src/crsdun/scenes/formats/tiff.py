"""TIFF: pages are bands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import ENCODINGS, Arrays, Format, Metadata, stays_in_file
from crsdun.scenes.formats.encoding import Encoding, encoding_from
from crsdun.scenes.formats.metadata import json_object, to_json, with_named_axes
from crsdun.scenes.formats.pictures import picture

TRANSPARENCY = (1, 2)  # among extra samples
# Where the first row and the first column of a file are seen: steps down and to the right, after rows and columns
# were swapped (TIFF 6.0, Orientation).
ORIENTATIONS = {
    1: (1, 1, False), 2: (1, -1, False), 3: (-1, -1, False), 4: (-1, 1, False),
    5: (1, 1, True), 6: (1, -1, True), 7: (-1, -1, True), 8: (-1, 1, True),
}  # fmt: skip


def open_tiff(path: Path) -> tuple[Arrays, Metadata]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        metadata = json_object(file.pages.first.description, mark="layout")
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
    first = file.pages.first
    encodings = {ENCODINGS: {"image": _gdal_encoding(first, path)}}
    mapped = _mapped(path, file, 0) if len(file.pages) == 1 else None
    if mapped is not None:
        return {"image": mapped}, metadata | encodings
    try:
        series = [(_upright(each.asarray(), each.axes, first), each.axes) for each in file.series]
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        compression = first.compression.name
        raise InputError(
            f"{path} is compressed as {compression}", "install crsdun[tiff], or save the file without compression"
        ) from error
    array, axes = series[0]
    if len(series) > 1 and len({(each.shape, each.dtype) for each, _ in series}) == 1 and array.ndim == 2:
        series = [(array := np.stack([each for each, _ in series]), axes := "QYX")]
    if "S" in axes:
        extra = [channel for channel, kind in enumerate(_kinds(first)) if kind in TRANSPARENCY]
        array, said = picture(np.moveaxis(array, axes.index("S"), -1), extra)
        metadata |= said
    elif not (file.is_shaped and len(file.pages) == array.shape[0]) or len(file.series) > 1:
        metadata["pages"] = True
    # Otherwise an array was stored as it was: its first axis became the pages, whatever it means.
    if first.photometric.name == "PALETTE" and first.colormap is not None:
        colours = np.asarray(first.colormap).T  # of 16 bits, or of 8 by writers that did not know
        metadata |= picture(array, palette=(colours >> 8 if colours.max() > 255 else colours).astype(np.uint8))[1]
    elif array.dtype.kind == "u" and first.bitspersample < 8 * array.itemsize:
        metadata["white"] = 2**first.bitspersample - 1
    arrays = {"image": array} | {f"image {place + 1}": each for place, (each, _) in enumerate(series) if place}
    names = {name: axes for name, (_, axes) in zip(arrays, series, strict=True) if "Q" not in axes}
    arrays, axes_of = with_named_axes(arrays, names)
    return arrays, metadata | encodings | axes_of


def _kinds(page: Any) -> list[int]:
    """What each sample of a pixel is: 0 for light, and what the page says of extra ones."""
    extra = [int(kind) for kind in page.extrasamples]
    return [0] * (page.samplesperpixel - len(extra)) + extra


def _upright(array: np.ndarray, axes: str, page: Any) -> np.ndarray:
    """Stored samples as they are meant to be seen: 0 is black, and the first row is above."""
    if page.photometric.name == "MINISWHITE":
        if array.dtype.kind not in "bu":
            raise InputError(
                f"{page.parent.filehandle.path} stores white as 0 in {array.dtype} numbers", "save it with black as 0"
            )
        array = ~array if array.dtype.kind == "b" else array.dtype.type(2**page.bitspersample - 1) - array
    tag = page.tags.get("Orientation")
    if tag is None or "Y" not in axes or "X" not in axes:
        return array
    turned = np.moveaxis(array, (axes.index("Y"), axes.index("X")), (0, 1))
    down, right, swapped = ORIENTATIONS.get(int(tag.value), ORIENTATIONS[1])
    turned = turned.swapaxes(0, 1) if swapped else turned
    turned = turned[::down, ::right]
    return np.ascontiguousarray(np.moveaxis(turned, (0, 1), (axes.index("Y"), axes.index("X"))))


def is_plain(page: Any) -> bool:
    """Whether a large grey page lies in its file as it is in memory, and stays there."""
    return bool(
        page.is_memmappable
        and len(page.shape) == 2
        and page.photometric.name == "MINISBLACK"
        and ("Orientation" not in page.tags or page.tags["Orientation"].value == 1)
        and stays_in_file(page.shape, page.dtype.itemsize)
    )


def _mapped(path: Path, file: Any, page: int) -> np.ndarray | None:
    """A large grey page as a memory map; None where it is small, or does not lie in the file as it is in memory."""
    import tifffile

    if not is_plain(file.pages[page]):
        return None
    mapped: np.ndarray = tifffile.memmap(path, page=page, mode="r")
    return mapped


def _gdal_encoding(page: Any, path: Path) -> Encoding:
    """The encoding that GDAL keeps in tags of its own; samples that these leave out have a scale of 1, no offset."""
    tags = page.tags
    fields: dict[str, Any] = {}
    if "GDAL_NODATA" in tags:
        fields["GDAL_NODATA"] = tags["GDAL_NODATA"].value
    text = str(tags["GDAL_METADATA"].value) if "GDAL_METADATA" in tags else ""
    for role, unstated in (("scale", "1"), ("offset", "0")):
        items = re.findall(rf'<Item([^>]*role="{role}"[^>]*)>([^<]*)<', text)
        samples = [re.search(r'sample="(\d+)"', tag) for tag, _ in items]
        numbers = {
            int(sample[1]) if sample else -1: number for sample, (_, number) in zip(samples, items, strict=True)
        }
        if numbers:  # one that names no sample is that of all others
            count = max(page.samplesperpixel, max(numbers) + 1)
            fields[role] = [numbers.get(sample, numbers.get(-1, unstated)) for sample in range(count)]
    names = {"no_data": ("GDAL_NODATA",), "gain": ("scale",), "offset": ("offset",)}
    return encoding_from(fields, names, str(path))


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
