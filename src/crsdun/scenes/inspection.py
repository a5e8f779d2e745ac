"""What is in a file: its arrays with their ranges and probable roles, its wavelengths, and cameras that would fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError, UnitError
from crsdun.optics import dark_floor
from crsdun.optics.geometry import fitting_cameras
from crsdun.scenes.array_roles import find_exposures, nearest, role_by_name, role_by_values
from crsdun.scenes.formats import ArrayFile, read_arrays
from crsdun.scenes.formats.encoding import Encoding
from crsdun.scenes.labels import read_legend
from crsdun.typed import parse_json, typed

OBJECTS_OF_JSON = 32  # bytes of Python's objects for a byte of JSON, at most: of "{}," for example
MOST_AXES = 64  # of a tensor
USUAL_STEP = 2  # pixels per band


@dataclass(frozen=True)
class ArrayDescription:
    """One array of a file.

    Attributes:
        min, max, mean: of the finite values; None where there are none.
        nan, inf: how many values are not finite.
        looks_like: its probable role, see ``array_roles.role_by_values``.
        floor: of a measurement, the level where no light arrives, if it matters (``optics.dark_floor``).
        encoding: what the file states about its numbers, as ``Encoding.summary``; empty where it states nothing.
            It is applied wherever the array is used, but not to ``min``, ``max`` and ``mean``.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    min: float | None
    max: float | None
    mean: float | None
    nan: int
    inf: int
    looks_like: str
    floor: float | None = None
    encoding: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileDescription:
    """What a file of arrays holds.

    Attributes:
        wavelengths: centres of the bands in nm, in the order of the file; None where it has none, or a problem.
        wavelength_problem: why its wavelengths cannot be used; None where they can.
        metadata: everything else, as plain JSON values.
        label_notes: what its labels mean, one line each; empty without a class map.
        choices: settings without which its names leave open which array is the measurement or the mask: their values.
    """

    path: Path
    format: str
    arrays: tuple[ArrayDescription, ...]
    wavelengths: tuple[float, ...] | None
    wavelength_problem: str | None
    metadata: dict[str, Any]
    label_notes: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)

    def first(self, role: str) -> ArrayDescription | None:
        """The first array that looks like ``role``."""
        return next((array for array in self.arrays if array.looks_like == role), None)

    def fitting_cameras(self, measurement: ArrayDescription) -> list[tuple[int, int]]:
        """Cameras, (bands, step), that fit one of the arrays and the mask nearest to it in the file."""
        masks = {array.key: array for array in self.arrays if array.looks_like == "mask"}
        mask = next((masks[key] for key in nearest(measurement.key, masks)), None)
        return cameras_that_fit(measurement.shape, None if mask is None else mask.shape)

    @property
    def bands(self) -> int | None:
        """How many bands its cube probably has, or that of its measurement; None where nothing tells."""
        cube, measurement = self.first("cube"), self.first("measurement")
        if cube is not None:
            return min(cube.shape)
        cameras = [] if measurement is None else self.fitting_cameras(measurement)
        return next((bands for bands, step in cameras if step == USUAL_STEP), None)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; measurements come with their "fitting_cameras"."""
        arrays = []
        for array in self.arrays:
            values = asdict(array) | {"shape": list(array.shape)}
            if array.looks_like == "measurement":
                cameras = self.fitting_cameras(array)
                values["fitting_cameras"] = [{"bands": bands, "step": step} for bands, step in cameras]
            arrays.append(values)
        wavelengths: dict[str, Any] | None = None
        if self.wavelength_problem:
            wavelengths = {"problem": self.wavelength_problem}
        elif self.wavelengths:
            first, last = self.wavelengths[0], self.wavelengths[-1]
            wavelengths = {"first": first, "last": last, "number": len(self.wavelengths)}
        return {
            "path": str(self.path),
            "format": self.format,
            "arrays": arrays,
            "wavelengths": wavelengths,
            "metadata": self.metadata,
            "label_notes": list(self.label_notes),
        }


@dataclass(frozen=True, kw_only=True)
class WeightsDescription:
    """The header of a .safetensors file: the number of its tensors, and of all their values."""

    path: Path
    format: str = "safetensors"
    looks_like: str = "weights"
    tensors: int
    parameters: int
    metadata: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"path": str(self.path)}


def describe(path: str | Path) -> FileDescription | WeightsDescription:
    """What a file holds. Files of arrays are read whole, of .safetensors only the header.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors" and path.is_file():
        return _describe_weights(path)
    file = read_arrays(path)
    wavelengths, problem = None, None
    try:
        wavelengths = file.wavelengths
    except UnitError as error:
        problem = error.message  # its remedy names settings, and nothing is set here
    metadata = {name: value for name, value in file.metadata.items() if name != "wavelengths"}
    arrays = tuple(_describe_array(name, array, file.encoding(name)) for name, array in file.arrays.items())
    return FileDescription(
        path, file.format, arrays, wavelengths, problem, metadata, _label_notes(file, arrays), _choices(file, arrays)
    )


