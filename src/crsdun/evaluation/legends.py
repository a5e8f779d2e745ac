"""Whether the classes of a truth are those of a method: numbers mean nothing without the legend they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crsdun.methods import Method
from crsdun.scenes import Scene
from crsdun.scenes.labels import plain

NUMBERS_ALONE = "class names are not compared: {} none; label 0 is taken for the background"


def legend_difference(known: Sequence[str] | None, count: int, names: Sequence[str], whose: str) -> str | None:
    """How class names differ from those of a method, in one line; None if they do not.

    Args:
        known: the method's names; None where it has none, so that only the numbers of classes are compared.
        count: of its classes, N.
        whose: the names are.
    """
    if len(names) != count:
        return f"these weights know {_counted(count)} but {whose} has {len(names)}"
    for ours, theirs in zip(known or names, names, strict=True):
        if plain(ours) != plain(theirs):
            return f"{theirs!r} of {whose} has the place of {ours!r} in these weights"
    return None


def count_difference(labels: np.ndarray, count: int, who: str) -> str | None:
    """How many classes labels without names (H,W) have and ``who`` not, in one line; None if they are as many.

    Args:
        count: of the classes that are known.
        who: knows them, with the verb.
    """
    own = max(int(labels.max()) + 1, 0)
    return None if own == count else f"{who} {_counted(count)} but the truth, whose classes have no names, {own}"


def _counted(classes: int) -> str:
    return f"{classes} class{'es' if classes != 1 else ''}"


def comparable_truth(truth: Scene | None, method: Method) -> tuple[Scene | None, str | None]:
    """A true scene whose classes can be compared with those of a method, and what to know about that, in one line.

    The scene loses its classes if their names, or their order, are not the method's; or if it has label numbers
    without names and not exactly as many as the method has classes.
    """
    known, count = method.card.class_names, method.class_count
    if truth is None or truth.classes is None or not count:
        return truth, None
    if truth.class_names is not None:
        difference = legend_difference(known, count, truth.class_names, "the truth")
    else:
        difference = count_difference(truth.classes, count, "these weights know")
    if difference is not None:
        return replace(truth, classes=None, class_names=None), f"classes are not compared: {difference}"
    if truth.class_names is None or known is None:
        whose = "the truth has" if truth.class_names is None else "these weights have"
        return truth, NUMBERS_ALONE.format(whose)
    return truth, None
