"""The joint loss against its formula."""

import pytest
import torch

from crsdun.optics import Estimate
from crsdun.training import IGNORED, joint_loss

generator = torch.Generator().manual_seed(0)
CUBES = [torch.rand(2, 3, 4, 5, generator=generator) for _ in range(3)]
LOGITS = [torch.randn(2, 6, 4, 5, generator=generator) for _ in range(3)]
TRUTH = torch.rand(2, 3, 4, 5, generator=generator)
CLASSES = torch.randint(0, 6, (2, 4, 5), generator=generator)


def expected(labelled: torch.Tensor) -> float:
    total = 0.0
    for k, (x, theta) in enumerate(zip(CUBES, LOGITS, strict=True)):
        log_likelihood = theta.log_softmax(1).gather(1, CLASSES.clamp(min=0)[:, None])[:, 0]
        total += 0.7 ** (2 - k) * (((x - TRUTH) ** 2).mean() - 0.01 * log_likelihood[labelled].mean()).item()
    return total


def test_stages_are_weighted_and_both_losses_are_means():
    loss = joint_loss(Estimate(CUBES, LOGITS), TRUTH, CLASSES, stage_decay=0.7, class_weight=0.01)
    assert loss.item() == pytest.approx(expected(CLASSES >= 0), rel=1e-5)


def test_unlabelled_pixels_do_not_count():
    classes = CLASSES.clone()
    classes[:, :2] = IGNORED
    loss = joint_loss(Estimate(CUBES, LOGITS), TRUTH, classes, stage_decay=0.7, class_weight=0.01)
    assert loss.item() == pytest.approx(expected(classes != IGNORED), rel=1e-5)
    nobody_knows = joint_loss(Estimate(CUBES, LOGITS), TRUTH, torch.full_like(CLASSES, IGNORED), class_weight=1.0)
    assert nobody_knows.item() == joint_loss(Estimate(CUBES, LOGITS), TRUTH, CLASSES, class_weight=0.0).item()
