"""What a camera would have measured of a known scene."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, SensorNoise
from crsdun.scenes import Measurement, Scene


def simulate(
    scene: Scene, mask: np.ndarray, step: float = 2, noise: SensorNoise | None = None, seed: int = 0
) -> Measurement:
    """One exposure of a scene, with everything about the camera kept beside it.

    Args:
        scene: with as many bands as the camera shall have.
        mask: (H,W) or (C,H,W); where it is larger than the scene its upper left part is used.
        step: dispersion in pixels per band.
        noise: of the detector; None measures without noise.
        seed: of the noise.

    Raises:
        InputError: the mask is smaller than the scene or calibrated for another number of bands.
    """
    height, width = scene.cube.shape[1:]
    if mask.shape[-2] < height or mask.shape[-1] < width:
        raise InputError(
            f"the mask ({mask.shape[-2]}×{mask.shape[-1]}) is smaller than the scene ({height}×{width})",
            "crop the scene, or take a larger mask",
        )
    mask = mask[..., :height, :width]
    camera = CassiCamera(mask, bands=scene.bands, step=step)
    frame = camera.forward(torch.from_numpy(scene.cube))
    if noise is not None:
        # A detector counts nothing below its black level.
        frame = noise(frame, scene.bands, torch.Generator().manual_seed(seed)).clamp(min=0)
    return Measurement(
        frame.numpy(),
        wavelengths=scene.wavelengths,
        mask=mask,
        step=step,
        name=scene.name,
        provenance={
            "simulated_from": {"name": scene.name, **scene.provenance},
            "noise": None if noise is None else {**asdict(noise), "seed": seed},
        },
    )
