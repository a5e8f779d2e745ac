"""Gradient-boosted trees as tables of nodes: plain arrays that need no library to be evaluated, and hold no code."""

from __future__ import annotations

from typing import Any

import numpy as np

from crsdun.errors import InputError

LEAF = -1  # in place of the children of a node that has none
# Name → type: one entry for each node of all trees, one after the other.
NODES = {"feature": np.int32, "left": np.int32, "right": np.int32, "threshold": np.float32, "value": np.float64}


def tables(model: Any, example: np.ndarray) -> dict[str, np.ndarray]:
    """The trees of a fitted ``GradientBoostingClassifier`` of scikit-learn.

    Args:
        example: any spectrum, (1,C); what the model says of it beyond its trees is the score it begins with.

    Returns:
        ``NODES``, of which ``left`` and ``right`` are places in the tables and ``value`` holds the learning rate;
        ``root`` the first node and ``column`` the class of each tree; ``bias`` the score of each class before any.
    """
    classes, per_stage = len(model.classes_), model.estimators_.shape[1]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in NODES}
    root, column, size = [], [], 0
    for stage in model.estimators_:
        for place, estimator in enumerate(stage):
            tree = estimator.tree_
            inner = tree.children_left != LEAF
            parts["feature"].append(np.where(inner, tree.feature, 0))
            parts["left"].append(np.where(inner, tree.children_left + size, LEAF))
            parts["right"].append(np.where(inner, tree.children_right + size, LEAF))
            parts["threshold"].append(_rounded_down(np.where(inner, tree.threshold, 0.0)))
            parts["value"].append(model.learning_rate * tree.value[:, 0, 0])
            root.append(size)
            column.append(place if per_stage > 1 else 1)  # of two classes it scores the second alone
            size += tree.node_count
    arrays = {name: np.concatenate(each).astype(NODES[name]) for name, each in parts.items()}
    arrays |= {"root": np.array(root, np.int32), "column": np.array(column, np.int32), "bias": np.zeros(classes)}
    said = np.atleast_2d(model.decision_function(example))[0]
    ours = scores(arrays, example)[0]
    arrays["bias"] = said - ours if per_stage > 1 else np.array([0.0, said[0] - ours[1]])
    return arrays


def scores(arrays: dict[str, np.ndarray], spectra: np.ndarray) -> np.ndarray:
    """Scores (n,K) of spectra (n,C), as scikit-learn's ``decision_function``; of two classes, 0 for the first."""
    # In single precision, in which scikit-learn compares features as well.
    features = np.ascontiguousarray(spectra.astype(np.float32).T)
    total = np.repeat(arrays["bias"][:, None], len(spectra), axis=1)
    nodes = list(zip(*(arrays[name].tolist() for name in NODES), strict=True))
    roots = arrays["root"].tolist()
    for root, end, column in zip(roots, [*roots[1:], len(nodes)], arrays["column"].tolist(), strict=True):
        answers: dict[int, Any] = {}  # of the branches whose node is still to come
        for place in range(end - 1, root - 1, -1):  # children stand behind their node
            feature, left, right, threshold, value = nodes[place]
            answers[place] = (
                value
                if left == LEAF
                else np.where(features[feature] <= np.float32(threshold), answers.pop(left), answers.pop(right))
            )
        total[column] += answers[root]
    return total.T


def check(arrays: dict[str, np.ndarray], classes: int, bands: int) -> None:
    """Raise an InputError unless arrays from a file are trees of so many classes and bands that end."""
    types = {**NODES, "root": np.int32, "column": np.int32, "bias": np.float64}
    for name, kind in types.items():
        if name not in arrays or arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise InputError(f"{name} should be a list of {np.dtype(kind)}")
    size = len(arrays["left"])
    if {len(arrays[name]) for name in NODES} != {size}:
        raise InputError(f"its tables of nodes are not of one length: {', '.join(NODES)}")
    place = np.arange(size)
    inner = arrays["left"] != LEAF
    children = np.concatenate([arrays[name][inner] for name in ("left", "right")])
    # Every node but the roots is the child of one that stands before it in the same tree, so that every way ends.
    tree = np.searchsorted(arrays["root"], place, side="right")
    whole = (
        size > 0
        and len(arrays["root"]) == len(arrays["column"])
        and arrays["bias"].shape == (classes,)
        and all(np.isfinite(arrays[name]).all() for name in ("threshold", "value", "bias"))
        and arrays["root"][:1].tolist() == [0]
        and bool((np.diff(arrays["root"]) > 0).all())
        and _within(arrays["root"], size)
        and _within(arrays["column"], classes)
        and _within(arrays["feature"], bands)
        and _within(children, size)
        and np.array_equal(np.sort(np.concatenate([children, arrays["root"]])), place)
        and bool((children > np.tile(place[inner], 2)).all() and (tree[children] == np.tile(tree[inner], 2)).all())
    )
    if not whole:
        raise InputError(f"its trees do not fit {classes} classes and {bands} bands")


def _within(places: np.ndarray, count: int) -> bool:
    return bool(((places >= 0) & (places < count)).all())


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest number of single precision that is not above: a feature in single precision compares the same."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
