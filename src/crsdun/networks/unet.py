"""The U-Net that most networks here share: three scales of widths d, 2d, 4d, five nodes, two skips.

embed → encoder1 =: skip1 → down1 → encoder2 =: skip2 → down2 → bottleneck
→ up2 → fuse2 of concat[·, skip2] → node2 → up1 → fuse1 of concat[·, skip1] → node1 → out

Legend: B batch · d width at full size · H, W size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.blocks import conv, downsample, upsample

# For 8×8 windows at a quarter of the size, the size of the input must be a multiple of this.
SIZE_MULTIPLE = 32

Block = Callable[[int], nn.Module]


class Scales(nn.Module):
    """The three scales, without the nodes on the way up and the last convolution, which subclasses add.

    Args:
        width: d.
        block: makes the module of a node, for the width of its scale.
        **embed: the first convolution or convolutions, by name.
    """

    node2: nn.Module
    node1: nn.Module

    def __init__(self, width: int, block: Block, **embed: nn.Module):
        super().__init__()
        d = width
        for name, module in embed.items():
            self.add_module(name, module)
        self.encoder1, self.down1 = block(d), downsample(d, 2 * d)
        self.encoder2, self.down2 = block(2 * d), downsample(2 * d, 4 * d)
        self.bottleneck = block(4 * d)
        self.up2, self.fuse2 = upsample(4 * d, 2 * d), conv(4 * d, 2 * d)
        self.up1, self.fuse1 = upsample(2 * d, d), conv(2 * d, d)

    def descend(self, u: Tensor) -> tuple[Tensor, list[Tensor]]:
        """From the embedded image (B,d,H,W) to the features (B,4d,H/4,W/4) of the bottleneck, and the skips."""
        skips = [self.encoder1(u)]
        skips.append(self.encoder2(self.down1(skips[-1])))
        return self.bottleneck(self.down2(skips[-1])), skips

    def ascend_to_node2(self, u: Tensor, skips: list[Tensor]) -> Tensor:
        """(B,4d,H/4,W/4) → (B,2d,H/2,W/2)."""
        return self.fuse2(torch.cat([self.up2(u), skips.pop()], 1))

    def ascend_to_node1(self, u: Tensor, skips: list[Tensor]) -> Tensor:
        """(B,2d,H/2,W/2) → (B,d,H,W)."""
        return self.fuse1(torch.cat([self.up1(u), skips.pop()], 1))


class UNet(Scales):
    """The whole: 3×3 convolutions at both ends, and the same kind of block at all five nodes."""

    embed: nn.Conv2d

    def __init__(self, inputs: int, outputs: int, width: int, block: Block):
        super().__init__(width, block, embed=conv(inputs, width, 3))
        self.out = conv(width, outputs, 3)
        self.node2, self.node1 = block(2 * width), block(width)

    def forward(self, x: Tensor) -> Tensor:
        u, skips = self.descend(self.embed(x))
        u = self.node2(self.ascend_to_node2(u, skips))
        u = self.node1(self.ascend_to_node1(u, skips))
        return self.out(u)


def pad_to_multiple(x: Tensor, multiple: int = SIZE_MULTIPLE) -> Tensor:
    """Padded at the right and bottom by reflection (by replication if the image is too small to reflect)."""
    H, W = x.shape[-2:]
    bottom, right = (H + multiple - 1) // multiple * multiple - H, (W + multiple - 1) // multiple * multiple - W
    if torch.compiler.is_exporting():
        # A graph for all sizes cannot ask whether there is something to pad, or enough to reflect.
        return F.pad(x, (0, right, 0, bottom), mode="reflect")
    if bottom:
        x = F.pad(x, (0, 0, 0, bottom), mode="reflect" if bottom < x.shape[-2] else "replicate")
    if right:
        x = F.pad(x, (0, right, 0, 0), mode="reflect" if right < x.shape[-1] else "replicate")
    return x
