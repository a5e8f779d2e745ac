"""Scenes from and to files, and what a file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError, UnitError
from crsdun.optics.geometry import fitting_cameras
from crsdun.scenes.array_roles import bands_first, find_array, role_by_values, unit_range
from crsdun.scenes.formats import ArrayFile, read_arrays, write_arrays
from crsdun.scenes.scene import Scene


def read_scene(
    path: str | Path,
    key: str | None = None,
    wavelengths: Sequence[float] | None = None,
    classes: str | Path | None = None,
    classes_key: str | None = None,
) -> Scene:
    """A scene from any file that ``read_arrays`` reads.

    The bands may be the last axis, as in nearly all files of the field, or the first (see ``bands_first``).
    8- and 16-bit integers are divided by the largest number of their type; bands come sorted by wavelength. Both
    are recorded in the provenance.

    Args:
        key: name of the cube; None takes the only 3-D array or the one with a known name (img_expand, cube …).
        wavelengths: centres of the file's bands in nm, in the order of the file, in place of those it tells.
        classes: file of the class map, integers (H,W).
        classes_key: name of the class map, in ``classes`` or, without that, in the file of the cube.

    Raises:
        InputError: the file cannot be read, or does not tell which array or which axis is meant.
    """
    file = read_arrays(path)
    name, stored = find_array(file, "cube", key)
    known = file.wavelengths if wavelengths is None else tuple(float(value) for value in wavelengths)
    cube, scale = unit_range(bands_first(stored, file, known), file)
    done: dict[str, Any] = {} if scale == 1 else {"divided_by": scale}
    if known is not None and len(known) == len(cube) and list(known) != sorted(known):
        cube, known = by_wavelength(cube, known)
        done["bands"] = "sorted by wavelength"

    class_map, class_file = None, file
    if classes is not None or classes_key is not None:
        class_file = file if classes is None else read_arrays(classes)
        class_map = _class_map(class_file, classes_key)
        done["classes"] = class_file.path.name
    elif "classes" in file.arrays and file.arrays["classes"].shape == cube.shape[1:]:
        class_map = _class_map(file, "classes")
    class_names = class_file.metadata.get("class_names")

    origin = file.metadata.get("provenance", {"file": file.path.name, "format": file.format, "array": name})
    return Scene(
        cube,
        wavelengths=known,
        classes=class_map,
        class_names=class_names and tuple(class_names),
        name=file.metadata.get("name", file.path.stem),
        provenance={**origin, **done},
    )


def write_scene(scene: Scene, path: str | Path, overwrite: bool = False, mat_version: str | None = None) -> None:
    """Write a scene in the format of the suffix; ``read_scene`` returns it.

    .npz, .h5 and .tif hold everything, bands first; .mat too, bands last as the field stores them. .hdr (ENVI,
    with its data in .img) has no place for the class map, .npy for anything but the cube (H,W,C).

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


def describe(path: str | Path) -> dict[str, Any]:
    """What a file holds, as plain values: its format, every array with its numbers, the wavelengths.

    Returns:
        "path", "format", "arrays" (for each: key, shape, dtype, min, max and mean of its finite values, counts
        nan and inf, looks_like; of a measurement fitting_cameras, each with bands and step), "wavelengths" (first,
        last, number; problem; or None) and "metadata". For .safetensors only its header is read: "tensors",
        "parameters", looks_like "weights" and "metadata".

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors" and path.is_file():
        return _describe_weights(path)
    file = read_arrays(path)
    try:
        told = file.wavelengths
        wavelengths: Any = told and {"first": told[0], "last": told[-1], "number": len(told)}
    except UnitError as error:
        wavelengths = {"problem": str(error)}
    arrays = [_describe_array(name, array) for name, array in file.arrays.items()]
    mask = next((array for array in arrays if array["looks_like"] == "mask"), None)
    for array in arrays:
        if array["looks_like"] == "measurement":
            array["fitting_cameras"] = cameras_that_fit(array, mask)
    return {
        "path": str(path),
        "format": file.format,
        "arrays": arrays,
        "wavelengths": wavelengths,
        "metadata": {name: value for name, value in file.metadata.items() if name != "wavelengths"},
    }


def cameras_that_fit(measurement: dict[str, Any], mask: dict[str, Any] | None) -> list[dict[str, int]]:
    """Cameras with whole steps (bands and step) for two arrays as ``describe`` tells them.

    Without the mask the scene is taken to be as wide as it is high.
    """
    # A file of one band has a third axis.
    rows, columns = measurement["shape"][:2] if measurement["shape"][0] > 1 else measurement["shape"][-2:]
    fits = fitting_cameras(rows if mask is None else mask["shape"][-1 if len(mask["shape"]) == 2 else 1], columns)
    return [{"bands": bands, "step": step} for bands, step in fits]


def by_wavelength(cube: np.ndarray, wavelengths: Sequence[float]) -> tuple[np.ndarray, tuple[float, ...]]:
    """The bands of a (C,H,W) cube in the order of their wavelengths, and those.

    Raises:
        InputError: two bands have the same wavelength.
    """
    order = np.argsort(wavelengths)
    ascending = tuple(float(wavelengths[band]) for band in order)
    if len(set(ascending)) < len(ascending):
        raise InputError("two bands have the same wavelength", "drop one of them, or correct the list of wavelengths")
    return cube[order], ascending


def _class_map(file: ArrayFile, key: str | None) -> np.ndarray:
    name, array = find_array(file, "class map", key)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise InputError(f"{name} in {file.path} holds fractions or NaN", "a class map holds one integer per pixel")
    return array.astype(np.int64)


def _describe_array(name: str, array: np.ndarray) -> dict[str, Any]:
    finite = np.isfinite(array)
    values = array if finite.all() else array[finite]
    return {
        "key": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": values.min().item() if values.size else None,
        "max": values.max().item() if values.size else None,
        "mean": float(values.mean(dtype=np.float64)) if values.size else None,
        "nan": int(np.isnan(array).sum()),
        "inf": int(np.isinf(array).sum()),
        "looks_like": role_by_values(name, array),
    }


def _describe_weights(path: Path) -> dict[str, Any]:
    """A .safetensors file begins with the length of its JSON header in 8 bytes, and the header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        metadata = {name: _json_or_text(text) for name, text in header.pop("__metadata__", {}).items()}
        shapes = [tensor["shape"] for tensor in header.values()]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a whole .safetensors file ({error})", "get it again") from error
    return {
        "path": str(path),
        "format": "safetensors",
        "looks_like": "weights",
        "tensors": len(shapes),
        "parameters": sum(math.prod(shape) for shape in shapes),
        "metadata": metadata,
    }


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
