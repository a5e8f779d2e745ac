"""Classes by example in a reconstruction: true classes are compared by their names, never by their numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.classifiers import fit_classifier
from crsdun.methods import Doubt
from crsdun.optics import CassiCamera
from crsdun.runtime import Reconstruction, classified
from crsdun.runtime.classification import relabelled
from crsdun.scenes import UNLABELLED, Measurement
from tests.classifiers.scenes import NAMES, SIDE, marked, painted


@pytest.fixture(scope="module")
def classifier():
    return fit_classifier(painted(), marked(painted()), "lda")


def test_classes_are_matched_by_name(classifier):
    moved = replace(painted(), classes=(painted().classes + 1) % 3, class_names=("fruit", *NAMES[:2]))
    labels, note = relabelled(moved, classifier)
    np.testing.assert_array_equal(labels, painted().classes)
    assert note is None


def test_what_the_classifier_does_not_know_counts_nowhere(classifier):
    labels, note = relabelled(replace(painted(), class_names=("background", "sea", "fruit")), classifier)
    assert note == "192 pixels of the truth are of classes that the classifier does not know, and count nowhere"
    np.testing.assert_array_equal(labels == UNLABELLED, painted().classes == 1)
    labels, note = relabelled(replace(painted(), class_names=("sky", "sea", "sand")), classifier)
    assert labels is None
    assert note == "classes are not compared: the truth knows none of those of the classifier"
    assert relabelled(replace(painted(), classes=None), classifier) == (None, None)


def test_names_are_compared_as_people_write_them(classifier):
    labels, note = relabelled(replace(painted(), class_names=("Background", "LEAF", " fruit")), classifier)
    np.testing.assert_array_equal(labels, painted().classes)
    assert note is None


def test_a_truth_without_names_is_compared_by_numbers_if_it_has_as_many_classes(classifier):
    labels, note = relabelled(replace(painted(), class_names=None), classifier)
    np.testing.assert_array_equal(labels, painted().classes)
    assert note == "class names are not compared: the truth has none; label 0 is taken for the background"
    few = replace(painted(), classes=np.minimum(painted().classes, 1), class_names=None)
    assert relabelled(few, classifier) == (
        None,
        "classes are not compared: the classifier knows 3 classes but the truth, whose classes have no names, 2",
    )


def test_a_result_has_the_classes_of_the_classifier_and_their_figures(classifier):
    scene = replace(painted(1), classes=np.zeros((SIDE, SIDE), int), class_names=("one", "of", "a network"))
    camera = CassiCamera(torch.ones(SIDE, SIDE), bands=scene.bands)
    metrics = {"data_residual": 0.1, "miou": 0.0, "class_note": "before"}
    metrics |= {"calibrated": True, "coverage": 0.95, "unknown": 1.0}
    doubt = Doubt(np.full((SIDE, SIDE), 0.5), np.ones((SIDE, SIDE)))
    frame = Measurement(np.ones((SIDE, SIDE)))
    before = Reconstruction(frame, camera, scene, None, metrics, {"method": "x"}, doubt=doubt)
    after = classified(before, classifier)
    assert after.metrics == {"data_residual": 0.1}, "nothing is left of the classes before"
    assert after.doubt is None
    assert (after.classes != UNLABELLED).all()
    assert after.scene.class_names == NAMES
    assert after.record["classes"]["marked"]["leaf"]["pixels"] == 5
    np.testing.assert_array_equal(after.scene.cube, scene.cube)
    # the truth lost its classes, since they were not those of the network
    lost = replace(before, truth=replace(painted(1), classes=None, class_names=None))
    after = classified(lost, classifier, painted(1))
    expected = (after.scene.classes == painted(1).classes).mean()
    assert after.metrics["accuracy"] == pytest.approx(expected)
    assert after.metrics["miou_present"] > 0.9
    assert after.truth.class_names == NAMES
    assert classified(lost, classifier).truth.classes is None
