"""PNG: label maps and raw counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import Arrays, Format, Metadata
from crsdun.scenes.formats.metadata import JSON_KEY, json_object, to_json
from crsdun.scenes.formats.pictures import picture


def open_png(path: Path) -> tuple[Arrays, Metadata]:
    from PIL import Image

    with path.open("rb") as file:
        depth, kind = file.read(26)[24:]
    if depth == 16 and kind in (2, 4, 6):  # of which Pillow drops the lower 8 bits
        raise InputError(
            f"{path} has 16 bits per channel in colour or with transparency", "save it in 16-bit shades of grey"
        )
    with Image.open(path) as image:
        image.load()
        metadata = json_object(image.info.get(JSON_KEY, ""))
        colours = image.getpalette() if image.mode == "P" else None
        palette = None if colours is None else np.reshape(colours, (-1, 3))
        array, said = picture(np.asarray(image), [len(image.mode) - 1] if image.mode.endswith("A") else [], palette)
        if image.mode == "L" and depth < 8:  # Pillow spreads the 2 or 4 bits over 8
            white = 2**depth - 1
            array, said = array // np.uint8(255 // white), said | {"white": white}
    # Older releases of Pillow widen 16-bit counts to 32.
    return {"image": array.astype(np.uint16) if array.dtype == np.int32 else array}, metadata | said


def write_png(path: Path, arrays: Arrays, metadata: Metadata) -> None:
    """The first array, which must be counts (H,W) of uint8 or uint16, and all metadata."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    array = next(iter(arrays.values()))
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"a .png holds counts, (height, width) of uint8 or uint16, not {array.shape} of {array.dtype}",
            "choose .npz, .h5, .mat or .tif",
        )
    text = PngInfo()
    text.add_itxt(JSON_KEY, to_json(metadata))
    Image.fromarray(array).save(path, pnginfo=text)


PNG = Format("PNG", (b"\x89PNG\r\n\x1a\n",), (".png",), open_png, write_png)
