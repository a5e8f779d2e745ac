"""The kinds of classifiers: how each is fitted to example spectra, and what it says of others.

What was fitted is a dictionary of plain arrays, which a file can hold. Every kind answers with log-probabilities up
to a constant for each spectrum, so that their softmax is the share of each class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from crsdun.classifiers import trees
from crsdun.errors import InputError

Arrays = dict[str, np.ndarray]
FLATTEST = 1e-9  # standard deviation of a feature relative to the largest value; what varies less says nothing
NARROWEST = np.deg2rad(0.5)  # spread of the angles of a class, where its examples are alike or it has one
LOGISTIC_C = 100.0  # inverse strength of the penalty on standardised features
TREES = {"n_estimators": 60, "max_depth": 2, "learning_rate": 0.15, "subsample": 0.7, "max_features": "sqrt"}


@dataclass(frozen=True)
class Kind:
    """A kind of classifier.

    Attributes:
        title: what it is called in sentences.
        fit: normalised spectra (n,C) float64 and their places among K classes (n,) → arrays.
        scores: arrays and normalised spectra (n,C) → log-probabilities (n,K) up to a constant per spectrum.
        check: raises an InputError unless arrays from a file are of K classes and C bands (``arrays, K, C``).
        needs: the library that fits it, of the extra ``classes``; None where NumPy does. None is needed to apply it.
    """

    title: str
    fit: Callable[[np.ndarray, np.ndarray], Arrays]
    scores: Callable[[Arrays, np.ndarray], np.ndarray]
    check: Callable[[Arrays, int, int], None]
    needs: str | None = None

    @property
    def available(self) -> bool:
        """Whether it can be fitted on this machine."""
        return self.needs is None or find_spec(self.needs) is not None

    def require(self) -> None:
        """Raise an InputError unless it can be fitted on this machine."""
        if not self.available:
            raise InputError(
                f"scikit-learn, which fits {self.title}, is not installed",
                'pip install "crsdun[classes]", or choose another <kind>',
            )


# -- spectral angle ---------------------------------------------------------------------------------------------


def fit_angle(spectra: np.ndarray, places: np.ndarray) -> Arrays:
    """The mean direction of each class, and how widely its examples spread around it (Kruse et al. 1993).

    On spectra normalised by ``snv`` the angle is that of their correlation.
    """
    directions = _unit(spectra)
    references = _unit(class_means(directions, places))
    angles = np.arccos(np.clip((directions * references[places]).sum(1), -1, 1))
    spread = np.sqrt(np.mean(angles**2))
    return {"references": references, "spread": np.array([max(spread, NARROWEST)])}


def angle_scores(arrays: Arrays, spectra: np.ndarray) -> np.ndarray:
    angles = np.arccos(np.clip(_unit(spectra) @ arrays["references"].T, -1, 1))
    return -0.5 * (angles / arrays["spread"]) ** 2


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(float).tiny)


# -- linear: discriminant analysis and logistic regression ------------------------------------------------------


def fit_lda(spectra: np.ndarray, places: np.ndarray) -> Arrays:
    """Linear discriminant analysis with equal priors and the covariance of ``ledoit_wolf`` (Fisher 1936).

    Its answer is as good with fewer examples than bands, which is the rule here.
    """
    middle, scale = _standard(spectra)
    features = (spectra - middle) / scale
    means = class_means(features, places)
    covariance = ledoit_wolf(features - means[places])
    weights = np.linalg.solve(covariance, means.T).T
    return _folded(weights, -0.5 * (weights * means).sum(1), middle, scale)


def ledoit_wolf(residuals: np.ndarray) -> np.ndarray:
    """The covariance (C,C) of vectors (n,C) of mean zero, drawn towards a multiple of the identity.

    By as much as is best on average (Ledoit and Wolf, Journal of Multivariate Analysis 88, 2004); never singular.
    """
    count, bands = residuals.shape
    sample = residuals.T @ residuals / count
    level = max(float(np.trace(sample)) / bands, FLATTEST)
    identity = level * np.eye(bands)
    distance = ((sample - identity) ** 2).sum()
    error = ((residuals**2).sum(1) ** 2).mean() / count - (sample**2).sum() / count
    shrinkage = 1.0 if distance <= 0 else min(max(error / distance, 1e-6), 1.0)
    return (1 - shrinkage) * sample + shrinkage * identity


def fit_logistic(spectra: np.ndarray, places: np.ndarray) -> Arrays:
    """Multinomial logistic regression of scikit-learn on standardised features, all classes weighing the same."""
    from sklearn.linear_model import LogisticRegression

    middle, scale = _standard(spectra)
    model = LogisticRegression(C=LOGISTIC_C, class_weight="balanced", max_iter=2000)
    model.fit((spectra - middle) / scale, places)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # of two classes it has the log-odds of the second alone
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return _folded(weights, bias, middle, scale)


def linear_scores(arrays: Arrays, spectra: np.ndarray) -> np.ndarray:
    return spectra @ arrays["weights"].T + arrays["bias"]


def _standard(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return spectra.mean(0), np.maximum(spectra.std(0), FLATTEST * _unit_of(spectra))


def _unit_of(spectra: np.ndarray) -> float:
    """A power of two, by which numbers are divided without rounding, of the size of the largest value."""
    largest = float(np.abs(spectra).max())
    return 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0


def _folded(weights: np.ndarray, bias: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> Arrays:
    """Weights for spectra as they come, from those for standardised ones."""
    weights = weights / scale
    return {"weights": weights, "bias": bias - weights @ middle}


# -- boosted trees ----------------------------------------------------------------------------------------------


def fit_trees(spectra: np.ndarray, places: np.ndarray) -> Arrays:
    """Gradient-boosted trees of scikit-learn, all classes weighing the same, as tables of nodes (``trees``)."""
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(**TREES, random_state=0)
    counts = np.bincount(places)
    unit = _unit_of(spectra)  # or what differs by less than 1e-7 is the same to scikit-learn
    model.fit(spectra / unit, places, sample_weight=len(places) / len(counts) / counts[places])
    arrays = trees.tables(model, spectra[:1] / unit)
    return arrays | {"threshold": arrays["threshold"] * np.float32(unit)}


# -- what files may hold ----------------------------------------------------------------------------------------


def class_means(features: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Mean of each class, (K,C)."""
    return np.stack([features[places == place].mean(0) for place in range(places.max() + 1)])


def _check_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
            found = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise InputError(f"{name} should hold finite numbers of shape {shape}, not {found}")


def check_angle(arrays: Arrays, classes: int, bands: int) -> None:
    _check_shapes(arrays, {"references": (classes, bands), "spread": (1,)})
    if arrays["spread"][0] <= 0:
        raise InputError("spread should be positive")


def check_linear(arrays: Arrays, classes: int, bands: int) -> None:
    _check_shapes(arrays, {"weights": (classes, bands), "bias": (classes,)})


# In the order in which they are preferred where cross-validation cannot tell.
KINDS: dict[str, Kind] = {
    "lda": Kind("linear discriminant analysis", fit_lda, linear_scores, check_linear),
    "logistic": Kind("logistic regression", fit_logistic, linear_scores, check_linear, "sklearn"),
    "trees": Kind("gradient-boosted trees", fit_trees, trees.scores, trees.check, "sklearn"),
    "angle": Kind("the spectral angle", fit_angle, angle_scores, check_angle),
}
