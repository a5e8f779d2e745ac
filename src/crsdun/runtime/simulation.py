"""The measurement that a camera would have taken of a known scene."""

from __future__ import annotations

from dataclasses import asdict, replace

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Exposure
from crsdun.scenes import Measurement, Scene
from crsdun.scenes.scene_set import SceneSet


def simulate(scene: Scene, exposure: Exposure) -> Measurement:
    """One exposure of a scene, together with everything about its camera.

    Voxels without data send no light; ``valid`` of the measurement says where that light would have arrived. A
    measurement has a mask and a step: where a calibrated camera has more to it, the measurement has neither, and its
    camera (``exposure.camera(scene)``) has to be told when it is decoded.

    Raises:
        InputError: the mask is smaller than the scene or calibrated for another number of bands.
    """
    camera = exposure.camera(scene)
    tells = is_plain(camera)
    calibrated = {} if exposure.calibrated is None else {"calibrated_camera": exposure.described()}
    noise = None if exposure.noise.silent else {**asdict(exposure.noise), "seed": exposure.seed}
    moved = {"mask_moved": list(exposure.moved)} if any(exposure.moved) else {}
    return Measurement(
        exposure.measure(scene.cube, camera).numpy(),
        wavelengths=scene.wavelengths,
        mask=camera.mask.numpy() if tells else None,
        step=camera.step if tells else None,
        name=scene.name,
        provenance={
            "simulated_from": {"name": scene.name, **scene.provenance},
            "noise": noise,
            **moved,
            **calibrated,
        },
        valid=exposure.complete_pixels(scene.valid, camera),
    )


def is_plain(camera: CassiCamera) -> bool:
    """Whether a mask and a step say all of a camera."""
    return camera.step is not None and camera.down_and_right[0][1].is_integer() and not camera.parts


def scene_for(camera: CassiCamera, scene: Scene) -> Scene:
    """A scene on the bands of a camera: resampled where both know their wavelengths, else taken for the same bands.

    Raises:
        InputError: the numbers of bands differ and the wavelengths of one are not known; or those of the scene do not
            reach as far.
    """
    if _same_bands(camera, scene, "give them with <wavelengths>"):
        return replace(scene, wavelengths=scene.wavelengths or camera.wavelengths)
    assert camera.wavelengths is not None
    resampled = scene.resampled(camera.wavelengths)
    resampled.check_data()
    return resampled


def scenes_for(camera: CassiCamera, scenes: SceneSet) -> SceneSet:
    """The same for a set, whose scenes are resampled one by one."""
    if _same_bands(camera, scenes, "give them in the .yaml file of the data set"):
        return scenes
    assert camera.wavelengths is not None
    return scenes.on_grid(camera.wavelengths)


def _same_bands(camera: CassiCamera, scene: Scene | SceneSet, remedy: str) -> bool:
    """Whether bands are those of a camera, as far as is known; raises an InputError where that cannot be told.

    Args:
        remedy: where the wavelengths of the scene are missing.
    """
    if camera.wavelengths is not None and scene.wavelengths is not None:
        return camera.wavelengths == scene.wavelengths
    if scene.bands == camera.bands:
        return True
    unknown = repr(scene.name) if scene.wavelengths is None else "the camera"
    raise InputError(
        f"{scene.name!r} has {scene.bands} bands and the camera {camera.bands}, and the wavelengths of {unknown} are "
        "not known",
        remedy if scene.wavelengths is None else "calibrate it with the wavelengths of its frames",
    )
