"""Label maps: from colours, indices or arrays of codes to classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import find_array
from crsdun.scenes.formats import open_arrays

# The code of a pixel in a label map, (value,) or (red, green, blue) or any other tuple of channels → its class.
LabelCodes = dict[tuple[int, ...], int]
CODE_NAMES = {1: "value", 2: "pair", 3: "colour"}


def read_codes(
    path: str | Path,
    label_codes: LabelCodes,
    key: str | None = None,
    expected_palette: tuple[tuple[int, ...], ...] | None = None,
) -> np.ndarray:
    """The codes of a label map as they are stored, (H,W,K): a value (K = 1), a pair (2) or a colour (3) per pixel.

    Of a .png with a palette these are its colours where ``label_codes`` has colours, else its indices.

    Args:
        key: name of the map in a file with several arrays.
        expected_palette: the colours that indices must have, where the indices are the codes.

    Raises:
        InputError: the file cannot be read, holds no integers, another kind of codes than ``label_codes``, or
            indices of other colours than ``expected_palette``.
    """
    file = open_arrays(path)
    if expected_palette is not None and 3 not in {len(code) for code in label_codes}:
        own = file.metadata.get("palette", expected_palette)
        for index in np.unique(file.arrays.get("image", np.zeros(0, int))).tolist():
            if index < min(len(own), len(expected_palette)) and tuple(own[index]) != expected_palette[index]:
                raise InputError(
                    f"{path} shows {index} as the colour {tuple(own[index])} but other maps of the data set as "
                    f"{expected_palette[index]}, so its numbers may stand for other classes",
                    "give each class its colour in the .yaml, or save all maps with one palette",
                )
    kinds = {len(code) for code in label_codes}
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
        codes = codes if codes.shape[-1] in CODE_NAMES else np.moveaxis(codes, 0, -1)
    else:
        codes = find_array(file, "class map", key)[1][..., None]
    if codes.shape[-1] not in kinds:
        raise InputError(
            f"{path} holds a {CODE_NAMES.get(codes.shape[-1], 'spectrum')} per pixel, but the classes are given by "
            f"{' or '.join(CODE_NAMES[kind] for kind in sorted(kinds))}",
            "describe the classes as the map stores them, or save the map as described",
        )
    if codes.dtype.kind == "f" and not (np.isfinite(codes).all() and (codes == np.round(codes)).all()):
        raise InputError(f"{path} holds fractions or NaN", "a label map needs integers")
    return codes.astype(np.int64)


def palette_of(path: Path) -> tuple[tuple[int, ...], ...] | None:
    """The palette of a label map; None where it has none, or cannot be read."""
    try:
        palette = open_arrays(path).metadata.get("palette")
    except InputError:  # reported where the map is needed
        return None
    return None if palette is None else tuple(tuple(colour) for colour in palette)


def classes_of(
    codes: np.ndarray, label_codes: LabelCodes, path: Path, origin: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """The classes (H,W) int64 that codes (H,W,K) stand for.

    Args:
        path: where the codes come from, for the message.
        origin: row and column of the first code in that file.

    Raises:
        InputError: a code stands for no class; the message names the file, the code, its first pixel and how many
            pixels there are.
    """
    channels = codes.shape[-1]
    known = {code: cls for code, cls in label_codes.items() if len(code) == channels}
    keys = _packed(np.array(list(known), dtype=np.int64))
    order = np.argsort(keys)
    packed = _packed(codes)
    place = np.searchsorted(keys, packed, sorter=order).clip(max=len(keys) - 1)
    nearest = order[place]
    unknown = keys[nearest] != packed
    if unknown.any():
        row, column = (int(value) for value in np.argwhere(unknown)[0])
        code = codes[row, column].tolist() if channels > 1 else codes[row, column, 0]
        unknown_codes, pixels = len(np.unique(packed[unknown])), int(unknown.sum())
        others = f", and {unknown_codes - 1} more like it" if unknown_codes > 1 else ""
        count = f" ({pixels} pixels in all)" if pixels > 1 else ""
        raise InputError(
            f"{path} holds the unknown {CODE_NAMES[channels]} {code} at row {row + origin[0]}, column "
            f"{column + origin[1]}{others}{count}",
            "correct the map or its classes",
        )
    return np.array(list(known.values()), dtype=np.int64)[nearest]


def _packed(codes: np.ndarray) -> np.ndarray:
    """The last axis of codes as one number; single values stay as they are, also below 0."""
    packed = codes[..., 0]
    for channel in range(1, codes.shape[-1]):
        packed = packed * 2**16 + codes[..., channel]
    return packed
