"""How good the weights are on the validation split, while they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from crsdun.evaluation.score import Score
from crsdun.methods import Method, RunOptions, run_method
from crsdun.optics import Estimate, Exposure
from crsdun.scenes import Scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.training.batches import class_targets
from crsdun.training.config import LossConfig, TrainConfig
from crsdun.training.distributed import Processes
from crsdun.training.losses import joint_loss

# Criterion of the configuration → the figure it reads, and the sign that makes more better.
CRITERIA = {"psnr": ("psnr_db", 1), "miou": ("miou", 1), "loss": ("loss", -1)}
# Of the answer, besides the loss.
FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse", "miou", "accuracy")


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        figures: means over the scenes, mIoU and accuracy pooled over all their pixels; None where undefined.
        truth, estimate: the first scene, to look at; None in all processes but the first.
    """

    figures: dict[str, float | None]
    truth: Scene | None
    estimate: Scene | None

    def value(self, criterion: str) -> float:
        """More is better."""
        name, sign = CRITERIA[criterion]
        figure = self.figures[name]
        return -math.inf if figure is None else sign * figure


def validate(
    method: Method, scenes: SceneSet, exposure: Exposure, config: TrainConfig, loss: LossConfig, processes: Processes
) -> Validation:
    """Whole scenes through the camera and back, shared by the processes; the same figures in all of them."""
    score = Score(classes=method.class_count).to(processes.device)
    options = RunOptions(processes.device, config.precision, keep_stages=True, allow_nonfinite=True)
    camera = exposure.whole_camera(scenes.bands, scenes.wavelengths)
    losses: dict[int, float] = {}
    truth = estimate = None
    for index in spread_evenly(len(scenes), config.validation.scenes)[processes.rank :: processes.count]:
        scene = scenes[index]
        here = camera.crop(0, 0, *scene.cube.shape[1:])
        frame = exposure.measure(scene.cube, here, seed=index)  # the same noise in every validation
        found = run_method(method, frame, here, options)
        losses[index] = _judge(score, found.estimate, scene, loss)
        if truth is None and processes.rank == 0:
            truth, estimate = scene, found.scene(scene.name, method.card)

    by_scene = {index: loss for each in processes.gather(losses) for index, loss in each.items()}
    pooled, _ = score.compute()
    figures = {name: pooled.get(name) for name in FIGURES}
    figures["loss"] = sum(by_scene[index] for index in sorted(by_scene)) / len(by_scene)
    return Validation(figures, truth, estimate)


def spread_evenly(count: int, wanted: int | None) -> list[int]:
    """Indices of ``wanted`` scenes evenly spread over ``count``."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(wanted or count, count)).round()})


@torch.inference_mode()
def _judge(score: Score, estimate: Estimate, scene: Scene, loss: LossConfig) -> float:
    """Add a scene to the score; its loss."""
    device = estimate.cube.device
    cube, classes = torch.from_numpy(scene.cube), torch.from_numpy(class_targets(scene))
    theta = estimate.logits[-1][0] if estimate.logits else None
    score.update(estimate.cube[0], cube, theta, classes)
    weights = loss.stage_decay, loss.class_weight, loss.stage_weights, loss.cube
    return joint_loss(estimate, cube[None].to(device), classes[None].to(device), *weights).item()
