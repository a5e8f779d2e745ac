"""The losses that networks are trained on.

    L = Σ_k λˢ^(K−k) ( MSE(x_k, x) + λᶜᵉ CE(θ_k, class) ),   k from 1 to K

Reconstruction networks were published with RMSE in place of MSE, and weights 1, 0.7, 0.5, 0.3 for the last four
stages.

Legend: B batch · C bands · N classes · K stages · H, W scene · x cube · θ class map as logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.optics import Estimate
from crsdun.registry import Registry

IGNORED = -1  # class of an unlabelled pixel


@dataclass(frozen=True)
class LossConfig:
    """L = Σ_k λˢ^(K−k) ( MSE + λᶜᵉ CE ).

    Attributes:
        cube: what is minimised for a cube: ``mse``, its root ``rmse`` (of the whole batch), ``none`` to learn from
            the class map alone, or a registered loss (``register_loss``).
        stage_decay: λˢ.
        stage_weights: weights of the last stages, the last one first, in place of the powers of λˢ:
            [1, 0.7, 0.5, 0.3] ignores all but four. Null for the powers.
        class_weight: λᶜᵉ.
        balance: ``fixed`` weights, or ``uncertainty``, which learns them, starting from the fixed ones (``Balance``).
    """

    cube: str = "mse"
    stage_decay: float = 0.7
    stage_weights: tuple[float, ...] | None = None
    class_weight: float = 1e-4
    balance: Literal["fixed", "uncertainty"] = "fixed"


def joint_loss(estimate: Estimate, cube: Tensor, classes: Tensor, loss: LossConfig | None = None) -> Tensor:
    """The loss of a single process; by default the paper's.

    Args:
        estimate: of a network, all K stages.
        cube: the true x, (B,C,H,W).
        classes: the true classes, (B,H,W) int64, 0..N−1 and ``IGNORED`` where unknown.
        loss: its terms and their weights; a learnt balance counts as the fixed one it starts from.

    Returns:
        A scalar: MSE is the mean over all elements, CE the mean over all labelled pixels without class weights
        (0 where no pixel is labelled).

    Raises:
        InputError: there is no cube loss of that name.
    """
    loss = loss or LossConfig()
    mse, ce = stage_losses(estimate, cube, classes)
    errors = CubeErrors(estimate.cubes, cube, mse, mse)
    return Balance(replace(loss, balance="fixed"))(CUBE_LOSSES.find(loss.cube)(errors), ce)


def stage_losses(
    estimate: Estimate, cube: Tensor, classes: Tensor, labelled: Tensor | None = None, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    """MSE(x_k, x) and CE(θ_k, class) of every stage that has them, (K,) at most; arguments as ``joint_loss``.

    A reconstruction network has no class maps; a two-stage system has one, of its last cube.
    Where several processes share a batch, each passes the number of labelled pixels of the whole batch and its own
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
    """What a cube loss is computed from, for all K stages, first to last.

    Attributes:
        cubes: estimates of the samples of this process, (B,C,H,W) each.
        truth: the true cubes, (B,C,H,W).
        mse: this process's share of the MSE of each stage, (K,).
        whole_mse: the MSE over the whole batch, (K,), without gradient.
        share: of the batch that this process holds; what a loss returns must add up over the processes.
    """

    cubes: list[Tensor]
    truth: Tensor
    mse: Tensor
    whole_mse: Tensor
    share: float = 1.0


CubeLoss = Callable[[CubeErrors], Tensor]
CUBE_LOSSES: Registry[CubeLoss] = Registry("cube loss")


def register_loss(name: str, loss: CubeLoss) -> None:
    """Register a loss of cubes under a name, for ``loss.cube: NAME`` in a training configuration.

    Args:
        loss: maps the errors of all stages to the loss of each, (K,); (0,) ignores the cubes.

    Raises:
        InputError: the name is taken.
    """
    CUBE_LOSSES.register(name, loss)


def root(errors: CubeErrors) -> Tensor:
    """RMSE of the whole batch: this process's share of its value and of its gradient."""
    whole = errors.whole_mse.detach().clamp(min=torch.finfo(errors.mse.dtype).tiny)
    half = errors.mse / (2 * whole.sqrt())  # has the gradient of √m, but half its value
    return half + half.detach()


register_loss("mse", lambda errors: errors.mse)
register_loss("rmse", root)
register_loss("none", lambda errors: errors.mse[:0])


class Balance(nn.Module):
    """One loss from those of all stages and both tasks.

    ``uncertainty`` weighs the two tasks by their uncertainty (Kendall, Gal and Cipolla, CVPR 2018),
    ½ exp(−s₁) L_cube + exp(−s₂) L_classes + ½ (s₁ + s₂), where both s = log σ² are learnt. They start at the balance
    that λᶜᵉ sets, which must then be positive.
    """

    def __init__(self, config: LossConfig):
        super().__init__()
        self.config = config
        learnt = config.balance == "uncertainty"
        start = torch.tensor([0.0, math.log(2 / config.class_weight)]) if learnt else None
        self.log_variances = None if start is None else nn.Parameter(start)

    def forward(self, cube: Tensor, classes: Tensor, share: float = 1.0) -> Tensor:
        """A scalar from ``stage_losses``, of which this process has its share."""
        cube_loss, class_loss = self._sum(cube), self._sum(classes)
        if self.log_variances is None:
            return cube_loss + self.config.class_weight * class_loss
        s = self.log_variances
        return 0.5 * (-s[0]).exp() * cube_loss + (-s[1]).exp() * class_loss + share * 0.5 * s.sum()

    def _sum(self, stages: Tensor) -> Tensor:
        """Σ_k λˢ^(K−k) of the last stages."""
        weights, decay = self.config.stage_weights, self.config.stage_decay
        if weights is not None:
            last_first = stages.flip(0)[: len(weights)]
            return (last_first.new_tensor(weights[: len(last_first)]) * last_first).sum()
        return (decay ** torch.arange(len(stages) - 1, -1, -1, device=stages.device) * stages).sum()
