"""How a camera differs from the one that was told, from exposures of unknown scenes.

Legend: B batch · C bands · H, W scene · Hm, Wm measurement · N = Hm Wm detector pixels · y measurement (B,Hm,Wm)
· M coded aperture · x cube · A the camera · o_c offset of band c, down and right · p the deviation: displacement,
rotation and scale of the mask, and scale of the dispersion.

Three steps, from coarse to fine:

1. Which part of the fine detail of y goes with the mask of band c, in each block of the mask and at each whole-pixel
   displacement? A deviation displaces block k of band c by (down, right) + rotation and scale about the centre
   + (s−1)(o_c − o_0). Of a grid of deviations, the one whose displacements collect most.
2. As in ``align``, h(y) ≈ Σ_c a_c Φ_c(p), with Φ_c(p) the fine detail of the deviating mask where the deviating prism
   puts it. Gauss–Newton on p, with a by least squares for each p (variable projection, Golub and Pereyra, 1973).
   What explains hardly more than no deviation is taken out.
3. x by LR-TV behind the camera that was found, with part of the detector pixels held out; then Gauss–Newton on p from
   the residuals y − A(p) x of these pixels alone, since x has taken in the errors of A at the others. Again with the
   new camera, as long as the pixels held out are explained better.

What a camera has behind its prism (blur, distortion, pixels that do not count) is taken as told: Φ_c and A have it.

What no frame can tell: a dispersion displaced as a whole is a mask displaced along it, with the scene moved as well,
so the first band keeps its offset. A mask displaced by the step looks as if spectra were displaced by one band (see
``alignment``).
"""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Progress, Validity, dark_floor, moved_mask
from crsdun.optics.masks import Edge
from crsdun.optics.parts import Part
from crsdun.solvers.alignment import (
    CLEAR,
    CLEARER,
    LEAST_SHIFT,
    NEARER,
    RIDGE,
    SHARP,
    TINY,
    fine_detail,
    inner_code,
    shows_code,
    with_border,
)
from crsdun.solvers.held_out import HeldOut
from crsdun.solvers.lr_tv import LrTv
from crsdun.solvers.solver import check_measurement

# The first search: displacements in pixels, degrees, and parts of the size and of the dispersion.
GRID = (
    tuple(step / 2 for step in range(-4, 5)),
    tuple(step / 2 for step in range(-4, 5)),
    tuple(step / 5 for step in range(-3, 4)),
    tuple(step / 200 for step in range(-2, 3)),
    tuple(step / 100 for step in range(-4, 5)),
)
# Blocks along each axis, no smaller than so many pixels; displacements of a block that are looked at, across the
# dispersion and along it.
BLOCKS, SMALLEST_BLOCK, REACH = 6, 16, (4, 6)
# Pixels at the border of the mask whose code is not looked for, since a deviation may need what was not told.
MARGIN = 6
# Places to start from, and by how many pixels the code of an outermost band differs between any two at least: spectra
# moved by a band look alike, at one end or all of them.
STARTS, ELSEWHERE = 4, 1.0
# Numbers in one part of the first search.
AT_ONCE = 4_000_000
# Of p and both smears, the change that tells how the model changes, and in these units the longest step.
PROBE, LONGEST = np.array([0.1, 0.1, 0.03, 0.0005, 0.002, 0.03, 0.03]), 5.0
STEPS, LEAST_GAIN, MOST_SMEAR = 12, 0.5, 1 / 3
# A deviation below this is none: decoding does not suffer.
LEAST = np.array([LEAST_SHIFT, LEAST_SHIFT, 0.02, 0.0005, 0.001])
# The solver inside, its part of pixels held out, how often the camera is found anew, the part of the error by which
# that must help, and by how much its steps are lengthened: x still holds back some of each.
ITERATIONS, HELD_OUT, ROUNDS, BETTER, LONGER = 60, 0.2, 4, 0.005, 1.5
# A refined camera explains pixels held out with at most this part of the error of the camera that was told.
CONVINCING = 0.98


