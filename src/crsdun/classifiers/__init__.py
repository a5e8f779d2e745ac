"""Classes by example: a few marked pixels of a cube become a classifier of spectra, and that gives class maps.

``fit_classifier(scene, marks)`` chooses and fits it, ``classifier.classify(scene)`` gives the class map of any cube,
``save_classifier`` and ``load_classifier`` keep it in a file of plain arrays.
"""

from crsdun.classifiers.classifier import SpectralClassifier
from crsdun.classifiers.files import load_classifier, save_classifier
from crsdun.classifiers.fitting import AUTO, Trial, fit_classifier
from crsdun.classifiers.kinds import KINDS
from crsdun.classifiers.marks import Marks, read_points
from crsdun.classifiers.normalisation import NORMALISATIONS

__all__ = [
    "AUTO",
    "KINDS",
    "NORMALISATIONS",
    "Marks",
    "SpectralClassifier",
    "Trial",
    "fit_classifier",
    "load_classifier",
    "read_points",
    "save_classifier",
]
