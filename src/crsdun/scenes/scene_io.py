"""Scenes from and to files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError, InputWarning
from crsdun.scenes.array_roles import (
    around,
    ascending_bands,
    bands_first,
    doubts,
    find_array,
    find_beside,
    unit_range,
    with_axes,
)
from crsdun.scenes.formats import ArrayFile, in_memory, open_arrays, read_arrays, write_arrays
from crsdun.scenes.formats.pictures import without_palette
from crsdun.scenes.labels import read_legend, whole_numbers
from crsdun.scenes.scene import UNLABELLED, Scene, check_labels
from crsdun.scenes.series import Series, is_series


def read_scene(
    path: str | Path,
    key: str | None = None,
    wavelengths: Sequence[float] | None = None,
    classes: str | Path | None = None,
    classes_key: str | None = None,
    axes: str | None = None,
    divisor: float | None = None,
    unlabelled: int | None = None,
) -> Scene:
    """A scene from any file that ``read_arrays`` reads.

    The bands may be the last axis, as in nearly all files of the field, or the first (see ``bands_first``).
    Gains and offsets that the file states are applied, 8- and 16-bit integers without them divided by the largest
    value of their type, bands marked bad left out, and the bands sorted by wavelength; the provenance records it.
    Voxels without data, as the file states, or NaN, are NaN in the scene.

    Args:
        key: name of the cube; None takes the only 3-D array or the one with a known name (img_expand, cube …).
        wavelengths: centres of the bands in nm, in the order of the file; None takes those in the file.
        classes: file of the class map, integers (H,W), where it is not in the file of the cube.
        classes_key: name of the class map in its file.
        axes: of the stored cube, such as "hwc"; None finds out.
        divisor: what numbers are divided by, after gains and offsets that the file states, and instead of a divisor
            that it states or their type suggests.
        unlabelled: label of pixels whose class is unknown; they become −1, as do those of a class that the file calls
            so (``labels.read_legend``). None where there are no others.

    Without ``classes`` and ``classes_key`` the class map is the array beside the cube with a name that the field
    gives one (classes, labels, gt …).

    Raises:
        InputError: the file cannot be read, or does not reveal which array is the cube, which axis its bands or what
            its scale; too much of the cube holds no data (``Scene.check_data``); labels are no classes
            (``check_labels``), or ``unlabelled`` is one of no map.
    """
    opened = without_palette(open_arrays(path))
    if is_series(opened):
        raise InputError(f"{path} holds a series of {len(Series(opened, None))} scenes", "read it with open_series")
    whole = with_axes(in_memory(opened, list(opened.arrays)), axes)
    name, stored = find_array(whole, "cube", key)
    file = around(whole, name)
    known = file.wavelengths if wavelengths is None else tuple(float(value) for value in wavelengths)
    encoding = file.encoding(name)
    stored = bands_first(stored, file, known)
    cube, scale = unit_range(stored, file, name, divisor)
    bands: list[int] | slice = slice(None)
    changes: dict[str, Any] = encoding.summary() | ({} if scale == 1 else {"divided_by": scale})
    if encoding.good_bands and len(encoding.good_bands) == len(cube):
        kept = [band for band, good in enumerate(encoding.good_bands) if good]
        if not kept:
            raise InputError(f"{file.path} marks all of its bands as bad", "correct its bbl")
        if known is not None and len(known) == len(cube):
            known = tuple(known[band] for band in kept)
        cube, bands = cube[kept], kept
    doubt = doubts(stored, file, name, bands, divisor)
    if doubt is not None:
        doubt.tell()
    if known is not None and len(known) == len(cube):  # otherwise Scene refuses them
        stored_order = known
        cube, known = ascending_bands(cube, known)
        if known != stored_order:
            changes["bands"] = "sorted by wavelength"

    given = file.metadata.get("class_names")
    class_map, names = None, read_legend(given).names if given else None
    if classes is not None or classes_key is not None:
        class_file = whole if classes is None else read_arrays(classes)
        class_map, names = _class_map(class_file, *find_array(class_file, "class map", classes_key), unlabelled)
        changes["classes"] = class_file.path.name
    elif (own := _map_beside(file, name, cube.shape[1:])) is not None:
        class_map, names = _class_map(file, own, file.arrays[own], unlabelled)
    elif unlabelled is not None:
        raise InputError(f"{path} holds no class map beside its cube", "omit <unlabelled>")

    origin = file.metadata.get("provenance", {"file": file.path.name, "format": file.format, "array": name})
    scene = Scene(
        cube,
        wavelengths=known,
        classes=class_map,
        class_names=names,
        name=file.metadata.get("name", file.path.stem),
        provenance={**origin, **changes},
    )
    scene.check_data()
    return scene


def read_class_map(
    path: str | Path, key: str | None = None, unlabelled: int | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """A class map (H,W) int64 from a file of its own, −1 where the class is unknown; and its class names, if any.

    Args:
        key, unlabelled: as ``classes_key`` and ``unlabelled`` of ``read_scene``.

    Raises:
        InputError: the file cannot be read, holds no map of whole numbers, or labels are no classes.
    """
    file = read_arrays(path)
    return _class_map(file, *find_array(file, "class map", key), unlabelled)


def write_scene(scene: Scene, path: str | Path, overwrite: bool = False, mat_version: str | None = None) -> None:
    """Write a scene in the format of the suffix; ``read_scene`` returns it.

    .npz, .h5 and .tif hold everything, bands first; so does .mat, bands last as is usual there. .hdr (ENVI, with
    its data in .img) leaves out the class map, .npy everything but the cube (H,W,C).

    Args:
        overwrite: replace a file that exists.
        mat_version: "5" or "7.3" for .mat; None takes 7.3 only where v5 is too small.

    Raises:
        InputError: the suffix is unknown, the file exists, or the disk refuses.
    """
    arrays = {"cube": scene.cube}
    if scene.classes is not None:
        arrays["classes"] = scene.classes.astype(np.int32)
    metadata = {
        "name": scene.name,
        "class_names": scene.class_names,
        "provenance": scene.provenance,
        "wavelengths": scene.wavelengths,
        "wavelength_units": "Nanometers",
    }
    write_arrays(path, arrays, metadata, overwrite, mat_version)


def _map_beside(file: ArrayFile, cube: str, size: tuple[int, int]) -> str | None:
    """The array beside a cube whose name says that it is its class map; one that cannot be it is said."""
    name = find_beside(file, "class map", cube)
    if name is None:
        return None
    array = file.arrays[name]
    if array.shape != size:
        if 1 in array.shape:  # a list
            return None
        shape = "×".join(map(str, array.shape))
        turned = ", as if it were transposed" if array.shape == size[::-1] else ""
        odd = f"has {shape} pixels but its cube {size[0]}×{size[1]}{turned}"
    elif whole_numbers(array, file.encoding(name)) is None:
        odd = "holds fractions or infinity"
    else:
        return name
    message = f"{name} in {file.path} {odd}, and is not taken for the class map"
    warnings.warn(InputWarning(message, "correct it, or rename what is none"), stacklevel=3)
    return None


def _class_map(
    file: ArrayFile, name: str, array: np.ndarray, unlabelled: int | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The class map (H,W) int64 that an array holds, by the names of its file, and these."""
    labels = whole_numbers(array, file.encoding(name))
    if labels is None:
        raise InputError(
            f"{name} in {file.path} holds fractions or infinity", "a class map needs one integer per pixel"
        )
    labels = labels if unlabelled is None else np.where(labels == unlabelled, UNLABELLED, labels)
    given = file.class_names(name) or None
    check_labels(labels, given, str(file.path))
    if given is None:
        return labels, None
    legend = read_legend(given)
    return np.array([*legend.numbers, UNLABELLED])[labels], legend.names  # −1 takes the last
