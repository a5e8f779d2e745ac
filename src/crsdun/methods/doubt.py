"""How far a class map can be believed, pixel by pixel: calibrated confidences, and pixels unlike all that was learnt.

A softmax tells how much better the best of the known classes fits than the second best. Divided by a temperature that
is fitted on scenes the network has not learnt from, it is the probability of being right (Guo et al., "On calibration
of modern neural networks", ICML 2017). It says nothing of a pixel that belongs to no class at all. So each class also
has a normal distribution of what its pixels look like, spectrum and logits, as means over small squares (after Lee et
al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018), and a pixel that lies far
outside that of the class it is given is doubtful, however sure the softmax.

Both become one number, the doubt: the share of the pixels of those scenes that were less doubtful. Pixels with a
doubt above a coverage are unknown; of scenes like those, the coverage is the share that stays known.

Legend: C bands · N classes · H, W scene · F = C + N features · n pixels.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.start import on_bands, resampling
from crsdun.optics import ClassCalibration, Estimate, ModelCard

COVERAGE = 0.95
# Ranks at which the calibration keeps its values; finer where coverages lie.
LEVELS = (0, *(k / 20 for k in range(1, 18)), *(k / 100 for k in range(86, 100)), 0.995, 0.999, 1.0)
# A spectrum is divided by its mean plus this, so that dark pixels do not become noise.
DARK = 0.05
# Spectra and logits are means over squares of this many pixels, which have less noise than one.
SQUARE = 5
# A class leans on the spread of all classes as if it had so many more pixels of it.
LEAN = 200
# Added to variances, relative to those of all pixels.
RIDGE = 1e-3
# Least variance of a feature, so that whiteners stay within what float16 holds.
SMALLEST = 1e-5
# Rank of what lies beyond everything seen, such as pixels of a class that no scene had.
BEYOND = 6e4


@dataclass(frozen=True)
class Doubt:
    """How far the class of each pixel can be believed.

    Attributes:
        confidence: probability that the class is right, (H,W) float32, 0..1; without a calibration only the largest
            softmax, which is no probability.
        doubt: share of the pixels of the calibration that were less doubtful, (H,W) float32, 0..1; None without one.
        coverage: pixels with more doubt than this are unknown.
    """

    confidence: np.ndarray
    doubt: np.ndarray | None = None
    coverage: float = COVERAGE

    @property
    def unknown(self) -> np.ndarray | None:
        """Where the class should not be believed, (H,W) bool; None without a calibration."""
        return None if self.doubt is None else self.doubt > self.coverage


def doubt_of(
    estimate: Estimate,
    card: ModelCard,
    wavelengths: tuple[float, ...] | None = None,
    coverage: float = COVERAGE,
) -> Doubt | None:
    """The doubt of the last stage of an estimate, the first of its batch; None where it has no class map.

    Args:
        estimate: bands by ascending wavelength, as ``run_method`` returns it.
        card: of the method, with its calibration if there is one.
        wavelengths: of the bands in nm; None takes those of the card.
        coverage: as in ``Doubt``.

    Raises:
        InputError: the calibration belongs to other bands or classes.
    """
    cube, theta = estimate.stages[-1]
    if theta is None:
        return None
    logits, known = theta[0].float(), card.calibration
    confidence = probabilities(logits, card).amax(0).cpu().numpy()
    if known is None:
        return Doubt(confidence, coverage=coverage)
    features = seen(cube[0].float(), logits, wavelengths, card.wavelengths)
    nearest = logits.argmax(0).flatten()
    odds = log_odds(logits.flatten(1).T / known.temperature)
    distributions = (each.to(logits) for each in unpacked(known, len(logits), len(features)))
    distance = distances(features.flatten(1).T, nearest, *distributions)
    larger = torch.maximum(rank(odds, known.chance), rank(distance, known.distance))
    return Doubt(confidence, rank(larger, known.doubt).view(logits.shape[1:]).cpu().numpy(), coverage)


class DoubtByRows:
    """``doubt_of`` an estimate whose rows come from top to bottom; each waits for the rows below that its square has.

    Args:
        card, wavelengths, coverage: as in ``doubt_of``.
        top: the first row that comes. Unless it is 0, the first rows only tell of those below.
    """

    CONTEXT = SQUARE // 2

    def __init__(
        self, card: ModelCard, wavelengths: tuple[float, ...] | None, coverage: float = COVERAGE, top: int = 0
    ):
        self.card, self.wavelengths, self.coverage = card, wavelengths, coverage
        self.next = top + self.CONTEXT if top else 0
        self._held: list[Tensor] = []  # cube and logits
        self._end = top

    def add(self, cube: Tensor, logits: Tensor, is_last: bool) -> tuple[int, Doubt]:
        """The first row that can be told now, and the doubt from there on (rows,W); there may be no rows.

        Args:
            cube, logits: the next rows, (C,rows,W) and (N,rows,W).
            is_last: whether the frame ends here.
        """
        here = [cube, logits]
        if self._held:
            here = [torch.cat(pair, 1) for pair in zip(self._held, here, strict=True)]
        self._end += cube.shape[1]
        first = self._end - here[0].shape[1]
        top, bottom = self.next, max(self.next, self._end - (0 if is_last else self.CONTEXT))
        found = doubt_of(Estimate([here[0][None]], [here[1][None]]), self.card, self.wavelengths, self.coverage)
        assert found is not None
        rows = slice(top - first, bottom - first)
        doubt = None if found.doubt is None else found.doubt[rows]
        self.next = bottom
        self._held = [each[:, max(bottom - self.CONTEXT - first, 0) :].clone() for each in here]
        return top, Doubt(found.confidence[rows], doubt, self.coverage)


def probabilities(logits: Tensor, card: ModelCard) -> Tensor:
    """The softmax of logits (N,...), at the temperature of a card where it has one, (N,...)."""
    return (logits / (1.0 if card.calibration is None else card.calibration.temperature)).softmax(0)


# -- what is compared ----------------------------------------------------------------------------------------------


def seen(
    cube: Tensor, logits: Tensor, wavelengths: tuple[float, ...] | None, known: tuple[float, ...] | None
) -> Tensor:
    """The features (F,H,W) of each pixel: shape of its spectrum on the bands ``known``, and its logits."""
    cube = on_bands(cube[None], resampling(wavelengths, known, cube))[0]
    cube, logits = (
        F.avg_pool2d(each[None], SQUARE, 1, SQUARE // 2, count_include_pad=False)[0] for each in (cube, logits)
    )
    shape = cube / (cube.mean(0, keepdim=True).clamp(min=0) + DARK) - 1
    return torch.cat([shape, logits])


def log_odds(logits: Tensor) -> Tensor:
    """Logarithm of the odds that the most probable class is wrong, of logits (n,N), (n,)."""
    top, place = logits.max(1)
    others = logits.scatter(1, place[:, None], -math.inf)
    return others.logsumexp(1) - top


def odds_scale(logits: Tensor) -> Tensor:
    """The log odds of logits (N,H,W), −20 to 20, as 0..1, (H,W): a doubt that compares pixels, without a coverage."""
    odds = log_odds(logits.float().flatten(1).T).view(logits.shape[1:])
    return ((odds + 20) / 40).clamp(0, 1)


def distances(features: Tensor, nearest: Tensor, means: Tensor, whiteners: Tensor) -> Tensor:
    """Distance of features (n,F) from the pixels of their class, in standard deviations per feature, (n,).

    Args:
        nearest: (n,) the class of each.
        means: (N,F), of the pixels of each class; NaN where there were none.
        whiteners: (N,F,F), which make the distribution of a class a standard one.
    """
    found = features.new_full(nearest.shape, BEYOND)
    for number in nearest.unique().tolist():
        here = nearest == number
        if not bool(means[number].isnan().any()):
            white = (features[here] - means[number]) @ whiteners[number].T
            found[here] = white.square().mean(1).sqrt()
    return found


def rank(values: Tensor, table: tuple[float, ...]) -> Tensor:
    """The share of pixels of the calibration below each value, by linear interpolation of its table."""
    known = torch.tensor(table, dtype=torch.float64, device=values.device)
    levels = torch.tensor(LEVELS, dtype=torch.float64, device=values.device)
    wanted = values.double().contiguous()
    right = torch.searchsorted(known, wanted).clamp(1, len(table) - 1)
    below, above = known[right - 1], known[right]
    part = ((wanted - below) / (above - below).clamp(min=torch.finfo(torch.float64).tiny)).clamp(0, 1)
    return (levels[right - 1] + part * (levels[right] - levels[right - 1])).float()


# -- how it is found -----------------------------------------------------------------------------------------------


def calibrated(logits: Tensor, features: Tensor, truth: Tensor, **made_from: object) -> ClassCalibration:
    """The calibration from pixels of scenes that a network has not learnt from.

    Args:
        logits: (n,N).
        features: (n,F), as ``seen``.
        truth: (n,) the true classes, 0..N−1.
        **made_from: as in ``ClassCalibration``.

    Raises:
        InputError: there are fewer than a hundred pixels.
    """
    if len(truth) < 100:
        raise InputError(f"{len(truth)} labelled pixels are too few to calibrate confidences", "use more scenes")
    temperature = fitted_temperature(logits, truth)
    means, whiteners = _distributions(features.double(), truth, logits.shape[1])
    lower = torch.tril_indices(features.shape[1], features.shape[1])
    packed = _pack(means), _pack(whiteners[:, lower[0], lower[1]])
    # From here on as they are read back.
    known = ClassCalibration(temperature, *packed, (), (), ())
    odds = log_odds(logits / temperature)
    distance = distances(features, logits.argmax(1), *unpacked(known, logits.shape[1], features.shape[1]))
    chance, far = _table(odds), _table(distance)
    larger = torch.maximum(rank(odds, chance), rank(distance, far))
    return ClassCalibration(temperature, *packed, chance, far, _table(larger), dict(made_from))


def fitted_temperature(logits: Tensor, truth: Tensor) -> float:
    """The temperature with the least cross-entropy of logits (n,N), within 1/20..20."""
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return float(F.cross_entropy(logits / math.exp(logarithm), truth))

    found = minimize_scalar(loss, bounds=(-math.log(20), math.log(20)), method="bounded", options={"xatol": 1e-3})
    return round(math.exp(float(found.x)), 5)


def _distributions(features: Tensor, truth: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Means (N,F) and lower triangular whiteners (N,F,F) of each class."""
    count = features.shape[1]
    total = features.var(0).clamp(min=SMALLEST)
    means = features.new_full((classes, count), math.nan)
    scatter = features.new_zeros(classes, count, count)
    pixels = torch.bincount(truth, minlength=classes)
    for number in range(classes):
        if pixels[number]:
            each = features[truth == number]
            means[number] = each.mean(0)
            scatter[number] = (each - means[number]).mT @ (each - means[number])
    pooled = scatter.sum(0) / pixels.sum()
    spread = (scatter + LEAN * pooled) / (pixels + LEAN)[:, None, None] + RIDGE * torch.diag(total)
    return means, torch.linalg.inv(torch.linalg.cholesky(spread))


