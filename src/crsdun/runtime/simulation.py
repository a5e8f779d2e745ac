"""The measurement that a camera would have taken of a known scene."""

from __future__ import annotations

from dataclasses import asdict

from crsdun.optics import Exposure
from crsdun.scenes import Measurement, Scene


def simulate(scene: Scene, exposure: Exposure) -> Measurement:
    """One exposure of a scene, together with everything about its camera.

    Voxels without data send no light; ``valid`` of the measurement says where that light would have arrived.

    Raises:
        InputError: the mask is smaller than the scene or calibrated for another number of bands.
    """
    camera = exposure.camera(scene)
    noise = None if exposure.noise.silent else {**asdict(exposure.noise), "seed": exposure.seed}
    moved = {"mask_moved": list(exposure.moved)} if any(exposure.moved) else {}
    return Measurement(
        exposure.measure(scene.cube, camera).numpy(),
        wavelengths=scene.wavelengths,
        mask=camera.mask.numpy(),
        step=camera.step,
        name=scene.name,
        provenance={"simulated_from": {"name": scene.name, **scene.provenance}, "noise": noise, **moved},
        valid=exposure.complete_pixels(scene.valid, camera),
    )
