"""LR-TV: few components along the spectrum, few edges in the image, and of both as much as the noise asks for.

Legend: C bands · H, W scene · Wm measurement width · r rank · x cube (C,H,W) · y measurement (H,Wm) · A the camera
· D = A Aᵀ 1 · T the principal components of x, orthonormal rows (r,C) · V variance of each detector pixel over its
mean · τ strength · w weight.

    min ½ Σ_pixels (y − A x)² / (τ V) + Σ_j ω_j Σ_pixels ℓ |∇(T x)_j|,   x ≥ 0 in the span of T,   ω_j = (1 + j)^s

Solved by ADMM, as in ``gap_admm``, whose two steps become

    z + Aᵀ((A Aᵀ + τ V / w)⁻¹ (y − A z))       and          total variation of the components with weights w ω_j ℓ.

Nothing has to be set. T is taken from the estimate and follows it; ℓ is smaller where the estimate has much detail. τ
starts at the residual of the detector pixels that are held out and falls until these are explained worse; it then
stays at its best value, and all pixels are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, Fit, Progress
from crsdun.solvers.data_step import solved
from crsdun.solvers.held_out import HeldOut
from crsdun.solvers.solver import NormalisedFrame, Solver, normalised
from crsdun.solvers.total_variation import TotalVariation

# The first iterations, without components and with this ε relative to the mean of D; from LOCAL on, the weight of
# edges differs from pixel to pixel.
FIRST, FIRST_EPSILON, LOCAL = 20, 0.05, 40
# Components are found anew, and the pixels held out looked at, every so many iterations.
EVERY_TURN, EVERY_LOOK = 10, 5
# From this part of the iterations on, the best τ is remembered; it has fallen too far when the error of the pixels
# held out exceeds the least by this factor in so many looks for each iteration.
SEARCH, WORSE, PATIENCE = 0.24, 1.03, 0.012
# ε is never less than this, relative to the mean of D.
LEAST_EPSILON = 1e-3
# ℓ = (1 + 1/q)/(1 + g/(q ḡ)), with g the mean length of the differences in a square of this many pixels.
DETAIL, SQUARE = 3.0, 5
FEWEST_COMPONENTS = 3


@dataclass(frozen=True)
class LrTv(Solver):
    """Low rank and total variation, with the strength that suits the noise.

    Attributes:
        iterations: at most; it ends earlier where there is much noise.
        first_weight, weight: w in the first and the last iteration, relative to the mean brightness.
        rank: most components that are kept.
        discarded: of the energy of the estimate, at most this part lies in components that are not kept.
        smoothness: s; larger values prefer components with little energy to be flat.
        inner: dual steps of total variation in each iteration.
        relaxation: of ADMM, in (0, 2).
        held_out: part of the detector pixels that is held out.
        fall: of τ, from its first to its last value unless the pixels held out end it.
        final: iterations at the end, when the strength is found.
        refit: use the pixels held out as well in these; without, they remain a test of what is made of the cube.
        photons, read_sigma: of the detector as in ``optics.SensorNoise``, where they are known; they say how the
            variance depends on the brightness, of several pictures in the units of the first.

    Source: ADMM as in ``AdmmTv``; components from the estimate: Zhuang and Bioucas-Dias, "Fast hyperspectral image
    denoising and inpainting based on low-rank and sparse representations", 2018. The choice of the strength by
    detector pixels held out, and weights that follow detail, are ours.
    """

    tileable = True  # the strength is found anew from the pixels held out of each tile

    iterations: int = 250
    first_weight: float = 0.5
    weight: float = 0.01
    rank: int = 12
    discarded: float = 5e-6
    smoothness: float = 1.0
    inner: int = 3
    relaxation: float = 1.6
    held_out: float = 0.03
    fall: float = 0.1
    final: int = 40
    refit: bool = True
    photons: float | None = None
    read_sigma: float | None = None

    efforts: ClassVar[dict[str, dict[str, float]]] = {
        "normal": {},
        "high": {"iterations": 400, "weight": 0.004, "fall": 0.05, "final": 100},
    }

    def __post_init__(self) -> None:
        for name in ("iterations", "rank", "inner", "final"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("first_weight", "weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive and finite, not {getattr(self, name)}")
        if not 0 <= self.smoothness < math.inf:
            raise InputError(f"smoothness must be finite and not negative, not {self.smoothness}")
        if not 0 < self.relaxation < 2:
            raise InputError(f"the relaxation must lie between 0 and 2, not {self.relaxation}")
        for name in ("discarded", "held_out", "fall"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.photons is not None and not 0 < self.photons < math.inf:
            raise InputError(f"photons must be positive and finite, not {self.photons}")
        if self.read_sigma is not None and not 0 <= self.read_sigma < math.inf:
            raise InputError(f"read_sigma must be finite and not negative, not {self.read_sigma}")

    @torch.no_grad()
    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """Reconstruct without learning.

        Args:
            measurement: y, (B,H,Wm) floating point, in any units.
            camera: the camera that took it.
            progress: called as ``progress(done, total)`` after each iteration; the iterations that were not needed
                count as done.

        Returns:
            One cube (B,C,H,W), not negative, in the units of y per band; no logits; the fit of each frame.

        Raises:
            InputError: y has another shape or type, or contains NaN or infinity.
        """
        frames = normalised(measurement, camera)
        total = self.iterations * len(frames)
        cubes, fits = [], []
        for before, frame in zip(range(0, total, self.iterations), frames, strict=True):

            def report(done: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, total)

            x, fit = self._solve(frame, report)
            cubes.append(x.mul_(frame.scale))
            fits.append(fit)
        return Estimate([torch.cat(cubes)], fits=fits, wavelengths=camera.wavelengths)

    def _solve(self, frame: NormalisedFrame, report: Callable[[int], None]) -> tuple[Tensor, Fit]:
        """x (1,C,H,W), on the scale of y, and its fit; ``report`` is called with the iterations that are done."""
        y, camera, x = frame.measurement, frame.camera, frame.start[None]
        D = camera.row_sums
        pixels = HeldOut(y, camera, self.held_out, self._known_noise(frame.scale))
        valid = pixels.valid
        mean = D[valid].mean() if valid.any() else D.mean()
        used, epsilon, strength = pixels.used, FIRST_EPSILON * mean, _Strength(self)
        variation = TotalVariation(x.shape, x, self.smoothness)
        dual = torch.zeros_like(x)  # b
        ratio = (self.weight / self.first_weight) ** (1 / max(self.iterations - 1, 1))
        k = 0
        while k < strength.end:
            weight, fall = self.first_weight * ratio**k, ratio if k else 1.0
            variation.rescale(fall)
            if k >= FIRST and k % EVERY_TURN == 0:
                self._follow(x, variation)
                if k >= LOCAL:
                    variation.local = _detail(variation, x)
            if k >= FIRST and k % EVERY_LOOK == 0 and not strength.settled:
                pixels.look(camera.forward(x)[0])
                strength.update(k, pixels)
                if strength.settled and self.refit:
                    used = valid
            if k >= FIRST:
                epsilon = LEAST_EPSILON * mean + strength.value / weight * pixels.variance
            z = torch.add(x, dual, alpha=-fall, out=dual)  # z = x − b
            residual = y - camera.forward(z)
            # As in AdmmTv: what is smoothed is α v + (1−α) x + b, with v = z + Aᵀ((A Aᵀ + ε)⁻¹ residual), b = x − z.
            divided = partial(_divided, by=D + epsilon, used=used)
            update = camera.adjoint(solved(camera, residual, epsilon, divided))
            x.lerp_(z, self.relaxation - 1).add_(update, alpha=self.relaxation)
            new = variation.step(x, weight, self.inner, out=z).clamp_(min=0)
            x, dual = new, x.sub_(new)  # b = what was smoothed − x
            k += 1
            report(k)
        if k < self.iterations:
            report(self.iterations)
        if not strength.settled:  # fewer iterations than the search needs
            pixels.look(camera.forward(x)[0])
            strength.update(k, pixels)
        return x, strength.fit(y, rank=variation.transform.shape[1])

    def _known_noise(self, scale: float) -> tuple[float, float] | None:
        """Variance without light, and its rise with the brightness, on the scale of y; None where not known."""
        if self.read_sigma is None and self.photons is None:
            return None
        constant = ((self.read_sigma or 0.0) / scale) ** 2
        return constant, 0.0 if self.photons is None else 1 / (self.photons * scale)

    def _follow(self, x: Tensor, variation: TotalVariation) -> None:
        """Turn to the principal components of x."""
        spectra = x[0].flatten(1)
        energy, vectors = torch.linalg.eigh((spectra @ spectra.mT).double())  # ascending
        needed = int((energy.clamp(min=0).cumsum(0) > self.discarded * energy.sum()).sum())
        kept = min(self.rank, max(FEWEST_COMPONENTS, needed))
        variation.turn(vectors.flip(1)[:, :kept].mT.to(x.dtype).contiguous()[None])


def _divided(residual: Tensor, by: Tensor, used: Tensor) -> Tensor:
    return torch.where(used, residual / by, 0)


class _Strength:
    """τ: from the error of the pixels held out down by the factor ``fall``, until these are explained worse.

    Attributes:
        value: τ.
        end: the iteration after the last.
        settled: whether τ has its final value, so that all pixels may be used.
    """

    def __init__(self, settings: LrTv):
        self.fall, self.final = settings.fall, min(settings.final, settings.iterations // 4)
        self.end = settings.iterations
        self.last = self.end - self.final  # the search must be over
        self.first, self.patience = SEARCH * self.end, max(1, round(PATIENCE * self.end))
        self.value, self.settled = 0.0, False
        self.least, self.worse = math.inf, 0
        self.best, self.best_value, self.noise = math.inf, 0.0, math.nan

    def update(self, k: int, pixels: HeldOut) -> None:
        """Before iteration ``k``, the pixels having been looked at."""
        self.least = min(self.least, pixels.error)
        self.value = self.value or pixels.noise
        if k >= min(self.first, self.last):
            if pixels.error < self.best:
                self.best, self.best_value, self.worse, self.noise = pixels.error, self.value, 0, pixels.noise
            elif pixels.error > WORSE * self.best:
                self.worse += 1
            self.settled = self.worse >= self.patience or k >= self.last
        if self.settled:
            self.value, self.end = self.best_value, min(self.end, k + self.final)
        else:
            self.value = self.least * self.fall ** ((k - FIRST) / (self.last - FIRST))

    def fit(self, y: Tensor, rank: int) -> Fit:
        """What was found of y."""
        unit = float(y.square().mean().sqrt()) or 1.0
        return Fit(math.sqrt(self.best) / unit, math.sqrt(self.noise) / unit, rank)


def _detail(variation: TotalVariation, x: Tensor) -> Tensor:
    """ℓ: weights of the pixels, (H,W), smaller where x (1,C,H,W) has more detail than elsewhere."""
    components = variation.coefficients(x)[0] * variation.omega
    squares = torch.zeros_like(components[0])
    squares[:, :-1] += (components[..., 1:] - components[..., :-1]).square().sum(0)
    squares[:-1] += (components[:, 1:] - components[:, :-1]).square().sum(0)
    lengths = F.avg_pool2d(squares.sqrt()[None], SQUARE, 1, SQUARE // 2, count_include_pad=False)[0]
    mean = lengths.mean().clamp(min=torch.finfo(x.dtype).tiny)
    return (1 + 1 / DETAIL) / (1 + lengths / (DETAIL * mean))
