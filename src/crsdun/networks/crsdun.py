"""CRSDUN: joint spectral reconstruction and semantic segmentation with cooperative unfolding (He et al., CVPR 2026).

    {x, θ} = argmin ½‖y − A x‖² + ½‖x − Φθ‖² + μ P(x, θ),   P = ‖θ‖₁ + Q(x, θ)

solved by half-quadratic splitting, unrolled into K stages. Each stage moves the cube x towards the measurement
and through a proximal network, then the class map θ through a LISTA step and a proximal network; the two
proximal networks exchange features by cross-aggregation super-token attention.

Legend: B batch · C bands · N classes · K stages · H, W scene · Wm measurement width · d width of a level
x cube (B,C,H,W) · θ class map as logits (B,N,H,W) · ξ sparse code of θ (B,N,H,W) · y measurement (B,H,Wm)
M mask for each band (1,C,H,W) · A camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.networks.blocks import AttentionResidualBlock, SpectralSpatialBlock, conv, downsample, swin_blocks
from crsdun.networks.network import Network, check_counts, check_input
from crsdun.networks.super_tokens import CrossAggregationBlock
from crsdun.networks.unet import Scales, pad_to_multiple
from crsdun.networks.unfolding import DegradationEstimator, gradient_step, soft_threshold
from crsdun.optics import CassiCamera, Estimate


@dataclass(frozen=True)
class CrsdunConfig:
    """Everything that decides the layers of CRSDUN. The defaults are the published 3-stage network.

    Attributes:
        bands: C, at least 1.
        classes: N, at least 1, background included.
        stages: K, at least 1.
        width: channels of the proximal networks at full resolution; None for as many as bands (published).
        theta_in_gradient: the class map takes part in the gradient step (Eq. 13); without it the step is plain.
        lista: ξ comes from a LISTA step; without it ξ is the class map of the stage before.
        cross_cube: cross-aggregation in the cube branch.
        cross_class: cross-aggregation in the class branch.
        cube_in_class_input: the class branch is fed with concat[x, ξ] instead of ξ (ablations).
        affinity_gradient: gradients flow through the pixel–token association Q (published: no).
    """

    bands: int
    classes: int
    stages: int = 3
    width: int | None = None
    theta_in_gradient: bool = True
    lista: bool = True
    cross_cube: bool = True
    cross_class: bool = True
    cube_in_class_input: bool = False
    affinity_gradient: bool = False

    def __post_init__(self) -> None:
        check_counts("CRSDUN", bands=self.bands, classes=self.classes, stages=self.stages, width=self.base)
        if not (self.lista or self.cube_in_class_input):
            raise InputError(
                "without LISTA the class branch sees the cube only through its input: "
                "set cube_in_class_input=True, or lista=True"
            )

    @property
    def base(self) -> int:
        """The width in force."""
        return self.bands if self.width is None else self.width


class Crsdun(Network):
    """The cooperative unfolding network; ``crsdun.create("crsdun_3stg", bands=28, classes=23)`` builds it."""

    def __init__(self, config: CrsdunConfig):
        super().__init__(config)
        C, N = config.bands, config.classes
        self.initial = conv(2 * C, C, bias=True)
        if config.theta_in_gradient:
            self.dictionary = conv(N, C)  # Φ
        if config.lista:
            self.recurrence = conv(N, N)  # S, stands for I − t(ΦᵀΦ + γI)
            self.analysis = conv(C, N)  # Wᵈ, stands for tΦᵀ
        self.stages = nn.ModuleList(CrsdunStage(config, first=k == 0) for k in range(config.stages))

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """Cube and class map of every stage.

        Args:
            measurement: y, (B,H,Wm), the plain sum over bands.
            camera: the camera that took it; its number of bands must be the network's.

        Raises:
            InputError: the measurement, the camera and the network do not belong together.
        """
        check_input(self, measurement, camera)
        y = measurement
        M = camera.mask_per_band[None]

        x = self.initial(torch.cat([camera.measurement_form(y, "H"), M.expand(len(y), -1, -1, -1)], 1))
        theta = xi = x.new_zeros(len(y), self.config.classes, *x.shape[-2:])

        cubes, logits = [], []
        for stage in cast("list[CrsdunStage]", self.stages):
            x, theta, xi = self.unfold(stage, x, theta, xi, y, M, camera)
            cubes.append(x)
            logits.append(theta)
        return Estimate(cubes, logits)

    def unfold(
        self, stage: CrsdunStage, x: Tensor, theta: Tensor, xi: Tensor, y: Tensor, M: Tensor, camera: CassiCamera
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One stage of half-quadratic splitting."""
        scalars = iter(stage.estimate(torch.cat([x, theta], 1) if self.config.theta_in_gradient else x))

        # x: towards the measurement (Eq. 13), then its proximal network
        if self.config.theta_in_gradient:
            a, mu = next(scalars), next(scalars)
            z = gradient_step(mu * x + (1 - mu) * self.dictionary(theta), y, camera, damping=a)
        else:
            z = gradient_step(x, y, camera, size=next(scalars))
        x = stage.refine(stage.cube_network(z, M, theta))

        # θ: the LISTA step on its sparse code, then its proximal network
        if self.config.lista:
            b, gamma = next(scalars), next(scalars)
            xi = soft_threshold(self.recurrence(xi) + self.analysis(x) + gamma * theta, b)
        else:
            xi = theta
        theta = stage.class_network(xi, x) + xi
        return x, theta, xi


