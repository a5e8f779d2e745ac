"""What people look at: colour and figures here, pages in its modules, the explorer in ``app``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crsdun.viewing.colour import (
        auto_exposure,
        cube_to_srgb,
        false_colour,
        measurement_picture,
        picture,
        wavelength_to_rgb,
    )
    from crsdun.viewing.explanation_figures import attention_sheet, stage_sheet
    from crsdun.viewing.figures import Panel, band_sheet, class_map, comparison, save_png, spectra
    from crsdun.viewing.palette import class_colours, class_picture
    from crsdun.viewing.pixel_selection import select_pixels

# Drawing needs matplotlib and colour-science, which take a second to import: they are loaded on first use.
_NAMES = {
    "colour": "auto_exposure cube_to_srgb false_colour measurement_picture picture wavelength_to_rgb",
    "explanation_figures": "attention_sheet stage_sheet",
    "figures": "Panel band_sheet class_map comparison save_png spectra",
    "palette": "class_colours class_picture",
    "pixel_selection": "select_pixels",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Panel",
    "attention_sheet",
    "auto_exposure",
    "band_sheet",
    "class_colours",
    "class_map",
    "class_picture",
    "comparison",
    "cube_to_srgb",
    "false_colour",
    "measurement_picture",
    "picture",
    "save_png",
    "select_pixels",
    "spectra",
    "stage_sheet",
    "wavelength_to_rgb",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
