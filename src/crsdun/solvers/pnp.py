"""PnP: turns between a denoiser and the measurement, from the estimate of LR-TV on.

Legend: B batch · C bands · r images · H, W scene · Wm measurement width · u images (r,H,W) · v images nearer to
the measurement · σ how wrong they are.

    v ← argmin_v ‖(y − A v) ⊘ √variance‖² + ‖v − u‖² / σ²,    u ← denoise(v, σ)

u are the coefficients of the cube in its own strongest spectral components (``Coefficients``). What the mask did not
measure is left as LR-TV guessed it; the denoiser knows better what images look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, Fit, Progress
from crsdun.solvers.coefficients import Coefficients
from crsdun.solvers.denoiser import MOST_IMAGES, WEIGHTS, shipped_denoiser
from crsdun.solvers.held_out import HeldOut
from crsdun.solvers.lr_tv import LrTv
from crsdun.solvers.solver import NormalisedFrame, Solver, normalised

# (images (B,r,H,W) in about 0..1, noise level of each (B,)) → images of the same shape.
Denoiser = Callable[[Tensor, Tensor], Tensor]


# σ of the estimate of LR-TV: it grows with what its held-out detector pixels reveal, and is FIRM where they reveal
# nothing, since some errors no pixel sees. At each turn it falls by FALL. Half or twice as much changes little.
FIRM, TOLD, FALL = 0.01, 1.0, 0.85
# Held-out pixels that are explained to this part of the light, root mean square, speak against nothing: no model of a
# camera is more exact.
TRUSTED = 0.01
# Even without noise the components that are left out remain unexplained; relative to the root mean square of y.
LEAST_NOISE = 1e-3
# The images are mirrored in another way at each turn, so that what the denoiser prefers cannot add up.
MIRRORED: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class RefinedFrame:
    """What is known of a frame whose estimate by LR-TV is refined, as images.

    Args:
        frame: the measurement.
        x: the estimate, (C,H,W), on the scale of y.
        fit: of this estimate.
        images: at most so many.

    Attributes:
        coefficients: what images and cube have to do with each other.
        nothing: whether there is nothing to refine, because the scene is black or no light says anything about it.
        first, sigma: the images of x, (r,H,W), and how wrong they are.
        used: variance of each detector pixel, (H,Wm), infinite where it is held out or says nothing.
    """

    def __init__(self, frame: NormalisedFrame, x: Tensor, fit: Fit, images: int):
        self.y, self.coefficients = frame.measurement, Coefficients.of(x, images, frame.camera)
        self._pixels = HeldOut(self.y, frame.camera, LrTv.held_out)  # the same as those of LR-TV
        valid = self._pixels.valid
        self.nothing = self.coefficients.basis.numel() == 0 or not bool(valid.any())
        if self.nothing:
            return
        self._fit = fit
        self.first = self.coefficients.images(x)
        self._unit = float(self.y.square().mean().sqrt()) or 1.0
        self.held_out(self.first)
        variance = (max(fit.noise, LEAST_NOISE) * self._unit) ** 2 * self._pixels.variance
        self.used = torch.where(self._pixels.used, variance, torch.inf)
        self._all = torch.where(valid, variance, torch.inf)
        self.sigma = self._error((fit.held_out**2 - fit.noise**2) * self._unit**2)

    def towards(self, u: Tensor, sigma: float) -> Tensor:
        """Images that explain the measurement better, without the detector pixels held out."""
        return self.coefficients.towards(u, self.y, self.used, sigma)

    def final(self, u: Tensor, sigma: float) -> Tensor:
        """The cube (C,H,W), not negative, of images that explain the measurement better, with all its pixels."""
        return self.coefficients.cube(self.coefficients.towards(u, self.y, self._all, sigma)).clamp_(min=0)

    def held_out(self, u: Tensor) -> float:
        """Root mean square difference of the detector pixels held out, relative to that of y."""
        return math.sqrt(self._pixels.look(self.coefficients.explained(u))) / self._unit

    def doubted(self, held_out: float) -> bool:
        """Whether the estimate of LR-TV is the better one, as far as the detector pixels held out tell."""
        return held_out > max(self._fit.held_out, TRUSTED)

    def _error(self, unexplained: float) -> float:
        """σ of the estimate of LR-TV, from the variance of its held-out detector pixels that is not noise."""
        camera = self.coefficients.camera
        squares = self.coefficients.basis.square().sum(1)[:, None, None].expand(-1, camera.height, camera.width)
        # How errors of the images add up on the detector if they are independent.
        gain = float(camera.variance(squares).mean())
        return FIRM + TOLD * math.sqrt(max(unexplained, 0) / max(gain, 1e-30))


@dataclass(frozen=True)
class Pnp(Solver):
    """Plug-and-play: LR-TV, then a learnt denoiser between steps towards the measurement.

    Attributes:
        iterations: turns after LR-TV.
        images: spectral components of the estimate that are denoised, at most.
        denoiser: ``denoiser(images, sigma)`` takes images (B,r,H,W) in about 0..1, the strongest component first,
            with the noise level σ of each scene (B,), and returns the images without it; None is the one that was
            trained for this, ``CoefficientDenoiser``. Denoisers of single pictures go into ``per_image``.

    Source: Venkatakrishnan et al., "Plug-and-play priors for model based reconstruction", GlobalSIP 2013;
    half-quadratic splitting with a denoiser as in Zhang et al., TPAMI 2021; denoising in a spectral subspace as in
    Zhuang and Bioucas-Dias, "Fast hyperspectral image denoising and inpainting based on low-rank and sparse
    representations", JSTARS 2018. What the denoiser learns from, the states of this loop, is ours.
    """

    iterations: int = 6
    images: int = 8
    denoiser: Denoiser | None = None

    def __post_init__(self) -> None:
        if isinstance(self.denoiser, str):  # as ``settings`` name it
            if self.denoiser != name_of(None):
                raise InputError(
                    f"no denoiser called {self.denoiser!r} comes with crsdun", "give the function itself"
                )
            object.__setattr__(self, "denoiser", None)
        if self.iterations < 1 or self.images < 1:
            raise InputError(f"iterations ({self.iterations}) and images ({self.images}) must be at least 1")
        if self.denoiser is None and self.images > MOST_IMAGES:
            raise InputError(f"the shipped denoiser takes at most {MOST_IMAGES} images, not {self.images}")
        if not (self.denoiser is None or callable(self.denoiser)):
            raise InputError(
                f"a denoiser is called as denoiser(images, sigma), which {type(self.denoiser).__name__} cannot be"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as plain values, the denoiser by its name."""
        return asdict(replace(self, denoiser=None)) | {"denoiser": name_of(self.denoiser)}

    @torch.no_grad()
    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """Reconstruct with a learnt denoiser.

        Args:
            measurement: y, (B,H,Wm) floating point, in any units.
            camera: the camera that took it.
            progress: called as ``progress(done, total)`` after each iteration, those of LR-TV included.

        Returns:
            One cube (B,C,H,W), not negative, in the units of y per band; no logits; the fit of each frame.
            Where it is that of ``LrTv``, so is the cube. Otherwise its ``held_out`` is a little too low: the last
            iterations of ``LrTv`` had used these pixels.

        Raises:
            InputError: y has another shape or type, or contains NaN or infinity; the denoiser does not return finite
                images of the shape that it got.
        """
        frames = normalised(measurement, camera)
        first = LrTv()
        turns, total = self.iterations * len(frames), (first.iterations + self.iterations) * len(frames)

        def report(done: int, before: int = 0) -> None:
            if progress is not None:
                progress(before + done, total)

        start = first(measurement, camera, lambda done, _: report(done))
        cubes, fits = [], []
        for number, (frame, x, fit) in enumerate(zip(frames, start.cube, start.fits, strict=True)):
            before = total - turns + number * self.iterations
            refined, fit = self._refine(frame, x / frame.scale, fit, partial(report, before=before))
            cubes.append(refined * frame.scale)
            fits.append(fit)
        return Estimate([torch.stack(cubes)], fits=fits, wavelengths=camera.wavelengths)

    def _refine(
        self, frame: NormalisedFrame, x: Tensor, fit: Fit, report: Callable[[int], None]
    ) -> tuple[Tensor, Fit]:
        """x (C,H,W), on the scale of y, after all turns, and its fit; ``report`` gets the number of turns done."""
        refined = RefinedFrame(frame, x, fit, self.images)
        if refined.nothing:
            report(self.iterations)
            return x, fit
        u, sigma = self.turns(refined, report)
        held_out = refined.held_out(refined.towards(u, sigma))
        if refined.doubted(held_out):
            return x, fit
        return refined.final(u, sigma), replace(fit, held_out=held_out)

    def turns(self, refined: RefinedFrame, report: Callable[[int], None] | None = None) -> tuple[Tensor, float]:
        """u (r,H,W) after all turns, without the detector pixels held out, and how wrong it is, σ."""
        u, sigma = refined.first, refined.sigma
        for turn in range(self.iterations):
            u = self._denoised(refined.towards(u, sigma), sigma, turn)
            sigma *= FALL
            if report is not None:
                report(turn + 1)
        return u, sigma

    def _denoised(self, images: Tensor, sigma: float, turn: int) -> Tensor:
        """The images (r,H,W) without noise of level σ."""
        mirror = MIRRORED[turn % len(MIRRORED)]
        given = images.flip(mirror)[None]
        if self.denoiser is None:
            denoised = shipped_denoiser(images.device)(given.float(), given.new_full((1,), sigma).float())
        else:
            denoised = self.denoiser(given, given.new_full((1,), sigma))
        if not isinstance(denoised, Tensor) or denoised.shape != given.shape:
            what = tuple(denoised.shape) if isinstance(denoised, Tensor) else type(denoised).__name__
            raise InputError(
                f"the denoiser {name_of(self.denoiser)} made {what} of images of shape {tuple(given.shape)}",
                "it must keep the shape; one that takes single pictures goes into crsdun.solvers.per_image",
            )
        if not bool(torch.isfinite(denoised).all()):
            raise InputError(f"the denoiser {name_of(self.denoiser)} made images with NaN or infinity")
        return denoised[0].to(images.dtype).flip(mirror)


def name_of(denoiser: Denoiser | None) -> str:
    """What a denoiser is called in records."""
    if denoiser is None:
        return WEIGHTS.stem
    return getattr(denoiser, "__qualname__", type(denoiser).__name__)


def per_image(denoiser: Denoiser) -> Denoiser:
    """A denoiser of single grey pictures (B,1,H,W) as one of several images: each by itself.

    So ``Pnp(denoiser=per_image(deepinv.models.DRUNet(in_channels=1, out_channels=1)))`` works.
    """

    def denoise(images: Tensor, sigma: Tensor) -> Tensor:
        pictures = images.flatten(0, 1)[:, None]
        return denoiser(pictures, sigma.repeat_interleave(images.shape[1])).view_as(images)

    denoise.__qualname__ = f"per_image({name_of(denoiser)})"
    return denoise
