"""How arrays and metadata share a file: our metadata as JSON text, wavelengths as an array beside the cube."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, LazyArray, Metadata

# The text in which our own files keep their metadata, as JSON.
JSON_KEY = "crsdun"
WAVELENGTH_KEYS = (
    "wavelengths", "wavelength", "wavelengths_nm", "wavelength_nm", "wl", "lambda", "lambdas", "centers", "bands"
)  # fmt: skip


def separated(values: dict[str, Any]) -> tuple[Arrays, Metadata]:
    """Arrays of numbers on one side; on the other our metadata, and the wavelengths stored beside the arrays."""
    arrays = {
        name: value
        for name, value in values.items()
        if isinstance(value, (np.ndarray, LazyArray)) and value.dtype.kind in "biufc" and value.size
    }
    metadata = json_object(str(np.ravel(values.get(JSON_KEY, ""))[0]))
    names = {name.rpartition("/")[-1].lower(): name for name in reversed(arrays)}
    for key in (key for key in WAVELENGTH_KEYS if key in names):
        name = names[key]
        value = arrays[name]
        # A single number called lambda is seldom a wavelength, except in a file of ours.
        if isinstance(value, LazyArray) or value.size != max(value.shape, default=1):
            continue
        # "bands" may number them as well.
        if value.size > (0 if metadata else 1) and (key != "bands" or np.all((value > 100) & (value < 20000))):
            metadata["wavelengths"] = arrays.pop(name)
            if key.endswith("_nm"):
                metadata["wavelength_units"] = "nm"
            break
    return arrays, metadata


def joined(arrays: Arrays, metadata: Metadata, axes: str) -> dict[str, Any]:
    """What ``separated`` takes apart: arrays in ``axes`` order, wavelengths as one of them, the rest as text."""
    metadata = {**metadata, "axes": axes}
    values: dict[str, Any] = {name: bands_last(array) if axes == "HWC" else array for name, array in arrays.items()}
    if "wavelengths" in metadata:
        values["wavelengths"] = np.asarray(metadata.pop("wavelengths"), dtype=np.float64)
    values[JSON_KEY] = to_json(metadata)
    return values


def bands_last(array: np.ndarray) -> np.ndarray:
    """(H,W,C) of (C,H,W); any other array as it is."""
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def to_json(metadata: Metadata) -> str:
    """ASCII on one line; arrays and NumPy numbers become lists and numbers, paths and the like text."""
    return json.dumps(metadata, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))


def json_object(text: str) -> Metadata:
    """The object that a text holds as JSON; empty where it is any other text."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
