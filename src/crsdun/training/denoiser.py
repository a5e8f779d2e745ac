"""How the denoiser of ``pnp`` learns: from what its own loop arrives at, and from white noise.

``python -m crsdun.training.denoiser runs/denoiser`` trains one like the shipped one, and resumes it. The shipped one
has seen other scenes beside produce: painted leaves and photographs in measured spectra, before there was patchwork.

The errors of an estimate are not white: they are what the mask did not measure. So most samples are states of the
loop. A scene is measured and estimated by LR-TV; then the network removes noise, which is the sample, the result
takes the step towards the measurement, and so on, as ``pnp`` does. Each step of the training moves a few of many
such states on by one turn. The other samples are true images with white noise, from which the loop goes on too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CameraRandomisation, SensorNoise
from crsdun.scenes import Scene, SceneSet
from crsdun.scenes.augmentation import flipped, turned
from crsdun.scenes.catalog import open_set
from crsdun.scenes.patchwork import PatchworkSet
from crsdun.solvers import LrTv
from crsdun.solvers.coefficients import Coefficients
from crsdun.solvers.denoiser import Block, CoefficientDenoiser
from crsdun.storage import locked, write_bytes_durably
from crsdun.tensor_file import read_tensors
from crsdun.training.optimisers import Muon

STATE, WEIGHTS, LOG = "state.safetensors", "weights.safetensors", "log.csv"


@dataclass(frozen=True)
class DenoiserTraining:
    """The recipe of the shipped denoiser.

    Attributes:
        source: data set whose training scenes make half of all scenes.
        steps: of the optimiser.
        batch: states moved on in each.
        size: rows and columns of a state.
        rate: of Muon, falling to zero along a cosine.
        pool: so many estimates are made, from which states begin again and again.
        fresh: part of the beginnings that make one, until there are as many.
        white: part of the beginnings that are true images with white noise.
        seed: of everything.
    """

    source: str = "produce"
    steps: int = 4000
    batch: int = 3
    size: int = 128
    rate: float = 0.01
    pool: int = 800
    fresh: float = 0.6
    white: float = 0.2
    seed: int = 0


# -- scenes --------------------------------------------------------------------------------------------------


class Scenes:
    """Cubes (C,n,n) without end: one half is produce, the other patchwork on bands of any number."""

    def __init__(self, produce: SceneSet, size: int):
        self.produce, self.patchwork, self.size = produce, PatchworkSet("train"), size

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A crop, turned and flipped."""
        scene = self.of_produce(rng) if rng.random() < 0.5 else self.of_patchwork(rng)
        scene = turned(scene, int(rng.integers(4)))
        return np.ascontiguousarray((flipped(scene, -1) if rng.random() < 0.5 else scene).cube, np.float32)

    def of_produce(self, rng: np.random.Generator) -> Scene:
        """Sometimes on fewer bands."""
        scene = self.part(self.produce, rng)
        if rng.random() < 0.3 and scene.wavelengths is not None:
            fewer = int(rng.integers(10, scene.bands + 1))
            scene = scene.resampled(tuple(np.linspace(scene.wavelengths[0], scene.wavelengths[-1], fewer)))
        return scene

    def of_patchwork(self, rng: np.random.Generator) -> Scene:
        bands = int(rng.integers(8, 32)) if rng.random() < 0.6 else 28
        wavelengths = np.linspace(rng.uniform(390, 450), rng.uniform(620, 730), bands)
        return self.part(self.patchwork.on_grid(tuple(wavelengths)), rng)

    def part(self, scenes: SceneSet, rng: np.random.Generator) -> Scene:
        """A crop of a scene."""
        index = int(rng.integers(len(scenes)))
        top, left = (int(rng.integers(length - self.size + 1)) for length in scenes.size(index))
        return scenes.crop(index, top, left, self.size, self.size)


# Binary masks, three tenths of them blurred, leaking or unevenly lit, as calibrated ones are.
CAMERAS = CameraRandomisation(
    coarse=0, grey=0, saturated=0, per_band=0, fractional=0, uneven=0, misplaced=0,
    blurred=0.3, blur=(0.2, 0.6), leaking=0.3, leak=(0, 0.1), transmission=(0.6, 0.9), vignetted=0.3, left=0.15,
)  # fmt: skip


def draw_noise(rng: np.random.Generator, bands: int) -> SensorNoise:
    """None for two fifths, shot noise or read-out noise for three tenths each."""
    kind = rng.random()
    if kind < 0.4:
        return SensorNoise()
    if kind < 0.7:
        return SensorNoise(photons=float(np.exp(rng.uniform(np.log(100), np.log(3000)))))
    return SensorNoise(read_sigma=float(np.exp(rng.uniform(np.log(0.03), np.log(0.25)))) * bands / 28)


