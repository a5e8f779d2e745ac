"""How arrays and metadata share a file: our metadata as JSON text, wavelengths as an array beside the cube."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np

from crsdun.scenes.formats.array_file import ENCODINGS, GRIDS, NAMED_AXES, Arrays, Grid, LazyArray, Metadata
from crsdun.scenes.formats.encoding import Encoding
from crsdun.typed import typed

# The text in which our own files keep their metadata, as JSON.
JSON_KEY = "crsdun"
# What a list of wavelengths is called in files, alone or with its unit behind it (wl_nm).
WAVELENGTH_UNITS = ("nm", "um")
WAVELENGTH_KEYS = tuple(
    name + unit
    for name in (
        "wavelengths", "wavelength", "wl", "wls", "wvl", "wvls", "lambda", "lambdas", "centers", "bands", "lam",
        "lams",
    )
    for unit in ("", *(f"_{each}" for each in WAVELENGTH_UNITS))
    if unit or not name.startswith("lam") or name.startswith("lambda")  # alone, what regularises is called so
)  # fmt: skip

# What the axes of an array are called, in OME-Zarr, netCDF, TIFF and by us.
AXIS_NAMES = {
    "H": ("y", "row", "rows", "line", "lines", "height", "lat", "latitude", "scene_y"),
    "W": ("x", "col", "cols", "column", "columns", "sample", "samples", "width", "lon", "longitude", "scene_x"),
    "C": ("c", "band", "channel", "channels", *WAVELENGTH_KEYS),
}
LETTERS = {name: letter for letter, names in AXIS_NAMES.items() for name in names}


class Notes(TypedDict, total=False):
    """What our own files say about their arrays."""

    name: str
    class_names: list[str] | None
    provenance: dict[str, Any]
    step: float | None
    holds_counts: bool | None
    axes: Literal["CHW", "HWC"]
    wavelength_units: str
    frames_per_second: float


def separated(
    values: dict[str, Any],
    encodings: Mapping[str, Encoding] | None = None,
    units: Mapping[str, str] | None = None,
    attributes: Mapping[str, np.ndarray] | None = None,
) -> tuple[Arrays, Metadata]:
    """Arrays of numbers on one side; on the other our metadata, and the wavelengths stored beside the arrays.

    Args:
        encodings, units: what the file states about the numbers of an array, by its name.
        attributes: lists of wavelengths that are no arrays; they count where no array is one.
    """
    arrays = {
        name: value
        for name, value in values.items()
        if isinstance(value, (np.ndarray, LazyArray)) and value.dtype.kind in "biufc" and value.size
    }
    metadata = json_object(str(np.ravel(values.get(JSON_KEY, ""))[0]))
    encodings, units = encodings or {}, units or {}
    grids: dict[str, Grid] = {}
    for name in _lists_of_wavelengths(arrays, single=bool(metadata)):
        numbers: Any = arrays.pop(name)
        stored = encodings.get(name, Encoding()).decode(numbers.ravel(), np.float64)
        suffix = name.lower().rpartition("_")[2]
        unit = suffix if suffix in WAVELENGTH_UNITS else units.get(name, "unknown")
        grids[name] = Grid(tuple(stored.astype(np.float64).tolist()), str(metadata.get("wavelength_units", unit)))
    if not grids:
        grids = {name: Grid(tuple(value.tolist()), "unknown") for name, value in (attributes or {}).items()}
    if len(grids) == 1:
        (grid,) = grids.values()
        metadata |= grid.metadata
    return arrays, metadata | {
        GRIDS: grids,
        ENCODINGS: {name: encodings[name] for name in arrays if name in encodings},
    }


def with_named_axes(arrays: Arrays, names: Mapping[str, Sequence[str]]) -> tuple[Arrays, Metadata]:
    """The arrays with pictures as (H,W), and the order of the axes of cubes, where a file names their axes."""
    letters = {name: "".join(LETTERS.get(axis.lower(), "?") for axis in axes) for name, axes in names.items()}
    turned = {name: array.transpose((1, 0)) if letters.get(name) == "WH" else array for name, array in arrays.items()}
    return turned, {NAMED_AXES: {name: axes for name, axes in letters.items() if sorted(axes) == ["C", "H", "W"]}}


def _lists_of_wavelengths(arrays: Arrays, single: bool) -> list[str]:
    """The arrays that are one, at most one in each group.

    Args:
        single: whether a single number may be one; called lambda it seldom is, except in a file of ours.
    """
    found: dict[str, str] = {}
    for key in WAVELENGTH_KEYS:
        for name, value in arrays.items():
            group, _, last = name.rpartition("/")
            if last.lower() != key or group in found or isinstance(value, LazyArray) or value.dtype.kind == "c":
                continue
            if value.size != max(value.shape, default=1) or not value.size > (0 if single else 1):
                continue
            if key != "bands" or np.all((value > 100) & (value < 20000)):  # which may number them as well
                found[group] = name
    return list(found.values())


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


def json_object(text: str, mark: str | None = None) -> Metadata:
    """The object that a text holds as JSON; empty where it is any other text.

    Numbers that JSON does not have, such as NaN or 1e400, come as text.

    Args:
        mark: the entry by which notes of ours are known where other programs write JSON too; of theirs the
            wavelengths are kept alone.

    Raises:
        InputError: an entry that our own files have is of another type.
    """
    try:
        value = json.loads(text, parse_constant=str, parse_float=_finite_or_text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    if mark is not None and mark not in value:
        units = value.get("wavelength_units")
        known = {
            "wavelengths": value.get("wavelengths"),
            "wavelength_units": units if isinstance(units, str) else None,
        }
        return {name: each for name, each in known.items() if each is not None}
    notes: Metadata = typed(Notes, value, "it")
    return {
        name: each for name, each in notes.items() if name not in ("palette", "colour", "white")
    }  # of pictures alone


def _finite_or_text(number: str) -> float | str:
    value = float(number)
    return value if math.isfinite(value) else number
