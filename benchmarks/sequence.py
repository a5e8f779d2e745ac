"""What the frame before is worth: the tables of docs/reconstruct.md#sequences.

python benchmarks/sequence.py

A scene of Produce-23 is looked at through a window of 64×64 pixels that moves to the right, by so many pixels from
frame to frame; each frame has its own noise. For each method: the mean PSNR of the second to the fourth frame in dB,
cold with all iterations, cold and warm with fewer, smoothed in time, and as a plain mean with the frame before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from crsdun.evaluation import cube_metrics
from crsdun.methods import Before, RunOptions, run_method
from crsdun.optics import CassiCamera, Exposure, SensorNoise, random_mask
from crsdun.runtime import simulate
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import AdmmTv, GapTv, LrTv
from crsdun.solvers.gap_admm import WARM_PART

SPEEDS = (0, 1, 4)
PHOTONS = (50.0, 5000.0)
SMOOTHING, SIDE, FRAMES = 0.5, 64, 4


class Frame(NamedTuple):
    """One frame of a sequence."""

    truth: Tensor
    y: Tensor
    camera: CassiCamera


def frames(speed: float, photons: float) -> list[Frame]:
    """A window that moves."""
    scene, mask = ProduceSet("test")[3], random_mask(SIDE, SIDE, seed=1)
    taken = []
    for number in range(FRAMES):
        seen = scene.cropped(60, 40 + round(speed * number), SIDE, SIDE)
        exposure = Exposure(mask, noise=SensorNoise(photons=photons, read_sigma=0.01), seed=number)
        y = torch.from_numpy(simulate(seen, exposure).frame)
        taken.append(Frame(torch.from_numpy(seen.cube), y, CassiCamera(mask, wavelengths=seen.wavelengths)))
    return taken


def decoded(solver: Any, taken: list[Frame], warm: bool = False) -> list[Tensor]:
    """The cubes."""
    cubes: list[Tensor] = []
    for frame in taken:
        before = Before(cubes[-1].numpy()) if warm and cubes else None
        cubes.append(run_method(solver, frame.y, frame.camera, RunOptions(before=before)).estimate.cube[0])
    return cubes


def smoothed(cubes: list[Tensor], taken: list[Frame], plain: bool) -> list[Tensor]:
    """The same, each with a part of the one before."""
    out = cubes[:1]
    for cube, frame in zip(cubes[1:], taken[1:], strict=True):
        if plain:
            out.append(cube + SMOOTHING * (out[-1] - cube))
        else:
            out.append(Before(out[-1].numpy(), smoothing=SMOOTHING).smooth(cube, frame.camera))
    return out


def quality(cubes: list[Tensor], taken: list[Frame]) -> float:
    """Mean PSNR in dB."""
    pairs = zip(cubes[1:], taken[1:], strict=True)
    return float(np.mean([cube_metrics(cube, frame.truth)["psnr_db"] for cube, frame in pairs]))


def main() -> None:
    print("photons, pixels per frame, method: cold | cold, fewer | warm, fewer | smoothed | plain mean")
    for photons in PHOTONS:
        for speed in SPEEDS:
            taken = frames(speed, photons)
            for solver in (GapTv(), AdmmTv(), LrTv()):
                shorter = replace(solver, iterations=round(WARM_PART * solver.iterations))
                cold = decoded(solver, taken)
                figures = [quality(each, taken) for each in (cold, decoded(shorter, taken))]
                figures.append(quality(decoded(solver, taken, warm=True), taken) if solver.takes_start else np.nan)
                figures += [quality(smoothed(cold, taken, plain), taken) for plain in (False, True)]
                line = " | ".join(f"{each:.2f}" for each in figures)
                print(f"{photons:g}, {speed}, {solver.name}: {line}", flush=True)


if __name__ == "__main__":
    main()
