"""MST++: successive spectral-wise transformers (Cai et al., "MST++: Multi-stage Spectral-wise Transformer for
Efficient Spectral Reconstruction", CVPRW 2022), in the form that the MST toolbox gives it for CASSI.

Legend: B batch · C bands · d width of a level · c channels of a head · H, W scene · x cube (B,C,H,W) · M mask for
each band (1,C,H,W).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.blocks import ChannelLayerNorm, FeedForward, conv, init_truncated
from crsdun.networks.network import Network, ReconstructionConfig, check_counts
from crsdun.networks.row_chunks import add, add_by_rows
from crsdun.networks.unet import UNet, pad_to_multiple
from crsdun.optics import CassiCamera, Estimate

# The toolbox's choice: twice what two halvings need.
SIZE_MULTIPLE = 8


@dataclass(frozen=True)
class MstppConfig(ReconstructionConfig):
    """Everything that decides the layers of MST++.

    Attributes:
        bands: C, at least 1.
        bodies: number of U-Nets one after the other, at least 1.
        width: channels at full resolution, and of each head; None for as many as bands (published).
    """

    bands: int
    bodies: int = 3
    width: int | None = None

    def __post_init__(self) -> None:
        check_counts("MST++", bands=self.bands, bodies=self.bodies, width=self.base)


class Mstpp(Network):
    """The network; ``crsdun.create("mstpp", bands=28)`` builds it."""

    def __init__(self, config: MstppConfig):
        super().__init__(config)
        C, d = config.bands, config.base
        self.initial = conv(2 * C, C, bias=True)
        self.embed = conv(C, C, 3)
        self.bodies = nn.ModuleList(
            UNet(C, C, d, lambda width: SpectralTransformerBlock(width, base=d)) for _ in range(config.bodies)
        )
        self.out = conv(C, C, 3)

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """One cube; arguments and errors as in ``Network``."""
        M = camera.mask_per_band[None].expand(len(measurement), -1, -1, -1)
        x = self.initial(torch.cat([camera.initial_estimate(measurement), M], 1))

        H, W = x.shape[-2:]
        e = u = self.embed(pad_to_multiple(x, SIZE_MULTIPLE))
        for body in self.bodies:
            u = add(body(u), u)
        return Estimate([(self.out(u) + e)[..., :H, :W]])


class SpectralTransformerBlock(nn.Module):
    """Spectral-wise attention, without a norm before it, then feed-forward."""

    def __init__(self, width: int, base: int):
        super().__init__()
        self.attention = SpectralAttention(width, heads=width // base)
        self.norm, self.ffn = ChannelLayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = add(x, self.attention(x))
        return add_by_rows(x, self.norm, self.ffn)


class SpectralAttention(nn.Module):
    """MSA: in each head the tokens are its c channels, each as long as the whole image has pixels."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(heads, 1, 1))  # σ
        self.out = nn.Linear(width, width)
        init_truncated(self)
        self.position = nn.Sequential(
            conv(width, width, 3, groups=width), nn.GELU(), conv(width, width, 3, groups=width)
        )

    def forward(self, x: Tensor) -> Tensor:
        H, W = x.shape[-2:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H·W, d)
        value = self.value(pixels)
        q, k, v = (self.by_heads(part) for part in (self.query(pixels), self.key(pixels), value))

        # (B, heads, c, c): row of a channel of k, column of one of q
        attention = F.normalize(k, dim=-2).transpose(-1, -2) @ F.normalize(q, dim=-2)
        mixed = v @ (self.scale * attention).softmax(-1).transpose(-1, -2)

        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        return self.position(to_image(value, H, W)) + to_image(mixed, H, W)

    def by_heads(self, pixels: Tensor) -> Tensor:
        """(B, H·W, d) → (B, heads, H·W, c); a head is a contiguous group of channels."""
        return pixels.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def to_image(pixels: Tensor, height: int, width: int) -> Tensor:
    """(B, H·W, d) → (B,d,H,W)."""
    return pixels.unflatten(1, (height, width)).permute(0, 3, 1, 2)
