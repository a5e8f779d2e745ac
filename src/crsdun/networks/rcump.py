"""RCUMP: residual completion unrolling with mixed priors (Zhao et al., IEEE TIP 2024), K stages.

Two peculiarities of the published network are kept, since its counts and weights depend on them: the gradient step is
not divided by D, and the proximal network sees the masks where the prism puts them, cut to the scene's columns, so
that they are displaced against the features they gate.

Legend: B batch · C bands · K stages · d width of a level · H, W scene · Wm measurement width · x cube (B,C,H,W)
y measurement (B,H,Wm) · M mask · A camera · D features of the data, m features of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.blocks import ChannelGroupNorm, conv, downsample
from crsdun.networks.network import Network, ReconstructionConfig, check_counts
from crsdun.networks.unet import pad_to_multiple
from crsdun.networks.unfolding import soft_threshold
from crsdun.optics import CassiCamera, Estimate

# The published choice: twice what three halvings need.
SIZE_MULTIPLE = 16
SLOPE = 0.1  # of every LeakyReLU


@dataclass(frozen=True)
class RcumpConfig(ReconstructionConfig):
    """Everything that decides the layers of RCUMP.

    Attributes:
        bands: C, at least 1.
        stages: K, at least 1.
        width: channels of the proximal network at full resolution; the lower levels have 2, 3 and 4 times as many.
    """

    bands: int
    stages: int = 9
    width: int = 32

    def __post_init__(self) -> None:
        check_counts("RCUMP", bands=self.bands, stages=self.stages, width=self.width)

    @property
    def base(self) -> int:
        """The largest number of channels at full resolution."""
        return max(self.width, self.bands)


class Rcump(Network):
    """The network; ``crsdun.create("rcump_9stg", bands=28)`` builds it."""

    def __init__(self, config: RcumpConfig):
        super().__init__(config)
        C = config.bands
        self.initial = conv(2 * C, C, bias=True)
        self.stages = nn.ModuleList(RcumpStage(C, config.width) for _ in range(config.stages))
        self.apply(init_small)

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """The cube of every stage; arguments and errors as in ``Network``."""
        y = measurement
        shifted = camera.disperse(camera.mask_per_band)  # (C,H,Wm)
        light = shifted.sum(0)

        # g shares the light among the bands; where none arrives there is nothing to share.
        g = camera.gather(y / torch.where(light == 0, 1, light))
        x = self.initial(torch.cat([g, g * camera.mask], 1))

        mask = shifted[None, ..., : camera.height, : camera.width]
        cubes = []
        for stage in cast("list[RcumpStage]", self.stages):
            gradient = camera.adjoint(camera.forward(x) - y)
            r = x - stage.step(gradient) * gradient
            x = stage.network(r, mask) + stage.completion(x) + r
            cubes.append(x)
        return Estimate(cubes)


def init_small(module: nn.Module) -> None:
    """Small kernels, and norms that start by damping; the biases of convolutions keep PyTorch's initial values."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.01)
    elif isinstance(module, ChannelGroupNorm):
        nn.init.normal_(module.weight, mean=0.1, std=0.01)
        nn.init.normal_(module.bias, std=0.01)


class RcumpStage(nn.Module):
    """Stage k: the estimator of its step sizes, its proximal network, and its residual completion."""

    def __init__(self, bands: int, width: int):
        super().__init__()
        self.step = ChannelEstimator(bands)
        self.network = MaskGuidedUNet(bands, width)
        self.completion = ResidualCompletion(bands)


class ChannelEstimator(nn.Module):
    """P(d): a small number, positive at first, for each channel of each sample, (B,d,H,W) → (B,d,1,1)."""

    def __init__(self, width: int):
        super().__init__()
        d = width
        self.fusion = conv(d, d, bias=True)
        self.down = nn.Conv2d(d, d, 3, stride=2, padding=1, groups=d)
        self.mlp = nn.Sequential(conv(d, d, bias=True), nn.ReLU(), conv(d, d, bias=True), nn.ReLU(), conv(d, d))
        self.offset = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.down(F.relu(self.fusion(x))).mean((2, 3), keepdim=True)
        return (F.softplus(self.mlp(pooled)) + self.offset) * 0.1


