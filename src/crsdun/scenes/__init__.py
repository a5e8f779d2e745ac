"""Where cubes and labels come from: the scene type, its file formats, and data sets of labelled scenes."""

from crsdun.scenes.calibration_frames import BandFrames, read_band_frames, read_band_whites, read_frame
from crsdun.scenes.catalog import open_set, register_dataset
from crsdun.scenes.formats import ArrayFile, open_arrays, read_arrays, write_arrays
from crsdun.scenes.indian_pines import indian_pines
from crsdun.scenes.inspection import ArrayDescription, FileDescription, WeightsDescription, describe
from crsdun.scenes.mask_io import MaskRows, StoredMask, open_mask, parse_mask, read_mask, read_stored_mask
from crsdun.scenes.measurement import Exposures, Measurement, open_exposures, read_measurement, write_measurement
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.scenes.scene_io import read_class_map, read_scene, write_scene
from crsdun.scenes.scene_rows import SceneOutline, SceneRows, open_scene_rows
from crsdun.scenes.scene_set import SPLITS, SceneSet
from crsdun.scenes.series import Outline, Series, open_series
from crsdun.scenes.spectra import Box, Spectrum, spectra_csv, spectra_in
from crsdun.scenes.spectral_library import SpectralLibrary, read_spectral_library

__all__ = [
    "SPLITS",
    "UNLABELLED",
    "ArrayDescription",
    "ArrayFile",
    "BandFrames",
    "Box",
    "Exposures",
    "FileDescription",
    "MaskRows",
    "Measurement",
    "Outline",
    "Scene",
    "SceneOutline",
    "SceneRows",
    "SceneSet",
    "Series",
    "SpectralLibrary",
    "Spectrum",
    "StoredMask",
    "WeightsDescription",
    "describe",
    "indian_pines",
    "open_arrays",
    "open_exposures",
    "open_mask",
    "open_scene_rows",
    "open_series",
    "open_set",
    "parse_mask",
    "read_arrays",
    "read_band_frames",
    "read_band_whites",
    "read_class_map",
    "read_frame",
    "read_mask",
    "read_measurement",
    "read_scene",
    "read_spectral_library",
    "read_stored_mask",
    "register_dataset",
    "spectra_csv",
    "spectra_in",
    "write_arrays",
    "write_measurement",
    "write_scene",
]
