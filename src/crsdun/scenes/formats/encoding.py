"""How a file stores physical values as numbers: gain, offset, divisor, no-data values, bands marked bad."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats.attributes import numbers_in, text_in

# Attributes of CF and netCDF, in HDF5 as in Zarr.
CF = {
    "gain": ("scale_factor",),
    "offset": ("add_offset",),
    "no_data": ("_FillValue", "missing_value"),
    "valid_range": ("valid_range",),
    "valid_min": ("valid_min",),
    "valid_max": ("valid_max",),
}
VALID = ("valid_range", "valid_min", "valid_max")
STORED = ("no_data", *VALID)  # numbers as they are stored

# Headers give a no-data value in decimal, so numbers that differ from it by this part of it are still the same.
SAME_NUMBER = 2e-6

PerBand = tuple[float, ...]  # one number, or one for each band of the file


@dataclass(frozen=True)
class Encoding:
    """What a file states about the numbers of one array; value = gain · number + offset, or number / divisor.

    Attributes:
        gain, offset: one number for the whole array, or one for each band; empty where the file states none.
        divisor: of files that state neither; 1 where the file states none.
        no_data: numbers that stand for "no data"; NaN always does.
        valid_range: smallest and largest number that is data.
        good_bands: for each band of the file, whether it may be used; empty where all may.
        class_names: what the numbers of a class map stand for, from 0 on; empty where the file does not say.
    """

    gain: PerBand = ()
    offset: PerBand = ()
    divisor: float = 1.0
    no_data: PerBand = ()
    valid_range: tuple[float, float] = (-math.inf, math.inf)
    good_bands: tuple[bool, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def has_scale(self) -> bool:
        """Whether the file states what its numbers mean; otherwise their type has to."""
        return bool(self.gain or self.offset) or self.divisor != 1

    def decode(self, stored: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
        """Stored numbers, (C,H,W) or (H,W), as values: NaN where there is no data, everything else scaled.

        Arrays that need neither are returned as they are, in their own type; others become ``dtype``.

        Raises:
            InputError: there is not one gain or offset for each band.
        """
        low, high = self.valid_range
        missing = np.zeros(stored.shape, bool)
        for value in self.no_data:
            least, most = _around(value, stored.dtype)
            missing |= (stored >= least) & (stored <= most)
        if math.isfinite(low) or math.isfinite(high):
            missing |= (stored < low) | (stored > high)
        if not self.has_scale and not missing.any():
            return stored
        values = stored.astype(np.float64 if stored.itemsize > 2 else dtype)
        if self.gain:
            values *= _along_bands(self.gain, values)
        if self.offset:
            values += _along_bands(self.offset, values)
        if self.divisor != 1:
            values /= self.divisor
        values[missing] = np.nan
        return values.astype(dtype)

    def summary(self) -> dict[str, Any]:
        """What the file states, as plain JSON values, for a provenance."""
        values: dict[str, Any] = {}
        for name in ("gain", "offset", "no_data"):
            numbers = getattr(self, name)
            if numbers:
                values[name] = [str(number) if not math.isfinite(number) else number for number in numbers]
        if self.divisor != 1:
            values["divided_by"] = self.divisor
        if any(math.isfinite(limit) for limit in self.valid_range):
            values["valid_range"] = [limit if math.isfinite(limit) else None for limit in self.valid_range]
        if not all(self.good_bands):
            values["bad_bands"] = [band for band, good in enumerate(self.good_bands) if not good]
        return values


def _around(value: float, dtype: np.dtype) -> tuple[float, float]:
    """The numbers of a type that a no-data value may mean: of floating-point numbers those around it."""
    if dtype.kind != "f":
        return value, value
    with np.errstate(over="ignore"):
        meant = float(dtype.type(value))
    if not math.isfinite(meant):
        return meant, meant
    largest = float(np.finfo(dtype).max)
    low, high = sorted((meant * (1 - SAME_NUMBER), meant * (1 + SAME_NUMBER)))
    return max(low, -largest), min(high, largest)


def cf_encoding(attributes: Any, dtype: np.dtype, where: str) -> tuple[Encoding, np.dtype]:
    """What the attributes of an array state of its numbers (CF), and the type that these have.

    netCDF-3 has no unsigned integers: ``_Unsigned`` says that the signed ones stored are meant so. Limits that are
    fractional numbers beside integers are those of the values (netCDF Users' Guide, attribute conventions).

    Args:
        dtype: of the stored numbers.
        where: the array and its file, for messages.

    Raises:
        InputError: as ``encoding_from``.
    """
    names = _flags(attributes)
    said = text_in(attributes.get("_Unsigned", "")).lower()
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, said))
    meant = dtype if kind is None else np.dtype(f"{dtype.byteorder}{kind}{dtype.itemsize}")
    of_values = [
        name
        for name in VALID
        if dtype.kind in "iu" and name in attributes and np.asarray(attributes[name]).dtype.kind == "f"
    ]
    of_numbers = {role: fields for role, fields in CF.items() if role not in of_values}
    encoding = encoding_from(attributes, of_numbers, where, None if kind is None else np.iinfo(meant))
    limits = encoding_from(attributes, {name: CF[name] for name in of_values}, where).valid_range
    return replace(encoding, class_names=names, valid_range=_within(encoding, limits, meant)), meant


def _within(encoding: Encoding, limits: tuple[float, float], dtype: np.dtype) -> tuple[float, float]:
    """The valid range of an encoding with one gain and offset, within the limits of its values as well.

    Limits that no stored number could exceed are none of the values, but of the numbers.
    """
    low, high = sorted(limits)
    if encoding.has_scale:
        (gain, *_), (offset, *_) = encoding.gain or (1.0,), encoding.offset or (0.0,)
        least, most = sorted(float(np.round((limit - offset) / gain)) for limit in limits)
        if dtype.kind not in "iu" or least > np.iinfo(dtype).min or most < np.iinfo(dtype).max:
            low, high = least, most
    return max(low, encoding.valid_range[0]), min(high, encoding.valid_range[1])


def _flags(attributes: Any) -> tuple[str, ...]:
    """The meanings of the flags 0, 1, 2 … (CF, where _ stands for a space); none if the flags are others."""
    meanings = text_in(attributes.get("flag_meanings", "")).split()
    try:
        values = numbers_in(attributes.get("flag_values", ()))
    except (TypeError, ValueError):
        return ()
    named = dict(zip(values, meanings, strict=False))
    if len(values) != len(meanings) or sorted(named) != list(range(len(meanings))):
        return ()
    return tuple(named[value].replace("_", " ") for value in sorted(named))


def encoding_from(
    fields: Any, names: Mapping[str, tuple[str, ...]], where: str, limits: np.iinfo | None = None
) -> Encoding:
    """An ``Encoding`` from the fields of a header, or the attributes of a data set.

    Args:
        names: for each attribute of ``Encoding``, the fields that may hold it.
        where: what they belong to, for messages.
        limits: of the type into which stored numbers are to be turned; None where they stay as they are.

    Raises:
        InputError: a field holds no numbers, or gains and offsets that leave nothing of an array.
    """
    numbers: dict[str, PerBand] = {}
    for attribute, fields_of in names.items():
        for field in (field for field in fields_of if field in fields):
            try:
                found = numbers_in(fields[field])
            except (TypeError, ValueError) as error:
                raise _not_understood(where, field, text_in(fields[field])) from error
            if attribute in ("gain", "offset") and not np.isfinite(found).all():
                raise _not_understood(where, field, text_in(fields[field]))
            if attribute == "gain" and found and not any(found):
                raise _not_understood(where, field, "0")
            if limits is not None and attribute in STORED:
                size = int(limits.max) - int(limits.min) + 1
                found = tuple((number - int(limits.min)) % size + int(limits.min) for number in found)
            numbers[attribute] = numbers.get(attribute, ()) + found
    low = numbers.get("valid_min", ()) or numbers.get("valid_range", ())[:1] or (-math.inf,)
    high = numbers.get("valid_max", ()) or numbers.get("valid_range", ())[1:2] or (math.inf,)
    gain, offset = numbers.get("gain", ()), numbers.get("offset", ())
    gain, offset = () if set(gain) <= {1.0} else gain, () if set(offset) <= {0.0} else offset
    divisor = numbers.get("divisor", ())[:1]
    return Encoding(
        gain,
        offset,
        divisor=1.0 if gain or offset or not divisor or divisor[0] in (0, math.inf) else divisor[0],
        no_data=tuple(dict.fromkeys(numbers.get("no_data", ()))),
        valid_range=(low[0], high[0]),
        good_bands=tuple(number != 0 for number in numbers.get("good_bands", ())),
    )


def _not_understood(where: str, field: str, value: str) -> InputError:
    return InputError(
        f"{where} states {field} {value[:40]!r}, which is not understood", "correct or delete it in the file"
    )


def _along_bands(numbers: PerBand, cube: np.ndarray) -> np.ndarray | float:
    if len(numbers) == 1:
        return numbers[0]
    bands = len(cube) if cube.ndim == 3 else 1
    if len(numbers) != bands:
        raise InputError(
            f"the file states {len(numbers)} gains or offsets for {bands} bands", "correct them in its header"
        )
    return np.reshape(numbers, (-1, *[1] * (cube.ndim - 1)))
