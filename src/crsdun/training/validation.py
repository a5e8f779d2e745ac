"""How good the weights are on the validation split, while they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crsdun.evaluation import cube_metrics
from crsdun.evaluation.metrics import class_figures, confusion_matrix
from crsdun.networks import Network
from crsdun.optics import CassiCamera
from crsdun.scenes import Scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.training.batches import class_targets
from crsdun.training.config import LossConfig, TrainConfig
from crsdun.training.distributed import Processes
from crsdun.training.losses import joint_loss

# Criterion of the configuration → the figure it reads, and the sign that makes more better.
CRITERIA = {"psnr": ("psnr_db", 1), "miou": ("miou", 1), "loss": ("loss", -1)}
OF_SCENES = ("psnr_db", "ssim", "sam_deg", "rmse", "loss")
POOLED = ("miou", "accuracy")


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
    network: Network,
    scenes: SceneSet,
    camera: CassiCamera,
    config: TrainConfig,
    loss: LossConfig,
    processes: Processes,
) -> Validation:
    """Whole scenes through the camera and back, shared by the processes; the same figures in all of them."""
    training = network.training
    network.eval()
    mine, truth, estimate = {}, None, None
    for index in chosen(len(scenes), config.validation.scenes)[processes.rank :: processes.count]:
        scene = scenes[index]
        mine[index], estimated = _score(network, scene, index, camera, config, loss, processes.device)
        if truth is None and processes.rank == 0:
            truth, estimate = scene, estimated
    network.train(training)

    by_scene = {index: score for scores in processes.gather(mine) for index, score in scores.items()}
    scores = [by_scene[index] for index in sorted(by_scene)]
    figures = {name: _mean([score.figures[name] for score in scores]) for name in OF_SCENES}
    figures |= dict.fromkeys(POOLED)
    classes, known = (
        torch.cat([getattr(score, what) for score in scores]).long() for what in ("classes", "true_classes")
    )
    if len(classes) and bool((known >= 0).any()):
        pooled = class_figures(confusion_matrix(classes, known, network.config.classes))
        figures |= {name: float(pooled[name]) for name in POOLED}
    return Validation(figures, truth, estimate)


@dataclass(frozen=True)
class _Score:
    """Of one scene; the class maps flat and in few bytes, to be pooled with those of other processes.

    A network that does not segment has an empty one.
    """

    figures: dict[str, Any]
    classes: Tensor
    true_classes: Tensor


@torch.inference_mode()
def _score(
    network: Network,
    scene: Scene,
    index: int,
    camera: CassiCamera,
    config: TrainConfig,
    settings: LossConfig,
    device: torch.device,
) -> tuple[_Score, Scene]:
    """A scene through the camera and back; the noise is the same in every validation."""
    here = camera.crop(0, 0, *scene.cube.shape[1:])
    cube, classes = torch.from_numpy(scene.cube), torch.from_numpy(class_targets(scene))
    exposure = config.camera.noise(here.forward(cube), here.bands, torch.Generator().manual_seed(index))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        estimate = network(exposure[None].to(device), here.to(device))
        weights = settings.stage_decay, settings.class_weight, settings.stage_weights, settings.cube
        loss = joint_loss(estimate, cube[None].to(device), classes[None].to(device), *weights)
    estimated = estimate.cube[0].float().cpu()
    labels = estimate.classes[0].cpu() if estimate.logits else None
    figures = {**cube_metrics(estimated, cube), "loss": loss.item()}
    flat = classes.new_zeros(0) if labels is None else labels.flatten()
    score = _Score(figures, flat.to(torch.int16), classes.flatten().to(torch.int16))
    found = None if labels is None else labels.numpy()
    return score, replace(scene, cube=np.nan_to_num(estimated.numpy()), classes=found)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def chosen(count: int, wanted: int | None) -> list[int]:
    """Indices of ``wanted`` scenes evenly spread over ``count``."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(wanted or count, count)).round()})
