"""What the arrays of a file mean, by the names and the habits of the field: which is which, axes, scale, bands."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple, cast

import numpy as np

from crsdun.errors import InputError, InputWarning
from crsdun.optics.wavelengths import band_order
from crsdun.scenes.formats import ArrayFile
from crsdun.scenes.formats.array_file import LazyArray

# Role of an array: how many axes it may have, what they are, and the names that the field gives it.
ROLES: dict[str, tuple[tuple[int, ...], str, tuple[str, ...]]] = {
    "cube": (
        (3,),
        "(height, width, bands)",
        ("cube", "img_expand", "img", "data_slice", "truth", "hsi", "pred", "rad", "ref"),
    ),
    "measurement": ((2,), "(height, width)", ("measurement", "meas_real", "meas", "y", "frame")),
    "mask": ((2, 3), "(height, width), or with bands", ("mask", "coded_aperture")),
    "class map": ((2,), "(height, width)", ("classes", "class_map", "labels", "label", "gt", "ground_truth")),
    # Of a measurement: where it received all light.
    "valid pixels": ((2,), "(height, width)", ("valid",)),
    # Of a camera, with the shutter closed and before a white target: one, several to average, or a level.
    "dark frame": (
        (0, 2, 3),
        "(height, width)",
        (
            *("dark", "dark_frame", "darkframe", "dark_image", "dark_mean", "dark_current", "dark_ref"),
            *("dark_reference", "darks", "i_dark", "black", "bias", "background"),
        ),
    ),
    "white frame": (
        (0, 2, 3),
        "(height, width)",
        (
            *("white", "white_frame", "whiteframe", "white_image", "white_mean", "white_ref", "white_reference"),
            *("whites", "i_white", "flat", "flat_field", "flat_image"),
        ),
    ),
    # The mask as each band sees it on the detector; a camera makes it from the mask.
    "shifted mask": ((3,), "(height, width, bands)", ("mask_3d_shift",)),
}
# Orders of height, width and bands; the first axis is taken for the bands only where the others are this much longer.
AXES = ("HWC", "CHW", "HCW", "WHC", "CWH", "WCH")
STACK_AXES = ("THW", "HWT")  # of exposures, one after the other
CLEARLY_SHORTER = 1.5
LARGEST_NO_DATA = -900.0
# If more of the light exceeds 1, white is hardly 1 on its scale (of FVgNET 3.4 % do).
MOST_ABOVE_WHITE = 0.5
# If fewer of the values exceed this, the cube is dark, except for outliers.
DARK, MOST_LIT = 0.01, 1e-3
# What white is on other scales, and below which none of these is meant.
WHITES, LEAST_WHITE = (100, 255, 1023, 4095, 10_000, 65_535), 10
HINTS = {
    ("measurement", 3): "it looks like a cube: crsdun simulate makes a measurement of it",
    ("mask", 3): "it looks like a cube or a shifted mask, but the camera does the shifting: give the mask itself",
    ("cube", 2): "it looks like a measurement: crsdun reconstruct makes a cube of it",
}


def find_array(file: ArrayFile, role: str, key: str | None = None) -> tuple[str, np.ndarray]:
    """Name and array of a role (``ROLES``): the one called ``key``, one with a known name, or the only candidate.

    Leading and trailing axes of length 1 are removed where there are too many axes. What else the file holds may
    belong to another array (``around``).

    Raises:
        InputError: there is no such array, its shape does not suit the role, or there are several.
    """
    dimensions, shape, _ = ROLES[role]
    arrays = _squeezed_arrays(file, dimensions, key)
    candidates = _candidates(arrays, role, dimensions, key)
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    if candidates:
        raise _several(file, role, candidates)
    first = next(iter(arrays.values()))
    suitable = any(array.ndim in dimensions for array in arrays.values())
    choose = "choose one of these with <key>" if len(arrays) > 1 or suitable else ""
    raise InputError(
        f"{file.path} holds no {role} {shape}; it holds {file.listed(arrays)}",
        HINTS.get((role, first.ndim), choose),
    )


def find_exposures(file: ArrayFile, key: str | None = None) -> tuple[str, np.ndarray]:
    """Name and array of one exposure, (H,Wm), or where there is none, of a stack of them with its axes as stored.

    What has a name that the field gives a measurement goes before what has none.

    Raises:
        InputError: as ``find_array``.
    """
    arrays = _squeezed_arrays(file, (2,), key)
    single, stacks = (_candidates(arrays, "measurement", (axes,), key) for axes in (2, 3))
    named = {name: array for name, array in {**single, **stacks}.items() if is_called_measurement(name)}
    found = named or single or stacks
    if len(found) == 1:
        return next(iter(found.items()))
    if named:
        raise _several(file, "measurement", named)
    return find_array(file, "measurement", key)


def find_beside(file: ArrayFile, role: str, name: str) -> str | None:
    """The array with a known name of a role in the group of the array ``name``, or the next one around it; or None.

    Args:
        file: as ``around`` this array.

    Raises:
        InputError: there are several.
    """
    found = {n: a for n, a in file.arrays.items() if n != name and role_by_name(n, a) == role}
    found = {n: found[n] for n in _first_names(nearest(name, found), role)}
    if len(found) > 1:
        raise _several(file, role, found)
    return next(iter(found), None)


# -- groups --------------------------------------------------------------------------------------------------------


def around(file: ArrayFile, name: str) -> ArrayFile:
    """What a file says of one of its arrays: without the arrays and the wavelengths that belong to another.

    Names such as ``cam1/mask`` have groups. What lies in the group of an array, or around it, belongs to it; so does
    what lies elsewhere, unless another array of its kind is nearer. Of several lists of wavelengths the nearest
    counts, of a cube one with a wavelength for each band. The names of its axes are ``metadata["axes"]``. What is
    called a picture, such as a mask or a class map, comes without leading and trailing axes of length 1.
    """
    array = file.arrays[name]
    role = role_by_name(name, array)

    def is_rival(other: str) -> bool:
        its_role = role_by_name(other, file.arrays[other])
        if its_role is not None and role is not None:
            return its_role == role
        return _last_part(other) == _last_part(name) or (
            its_role is None and file.arrays[other].ndim == array.ndim == 3
        )

    rivals = [other for other in file.arrays if other != name and is_rival(other)]

    def belongs(other: str) -> bool:
        return all(_shared(rival, other) <= _shared(name, other) for rival in rivals)

    arrays = {
        n: _squeezed(a, (2,)) if (kind := role_by_name(n, a)) is not None and 2 in ROLES[kind][0] else a
        for n, a in file.arrays.items()
        if n == name or (n not in rivals and belongs(n))
    }
    stated = {"axes": file.axes[name]} if name in file.axes else {}
    file = replace(file, arrays=arrays, metadata=stated | file.metadata)
    if not file.grids:
        return file
    grids = {n: file.grids[n] for n in nearest(name, filter(belongs, file.grids))}
    if len(grids) > 1 and array.ndim > 2:
        grids = {n: grid for n, grid in grids.items() if len(grid.values) in array.shape} or grids
    metadata = {n: each for n, each in file.metadata.items() if n not in ("wavelengths", "wavelength_units")}
    if len(grids) == 1:
        metadata |= next(iter(grids.values())).metadata
    return replace(file, grids=grids, metadata=metadata)


def _groups(name: str) -> list[str]:
    return name.split("/")[:-1]


def _shared(one: str, other: str) -> int:
    """How many groups two arrays have in common, from the outermost on."""
    pairs = zip(_groups(one), _groups(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def nearest(name: str, others: Iterable[str]) -> list[str]:
    """Those that share most groups with the array ``name``, and among these lie in the fewest others."""
    places = {other: (_shared(name, other), -len(_groups(other))) for other in others}
    return [other for other, place in places.items() if place == max(places.values())]


def _several(file: ArrayFile, role: str, candidates: Iterable[str]) -> InputError:
    remedies = {"mask": "set <mask> to this file, and <mask_key> to one of these"}
    remedies |= {kind: f"keep the {kind} in a file of its own" for kind in ("dark frame", "white frame")}
    return InputError(
        f"{file.path} holds several arrays: {file.listed(candidates)}",
        remedies.get(role, f"choose the {role} with <key>"),
    )


# -- roles ---------------------------------------------------------------------------------------------------------


def _squeezed_arrays(file: ArrayFile, dimensions: tuple[int, ...], key: str | None) -> dict[str, np.ndarray]:
    if key is not None and key not in file.arrays:
        raise InputError(f"{file.path} has no array {key!r}", f"it holds {file.contents}")
    return {name: _squeezed(array, dimensions) for name, array in file.arrays.items() if key is None or name == key}


def _candidates(
    arrays: dict[str, np.ndarray], role: str, dimensions: tuple[int, ...], key: str | None
) -> dict[str, np.ndarray]:
    """The arrays that may have a role: those with one of its names, or those whose name says nothing else.

    Of masks, those with the first name that any has: what is called mask goes before what is called coded aperture.
    """
    candidates = {name: array for name, array in arrays.items() if array.ndim in dimensions}
    if key is not None:
        return candidates
    candidates = {name: array for name, array in candidates.items() if is_picture(array)} or candidates
    candidates = {n: array for n, array in candidates.items() if role_by_name(n, array) in (role, None)}
    named = [name for name in candidates if _last_part(name) in ROLES[role][2]]
    named = _first_names(named, role) if role == "mask" else named
    return {name: candidates[name] for name in named} or candidates


def is_picture(array: np.ndarray) -> bool:
    """Whether an array can be a picture or a stack of them, instead of a number or a list, as MATLAB stores them."""
    return sum(length > 1 for length in array.shape) > 1


def _first_names(arrays: Iterable[str], role: str) -> list[str]:
    """Those that have the first of the names of a role that any of them has; they differ by their groups."""
    names = ROLES[role][2]
    ranks = {name: names.index(_last_part(name)) for name in arrays if _last_part(name) in names}
    return [name for name, rank in ranks.items() if rank == min(ranks.values())]


def role_by_name(name: str, array: np.ndarray) -> str | None:
    """The role that an array has by its name; None where the name is unknown or the shape contradicts it.

    Where it may be a picture, leading and trailing axes of length 1 do not count.
    """
    first, end = _without_ones(array.shape, 2)
    axes = {array.ndim, *([2] if end - first == 2 else [])}
    for role, (dimensions, _, names) in ROLES.items():
        if _last_part(name) in names and axes & set(dimensions):
            return role
    return None


def role_by_values(name: str, array: np.ndarray) -> str:
    """The role that an array probably has: by its name, else by its shape and values; "other" where neither helps."""
    role = role_by_name(name, array)
    if role is not None:
        return role
    array = _squeezed(array, (2,))  # a single band is a picture
    if array.ndim == 3:
        return "exposures" if is_called_measurement(name) else "cube"
    if array.ndim != 2 or 1 in array.shape:
        return "other"
    if ((array == array.min()) | (array == array.max())).all():
        return "mask"  # two values: open and closed
    if array.shape[1] > array.shape[0]:
        return "measurement"
    if array.dtype.kind in "iu" and int(array.max()) - int(array.min()) < 100 and np.unique(array).size > 2:
        return "class map"
    return "mask"


def bands_first(array: np.ndarray, file: ArrayFile, wavelengths: Sequence[float] | None) -> np.ndarray:
    """A 3-D array of ``file`` as (C,H,W), whichever axis holds its bands.

    The file or the user may say so (``metadata["axes"]``). Otherwise it is the axis as long as ``wavelengths``, or
    the one that an array beside it, such as a label map or a mask, does not have; else the pages of a TIFF; else the
    last or the first axis where it is clearly the shortest of the three, or differs from two equal others.

    Raises:
        InputError: none of these decides it.
    """
    axes = file.metadata.get("axes")
    shape = array.shape
    if axes in AXES:
        return array.transpose(tuple(axes.index(axis) for axis in "CHW"))
    matching = [axis for axis in range(3) if wavelengths is not None and shape[axis] == len(wavelengths)]
    pictures = {other.shape for other in file.arrays.values() if other.ndim == 2 and 1 not in other.shape}
    beside = [axis for axis in range(3) if shape[:axis] + shape[axis + 1 :] in pictures]
    candidates = [axis for axis in matching if axis in beside] or matching or beside
    axis = _first_axis(shape, file, candidates)
    if axis is None:
        first, last = (f"{shape[0]} bands of {shape[1]}×{shape[2]}", f"{shape[2]} bands of {shape[0]}×{shape[1]}")
        middle = shape[1] < min(shape[0], shape[2])
        hcw = f"to hcw for {shape[1]} bands of {shape[0]}×{shape[2]}, " if middle else ""
        raise InputError(
            f"the shape {shape} of the array in {file.path} does not reveal which axis holds the bands",
            f"give the wavelengths of all bands, or set <axes> {hcw}to chw for {first}, or to hwc for {last}",
        )
    return np.moveaxis(array, axis, 0)


def frames_first(array: np.ndarray, file: ArrayFile, mask_size: tuple[int, ...] | None) -> np.ndarray:
    """A stack of exposures of ``file`` as (T,H,Wm), whichever end of its shape counts them.

    The file or the user may say so, as for ``bands_first``. Otherwise it is the axis without which the rows are those
    of the mask, and the columns at least as many; then as for bands.

    Args:
        mask_size: (H,W) of the mask; None where it is unknown.

    Raises:
        InputError: none of these decides it.
    """
    axes, shape = str(file.metadata.get("axes")).replace("C", "T"), array.shape
    if axes in STACK_AXES:
        return np.moveaxis(array, axes.index("T"), 0)
    fitting = []
    if mask_size is not None:
        frames = {0: shape[1:], 2: shape[:2]}
        fitting = [axis for axis, (H, W) in frames.items() if mask_size[0] == H and mask_size[1] <= W]
    axis = _first_axis(shape, file, fitting)
    if axis is None:
        first, last = (f"{shape[0]} of {shape[1]}×{shape[2]}", f"{shape[2]} of {shape[0]}×{shape[1]}")
        mask = "set <mask>, or " if mask_size is None else ""
        raise InputError(
            f"the shape {shape} of the array in {file.path} does not reveal which axis counts the exposures",
            f"{mask}set <axes> to thw for {first}, or to hwt for {last}",
        )
    return np.moveaxis(array, axis, 0)


def _first_axis(shape: tuple[int, ...], file: ArrayFile, candidates: list[int]) -> int | None:
    """Which axis counts bands or exposures: the only candidate, the pages of a TIFF, or the one that is shortest."""
    shortest = [axis for axis in range(3) if shape[axis] == min(shape)]
    different = [axis for axis in (0, 2) if shape.count(shape[axis]) == 1 and len(set(shape)) == 2]
    if len(candidates) == 1:
        return candidates[0]
    if file.metadata.get("pages"):
        return 0
    if len(different) == 1:
        return different[0]
    others = sorted(shape)[1:]
    return shortest[0] if shortest in ([0], [2]) and others[0] >= CLEARLY_SHORTER * min(shape) else None


def with_axes(file: ArrayFile, axes: str | None, known: tuple[str, ...] = AXES) -> ArrayFile:
    """The file with the meaning of the axes of its 3-D arrays, such as "hwc"; None leaves it to the file.

    Raises:
        InputError: these axes are not among the ``known``.
    """
    if axes is None:
        return file
    if axes.upper() not in known:
        expected = "hwc (height, width, bands), chw or hcw" if known is AXES else "thw (exposures first) or hwt"
        raise InputError(f"{axes!r} does not name three axes", f"set <axes> to {expected}")
    return replace(file, metadata={**file.metadata, "axes": axes.upper()})


def are_of_exposures(axes: str | None) -> bool:
    """Whether axes that a person names, such as "thw", are those of a stack of exposures rather than of a cube."""
    return axes is not None and "T" in axes.upper()


def unit_range(
    array: np.ndarray, file: ArrayFile, name: str = "", divisor: float | None = None
) -> tuple[np.ndarray, float]:
    """Stored numbers (C,H,W) on a scale where white is 1, NaN where there is no data; and what they were divided by.

    The encoding that the file states for the array ``name`` is applied, its gain and offset also where a ``divisor``
    takes the place of its own; where there is neither, 8- and 16-bit integers are divided by the largest value of
    their type, or of the bits that a picture has, and floating-point numbers stay as they are.

    Raises:
        InputError: integers of 32 bits or more, whose type does not reveal their scale.
    """
    encoding, scale = file.encoding(name), divisor or 1.0
    if divisor is not None:
        encoding = replace(encoding, divisor=1.0)
    elif not encoding.has_scale and array.dtype.kind in "iu":
        if array.itemsize > 2 and "white" not in file.metadata:
            raise InputError(
                f"{file.path} holds {array.dtype} numbers, whose scale is unknown",
                "save them as uint8 or uint16 over the full range, or as floating-point numbers in 0..1, or set "
                "<divisor>",
            )
        scale = float(file.metadata.get("white", np.iinfo(array.dtype).max))
    values = encoding.decode(array)
    return (values, 1.0) if scale == 1 else (values / np.float32(scale), scale)


class Doubt(NamedTuple):
    """Why a stored cube can hardly be meant as it is read, and what to do.

    Attributes:
        refused: whether it is not read before more is told.
    """

    message: str
    remedy: str
    refused: bool = True

    def tell(self) -> None:
        """Raise an ``InputError``, or give an ``InputWarning``."""
        if self.refused:
            raise InputError(self.message, self.remedy)
        warnings.warn(InputWarning(self.message, self.remedy), stacklevel=2)


def doubts(
    array: np.ndarray,
    file: ArrayFile,
    name: str,
    bands: Sequence[int] | slice = slice(None),
    divisor: float | None = None,
) -> Doubt | None:
    """The doubt about a whole stored cube; None where all is well.

    Integers of 16 bits that use a small part of their range are counts of a camera with fewer bits, or reflectances
    in 1/10 000; large negative numbers stand for "no data" unless the file says what they mean. Where most of the
    light exceeds 1, it is in percent, in 255ths or the like. Files of our own writers mean what they hold, such as a
    cube in counts. Only ``bands`` count.
    Who sets a ``divisor`` knows all this, but perhaps not that the file states a gain, which leaves hardly any light.
    """
    encoding = file.encoding(name)
    if divisor is not None and not (encoding.gain and divisor > 1):
        return None
    values = encoding.decode(array)[bands]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    if divisor is not None:
        if (finite > DARK * divisor).mean() > MOST_LIT:
            return None
        return Doubt(
            f"{file.path} states a gain, after which hardly any value divided by {divisor:g} exceeds {DARK:g}",
            "omit <divisor>, or set it to the value of white after the gain",
            refused=False,
        )
    low, high = float(finite.min()), float(finite.max())
    is_ours = "provenance" in file.metadata  # whose values were judged when they were read, or follow from counts
    if not is_ours and low <= LARGEST_NO_DATA:
        count = int((finite <= LARGEST_NO_DATA).sum())
        return Doubt(
            f"{file.path} holds {count} values down to {low:g}, which look like no data", "fill or crop them"
        )
    if array.dtype.kind in "iu" and not encoding.has_scale:
        if array.itemsize == 2 and 1 < high < 2**14 and "white" not in file.metadata:
            bits = next(bits for bits in (8, 12, 14) if high < 2**bits)
            return Doubt(
                f"{file.path} holds {array.dtype} numbers up to {high:g} without their scale",
                f"set <divisor>: 10000 for reflectances, {2**bits - 1} for counts of {bits} bits, "
                f"{np.iinfo(array.dtype).max} for a dark cube over the full range",
            )
        return None
    if not is_ours and (share := above_white(finite)) > MOST_ABOVE_WHITE:
        usual = next((white for white in WHITES if high <= white), None)
        example = "" if usual is None or high < LEAST_WHITE else f", such as {usual}"
        return Doubt(
            f"in {file.path} {share:.0%} of the values above 0 exceed 1, which counts as white, up to {high:g}",
            f"set <divisor> to the value of white{example}",
            refused=False,
        )
    return None


def above_white(values: np.ndarray) -> float:
    """The share of those values above 0 that exceed 1."""
    light = int((values > 0).sum())
    return int((values > 1).sum()) / light if light else 0.0


def ascending_bands(
    cube: np.ndarray, wavelengths: tuple[float, ...] | None
) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """A (C,H,W) cube with its bands sorted by wavelength, and those wavelengths; both as they are where unknown.

    Raises:
        InputError: two bands have the same wavelength.
    """
    order = band_order(wavelengths)
    if order is None or wavelengths is None:
        return cube, wavelengths
    return cube[order], tuple(wavelengths[band] for band in order)


def is_called_measurement(name: str) -> bool:
    """Whether this is a name that the field gives a measurement."""
    return _last_part(name) in ROLES["measurement"][2]


def _squeezed(array: np.ndarray, dimensions: tuple[int, ...]) -> np.ndarray:
    first, end = _without_ones(array.shape, min(dimensions))
    if end - first == array.ndim:
        return array
    if isinstance(array, LazyArray):
        return cast(np.ndarray, array.with_axes(first, end))
    return array.reshape(array.shape[first:end])


def _without_ones(shape: tuple[int, ...], axes: int) -> tuple[int, int]:
    """The first and the end of the axes that are left without leading and trailing ones of length 1.

    As many stay as ``axes``, at least. The last goes first: where a picture has one row, that of its bands.
    """
    first, end = 0, len(shape)
    while end - first > axes and 1 in (shape[first], shape[end - 1]):
        first, end = (first, end - 1) if shape[end - 1] == 1 else (first + 1, end)
    return first, end


def _last_part(name: str) -> str:
    return name.rpartition("/")[-1].lower()
