"""How well ``refine_camera`` finds how a camera deviates, and what that is worth: the tables of docs/camera.md.

python benchmarks/self_calibration.py [found | exact | real FOLDER] [number of Produce-23 scenes]

Scenes of Produce-23 and Indian Pines, 500 photons. The true mask is the told one displaced, turned, scaled and
interpolated, its border closed; the true dispersion is the told one scaled; the detector has the told size. FOLDER
holds ``mask.mat`` and frames ``scene*.mat`` of a real camera with 28 bands and a step of 2.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from crsdun.evaluation import cube_metrics
from crsdun.optics import CassiCamera, SensorNoise, moved_mask, random_mask
from crsdun.scenes import Scene, read_mask, read_measurement
from crsdun.scenes.catalog import open_whole
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import Deviation, LrTv, Refinement, refine_camera
from crsdun.solvers.self_calibration import on_detector

PHOTONS, ROWS = 500, 128
DEVIATIONS = (Deviation(1.5, 1.0, 0.3, 1.0, 1.02), Deviation(-0.7, 0.4, -0.2, 1.004, 0.99))
NAMES = ("down", "right", "degrees", "scale", "dispersion")


def scenes(count: int) -> list[Scene]:
    """Of the test split as many as ``count``, and Indian Pines."""
    produce = ProduceSet("test")
    return [*(produce[number] for number in range(count)), open_whole("indian-pines")[0]]


def true_camera(told: CassiCamera, by: Deviation) -> CassiCamera:
    mask = moved_mask(told.mask.numpy(), by.down, by.right, by.degrees, by.scale)
    return CassiCamera(mask, offsets=[by.dispersion * offset for offset in told.offsets])


def exposed(cube: torch.Tensor, true: CassiCamera, told: CassiCamera) -> torch.Tensor:
    """The frame (1,H,Wm) on the detector of the told camera."""
    y = on_detector(true.forward(cube), true, told)
    return SensorNoise(photons=PHOTONS)(y, told.bands, torch.Generator().manual_seed(1))[None]


def refined(y: torch.Tensor, told: CassiCamera) -> tuple[Refinement, float]:
    """What was found, and the seconds of processor time it took."""
    start = time.process_time()
    found = refine_camera(y, told)
    return found, time.process_time() - start


def found(count: int) -> None:
    """Errors of what is found, and PSNR of ``lr-tv`` behind the true camera, the told one and the refined one."""
    print("| scene | deviation |", " | ".join(f"error {name}" for name in NAMES), end=" | ")
    print("PSNR known | told | refined | brought back | held out before | after | CPU s |\n|---|---|" + "---|" * 12)
    for scene in scenes(count):
        cube = torch.from_numpy(np.nan_to_num(scene.cube))
        told = CassiCamera(random_mask(*cube.shape[1:]), cube.shape[0])
        for by in DEVIATIONS:
            true = true_camera(told, by)
            y = exposed(cube, true, told)
            result, seconds = refined(y, told)
            errors = [getattr(result.deviation, name) - getattr(by, name) for name in NAMES]
            cells = [scene.name, str(by), *(f"{error:+.4f}" for error in errors)]
            psnr = [
                cube_metrics(LrTv()(frames, camera).cube[0], cube)["psnr_db"]
                for frames, camera in (
                    (on_detector(y, told, true), true),
                    (y, told),
                    (result.frames(y), result.camera),
                )
            ]
            back = (psnr[2] - psnr[1]) / (psnr[0] - psnr[1])
            cells += [*(f"{value:.2f}" for value in psnr), f"{back:.1%}"]
            cells += [f"{result.before:.4f}", f"{result.after:.4f}", f"{seconds:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def exact(count: int) -> None:
    """Whether a camera that is as told stays itself."""
    for scene in scenes(count):
        cube = torch.from_numpy(np.nan_to_num(scene.cube))
        told = CassiCamera(random_mask(*cube.shape[1:]), cube.shape[0])
        result, seconds = refined(exposed(cube, told, told), told)
        print(f"{scene.name}: {'itself' if result.camera is told else result}, {seconds:.1f} s", flush=True)


def real(folder: Path) -> None:
    """What the middle of each real frame says, and all together."""
    told = CassiCamera(read_mask(folder / "mask.mat"), 28)
    top = (told.height - ROWS) // 2
    told = told.crop(top, 0, ROWS, told.width)
    files = sorted(folder.glob("scene*.mat"))
    frames = {file.stem: torch.from_numpy(read_measurement(file).frame[top : top + ROWS]) for file in files}
    together = {" and ".join(frames): torch.stack(list(frames.values()))}
    for name, y in {**{name: frame[None] for name, frame in frames.items()}, **together}.items():
        result, seconds = refined(y.float(), told)
        print(f"{name}: {result}, {seconds:.1f} s", flush=True)


what, *rest = sys.argv[1:] or ["found"]
if what == "real":
    real(Path(rest[0]))
else:
    {"found": found, "exact": exact}[what](int(rest[0]) if rest else 3)