def _table(values: Tensor) -> tuple[float, ...]:
    found = np.quantile(values.double().cpu().numpy(), LEVELS)
    return tuple(float(f"{value:.6g}") for value in found)


# -- arrays in a header --------------------------------------------------------------------------------------------


def unpacked(known: ClassCalibration, classes: int, count: int) -> tuple[Tensor, Tensor]:
    """Means (N,F) and whiteners (N,F,F) of a calibration.

    Raises:
        InputError: they belong to other numbers of classes or features.
    """
    lower = torch.tril_indices(count, count)
    means, triangles = _unpack(known.means), _unpack(known.whiteners)
    tables = {len(table) for table in (known.chance, known.distance, known.doubt)} - {0}
    if (
        means.numel() != classes * count
        or triangles.numel() != classes * lower.shape[1]
        or not tables <= {len(LEVELS)}
    ):
        raise InputError(
            f"the calibration of these weights is not one of {classes} classes and {count} features",
            "calibrate them again",
        )
    whiteners = means.new_zeros(classes, count, count)
    whiteners[:, lower[0], lower[1]] = triangles.view(classes, -1)
    return means.view(classes, count), whiteners


def _pack(values: Tensor) -> str:
    """Float16, as base64."""
    return base64.b64encode(np.ascontiguousarray(values.cpu().numpy(), dtype="<f2").tobytes()).decode()


def _unpack(text: str) -> Tensor:
    try:
        data = base64.b64decode(text, validate=True)
        return torch.from_numpy(np.frombuffer(data, dtype="<f2").astype(np.float32))
    except ValueError as error:
        raise InputError("the calibration of these weights is damaged", "calibrate them again") from error
