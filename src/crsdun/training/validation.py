"""How good the weights are on the validation split, while they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from crsdun.evaluation.score import Score
from crsdun.methods import RunOptions, run_method
from crsdun.methods.run import simulated_from
from crsdun.optics import Estimate, Exposure
from crsdun.scenes import Scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.spread import spread_evenly
from crsdun.training.batches import class_targets
from crsdun.training.learner import Learner
from crsdun.training.losses import joint_loss

# Criterion in the configuration → its figure, and the sign that makes higher better.
CRITERIA = {"psnr": ("psnr_db", 1), "miou": ("miou", 1), "loss": ("loss", -1)}
# In the order of the columns of validation.csv.
FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse", "loss", "miou", "accuracy")


@dataclass(frozen=True)
class Validation:
    """The result of a validation.

    Attributes:
        figures: means over the scenes, with mIoU and accuracy pooled over all their pixels; None where undefined.
        truth, estimate: the first scene, for a picture; None in all processes but the first.
    """

    figures: dict[str, float | None]
    truth: Scene | None
    estimate: Scene | None

    def value(self, criterion: str) -> float:
        """The figure of a criterion, negated where lower is better; −∞ where undefined."""
        name, sign = CRITERIA[criterion]
        figure = self.figures[name]
        return -math.inf if figure is None else sign * figure


def validate(learner: Learner, scenes: SceneSet, exposure: Exposure) -> Validation:
    """Measure and estimate whole scenes, shared among the processes; all of them return the same figures."""
    method, config, processes = learner.judged, learner.config, learner.processes
    score = Score(classes=method.class_count).to(processes.device)
    options = RunOptions(processes.device, config.precision, keep_stages=True, allow_nonfinite=True)
    camera = exposure.whole_camera(scenes.bands, scenes.wavelengths)
    losses: dict[int, float] = {}
    truth = estimate = None
    for index in spread_evenly(len(scenes), config.validation.scenes)[processes.rank :: processes.count]:
        scene = scenes[index]
        cropped = camera.crop(0, 0, *scene.cube.shape[1:])
        frame = exposure.measure(scene.cube, cropped, seed=index)  # the same noise in every validation
        with simulated_from(scene.name):
            run = run_method(method, frame, cropped, options)
        losses[index] = _judge(score, run.estimate, scene, learner)
        if truth is None and processes.rank == 0:
            truth, estimate = scene, run.scene(scene.name, method.card)

    by_scene = {index: loss for each in processes.gather(losses) for index, loss in each.items()}
    pooled, _ = score.compute()
    pooled["loss"] = sum(by_scene[index] for index in sorted(by_scene)) / len(by_scene)
    return Validation({name: pooled.get(name) for name in FIGURES}, truth, estimate)


@torch.inference_mode()
def _judge(score: Score, estimate: Estimate, scene: Scene, learner: Learner) -> float:
    """Add a scene to the score; returns its loss."""
    device = estimate.cube.device
    cube, classes = torch.from_numpy(scene.cube), torch.from_numpy(class_targets(scene))
    theta = estimate.logits[-1][0] if estimate.logits else None
    score.update(estimate.cube[0], cube, theta, classes)
    loss = joint_loss(
        estimate, cube[None].to(device), classes[None].to(device), learner.phase.loss, learner.class_weights
    )
    return loss.item()