@dataclass(frozen=True)
class Deviation:
    """How a camera differs from the one that was told.

    Attributes:
        down, right: pixels by which the mask is displaced.
        degrees: by which it is turned about its centre, clockwise as displayed.
        scale: of its size, about its centre; 1 as told.
        dispersion: of the offsets of the bands, from that of the first; 1 as told.
    """

    down: float = 0.0
    right: float = 0.0
    degrees: float = 0.0
    scale: float = 1.0
    dispersion: float = 1.0

    @property
    def any(self) -> bool:
        """Whether it differs at all."""
        return self != Deviation()

    def __str__(self) -> str:
        parts = []
        if self.down or self.right:
            parts.append(f"mask moved by {self.down:+.2f} rows and {self.right:+.2f} columns")
        if self.degrees:
            parts.append(f"turned by {self.degrees:+.3f}°")
        if self.scale != 1:
            parts.append(f"{self.scale:.4f} times as large")
        if self.dispersion != 1:
            parts.append(f"dispersion {self.dispersion:.4f} times as wide")
        return ", ".join(parts) or "as told"


NO_DEVIATION = Deviation(scale=0.0, dispersion=0.0)  # of an uncertainty: 0 in all


@dataclass(frozen=True)
class Refinement:
    """What exposures told of their camera.

    Attributes:
        camera: refined; the one that was told, itself, where nothing shows that it deviates.
        told: the camera that was told.
        deviation: of ``camera`` from ``told``; exactly that of no deviation in what is not significant.
        uncertainty: of each number of the deviation, one standard deviation; 0 in what is not significant. It holds
            the noise and the difference between the second and the third step, which see the frames differently.
        dark: level of the frames without light, in their units; 0 where it does not matter.
        before, after: root mean square error of the detector pixels held out over that of y, behind the told camera
            and behind the refined one without ``dark``; the means of all frames.
    """

    camera: CassiCamera
    told: CassiCamera
    deviation: Deviation
    uncertainty: Deviation
    dark: float
    before: float
    after: float

    @property
    def significant(self) -> bool:
        """Whether the camera, or the dark level, is not as told."""
        return self.deviation.any or self.dark > 0

    def is_of(self, camera: CassiCamera) -> bool:
        """Whether this camera is the same as the one that was told, whichever pixels count."""
        return (
            camera.offsets == self.told.offsets
            and torch.equal(camera.mask, self.told.mask)
            and [part.name for part in _optics(camera)] == [part.name for part in _optics(self.told)]
            and all(
                torch.equal(part.values, known.values)
                for part, known in zip(_optics(camera), _optics(self.told), strict=True)
            )
        )

    def camera_for(self, camera: CassiCamera) -> CassiCamera:
        """The refined camera of an exposure whose told camera ``is_of`` this: which pixels count is that one's."""
        if not self.deviation.any:
            return camera
        counting = [_on_detector_of(part, camera, self.camera) for part in camera.parts if isinstance(part, Validity)]
        return self.camera.with_parts(*_optics(self.camera), *counting)

    def frames(self, measurement: Tensor) -> Tensor:
        """y (…,H,Wm) of the told camera as the refined one takes it: without ``dark``, on its detector.

        Where its detector is wider, as behind a wider dispersion, the new columns are 0, and its mask is closed for
        the light that would fall there.
        """
        if self.dark:
            measurement = (measurement - self.dark).clamp(min=0)
        return on_detector(measurement, self.told, self.camera)

    @property
    def record(self) -> dict[str, Any]:
        """What was found, as plain JSON values."""
        known = {
            name: {"found": value, "uncertainty": spread}
            for (name, value), spread in zip(asdict(self.deviation).items(), astuple(self.uncertainty), strict=True)
        }
        return {**known, "dark": self.dark, "held_out_before": self.before, "held_out_after": self.after}

    def __str__(self) -> str:
        if not self.significant:
            return f"no deviation from the given camera found (held-out error {self.before:.1%})"
        dark = f", dark level {self.dark:.3g}" if self.dark else ""
        return f"camera refined: {self.deviation}{dark}; held-out error {self.after:.1%} instead of {self.before:.1%}"


