"""GAP-TV and ADMM-TV: turns between "explain the measurement" and "have few edges".

Legend: B batch · C bands · H, W scene · Wm measurement width · x cube (B,C,H,W) · y measurement (B,H,Wm)
· A the camera · D = A Aᵀ 1 · ε the noise term.

Both take the step  z + Aᵀ((A Aᵀ + ε)⁻¹ (y − A z))  towards the cubes that explain y (``data_step``), then the
proximal step of total variation, then x ← max(x, 0). They differ in how the error that is left drives the next
iteration.

Two things make them quick. The weight falls from ``first_weight`` to ``weight``, coarse to fine, and the dual
variables fall with it. And all is done on y over its mean brightness, so a weight means the same in all units.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, Progress
from crsdun.solvers.data_step import solved
from crsdun.solvers.solver import NormalisedFrame, Solver, normalised
from crsdun.solvers.total_variation import TotalVariation

# (A Aᵀ + ε)⁻¹ of residuals (B,Hm,Wm).
Solve: TypeAlias = Callable[[Tensor], Tensor]

# With a cube of the frame before, this part of the iterations gives what all of them give without, if they begin
# where the weight has fallen by this part of its way, as a power.
WARM_PART, WARM_WAY = 0.6, 0.5


@dataclass(frozen=True)
class _TvSolver(Solver):
    takes_start = True

    iterations: int = 100
    first_weight: float = 1.6
    weight: float = 0.2
    inner: int = 3
    smoothness: float = 0.75
    noise: float = 0.05

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.inner < 1:
            raise InputError(f"iterations ({self.iterations}) and inner ({self.inner}) must be at least 1")
        for name in ("first_weight", "weight"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive and finite, not {getattr(self, name)}")
        for name in ("smoothness", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be finite and not negative, not {getattr(self, name)}")

    @torch.no_grad()
    def __call__(
        self,
        measurement: Tensor,
        camera: CassiCamera,
        progress: Progress | None = None,
        start: Tensor | None = None,
    ) -> Estimate:
        """Reconstruct without learning.

        Args:
            measurement: y, (B,H,Wm) floating point, in any units.
            camera: the camera that took it.
            progress: called as ``progress(done, total)`` after each iteration.
            start: cubes to begin with, as in ``normalised``, of scenes that look alike; fewer iterations then do.

        Returns:
            One cube (B,C,H,W), not negative, in the units of y per band, and no logits; device and type of y.

        Raises:
            InputError: y has another shape or type, or contains NaN or infinity; or ``start`` has another shape.
        """
        if start is not None:
            return self._warm()._solve(normalised(measurement, camera, start), progress)
        return self._solve(normalised(measurement, camera), progress)

    def _warm(self) -> _TvSolver:
        """The same for a start near the solution."""
        way = (self.weight / self.first_weight) ** WARM_WAY
        return replace(
            self, iterations=max(1, round(WARM_PART * self.iterations)), first_weight=self.first_weight * way
        )

    def _solve(self, frames: list[NormalisedFrame], progress: Progress | None) -> Estimate:
        camera, y = frames[0].camera, torch.stack([frame.measurement for frame in frames])
        D = camera.row_sums
        epsilon = self.noise * D.mean()
        inverse = torch.where(D > 0, 1 / (D + epsilon), 0)

        def solve(residual: Tensor) -> Tensor:
            return solved(camera, residual, epsilon, lambda r: r * inverse)

        cubes = self._iterate(y, camera, solve, torch.stack([frame.start for frame in frames]))
        for done in range(1, self.iterations + 1):
            x = next(cubes)
            if progress is not None:
                progress(done, self.iterations)
        scale = torch.tensor([frame.scale for frame in frames], dtype=x.dtype, device=x.device)
        return Estimate([x.mul_(scale[:, None, None, None])], wavelengths=camera.wavelengths)

    def _weights(self) -> Iterator[tuple[float, float]]:
        """The weight of each iteration, from ``first_weight`` down to ``weight``, and its ratio to the one before."""
        fall = (self.weight / self.first_weight) ** (1 / max(self.iterations - 1, 1))
        for k in range(self.iterations):
            yield self.first_weight * fall**k, fall if k else 1.0

    @abstractmethod
    def _iterate(self, y: Tensor, camera: CassiCamera, solve: Solve, x: Tensor) -> Iterator[Tensor]:
        """x after each iteration. ``solve`` is (A Aᵀ + ε)⁻¹, 0 where no light arrives; x may be overwritten."""


@dataclass(frozen=True)
class GapTv(_TvSolver):
    """Generalised alternating projection with total variation, in its accelerated form.

    The dual variable is a measurement, not a cube, so it needs less memory than ``AdmmTv``, by one cube.

    Attributes:
        iterations: outer iterations.
        first_weight: weight of total variation in the first iteration, relative to the mean brightness.
        weight: the same in the last one. Lower values give finer, noisier cubes and need more iterations.
        inner: dual steps of total variation in each iteration.
        smoothness: preference for smooth spectra, 0 for none (see ``total_variation``).
        noise: ε relative to the mean of D; keeps pixels with little light from being trusted too much.

    Source: Yuan, "Generalized alternating projection based total variation minimization for compressive sensing",
    ICIP 2016. Total variation of spectral frequencies and the falling weight are ours.
    """

    def _iterate(self, y: Tensor, camera: CassiCamera, solve: Solve, x: Tensor) -> Iterator[Tensor]:
        variation = TotalVariation(x.shape, x, self.smoothness)
        raised = y.clone()  # y₁ = y plus the residuals of all iterations so far
        for weight, fall in self._weights():
            raised.sub_(y).mul_(fall).add_(y)
            variation.rescale(fall)
            explained = camera.forward(x)
            raised += y - explained
            x += camera.adjoint(solve(raised - explained))
            variation.step(x, weight, self.inner, out=x)
            yield x.clamp_(min=0)


@dataclass(frozen=True)
class AdmmTv(_TvSolver):
    """Alternating direction method of multipliers with total variation, over-relaxed.

    With ``noise`` 0, ``relaxation`` 1 and a constant weight it is accelerated GAP, written with another dual
    variable. Its ``noise`` is a true penalty, while GAP keeps adding up the residual: use this one for
    noisy frames and GAP for clean ones.

    Attributes:
        iterations: outer iterations.
        first_weight: weight of total variation in the first iteration, relative to the mean brightness.
        weight: the same in the last one. Lower values give finer, noisier cubes and need more iterations.
        inner: dual steps of total variation in each iteration.
        smoothness: preference for smooth spectra, 0 for none (see ``total_variation``).
        noise: ε relative to the mean of D, the penalty that allows A x to differ from y.
        relaxation: α in (0, 2).

    Source: Boyd et al., "Distributed optimization and statistical learning via ADMM", 2011, sections 3.1 and 3.4.3;
    Chan et al., "Plug-and-play ADMM for image restoration", 2017. Total variation of spectral frequencies and the
    falling weight are ours.
    """

    relaxation: float = 1.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.relaxation < 2:
            raise InputError(f"the relaxation must lie between 0 and 2, not {self.relaxation}")

    def _iterate(self, y: Tensor, camera: CassiCamera, solve: Solve, x: Tensor) -> Iterator[Tensor]:
        alpha = self.relaxation
        variation = TotalVariation(x.shape, x, self.smoothness)
        dual = torch.zeros_like(x)  # b
        for weight, fall in self._weights():
            variation.rescale(fall)
            z = torch.add(x, dual, alpha=-fall, out=dual)  # z = x − b
            residual = y - camera.forward(z)
            # v = z + Aᵀ((A Aᵀ + ε)⁻¹ residual); what is smoothed is α v + (1−α) x + b, with b = x − z.
            x.lerp_(z, alpha - 1).add_(camera.adjoint(solve(residual)), alpha=alpha)
            new = variation.step(x, weight, self.inner, out=z).clamp_(min=0)
            x, dual = new, x.sub_(new)  # b = what was smoothed − x
            yield x
