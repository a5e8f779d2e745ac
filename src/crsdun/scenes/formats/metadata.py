"""How arrays and metadata share a file: our metadata as JSON text, wavelengths as an array beside the cube."""

from __future__ import annotations

import json
import math
from typing import Any, Literal, TypedDict

import numpy as np

from crsdun.scenes.formats.array_file import Arrays, LazyArray, Metadata
from crsdun.typed import typed

# The text in which our own files keep their metadata, as JSON.
JSON_KEY = "crsdun"
WAVELENGTH_KEYS = (
    "wavelengths", "wavelength", "wavelengths_nm", "wavelength_nm", "wl", "lambda", "lambdas", "centers", "bands"
)  # fmt: skip


class Notes(TypedDict, total=False):
    """What our own files say about their arrays."""

    name: str
    class_names: list[str] | None
    provenance: dict[str, Any]
    step: float | None
    axes: Literal["CHW", "HWC"]
    wavelength_units: str
    frames_per_second: float


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
    """The object that a text holds as JSON; empty where it is any other text.

    Numbers that JSON does not have, such as NaN or 1e400, come as text.

    Raises:
        InputError: an entry that our own files have is of another type.
    """
    try:
        value = json.loads(text, parse_constant=str, parse_float=_finite_or_text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    notes: Metadata = typed(Notes, value, "it")
    return {name: each for name, each in notes.items() if name not in ("palette", "colour")}  # of pictures alone


def _finite_or_text(number: str) -> float | str:
    value = float(number)
    return value if math.isfinite(value) else number