class ResidualCompletion(nn.Module):
    """RCB: the outputs of a chain of five convolutions of x, each weighted by an ω, plus a normed 1×1 convolution."""

    def __init__(self, bands: int):
        super().__init__()
        C = bands
        self.chain = nn.ModuleList(conv(C, C, 3) for _ in range(5))
        self.omega = nn.ParameterList(torch.zeros(1) for _ in range(5))
        self.shortcut = normed(C, C)

    def forward(self, x: Tensor) -> Tensor:
        total, t = leaky(self.shortcut(x)), x
        for convolution, omega in zip(self.chain, self.omega, strict=True):
            t = leaky(convolution(t))
            total = total + omega * t
        return total


class MaskGuidedUNet(nn.Module):
    """U: a U-Net on four scales whose features are gated by those of the mask on all scales."""

    def __init__(self, bands: int, width: int):
        super().__init__()
        C, widths = bands, [width * scale for scale in (1, 2, 3, 4)]
        self.embed, self.embed_mask = conv(C, width, 3), conv(C, width, 3)
        self.encoder = nn.ModuleList(GatedBlock(d) for d in widths)
        self.down = nn.ModuleList(downsample(d, e) for d, e in pairwise(widths))
        self.down_mask = nn.ModuleList(downsample(d, e) for d, e in pairwise(widths))
        self.threshold = ChannelEstimator(widths[-1])
        self.up = nn.ModuleList(nn.ConvTranspose2d(e, d, 2, stride=2, bias=False) for d, e in pairwise(widths))
        self.decoder = nn.ModuleList(MixedBlock(2 * d, d) for d in widths[:-1])
        self.out = conv(width, C, 3)

    def forward(self, r: Tensor, mask: Tensor) -> Tensor:
        """The correction of r (B,C,H,W); the mask, (1,C,H,W), is the same for all samples."""
        H, W = r.shape[-2:]
        D = self.embed(pad_to_multiple(r, SIZE_MULTIPLE))
        m = self.embed_mask(pad_to_multiple(mask, SIZE_MULTIPLE))

        skips = []
        for gated, down, down_mask in zip(self.encoder[:-1], self.down, self.down_mask, strict=True):
            D, m = gated(D, m)
            skips.append(D)
            D, m = down(D), down_mask(m)
        D, _ = self.encoder[-1](D, m)
        D = soft_threshold(D, 0.001 * self.threshold(D))

        for up, mixed in zip(reversed(self.up), reversed(self.decoder), strict=True):
            D = mixed(torch.cat([up(D), skips.pop()], 1))
        return self.out(D)[..., :H, :W]


class GatedBlock(nn.Module):
    """A mixed block for the data, a depthwise convolution for the mask, and their product."""

    def __init__(self, width: int):
        super().__init__()
        self.data = MixedBlock(width, width)
        self.mask = normed(width, width, 3, groups=width)

    def forward(self, D: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        m = leaky(self.mask(m))
        return self.data(D) * m, m


class MixedBlock(nn.Module):
    """RB: a path of 1×1 convolutions, a path of depthwise 3×3 convolutions, and a 1×1 shortcut, added up."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        d, e = inputs, outputs
        activation = nn.LeakyReLU(SLOPE)
        groups = min(d, e)
        self.shortcut = normed(d, e)
        self.point = nn.Sequential(normed(d, e), activation, normed(e, e))
        self.around = nn.Sequential(normed(d, e, 3, groups), activation, normed(e, e, 3, groups))

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.shortcut(x) + self.point(x) + self.around(x))


def normed(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution followed by a group norm."""
    return nn.Sequential(conv(inputs, outputs, kernel, groups=groups), ChannelGroupNorm(outputs))


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)
