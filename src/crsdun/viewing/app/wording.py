"""Error messages for somebody at the page: its fields in place of settings, and no folders of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crsdun.web.wording import plain_message

# Every setting that a remedy may name → what somebody at the page knows it by. What has no control there is named
# with the command that has it.
CONTROLS = {
    "mask": "a mask",
    "frame": "the frame of crsdun reconstruct",
    "mask_key": "the choice of arrays",
    "key": "the choice of arrays",
    "truth_key": "the choice of arrays",
    "unlabelled": "the unlabelled of crsdun classes",
    "bits": "the bit depth",
    "checkpoint": "the checkpoint of crsdun reconstruct",
    "step": "the step",
    "bands": "the number of bands",
    "wavelengths": "the wavelengths",
    "truth": "a true scene",
    "weights": "a network",
    "engine": "the engine",
    "precision": "the precision of crsdun reconstruct",
    "white": "the white level",
    "dark": "the dark level",
    "exposure": "the exposure time",
    "tile": "the tiles of crsdun reconstruct",
    "overlap": "overlap of the tiles",
    "out": "temporary folder when starting crsdun app",
    "overwrite": "Forget everything",
    "limit": "the upload limit when starting crsdun app",
    "host": "address when starting crsdun app",
    "port": "port when starting crsdun app",
    "cubes_only": "crsdun evaluate",
    "rows": "crsdun table",
    "axes": "the axes of crsdun reconstruct",
    "divisor": "the divisor of crsdun reconstruct",
    "memory": "memory when starting crsdun app",
    "camera": "the camera",
    "device": "the device of crsdun reconstruct",
    "band_whites": "the band whites of crsdun calibrate",
    "offsets": "the offsets of crsdun reconstruct",
    "refine_camera": "Refine the camera",
    "coverage": "the coverage of crsdun reconstruct",
    "repeats": "the repeats of crsdun reconstruct",
    "classes": "the classes of crsdun reconstruct",
    "large": "the large frames of crsdun reconstruct",
    "repeat_mask": "the repeating masks of crsdun reconstruct",
    "sequence": "the sequences of crsdun reconstruct",
    "smooth": "the smoothing of crsdun reconstruct",
    "fps": "the frames per second of crsdun reconstruct",
    "video": "the video of crsdun reconstruct",
    "kind": "the kind of crsdun classes",
    "normalisation": "the normalisation of crsdun classes",
    "smoothing": "the smoothing of crsdun classes",
    "split": "the split of crsdun evaluate",
}


def page_message(error: Exception, folders: Iterable[Path] = ()) -> str:
    """One line about an error, as ``plain_message`` with the names that the page has for settings."""
    return plain_message(error, CONTROLS.__getitem__, folders)
