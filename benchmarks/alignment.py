"""How well ``align`` finds a mask that has moved, and what that is worth: the tables of docs/camera.md.

python benchmarks/alignment.py [found | decoded]

Scenes of Produce-23 and Indian Pines, behind a random and a grey mask, without noise and with 500 photons. The true
mask is the told one moved and interpolated, its border closed.
"""

import math
import random
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from crsdun.evaluation import cube_metrics
from crsdun.optics import CassiCamera, SensorNoise, moved_mask, random_mask
from crsdun.scenes import Scene
from crsdun.scenes.catalog import open_whole
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import LrTv, align

PHOTONS = 500
LENGTHS = (0.25, 0.5, 1.0, 1.5)
DECODED = {"random": ((0.5, -0.5), (1, 1)), "grey": ((0.5, -0.5),)}


def grey_mask(height: int, width: int) -> np.ndarray:
    """A random mask blurred by the optics and darker towards the corners, as in ``solver_picture.py``."""
    mask = gaussian_filter(random_mask(height, width, seed=0), 0.6)
    down, right = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    mask = mask * (1 - 0.35 * (down**2 + right**2) / 2)
    return (0.005 + 0.995 * (mask - mask.min()) / (mask.max() - mask.min())).astype(np.float32)


MASKS = {"random": random_mask, "grey": grey_mask}


def scenes(each: int) -> Iterator[Scene]:
    """Of validation and test as many as ``each``."""
    for split in ("validation", "test"):
        produce = ProduceSet(split)
        yield from (produce[number] for number in range(each))


def directions() -> list[tuple[float, float]]:
    """Down or up, right or left, and any."""
    angle = random.uniform(0, 2 * math.pi)
    return [(random.choice((-1, 1)), 0), (0, random.choice((-1, 1))), (math.sin(angle), math.cos(angle))]


def exposed(cube: torch.Tensor, camera: CassiCamera, noise: SensorNoise) -> torch.Tensor:
    return noise(camera.forward(cube), camera.bands, torch.Generator().manual_seed(1))[None]


def found() -> None:
    """How often a displacement is found within 0.1 pixels along both axes (none: exactly), and its largest error."""
    random.seed(0)
    results: dict[tuple[str, str, float], list[float]] = {}
    seconds = []
    for scene in [*scenes(6), open_whole("indian-pines")[0]]:
        cube = torch.from_numpy(np.nan_to_num(scene.cube))
        for name, make in MASKS.items():
            told = CassiCamera(make(*cube.shape[1:]), cube.shape[0])
            for noise, title in ((SensorNoise(), "none"), (SensorNoise(photons=PHOTONS), f"{PHOTONS} photons")):
                moves = [(0.0, (0.0, 0.0))] + [
                    (length, (length * down, length * right)) for length in LENGTHS for down, right in directions()
                ]
                for length, move in moves:
                    true = told.with_mask(torch.from_numpy(moved_mask(told.mask.numpy(), *move)))
                    y = exposed(cube, true, noise)
                    start = time.process_time()
                    _, shift = align(y, told)
                    if cube.shape[1] == 256:
                        seconds.append(time.process_time() - start)
                    error = max(abs(shift.down - move[0]), abs(shift.right - move[1]))
                    results.setdefault((name, title, length), []).append(error)
                    if error > 0.1 and length != 0.25:
                        print(f"not found: {scene.name}, {name}, {title}, moved by {move}: {shift}", flush=True)
    lengths = (0.0, *LENGTHS)
    print(
        "| mask | noise |", " | ".join(f"{length:g} px" for length in lengths), "|\n|---|---|" + "---|" * len(lengths)
    )
    for name, title in dict.fromkeys(key[:2] for key in results):
        cells = []
        for length in lengths:
            errors = results[name, title, length]
            good = sum(error <= (0.1 if length else 0) for error in errors)
            cells.append(f"{good} of {len(errors)}, {max(errors):.2f} px")
        print(f"| {name} | {title} |", " | ".join(cells), "|")
    threads = torch.get_num_threads()
    print(f"256×256, 28 bands: {statistics.median(seconds):.2f} s of processor time (median), threads: {threads}")


def decoded() -> None:
    """PSNR of ``lr-tv`` behind the true camera, the told one and the aligned one."""
    figures: dict[tuple[str, tuple[float, float]], list[list[float]]] = {}
    for scene in scenes(4):
        cube = torch.from_numpy(scene.cube)
        for name, shifts in DECODED.items():
            told = CassiCamera(MASKS[name](*cube.shape[1:]), cube.shape[0])
            noise = SensorNoise(photons=PHOTONS)

            def psnr(y: torch.Tensor, camera: CassiCamera, cube: torch.Tensor = cube) -> float:
                return cube_metrics(LrTv()(y, camera).cube[0], cube)["psnr_db"]

            still = psnr(exposed(cube, told, noise), told)
            for move in shifts:
                true = told.with_mask(torch.from_numpy(moved_mask(told.mask.numpy(), *move)))
                y = exposed(cube, true, noise)
                row = [still, *(psnr(y, camera) for camera in (true, told, align(y, told)[0]))]
                figures.setdefault((name, move), []).append(row)
                print(scene.name, name, move, *(f"{value:.2f}" for value in row), flush=True)
    print("| mask | moved down, right | scenes | not moved | known | told | aligned |\n|---|---|---|---|---|---|---|")
    for (name, move), rows in figures.items():
        means = " | ".join(f"{value:.2f}" for value in np.mean(rows, 0))
        print(f"| {name} | {move[0]:g}, {move[1]:g} px | {len(rows)} | {means} |")


for part in sys.argv[1:] or ("found", "decoded"):
    {"found": found, "decoded": decoded}[part]()
