"""By how much the mask has moved since it was measured, from the exposures themselves.

Legend: B batch · C bands · H, W scene · Wm measurement width · N = H Wm detector pixels · y measurement (B,H,Wm)
· M mask · s = (down, right) displacement of the mask in pixels · l a whole-pixel displacement, (down, right).

A scene is smooth where the mask is not, so the fine detail of an exposure is that of the mask, once for each band at
the band's place:

    h(y) ≈ Σ_c a_c Φ_c(s),        Φ_c(s) = P shift_c(h(M(s))),

with h what a small blur takes away, P what light meets behind the prism, and a_c the mean brightness of band c. No
scene has to be decoded, so none can take in the error of the mask. P is about the same everywhere within reach, so Φ
moves with M. M(s) interpolates M between pixels, hence Φ(s) = Σ_l w_l(s) Φ(l), and all that the
least squares over a need,

    b_c = Σ_pixels Φ_c h(y)      and      G_cd = Σ_pixels Φ_c Φ_d,

follows for every s from what they are at whole-pixel displacements. The s that explains most is the answer.

Optics also smear the code, which M(s) does as well between two pixels. So that a smear is not taken for a
displacement, M(s) is smeared as well, by (β, 1−2β, β) along each axis, as much as explains most.

Along the dispersion, a mask moved by the step explains the same as one that has not moved, with spectra moved by one
band: only the light of the first or the last band tells the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Validity, moved_mask
from crsdun.optics.masks import Edge
from crsdun.solvers.solver import check_measurement

# h takes away the mean of a square of the first size; its result is divided by its size in squares of the second.
DETAIL, NEIGHBOURHOOD = 5, 33
# No part of a frame counts as if it had less detail than this, relative to the whole.
LEAST_DETAIL = 0.1
# Of the diagonal of G: keeps a finite where bands fall on each other.
RIDGE = 1e-3
TINY = 1e-30  # what is divided by, where there is nothing
# Systems of equations that are solved together: each takes C² numbers.
AT_ONCE = 128
# β in the first search, and its largest value.
SMEARS, MOST_SMEAR = (0.0, 0.125, 0.25), 1 / 3
# Pixels between the displacements of the first search, and of the last.
COARSE, FINE = 0.5, 0.01
# The search goes on in steps of one length while these raise the score by this part.
LEAST_GAIN = 1e-5
# Below this many pixels a mask counts as not moved: decoding does not suffer, and estimates of small
# frames err by it.
LEAST_SHIFT = 0.05
# A displacement must explain more than none by this much (2 log-likelihood) and by this factor: the first where the
# code is sharp, with a smear of less than SHARP, the second where it is smeared.
CLEAR, CLEARER, SHARP = 30.0, (1.003, 1.01), 0.05
# Frames whose score is not above this for each frame and band show no code; the second part falls with the root of
# the number of frames. A frame of another mask reaches 10.
CODE = 5.0, 11.0
# Of places that explain the same, the nearest: the score loses this part for each pixel of displacement.
NEARER = 1e-3
# Where the detector has less light than this part of what is next to it, the border of the mask is closed: of the
# light that comes in from beside the mask, where some comes through what has been told.
DARK = 0.2
# Detector pixels tell of the border if at most this part of their light comes from elsewhere, as through a blur.
ELSEWHERE = 0.05


@dataclass(frozen=True)
class Shift:
    """By how much a mask has moved.

    Attributes:
        down, right: in pixels; 0 where it is not significant.
        significant: whether the frames show that the mask has moved.
        explained: part of the frames' fine detail that is the mask's where it is now, 0..1.
        gain: by how much this is more than the part that is the unmoved mask's.
    """

    down: float
    right: float
    significant: bool
    explained: float
    gain: float


@torch.no_grad()
def align(measurement: Tensor, camera: CassiCamera, reach: int = 2) -> tuple[CassiCamera, Shift]:
    """The camera with its mask where the measurement says it is.

    What comes in at the border when the mask moves has not been told: nothing, where the frames are as dark there as
    that makes them. If they are not, rows are closed, so that solvers leave them out, and columns repeat the
    outermost one that is known. Of columns it can be seen only at the outermost detector pixels, since every other
    one collects the light of other bands as well.

    Args:
        measurement: y, (B,H,Wm) floating point, in any units; all frames were taken with the same camera.
        camera: the camera as it was told.
        reach: the mask has moved by at most this many pixels along each axis.

    Returns:
        The camera, itself where no displacement is significant, and the displacement.

    Raises:
        InputError: y has another shape or type, or contains NaN or infinity, or reach is below 1.
    """
    check_measurement(measurement, camera)
    if reach < 1:
        raise InputError(f"reach must be at least 1 pixel, not {reach}")
    measurement = camera.counted(measurement)
    detail = _Detail(measurement, camera.to(measurement), reach)
    here, there = detail.search(moves=(False, False)), detail.search()
    count = len(measurement)
    code = shows_code(there.score, camera.bands, count)
    shown = [code and _is_shown(detail, there, axis) for axis in (0, 1)]
    if not any(shown):
        return camera, Shift(0.0, 0.0, False, here.explained, 0.0)
    keep = [seen or (code and _is_needed(detail, there, axis)) for axis, seen in enumerate(shown)]
    if not all(keep):
        there = detail.search(moves=(keep[0], keep[1]))
    shift = Shift(there.down, there.right, True, there.explained, there.explained - here.explained)
    return camera.with_mask(_moved_mask(measurement, camera, shift), (shift.down, shift.right)), shift


def _is_shown(detail: _Detail, there: _Place, axis: int) -> bool:
    """Whether the best place shows that the mask has moved along an axis."""
    if abs(there.shift[axis]) < LEAST_SHIFT:
        return False
    # Without smear along this axis, against as much as explains most where the mask has not moved.
    others = (axis != 0, axis != 1)
    clearer = CLEARER[0] if there.smear[axis] < SHARP else CLEARER[1]
    return detail.search(smears=others).score > clearer * detail.search(moves=others).score + CLEAR


def _is_needed(detail: _Detail, there: _Place, axis: int) -> bool:
    """Whether a mask that has moved along the other axis has moved along this one too, which alone shows too little.

    Behind a smeared code such an axis may look displaced; behind a sharp one, a code as sharp that has not moved must
    explain clearly less.
    """
    if abs(there.shift[axis]) < LEAST_SHIFT or max(there.smear) >= SHARP:
        return False
    others = (axis != 0, axis != 1)
    return there.score > CLEARER[0] * detail.search(moves=others, smears=others).score + CLEAR


def _moved_mask(y: Tensor, camera: CassiCamera, shift: Shift) -> Tensor:
    """M displaced, its border as ``align`` says."""
    mask = camera.mask.cpu().numpy()
    rows, columns = torch.zeros(2, *mask.shape[-2:], dtype=torch.bool, device=camera.mask.device)
    rows[_untold(shift.down, camera.height)] = True
    columns[:, _untold(shift.right, camera.width)] = True
    return with_border(y, camera, lambda edge: moved_mask(mask, shift.down, shift.right, edge=edge), rows, columns)


def with_border(
    y: Tensor, camera: CassiCamera, moved: Callable[[Edge], np.ndarray], rows: Tensor, columns: Tensor
) -> Tensor:
    """A displaced mask, what comes in at its border as ``align`` says, by frames y (B,H,Wm).

    Args:
        moved: the displaced mask, by what comes in.
        rows, columns: where it comes in from above or below and from beside what was told, bool (H,W).
    """
    closed, repeated = (torch.from_numpy(moved(edge)).to(camera.mask) for edge in ("closed", "nearest"))
    reach = 2 * int(max(rows.sum(0).max(), columns.sum(1).max())) + 1
    if not camera.along_rows:  # rows share light with others, as columns do
        rows, columns = torch.zeros_like(rows), rows | columns
    mask = closed if _is_dark(y, camera, closed, repeated, columns, reach) else repeated
    return torch.where(rows, closed * _is_dark(y, camera, closed, repeated, rows, reach), mask)


def _is_dark(y: Tensor, camera: CassiCamera, closed: Tensor, repeated: Tensor, border: Tensor, reach: int) -> bool:
    """Whether frames (B,H,Wm) are as dark at a border (H,W), beside what is within reach, as a ``closed`` one is."""
    told = torch.where(border, 0, repeated)
    light, least, rest = (camera.with_mask(mask).open_light for mask in (repeated, closed, told))
    # Detector pixels with hardly any light but from the border, and their neighbours: is there less in the former?
    counts = camera.counted_pixels
    outer = (light > 0) & (rest <= ELSEWHERE * light) & counts
    near = F.max_pool2d(outer[None].to(light), 2 * reach + 1, 1, reach)[0] > 0
    y = y.to(light).mean(0)
    outside, inside = (float(y[part].sum() / light[part].sum()) for part in (outer, near & ~outer & counts))
    part = float(least[outer].sum() / light[outer].sum())  # of the light of a mask that goes on
    return outside < (part + DARK * (1 - part)) * inside


def _untold(move: float, size: int) -> slice:
    """The rows or columns that come in when a mask of this size moves."""
    count = max(0, math.ceil(abs(move) - LEAST_SHIFT))
    return slice(0, count) if move > 0 else slice(size - count, size)


@dataclass(frozen=True, order=True)
class _Place:
    """Where the mask may be; ordered by ``score``, of how much is explained there in units of what is not."""

    score: float
    explained: float
    down: float
    right: float
    smear_down: float
    smear_right: float

    @property
    def shift(self) -> tuple[float, float]:
        return self.down, self.right

    @property
    def smear(self) -> tuple[float, float]:
        return self.smear_down, self.smear_right


class _Detail:
    """What of the fine detail of frames the mask explains, wherever it is."""

    def __init__(self, y: Tensor, camera: CassiCamera, reach: int):
        C, margin = camera.bands, reach + 2
        self.reach, self.most_lag = reach, reach + 1  # one more for the smear
        # What does not count is no part of Φ: it does not move with the mask.
        optics = camera.with_parts(*(part for part in camera.parts if not isinstance(part, Validity)))
        h = fine_detail(y, camera.counted_pixels)
        # Away from the border of the mask, where no displacement within reach needs what has not been told.
        inside = inner_code(camera.mask, margin)
        dispersed = optics.each_band(inside.expand(C, -1, -1))
        # Φ shall be 0 at the border of the detector, so that displacing it is moving along N.
        phi = _inner(dispersed, self.most_lag).flatten(1)  # (C,N)
        width, lags = h.shape[-1], range(-self.most_lag, self.most_lag + 1)
        pad = self.most_lag * (width + 1)
        flat = F.pad(h.flatten(1), (pad, pad))  # (B,N+2·pad)
        N = phi.shape[1]
        rows = []
        for down in lags:
            starts = [pad + down * width + right for right in lags]
            moved = torch.stack([flat[:, start : start + N] for start in starts])  # (lags,B,N)
            rows.append((moved.flatten(0, 1) @ phi.mT).view(len(starts), len(y), C))
        self.b = torch.stack(rows).double().cpu()  # (lags,lags,B,C)
        # G depends on how far two displacements are apart: up to 1 by interpolation, and 2 by the smear.
        self.G = torch.zeros(7, 7, C, C, dtype=torch.float64)
        for down in range(4):
            for right in range(-3, 4):
                apart = down * width + right
                if apart >= 0:
                    product = (phi[:, apart:] @ phi[:, : max(N - apart, 0)].mT).double().cpu()
                    self.G[3 + down, 3 + right], self.G[3 - down, 3 - right] = product.mT, product
        self.energy = h.double().square().sum((-2, -1)).clamp(min=TINY).cpu()  # (B,)
        self.pixels = N

    def search(self, moves: tuple[bool, bool] = (True, True), smears: tuple[bool, bool] = (True, True)) -> _Place:
        """The best place; whether the mask may have moved, and be smeared, down and to the right."""
        steps = round(self.reach / COARSE)
        grid = [COARSE * step for step in range(-steps, steps + 1)]
        best = self._best(*(grid if may else [0.0] for may in moves), *(SMEARS if may else [0.0] for may in smears))
        step = COARSE / 2
        while step > FINE / 2:
            around = self._best(
                *(
                    _around(value, step, -self.reach, self.reach, may)
                    for value, may in zip(best.shift, moves, strict=True)
                ),
                *(
                    _around(value, step / 2, 0, MOST_SMEAR, may)
                    for value, may in zip(best.smear, smears, strict=True)
                ),
            )
            if around.score <= best.score * (1 + LEAST_GAIN):
                step /= 2
            best = max(best, around)
        return best

    def _best(self, *choices: Sequence[float]) -> _Place:
        """Of all combinations of choices of down, right and both smears."""
        grid = torch.cartesian_prod(*(torch.tensor(each, dtype=torch.float64) for each in choices))  # (P,4)
        explained = torch.cat([self._explained(part) for part in grid.split(AT_ONCE)])  # (P,B)
        score = self.pixels * (explained / (1 - explained)).sum(1)
        best = int((score * (1 - NEARER * grid[:, :2].abs().sum(1))).argmax())
        share = float((explained[best] * self.energy).sum() / self.energy.sum())
        return _Place(float(score[best]), share, *grid[best].tolist())

    def _explained(self, places: Tensor) -> Tensor:
        """The part of each frame's detail (P,B) that is explained at places (P,4)."""
        down, right, smear_down, smear_right = places.unbind(1)
        u, v = self._weights(down, smear_down), self._weights(right, smear_right)  # (P,lags)
        b = torch.einsum("pi,pj,ijbc->pcb", u, v, self.b)
        G = torch.einsum("pi,pj,ijcd->pcd", _apart(u), _apart(v), self.G)
        diagonal = G.diagonal(dim1=-2, dim2=-1)
        diagonal += (RIDGE * diagonal.mean(1, keepdim=True)).clamp(min=TINY)
        a = torch.linalg.solve(G, b)
        return ((b * a).sum(1) / self.energy).clamp(0, 1 - 1e-6)

    def _weights(self, displacement: Tensor, smear: Tensor) -> Tensor:
        """w: of each whole-pixel displacement, (P,lags), for displacements along one axis and smears (P,)."""
        lags = torch.arange(-self.most_lag, self.most_lag + 1, dtype=torch.float64)
        exact = (1 - (displacement[:, None] - lags).abs()).clamp(min=0)
        padded = F.pad(exact, (1, 1))
        return smear[:, None] * (padded[:, :-2] + padded[:, 2:]) + (1 - 2 * smear[:, None]) * exact


