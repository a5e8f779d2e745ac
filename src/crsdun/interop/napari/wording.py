"""Error messages for somebody in napari: fields of the dock in place of settings."""

from __future__ import annotations

from collections.abc import Mapping

from crsdun.errors import Told
from crsdun.viewing.app.wording import CONTROLS as OF_THE_EXPLORER

# Field of the dock ``Decode`` → its label, and what it says of itself.
FIELDS = {
    "mask": ("Mask file", "Coded aperture; empty takes the one stored with the measurement."),
    "camera": ("Camera file", "What crsdun calibrate measured, in place of a mask, a step and wavelengths."),
    "step": ("Step", "Dispersion in pixels per band; empty takes the file's, or 2."),
    "wavelengths": ("Wavelengths", "450,460,470 · 400-700:31 · nbk7 · kaist; empty takes the file's."),
    "bands": ("Bands", "Their number, where neither file nor wavelengths tell it."),
    "bits": ("Bit depth", "Of a camera's counts."),
    "dark": ("Dark level", "Counts with the shutter closed."),
    "white": ("White level", "Counts of a white reference without the mask."),
    "iterations": ("Iterations", "Of a solver; empty takes its own number."),
}
# Every setting that a remedy may name → what somebody in napari knows it by.
CONTROLS = {
    **OF_THE_EXPLORER,
    **{name: f"the field {label!r}" for name, (label, _) in FIELDS.items()},
    "weights": "the field 'Weights file'",
    "frame": "the slider of the exposures",
}
# The same while a file is read, which nothing in napari can be said about; its console can.
READING = {
    **CONTROLS,
    **{
        name: f"the {name} of crsdun.scenes.read_scene"
        for name in ("key", "axes", "divisor", "unlabelled", "wavelengths", "classes_key")
    },
    "mask_key": "the key of crsdun.scenes.read_mask",
}


def message(error: Told, controls: Mapping[str, str] = CONTROLS) -> str:
    """One line about an error."""
    return error.worded(controls.__getitem__)
