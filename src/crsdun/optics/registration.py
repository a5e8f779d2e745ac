"""By how much the picture of one mask is displaced from frame to frame, and the smooth curve that this follows.

Legend: C frames · H, W detector · d displacement (down, right) in pixels.

The fine detail of a frame is compared, for it is the mask's; how bright and how evenly lit a frame is does not
matter. The whole pixels are the highest correlation, the rest is least squares: by how much must one frame be moved,
and scaled, to be the other? Both are blurred a little first, so that noise matters less, and so that it does not
matter how a displaced picture falls on pixels.

A mask that looks like itself somewhere else (a pattern that repeats, stripes) leaves open where it lies. Then the
places nearest to those of the neighbouring frames are taken, or nearest to what is expected, and the others are told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crsdun.errors import InputError

# Fine detail is what one Gaussian leaves and a wider one takes away; standard deviations in pixels.
FINE, COARSE = 1.5, 4.0
# No pixel counts for more than this many standard deviations of the detail.
STRONGEST = 4.0
# A correlation counts as found if it is so many times as high as all others usually are.
CLEAR = 8.0
# Another place explains a frame as well if it correlates, over what both see there, at least so many times as much as
# the best one, is this many pixels away, and is seen by this part of the light.
AS_WELL, APART, SEEN = 0.85, 5, 0.4
# Pixels at the border of two frames that are compared, where detail depends on what lies outside; a quarter at most.
BORDER = 12
STEPS, CLOSE_ENOUGH = 12, 1e-3
# Degrees of the polynomials that are tried, and how much better a higher one must predict frames that are left out.
# Below so many pixels all predict well enough.
DEGREES, BETTER, WELL_ENOUGH = (1, 2, 3), 0.95, 0.002
# A frame further from the curve of the others than this many pixels does not take part in it.
STRAY = 0.5
# Curves count as different from so many pixels between them on, and predict equally well within so many standard
# errors of the error of n predictions, 1/√(2n) of it each.
DIFFER, ERRORS = 0.1, 2.0


@dataclass(frozen=True)
class Displacements:
    """Where the mask lies in each frame.

    Attributes:
        moves: further down and to the right than in the first, (C,2) pixels.
        repeats: by how much further, down and right, it may as well lie in some frames, (R,2), the nearest first; a
            place and its opposite are one.
    """

    moves: np.ndarray
    repeats: np.ndarray


@dataclass(frozen=True)
class DispersionCurve:
    """The displacements of bands as a smooth function of their wavelength.

    Attributes:
        down_and_right: of each band on the curve, in pixels, (C,2).
        of: what the polynomial is one of: ``1/λ²``, ``λ`` or ``band``.
        degree: of the polynomial; None where there are too few bands for one, or they follow none.
        residuals: distance of what was measured from the curve, in pixels, length C.
        held_out: root mean square distance of each band from the curve through all others; NaN without a curve.
        strays: numbers of the bands, from 0, that took no part because they lie far from the curve of the others.
        rival: another curve that predicts bands as well, and differs most from this one, (C,2); None where all such
            agree within ``DIFFER``.
        rival_of: what it is, in words.
    """

    down_and_right: np.ndarray
    of: str
    degree: int | None
    residuals: np.ndarray
    held_out: float
    strays: tuple[int, ...] = ()
    rival: np.ndarray | None = None
    rival_of: str = ""

    @property
    def axis_degrees(self) -> float:
        """Direction from the first band to the last: 0 to the right, 90 down, in −180..180."""
        down, right = self.down_and_right[-1] - self.down_and_right[0]
        return math.degrees(math.atan2(down, right)) if math.hypot(down, right) > 0 else 0.0

    @property
    def rms(self) -> float:
        """Root mean square distance of what was measured from the curve, without strays."""
        kept = np.delete(self.residuals, list(self.strays))
        return float(np.sqrt((kept**2).mean()))


def displacements(
    frames: np.ndarray, names: Sequence[str], expected: Sequence[tuple[float, float]] | None = None
) -> Displacements:
    """By how much the mask lies further down and to the right in each frame than in the first.

    Each frame is compared with the one in the middle, then with the mean of all, moved to where that one is.

    Args:
        frames: (C,H,W), two or more pictures of one mask, without a dark level and without hot pixels.
        names: of the frames, for messages.
        expected: where it should lie, (C,2) pixels, to choose between places that explain a frame equally well.

    Raises:
        InputError: a frame shows no mask, or not that of the others.
    """
    from scipy.ndimage import shift

    details = np.stack([_detail(frame) for frame in frames])
    middle = len(details) // 2
    places = [_places(details[middle], each, name, names[middle]) for each, name in zip(details, names, strict=True)]
    lags = np.zeros((len(frames), 2))
    for band in [*range(middle - 1, -1, -1), *range(middle + 1, len(frames))]:
        near = lags[band + (1 if band < middle else -1)]
        if expected is not None:
            near = np.subtract(expected[band], expected[middle])
        lags[band] = places[band][np.hypot(*(places[band] - near).T).argmin()]
    found = np.array([_refined(details[middle], each, lag) for each, lag in zip(details, lags, strict=True)])
    common = np.mean([shift(d, -move, order=3, mode="constant") for d, move in zip(details, found, strict=True)], 0)
    found = np.array([_refined(common, detail, move) for detail, move in zip(details, found, strict=True)])
    others = [place - lag for places_of_it, lag in zip(places, lags, strict=True) for place in places_of_it]
    return Displacements(found - found[0], _distinct(others))


def _distinct(moves: Sequence[np.ndarray]) -> np.ndarray:
    """Of displacements those that are neither none nor near another or its opposite, the shortest first, (R,2)."""
    kept: list[np.ndarray] = []
    for move in sorted(moves, key=lambda move: float(np.hypot(*move))):
        if (
            min(float(np.hypot(*(sign * move - other))) for other in (*kept, np.zeros(2)) for sign in (1, -1))
            > APART / 2
        ):
            kept.append(move if tuple(move) > (0.0, 0.0) else -move)
    return np.array(kept).reshape(-1, 2)


def _detail(frame: np.ndarray) -> np.ndarray:
    """What of a frame is fine, on a scale of its own, (H,W) float64."""
    from scipy.ndimage import gaussian_filter

    frame = np.asarray(frame, dtype=np.float64)
    detail = gaussian_filter(frame, FINE) - gaussian_filter(frame, COARSE)
    scale = float(np.sqrt((detail**2).mean()))
    return np.clip(detail / scale, -STRONGEST, STRONGEST) if scale > 0 else detail


def _places(pattern: np.ndarray, frame: np.ndarray, name: str, reference: str) -> np.ndarray:
    """Whole displacements of a frame against the pattern: the best, and others that explain it as well, (P,2)."""
    from scipy.fft import irfft2, next_fast_len, rfft2
    from scipy.ndimage import maximum_filter

    size = [next_fast_len(2 * length, real=True) for length in pattern.shape]
    correlation = irfft2(rfft2(frame, size) * rfft2(pattern, size).conj(), size)
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    if not correlation[peak] > CLEAR * float(correlation.std()):
        raise InputError(
            f"{name} does not show the mask that {reference} shows",
            "give frames of one mask, each in light of one wavelength, that are neither black nor saturated",
        )
    down, right = (np.where(np.arange(full) <= full // 2, 0, -full) + np.arange(full) for full in size)
    energy = np.sqrt(_shared(frame**2, down, right) * _shared(pattern**2, -down, -right))
    seen = energy >= SEEN * float(np.sqrt((frame**2).sum() * (pattern**2).sum()))
    alike = np.where(seen, correlation / np.where(seen, energy, 1), 0)
    as_well = (alike >= AS_WELL * correlation[peak] / energy[peak]) & (
        alike == maximum_filter(alike, 2 * APART - 1, mode="wrap")
    )
    places = np.array([peak, *np.argwhere(as_well)])
    lags = np.where(places <= np.array(size) // 2, places, places - size)
    far = np.hypot(*(lags - lags[0]).T) >= APART
    far[0] = True
    return lags[far].astype(np.float64)


def _shared(squares: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of a picture the sum over what another one of its size, displaced against it, sees; for all ways, (D,R)."""
    sums = np.pad(squares.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, bottom), (left, end) = (
        (by.clip(0, length), (length + by).clip(0, length))
        for by, length in zip((down, right), squares.shape, strict=True)
    )
    corners = (
        sums[np.ix_(bottom, end)] - sums[np.ix_(top, end)] - sums[np.ix_(bottom, left)] + sums[np.ix_(top, left)]
    )
    shared: np.ndarray = np.maximum(corners, 0)
    return shared