# -- states of the loop --------------------------------------------------------------------------------------


@dataclass(eq=False)
class State:
    """A scene in the loop: what it is estimated to be after ``turn`` of ``turns``.

    Attributes:
        y, variance: the measurement and the variance of its pixels, (H,Wm).
        truth, images: (r,H,W).
    """

    coefficients: Coefficients
    y: Tensor
    variance: Tensor
    truth: Tensor
    images: Tensor
    turns: int = 0
    turn: int = 0
    white: bool = False

    @property
    def weights(self) -> Tensor:
        """Of the squared errors of the images, (r,1,1), sum 1: between those of the cube and all alike."""
        weight = self.coefficients.basis.square().sum(0) ** 0.75
        return (weight / weight.sum())[:, None, None]

    def error(self, images: Tensor) -> float:
        """How wrong images are, the root of the mean square, not 0."""
        return max(float((self.weights * (images - self.truth).square()).sum(0).mean().sqrt()), 1e-6)


def draw_state(rng: np.random.Generator, scenes: Scenes) -> State:
    """A scene behind a random camera, estimated by LR-TV, which may have ended early."""
    cube = torch.as_tensor(scenes.draw(rng))
    bands, noise = len(cube), draw_noise(rng, len(cube))
    camera = CAMERAS.draw(rng, scenes.size, scenes.size, bands).true
    y = noise(camera.forward(cube), bands, torch.Generator().manual_seed(int(rng.integers(2**31))))
    iterations = 150 if rng.random() < 0.4 else int(rng.integers(40, 120))
    estimate = LrTv(iterations=iterations)(y[None], camera).cube[0]
    coefficients = Coefficients.of(estimate, int(rng.choice([4, 5, 6, 7, 8, 8, 8, 8])), camera)
    # Even without noise the components that are left out remain unexplained.
    variance = noise.read_sigma**2 + (y / noise.photons if noise.photons else 0) + (0.003 * y.mean()) ** 2
    return State(
        coefficients, y, variance + torch.zeros_like(y), coefficients.images(cube), coefficients.images(estimate)
    )


@torch.no_grad()
def before_denoising(rng: np.random.Generator, state: State) -> Tensor:
    """The images (r,H,W) that the denoiser gets next."""
    if state.white and state.turn == 0:
        sigma = math.exp(rng.uniform(math.log(0.007), math.log(0.1)))
        return state.truth + sigma * torch.as_tensor(rng.standard_normal(state.truth.shape), dtype=torch.float32)
    sigma = state.error(state.images) * math.exp(rng.normal(0, 0.3))
    return state.coefficients.towards(state.images, state.y, state.variance, sigma, int(rng.integers(5, 10)))


class States:
    """Many scenes in the loop, of which a few are drawn for each step of the training."""

    MOVING = 24

    def __init__(self, config: DenoiserTraining, scenes: Scenes, rng: np.random.Generator):
        self.config, self.scenes, self.rng = config, scenes, rng
        self.begun: list[State] = []
        self.moving: list[State] = []

    def draw(self) -> list[State]:
        """Those of the next step."""
        while len(self.moving) < self.config.batch or (len(self.moving) < self.MOVING and self.rng.random() < 0.5):
            self.moving.append(self.begin())
        return [self.moving[place] for place in self.rng.permutation(len(self.moving))[: self.config.batch]]

    def begin(self) -> State:
        """A state at its first turn."""
        rng = self.rng
        few = len(self.begun) < min(40, self.config.pool)
        if few or (len(self.begun) < self.config.pool and rng.random() < self.config.fresh):
            self.begun.append(draw_state(rng, self.scenes))
        white = rng.random() < self.config.white
        state = self.begun[-1 if rng.random() < 0.2 else int(rng.integers(len(self.begun)))]
        return replace(state, white=white, turns=int(rng.integers(1, 5) if white else rng.integers(2, 9)))

    def move(self, state: State, images: Tensor, ratio: float) -> None:
        """Take the denoised images; a state that is done, or only gets worse, leaves."""
        state.images, state.turn = images, state.turn + 1
        if state.turn == state.turns or not ratio < 2:
            self.moving.remove(state)


# -- learning ------------------------------------------------------------------------------------------------


