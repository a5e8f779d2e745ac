"""What a joint network is trained to lower.

    L = Σ_k λˢ^(K−k) ( MSE(x_k, x) + λᶜᵉ CE(θ_k, class) ),   k from 1 to K

Legend: B batch · C bands · N classes · K stages · H, W scene · x cube · θ class map as logits.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.optics import Estimate

IGNORED = -1  # class of a pixel that nobody labelled


def joint_loss(
    estimate: Estimate, cube: Tensor, classes: Tensor, stage_decay: float = 0.7, class_weight: float = 1e-4
) -> Tensor:
    """The paper's loss.

    Args:
        estimate: of a network, all K stages.
        cube: the true x, (B,C,H,W).
        classes: the true classes, (B,H,W) int64, 0..N−1 and ``IGNORED`` where unknown.
        stage_decay: λˢ.
        class_weight: λᶜᵉ.

    Returns:
        A scalar: MSE is the mean over all elements, CE the mean over all labelled pixels without class weights
        (0 where no pixel is labelled).
    """
    return Balance(stage_decay, class_weight)(*stage_losses(estimate, cube, classes))


def stage_losses(
    estimate: Estimate, cube: Tensor, classes: Tensor, labelled: Tensor | None = None, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    """MSE(x_k, x) and CE(θ_k, class) of every stage that has them, (K,) at most; arguments as ``joint_loss``.

    A reconstruction network has no class maps, a two-stage system has that of its last cube.
    Where several processes share a batch, each gives the number of labelled pixels of the whole batch and its own
    share of the elements: the losses of all processes then add up to those of the batch.
    """
    if labelled is None:
        labelled = (classes != IGNORED).sum()
    mse = [share * F.mse_loss(x, cube) for x in estimate.cubes]
    ce = [
        F.cross_entropy(theta, classes, ignore_index=IGNORED, reduction="sum") / labelled.clamp(min=1)
        for theta in estimate.logits
    ]
    return torch.stack(mse), torch.stack(ce) if ce else cube.new_zeros(0)


class Balance(nn.Module):
    """One loss from those of all stages and both tasks.

    Args:
        stage_decay: λˢ.
        class_weight: λᶜᵉ, of the class map against the cube.
        learnt: weigh the two tasks by their uncertainty (Kendall, Gal and Cipolla, CVPR 2018),
            ½ exp(−s₁) L_cube + exp(−s₂) L_classes + ½ (s₁ + s₂), the two s = log σ² being learnt. They start where
            λᶜᵉ puts the balance, which must then be positive.
    """

    def __init__(self, stage_decay: float, class_weight: float, learnt: bool = False):
        super().__init__()
        self.stage_decay, self.class_weight = stage_decay, class_weight
        self.log_variances = nn.Parameter(torch.tensor([0.0, math.log(2 / class_weight)])) if learnt else None

    def forward(self, cube: Tensor, classes: Tensor, share: float = 1.0) -> Tensor:
        """A scalar from ``stage_losses``, of which this process has its share."""
        cube_loss, class_loss = self._sum(cube), self._sum(classes)
        if self.log_variances is None:
            return cube_loss + self.class_weight * class_loss
        s = self.log_variances
        return 0.5 * (-s[0]).exp() * cube_loss + (-s[1]).exp() * class_loss + share * 0.5 * s.sum()

    def _sum(self, stages: Tensor) -> Tensor:
        """Σ_k λˢ^(K−k) of the last stages."""
        return (self.stage_decay ** torch.arange(len(stages) - 1, -1, -1, device=stages.device) * stages).sum()