def on_detector(picture: Tensor, camera: CassiCamera, other: CassiCamera) -> Tensor:
    """A picture (…,Hm,Wm) on the detector of a camera, on the pixels of another's, 0 where they are new."""
    top, left = _corner(camera, other)
    below = other.measurement_height - camera.measurement_height - top
    return F.pad(picture, (left, other.measurement_width - camera.measurement_width - left, top, below))


def _corner(camera: CassiCamera, other: CassiCamera) -> tuple[int, int]:
    """Where the first pixel of a camera's detector lies on another's, down and right."""
    top, left = (
        math.floor(min(axis)) - math.floor(min(its))
        for axis, its in zip(
            zip(*camera.down_and_right, strict=True), zip(*other.down_and_right, strict=True), strict=True
        )
    )
    return top, left


def _on_detector_of(part: Part, camera: CassiCamera, other: CassiCamera) -> Part:
    """A part of a camera, for the detector of another."""
    top, left = _corner(camera, other)
    return part.crop(-top, -left, *other.measurement_shape)


def _optics(camera: CassiCamera) -> list[Part]:
    """The parts of a camera, without which pixels count."""
    return [part for part in camera.parts if not isinstance(part, Validity)]


@torch.no_grad()
def refine_camera(measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Refinement:
    """The camera as the measurement shows it: its mask, its dispersion, and a dark level left over.

    Looks for displacements of up to 2 pixels, rotations up to 0.6°, and differences of up to 1 % in the size of the
    mask and 4 % in the dispersion. What comes in at the border of the mask is as in ``align``; where the dispersion
    also runs down, rows are treated as columns are.

    Args:
        measurement: y, (B,Hm,Wm) floating point, in any units; all frames were taken with the same camera.
        camera: the camera as it was told; its parts stay as they are.
        progress: called as ``progress(done, total)``; what it raises ends the computation.

    Raises:
        InputError: y has another shape or type, or contains NaN or infinity; or the camera has several pictures.
    """
    check_measurement(measurement, camera)
    if type(camera) is not CassiCamera:
        raise InputError(
            "several pictures of a scene are of several cameras",
            "refine each of them from its own picture, and stack them anew",
        )
    measurement = camera.counted(measurement)
    told, total = camera.to(measurement), ROUNDS + 3

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    first, spread = _Detail(measurement, told).find()
    report(1)
    before = best = _Trial(measurement, told, np.zeros(5), dark=False)
    report(2)
    free = np.flatnonzero(first)
    trial = _Trial(measurement, told, first) if free.size or _dark_level(measurement, told, told) else before
    for done in range(3, total):
        report(done)
        if trial.error >= (1 - BETTER) * best.error:
            break
        best = trial
        if not free.size:
            break
        step, noise = trial.step(free)
        spread = np.hypot(noise, np.abs(trial.p + step - first))
        trial = _Trial(measurement, told, trial.p + LONGER * step)
    report(total)
    if best.error > CONVINCING * before.error:
        return Refinement(camera, camera, Deviation(), NO_DEVIATION, 0.0, before.error, before.error)
    found = best.camera.to(camera.mask) if best.p.any() else camera
    return Refinement(
        found, camera, _deviation(best.p), Deviation(*spread.tolist()), best.dark, before.error, best.error
    )


def _deviation(p: np.ndarray) -> Deviation:
    """Of p (5,): down, right, degrees, and what scale and dispersion are more than 1."""
    down, right, degrees, scale, dispersion = p.tolist()
    return Deviation(down, right, degrees, 1 + scale, 1 + dispersion)


def _dispersing(told: CassiCamera, scale: float) -> CassiCamera:
    """The told camera with its dispersion scaled, from the offset of the first band."""
    offsets = _moves(told)
    if scale != 1:
        offsets = offsets[0] + scale * (offsets - offsets[0])
    camera = CassiCamera(told.mask, told.bands, told.wavelengths, offsets=offsets).with_mask(told.mask, told.moved)
    return camera.with_parts(*(_on_detector_of(part, told, camera) for part in told.parts))


def _moves(camera: CassiCamera) -> np.ndarray:
    """The displacement of each band down and to the right, (C,2)."""
    return np.array(camera.down_and_right)


def deviating(y: Tensor, told: CassiCamera, by: Deviation) -> CassiCamera:
    """The camera that deviates from the told one, the border of its mask as frames y (B,H,Wm) show it."""
    if not by.any:
        return told
    camera = _dispersing(told, by.dispersion)

    def moved(mask: np.ndarray, edge: Edge) -> np.ndarray:
        return moved_mask(mask, by.down, by.right, by.degrees, by.scale, edge)

    # Where the mask comes from above or below what was told, and from beside it.
    beyond = max(told.height, told.width) // 16 + 4
    rows = moved(np.ones((told.height, told.width + 2 * beyond), np.float32), "closed")[:, beyond:-beyond] < 1
    columns = moved(np.ones((told.height + 2 * beyond, told.width), np.float32), "closed")[beyond:-beyond] < 1
    mask = with_border(
        on_detector(y, told, camera),
        camera,
        lambda edge: moved(told.mask.cpu().numpy(), edge),
        *(torch.from_numpy(untold).to(told.mask.device) for untold in (rows, columns)),
    )
    on_it = on_detector(y.new_ones(told.measurement_shape), told, camera)
    if not on_it.all():  # no light that would fall beside the detector
        mask = mask * (camera.gather(on_it) > 0.5)
    return camera.with_mask(mask, (by.down, by.right))


def _dark_level(y: Tensor, told: CassiCamera, camera: CassiCamera) -> float:
    """Of frames y (B,H,Wm) of the told camera where none arrives in the other; 0 where it does not matter."""
    light, counts = on_detector(camera.open_light, camera, told), told.counted_pixels
    return dark_floor(y.mean(0)[counts].cpu().numpy(), light[counts].cpu().numpy()) or 0.0


class _Trial:
    """What frames say of a deviating camera: the cubes of LR-TV, and the pixels held out from it.

    Attributes:
        p: the deviation, (5,).
        error: root mean square error of the pixels held out over that of y, the mean of the frames.
    """

    def __init__(self, y: Tensor, told: CassiCamera, p: np.ndarray, dark: bool = True):
        self.y, self.told, self.p = y, told, p
        self.camera = deviating(y, told, _deviation(p))
        self.dark = _dark_level(y, told, self.camera) if dark else 0.0
        frames = on_detector((y - self.dark).clamp(min=0) if self.dark else y, told, self.camera)
        estimate = LrTv(iterations=ITERATIONS, held_out=HELD_OUT, refit=False)(frames, self.camera)
        self.cubes = estimate.cube
        held = torch.stack([HeldOut(frame, self.camera, HELD_OUT).held for frame in frames])
        self.held = on_detector(held.to(y), self.camera, told) > 0
        unit = frames.square().mean((-2, -1)).sqrt() / y.square().mean((-2, -1)).sqrt().clamp(min=TINY)
        self.error = sum(fit.held_out * float(each) for fit, each in zip(estimate.fits, unit, strict=True)) / len(y)

    def step(self, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The change of p by Gauss–Newton, in what is free, and its standard deviation by noise alone, (5,) each."""
        residual = self.y - self.dark - self._predicted(self.p)
        weight = [
            1 / float(r[held].square().mean().clamp(min=TINY)) for r, held in zip(residual, self.held, strict=True)
        ]
        changes = []
        for j in free:
            probe = np.zeros(5)
            probe[j] = PROBE[j] / 2
            changes.append((self._predicted(self.p + probe) - self._predicted(self.p - probe)) / PROBE[j])
        A = torch.zeros(len(free), len(free), dtype=torch.float64)
        b = torch.zeros(len(free), dtype=torch.float64)
        for frame, held in enumerate(self.held):
            J = torch.stack([change[frame][held] for change in changes]).double().cpu()
            A += weight[frame] * (J @ J.mT)
            b += weight[frame] * (J @ residual[frame][held].double().cpu())
        inverse = torch.linalg.pinv(A, hermitian=True)
        step, noise = np.zeros(5), np.zeros(5)
        step[free] = np.clip((inverse @ b).numpy(), -PROBE[free], PROBE[free])
        noise[free] = inverse.diagonal().sqrt().numpy()
        return step, noise

    def _predicted(self, p: np.ndarray) -> Tensor:
        """A(p) x, (B,H,Wm) on the detector of the told camera."""
        camera = deviating(self.y, self.told, _deviation(p))
        return on_detector(camera.forward(self.cubes), camera, self.told)


@dataclass(frozen=True)
class _Explained:
    """How much of the fine detail deviations explain.

    Attributes:
        q: p and the smear of the code down and to the right, (7,).
        score: twice the log-likelihood, from that of no code.
        variance: of each number of q, by noise alone; infinite in what was not free, or has no effect.
    """

    q: np.ndarray
    score: float
    variance: np.ndarray


class _Detail:
    """The fine detail of frames, h (B,N), and of a deviating camera, Φ (C,N)."""

    def __init__(self, y: Tensor, told: CassiCamera):
        self.told, self.picture = told, fine_detail(y, told.counted_pixels)
        self.h = self.picture.flatten(1)
        self.code = inner_code(told.mask, MARGIN)

    # -- the first step ------------------------------------------------------------------------------------

    def starts(self) -> list[np.ndarray]:
        """The deviations (5,) of the grid that collect most, apart from each other along the dispersion."""
        table, energy = self._table()
        grid = torch.cartesian_prod(*(torch.tensor(each, dtype=torch.float64) for each in GRID))  # (P,5)
        size = max(1, AT_ONCE // table[0].numel())
        score = torch.cat([self._collected(part, table, energy) for part in grid.split(size)])
        score = score * (1 - NEARER * grid[:, :2].abs().sum(1))
        moves = _moves(self.told) - _moves(self.told)[0]
        last = moves[np.hypot(*moves.T).argmax()]
        length = float(np.hypot(*last))
        along = torch.from_numpy(last / length) if length else torch.tensor([0.0, 1.0], dtype=torch.float64)
        outermost = (grid[:, :2] @ along)[:, None] + grid[:, 4:] * torch.tensor([0.0, length], dtype=torch.float32)
        found = []
        for _ in range(STARTS):
            best = int(score.argmax())
            found.append(grid[best].numpy())
            elsewhere = (outermost - outermost[best]).abs().amax(1) >= ELSEWHERE
            score = torch.where(elsewhere, score, 0)
        return found

    def _table(self) -> tuple[Tensor, Tensor]:
        """What goes with the code (lags,C,blocks,blocks,B), for displacements down and right; Σ Φ_c², (C,)."""
        (down, right), (high, wide) = self.reach, self._block
        height, width = self.picture.shape[-2:]
        padded = F.pad(self.picture, (right, right, down, down))
        coded, lags = self.told.with_mask(self.code), []
        for top in range(2 * down + 1):
            for left in range(2 * right + 1):
                displaced = padded[..., top : top + height, left : left + width]
                product = coded.adjoint(displaced)  # (B,C,H,W)
                lags.append(F.avg_pool2d(product, (high, wide)) * (high * wide))
        table = torch.stack(lags).permute(0, 2, 3, 4, 1).double().cpu()
        phi = self.told.each_band(self.code.expand(self.told.bands, -1, -1))
        return table, phi.double().square().sum((-2, -1)).clamp(min=TINY).cpu()

    @property
    def reach(self) -> tuple[int, int]:
        """Displacements of a block that are looked at, down and right."""
        across, along = REACH
        return (across, along) if self.told.along_rows else (along, along)

    @property
    def _block(self) -> tuple[int, int]:
        """Height and width of a block."""
        high, wide = (max(size // BLOCKS, min(SMALLEST_BLOCK, size)) for size in (self.told.height, self.told.width))
        return high, wide

    def _collected(self, p: Tensor, table: Tensor, energy: Tensor) -> Tensor:
        """Σ_c b_c² / Σ Φ_c² of deviations (P,5), with b_c what the displacements of all blocks collect; (P,)."""
        down, right, degrees, scale, dispersion = (column[:, None, None] for column in p.unbind(1))
        cosine, sine = ((1 + scale) * turn(torch.deg2rad(degrees)) for turn in (torch.cos, torch.sin))
        u, v = (
            ((torch.arange(count) + 0.5) * block - size / 2).double()
            for count, block, size in zip(
                table.shape[2:4], self._block, (self.told.height, self.told.width), strict=True
            )
        )
        u, v = u[:, None], v[None]
        moves = torch.from_numpy(_moves(self.told) - _moves(self.told)[0])
        lower, further = (dispersion[:, None] * axis[:, None, None] for axis in moves.unbind(1))
        rows = (down + cosine * u + sine * v - u)[:, None] + lower
        columns = (right - sine * u + cosine * v - v)[:, None] + further
        return (self._interpolated(table, rows, columns).clamp(min=0).square() / energy[:, None]).sum((1, 2))

    def _interpolated(self, table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """b (P,C,B): the table at displacements (P,C,blocks,blocks), summed over blocks."""
        width = 2 * self.reach[1] + 1
        rows, columns = (
            (place + reach).clamp(0, 2 * reach - 1e-6)
            for place, reach in zip((rows, columns), self.reach, strict=True)
        )
        lag = (rows.floor() * width + columns.floor()).long()
        below, beside = rows.frac()[..., None], columns.frac()[..., None]
        place = torch.meshgrid(*(torch.arange(size) for size in table.shape[1:4]), indexing="ij")

        def at(next_row: int, next_column: int) -> Tensor:
            index = (lag + next_row * width + next_column, *place)
            return table[index]

        upper = (1 - beside) * at(0, 0) + beside * at(0, 1)
        lower = (1 - beside) * at(1, 0) + beside * at(1, 1)
        return ((1 - below) * upper + below * lower).sum((2, 3))

    # -- the second step -----------------------------------------------------------------------------------

    def find(self) -> tuple[np.ndarray, np.ndarray]:
        """p and its standard deviation, (5,) each; 0 in what is not significant."""
        nothing, smears = np.zeros(7), [5, 6]
        none = max((self._fit(nothing + smear, smears) for smear in ([0] * 7, [0] * 5 + [0.1] * 2)), key=_score)
        free = [j for j in range(7) if j != 4 or len(set(self.told.down_and_right)) > 1]
        candidates = [np.isin(range(7), free) * [*start, 0.1, 0.1] for start in self.starts()]
        best = max((self._fit(q, free) for q in (*candidates, none.q)), key=_score)
        if not shows_code(best.score, self.told.bands, len(self.h)):
            return nothing[:5], nothing[:5]
        clearer = (CLEARER[0] if best.q[5:].max() < SHARP else CLEARER[1]) - 1
        while weak := [j for j in free if j < 5 and not self._is_clear(best, j, clearer)]:
            weakest = min(weak, key=lambda j: best.q[j] ** 2 / best.variance[j])
            free.remove(weakest)
            best = self._fit(np.where(np.arange(7) == weakest, 0, best.q), free)
        if best.score <= (1 + clearer) * none.score + CLEAR:
            return nothing[:5], nothing[:5]
        spread = np.sqrt(best.variance[:5])
        return best.q[:5], np.where(np.isfinite(spread), spread, 0)

    def _is_clear(self, found: _Explained, j: int, clearer: float) -> bool:
        """Whether a number of p matters, and explains clearly more than its absence."""
        gain = found.q[j] ** 2 / found.variance[j]  # Wald
        return abs(found.q[j]) >= LEAST[j] and gain > max(CLEAR, clearer * found.score)

    def _fit(self, q: np.ndarray, free: list[int]) -> _Explained:
        """The q that explains most, from a first one, by Gauss–Newton with Levenberg's and Marquardt's damping."""
        damping, at = 1e-3, self._solve(q)
        which = np.array(free)
        A, g = self._equations(q, at, free)
        for _ in range(STEPS):
            for _ in range(5):
                step = np.linalg.solve(A + np.diag(damping * A.diagonal() + TINY), g)
                new = q.copy()
                new[which] += np.clip(step, -LONGEST * PROBE[which], LONGEST * PROBE[which])
                new[5:] = new[5:].clip(0, MOST_SMEAR)
                there = self._solve(new)
                if there.score > at.score:
                    break
                damping *= 8
            else:
                break
            gain, q, at, damping = there.score - at.score, new, there, max(damping / 8, 1e-6)
            A, g = self._equations(q, at, free)
            if gain < LEAST_GAIN:
                break
        variance = np.full(7, np.inf)
        variance[which] = np.maximum(np.linalg.pinv(A, hermitian=True).diagonal(), TINY)
        variance[which[A.diagonal() <= TINY]] = np.inf
        return _Explained(q, at.score, variance)

    def _phi(self, q: np.ndarray) -> Tensor:
        """Φ, (C,N)."""
        down, right, degrees, scale, dispersion, *smear = q.tolist()
        moved = moved_mask(self.code.cpu().numpy(), down, right, degrees, 1 + scale)
        code = torch.from_numpy(moved).to(self.code)
        for part, axis in zip(smear, (-2, -1), strict=True):
            code = (1 - 2 * part) * code + part * (code.roll(1, axis) + code.roll(-1, axis))
        camera = _dispersing(self.told, 1 + dispersion)
        dispersed = camera.each_band(code.expand(camera.bands, -1, -1))
        return on_detector(dispersed, camera, self.told).flatten(1)

    def _solve(self, q: np.ndarray) -> _Solution:
        """The least squares over a."""
        phi = self._phi(q)
        G = (phi @ phi.mT).double()
        diagonal = G.diagonal()
        diagonal += (RIDGE * diagonal.mean()).clamp(min=TINY)
        factor = torch.linalg.cholesky(G)
        b = (phi @ self.h.mT).double()
        a = torch.cholesky_solve(b, factor)
        explained = (a * b).sum(0) / self.h.double().square().sum(1).clamp(min=TINY)
        score = -self.h.shape[1] * float(torch.log1p(-explained.clamp(0, 1 - 1e-6)).sum())
        return _Solution(phi, factor, a.to(phi), self.h - a.to(phi).mT @ phi, score)

    def _equations(self, q: np.ndarray, at: _Solution, free: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Of a step: what changes of q change that a cannot, with each other (n,n) and with the residual (n,)."""
        changes = []
        for j in free:
            more, less = q.copy(), q.copy()
            more[j] += PROBE[j]
            less[j] = less[j] - PROBE[j] if j < 5 else max(less[j] - PROBE[j], 0)
            change = at.a.mT @ ((self._phi(more) - self._phi(less)) / (more[j] - less[j]))  # (B,N)
            along = torch.cholesky_solve((at.phi @ change.mT).double(), at.factor)
            changes.append(change - along.to(change).mT @ at.phi)
        J = torch.stack(changes)  # (n,B,N)
        weight = at.residual.square().mean(1).clamp(min=TINY).reciprocal()
        A = torch.einsum("ibn,jbn,b->ij", J, J, weight)
        g = torch.einsum("ibn,bn,b->i", J, at.residual, weight)
        return A.double().cpu().numpy(), g.double().cpu().numpy()


@dataclass(frozen=True)
class _Solution:
    """Φ (C,N), the Cholesky factor of Φ Φᵀ, a (C,B), h − aᵀ Φ (B,N), and the score."""

    phi: Tensor
    factor: Tensor
    a: Tensor
    residual: Tensor
    score: float


def _score(explained: _Explained) -> float:
    return explained.score
