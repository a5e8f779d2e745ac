"""Pictures as arrays: shades of grey, and a folder with one picture for each band, as CAVE is distributed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.scenes.formats.array_file import ArrayFile, Metadata

PICTURES = (".png", ".tif", ".tiff")
GREY_FORMATS = ("PNG", "TIFF")
MOST_COLOURS = 4  # channels of a picture; more are bands
# A stem: what all have in common, and the number of the band or its wavelength.
NUMBERED = re.compile(r"(.*?)(?:(\d+(?:\.\d+)?) *nm|(\d+))", re.IGNORECASE)


def picture(
    samples: np.ndarray, transparency: Sequence[int] = (), palette: np.ndarray | None = None
) -> tuple[np.ndarray, Metadata]:
    """What the channels of a picture mean, in any format: its array, and what there is to say of it.

    Transparency is not light and left out; a single channel has no axis of its own.

    Args:
        samples: (H,W), or (...,H,W,K) with K channels.
        transparency: which of the channels are.
        palette: (N,3) uint8 colours, where the samples are indices of these.
    """
    metadata: Metadata = {} if palette is None else {"palette": palette.tolist()}
    if samples.ndim == 2:
        return samples, metadata
    kept = [channel for channel in range(samples.shape[-1]) if channel not in transparency]
    if len(kept) == 1:
        return samples[..., kept[0]], metadata
    if len(kept) < samples.shape[-1]:
        samples = samples[..., kept]
    return samples, metadata | {"axes": "HWC"} | ({"colour": True} if len(kept) <= MOST_COLOURS else {})


def grey(file: ArrayFile) -> ArrayFile:
    """A picture in shades of grey as (H,W), however it was stored; any other file as it is.

    Raises:
        InputError: the picture has colours.
    """
    if "palette" in file.metadata:
        palette, indices = np.asarray(file.metadata["palette"], dtype=np.uint8), file.arrays["image"]
        if indices.max() >= len(palette):
            raise InputError(
                f"{file.path} uses colour {indices.max()} but its palette has {len(palette)}", "save it again"
            )
        colours = palette[indices]
    elif file.metadata.get("colour"):
        colours = file.arrays["image"]
    else:
        return file
    if (colours != colours[..., :1]).any():
        raise InputError(f"{file.path} is a colour picture", "save it in shades of grey")
    metadata = {name: value for name, value in file.metadata.items() if name not in ("palette", "colour", "axes")}
    return replace(file, arrays={"image": colours[..., 0]}, metadata=metadata)


def without_palette(file: ArrayFile) -> ArrayFile:
    """Shades of grey in place of the indices of a palette; any other file as it is. Errors as ``grey``."""
    return grey(file) if "palette" in file.metadata else file


def shades(file: ArrayFile, samples: np.ndarray) -> np.ndarray | None:
    """Samples of a picture in shades of grey, white 255 where they have 8 bits or less; None where they are of none.

    Args:
        samples: the array of the file, or a part of it; not the indices of a palette.
    """
    if file.format not in GREY_FORMATS or samples.dtype.kind not in "bu" or "palette" in file.metadata:
        return None
    white = file.metadata.get("white", 1 if samples.dtype.kind == "b" else 255)
    return samples * np.uint8(255 // white) if white < 255 else samples


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, sorted by name; hidden files are none."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def is_scene_folder(path: Path) -> bool:
    """Whether this is probably a folder that ``open_folder`` opens, by the names of its pictures."""
    pictures = pictures_in(path)
    return len(pictures) > 1 and all(NUMBERED.fullmatch(each.stem) for each in pictures)


def open_folder(folder: Path, read: Callable[[Path], ArrayFile], others: tuple[str, ...]) -> ArrayFile:
    """A folder with one PNG or TIFF in shades of grey for each band, as a cube (C,H,W) called "image".

    The order is that of the numbers at the end of the names: ``balloons_ms_01.png``. Where the names end in nm, as
    in ``400nm.png``, these numbers are the wavelengths; otherwise they are unknown.

    Args:
        read: a file → its arrays.
        others: suffixes of files that would make it unclear what the scene is.

    Raises:
        InputError: the folder holds other scenes or pictures too, a number is missing, or the pictures differ in
            size, type or encoding.
    """
    pictures, wavelengths = _in_order(folder, others)
    first = _read_band(pictures[0], read)
    size, dtype = first.arrays["image"].shape, first.arrays["image"].dtype
    check_budget(first.arrays["image"].nbytes * len(pictures), f"what {folder} contains")
    cube = np.empty((len(pictures), *size), dtype)
    for band, path in enumerate(pictures):
        file = _read_band(path, read)
        picture = file.arrays["image"]
        if picture.shape != size:
            raise InputError(
                f"{path} has {picture.shape[0]}×{picture.shape[1]} pixels but {pictures[0].name} {size[0]}×{size[1]}",
                "bands of one scene have the same size",
            )
        white = file.metadata.get("white")
        if (picture.dtype, white, file.encoding("image")) != (
            dtype,
            first.metadata.get("white"),
            first.encoding("image"),
        ):
            raise InputError(
                f"{path} ({picture.dtype}) and {pictures[0].name} ({dtype}) store their values differently",
                "save all bands alike",
            )
        cube[band] = picture
    metadata: Metadata = {"axes": "CHW", "name": folder.resolve().name}
    if wavelengths is not None:
        metadata |= {"wavelengths": wavelengths, "wavelength_units": "nm"}
    if "white" in first.metadata:
        metadata["white"] = first.metadata["white"]
    kind = f"{first.format}, one picture for each band"
    return ArrayFile(folder, kind, {"image": cube}, metadata, first.encodings)


def _read_band(path: Path, read: Callable[[Path], ArrayFile]) -> ArrayFile:
    file = grey(read(path))
    if list(file.arrays) != ["image"] or file.arrays["image"].ndim != 2:
        raise InputError(
            f"{path} holds {file.contents}, not the picture of one band", "keep one band in each file, or all in one"
        )
    return file


def _in_order(folder: Path, others: tuple[str, ...]) -> tuple[list[Path], list[float] | None]:
    """The pictures of the bands, and their wavelengths where the names state them."""
    pictures = pictures_in(folder)
    if len(pictures) < 2:
        inner = next((f", such as {each}" for each in sorted(folder.iterdir()) if len(pictures_in(each)) > 1), "")
        raise InputError(
            f"{folder} is a folder without a picture for each band",
            f"name a file, or a folder with one PNG or TIFF for each band{inner}",
        )
    files = (file for file in folder.iterdir() if file.suffix.lower() in others and file not in pictures)
    other = next((file.name for file in sorted(files) if not file.name.startswith(".")), None)
    names = {path: NUMBERED.fullmatch(path.stem) for path in pictures}
    prefixes = [match[1] for match in names.values() if match]
    usual = max(prefixes, key=prefixes.count, default=None)
    odd = [path for path, match in names.items() if match is None or match[1] != usual]
    if other is None and odd:
        other = odd[0].name
    if other is not None:
        raise InputError(
            f"{folder} is not one scene with a picture for each band: it also holds {other}",
            "move what is no band elsewhere, and give all bands one name with their number at the end",
        )
    numbers = {path: match for path, match in names.items() if match}
    if len({path.suffix.lower() for path in pictures}) > 1 or len({bool(match[2]) for match in numbers.values()}) > 1:
        raise InputError(f"{folder} holds bands of different kinds: {pictures[0].name} … {pictures[-1].name}")
    values = {path: float(match[2] or match[3]) for path, match in numbers.items()}
    order = sorted(pictures, key=values.__getitem__)
    for before, after in pairwise(order):
        if values[before] == values[after]:
            raise InputError(f"{folder} holds one band twice: {before.name} and {after.name}", "remove one of them")
    if all(match[2] for match in numbers.values()):
        return order, [values[path] for path in order]
    steps = [(values[after] - values[before], before, after) for before, after in pairwise(order)]
    step = min(steps)[0]
    gap = next(((before, after) for each, before, after in steps if each != step), None)
    if gap is not None:
        raise InputError(
            f"{folder} holds {gap[0].name} and next {gap[1].name}, but other numbers follow each other by {step:g}",
            "get the missing picture; if the numbers are wavelengths, end the names in nm",
        )
    return order, None
