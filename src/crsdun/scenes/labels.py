"""Label maps: from colours, indices or arrays of codes to classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import find_array
from crsdun.scenes.formats import ArrayFile, open_arrays
from crsdun.scenes.formats.encoding import Encoding
from crsdun.scenes.formats.pictures import PICTURES, shades
from crsdun.scenes.scene import UNLABELLED

# The code of a pixel in a label map, (value,) or (red, green, blue) or any other tuple of channels → its class.
LabelCodes = dict[tuple[int, ...], int]
CODE_NAMES = {1: "value", 2: "pair", 3: "colour"}
NO_DATA = int(np.iinfo(np.int64).min)  # the value of pixels without data, which no class has
# What a legend calls pixels whose class is unknown, and those of no class in particular.
UNLABELLED_NAMES = (
    "unlabelled", "unlabeled", "not labelled", "not labeled", "no label", "unclassified", "unassigned", "ignore",
)  # fmt: skip
BACKGROUND = "background"


@dataclass(frozen=True)
class Legend:
    """What the names of classes in a file or a list mean.

    Attributes:
        names: of the classes, background first.
        numbers: for each of the names that were given its class, ``UNLABELLED`` for one that stands for none.
        notes: what a user should know, one line each.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()


def plain(name: str) -> str:
    """The name of a class as it is compared with others: capitals, spaces around it and underscores do not count."""
    return " ".join(name.casefold().replace("_", " ").split())


def is_unlabelled(name: str) -> bool:
    """Whether a legend says by this name that the class of a pixel is unknown (``UNLABELLED_NAMES``)."""
    return plain(name) in UNLABELLED_NAMES


def is_background(name: str) -> bool:
    """Whether a legend says by this name that a class is the background, which mIoU leaves out."""
    return plain(name) == BACKGROUND


def read_legend(given: Sequence[str], background: bool | None = None) -> Legend:
    """The classes that names stand for, which are numbered from 0 on.

    Names that say that a class is unknown (``is_unlabelled``) are no classes. What is called background, wherever it
    stands, is class 0, which mIoU leaves out. Where nothing is, the first class is; unless ``unlabelled`` stood
    before it, as in remote sensing: class 0 is then empty.

    Args:
        background: whether one of the classes is the background, the first where none is called so; None finds out.

    Raises:
        InputError: there is no background, but a class is called so.
    """
    places = [place for place, name in enumerate(given) if not is_unlabelled(name)]
    stated = next((place for place in places if is_background(given[place])), None)
    if background is False and stated is not None:
        raise InputError(f"there is no background, but a class is called {given[stated]!r}", "set background to true")
    notes = [f"{name!r} stands for no class: such pixels are unlabelled" for name in given if is_unlabelled(name)]
    empty = stated is None and (not places or background is False or (background is None and is_unlabelled(given[0])))
    if empty:
        notes.append("there is no background: class 0 is empty, and all others count")
    elif stated is None and background is None:
        notes.append(
            f"{given[places[0]]!r} is taken for the background, which mIoU leaves out; if it is a class like the "
            "others, set background to false"
        )
    elif stated is not None:
        places = [stated, *(place for place in places if place != stated)]
    numbers = dict(zip(places, range(int(empty), len(given) + 1), strict=False))
    names = (*[BACKGROUND] * empty, *(given[place] for place in places))
    return Legend(names, tuple(numbers.get(place, UNLABELLED) for place in range(len(given))), tuple(notes))


def whole_numbers(stored: np.ndarray, encoding: Encoding, no_data: int = UNLABELLED) -> np.ndarray | None:
    """The numbers of a label map as int64, ``no_data`` where it has none; None where there are fractions or infinity.

    Args:
        encoding: what its file states about it.
    """
    missing = np.isnan(encoding.decode(stored))
    known = np.where(missing, 0, stored)
    if known.dtype.kind == "f" and not (np.isfinite(known).all() and (known == np.round(known)).all()):
        return None
    numbers = known.astype(np.int64)
    numbers[missing] = no_data
    return numbers


