"""How light becomes a measurement: the CASSI camera, masks, wavelengths, noise, calibration."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crsdun.optics.camera_file import CameraFile, read_camera, write_camera
from crsdun.optics.counts import (
    below_and_above,
    dark_excess,
    dark_floor,
    normalise_frame,
    saturation,
    saturation_at,
    subtract_dark,
)
from crsdun.optics.geometry import check_height, describe_fits, fitting_cameras
from crsdun.optics.hot_pixels import HOT_ROWS, are_points, hot_pixels
from crsdun.optics.masks import RandomMask, moved_mask, random_mask
from crsdun.optics.wavelengths import KAIST_WAVELENGTHS, nbk7_wavelengths, parse_wavelengths, to_nanometres

if TYPE_CHECKING:
    from crsdun.optics.camera import CassiCamera
    from crsdun.optics.estimate import ClassCalibration, Estimate, Fit, ModelCard, Progress
    from crsdun.optics.exposure import Exposure
    from crsdun.optics.mask_calibration import Calibration, CalibrationFrames, calibrate
    from crsdun.optics.noise import SensorNoise
    from crsdun.optics.parts import Blur, Distortion, Validity
    from crsdun.optics.random_camera import CameraRandomisation, RandomExposure
    from crsdun.optics.stacked import SideCamera, StackedCamera, dual_disperser

# These need PyTorch, whose import takes seconds: they are loaded on first use.
_NEED_TORCH = {
    "Blur": "parts",
    "Calibration": "mask_calibration",
    "CalibrationFrames": "mask_calibration",
    "CameraRandomisation": "random_camera",
    "CassiCamera": "camera",
    "ClassCalibration": "estimate",
    "Distortion": "parts",
    "Estimate": "estimate",
    "Fit": "estimate",
    "Exposure": "exposure",
    "ModelCard": "estimate",
    "Progress": "estimate",
    "RandomExposure": "random_camera",
    "SensorNoise": "noise",
    "SideCamera": "stacked",
    "StackedCamera": "stacked",
    "Validity": "parts",
    "dual_disperser": "stacked",
    "calibrate": "mask_calibration",
}

__all__ = [
    "HOT_ROWS",
    "KAIST_WAVELENGTHS",
    "Blur",
    "Calibration",
    "CalibrationFrames",
    "CameraFile",
    "CameraRandomisation",
    "CassiCamera",
    "ClassCalibration",
    "Distortion",
    "Estimate",
    "Exposure",
    "Fit",
    "ModelCard",
    "Progress",
    "RandomExposure",
    "RandomMask",
    "SensorNoise",
    "SideCamera",
    "StackedCamera",
    "Validity",
    "are_points",
    "below_and_above",
    "calibrate",
    "check_height",
    "dark_excess",
    "dark_floor",
    "describe_fits",
    "dual_disperser",
    "fitting_cameras",
    "hot_pixels",
    "moved_mask",
    "nbk7_wavelengths",
    "normalise_frame",
    "parse_wavelengths",
    "random_mask",
    "read_camera",
    "saturation",
    "saturation_at",
    "subtract_dark",
    "to_nanometres",
    "write_camera",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
