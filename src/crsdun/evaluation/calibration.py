"""Calibrating the class maps of a network on the validation split: what ``methods.doubt`` needs to know."""

from __future__ import annotations

import torch

from crsdun.errors import InputError
from crsdun.evaluation.evaluator import EvaluationOptions, check_fit, evaluate_scene
from crsdun.evaluation.metrics import calibration_error, reliability
from crsdun.methods import Method, Progress
from crsdun.methods.doubt import calibrated, seen
from crsdun.optics import ClassCalibration, Exposure
from crsdun.scenes.scene_set import SceneSet

# Of each scene so many labelled pixels are taken: neighbours say little more.
PIXELS = 8000


def calibrate(
    method: Method,
    scenes: SceneSet,
    exposure: Exposure | None = None,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> ClassCalibration:
    """The calibration of a method's class maps on scenes it has not learnt from: their validation split.

    Args:
        method, scenes, exposure, progress: as for ``evaluate``; the scenes are labelled with the method's classes.
        options: ``device`` and ``first`` count.

    Raises:
        InputError: as ``evaluate``, the split is not the validation split, or there are too few labelled pixels.
    """
    exposure, options = exposure or Exposure(), options or EvaluationOptions()
    if scenes.split != "validation":
        raise InputError(
            f"confidences are calibrated on the validation split, not on {scenes.split}: weights are too sure of "
            "their training scenes, and the test scenes must stay unseen",
            "set <split> to validation",
        )
    if not check_fit(method, scenes, exposure):
        raise InputError("there are no classes to calibrate", "use weights with classes, and labelled scenes")
    count = len(scenes) if options.first is None else min(options.first, len(scenes))
    if count < 1:
        raise InputError(f"the first {count} scenes of {scenes.name} cannot calibrate anything", "take at least one")
    found: list[tuple[torch.Tensor, ...]] = []
    generator = torch.Generator().manual_seed(0)
    for index in range(count):
        result = evaluate_scene(method, scenes, index, exposure, options.device)
        assert result.scene.classes is not None
        truth = torch.from_numpy(result.scene.classes).flatten()
        labelled = torch.nonzero(truth >= 0)[:, 0]
        taken = labelled[torch.randperm(len(labelled), generator=generator)[:PIXELS]]
        estimate, run = result.run.estimate, result.run
        logits = estimate.logits[-1][0].float()
        features = seen(estimate.cube[0], logits, run.wavelengths, method.card.wavelengths)
        found.append((*(each.flatten(1).T.cpu()[taken] for each in (logits, features)), truth[taken]))
        if progress is not None:
            progress(index + 1, count)
    logits, features, truth = (torch.cat(part) for part in zip(*found, strict=True))
    known = calibrated(logits, features, truth)
    errors = {
        name: calibration_error(reliability((logits / by).T[..., None], truth[:, None]))
        for name, by in (("before", 1.0), ("after", known.temperature))
    }
    known.made_from.update(
        scenes=scenes.name, count=count, camera=exposure.described(), pixels=len(truth), calibration_error=errors
    )
    return known
