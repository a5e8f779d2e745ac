"""The picture of docs/solvers.md: writes docs/images/solvers.png and prints the figures under it.

python benchmarks/solver_picture.py

A scene of Produce-23 through a grey mask like real ones: its open pixels are blurred by the optics, it is darker
towards the corners, and nowhere quite closed. A part of the scene is shown.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from crsdun.evaluation import cube_metrics
from crsdun.methods import run_method
from crsdun.optics import Exposure, SensorNoise, random_mask
from crsdun.runtime import open_method
from crsdun.scenes.produce import ProduceSet
from crsdun.viewing import Panel, comparison, picture

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "solvers.png"
SCENE, PHOTONS, DARKEST = 3, 500, 0.005
PART = (slice(20, 180), slice(60, 220))
METHODS = {"gap-tv": "GAP-TV", "admm-tv": "ADMM-TV", "lr-tv": "LR-TV"}


def grey_mask(height: int, width: int) -> np.ndarray:
    """(height, width) float32 in DARKEST..1."""
    mask = gaussian_filter(random_mask(height, width, seed=0), 0.6)
    down, right = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    mask = mask * (1 - 0.35 * (down**2 + right**2) / 2)
    spread = (mask - mask.min()) / (mask.max() - mask.min())
    return (DARKEST + (1 - DARKEST) * spread).astype(np.float32)


scene = ProduceSet("test")[SCENE]
truth = torch.from_numpy(scene.cube)
mask = grey_mask(*truth.shape[1:])
exposure = Exposure(mask, noise=SensorNoise(photons=PHOTONS))
camera = exposure.camera(scene)
frame = exposure.measure(truth, camera, seed=scene.name)
noise = float((frame - camera.forward(truth)).norm() / frame.norm())
print(f"transmissions {mask.min():.3f} to {mask.max():.3f}; noise {noise:.2%} of the exposure")

panels = [Panel("Truth", picture(scene)[0][PART])]
for name, title in METHODS.items():
    method = open_method(name)
    run = run_method(method, frame, camera)
    figures = cube_metrics(run.estimate.cube[0], truth)
    psnr = f"{figures['psnr_db']:.2f} dB"
    found = [f"held out {fit.held_out:.2%}, noise found {fit.noise:.2%}" for fit in run.estimate.fits]
    print(f"{title}: {psnr}, SAM {figures['sam_deg']:.2f}°, residual {run.residual:.2%}", *found, sep=", ")
    panels.append(Panel(title, picture(run.scene(scene.name, method.card), like=scene)[0][PART], psnr))
comparison(panels, IMAGE, columns=len(panels))
