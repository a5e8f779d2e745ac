"""The steps of unfolding networks between their proximal networks.

Legend: B batch · C bands · H, W scene · Wm measurement width · x cube · y measurement · D diagonal of A Aᵀ.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.blocks import conv
from crsdun.optics import CassiCamera

# Of the mean of D. Below what the masks of the field's simulations reach (4.66e-4), far above the border of a real
# mask (9e-6).
LEAST_LIGHT = 4e-4


class DegradationEstimator(nn.Module):
    """E_k: a few scalars for each sample, estimated from what is known about the scene at this stage.

    Args:
        inputs: number of input channels.
        initial: initial value of each scalar, a learnt offset.
    """

    def __init__(self, inputs: int, initial: tuple[float, ...]):
        super().__init__()
        self.fusion = conv(inputs, 32, bias=True)
        self.mlp = nn.Sequential(
            conv(32, 32, bias=True), nn.ReLU(), conv(32, 32, bias=True), nn.ReLU(), conv(32, len(initial))
        )
        self.offset = nn.Parameter(torch.tensor(initial).view(-1, 1, 1))

    def forward(self, known: Tensor) -> tuple[Tensor, ...]:
        pooled = F.relu(self.fusion(known)).mean((2, 3), keepdim=True)
        return (self.mlp(pooled) + self.offset).split(1, dim=1)  # (B,1,1,1) each


def gradient_step(
    x: Tensor, y: Tensor, camera: CassiCamera, damping: Tensor | float = 0.0, size: Tensor | float = 1.0
) -> Tensor:
    """x + size · Aᵀ((y − A x) ⊘ (D + damping)): the closed-form step towards the measurement.

    Args:
        x: cube (B,C,H,W).
        y: measurement (B,H,Wm).
        damping, size: one number, or one for each sample (B,1,1,1).

    D + damping is kept at least at a thousandth of D, so that a badly predicted damping can neither divide by zero
    nor reverse the step, and at ``LEAST_LIGHT`` of the mean of D, so that a detector pixel that is all but unlit,
    as behind the grey border of a calibrated mask, does not outweigh all others.
    """
    D = torch.where(camera.diagonal == 0, 1, camera.diagonal)
    if isinstance(damping, Tensor):
        damping = damping.squeeze(1)
    floor = torch.maximum(1e-3 * D, LEAST_LIGHT * D.mean())
    residual = (y - camera.forward(x)) / torch.maximum(D + damping, floor)
    return x + size * camera.adjoint(residual)


def unexplained(x: Tensor, y: Tensor, camera: CassiCamera) -> Tensor:
    """How much of y a cube x (B,C,H,W) leaves unexplained, (B,1,1,1): −1 for a ten thousandth, 1 for all of it.

    The logarithm of ‖y − A x‖ / ‖y‖.
    """
    rest = (y - camera.forward(x)).square().mean((-2, -1)) / y.square().mean((-2, -1)).clamp(min=1e-20)
    return ((rest + 1e-8).log10() / 4 + 1)[:, None, None, None]


def soft_threshold(v: Tensor, b: Tensor) -> Tensor:
    """soft_b(v) = sign(v) · max(|v| − b, 0), literally: a negative b lets |v| grow."""
    return v.sign() * F.relu(v.abs() - b)
