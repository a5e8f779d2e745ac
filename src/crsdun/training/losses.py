"""What a joint network is trained to lower.

    L = Σ_k λˢ^(K−k) ( MSE(x_k, x) + λᶜᵉ CE(θ_k, class) ),   k from 1 to K

Reconstruction networks were published with RMSE in place of MSE, and weights 1, 0.7, 0.5, 0.3 for the last four
stages.

Legend: B batch · C bands · N classes · K stages · H, W scene · x cube · θ class map as logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.optics import Estimate
from crsdun.registry import Registry

IGNORED = -1  # class of a pixel that nobody labelled


def joint_loss(
    estimate: Estimate,
    cube: Tensor,
    classes: Tensor,
    stage_decay: float = 0.7,
    class_weight: float = 1e-4,
    stage_weights: Sequence[float] | None = None,
    cube_loss: str = "mse",
) -> Tensor:
    """The paper's loss, or another that ``LossConfig`` describes.

    Args:
        estimate: of a network, all K stages.
        cube: the true x, (B,C,H,W).
        classes: the true classes, (B,H,W) int64, 0..N−1 and ``IGNORED`` where unknown.
        stage_decay: λˢ.
        class_weight: λᶜᵉ.
        stage_weights: of the last stages, the last one first, in place of the powers of λˢ.
        cube_loss: a name in ``CUBE_LOSSES``: ``mse``, ``rmse``, ``none``, or one that was registered.

    Returns:
        A scalar: MSE is the mean over all elements, CE the mean over all labelled pixels without class weights
        (0 where no pixel is labelled).
    """
    mse, ce = stage_losses(estimate, cube, classes)
    lowered = CUBE_LOSSES.find(cube_loss)(CubeErrors(estimate.cubes, cube, mse, mse))
    return Balance(stage_decay, class_weight, stage_weights=stage_weights)(lowered, ce)


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
    none = cube.new_zeros(0)
    return torch.stack(mse) if mse else none, torch.stack(ce) if ce else none


@dataclass(frozen=True)
class CubeErrors:
    """What a cube loss may look at, of all K stages, first to last.

    Attributes:
        cubes: estimates of this process's samples, (B,C,H,W) each.
        truth: the true cubes, (B,C,H,W).
        mse: MSE of each stage, (K,), of which this process has its share.
        whole_mse: the same of the whole batch, without gradient.
        share: of the batch that this process has: what a loss returns must add up over the processes.
    """

    cubes: list[Tensor]
    truth: Tensor
    mse: Tensor
    whole_mse: Tensor
    share: float = 1.0


CubeLoss = Callable[[CubeErrors], Tensor]
CUBE_LOSSES: Registry[CubeLoss] = Registry("cube loss")


def register_loss(name: str, loss: CubeLoss) -> None:
    """Make a loss of cubes known by a name, as in ``loss.cube: NAME`` of a training configuration.

    Args:
        loss: from the errors of all stages to what is lowered of each, (K,); (0,) lowers nothing.

    Raises:
        InputError: the name is taken.
    """
    CUBE_LOSSES.register(name, loss)


def root(errors: CubeErrors) -> Tensor:
    """RMSE of the whole batch: a share of its value, and of its gradient."""
    whole = errors.whole_mse.detach().clamp(min=torch.finfo(errors.mse.dtype).tiny)
    half = errors.mse / (2 * whole.sqrt())  # has the gradient of √m, but half its value
    return half + half.detach()


register_loss("mse", lambda errors: errors.mse)
register_loss("rmse", root)
register_loss("none", lambda errors: errors.mse[:0])


class Balance(nn.Module):
    """One loss from those of all stages and both tasks.

    Args:
        stage_decay: λˢ.
        class_weight: λᶜᵉ, of the class map against the cube.
        learnt: weigh the two tasks by their uncertainty (Kendall, Gal and Cipolla, CVPR 2018),
            ½ exp(−s₁) L_cube + exp(−s₂) L_classes + ½ (s₁ + s₂), the two s = log σ² being learnt. They start where
            λᶜᵉ puts the balance, which must then be positive.
        stage_weights: of the last stages, the last one first, in place of the powers of λˢ.
    """

    def __init__(
        self,
        stage_decay: float,
        class_weight: float,
        learnt: bool = False,
        stage_weights: Sequence[float] | None = None,
    ):
        super().__init__()
        self.stage_decay, self.class_weight, self.stage_weights = stage_decay, class_weight, stage_weights
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
        if self.stage_weights is not None:
            last_first = stages.flip(0)[: len(self.stage_weights)]
            return (last_first.new_tensor(self.stage_weights[: len(last_first)]) * last_first).sum()
        return (self.stage_decay ** torch.arange(len(stages) - 1, -1, -1, device=stages.device) * stages).sum()
