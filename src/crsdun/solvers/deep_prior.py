"""The deep prior: a denoiser whose weights are fitted to one measurement, from the estimate of PnP on.

Legend: B batch · C bands · r images · H, W scene · Wm measurement width · u images (r,H,W) · f the denoiser with its
weights w · σ how wrong u is · n normal deviates, new in each step.

    min_w Σ_pixels (y − A f_w(u + σ n))² / variance

u are the images in which ``Pnp`` ends. The denoiser begins as the one that comes with the package and becomes one
for this scene; what it cannot express, the noise and the traces of the mask, is left out for long. When it begins to
learn these too, the detector pixels held out, which neither LR-TV nor anything after it has seen, are explained
worse. It learns from mirrored images as well, and the estimate is the mean over all four ways to mirror them.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.func import functional_call

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, Fit, Progress
from crsdun.solvers.denoiser import MOST_IMAGES, shipped_denoiser
from crsdun.solvers.lr_tv import LrTv
from crsdun.solvers.pnp import MIRRORED, Pnp, RefinedFrame
from crsdun.solvers.solver import NormalisedFrame, Solver, check_measurement, normalised
from crsdun.storage import atomic_file
from crsdun.tensor_file import read_tensors
from crsdun.typed import parse_json

# A step sees so many rows, which bounds its memory; the network does not know what lies beyond a cut, so the rows
# next to it do not count.
ROWS, MARGIN = 128, 8
# The first steps are shorter; the estimate is the network with the moving average of the weights.
WARM_UP, AVERAGED = 20, 0.05
# The pixels held out are looked at every so many steps; it ends when they were not explained better this often.
EVERY_LOOK, PATIENCE = 20, 5
HEADER = "deep_prior"  # the one metadata entry of a checkpoint, JSON


@dataclass(frozen=True)
class DeepPrior(Solver):
    """A network fitted to the measurement alone, for a better cube when time matters little.

    Attributes:
        iterations: steps of the fit at most; it ends earlier where the detector pixels held out say so.
        minutes: the fit ends after this time, shared evenly by the frames; None takes as long as it takes. Where time
            ends it, results cannot be repeated exactly.
        rate: of learning.
        images: spectral components of the estimate that the network sees, at most.
        seed: of the noise n.
        checkpoint: safetensors file in which the state of the fit is kept, for one frame; where it exists already,
            the fit goes on from it. None keeps nothing.

    Source: Ulyanov et al., "Deep image prior", CVPR 2018, with the noise on the input; for snapshot spectral imaging
    Meng et al., "Self-supervised neural networks for spectral snapshot compressive imaging", ICCV 2021. That it
    begins from a trained denoiser and ends by detector pixels held out is ours.
    """

    iterations: int = 400
    minutes: float | None = None
    rate: float = 5e-4
    images: int = MOST_IMAGES
    seed: int = 0
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, not {self.iterations}")
        for name in ("minutes", "rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, not {value}")
        if not 1 <= self.images <= MOST_IMAGES:
            raise InputError(f"the network takes 1 to {MOST_IMAGES} images, not {self.images}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"the seed must be 0 or more and below 2³², not {self.seed}")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as plain values, without the checkpoint, which decides nothing."""
        return {name: value for name, value in asdict(self).items() if name != "checkpoint"}

    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """Reconstruct by fitting a network to each frame.

        Args:
            measurement: y, (B,H,Wm) floating point, in any units.
            camera: the camera that took it.
            progress: called as ``progress(done, total)`` after each iteration, those of LR-TV included; what was not
                needed counts as done.

        Returns:
            One cube (B,C,H,W), not negative, in the units of y per band; no logits; the fit of each frame. Where the
            detector pixels held out speak against it, both are those of ``LrTv``.

        Raises:
            InputError: y has another shape or type, or contains NaN or infinity; the checkpoint belongs to another
                measurement or to other settings, or cannot be read or written.
        """
        begin = time.monotonic()
        check_measurement(measurement, camera)
        if self.checkpoint is not None and len(measurement) != 1:
            raise InputError(
                f"a checkpoint of {self.name} belongs to a single frame, not to {len(measurement)}",
                "choose one <frame>",
            )
        with learning():
            # Tensors of inference mode cannot take part in learning, their copies can.
            measurement, camera = measurement.detach().clone(), camera.with_masks(Tensor.clone)
            frames, first = normalised(measurement, camera), LrTv(refit=False)
            total = (first.iterations + self.iterations) * len(frames)

            def report(done: int, before: int = 0) -> None:
                if progress is not None:
                    progress(before + done, total)

            start = first(measurement, camera, lambda done, _: report(done))
            cubes, fits = [], []
            key = self._key(measurement, camera)
            for number, (frame, x, fit) in enumerate(zip(frames, start.cube, start.fits, strict=True)):
                share = math.inf if self.minutes is None else 60 * self.minutes * (number + 1) / len(frames)
                before = first.iterations * len(frames) + self.iterations * number
                cube, fit = self._fit(frame, x / frame.scale, fit, key, begin + share, partial(report, before=before))
                cubes.append(cube * frame.scale)
                fits.append(fit)
            return Estimate([torch.stack(cubes)], fits=fits, wavelengths=camera.wavelengths)

    def _fit(
        self, frame: NormalisedFrame, x: Tensor, fit: Fit, key: str, deadline: float, report: Callable[[int], None]
    ) -> tuple[Tensor, Fit]:
        """x (C,H,W), on the scale of y, from its best images, and its fit; ``report`` gets the number of steps."""
        refined = RefinedFrame(frame, x, fit, self.images)
        if refined.nothing:
            report(self.iterations)
            return _plain(frame)
        u, sigma = Pnp(images=self.images).turns(refined)
        u = refined.towards(u, sigma)
        network = shipped_denoiser(u.device)
        state = self._resumed(u, key) or State.first(network, u, refined.held_out(u))
        ended = state.step >= self.iterations or state.fruitless >= PATIENCE
        while not ended:  # by the clock after a step at the earliest, so that resumed fits go on
            self._step(refined, network, state, u, sigma)
            ended = state.step >= self.iterations or time.monotonic() >= deadline
            if ended or state.step % EVERY_LOOK == 0:
                mirrored = [_images(network, state.average, u, sigma, mirror) for mirror in MIRRORED]
                seen = refined.towards(torch.stack(mirrored).mean(0), sigma)
                state.look(seen, refined.held_out(seen))
                if self.checkpoint is not None:
                    state.write(self.checkpoint, key)
            ended = ended or state.fruitless >= PATIENCE
            report(state.step)
        if state.step < self.iterations:
            report(self.iterations)
        if refined.doubted(state.least):
            return _plain(frame)
        return refined.final(state.best, sigma), replace(fit, held_out=state.least)

    def _step(self, refined: RefinedFrame, network: nn.Module, state: State, u: Tensor, sigma: float) -> None:
        """One step of the fit, on some of the rows."""
        random = torch.Generator().manual_seed(self.seed * 2**31 + state.step)  # so that a resumed fit is the same
        height = u.shape[-2]
        by_rows = refined.coefficients.camera.by_rows
        count = min(ROWS, height) if by_rows else height
        top = int(torch.randint(height - count + 1, (1,), generator=random))
        rows = slice(top, top + count)
        mirror = MIRRORED[int(torch.randint(len(MIRRORED), (1,), generator=random))]
        noise = torch.randn(u[:, rows].shape, generator=random, dtype=torch.float32).to(u)
        above, below = MARGIN * (top > 0), MARGIN * (top + count < height)
        inner = slice(above, count - below)
        with torch.enable_grad():
            weights = state.weights.requires_grad_()
            images = _images(network, weights, u[:, rows] + sigma * noise, sigma, mirror)
            if by_rows:
                residual = refined.y[rows] - refined.coefficients.rows(top, count).explained(images)
                loss = (residual.square() / refined.used[rows])[inner].mean()
            else:
                residual = refined.y - refined.coefficients.explained(images)
                loss = (residual.square() / refined.used).mean()
            (gradient,) = torch.autograd.grad(loss, weights)
        state.descend(gradient, self.rate * min(1, (state.step + 1) / WARM_UP))

    def _key(self, measurement: Tensor, camera: CassiCamera) -> str:
        """What a checkpoint belongs to: the settings that may not change, the measurement and its camera."""
        free = ("iterations", "minutes", "checkpoint")
        fixed = {name: value for name, value in asdict(self).items() if name not in free}
        digest = hashlib.sha256(json.dumps([fixed, camera.offsets]).encode())
        for values in (measurement, *camera.tensors):
            digest.update(str((values.dtype, tuple(values.shape))).encode())
            digest.update(values.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _resumed(self, u: Tensor, key: str) -> State | None:
        """The state in the checkpoint, if there is one."""
        if self.checkpoint is None or not Path(self.checkpoint).exists():
            return None
        return State.read(self.checkpoint, u, key)


@contextmanager
def learning() -> Iterator[None]:
    """Gradients are possible, whatever the caller computes in, but are taken only where they are asked for."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _plain(frame: NormalisedFrame) -> tuple[Tensor, Fit]:
    """The estimate of LR-TV, (C,H,W) on the scale of the frame, with all its pixels, and its fit."""
    estimate = LrTv()(frame.measurement[None], frame.camera)
    return estimate.cube[0], estimate.fits[0]


def _images(network: nn.Module, weights: Tensor, u: Tensor, sigma: float, mirror: tuple[int, ...]) -> Tensor:
    """f_w(u), (r,H,W), of mirrored images: the network with the weights (P,) in place of its own."""
    parts = weights.split([each.numel() for each in network.parameters()])
    named = {name: part.view_as(each) for (name, each), part in zip(network.named_parameters(), parts, strict=True)}
    level = torch.full((1,), sigma, dtype=torch.float32, device=u.device)
    images: Tensor = functional_call(network, named, (u[None].flip(mirror).float(), level))
    return images[0].flip(mirror).to(u.dtype)


class StoredState(TypedDict):
    """The header of a checkpoint."""

    key: str
    step: int
    fruitless: int
    least: float


@dataclass
class State:
    """What a fit has reached.

    Attributes:
        weights, average: of the network, in one row, (P,), and their moving average.
        mean, square: of the gradients, as Adam keeps them, (P,).
        best: images (r,H,W) that explain the detector pixels held out best, and ``least``, the error of these.
        step: number of steps.
        fruitless: how many of the last looks found nothing better.
    """

    weights: Tensor
    average: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    least: float
    step: int = 0
    fruitless: int = 0

    @classmethod
    def first(cls, network: nn.Module, u: Tensor, held_out: float) -> State:
        """Before the first step."""
        weights = torch.cat([each.detach().flatten() for each in network.parameters()])
        return cls(weights, weights.clone(), torch.zeros_like(weights), torch.zeros_like(weights), u, held_out)

    def descend(self, gradient: Tensor, rate: float) -> None:
        """A step of Adam (Kingma and Ba, ICLR 2015, algorithm 1, with their β), and of the average."""
        self.step += 1
        self.mean.lerp_(gradient, 0.1)
        self.square.lerp_(gradient.square(), 0.001)
        mean, square = self.mean / (1 - 0.9**self.step), self.square / (1 - 0.999**self.step)
        self.weights = self.weights.detach() - rate * mean / (square.sqrt() + 1e-8)
        self.average.lerp_(self.weights, AVERAGED)

    def look(self, images: Tensor, held_out: float) -> None:
        """Keep the images if they are the best so far; where the fit was interrupted is no reason to end it."""
        self.fruitless += self.step % EVERY_LOOK == 0
        if held_out < self.least:
            self.best, self.least, self.fruitless = images, held_out, 0

    def write(self, path: str, key: str) -> None:
        """Into a safetensors file, whole; errors as ``storage.atomic_file``."""
        names = ("weights", "average", "mean", "square", "best")
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in names}
        header = StoredState(key=key, step=self.step, fruitless=self.fruitless, least=self.least)
        with atomic_file(path) as part:
            part.write_bytes(to_bytes(tensors, metadata={HEADER: json.dumps(header)}))

    @classmethod
    def read(cls, path: str, like: Tensor, key: str) -> State:
        """From such a file.

        Args:
            like: a tensor of the device and the shape of the images.

        Raises:
            InputError: it is no such file, or its key is another one.
        """
        remedy = "name another <checkpoint>, or delete this one"
        try:
            texts, tensors = read_tensors(path)
            header = parse_json(StoredState, texts.get(HEADER, ""), path, remedy)
            if header["key"] != key:
                raise InputError(f"{path} belongs to another measurement, camera or setting", remedy)
            on_device = {name: each.to(like.device) for name, each in tensors.items()}
            return cls(**on_device, least=header["least"], step=header["step"], fruitless=header["fruitless"])
        except (OSError, SafetensorError, TypeError) as error:
            raise InputError(f"{path} is no checkpoint of deep-prior ({error})", remedy) from error
