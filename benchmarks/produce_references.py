"""Reference points of Produce-23: writes src/crsdun/scenes/produce/references.json and prints a table.

python benchmarks/produce_references.py       (some 20 minutes on one core)

How much one pixel reveals, and how much of that remains after reconstruction without learning. A small network of two
hidden layers learns the class of a pixel from pixels of all training scenes: from their true spectra, from the colour
that they have for a camera under the lamp of the scene, and from their colour in daylight. It is evaluated on every
pixel of the test scenes. The first is also applied to the cubes that GAP-TV reconstructs.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crsdun.evaluation import cube_metrics
from crsdun.evaluation.metrics import class_figures, confusion_matrix
from crsdun.optics import CassiCamera, random_mask
from crsdun.scenes.produce import CLASS_NAMES, ProduceSet, dataset
from crsdun.scenes.produce.rendering import VERSION
from crsdun.scenes.scene import Scene
from crsdun.solvers import GapTv
from crsdun.viewing import cube_to_srgb

PIXELS = 1500  # of each training scene: four fifths of them on objects
STEPS, BATCH, WIDTH = 6000, 2048, 128

torch.set_num_threads(1)


def spectrum(scene: Scene) -> np.ndarray:
    """(H·W, C)."""
    return scene.cube.reshape(scene.bands, -1).T


def colour(scene: Scene, illuminant: str | None = None) -> np.ndarray:
    """8-bit sRGB in 0..1, (H·W, 3), under the lamp of the scene or another; a reflectance of 1 is white."""
    lamp = illuminant or scene.provenance["illuminant"]
    image = cube_to_srgb(scene.cube, scene.wavelengths, lamp, normalise=False)
    return image.reshape(-1, 3).astype(np.float32) / 255


def daylight(scene: Scene) -> np.ndarray:
    return colour(scene, "D65")


def learn(look: Callable[[Scene], np.ndarray]) -> Callable[[np.ndarray], Tensor]:
    """A classifier of pixels, (pixels, features) → logits (pixels, N), learnt from all training scenes."""
    rng = np.random.default_rng(0)
    pixels, labels = [], []
    for scene in ProduceSet("train"):
        classes = scene.classes.ravel()
        chosen = [
            rng.choice(np.flatnonzero(mask), count)
            for mask, count in ((classes > 0, PIXELS * 4 // 5), (classes == 0, PIXELS // 5))
        ]
        chosen = np.concatenate(chosen)
        pixels.append(look(scene)[chosen])
        labels.append(classes[chosen])
    x, y = torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(labels))
    mean, deviation = x.mean(0), x.std(0)

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(x.shape[1], WIDTH),
        nn.GELU(),
        nn.Linear(WIDTH, WIDTH),
        nn.GELU(),
        nn.Linear(WIDTH, len(CLASS_NAMES)),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,))
        loss = nn.functional.cross_entropy(network((x[batch] - mean) / deviation), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    @torch.inference_mode()
    def classify(features: np.ndarray) -> Tensor:
        return network((torch.from_numpy(np.ascontiguousarray(features)) - mean) / deviation)

    return classify


class Score:
    """Class metrics pooled over scenes."""

    def __init__(self) -> None:
        self.estimates: list[Tensor] = []
        self.truths: list[Tensor] = []
        self.right: list[Tensor] = []

    def add(self, logits: Tensor, scene: Scene) -> None:
        truth = torch.from_numpy(scene.classes)
        self.truths.append(truth)
        self.estimates.append(logits.argmax(1).view(truth.shape))
        # The kind given, is it real or fake? Odd classes are real, each before its fake.
        foreground = truth.ravel() > 0
        classes = truth.ravel()[foreground]
        first = (classes - 1) // 2 * 2 + 1
        real, fake = (logits[foreground].gather(1, (first + step)[:, None])[:, 0] for step in (0, 1))
        self.right.append((fake > real) == (classes % 2 == 0))

    def figures(self) -> dict[str, float]:
        confusion = confusion_matrix(torch.stack(self.estimates), torch.stack(self.truths), len(CLASS_NAMES))
        figures = class_figures(confusion)
        real_or_fake = torch.cat(self.right).double().mean()
        return {
            "miou": float(figures["miou"]),
            "accuracy": float(figures["accuracy"]),
            "real_or_fake": float(real_or_fake),
        }


test = ProduceSet("test")
references: dict[str, dict[str, float]] = {}
for name, look in (("true cube", spectrum), ("colour under the lamp", colour), ("colour in daylight", daylight)):
    classify = learn(look)
    score = Score()
    for scene in test:
        score.add(classify(look(scene)), scene)
    references[name] = score.figures()
    if name == "true cube":
        by_spectrum = classify

camera = CassiCamera(random_mask(*test.size(0)), wavelengths=test.wavelengths)
solver = GapTv()
score, cubes, start = Score(), [], time.perf_counter()
for scene in test:
    truth = torch.from_numpy(scene.cube)
    estimate = solver(camera.forward(truth)[None], camera).cube[0]
    cubes.append(cube_metrics(estimate, truth))
    score.add(by_spectrum(estimate.flatten(1).T.numpy()), scene)
means = {key: float(np.mean([each[key] for each in cubes])) for key in ("psnr_db", "ssim", "sam_deg", "rmse")}
references["GAP-TV"] = score.figures() | means

result = {"version": VERSION, "split": "test", "scenes": len(test), "references": references}
Path(dataset.__file__).with_name("references.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
print("| the pixel classifier sees | mIoU | accuracy | real or fake, kind given |\n|---|---|---|---|")
for name, row in references.items():
    print(f"| {name} | {row['miou']:.3f} | {row['accuracy']:.3f} | {row['real_or_fake']:.3f} |")
print("GAP-TV: {psnr_db:.2f} dB, SSIM {ssim:.3f}, SAM {sam_deg:.1f}°".format(**means))
