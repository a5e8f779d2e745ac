"""Classes by example in a reconstruction: the map of a classifier in place of that of the method, and its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from crsdun.classifiers import SpectralClassifier
from crsdun.evaluation.legends import NUMBERS_ALONE, count_difference
from crsdun.evaluation.metrics import CLASS_FIGURES, class_figures, confusion_matrix
from crsdun.runtime.reconstruction import Reconstruction
from crsdun.scenes import UNLABELLED, Scene
from crsdun.scenes.labels import plain

# What a method says of its own classes.
OF_THE_METHOD = (*CLASS_FIGURES, "class_note", "calibrated", "coverage", "unknown")


def classified(
    result: Reconstruction, classifier: SpectralClassifier, true_classes: Scene | None = None
) -> Reconstruction:
    """A reconstruction with the class map that a classifier makes of its cube.

    What a method segmented goes, and how far that can be believed: it says nothing of other classes.

    Its record has ``classes``, where they come from. They are compared with those of the truth by their names.

    Args:
        true_classes: the true scene with its own classes, where ``result.truth`` may have lost them.

    Raises:
        InputError: as ``SpectralClassifier.classify``.
    """
    scene = classifier.classify(result.scene)
    metrics = {name: value for name, value in result.metrics.items() if name not in OF_THE_METHOD}
    truth = result.truth
    if truth is not None:
        labels, note = relabelled(true_classes or truth, classifier)
        truth = replace(truth, classes=labels, class_names=None if labels is None else classifier.class_names)
        metrics |= {} if note is None else {"class_note": note}
        metrics |= {} if labels is None else compared(scene, labels)
    record = {**result.record, "classes": classifier.summary()}
    return replace(result, scene=scene, truth=truth, metrics=metrics, record=record, doubt=None)


def relabelled(truth: Scene, classifier: SpectralClassifier) -> tuple[np.ndarray | None, str | None]:
    """The true classes by the numbers of a classifier, and what to know about them; None where they differ.

    They are compared by their names (``labels.plain``), or where the truth has none and as many, by their numbers.
    Pixels of classes that the classifier does not give are unlabelled.
    """
    if truth.classes is None:
        return None, None
    ours, notes = classifier.class_names, []
    if truth.class_names is None:
        difference = count_difference(truth.classes, len(ours), "the classifier knows")
        if difference is not None:
            return None, f"classes are not compared: {difference}"
        names = ours
        notes.append(NUMBERS_ALONE.format("the truth has"))
    else:
        names = truth.class_names
    known = {plain(ours[number]): number for number in classifier.given}
    known |= {ours[number]: number for number in classifier.given}  # some may differ in nothing but capitals
    table = [known.get(name, known.get(plain(name), UNLABELLED)) for name in names]
    if set(table) == {UNLABELLED}:
        return None, "classes are not compared: the truth knows none of those of the classifier"
    labels = np.array([*table, UNLABELLED])[truth.classes]  # −1 takes the last
    ignored = int(((labels == UNLABELLED) & (truth.classes != UNLABELLED)).sum())
    if ignored:
        notes.append(
            f"{ignored} pixels of the truth are of classes that the classifier does not know, and count nowhere"
        )
    return labels, "; ".join(notes) or None


def compared(scene: Scene, labels: np.ndarray) -> dict[str, Any]:
    """Figures of a class map against true labels with the same numbers, ``UNLABELLED`` left out."""
    assert scene.classes is not None
    assert scene.class_names is not None
    counts = (labels != UNLABELLED) & (scene.classes != UNLABELLED)
    if not counts.any():
        return {}
    answer, true = (torch.from_numpy(np.ascontiguousarray(each[counts])) for each in (scene.classes, labels))
    figures = class_figures(confusion_matrix(answer.long(), true.long(), len(scene.class_names)))
    values = {name: float(figures[name]) for name in CLASS_FIGURES}
    return {name: value for name, value in values.items() if np.isfinite(value)}
