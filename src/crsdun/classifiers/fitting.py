"""From marked pixels to a classifier: each kind is tried on places that it has not seen, and the best is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from crsdun import provenance
from crsdun.classifiers.classifier import SpectralClassifier
from crsdun.classifiers.kinds import KINDS
from crsdun.classifiers.marks import Marks
from crsdun.classifiers.normalisation import FEWEST_BANDS, NORMALISATIONS, floor_of
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, Scene
from crsdun.spread import spread_evenly

AUTO = "auto"
FOLDS = 5
MOST_PER_CLASS = 500  # pixels; of more, evenly spread ones are taken
SMOOTHING = 8.0  # measured, docs/classes.md


@dataclass(frozen=True)
class Trial:
    """How well a kind recognises places that it has not seen.

    Attributes:
        kind: a name in ``KINDS``.
        accuracy: share of the pixels of a place, averaged over the places of a class and then over the classes that
            are marked in several; None where there is no such class.
    """

    kind: str
    accuracy: float | None


@dataclass(frozen=True)
class Examples:
    """The spectra of marked pixels.

    Attributes:
        spectra: (n,C) float64, normalised.
        classes: (n,) places among the K classes that are marked.
        places: (n,) number of the place that each belongs to.
    """

    spectra: np.ndarray
    classes: np.ndarray
    places: np.ndarray


def fit_classifier(
    scene: Scene, marks: Marks, kind: str = AUTO, normalisation: str = "snv", smoothing: float = SMOOTHING
) -> SpectralClassifier:
    """The classifier that marked pixels of a scene make.

    Its ``provenance`` says how many pixels and places of each class were marked, and how each kind did (``trials``).

    Args:
        kind: a name in ``KINDS``; ``auto`` takes the one that recognises places it has not seen best
            (``cross_validate``), the first of them where no class is marked in two.
        normalisation: a name in ``NORMALISATIONS``.
        smoothing: strength with which neighbours are heard when it is applied; 0 for none.

    Raises:
        InputError: the marks are of another scene, or on pixels without data; there is no such kind, normalisation or
            library; or the smoothing is negative.
    """
    if kind != AUTO and kind not in KINDS:
        raise InputError(f"there is no kind {kind!r} of classifier", f"set <kind> to {AUTO} or {', '.join(KINDS)}")
    if normalisation not in NORMALISATIONS:
        raise InputError(
            f"there is no normalisation {normalisation!r}", f"set <normalisation> to {' or '.join(NORMALISATIONS)}"
        )
    if normalisation != "none" and scene.bands < FEWEST_BANDS:
        raise InputError(f"spectra of {scene.bands} bands have no shape to compare", "set <normalisation> to none")
    if not 0 <= smoothing < np.inf:
        raise InputError(f"the strength of the smoothing is {smoothing:g}", "set <smoothing> to 0 or more")
    if marks.labels.shape != scene.cube.shape[1:]:
        height, width = marks.labels.shape
        raise InputError(
            f"the marks are of a scene of {height}×{width} pixels, not of {scene.name!r} of "
            f"{scene.cube.shape[1]}×{scene.cube.shape[2]}",
            "choose those that belong to it",
        )
    given = np.unique(marks.labels[marks.marked])
    floor = floor_of([scene.cube])
    examples = examples_of(scene, marks, given, lambda spectra: NORMALISATIONS[normalisation](spectra, floor))
    if kind == AUTO:
        trials = cross_validate(examples, [name for name, each in KINDS.items() if each.available])
        kind = max(trials, key=lambda trial: -1.0 if trial.accuracy is None else trial.accuracy).kind
    else:
        KINDS[kind].require()
        trials = cross_validate(examples, [kind])
    places = marks.places()
    return SpectralClassifier(
        kind,
        marks.class_names,
        given,
        KINDS[kind].fit(examples.spectra, examples.classes),
        scene.bands,
        scene.wavelengths,
        normalisation,
        float(smoothing),
        provenance.record(
            scene={"name": scene.name, **scene.provenance},
            marked={
                marks.class_names[number]: {
                    "pixels": int((marks.labels == number).sum()),
                    "places": len(np.unique(places[marks.labels == number])),
                }
                for number in given
            },
            trials=[asdict(trial) for trial in trials],
        ),
    )


def examples_of(
    scene: Scene, marks: Marks, given: np.ndarray, normalised: Callable[[np.ndarray], np.ndarray]
) -> Examples:
    """The spectra of the marked pixels, of a class at most ``MOST_PER_CLASS``.

    Raises:
        InputError: a marked pixel holds no data.
    """
    places, chosen = marks.places(), []
    for number in given:
        pixels = np.argwhere(marks.labels == number)
        if len(pixels) > MOST_PER_CLASS:
            pixels = pixels[spread_evenly(len(pixels), MOST_PER_CLASS)]
        chosen.append(pixels)
    rows, columns = np.concatenate(chosen).T
    spectra = scene.cube[:, rows, columns].T.astype(np.float64)
    for place in np.flatnonzero(np.isnan(spectra).any(1))[:1]:
        name = marks.class_names[marks.labels[rows[place], columns[place]]]
        raise InputError(
            f"row {rows[place]}, column {columns[place]}, marked as {name!r}, holds no data", "mark another pixel"
        )
    classes = np.searchsorted(given, marks.labels[rows, columns])
    return Examples(normalised(spectra), classes, places[rows, columns])


def cross_validate(examples: Examples, kinds: list[str]) -> list[Trial]:
    """How each kind does on the places that were left out when it was fitted.

    Places are dealt to at most ``FOLDS`` folds, class by class, so that neighbouring pixels never sit on both sides.
    A class that is marked in one place alone is always fitted and never asked for.
    """
    fold = folds(examples)
    trials = []
    for kind in kinds:
        right = np.full(len(fold), np.nan)
        for each in range(fold.max(initial=UNLABELLED) + 1):
            out = fold == each
            arrays = KINDS[kind].fit(examples.spectra[~out], examples.classes[~out])
            answer = KINDS[kind].scores(arrays, examples.spectra[out]).argmax(1)
            right[out] = answer == examples.classes[out]
        trials.append(Trial(kind, _accuracy(right, examples)))
    return trials


def folds(examples: Examples) -> np.ndarray:
    """The fold of each example, (n,) from 0; ``UNLABELLED`` where a class has a single place."""
    fold = np.full(len(examples.classes), UNLABELLED)
    for number in np.unique(examples.classes):
        mine = examples.classes == number
        places, sizes = np.unique(examples.places[mine], return_counts=True)
        if len(places) == 1:
            continue
        load = np.zeros(min(FOLDS, len(places)))
        for place in np.argsort(-sizes, kind="stable"):  # the largest first, each to the emptiest fold
            least = int(load.argmin())
            load[least] += sizes[place]
            fold[mine & (examples.places == places[place])] = least
    return fold


def _accuracy(right: np.ndarray, examples: Examples) -> float | None:
    per_class = []
    for number in np.unique(examples.classes[np.isfinite(right)]):
        mine = examples.classes == number
        per_place = [right[mine & (examples.places == place)].mean() for place in np.unique(examples.places[mine])]
        per_class.append(np.mean(per_place))
    return float(np.mean(per_class)) if per_class else None