def shows_code(score: float, bands: int, count: int) -> bool:
    """Whether ``count`` frames that are explained so well show the code of the mask at all."""
    return score > bands * (CODE[0] * count + CODE[1] * math.sqrt(count))


def fine_detail(y: Tensor, counts: Tensor | None = None) -> Tensor:
    """h(y), of frames (B,H,Wm); 0 at pixels that do not count, where ``counts``, bool (H,Wm), says so."""
    if counts is None or bool(counts.all()):
        detail = _rough(y)
    else:
        known = counts.to(y)
        around = _blurred(known[None], DETAIL).clamp(min=TINY)
        detail = known * (y - _blurred(known * y, DETAIL) / around)
    local = _blurred(detail.square(), NEIGHBOURHOOD).sqrt()
    floor = LEAST_DETAIL * detail.square().mean((-2, -1), keepdim=True).sqrt()
    return detail / torch.maximum(local, floor).clamp(min=torch.finfo(y.dtype).tiny)


def inner_code(mask: Tensor, margin: int) -> Tensor:
    """The fine detail of a mask, 0 within so many pixels of its border."""
    return _inner(_rough(mask), margin)


def _inner(picture: Tensor, margin: int) -> Tensor:
    """A picture (...,H,W) with 0 within so many pixels of its border."""
    inside = torch.zeros_like(picture)
    inside[..., margin:-margin, margin:-margin] = picture[..., margin:-margin, margin:-margin]
    return inside


def _apart(weights: Tensor) -> Tensor:
    """Of weights (P,lags), the sum of products of two that are -3..3 apart, (P,7)."""
    size = weights.shape[1]
    padded = F.pad(weights, (3, 3))
    return torch.stack([(weights * padded[:, k : k + size]).sum(1) for k in range(7)], 1)


def _around(value: float, step: float, least: float, most: float, may_change: bool) -> list[float]:
    """The value and, if it may change, its neighbours in least..most."""
    return sorted({min(max(value + move, least), most) for move in (-step, 0.0, step)}) if may_change else [value]


def _blurred(picture: Tensor, size: int) -> Tensor:
    """Mean over a square around each pixel of (...,H,W)."""
    pooled = picture.reshape(-1, 1, *picture.shape[-2:])
    for window in ((1, size), (size, 1)):
        pooled = F.avg_pool2d(pooled, window, 1, (window[0] // 2, window[1] // 2), count_include_pad=False)
    return pooled.view(picture.shape)


def _rough(picture: Tensor) -> Tensor:
    """h: what is finer than a small blur."""
    return picture - _blurred(picture, DETAIL)
