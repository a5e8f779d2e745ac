"""Arrays with names on their axes, as data sets of xarray: y down and x right in pixels from 0, wavelengths in nm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.errors import InputError

if TYPE_CHECKING:
    import xarray

AXES = {
    "y": {"long_name": "row, counted down from 0", "units": "pixel"},
    "x": {"long_name": "column, counted to the right from 0", "units": "pixel"},
}
WAVELENGTH = {"long_name": "wavelength", "standard_name": "radiation_wavelength", "units": "nm"}  # of CF


def labelled(
    variables: Mapping[str, tuple[tuple[str, ...], Any]],
    wavelengths: Sequence[float] | None,
    attributes: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
) -> xarray.Dataset:
    """A data set that shares its arrays with what it was made of.

    Args:
        variables: the axes and the values of each by name.
        wavelengths: coordinates of the axis ``wavelength``; None leaves it without.
        attributes: of the data set, without those that are None; what is neither text nor a number becomes JSON, so
            that it can be stored as netCDF.
        class_names: of the variable ``classes``, by the convention CF for flags.

    Raises:
        InputError: xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise InputError(f"xarray is not installed ({error})", "pip install 'crsdun[xarray]'") from error

    arrays = {name: xarray.Variable(axes, values) for name, (axes, values) in variables.items()}
    sizes = {axis: size for array in arrays.values() for axis, size in array.sizes.items()}
    coordinates = {axis: (axis, np.arange(sizes[axis]), about) for axis, about in AXES.items() if axis in sizes}
    if wavelengths is not None and "wavelength" in sizes:
        coordinates["wavelength"] = ("wavelength", np.asarray(wavelengths, np.float64), WAVELENGTH)
    if class_names is not None and "classes" in arrays:
        arrays["classes"].attrs = {
            "flag_values": np.arange(len(class_names)),
            "flag_meanings": " ".join("_".join(name.split()) for name in class_names),
        }
    known = {name: _attribute(value) for name, value in attributes.items() if value is not None}
    return xarray.Dataset(arrays, coordinates, known)


def _attribute(value: Any) -> str | int | float:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
