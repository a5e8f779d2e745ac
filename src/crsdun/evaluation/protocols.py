"""How a cube is compared with the truth. "PSNR" is not one number, so every protocol has a name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError

SSIM_KERNEL = 11  # pixels that the Gaussian of SSIM (σ 1.5) is wide
# Equal images have an infinite PSNR, which would make every mean infinite.
HIGHEST_PSNR = 100.0


@dataclass(frozen=True)
class Protocol:
    """One convention of the field. Nothing is ever clipped, and truth and estimate are treated alike.

    Attributes:
        name: for requesting it, and given with every figure.
        per_band: PSNR is the mean over bands, not that of the whole cube.
        levels: values are multiplied by this and rounded before PSNR; None leaves them unchanged.
        peak: the largest value for PSNR, on that scale.
        zero_border: SSIM pads the bands with zeros; otherwise by reflection.
        description: in one line, for tables and the documentation.
    """

    name: str
    per_band: bool
    levels: int | None
    peak: float
    zero_border: bool
    description: str

    def psnr(self, estimate: Tensor, truth: Tensor) -> float:
        """Peak signal-to-noise ratio of two cubes (C,H,W) in dB, at most ``HIGHEST_PSNR`` in each term."""
        from torchmetrics.functional.image import peak_signal_noise_ratio

        if self.levels is not None:
            estimate, truth = (estimate * self.levels).round(), (truth * self.levels).round()
        axes = (1, 2) if self.per_band else (0, 1, 2)
        ratio = peak_signal_noise_ratio(estimate, truth, data_range=self.peak, dim=axes, reduction="none")
        return float(ratio.clamp(max=HIGHEST_PSNR).mean())

    def ssim(self, estimate: Tensor, truth: Tensor) -> float | None:
        """Structural similarity with data range 1, mean over bands; None for cubes smaller than its kernel."""
        if min(truth.shape[-2:]) < SSIM_KERNEL:
            return None
        from torchmetrics.functional.image import structural_similarity_index_measure

        if not self.zero_border:
            similarity = structural_similarity_index_measure(estimate[None], truth[None], data_range=1.0)
            return float(torch.as_tensor(similarity))
        border = SSIM_KERNEL // 2
        estimate, truth = (F.pad(cube, 4 * [border])[None] for cube in (estimate, truth))
        _, everywhere = structural_similarity_index_measure(estimate, truth, data_range=1.0, return_full_image=True)
        return float(everywhere[..., border:-border, border:-border].mean())


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # The CRSDUN paper's, by torchmetrics.
        Protocol(
            "crsdun",
            per_band=False,
            levels=None,
            peak=1.0,
            zero_border=False,
            description="PSNR over the whole cube and SSIM, both with data range 1",
        ),
        # ``torch_psnr`` and ``torch_ssim`` of the toolbox released with MST (Cai et al., CVPR 2022), under which most
        # networks of the field were published. The factor is 256 and the peak 255, as there.
        Protocol(
            "mst",
            per_band=True,
            levels=256,
            peak=255.0,
            zero_border=True,
            description=(
                "PSNR of round(256 x) with peak 255, mean over bands; SSIM with data range 1 and zero borders"
            ),
        ),
        Protocol(
            "float",
            per_band=True,
            levels=None,
            peak=1.0,
            zero_border=False,
            description="PSNR with data range 1, mean over bands; SSIM with data range 1",
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}", f"there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