class Run:
    """A training that goes on where the last one in the same folder ended, with new states.

    Attributes:
        network: that learns.
        average: of its weights over the last thousand steps; what is kept in the end.
        step: steps done.
    """

    def __init__(self, folder: Path, config: DenoiserTraining):
        self.folder, self.config, self.step = folder, config, 0
        torch.manual_seed(config.seed)
        self.network, self.average = CoefficientDenoiser(), CoefficientDenoiser()
        for block in self.network.modules():
            if isinstance(block, Block):
                block.second.weight.data *= 0.3
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = Muon(self.network.parameters(), config.rate)
        if (folder / STATE).exists():
            self.restore()

    def learn(self, notify: Callable[[str], None] = print) -> Path:
        """Take the steps that are left; returns the file of the weights."""
        config, began = self.config, time.monotonic()
        rng = np.random.default_rng([config.seed, self.step])
        states = States(config, Scenes(open_set(config.source, "train"), config.size), rng)
        ratios: list[float] = []
        while self.step < config.steps:
            fall = 0.01 + 0.99 * (1 + math.cos(math.pi * self.step / config.steps)) / 2
            self.optimiser.param_groups[0]["lr"] = config.rate * fall * min(1, (self.step + 1) / 100)
            ratios += self.turn(rng, states)
            if self.step % 100 == 0 or self.step == config.steps:
                row = f"{self.step},{sum(ratios) / len(ratios):.4f},{time.monotonic() - began:.0f}"
                with (self.folder / LOG).open("a", encoding="utf-8") as log:
                    log.write(row + "\n")
                notify(f"step {self.step} of {config.steps}: {row.split(',')[1]} of the noise is left")
                ratios = []
            if self.step % 500 == 0 or self.step == config.steps:
                self.store()
        weights = {name: value.contiguous() for name, value in self.average.state_dict().items()}
        write_bytes_durably(self.folder / WEIGHTS, save(weights, metadata={"recipe": json.dumps(asdict(config))}))
        return self.folder / WEIGHTS

    def turn(self, rng: np.random.Generator, states: States) -> list[float]:
        """One step of the optimiser; returns how much of the noise of each state is left."""
        drawn = states.draw()
        noisy = [before_denoising(rng, state) for state in drawn]
        sigma = [s.error(v) * math.exp(rng.normal(0, 0.35)) for v, s in zip(noisy, drawn, strict=True)]
        v, truth, weights = (
            torch.stack([F.pad(each, (0, 0, 0, 0, 0, self.network.images - len(each))) for each in images])
            for images in (noisy, [s.truth for s in drawn], [s.weights for s in drawn])
        )
        with torch.autocast("cpu", torch.bfloat16):
            u = self.network(v, torch.tensor(sigma)).float()
        left, noise = ((weights * (each - truth).square()).sum(1).mean((-2, -1)) for each in (u, v))
        ratio = (left / (noise + 6e-5)).sqrt()
        self.optimiser.zero_grad()
        ratio.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1)
        self.optimiser.step()
        self.step += 1
        share = max(0.001, 9 / (self.step + 10))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, share)
        for state, images, each in zip(drawn, u.detach(), ratio.tolist(), strict=True):
            states.move(state, images[: len(state.truth)].clone(), each)
        return ratio.tolist()

    def store(self) -> None:
        """Write everything but the states."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for place, weight in enumerate(self.network.parameters()):
            tensors[f"mean.{place}"] = self.optimiser.state[weight]["mean"]
        tensors["step"] = torch.tensor(self.step)
        write_bytes_durably(self.folder / STATE, save(tensors, metadata={"recipe": json.dumps(asdict(self.config))}))

    def restore(self) -> None:
        """Go on from what ``store`` wrote.

        Raises:
            InputError: the run had another recipe.
        """
        header, tensors = read_tensors(self.folder / STATE)
        if json.loads(header["recipe"]) != asdict(self.config):
            raise InputError(f"{self.folder} is a run with another recipe", "choose another folder")
        for part, network in (("network.", self.network), ("average.", self.average)):
            network.load_state_dict(
                {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)}
            )
        for place, weight in enumerate(self.network.parameters()):
            self.optimiser.state[weight]["mean"] = tensors[f"mean.{place}"]
        self.step = int(tensors["step"])


def train_denoiser(
    folder: str | Path, config: DenoiserTraining | None = None, notify: Callable[[str], None] = print
) -> Path:
    """Train the denoiser of ``pnp``, or go on with a training; returns the file of its weights.

    Args:
        folder: of the run.
        notify: called with a line every hundred steps.

    Raises:
        InputError: the folder holds a run with another recipe or is in use.
    """
    folder = Path(folder)
    with locked(folder):
        return Run(folder, config or DenoiserTraining()).learn(notify)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the denoiser of pnp, or go on with a training.")
    parser.add_argument("folder", help="of the run")
    print(train_denoiser(parser.parse_args().folder))
