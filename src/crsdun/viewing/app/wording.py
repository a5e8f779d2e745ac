"""What went wrong, for somebody who sees the page: its fields in place of settings, no folders of this machine."""

from __future__ import annotations

from pathlib import Path

from crsdun.errors import InputError

# Settings of the package → what the page calls their controls.
CONTROLS = {
    "mask": "a mask",
    "mask_key": "the choice of arrays",
    "key": "the choice of arrays",
    "bits": "the bit depth",
    "step": "the step",
    "bands": "the number of bands",
    "wavelengths": "the wavelengths",
    "engine": "the engine",
    "white": "a white reference (crsdun reconstruct)",
    "limit": "limit (crsdun app)",
}


def page_message(error: Exception, folder: Path | None = None) -> str:
    """One line about an error; ``folder``, where the page's uploads lie, is left out of paths."""
    if isinstance(error, InputError):
        text = error.worded(lambda setting: CONTROLS.get(setting, setting.replace("_", " ")))
    else:
        text = str(error) or "there is not enough memory for this size"
    return text if folder is None else text.replace(f"{folder}/", "")
