"""deepinv and crsdun together: our camera as its physics, our methods as its reconstructors, denoisers both ways.

Legend: B batch · C bands · H, W scene · Hm, Wm measurement · r images · x cube (B,C,H,W) · y measurement (B,1,Hm,Wm)
· A the camera · D the diagonal of A Aᵀ · γ, σ as in deepinv.

A measurement has an axis of channels there, with one entry, and none here. Cubes have their bands in the order of the
camera.

Source: Tachella et al., "DeepInverse: a Python package for solving imaging inverse problems with deep learning",
JOSS 2025; https://deepinv.org.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.methods import Method
from crsdun.optics import CassiCamera, Estimate
from crsdun.runtime import open_method
from crsdun.solvers.spectral_denoiser import SpectralDenoiser

try:
    from deepinv.models import Denoiser, Reconstructor
    from deepinv.physics import ComposedPhysics, Inpainting, LinearPhysics, NoiseModel, Physics
except ImportError as error:
    raise InputError(f"deepinv is not installed ({error})", "pip install 'crsdun[deepinv]'") from error

__all__ = [
    "CameraDenoiser",
    "CameraPhysics",
    "CameraReconstructor",
    "denoiser",
    "for_pnp",
    "physics",
    "reconstructor",
]


# -- the camera ----------------------------------------------------------------------------------------------------


def physics(camera: CassiCamera, noise_model: NoiseModel | None = None, **options: Any) -> CameraPhysics:
    """A camera as a physics of deepinv, of the device and the floating type of its mask.

    Args:
        camera: any, also one with parts or of several pictures.
        noise_model: that ``physics(x)`` adds to A x, such as ``deepinv.physics.GaussianNoise(0.01)``; None adds none.
        **options: of ``deepinv.physics.LinearPhysics``, such as ``max_iter`` and ``tol`` of its solver.
    """
    return CameraPhysics(camera, noise_model, **options)


class CameraPhysics(LinearPhysics):
    """y = A x + noise, x (B,C,H,W) → y (B,1,Hm,Wm).

    Where A Aᵀ is diagonal, ``prox_l2`` and ``A_dagger`` are exact, divisions by D with gradients in all that they are
    given. Elsewhere deepinv's conjugate gradients come near them.

    Attributes:
        camera: as it is now; ``physics.to(…)`` moves it.
    """

    def __init__(self, camera: CassiCamera, noise_model: NoiseModel | None = None, **options: Any):
        size = camera.bands, camera.height, camera.width
        super().__init__(img_size=size, noise_model=noise_model, device=camera.mask.device, **options)
        self.to(camera.mask)
        self.camera = camera

    def _apply(self, *args: Any, **kwargs: Any) -> CameraPhysics:
        super()._apply(*args, **kwargs)
        if hasattr(self, "camera"):
            self.camera = self.camera.to(self._device_holder)
        return self

    def A(self, x: Tensor, **_: Any) -> Tensor:
        """A x without noise."""
        return self.camera.forward(x).unsqueeze(-3)

    def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
        """Aᵀ y."""
        return self.camera.adjoint(frames_of(y))

    def A_A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
        """A Aᵀ y, which is D y where that is diagonal."""
        return self.camera.diagonal * y if self.camera.uncoupled else super().A_A_adjoint(y)

    def prox_l2(
        self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, *args: Any, **kwargs: Any
    ) -> Tensor:
        """argmin_x γ/2 ‖A x − y‖² + ½ ‖x − z‖² = z + Aᵀ (A Aᵀ + 1/γ)⁻¹ (y − A z).

        Args:
            z: x without the measurement; a number stands for a cube of it, None for 0.
            gamma: γ, one number, or one for each of the batch.
            *args, **kwargs: of deepinv's solver, where one is needed.
        """
        if not self.camera.uncoupled:
            return cast(Tensor, super().prox_l2(z, y, gamma, *args, **kwargs))
        if not isinstance(z, Tensor):
            z = y.new_full((len(y), *self.img_size), 0.0 if z is None else float(z))
        if isinstance(gamma, Tensor):
            gamma = gamma.to(y).reshape(-1, 1, 1, 1)
        return z + self.A_adjoint(gamma * (y - self.A(z)) / (1 + gamma * self.camera.diagonal))

    def A_dagger(self, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """A⁺ y = Aᵀ D⁺ y, of all cubes that explain y best the one with the smallest norm.

        Pixels with less light than rounding leaves say nothing (D of at most ε times the largest).
        """
        if not self.camera.uncoupled:
            return cast(Tensor, super().A_dagger(y, *args, **kwargs))
        D = self.camera.diagonal
        says_something = torch.finfo(D.dtype).eps * D.max() < D
        return self.A_adjoint(says_something * y / torch.where(says_something, D, 1))


def frames_of(y: Tensor) -> Tensor:
    """A measurement of deepinv (...,1,Hm,Wm) as one of ours, (...,Hm,Wm)."""
    if y.ndim < 3 or y.shape[-3] != 1:
        raise InputError(
            f"a measurement has the shape (batch, 1, height, width) in deepinv, not {tuple(y.shape)}",
            "add the axis with y[:, None]",
        )
    return y.squeeze(-3)


# -- methods -------------------------------------------------------------------------------------------------------


def reconstructor(method: Method | str | Path, **settings: Any) -> CameraReconstructor:
    """A method of ours as a reconstructor of deepinv, ``model(y, physics)`` → x.

    Args:
        method: a network, a solver or a plugin; or what ``runtime.open_method`` opens: the name of a solver or of
            shipped weights, or a weights file.
        **settings: of a method that is opened, such as ``iterations``.

    Raises:
        InputError: there is no such method.
    """
    return CameraReconstructor(open_method(method, **settings) if isinstance(method, str | Path) else method)


class CameraReconstructor(Reconstructor):
    """x = method(y, camera), with the camera of a ``CameraPhysics``.

    The weights of a network are its parameters, so it is trained by deepinv's losses like any model of deepinv. A
    solver has none, and no gradient passes through it. It also takes the physics of a measurement of which only some
    pixels count, as deepinv's losses by splitting make it (``Inpainting * physics``).

    Attributes:
        method: that estimates.
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method

    def forward(self, y: Tensor, physics: Physics, **_: Any) -> Tensor:
        """x (B,C,H,W), the cube of the last stage; errors as of ``estimate``."""
        return self.estimate(y, physics).cube

    def estimate(self, y: Tensor, physics: Physics) -> Estimate:
        """All that the method says: the cubes of its stages, and the classes of one that segments.

        Raises:
            InputError: the physics holds no camera of ours, or one that the method was not made for.
        """
        camera, counts = camera_of(physics)
        camera, frames = self.method.fit(camera), frames_of(y)
        if counts is None:
            return self.method(frames, camera)
        if len(counts) == 1:
            return self.method(frames, camera.counting(counts[0]))
        parts = [
            self.method(frame[None], camera.counting(valid)) for frame, valid in zip(frames, counts, strict=True)
        ]
        return Estimate(
            [torch.cat(cubes) for cubes in zip(*(part.cubes for part in parts), strict=True)],
            [torch.cat(logits) for logits in zip(*(part.logits for part in parts), strict=True)],
            fits=[*chain.from_iterable(part.fits for part in parts)],
            wavelengths=camera.wavelengths,
        )


