"""TIFF: pages are bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.metadata import json_object, to_json


def open_tiff(path: Path) -> tuple[Arrays, Metadata]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        metadata = json_object(file.pages.first.description)
        if "layout" not in metadata:
            series = file.series[0]
            array, axes = series.asarray(), series.axes
            colour = "S" in axes
            metadata.update({"axes": "HWC" if colour else "CHW"}, **({"colour": True} if colour else {}))
            return {"image": np.moveaxis(array, axes.index("S"), -1) if colour else array}, metadata
        arrays, page = {}, 0
        for name, shape in metadata.pop("layout"):
            pages = shape[0] if len(shape) == 3 else 1
            arrays[name] = file.asarray(key=range(page, page + pages)).reshape(shape)
            page += pages
        return arrays, metadata


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
