"""White noise out of cubes, by the denoiser of ``pnp``, which sees no bands.

Legend: B batch · C bands · H, W scene · x cube (C,H,W) · m mean spectrum · V, λ directions and variances of its
spectra, strongest first · c = Vᵀ (x − m) components · σ noise.

Without noise the components would have the variances λ − σ². The strongest are denoised together, as images; the
others, which hold more noise than edges, keep the part (λ − σ²) / λ of themselves, as a Wiener filter leaves it.

Source: denoising in a spectral subspace as in Zhuang and Bioucas-Dias, "Fast hyperspectral image denoising and
inpainting based on low-rank and sparse representations", JSTARS 2018; what is left of the other components is ours.
"""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crsdun.solvers.coefficients import RANGE, components
from crsdun.solvers.denoiser import WEIGHTS, CoefficientDenoiser

# More of them hold mostly noise, which the denoiser takes for edges.
IMAGES = 4
# In the unit of the images; the denoiser has learnt from twice as much, and blurs what has less.
LEAST_SIGMA = 0.003


class SpectralDenoiser(nn.Module):
    """(cubes (B,C,H,W), σ (B,)) → the cubes without white noise of this standard deviation; any C, H and W."""

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = CoefficientDenoiser()
        self.denoiser.load_state_dict(load_file(WEIGHTS))

    def forward(self, cubes: Tensor, sigma: Tensor) -> Tensor:
        return torch.stack([self._denoised(x, level) for x, level in zip(cubes, sigma, strict=True)])

    def _denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        mean, variance, V = (each.to(x) for each in components(x.detach()))
        signal = (variance - sigma.square()).clamp(min=0)
        if not bool(signal[0] > 0):
            return mean[:, None, None].expand_as(x)
        c = torch.tensordot(V.mT, x - mean[:, None, None], 1)
        kept = c * (signal / variance.clamp(min=torch.finfo(x.dtype).tiny))[:, None, None]
        unit = RANGE * signal[0].sqrt()
        if bool(sigma / unit >= LEAST_SIGMA):
            images = c[:IMAGES] / unit + 0.5
            denoised = self.denoiser(images[None], (sigma / unit)[None])[0]
            kept = torch.cat([(denoised - 0.5) * unit, kept[IMAGES:]])
        return torch.tensordot(V, kept, 1) + mean[:, None, None]