def camera_of(physics: Physics) -> tuple[CassiCamera, Tensor | None]:
    """The camera of a physics, and which detector pixels count besides what it says of them: (B or 1,Hm,Wm), or None.

    Raises:
        InputError: it is not, or begins not with, a ``CameraPhysics``, or goes on with more than ``Inpainting``.
    """
    first, *others = physics.physics_list if isinstance(physics, ComposedPhysics) else [physics]
    if not isinstance(first, CameraPhysics) or not all(isinstance(other, Inpainting) for other in others):
        raise InputError(
            f"a method of crsdun needs a camera of crsdun, not {type(physics).__name__}",
            "make the physics with crsdun.interop.deepinv.physics(camera)",
        )
    counts = None
    for other in others:
        kept = (other.mask != 0)[:, 0]
        counts = kept if counts is None else counts & kept
    return first.camera, counts


# -- denoisers -----------------------------------------------------------------------------------------------------


def denoiser(device: str | torch.device = "cpu") -> CameraDenoiser:
    """Our denoiser of cubes with any number of bands as a denoiser of deepinv, ``model(x, sigma)`` → x."""
    return CameraDenoiser(device)


class CameraDenoiser(Denoiser):
    """``solvers.SpectralDenoiser``; its weights are parameters, and may learn on."""

    def __init__(self, device: str | torch.device = "cpu"):
        super().__init__()
        self.cubes = SpectralDenoiser()
        self.to(device)

    def forward(self, x: Tensor, sigma: Tensor | float, **_: Any) -> Tensor:
        """Cubes without white noise.

        Args:
            x: (B,C,H,W), in about 0..1.
            sigma: standard deviation of the noise, one number, or one for each of the batch.
        """
        return self.cubes(x, self._handle_sigma(sigma, batch_size=len(x), device=x.device, dtype=x.dtype))


def for_pnp(denoiser: nn.Module, channels: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """A denoiser of deepinv as one for our ``pnp``: ``Pnp(denoiser=for_pnp(deepinv.models.DRUNet(…)))``.

    It is called on its own device and in its own floating type, in evaluation mode, with as many images at once as it
    has channels; where their number is no multiple of that, the last one is repeated.

    Args:
        channels: of the pictures that it takes, such as 1 or 3.

    Raises:
        InputError: ``channels`` is below 1.
    """
    if channels < 1:
        raise InputError(f"a denoiser takes pictures of 1 channel or more, not {channels}")

    def denoise(images: Tensor, sigma: Tensor) -> Tensor:
        B, r, H, W = images.shape
        groups = -(-r // channels)
        like = next(chain(denoiser.parameters(), denoiser.buffers()), images)
        like = like if like.is_floating_point() else images
        last = images[:, -1:].expand(-1, groups * channels - r, -1, -1)
        pictures = torch.cat([images, last], 1).reshape(B * groups, channels, H, W).to(like)
        with evaluating(denoiser):
            denoised = denoiser(pictures, sigma.repeat_interleave(groups).to(like))
        return denoised.reshape(B, groups * channels, H, W)[:, :r].to(images)

    denoise.__qualname__ = f"for_pnp({type(denoiser).__name__})"
    return denoise


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, the previous mode after it."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
