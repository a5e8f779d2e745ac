"""By how much the picture of one mask is displaced from frame to frame, and the smooth curve that this follows.

Legend: C frames · H, W detector · d displacement (down, right) in pixels.

The fine detail of a frame is compared, for it is the mask's; how bright and how evenly lit a frame is does not
matter. The whole pixels are the highest correlation, the rest is least squares: by how much must one frame be moved,
and scaled, to be the other? Both are blurred a little first, so that noise matters less, and so that it does not
matter how a displaced picture falls on pixels.
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
# Pixels at the border of two frames that are compared, where detail depends on what lies outside; a quarter at most.
BORDER = 12
STEPS, CLOSE_ENOUGH = 12, 1e-3
# Degrees of the polynomials that are tried, and how much better a higher one must predict frames that are left out.
# Below so many pixels all predict well enough.
DEGREES, BETTER, WELL_ENOUGH = (1, 2, 3), 0.95, 0.002
# A frame further from the curve of the others than this many pixels does not take part in it.
STRAY = 0.5


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
    """

    down_and_right: np.ndarray
    of: str
    degree: int | None
    residuals: np.ndarray
    held_out: float
    strays: tuple[int, ...] = ()

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


def displacements(frames: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """By how much the mask lies further down and to the right in each frame than in the first, (C,2) pixels.

    Each frame is compared with the one in the middle, then with the mean of all, moved to where that one is.

    Args:
        frames: (C,H,W), two or more pictures of one mask, without a dark level and without hot pixels.
        names: of the frames, for messages.

    Raises:
        InputError: a frame shows no mask, or not that of the others.
    """
    from scipy.ndimage import shift

    details = np.stack([_detail(frame) for frame in frames])
    middle = details[len(details) // 2]
    found = np.array(
        [
            _displacement(middle, detail, name, names[len(names) // 2])
            for detail, name in zip(details, names, strict=True)
        ]
    )
    common = np.mean([shift(d, -move, order=3, mode="constant") for d, move in zip(details, found, strict=True)], 0)
    found = np.array([_refined(common, detail, move) for detail, move in zip(details, found, strict=True)])
    return found - found[0]


def _detail(frame: np.ndarray) -> np.ndarray:
    """What of a frame is fine, on a scale of its own, (H,W) float64."""
    from scipy.ndimage import gaussian_filter

    frame = np.asarray(frame, dtype=np.float64)
    detail = gaussian_filter(frame, FINE) - gaussian_filter(frame, COARSE)
    scale = float(np.sqrt((detail**2).mean()))
    return np.clip(detail / scale, -STRONGEST, STRONGEST) if scale > 0 else detail


def _displacement(pattern: np.ndarray, frame: np.ndarray, name: str, reference: str) -> np.ndarray:
    """Of a frame against the pattern, to a fraction of a pixel."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = [next_fast_len(2 * length, real=True) for length in pattern.shape]
    correlation = irfft2(rfft2(frame, size) * rfft2(pattern, size).conj(), size)
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    if not correlation[peak] > CLEAR * float(correlation.std()):
        raise InputError(
            f"{name} does not show the mask that {reference} shows",
            "give frames of one mask, each in light of one wavelength, that are neither black nor saturated",
        )
    lag = [at if at <= full // 2 else at - full for at, full in zip(peak, size, strict=True)]
    return _refined(pattern, frame, np.array(lag, dtype=np.float64))


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
        scale, *step = np.linalg.solve(design.T @ design, design.T @ here[inside].ravel())
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
    return DispersionCurve(curve, name, degree, residuals, held_out, tuple(sorted(strays)))


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
