"""What it is worth to tell a solver the optics of its camera: the table of docs/camera.md.

python benchmarks/optics.py

Parts of scenes of Produce-23 (96×96 pixels, 28 bands), a random mask, a step of 2 where nothing else is said, 2000
photons. Each camera's measurement is decoded by LR-TV with its optics told, and as if it were the plain one.
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from crsdun.evaluation import cube_metrics
from crsdun.optics import (
    Blur,
    CassiCamera,
    Distortion,
    SensorNoise,
    SideCamera,
    StackedCamera,
    Validity,
    dual_disperser,
    random_mask,
)
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import LrTv

SIZE, BANDS, SCENES, PHOTONS = 96, 28, 4, 2000
MASK = random_mask(SIZE, SIZE, seed=0)
PLAIN = CassiCamera(MASK, bands=BANDS)
BAND = np.arange(BANDS)


@dataclass
class Trial:
    """A camera, the part of its measurement that the pretended one would have taken, and that one."""

    camera: CassiCamera
    window: tuple[slice, slice] = (slice(None), slice(None))
    pretended: CassiCamera | None = PLAIN
    dead: np.ndarray | None = None


def distortion() -> Distortion:
    """Barrel distortion: 3 pixels in the corners, none in the middle."""
    rows, columns = (np.linspace(-1, 1, size) for size in PLAIN.measurement_shape)
    radius = rows[:, None] ** 2 + columns**2
    return Distortion(1.06 * np.stack([rows[:, None] * radius, columns * radius]))


def rgb() -> SideCamera:
    """Three channels, each sensitive around a third of the spectrum."""
    centres = np.array([0.8, 0.5, 0.2])[:, None]
    return SideCamera(np.exp(-(((BAND / (BANDS - 1) - centres) / 0.15) ** 2)).astype(np.float32), SIZE, SIZE)


def trials() -> dict[str, Trial]:
    dead = np.random.default_rng(0).random(PLAIN.measurement_shape) < 0.02
    middle = slice(3, 3 + SIZE)
    fractional = CassiCamera(MASK, offsets=2 * BAND + 1.5 * np.sin(np.pi * BAND / (BANDS - 1)))
    exposures = [CassiCamera(random_mask(SIZE, SIZE, seed=seed), bands=BANDS) for seed in range(4)]
    return {
        "plain": Trial(PLAIN, pretended=None),
        "0.25 pixels down for each band": Trial(
            CassiCamera(MASK, offsets=np.stack([0.25 * BAND, 2 * BAND], 1)), (middle, slice(None))
        ),
        "a bent dispersion, 1.5 pixels off": Trial(fractional, (slice(None), slice(0, PLAIN.measurement_width))),
        "2 % dead pixels": Trial(PLAIN.through(Validity(~dead)), dead=dead),
        "a blur of 0.6 pixels": Trial(PLAIN.through(Blur.gaussian(0.6))),
        "a blur of 0.3 to 0.9 pixels along the bands": Trial(
            PLAIN.through(Blur.gaussian([0.3 + 0.6 * band / (BANDS - 1) for band in range(BANDS)]))
        ),
        "distortion, 3 pixels in the corners": Trial(PLAIN.through(distortion())),
        "two exposures": Trial(StackedCamera(*exposures[:2]), pretended=None),
        "four exposures": Trial(StackedCamera(*exposures), pretended=None),
        "a grey picture beside it": Trial(
            StackedCamera(PLAIN, SideCamera(torch.full((1, BANDS), 0.3), SIZE, SIZE)), pretended=None
        ),
        "an RGB picture beside it": Trial(StackedCamera(PLAIN, rgb()), pretended=None),
        "a double disperser": Trial(
            dual_disperser(random_mask(SIZE, PLAIN.measurement_width), bands=BANDS), pretended=None
        ),
    }


def decoded(y: torch.Tensor, camera: CassiCamera, truth: torch.Tensor) -> float:
    return cube_metrics(LrTv()(y[None], camera).cube[0].clamp(0, 1), truth)["psnr_db"]


def main() -> None:
    torch.set_num_threads(1)
    scenes = [torch.from_numpy(ProduceSet("validation").crop(k, 80, 80, SIZE, SIZE).cube) for k in range(SCENES)]
    print("| camera | told | as if plain | seconds |\n|---|---|---|---|")
    for name, trial in trials().items():
        told, pretended, seconds = [], [], []
        for scene in scenes:
            y = SensorNoise(PHOTONS)(trial.camera.forward(scene), BANDS, torch.Generator().manual_seed(1))
            if trial.dead is not None:
                y = torch.where(torch.from_numpy(trial.dead), 0, y)
            began = time.process_time()
            told.append(decoded(y, trial.camera, scene))
            seconds.append(time.process_time() - began)
            if trial.pretended is not None:
                pretended.append(decoded(y[trial.window], trial.pretended, scene))
        other = f"{statistics.mean(pretended):.2f}" if pretended else ""
        print(f"| {name} | {statistics.mean(told):.2f} | {other} | {statistics.mean(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()
