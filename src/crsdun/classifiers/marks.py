"""Marked pixels: the few whose class a person states, from a table of points or a map of labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED
from crsdun.scenes.formats.text_table import read_cells
from crsdun.scenes.labels import BACKGROUND, Legend, is_background, is_unlabelled, read_legend
from crsdun.scenes.scene import check_labels

MOST_CLASSES = 250  # which have a byte each in a class map
MOST_NAMES = MOST_CLASSES + 1  # the background has one, too
LONGEST_NAME = 80
WHOLE_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
APART = 3  # pixels; marks of a class no farther than this from each other are one place
WRITE_POINTS = (
    "expected a line with the names of the columns, row,column,class or x,y,class, and below it a line for each point"
)


@dataclass(frozen=True)
class Marks:
    """What a person states of a scene.

    Attributes:
        labels: (H,W) int64, the class of each marked pixel by its place in ``class_names``, ``UNLABELLED`` elsewhere.
        class_names: background first; it may be without marks, and then is no class that a classifier gives.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, places: Iterable[tuple[np.ndarray, str]], height: int, width: int) -> Marks:
        """Marks from the pixels of each class.

        Args:
            places: (n,2) rows and columns with the name of their class; names may repeat.
            height, width: of the scene.

        Raises:
            InputError: a pixel lies outside the scene or has two classes, or there are too many classes, or less than
                two.
        """
        places = [(np.asarray(pixels, np.int64).reshape(-1, 2), " ".join(name.split())) for pixels, name in places]
        given = list(dict.fromkeys(name for pixels, name in places if len(pixels)))
        for name in given:
            if not name or is_unlabelled(name) or len(name) > LONGEST_NAME:
                raise InputError(
                    f"{name[:LONGEST_NAME]!r} is no name of a class", f"give it one of at most {LONGEST_NAME} letters"
                )
        _check_count(len(given))
        names = _legend(given).names
        labels = np.full((height, width), UNLABELLED)
        for pixels, name in places:
            number = names.index(name)
            for row, column in pixels[((pixels < 0) | (pixels >= (height, width))).any(1)].tolist():
                raise InputError(
                    f"row {row}, column {column} of {name!r} lies outside the scene of {height}×{width} pixels",
                    "count rows down and columns to the right, both from 0",
                )
            before = labels[pixels[:, 0], pixels[:, 1]]
            for place in np.flatnonzero((before != UNLABELLED) & (before != number))[:1]:
                row, column = pixels[place].tolist()
                raise InputError(
                    f"row {row}, column {column} is marked as {names[before[place]]!r} and as {name!r}",
                    "keep one of the two",
                )
            labels[pixels[:, 0], pixels[:, 1]] = number
        return cls(labels, names)

    @classmethod
    def of_labels(cls, labels: np.ndarray, class_names: tuple[str, ...] | None = None) -> Marks:
        """Marks from a sparse label map (H,W), where ``UNLABELLED`` is not marked.

        Without names 0 is not marked either, and the others are called ``class 1``, ``class 2`` … With names, those
        that are none of the background count from 1, as in ``of``.

        Raises:
            InputError: a label has no name, or too many or less than two classes are marked.
        """
        labels = np.asarray(labels, np.int64)
        check_labels(labels, class_names, "the label map")
        if class_names is None:
            labels = np.where(labels > 0, labels, UNLABELLED)
        if labels.max() > MOST_CLASSES:
            raise InputError(
                f"the labels go up to {labels.max()}, and there are at most {MOST_CLASSES} classes",
                f"set <unlabelled> to {labels.max()}, if that marks pixels without a class; else number the "
                "classes from 1",
            )
        _check_count(len(np.unique(labels[labels >= 0])))
        if class_names is None:
            class_names = (BACKGROUND, *(f"class {number}" for number in range(1, labels.max() + 1)))
        legend = _legend(class_names)
        return cls(np.array([*legend.numbers, UNLABELLED])[labels], legend.names)

    @property
    def marked(self) -> np.ndarray:
        """Which pixels are, (H,W) bool."""
        return self.labels != UNLABELLED

    def places(self) -> np.ndarray:
        """The number of the place that each mark belongs to, (H,W) int64 from 1; 0 where nothing is marked.

        Marks of a class that are no farther than ``APART`` pixels from each other are one place: what was
        learnt from one of them says little about whether another one is recognised.
        """
        from scipy import ndimage

        numbers, count, around = np.zeros(self.labels.shape, np.int64), 0, np.ones((3, 3), bool)
        for number in np.unique(self.labels[self.marked]):
            mask = self.labels == number
            near, found = ndimage.label(ndimage.binary_dilation(mask, around, iterations=APART // 2), around)
            numbers[mask] = near[mask] + count
            count += found
        return numbers


def _legend(names: Sequence[str]) -> Legend:
    """What is called background is class 0, which is empty where nothing is; whole numbers keep their number."""
    numbers = [0 if is_background(name) else int(name) if WHOLE_NUMBER.fullmatch(name) else -1 for name in names]
    if -1 < min(numbers) <= max(numbers) <= MOST_CLASSES and len(set(numbers)) == len(numbers):
        own = dict(zip(numbers, names, strict=True))
        every = (own.get(number, str(number) if number else BACKGROUND) for number in range(max(numbers) + 1))
        return Legend(tuple(every), tuple(numbers))
    legend = read_legend(names, background=any(map(is_background, names)))
    if len(legend.names) > MOST_NAMES:
        raise InputError(f"{len(legend.names)} classes are named", f"name at most {MOST_NAMES}")
    return legend


def _check_count(count: int) -> None:
    if count < 2:
        raise InputError(
            f"{count} class{' is' if count == 1 else 'es are'} marked",
            "mark pixels of at least two, such as background",
        )
    if count > MOST_CLASSES:
        raise InputError(f"{count} classes are marked", f"mark at most {MOST_CLASSES}")


def read_points(path: str | Path, height: int, width: int) -> Marks:
    """The marks in a table (.csv) with the columns ``row``, ``column`` and ``class``, or ``x``, ``y`` and ``class``.

    Rows are counted down and columns to the right, from 0. x runs to the right and y down, in pixels from the upper
    left corner of the scene: pixel 4 lies from 4 to 5, and both 4 and 4.5 name it. Other columns are ignored.

    Raises:
        InputError: it is no such table, or as ``Marks.of``; the message names the line.
    """
    path = Path(path)
    rows, decimal, lines = read_cells(path, WRITE_POINTS)
    header = [cell.lower() for cell in rows[0]]
    columns = next((names for names in (("row", "column"), ("y", "x")) if {*names, "class"} <= set(header)), None)
    if columns is None:
        raise InputError(f"the first line of {path} is {','.join(rows[0])[:60]!r}", WRITE_POINTS)
    for name in (*columns, "class"):
        if header.count(name) > 1:
            raise InputError(f"{path} has the column {name!r} twice", "remove one of them")
    if len(rows) == 1:
        raise InputError(f"{path} holds no points", WRITE_POINTS)
    places = []
    for number, cells in zip(lines[1:], rows[1:], strict=True):
        values = [_number(cells[header.index(name)], name, decimal, f"line {number} of {path}") for name in columns]
        name = cells[header.index("class")]
        if not name:
            raise InputError(f"line {number} of {path} names no class", WRITE_POINTS)
        if not (0 <= values[0] < height and 0 <= values[1] < width):
            raise InputError(
                f"line {number} of {path} marks row {values[0]}, column {values[1]}, outside the scene of "
                f"{height}×{width} pixels",
                "count rows down and columns to the right, both from 0",
            )
        places.append((np.array(values), name))
    return Marks.of(places, height, width)


def _number(text: str, column: str, decimal: str, where: str) -> int:
    """A row or column; of x and y, which may lie between the edges of a pixel, the pixel."""
    fraction = r"([.,]\d*)?" if column in "xy" else r"([.,]0*)?"
    if not re.fullmatch(rf"-?\d{{1,9}}{fraction}", text):
        kind = "number" if column in "xy" else "whole number"
        raise InputError(f"{where} has the {column} {text[:40]!r} where a {kind} is expected", WRITE_POINTS)
    return int(np.floor(float(text.replace(decimal, ".").replace(",", "."))))
