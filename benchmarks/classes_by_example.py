"""What a few marked pixels of each class give on reconstructed test scenes of Produce-23 (docs/classes.md).

    python benchmarks/classes_by_example.py [PICTURE.png]

Prints, for each kind of classifier with and without smoothing, the mean over scenes and draws of mIoU of the classes
present, of the accuracy, and of the accuracy on marked places that were left out.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
from scipy import ndimage

from crsdun.classifiers import KINDS, Marks, SpectralClassifier, fit_classifier
from crsdun.classifiers.fitting import SMOOTHING
from crsdun.optics import Exposure, SensorNoise, random_mask
from crsdun.runtime import Preparation, decode, open_method, simulate
from crsdun.runtime.classification import compared, relabelled
from crsdun.scenes import UNLABELLED, Scene, open_set
from crsdun.viewing.figures import class_map

SCENES, DRAWS, PIXELS, BORDER = (0, 7, 19), (0, 1), 5, 2


def main() -> None:
    figures = defaultdict(list)
    for index in SCENES:
        truth = open_set("produce", "test")[index]
        estimate = reconstructed(truth)
        for seed in DRAWS:
            marks = drawn(truth, seed)
            fitted = {kind: fit_classifier(estimate, marks, kind) for kind in KINDS}
            left_out = {kind: each.provenance["trials"][0]["accuracy"] for kind, each in fitted.items()}
            fitted["auto"] = fitted[max(left_out, key=left_out.__getitem__)]
            left_out["auto"] = max(left_out.values())
            for kind, classifier in fitted.items():
                for smoothing in (0.0, SMOOTHING):
                    row = judged(replace(classifier, smoothing=smoothing), estimate, truth)
                    figures[kind, f"smoothing {smoothing:g}"].append((*row, left_out[kind]))
            for kind in ("lda", "logistic"):
                raw = fit_classifier(estimate, marks, kind, normalisation="none")
                accuracy = raw.provenance["trials"][0]["accuracy"]
                figures[kind, "normalisation none"].append((*judged(raw, estimate, truth), accuracy))
            if (index, seed) == (SCENES[0], DRAWS[0]) and len(sys.argv) > 1:
                found = fitted["auto"].classify(estimate)
                class_map(found.classes, found.class_names, sys.argv[1])
    print(f"{'kind':10} {'':20} mIoU   accuracy  left out")
    for (kind, how), rows in sorted(figures.items()):
        miou, accuracy, left = np.mean(rows, axis=0)
        print(f"{kind:10} {how:20} {miou:.3f}  {accuracy:.1%}     {left:.1%}")


def reconstructed(truth: Scene) -> Scene:
    """The scene as ``lr-tv`` reconstructs it from a noisy measurement."""
    height, width = truth.cube.shape[1:]
    noise = SensorNoise(photons=1000, read_sigma=0.01)
    prepared = Preparation().prepare(simulate(truth, Exposure(random_mask(height, width), noise=noise)))
    return decode(prepared, open_method("lr-tv")).scene


def drawn(truth: Scene, seed: int) -> Marks:
    """Pixels of each class at random, away from its border where it is large enough."""
    rng, labels = np.random.default_rng(seed), np.full(truth.classes.shape, UNLABELLED)
    for number in np.unique(truth.classes):
        mask = truth.classes == number
        inner = ndimage.binary_erosion(mask, iterations=BORDER)
        pixels = np.argwhere(inner if inner.sum() >= PIXELS else mask)
        rows, columns = pixels[rng.choice(len(pixels), min(PIXELS, len(pixels)), replace=False)].T
        labels[rows, columns] = number
    return Marks.of_labels(labels, truth.class_names)


def judged(classifier: SpectralClassifier, estimate: Scene, truth: Scene) -> tuple[float, float]:
    """mIoU of the classes present, and accuracy."""
    figures = compared(classifier.classify(estimate), relabelled(truth, classifier)[0])
    return figures["miou_present"], figures["accuracy"]


if __name__ == "__main__":
    main()
