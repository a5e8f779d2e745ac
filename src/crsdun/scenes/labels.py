"""Label maps: pictures in colours, indices or arrays of codes, and the classes they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import find_array
from crsdun.scenes.lazy_arrays import open_arrays

# What the pixels of label maps stand for: (value,) or (red, green, blue) or any other tuple of channels → class.
LabelCodes = dict[tuple[int, ...], int]
WORDS = {1: "value", 2: "pair", 3: "colour"}


def read_codes(path: str | Path, legend: LabelCodes, key: str | None = None) -> np.ndarray:
    """The codes of a label map as they are stored, (H,W,K): a value (K = 1), a pair (2) or a colour (3) per pixel.

    A .png with a palette gives its colours where the legend knows colours, else its indices.

    Args:
        key: name of the map in a file with several arrays.

    Raises:
        InputError: the file cannot be read, holds no integers, or codes of a kind that the legend does not know.
    """
    file = open_arrays(path)
    kinds = {len(code) for code in legend}
    if "palette" in file.metadata and 3 in kinds:
        palette, indices = np.asarray(file.metadata["palette"]), file.arrays["image"]
        if indices.max() >= len(palette):
            raise InputError(
                f"{path} uses colour {indices.max()} but its palette has {len(palette)}", "save it again"
            )
        codes = palette[indices]
    elif file.metadata.get("colour"):
        codes = file.arrays["image"]
    elif all(array.ndim == 3 for array in file.arrays.values()):
        codes = np.asarray(find_array(file, "cube", key)[1][:, :, :])
        codes = codes if codes.shape[-1] in WORDS else np.moveaxis(codes, 0, -1)
    else:
        codes = find_array(file, "class map", key)[1][..., None]
    if codes.shape[-1] not in kinds:
        raise InputError(
            f"{path} holds a {WORDS.get(codes.shape[-1], 'spectrum')} per pixel, but the classes are given by "
            f"{' or '.join(WORDS[kind] for kind in sorted(kinds))}",
            "give the classes' colours, or save the map as it is described",
        )
    if codes.dtype.kind == "f" and not (np.isfinite(codes).all() and (codes == np.round(codes)).all()):
        raise InputError(f"{path} holds fractions or NaN", "a label map holds whole numbers")
    return codes.astype(np.int64)


def classes_of(codes: np.ndarray, legend: LabelCodes, path: Path, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The classes (H,W) int64 that codes (H,W,K) stand for.

    Args:
        path: where the codes come from, for the message.
        origin: row and column of the first code in that file.

    Raises:
        InputError: a code is not in the legend; it names the file, the code, its first pixel and how many there are.
    """
    channels = codes.shape[-1]
    known = {code: cls for code, cls in legend.items() if len(code) == channels}
    keys = _packed(np.array(list(known), dtype=np.int64))
    order = np.argsort(keys)
    packed = _packed(codes)
    place = np.searchsorted(keys, packed, sorter=order).clip(max=len(keys) - 1)
    found = order[place]
    unknown = keys[found] != packed
    if unknown.any():
        row, column = (int(value) for value in np.argwhere(unknown)[0])
        code = codes[row, column].tolist() if channels > 1 else codes[row, column, 0]
        strange, pixels = len(np.unique(packed[unknown])), int(unknown.sum())
        others = f", and {strange - 1} more such" if strange > 1 else ""
        count = f" ({pixels} pixels in all)" if pixels > 1 else ""
        raise InputError(
            f"{path} holds the unknown {WORDS[channels]} {code} at row {row + origin[0]}, column "
            f"{column + origin[1]}{others}{count}",
            "correct the map or its classes",
        )
    return np.array(list(known.values()), dtype=np.int64)[found]


def _packed(codes: np.ndarray) -> np.ndarray:
    """One number for the last axis of codes; those of single values stay as they are, also below 0."""
    packed = codes[..., 0]
    for channel in range(1, codes.shape[-1]):
        packed = packed * 2**16 + codes[..., channel]
    return packed
