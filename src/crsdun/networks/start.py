"""What CRSDUN begins with: x⁰ and θ⁰, on a scale of its own, and bands on which classes are recognised.

Legend: B batch · C bands · N classes · H, W scene · Wm measurement width · x cube (B,C,H,W) · θ class map as logits
(B,N,H,W) · y measurement (B,H,Wm).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.blocks import conv
from crsdun.optics import CassiCamera, Progress
from crsdun.solvers import LrTv

# Mean of a scene on a network's own scale, where scenes in 0..1 have about half of that range.
MEAN = 0.5
# A spectrum is divided by its mean plus this before its class is looked for.
DARK = 0.05
# Peak memory of the solver, in bytes per voxel, with some room: 146 MB were measured for 28 bands of 256×256 pixels.
SOLVER_BYTES = 100


def own_scale(measurement: Tensor, camera: CassiCamera) -> Tensor:
    """By how much scenes are brighter than ``MEAN``, (B,1,1); 1 where there is no light."""
    brightness = camera.brightness(measurement)
    return torch.where(brightness > 0, brightness / MEAN, 1)[:, None, None]


def standard_mask(camera: CassiCamera) -> tuple[CassiCamera, Tensor]:
    """The camera with a mask so much brighter that the mean of D is C/2, as of a half open mask; and how much."""
    mean, usual = camera.diagonal.mean(), camera.bands / 2
    lets_light_through = mean > torch.finfo(camera.mask.dtype).tiny
    brighter = (usual / torch.where(lets_light_through, mean, usual)).sqrt()
    return camera.with_mask(camera.mask * brighter), brighter


@torch.no_grad()
def solver_start(
    measurement: Tensor, camera: CassiCamera, iterations: int, progress: Progress | None = None
) -> Tensor:
    """The cube that LR-TV finds in so many iterations, (B,C,H,W), in float32 under any autocast."""
    if measurement.is_meta:  # only the network's own operations are counted
        return measurement.new_empty(len(measurement), camera.bands, camera.height, camera.width)
    with torch.autocast(measurement.device.type, enabled=False):
        return LrTv(iterations=iterations)(measurement.float(), camera.to(torch.float32), progress).cube


class PixelClassifier(nn.Module):
    """θ⁰: the class of each pixel from its spectrum alone, of any brightness.

    Args:
        bands, classes: C and N.
    """

    HIDDEN = 64

    def __init__(self, bands: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            conv(2 * bands, self.HIDDEN, bias=True),
            nn.GELU(),
            conv(self.HIDDEN, self.HIDDEN, bias=True),
            nn.GELU(),
            conv(self.HIDDEN, classes, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        shape = x / (x.mean(1, keepdim=True).clamp(min=0) + DARK) - 1
        return self.layers(torch.cat([shape, x], 1))


def resampling(known: tuple[float, ...] | None, wanted: tuple[float, ...] | None, like: Tensor) -> Tensor | None:
    """The matrix that interpolates spectra from bands to other ones, (wanted, known); None where it changes nothing.

    Beyond the first and the last known band a spectrum stays as it is there. Bands may be in any order.

    Args:
        known, wanted: in nm; None where they are not known, which are then taken for each other.
        like: a tensor of the device and floating type.
    """
    if known is None or wanted is None or (len(known) == len(wanted) and np.allclose(known, wanted, atol=0.5)):
        return None
    order = np.argsort(known)
    unit = np.eye(len(known))[order]
    rows = np.stack([np.interp(wanted, np.asarray(known)[order], each) for each in unit.T], axis=1)
    return torch.as_tensor(rows, dtype=like.dtype, device=like.device)


def on_bands(x: Tensor, matrix: Tensor | None) -> Tensor:
    """A cube (B,C,H,W) with each spectrum multiplied by a matrix; itself where there is none."""
    return x if matrix is None else F.conv2d(x, matrix[:, :, None, None])
