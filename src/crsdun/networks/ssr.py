"""SSR: spectral-spatial rectification unfolded in K stages (Zhang et al., "Improving Spectral Snapshot Reconstruction
with Spectral-Spatial Rectification", CVPR 2024).

CRSDUN's cube branch grew out of it: the parts are the same, without a class map.

Legend: B batch · C bands · K stages · H, W scene · x cube (B,C,H,W) · y measurement (B,H,Wm) · M mask for each band
(1,C,H,W) · A camera · D diagonal of A Aᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from crsdun.networks.blocks import AttentionResidualBlock, conv
from crsdun.networks.network import Network, ReconstructionConfig, check_counts
from crsdun.networks.proximal import CubeProximalNetwork
from crsdun.networks.unfolding import DegradationEstimator, gradient_step
from crsdun.optics import CassiCamera, Estimate


@dataclass(frozen=True)
class SsrConfig(ReconstructionConfig):
    """Everything that decides the layers of SSR.

    Attributes:
        bands: C, at least 1.
        stages: K, at least 1.
        width: channels of the proximal networks at full resolution; None for as many as bands (published).
    """

    bands: int
    stages: int = 9
    width: int | None = None

    def __post_init__(self) -> None:
        check_counts("SSR", bands=self.bands, stages=self.stages, width=self.base)


class Ssr(Network):
    """The network; ``crsdun.create("ssr_9stg", bands=28)`` builds it."""

    def __init__(self, config: SsrConfig):
        super().__init__(config)
        C = config.bands
        self.initial = conv(2 * C, C, bias=True)
        self.stages = nn.ModuleList(SsrStage(config) for _ in range(config.stages))

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """The cube of every stage; arguments and errors as in ``Network``."""
        y = measurement
        M = camera.mask_per_band[None]

        x = self.initial(torch.cat([camera.initial_estimate(y), M.expand(len(y), -1, -1, -1)], 1))
        cubes = []
        for stage in cast("list[SsrStage]", self.stages):
            # z = x + ρ Aᵀ((y − A x) ⊘ D), then the proximal network
            (rho,) = stage.estimate(x)
            z = gradient_step(x, y, camera, size=rho)
            x = stage.refine(stage.cube_network(z, M))
            cubes.append(x)
        return Estimate(cubes)


class SsrStage(nn.Module):
    """Stage k: the estimator of its step size ρ, its proximal network, and the residual block after it."""

    def __init__(self, config: SsrConfig):
        super().__init__()
        self.estimate = DegradationEstimator(config.bands, initial=(1.0,))
        self.cube_network = CubeProximalNetwork(config.bands, config.base)
        self.refine = AttentionResidualBlock(config.bands)