def _refined(pattern: np.ndarray, frame: np.ndarray, move: np.ndarray) -> np.ndarray:
    """The displacement near ``move`` by which a frame, moved back and scaled, is nearest to the pattern."""
    from scipy.ndimage import shift

    whole = np.rint(move).astype(int)
    rows, columns = (_common(length, by) for length, by in zip(pattern.shape, whole, strict=True))
    here = pattern[rows[0], columns[0]]
    there = frame[rows[1], columns[1]]
    borders = [min(BORDER, length // 4) for length in here.shape]
    if not min(borders):
        return move
    inside = tuple(slice(border, -border) for border in borders)
    fraction = move - whole
    for _ in range(STEPS):
        moved = shift(there, -fraction, order=3, mode="nearest")
        design = np.stack([part[inside].ravel() for part in (moved, *np.gradient(moved))], 1)
        # Stripes have no gradient along themselves: there the least step is none.
        scale, *step = np.linalg.lstsq(design.T @ design, design.T @ here[inside].ravel(), rcond=1e-6)[0]
        step = np.clip(np.array(step) / scale, -0.5, 0.5)
        fraction = fraction + step
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return whole + np.clip(fraction, -1.5, 1.5)


def _common(length: int, by: int) -> tuple[slice, slice]:
    """The part of an axis that both see, in the pattern and in a frame displaced by so many pixels."""
    return slice(max(0, -by), length - max(0, by)), slice(max(0, by), length + min(0, by))


def dispersion_curve(moves: np.ndarray, wavelengths: Sequence[float] | None) -> DispersionCurve:
    """The polynomial in 1/λ² or λ, or in the number of the band, that predicts displacements best.

    Its degree is the least of those that predict a band from all others about as well as any. A band that lies far
    from the curve of the others is left out.

    Args:
        moves: measured displacements, (C,2).
        wavelengths: of the bands in nm, length C; None where they are unknown.
    """
    count = np.arange(len(moves), dtype=np.float64)
    axes = {"band": count}
    if wavelengths is not None:
        nanometres = np.asarray(wavelengths, dtype=np.float64)
        axes = {"1/λ²": nanometres**-2, "λ": nanometres}
    kept = list(range(len(moves)))
    strays: list[int] = []
    while True:
        fits = [
            (*_polynomial(_unit(values), moves, kept, degree), degree, name)
            for degree in DEGREES
            for name, values in axes.items()
            if len(kept) >= degree + 3
        ]
        if not fits:
            return DispersionCurve(moves, next(iter(axes)), None, np.zeros(len(moves)), math.nan)
        least = max(min(held_out for held_out, *_ in fits), WELL_ENOUGH)
        held_out, curve, degree, name = next(fit for fit in fits if BETTER * fit[0] <= least)
        residuals = np.hypot(*(moves - curve).T)
        worst = max(kept, key=lambda band: residuals[band])
        if residuals[worst] <= STRAY or len(strays) >= len(moves) // 5:
            break
        kept.remove(worst)
        strays.append(worst)
    curve = curve - curve[0]
    if residuals[kept].max() > STRAY:  # they follow no curve
        return DispersionCurve(moves, name, None, residuals, held_out)
    as_well = least * (1 + ERRORS / math.sqrt(2 * len(kept)))
    rivals = [(its - its[0], f"degree {power} in {of}") for error, its, power, of in fits if error <= as_well]
    rival, words = max(rivals, key=lambda each: _most_apart(each[0], curve), default=(curve, ""))
    if _most_apart(rival, curve) <= DIFFER:
        return DispersionCurve(curve, name, degree, residuals, held_out, tuple(sorted(strays)))
    return DispersionCurve(curve, name, degree, residuals, held_out, tuple(sorted(strays)), rival, words)


def _most_apart(curve: np.ndarray, other: np.ndarray) -> float:
    """The largest distance of a band (C,2) on two curves, in pixels."""
    return float(np.hypot(*(curve - other).T).max())


def _unit(values: np.ndarray) -> np.ndarray:
    """On −1..1."""
    return 2 * (values - values.min()) / (np.ptp(values) or 1) - 1


def _polynomial(x: np.ndarray, moves: np.ndarray, kept: list[int], degree: int) -> tuple[float, np.ndarray]:
    """The error of bands that are left out, one after the other, and the curve through those that are kept, (C,2)."""
    design = np.vander(x, degree + 1)
    inverse = np.linalg.pinv(design[kept])
    curve = design @ (inverse @ moves[kept])
    leverage = (design[kept] * inverse.T).sum(1)
    errors = (moves - curve)[kept] / np.maximum(1 - leverage, 1e-9)[:, None]
    return float(np.sqrt((errors**2).sum(1).mean())), curve
