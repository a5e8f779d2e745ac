"""A measurement file in, a folder of results out."""

from crsdun.runtime.folder import RECORD, check_folder, new_folder
from crsdun.runtime.reconstruction import Reconstruction, camera_for, method_from, on_scale, reconstruct
from crsdun.runtime.simulation import simulate

__all__ = [
    "RECORD",
    "Reconstruction",
    "camera_for",
    "check_folder",
    "method_from",
    "new_folder",
    "on_scale",
    "reconstruct",
    "simulate",
]
