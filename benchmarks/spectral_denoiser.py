"""White noise out of cubes: ``SpectralDenoiser``, and beside it the Wiener filter that is a part of it.

python benchmarks/spectral_denoiser.py
"""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table

from crsdun.scenes import Scene, open_set
from crsdun.solvers import SpectralDenoiser, spectral_denoiser

SIGMAS = (0.005, 0.02, 0.05, 0.1)


def psnr(estimate: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10 * torch.log10((estimate - truth).square().mean()))


def figures(scene: Scene, sigma: float) -> list[float]:
    """PSNR in dB of the noisy scene, by the filter alone, and by the denoiser."""
    truth, denoiser = torch.from_numpy(scene.cube)[None], SpectralDenoiser()
    noisy = truth + sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    measured = [psnr(noisy, truth)]
    usual = spectral_denoiser.LEAST_SIGMA
    for least in (float("inf"), usual):
        spectral_denoiser.LEAST_SIGMA = least
        with torch.inference_mode():
            measured.append(psnr(denoiser(noisy, torch.tensor([sigma])), truth))
    return measured


def main() -> None:
    table = Table("scene", "σ", "noisy", "Wiener filter", "SpectralDenoiser")
    scenes = {
        "Produce-23": open_set("produce", "validation").crop(0, 80, 80, 128, 128),
        "Patchwork": open_set("patchwork", "validation").crop(3, 0, 0, 128, 128),
    }
    for name, scene in scenes.items():
        for sigma in SIGMAS:
            table.add_row(name, f"{sigma:g}", *(f"{value:.2f}" for value in figures(scene, sigma)))
    Console().print(table)


if __name__ == "__main__":
    main()
