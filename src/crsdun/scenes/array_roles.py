"""Which of a file's arrays is meant, and how it lies: by the names and the habits of the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.formats import ArrayFile

# Kind of array: how many axes it may have, how they read, and what the field calls it.
ROLES: dict[str, tuple[tuple[int, ...], str, tuple[str, ...]]] = {
    "cube": (
        (3,),
        "(height, width, bands)",
        ("cube", "img_expand", "img", "data_slice", "truth", "hsi", "pred", "rad", "ref"),
    ),
    "measurement": ((2,), "(height, width)", ("measurement", "meas_real", "meas", "y", "frame")),
    "mask": ((2, 3), "(height, width), or with bands", ("mask", "coded_aperture")),
    "class map": ((2,), "(height, width)", ("classes", "class_map", "labels", "label", "gt", "ground_truth")),
    # The mask as every band sees it on the detector: the camera makes it from the mask itself.
    "shifted mask": ((3,), "(height, width, bands)", ("mask_3d_shift",)),
}
HINTS = {
    ("measurement", 3): "this looks like a cube: crsdun simulate makes a measurement of it",
    ("mask", 3): "a cube or a shifted mask is none, the camera shifts by itself; give the mask",
    ("cube", 2): "this looks like a measurement: crsdun reconstruct makes a cube of it",
}


def find_array(file: ArrayFile, kind: str, key: str | None = None) -> tuple[str, np.ndarray]:
    """The array of ``kind`` in a file, with its name: the one named, the known name, or the only one that can be.

    Axes of length 1 before and after are taken off where there are too many.

    Raises:
        InputError: there is no such array, its shape cannot be of that kind, or there are several.
    """
    dimensions, shape, names = ROLES[kind]
    if key is not None and key not in file.arrays:
        raise InputError(f"{file.path} has no array {key!r}", f"it holds {file.listing}")
    arrays = {name: _squeezed(array, dimensions) for name, array in file.arrays.items() if key is None or name == key}
    fitting = {name: array for name, array in arrays.items() if array.ndim in dimensions}
    if key is None:
        fitting = {n: array for n, array in fitting.items() if role_by_name(n, array) in (kind, None)}
        known = [name for name in fitting if role_by_name(name, fitting[name]) == kind]
        known.sort(key=lambda name: names.index(_last_part(name)))
        fitting = {name: fitting[name] for name in known[:1]} or fitting
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    if fitting:
        raise InputError(f"{file.path} holds several arrays: {file.listing}", f"say with <key> which is the {kind}")
    held = next(iter(arrays.values()))
    choose = "say with <key> if it is one of these" if len(arrays) > 1 else ""
    hint = HINTS.get((kind, held.ndim), choose)
    raise InputError(
        f"{file.path} holds no {kind} {shape}; it holds "
        f"{', '.join(f'{name} {file.arrays[name].shape}' for name in arrays)}",
        hint,
    )


def role_by_name(name: str, array: np.ndarray) -> str | None:
    """What an array is by its name, if the field knows the name and the shape allows it."""
    for kind, (dimensions, _, names) in ROLES.items():
        if _last_part(name) in names and array.ndim in dimensions:
            return kind
    return None


def role_by_values(name: str, array: np.ndarray) -> str:
    """What an array probably is: by its name, else by its shape and values."""
    named = role_by_name(name, array)
    if named is not None:
        return named
    array = _squeezed(array, (2,))  # a single band is a picture
    if array.ndim == 3:
        return "cube"
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
    """(C,H,W) of a 3-D array of ``file``, wherever its bands lie.

    Told by the file's own word on its axes, else by the one axis as long as ``wavelengths``, else: the last axis
    where it is the shortest of the three, the first where that is, or the one that is unlike two equal others.

    Raises:
        InputError: none of these tells.
    """
    axes = file.metadata.get("axes")
    shape = array.shape
    as_long = [axis for axis in range(3) if wavelengths is not None and shape[axis] == len(wavelengths)]
    shortest = [axis for axis in range(3) if shape[axis] == min(shape)]
    unlike = [axis for axis in (0, 2) if shape.count(shape[axis]) == 1 and len(set(shape)) == 2]
    if axes in ("CHW", "HWC"):
        axis = axes.index("C")
    elif len(as_long) == 1:
        axis = as_long[0]
    elif shortest in ([0], [2]):
        axis = shortest[0]
    elif len(unlike) == 1:
        axis = unlike[0]
    else:
        raise InputError(
            f"the shape {shape} of the array in {file.path} does not tell which axis holds the bands",
            "give the wavelengths of all bands, or store it as ENVI or multi-page TIFF, which tell",
        )
    return np.moveaxis(array, axis, 0)


def grey(file: ArrayFile) -> ArrayFile:
    """A picture without its colours, (H,W); any other file as it is.

    Raises:
        InputError: the picture really is in colour.
    """
    if "palette" in file.metadata:
        picture = np.asarray(file.metadata["palette"], dtype=np.uint8)[file.arrays["image"]]
    elif file.metadata.get("colour"):
        picture = file.arrays["image"]
    else:
        return file
    if (picture != picture[..., :1]).any():
        raise InputError(f"{file.path} is a colour picture", "expected a grey one: save it in shades of grey")
    return replace(file, arrays={"image": picture[..., 0]})


def unit_range(array: np.ndarray, file: ArrayFile) -> tuple[np.ndarray, float]:
    """Stored numbers on their scale of 0..1, and what they were divided by.

    The file's own scale factor if it has one; otherwise integers are divided by the largest number of their type
    and floating numbers stay as they are.

    Raises:
        InputError: integers of 32 bits or more, whose full range says nothing.
    """
    scale = file.metadata.get("scale", 1.0)
    if scale == 1 and array.dtype.kind in "iu":
        if array.itemsize > 2:
            raise InputError(
                f"{file.path} holds {array.dtype} numbers, whose scale is unknown",
                "save them as uint8 or uint16 over the full range, or as floating numbers in 0..1",
            )
        scale = float(np.iinfo(array.dtype).max)
    return (array, 1.0) if scale == 1 else (array / np.float32(scale), scale)


def _squeezed(array: np.ndarray, dimensions: tuple[int, ...]) -> np.ndarray:
    while array.ndim > min(dimensions) and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    return array


def _last_part(name: str) -> str:
    return name.rpartition("/")[-1].lower()