class CrsdunStage(nn.Module):
    """What stage k owns: its estimator E_k, CATʳ_k with the residual block behind it, and CATˢ_k."""

    def __init__(self, config: CrsdunConfig, first: bool):
        super().__init__()
        C, N = config.bands, config.classes
        # The scalars (a, μ) or the step size ρ, then (b, γ), with their published starting values.
        initial = ((1.0, 1.0) if config.theta_in_gradient else (1.0,)) + ((0.01, 0.0) if config.lista else ())
        self.estimate = DegradationEstimator(C + N if config.theta_in_gradient else C, initial)
        # In stage 1 the class map means nothing yet: no cross-aggregation.
        told = N if config.cross_cube and not first else 0
        self.cube_network = CubeProximalNetwork(C, config.base, told, config.affinity_gradient)
        self.refine = AttentionResidualBlock(C)
        self.class_network = ClassProximalNetwork(config, cross=config.cross_class and not first)


class CubeProximalNetwork(Scales):
    """CATʳ: a U-Net of spectral-spatial blocks, informed by the mask and, by cross-aggregation, by the class map.

    Args:
        bands: C.
        width: d.
        classes: N of the class map, 0 for none: no cross-aggregation.
        affinity_gradient: of the cross-aggregation.
    """

    embed: nn.Conv2d
    embed_mask: nn.Conv2d

    def __init__(self, bands: int, width: int, classes: int = 0, affinity_gradient: bool = False):
        C, N, d = bands, classes, width

        def block(width: int) -> nn.Module:
            return SpectralSpatialBlock(width, base=d)

        super().__init__(d, block, embed=conv(C, d, 3), embed_mask=conv(C, d, 3))
        self.out = conv(d, C, 3)
        self.cross = N > 0
        if self.cross:
            gradient = affinity_gradient
            self.other1 = conv(N, d, bias=True)
            self.other2 = nn.Sequential(conv(N, d, bias=True), downsample(d, 2 * d))
            self.node2 = CrossAggregationBlock(2 * d, 2, token=4, blocks=1, pixels="own", affinity_gradient=gradient)
            self.node1 = CrossAggregationBlock(d, 1, token=8, blocks=1, pixels="own", affinity_gradient=gradient)
            self.residual2, self.residual1 = AttentionResidualBlock(2 * d), AttentionResidualBlock(d)
        else:
            self.node2, self.node1 = block(2 * d), block(d)

    def forward(self, z: Tensor, M: Tensor, theta: Tensor | None = None) -> Tensor:
        """The cube (B,C,H,W) that z may have come from; θ (B,N,H,W) only with cross-aggregation."""
        H, W = z.shape[-2:]
        z, M = pad_to_multiple(z), pad_to_multiple(M)
        u, skips = self.descend(self.embed(z) * (1 + self.embed_mask(M)))

        u = self.ascend_to_node2(u, skips)
        if self.cross and theta is not None:
            theta = pad_to_multiple(theta)
            u = self.residual2(self.node2(u, self.other2(theta)))
            u = self.ascend_to_node1(u, skips)
            u = self.residual1(self.node1(u, self.other1(theta)))
        else:
            u = self.node1(self.ascend_to_node1(self.node2(u), skips))
        return (self.out(u) + z)[..., :H, :W]


class ClassProximalNetwork(Scales):
    """CATˢ: a U-Net of Swin blocks on three scales, informed by the cube."""

    embed: nn.Conv2d

    def __init__(self, config: CrsdunConfig, cross: bool):
        C, N, d = config.bands, config.classes, config.base

        def block(width: int) -> nn.Module:
            return swin_blocks(width, base=d)

        super().__init__(d, block, embed=conv(C + N if config.cube_in_class_input else N, d, 3))
        self.out = conv(d, N, 3)
        self.cube_in_input, self.cross = config.cube_in_class_input, cross
        if cross:
            gradient = config.affinity_gradient
            self.other1 = conv(C, d, bias=True)
            self.other2 = nn.Sequential(conv(C, d, bias=True), downsample(d, 2 * d))
            self.node2 = CrossAggregationBlock(
                2 * d, 2, token=4, blocks=2, pixels="other", affinity_gradient=gradient
            )
            self.node1 = CrossAggregationBlock(d, 1, token=8, blocks=2, pixels="other", affinity_gradient=gradient)
        else:
            self.node2, self.node1 = block(2 * d), block(d)

    def forward(self, xi: Tensor, x: Tensor) -> Tensor:
        H, W = xi.shape[-2:]
        xi, x = pad_to_multiple(xi), pad_to_multiple(x)
        u, skips = self.descend(self.embed(torch.cat([x, xi], 1) if self.cube_in_input else xi))

        u = self.ascend_to_node2(u, skips)
        u = self.node2(u, self.other2(x)) if self.cross else self.node2(u)

        u = self.ascend_to_node1(u, skips)
        u = self.node1(u, self.other1(x)) if self.cross else self.node1(u)
        return self.out(u)[..., :H, :W]
