"""Whether the classes of a truth are those of a method: numbers mean nothing without the legend they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crsdun.methods import Method
from crsdun.scenes import Scene


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
        if ours != theirs:
            return f"{theirs!r} of {whose} has the place of {ours!r} in these weights"
    return None


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
    labels = max(int(truth.classes.max()) + 1, 0)
    if truth.class_names is not None:
        difference = legend_difference(known, count, truth.class_names, "the truth")
    elif labels != count:
        difference = f"these weights know {_counted(count)} but the truth, whose classes have no names, {labels}"
    else:
        difference = None
    if difference is None and labels > count:
        difference = f"the truth holds class {labels - 1} but these weights know {_counted(count)}"
    if difference is not None:
        return replace(truth, classes=None, class_names=None), f"classes are not compared: {difference}"
    if truth.class_names is None or known is None:
        whose = "the truth has" if truth.class_names is None else "these weights have"
        return truth, f"class names are not compared: {whose} none; label 0 is taken for the background"
    return truth, None
