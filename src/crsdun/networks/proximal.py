"""The proximal networks: of the cube (CATʳ in CRSDUN; SSR's without a class map) and of the class map (CATˢ).

Legend: B batch · C bands · N classes · d width at full size · H, W scene · z, x cube (B,C,H,W) · θ class map as
logits (B,N,H,W) · ξ sparse code of θ (B,N,H,W) · M mask for each band (1,C,H,W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crsdun.networks.blocks import AttentionResidualBlock, SpectralSpatialBlock, conv, downsample, swin_blocks
from crsdun.networks.super_tokens import CrossAggregationBlock
from crsdun.networks.unet import Scales, pad_to_multiple


class CubeProximalNetwork(Scales):
    """CATʳ: a U-Net of spectral-spatial blocks, informed by the mask and, by cross-aggregation, by the class map.

    Args:
        bands: C.
        width: d.
        classes: N of the class map, 0 for none: no cross-aggregation.
        affinity_gradient: gradients flow through the pixel–token association.
        told: how many numbers it is told about each sample besides z, as constant maps.
    """

    embed: nn.Conv2d
    embed_mask: nn.Conv2d

    def __init__(self, bands: int, width: int, classes: int = 0, affinity_gradient: bool = False, told: int = 0):
        C, N, d = bands, classes, width

        def block(width: int) -> nn.Module:
            return SpectralSpatialBlock(width, base=d)

        super().__init__(d, block, embed=conv(C + told, d, 3), embed_mask=conv(C, d, 3))
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

    def forward(self, z: Tensor, M: Tensor, theta: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """The refined cube (B,C,H,W) from z (B,C,H,W); θ (B,N,H,W) is used only with cross-aggregation.

        ``told`` (B,·,1,1) is what it is told about each sample.
        """
        H, W = z.shape[-2:]
        z, M = pad_to_multiple(z), pad_to_multiple(M)
        u, skips = self.descend(self.embed(and_told(z, told)) * (1 + self.embed_mask(M)))

        u = self.ascend_to_node2(u, skips)
        if self.cross and theta is not None:
            theta = pad_to_multiple(theta)
            u = self.residual2(self.node2(u, self.other2(theta)))
            u = self.ascend_to_node1(u, skips)
            u = self.residual1(self.node1(u, self.other1(theta)))
        else:
            u = self.node1(self.ascend_to_node1(self.node2(u), skips))
        return (self.out(u) + z)[..., :H, :W]


def and_told(x: Tensor, told: Tensor | None) -> Tensor:
    """Maps (B,·,H,W) and numbers about each sample (B,·,1,1) as further, constant maps."""
    return x if told is None else torch.cat([x, told.expand(-1, -1, *x.shape[-2:])], 1)


class ClassProximalNetwork(Scales):
    """CATˢ: a U-Net of Swin blocks on three scales, informed by the cube.

    Args:
        bands, classes, width: C, N and d.
        cube_in_input: the input is concat[x, ξ] instead of ξ.
        cross: with cross-aggregation.
        affinity_gradient: gradients flow through the pixel–token association.
    """

    embed: nn.Conv2d

    def __init__(
        self, bands: int, classes: int, width: int, cube_in_input: bool, cross: bool, affinity_gradient: bool
    ):
        C, N, d = bands, classes, width

        def block(width: int) -> nn.Module:
            return swin_blocks(width, base=d)

        super().__init__(d, block, embed=conv(C + N if cube_in_input else N, d, 3))
        self.out = conv(d, N, 3)
        self.cube_in_input, self.cross = cube_in_input, cross
        if cross:
            gradient = affinity_gradient
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
