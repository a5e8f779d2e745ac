"""Files and folders as layers of napari: whatever the package opens, opened as everywhere in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crsdun.errors import InputError
from crsdun.interop.napari.layers import (
    LayerData,
    class_layer,
    exposure_layers,
    folder_layers,
    mask_layer,
    scene_layers,
    series_layers,
)
from crsdun.interop.napari.wording import READING, message
from crsdun.scenes import open_arrays, open_exposures, open_series, read_class_map, read_mask, read_scene
from crsdun.scenes.array_roles import role_by_name, role_by_values
from crsdun.scenes.formats import ArrayFile, in_memory, is_result_folder
from crsdun.scenes.series import is_series


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """The reader that npe2 asks for; None for several files at once, which are nothing together."""
    return read if isinstance(path, str) else None


def read(path: str) -> list[LayerData]:
    """What is in a file or a folder, as layers.

    A folder of ``crsdun reconstruct`` is all of its result; a scene its cube, picture and classes; a measurement the
    frame of the detector, or a stack of them; a series its cubes; a mask or a class map alone that.

    Raises:
        InputError: it cannot be read, or does not reveal what it holds. Its message is the whole line, in the words
            of the plugin: napari shows nothing else.
    """
    try:
        return _read(Path(path))
    except InputError as error:
        raise InputError(message(error, READING)) from error


def _read(path: Path) -> list[LayerData]:
    if is_result_folder(path):
        from crsdun.runtime import read_results  # PyTorch takes seconds to import

        return folder_layers(read_results(path))
    file = open_arrays(path)
    if is_series(file):
        return series_layers(open_series(path))
    roles = _roles(file)
    if "cube" in roles:
        beside = any(role_by_name(name, array) == "measurement" for name, array in file.arrays.items())
        return [*(exposure_layers(open_exposures(path)) if beside else ()), *scene_layers(read_scene(path))]
    if "measurement" not in roles and "exposures" not in roles:
        if "class map" in roles:
            return [class_layer(*read_class_map(path), f"classes: {path.stem}")]
        if "mask" in roles:
            return [mask_layer(read_mask(path), path.stem)]
    return exposure_layers(open_exposures(path))


def _roles(file: ArrayFile) -> set[str]:
    """The roles that the arrays of a file probably have."""
    flat = in_memory(file, [name for name, array in file.arrays.items() if array.ndim < 3])
    return {role_by_values(name, array) for name, array in flat.arrays.items()}
