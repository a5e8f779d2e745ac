"""Classes by example: what regions that are called like classes, or a classifier, make of a cube that is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from crsdun.classifiers import SpectralClassifier, fit_classifier
from crsdun.errors import InputError
from crsdun.runtime import classified
from crsdun.runtime.classification import compared, relabelled
from crsdun.scenes import UNLABELLED, Scene
from crsdun.viewing.app.open_scene import MOST_CLASSES, Layer, OpenScene
from crsdun.viewing.app.requests import ClassifyRequest
from crsdun.viewing.regions import marks_of

YOURS = "your classes"  # behind the name of the layer that they are of


def classify(
    scene: OpenScene, request: ClassifyRequest, saved: SpectralClassifier | None = None
) -> tuple[OpenScene, Layer]:
    """The scene with one more layer: the last stage of another one, with the classes that regions make of it.

    Returned with that layer. Classes keep the numbers and colours of those that are called alike; new ones follow.

    Args:
        saved: the classifier that the request names, which then gives the classes.

    Raises:
        InputError: there is no such layer, there are too many classes to show, or as ``marks_of``, ``fit_classifier``
            and ``SpectralClassifier``.
    """
    source, _ = scene.layer(request.layer)
    cube = Scene(source.cubes[-1], scene.wavelengths, name=scene.name)
    classifier = saved or fit_classifier(cube, marks_of(request.regions, *scene.shape[1:]))
    shares = classifier.probabilities(cube)
    probabilities = np.nan_to_num(shares)
    labels = np.where(np.isfinite(shares[0]), probabilities.argmax(0), UNLABELLED)

    metrics: dict[str, Any] = dict(source.metrics)
    result = source.result
    if result is not None:
        result = classified(result, classifier, scene.truth)
        metrics = result.metrics
    elif scene.truth is not None:
        true, note = relabelled(scene.truth, classifier)
        estimate = replace(cube, classes=labels, class_names=classifier.class_names)
        metrics = {} if true is None else compared(estimate, true)
        metrics |= {} if note is None else {"class_note": note}
    classified_layer = source.classified or source.name
    layer = Layer(
        f"{classified_layer} · {request.classifier or YOURS}",
        [source.cubes[-1]], [probabilities], [labels], metrics, [metrics], source.seconds, result,
        classifier=classifier, classified=classified_layer,
    )  # fmt: skip
    scene = scene.with_layers([layer])
    if len(scene.class_names) > MOST_CLASSES:
        raise InputError(f"{len(scene.class_names)} classes are too many to show", "mark fewer")
    return scene, scene.layers[layer.name]


def summary(layer: Layer) -> str:
    """How the classes came about and what to know about them, in one line."""
    assert layer.classifier is not None
    classifier = layer.classifier
    text = f"{len(classifier.given)} classes by {classifier.kind}"
    figures = f", mIoU {layer.metrics['miou_present']:.3f}" if "miou_present" in layer.metrics else ""
    note = f"; {layer.metrics['class_note']}" if "class_note" in layer.metrics else ""
    if not layer.name.endswith(YOURS):
        return f"{text}, from {layer.name.removeprefix(f'{layer.classified} · ')}{figures}{note}"
    accuracy = {trial["kind"]: trial["accuracy"] for trial in classifier.provenance["trials"]}.get(classifier.kind)
    if accuracy is None:
        return f"{text}; mark a second place of each class to see how well they are told apart{note}"
    return f"{text}, cross-validated accuracy {accuracy:.0%}{figures}{note}"