def read_codes(
    path: str | Path,
    label_codes: LabelCodes,
    key: str | None = None,
    expected_palette: tuple[tuple[int, ...], ...] | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[np.ndarray, LabelCodes]:
    """The codes of a label map as they are stored, (H,W,K): a value (K = 1), a pair (2) or a colour (3) per pixel.

    Returned with what they stand for: ``label_codes``, and values that the file itself calls unlabelled; where a map
    of values has no data they are ``NO_DATA``. Of a picture with a palette the codes are its colours where
    ``label_codes`` has colours, else its indices; of one in shades of grey they are colours where those of all
    classes are shades (``_of_grey``).

    Args:
        key: name of the map in a file with several arrays.
        expected_palette: the colours that indices must have, where the indices are the codes.
        class_names: of the classes in ``label_codes``; names that the file gives its values must be the same.

    Raises:
        InputError: the file cannot be read, holds no integers, another kind of codes than ``label_codes``, indices of
            other colours than ``expected_palette``, or values of other names than ``class_names``.
    """
    file = open_arrays(path)
    kinds, name = {len(code) for code in label_codes}, ""
    if expected_palette is not None and 3 not in kinds and "palette" in file.metadata:
        own = file.metadata["palette"]
        for index in np.unique(file.arrays["image"]).tolist():
            if index < min(len(own), len(expected_palette)) and tuple(own[index]) != expected_palette[index]:
                raise InputError(
                    f"{path} shows {index} as the colour {tuple(own[index])} but other maps of the data set as "
                    f"{expected_palette[index]}, so its numbers may stand for other classes",
                    "give each class its colour in the .yaml, or save all maps with one palette",
                )
    if "palette" in file.metadata and 3 in kinds:
        palette, indices = np.asarray(file.metadata["palette"]), file.arrays["image"]
        if indices.max() >= len(palette):
            raise InputError(
                f"{path} uses colour {indices.max()} but its palette has {len(palette)}", "save it again"
            )
        codes = palette[indices]
    elif file.metadata.get("colour"):
        codes = file.arrays["image"]
    elif all(array.ndim == 3 and 1 not in (array.shape[0], array.shape[-1]) for array in file.arrays.values()):
        name, stored = find_array(file, "cube", key)
        codes = np.asarray(stored[:, :, :])
        codes = codes if codes.shape[-1] in CODE_NAMES else np.moveaxis(codes, 0, -1)
    else:
        name, stored = find_array(file, "class map", key)
        codes = np.asarray(stored[:, :])[..., None]
        codes = _of_grey(codes, file, label_codes) if 3 in kinds else codes
    if codes.shape[-1] not in kinds:
        raise InputError(
            f"{path} holds a {CODE_NAMES.get(codes.shape[-1], 'spectrum')} per pixel, but the classes are given by "
            f"{' or '.join(CODE_NAMES[kind] for kind in sorted(kinds))}",
            "describe the classes as the map stores them, or save the map as described",
        )
    numbers = whole_numbers(codes, file.encoding(name) if codes.shape[-1] == 1 else Encoding(), NO_DATA)
    if numbers is None or (codes.shape[-1] > 1 and (numbers == NO_DATA).any()):
        odd = "fractions or infinity" if codes.shape[-1] == 1 else "fractions, NaN or infinity"
        raise InputError(f"{path} holds {odd}", "a label map needs integers")
    if codes.shape[-1] == 1 and class_names is not None:
        missing = np.unique(codes[numbers == NO_DATA]).tolist()
        label_codes = _with_stated(file, name, np.unique(numbers).tolist(), missing, label_codes, class_names)
    return numbers, {**label_codes, (NO_DATA,): UNLABELLED}


def _of_grey(codes: np.ndarray, file: ArrayFile, label_codes: LabelCodes) -> np.ndarray:
    """Codes (H,W,1) of a picture in shades of grey as its colours (H,W,3), if that is what the classes have.

    Where the colour of a class is no shade, the picture cannot show it and holds numbers, unless only the colours of
    other classes occur. Files of arrays hold numbers.

    Raises:
        InputError: what occurs are both colours and numbers, of different classes.
    """
    grey = shades(file, codes)
    colours = {code: number for code, number in label_codes.items() if len(code) == 3}
    of_classes = [code for code, number in colours.items() if number != UNLABELLED]
    if grey is None or not of_classes:
        return codes
    if all(len(set(code)) == 1 for code in of_classes):
        return np.repeat(grey, 3, axis=-1)
    pairs = np.unique(np.stack((codes[..., 0], grey[..., 0]), axis=-1).reshape(-1, 2).astype(np.int64), axis=0)
    as_numbers = [label_codes.get((value,)) for value, _ in pairs.tolist()]
    as_colours = [colours.get((shade,) * 3) for _, shade in pairs.tolist()]
    if None in as_colours or as_colours == as_numbers:
        return codes
    if None in as_numbers:
        return np.repeat(grey, 3, axis=-1)
    raise InputError(
        f"{file.path} is in shades of grey, which are the colours of some classes and the numbers of others",
        "save the map in colours, or its numbers as an array",
    )


def _with_stated(
    file: ArrayFile,
    key: str,
    values: list[int],
    missing: list[int],
    label_codes: LabelCodes,
    class_names: Sequence[str],
) -> LabelCodes:
    """The codes with those among ``values`` that the file calls unlabelled, after its names were compared.

    Args:
        missing: what it stores where it has no data, which may be no class either.
    """
    stated = dict(label_codes)
    contradicted = [value for value in missing if label_codes.get((value,), UNLABELLED) != UNLABELLED]
    if contradicted:
        value = int(contradicted[0])
        raise InputError(
            f"{file.path} states that {value} is no data but the data set calls it "
            f"{class_names[label_codes[value,]]!r}",
            f"set unlabelled to {value} in the .yaml and give each class its value, or correct the file",
        )
    names = dict(enumerate(file.class_names(key)))
    for value in (value for value in values if value in names):
        name, number = names[value], label_codes.get((value,), UNLABELLED)
        if is_unlabelled(name) and number == UNLABELLED:
            stated[value,] = UNLABELLED
        elif number != UNLABELLED and plain(name) != plain(class_names[number]):
            raise InputError(
                f"{file.path} calls {value} {name!r} but the data set {class_names[number]!r}",
                f"set unlabelled to {value} in the .yaml and give each class its value"
                if is_unlabelled(name)
                else "list the classes in the order of the file, or give each its value",
            )
    return stated


def palette_of(path: Path) -> tuple[tuple[int, ...], ...] | None:
    """The palette of a label map; None where it has none, or cannot be read."""
    if path.suffix.lower() not in PICTURES:  # the only formats that have some
        return None
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
            "correct the map or its classes"
            + (", or set unlabelled to it in the .yaml if it marks an unknown class" if channels == 1 else ""),
        )
    return np.array(list(known.values()), dtype=np.int64)[nearest]


def _packed(codes: np.ndarray) -> np.ndarray:
    """The last axis of codes as one number; single values stay as they are, also below 0."""
    packed = codes[..., 0]
    for channel in range(1, codes.shape[-1]):
        packed = packed * 2**16 + codes[..., channel]
    return packed
