"""Where cubes and labels come from: the scene type, its file formats, and scenes that come along."""

from crsdun.scenes.files import describe, read_mask, read_scene, write_scene
from crsdun.scenes.formats import ArrayFile, read_arrays, write_arrays
from crsdun.scenes.indian_pines import indian_pines
from crsdun.scenes.measurement import Measurement, read_measurement, write_measurement
from crsdun.scenes.scene import UNLABELLED, Scene

__all__ = [
    "UNLABELLED",
    "ArrayFile",
    "Measurement",
    "Scene",
    "describe",
    "indian_pines",
    "read_arrays",
    "read_mask",
    "read_measurement",
    "read_scene",
    "write_arrays",
    "write_measurement",
    "write_scene",
]
