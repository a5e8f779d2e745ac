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
        """Peak signal-to-noise ratio of two cubes (C,H,W) in dB, at most ``HIGHEST_PSNR`` in each term.

        Voxels where the truth is NaN are left out: of the whole cube, or of each band, and a band without any other
        from the mean over bands.

        Raises:
            InputError: the truth holds no data at all.
        """
        from torchmetrics.functional.image import peak_signal_noise_ratio

        if self.levels is not None:
            estimate, truth = (estimate * self.levels).round(), (truth * self.levels).round()
        missing = missing_voxels(truth)
        if missing is None:
            axes = (1, 2) if self.per_band else (0, 1, 2)
            ratio = peak_signal_noise_ratio(estimate, truth, data_range=self.peak, dim=axes, reduction="none")
        else:
            parts = [*zip(estimate, truth, ~missing, strict=True)] if self.per_band else [(estimate, truth, ~missing)]
            pairs = [(x[known], true[known]) for x, true, known in parts if known.any()]
            ratio = torch.stack([peak_signal_noise_ratio(*pair, data_range=self.peak) for pair in pairs])
        return float(ratio.clamp(max=HIGHEST_PSNR).mean())

    def ssim(self, estimate: Tensor, truth: Tensor) -> float | None:
        """Structural similarity with data range 1, mean over bands; None for cubes smaller than its kernel.

        Windows that touch a voxel where the truth is NaN are left out, and bands without any other from the mean;
        None if none remains.

        Raises:
            InputError: the truth holds no data at all.
        """
        if min(truth.shape[-2:]) < SSIM_KERNEL:
            return None
        from torchmetrics.functional.image import structural_similarity_index_measure

        border = SSIM_KERNEL // 2
        missing = missing_voxels(truth)
        if missing is not None:
            touched = F.max_pool2d(missing.to(estimate.dtype), SSIM_KERNEL, stride=1, padding=border) > 0
            estimate, truth = estimate.masked_fill(missing, 0), truth.masked_fill(missing, 0)
        if not self.zero_border and missing is None:
            similarity = structural_similarity_index_measure(estimate[None], truth[None], data_range=1.0)
            return float(torch.as_tensor(similarity))
        padding = border if self.zero_border else 0
        estimate, truth = (F.pad(cube, 4 * [padding])[None] for cube in (estimate, truth))
        _, everywhere = structural_similarity_index_measure(estimate, truth, data_range=1.0, return_full_image=True)
        height, width = everywhere.shape[-2:]
        everywhere = everywhere[..., padding : height - padding, padding : width - padding]
        if missing is None:
            return float(everywhere.mean())
        bands = zip(everywhere[0], ~touched, strict=True)
        means = [band[untouched].mean() for band, untouched in bands if untouched.any()]
        return float(torch.stack(means).mean()) if means else None


def missing_voxels(truth: Tensor) -> Tensor | None:
    """Where a true cube (C,H,W) holds no data (NaN), bool; None where it does everywhere.

    Raises:
        InputError: it holds no data at all.
    """
    missing = truth.isnan()
    if not bool(missing.any()):
        return None
    if bool(missing.all()):
        raise InputError("the truth holds no data", "compare with a scene that does")
    return missing


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
