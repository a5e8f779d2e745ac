"""What one frame of a sequence knows from the frame before: where to begin, and what has not changed.

Legend: C bands · H, W scene · x, b this cube and the one before (C,H,W).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera
from crsdun.optics.wavelengths import band_order

# Cubes are compared in squares of this many pixels. The part UNCHANGED of these, which differ least, tell how much
# noise makes them differ; with MORE times as much they count half. That is never more than MOST of the variance of
# the scene, or another scene would pass for noise.
SQUARE, UNCHANGED, MORE, MOST = 5, 0.2, 4.0, 0.5


@dataclass(frozen=True)
class Before:
    """The frame before.

    Attributes:
        cube: b, (C,H,W) float32, bands by ascending wavelength.
        warm: whether a method that can (``Method.takes_start``) begins with it.
        smoothing: which part of what has not changed is taken from b, 0 for none, below 1.

    Raises:
        InputError: the smoothing lies outside.
    """

    cube: np.ndarray
    warm: bool = True
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def seen_by(self, camera: CassiCamera) -> Tensor:
        """b with the bands in the order of a camera, on its device.

        Raises:
            InputError: the camera sees scenes of another size.
        """
        expected = (camera.bands, camera.height, camera.width)
        if self.cube.shape != expected:
            raise InputError(
                f"this frame shows {expected} (bands, height, width), but the one before {self.cube.shape}",
                "frames of one sequence have the same size",
            )
        order = band_order(camera.wavelengths)
        cube = self.cube if order is None else self.cube[np.argsort(order)]
        return torch.from_numpy(np.ascontiguousarray(cube)).to(camera.mask.device)

    def smooth(self, x: Tensor, camera: CassiCamera) -> Tensor:
        """x + s w (b − x): w is near 1 where both cubes differ by no more than noise, and near 0 where they do more.

        How much that is, the scene tells itself: where it differs least, it has not changed.

        Args:
            x: (C,H,W), bands in the camera's order.
        """
        if self.smoothing == 0:
            return x
        before = self.seen_by(camera)
        squares = (x - before).square().mean(0)[None, None]
        changes = F.avg_pool2d(squares, SQUARE, 1, SQUARE // 2, count_include_pad=False)[0, 0]
        usual = MORE * changes.flatten().kthvalue(max(1, round(UNCHANGED * changes.numel()))).values
        usual = torch.minimum(usual, MOST * x.flatten(1).var(1, correction=0).mean())
        weight = 1 / (1 + (changes / usual.clamp(min=torch.finfo(x.dtype).tiny)).square())
        return x + self.smoothing * weight * (before - x)


def check_smoothing(smoothing: float) -> None:
    """Raise an InputError unless this is a part below 1."""
    if not 0 <= smoothing < 1:
        raise InputError(f"the smoothing must be at least 0 and below 1, not {smoothing:g}", "set <smooth> to 0.5")
