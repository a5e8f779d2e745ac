"""Spatial smoothing of class maps: neighbours of like spectra agree (a small conditional random field)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

RADIUS = 2  # pixels to each side that count as neighbours
ROUNDS = 5
REACH = RADIUS * ROUNDS  # pixels, how far what a pixel says is heard
DISTANCE = 1.5  # pixels, standard deviation of the weight of a neighbour
ALIKE = 4  # times the usual squared difference of neighbours, as much as counts for little


def smoothed(shares: np.ndarray, spectra: np.ndarray, strength: float, usual: float | None = None) -> np.ndarray:
    """The share of each class (K,H,W) when neighbours are heard as well.

    Mean-field steps of a conditional random field of Potts (Krähenbühl and Koltun 2011, with a window in place of all
    pairs): log q(pixel) = log share(pixel) + strength · weighted mean of q over the neighbours, and softmax. A
    neighbour weighs exp(−distance²/2σ²) · exp(−difference²/2δ²), where the difference is that of the normalised
    spectra and δ² what is usual between neighbours that differ (their median, times ``ALIKE``), so that borders stay
    where spectra change.

    Args:
        shares: float32; NaN where there is no data, which is heard by nobody.
        spectra: normalised, (C,H,W) float32.
        strength: log-odds that agreeing neighbours are worth; 0 changes nothing.
        usual: δ²; None finds it here (``usual_difference``).
    """
    if strength == 0:
        return shares
    known = np.isfinite(shares).all(0)
    evidence = np.log(np.maximum(np.where(known, shares, 1.0), 1e-6))
    moves = [
        (down, right)
        for down in range(-RADIUS, RADIUS + 1)
        for right in range(-RADIUS, RADIUS + 1)
        if (down, right) > (0, 0)  # the other half is the same pairs
    ]
    pairs = [(_overlap(known.shape, *move), move) for move in moves]
    differences = [((spectra[:, here[0], here[1]] - spectra[:, there[0], there[1]]) ** 2).sum(0)
                   for (here, there), _ in pairs]  # fmt: skip
    usual = usual_difference([spectra]) if usual is None else usual
    weights = []
    for difference, ((here, there), (down, right)) in zip(differences, pairs, strict=True):
        near = np.exp(-(down**2 + right**2) / (2 * DISTANCE**2))
        weight = near * np.exp(-difference / (2 * usual)) * (known[here] & known[there])
        weights.append(np.nan_to_num(weight).astype(np.float32))
    total = np.zeros(known.shape, np.float32)
    for weight, ((here, there), _) in zip(weights, pairs, strict=True):
        total[here] += weight
        total[there] += weight
    answer = np.where(known, shares, 0.0).astype(np.float32)
    for _ in range(ROUNDS):
        heard = np.zeros_like(answer)
        for weight, ((here, there), _) in zip(weights, pairs, strict=True):
            heard[:, here[0], here[1]] += weight * answer[:, there[0], there[1]]
            heard[:, there[0], there[1]] += weight * answer[:, here[0], here[1]]
        answer = softmax(evidence + strength * heard / np.maximum(total, 1e-6), axis=0) * known
    return np.where(known, answer, np.nan).astype(np.float32)


def usual_difference(parts: Iterable[np.ndarray]) -> float:
    """δ² of parts of a picture, normalised spectra (C,H,W): the usual squared difference of neighbours, widened.

    Neighbours that are exactly alike, as on a ground that was cut out, say nothing of what is usual.
    """
    differences = [(np.diff(spectra, axis=axis) ** 2).sum(0).ravel() for spectra in parts for axis in (1, 2)]
    nearest = np.concatenate(differences)
    nearest = nearest[np.isfinite(nearest) & (nearest > 0)]
    return max(ALIKE * float(np.median(nearest)) if nearest.size else 0.0, float(np.finfo(np.float32).tiny))


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    """Shares that sum to 1 along an axis."""
    exponents = np.exp(scores - scores.max(axis, keepdims=True))
    return exponents / exponents.sum(axis, keepdims=True)


def _overlap(size: tuple[int, ...], down: int, right: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where an image and itself moved by so many pixels lie over each other: rows and columns of both."""
    here, there = [], []
    for move, length in zip((down, right), size, strict=True):
        here.append(slice(max(0, -move), max(0, length - max(0, move))))
        there.append(slice(max(0, move), max(0, length - max(0, -move))))
    return tuple(here), tuple(there)
