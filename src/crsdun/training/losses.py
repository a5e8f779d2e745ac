"""What a joint network is trained to lower."""

import torch.nn.functional as F
from torch import Tensor

from crsdun.optics import Estimate

IGNORED = -1  # class of a pixel that nobody labelled


def joint_loss(
    estimate: Estimate, cube: Tensor, classes: Tensor, stage_decay: float = 0.7, class_weight: float = 1e-4
) -> Tensor:
    """L = Σ_k λˢ^(K−k) ( MSE(x_k, x) + λᶜᵉ CE(θ_k, class) ), the paper's loss.

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
    labelled = (classes != IGNORED).sum().clamp(min=1)
    total = cube.new_zeros(())
    for k, (x, theta) in enumerate(zip(estimate.cubes, estimate.logits, strict=True), start=1):
        cross_entropy = F.cross_entropy(theta, classes, ignore_index=IGNORED, reduction="sum") / labelled
        stage = F.mse_loss(x, cube) + class_weight * cross_entropy
        total = total + stage_decay ** (len(estimate.cubes) - k) * stage
    return total
