"""The learnt denoiser of ``pnp``: images of a scene's strongest spectral components, denoised together.

Legend: B batch · r images, R at most · H, W scene · σ noise level (B,).

It sees no bands, only the coefficients of a cube in a spectral basis of its own, strongest first, so it serves any
number of bands. Edges lie at the same places in all of them, which is what it has learnt from. No layer has a
bias: twice the images with twice the noise give twice the result, and any brightness may be added (Mohan et al.,
"Robust and interpretable blind image denoising via bias-free convolutional neural networks", ICLR 2020).

The layers are a small U-Net of residual blocks with a map of σ beside the images, after Zhang et al.,
"Plug-and-play image restoration with deep denoiser prior", TPAMI 2021.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("weights") / "coefficient_denoiser.safetensors"
MOST_IMAGES = 8  # of the shipped denoiser


class Block(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class CoefficientDenoiser(nn.Module):
    """(images (B,r,H,W), σ (B,)) → the images without noise, r ≤ R, any H and W; a few hundredths is a usual σ.

    Args:
        images: R.
        widths: channels at 1/2, 1/4 and 1/8 of the resolution.
        blocks: residual blocks there; those of the finer two are as many again on the way back.
    """

    def __init__(
        self,
        images: int = MOST_IMAGES,
        widths: tuple[int, ...] = (64, 80, 112),
        blocks: tuple[int, ...] = (2, 1, 1),
    ):
        super().__init__()
        self.images = images
        self.head = nn.Conv2d(4 * images + 1, widths[0], 3, padding=1, bias=False)
        scales = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2, bias=False) for fine, coarse in scales)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False) for fine, coarse in scales)
        self.before = nn.ModuleList(self._blocks(w, n) for w, n in zip(widths, blocks, strict=True))
        self.after = nn.ModuleList(self._blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.tail = nn.Conv2d(widths[0], 4 * images, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)  # learning starts from "no noise"

    @staticmethod
    def _blocks(width: int, count: int) -> nn.Sequential:
        return nn.Sequential(*(Block(width) for _ in range(count)))

    def forward(self, images: Tensor, sigma: Tensor) -> Tensor:
        r, H, W = images.shape[-3:]
        multiple = 2 ** len(self.before)
        x = images - images.mean((-2, -1), keepdim=True)
        x = F.pad(x, (0, -W % multiple, 0, -H % multiple), mode="replicate")
        x = F.pixel_unshuffle(F.pad(x, (0, 0, 0, 0, 0, self.images - r)), 2)
        level = 10 * sigma.view(-1, 1, 1, 1).expand(len(x), 1, *x.shape[-2:])  # of the size of the images
        x = self.head(torch.cat([x, level], 1))
        skips = []
        for before, down in zip(self.before, self.down, strict=False):
            skips.append(before(x))
            x = down(skips[-1])
        x = self.before[-1](x)
        for after, up, skip in zip(reversed(self.after), reversed(self.up), reversed(skips), strict=True):
            x = after(up(x) + skip)
        noise = F.pixel_shuffle(self.tail(x), 2)[..., :r, :H, :W]
        return images - noise


@cache
def shipped_denoiser(device: torch.device) -> CoefficientDenoiser:
    """The denoiser that comes with the package, on a device, for inference; read when it is first needed."""
    denoiser = CoefficientDenoiser()
    denoiser.load_state_dict(load_file(WEIGHTS))
    return denoiser.requires_grad_(False).to(device, torch.float32).eval()