def _label_notes(file: ArrayFile, arrays: Sequence[ArrayDescription]) -> tuple[str, ...]:
    """What the numbers of a class map mean: by the names in the file, or that it says nothing of 0."""
    maps = [array for array in arrays if array.looks_like == "class map"]
    names = file.class_names(maps[0].key if maps else "")
    if names:
        legend = read_legend(names)
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        return (f"labels stand for {listed}", *legend.notes)
    return tuple(
        f"{array.key} holds labels of {array.min} to {array.max} without names: 0 is taken for the background; if it "
        "marks an unknown class, set unlabelled to 0"
        for array in maps
    )


def _choices(file: ArrayFile, arrays: Sequence[ArrayDescription]) -> dict[str, str]:
    """What has to be set to decode what looks like a measurement behind what looks like its mask."""
    looks = {role: [a.key for a in arrays if a.looks_like == role] for role in ("measurement", "mask")}
    if not looks["measurement"]:
        return {}
    measurement, choices = looks["measurement"][0], {}
    try:
        told = find_exposures(file)[0]
    except InputError:
        told = None
    if told != measurement:
        choices["key"] = measurement
    if looks["mask"] and not any(role_by_name(name, array) == "mask" for name, array in file.arrays.items()):
        choices["mask_key"] = nearest(measurement, looks["mask"])[0]
    return choices


def cameras_that_fit(measurement: Sequence[int], mask: Sequence[int] | None) -> list[tuple[int, int]]:
    """Cameras with whole steps, (bands, step), for the shapes of a measurement and a mask as they are in files.

    Without a mask the scene is taken to be as wide as it is high.
    """
    # A file of one band has a third axis.
    rows, columns = measurement[:2] if measurement[0] > 1 else measurement[-2:]
    return fitting_cameras(rows if mask is None else mask[-1 if len(mask) == 2 else 1], columns)


def _describe_array(name: str, array: np.ndarray, encoding: Encoding) -> ArrayDescription:
    finite = np.isfinite(array)
    values = array if finite.all() else array[finite]
    with np.errstate(over="ignore"):  # long doubles go further than the doubles of a mean
        mean = float(values.mean(dtype=np.float64)) if values.size else None
    return ArrayDescription(
        key=name,
        shape=array.shape,
        dtype=str(array.dtype),
        min=_plain(values.min()) if values.size else None,
        max=_plain(values.max()) if values.size else None,
        mean=mean,
        nan=int(np.isnan(array).sum()),
        inf=int(np.isinf(array).sum()),
        looks_like=(role := role_by_values(name, array)),
        floor=dark_floor(array) if role == "measurement" and array.ndim == 2 and finite.all() else None,
        encoding=encoding.summary(),
    )


def _plain(number: np.generic) -> float:
    """A number of an array as one of Python, which has no long doubles."""
    value = number.item()
    with np.errstate(over="ignore"):
        return value if isinstance(value, int) else float(value)


class StoredTensor(TypedDict):
    """What the header of a .safetensors file says about a tensor."""

    shape: list[int]


def _describe_weights(path: Path) -> WeightsDescription:
    """A .safetensors file begins with the length of its JSON header in 8 bytes, and the header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            check_budget(length * OBJECTS_OF_JSON, f"the header of {path}")
            header = parse_json(dict[str, Any], file.read(length), path, "get it again")
        metadata = typed(dict[str, str], header.pop("__metadata__", {}), "its header")
        tensors = typed(dict[str, StoredTensor], header, "its header")
        if any(len(tensor["shape"]) > MOST_AXES for tensor in tensors.values()):
            raise ValueError(f"a tensor has more than {MOST_AXES} axes")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError) and str(path) in error.message:
            raise
        raise InputError(f"{path} is not a complete .safetensors file ({error})", "get it again") from error
    return WeightsDescription(
        path=path,
        tensors=len(tensors),
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors.values()),
        metadata={name: _json_or_text(text) for name, text in metadata.items()},
    )


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
