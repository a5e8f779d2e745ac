"""One colour for each class, the same in every picture and distinguishable by colour-blind people."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from crsdun.errors import InputError

# The seven colours of Okabe and Ito; then, one at a time, the sRGB colour that is farthest (CIEDE2000) from all
# before it, from white and from the grey of unlabelled pixels, in the worst of normal sight, deuteranopia and
# protanopia (Machado 2009). 8 or more apart within the first 24 in each of the three.
_COLOURS = """
    0072b2 e69f00 009e73 d55e00 56b4e9 f0e442 cc79a7 5a2d3c 5a3c00 0f2d96 c3f0b4 006969
    5a694b 7878ff 00f0ff ff5a78 2d00ff b43c78 ffa578 b4002d f096a5 3c3c5a 3c963c d2b4d2
    d200b4 0f9696 2dc3a5 005aff 781e2d 3c7887 c33c00 ff69d2 ff5a4b 96ff87 b44b5a 4ba5b4
    b4f0d2 7800c3 873c5a 4b4b87 b47869 7896ff 4bd2ff 96d296 5a5a2d e1c34b 96f0f0 699687
"""
_PALETTE = np.array([list(bytes.fromhex(colour)) for colour in _COLOURS.split()], dtype=np.uint8)
UNLABELLED_COLOUR = np.array((204, 204, 204), dtype=np.uint8)


class ClassEntry(NamedTuple):
    """A class in a legend or a table: its number (−1 for unlabelled), name, and colour, (3,) uint8."""

    number: int
    name: str
    colour: np.ndarray


def class_name(number: int, class_names: Sequence[str] | None) -> str:
    """The name of a class by its number, ``class 7`` where it has none, ``unlabelled`` below 0."""
    if number < 0:
        return "unlabelled"
    return class_names[number] if class_names and number < len(class_names) else f"class {number}"


def classes_present(class_maps: Iterable[np.ndarray | None], class_names: Sequence[str] | None) -> list[ClassEntry]:
    """The classes that occur in any of these maps of integers, by number; unlabelled comes last."""
    present = np.unique(np.concatenate([np.unique(classes) for classes in class_maps if classes is not None]))
    colours = [*class_colours(max(int(present[-1]) + 1, 0)), UNLABELLED_COLOUR]
    entries = [ClassEntry(number, class_name(number, class_names), colours[number]) for number in map(int, present)]
    return sorted(entries, key=lambda entry: entry.number < 0)


def class_colours(count: int) -> np.ndarray:
    """Colours of the classes 0..count−1, (count, 3) uint8.

    Class k has the same colour whatever the count. The first 48 differ; after them the colours repeat.

    Raises:
        InputError: the count is negative.
    """
    if count < 0:
        raise InputError(f"the number of classes must not be negative, not {count}")
    return _PALETTE[np.arange(count) % len(_PALETTE)]


def class_picture(classes: np.ndarray) -> np.ndarray:
    """A class map (H,W), integers with −1 for unlabelled (light grey), as a colour picture (H,W,3) uint8.

    Raises:
        InputError: the map is not (H,W) of integers, or holds values below −1.
    """
    if classes.ndim != 2 or 0 in classes.shape or not np.issubdtype(classes.dtype, np.integer):
        raise InputError(
            f"a class map is integer (height, width), not {classes.dtype} of shape {classes.shape}",
            "take the argmax of logits over the classes first",
        )
    labels = classes.astype(np.int64)  # signed, so that −1 picks the last colour, the grey
    if labels.min() < -1:
        raise InputError(f"a class map holds 0, 1, 2 … and −1 for unlabelled, not {labels.min()}")
    colours = np.vstack([class_colours(int(labels.max()) + 1), UNLABELLED_COLOUR])
    return colours[labels]
