"""What a file holds, and what defines a file format."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crsdun.errors import InputError, UnitError
from crsdun.optics.wavelengths import to_nanometres
from crsdun.scenes.formats.encoding import Encoding

Arrays = dict[str, Any]  # of NumPy arrays, or of ``LazyArray`` in a file that was opened without being read
Metadata = dict[str, Any]
# Where the readers put the encodings of their arrays, by name; no key of a file is a tuple.
ENCODINGS: Any = ("encodings",)
# And the lists of wavelengths that they found, by name.
GRIDS: Any = ("grids",)
# And the order of the axes of the cubes among them, by name.
NAMED_AXES: Any = ("axes",)
# Pictures of more bytes than this stay in their file where their format lets them, as cubes do.
LARGE_PICTURE = 32 << 20
MOST_LISTED = 12  # arrays in a message


def stays_in_file(shape: tuple[int, ...], itemsize: int) -> bool:
    """Whether an array is left in its file, until it is indexed, by the formats that read parts: cubes, series of
    them, and large pictures."""
    return len(shape) in (3, 4) or (len(shape) == 2 and math.prod(shape) * itemsize > LARGE_PICTURE)


class Grid(NamedTuple):
    """A list of wavelengths as it is stored."""

    values: tuple[float, ...]
    unit: str

    @property
    def metadata(self) -> Metadata:
        """As entries of the metadata of its file."""
        return {"wavelengths": list(self.values)} | (
            {} if self.unit == "unknown" else {"wavelength_units": self.unit}
        )


@dataclass(frozen=True)
class ArrayFile:
    """What a file holds.

    Attributes:
        path: the file.
        format: name of its format.
        arrays: numeric arrays by name, in the order of the file; a format without names calls its array "image".
        metadata: everything else in the file. "wavelengths" and "wavelength_units" as stored; "axes", CHW or HWC,
            of 3-D arrays; "colour" and "palette" of pictures, and "white" of those with fewer bits than their type;
            and what our own writers put there.
        encodings: what the file states about the numbers of an array, by its name.
        grids: where lists of wavelengths are arrays, all of them by name; "wavelengths" are those that count, if the
            file leaves no choice or it was made (``array_roles.around``).
        axes: of 3-D arrays whose axes the file names, the order of height, width and bands, such as "CHW", by name;
            they count where ``metadata`` has none.
    """

    path: Path
    format: str
    arrays: Arrays
    metadata: Metadata = field(default_factory=dict)
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    grids: Mapping[str, Grid] = field(default_factory=dict)
    axes: Mapping[str, str] = field(default_factory=dict)

    @property
    def wavelengths(self) -> tuple[float, ...] | None:
        """Centres of the bands in nm, in the order of the file; None where the file does not give them.

        Without a unit, 100..20000 are taken as nm and 0.1..20 as µm.

        Raises:
            UnitError: the unit is unknown, or there is none and the values are neither; or there are several lists.
        """
        values = self.metadata.get("wavelengths")
        if values is None and len(self.grids) > 1:
            raise UnitError(
                f"{self.path} holds several lists of wavelengths: {', '.join(self.grids)}",
                "choose the array with <key>, or give the wavelengths in nm with <wavelengths>",
            )
        unit = str(self.metadata.get("wavelength_units", "unknown")).strip().lower()
        if not values or unit == "index":
            return None
        if unit not in ("", "unknown"):
            # Nanometres stay as they are: a conversion would round them.
            nanometres = unit in ("nm", "nanometers")
            centres = tuple(float(value) for value in values) if nanometres else to_nanometres(values, unit)
            ours = "provenance" in self.metadata  # whose unit is right, whatever the values
            if not ours and not 1 <= min(centres) <= max(centres) <= 1e5:  # from X-rays to the far infrared
                raise UnitError(
                    f"{self.path} gives wavelengths of {min(values):g}–{max(values):g} in {unit}: no camera's",
                    "correct the unit in the file, or give the wavelengths in nm with <wavelengths>",
                )
            return centres
        for unit, low, high in (("nm", 100, 20000), ("um", 0.1, 20)):
            if low <= min(values) and max(values) <= high:
                return to_nanometres(values, unit)
        raise UnitError(
            f"{self.path} gives wavelengths of {min(values):g}–{max(values):g} without a unit",
            "add the unit to the file, or give the wavelengths in nm with <wavelengths>",
        )

    def encoding(self, name: str) -> Encoding:
        """What the file states about the numbers of an array."""
        return self.encodings.get(name, Encoding())

    def class_names(self, name: str) -> tuple[str, ...]:
        """What the file calls the labels of a class map, from 0 on; nothing where it does not."""
        return tuple(self.metadata.get("class_names") or self.encoding(name).class_names)

    @property
    def contents(self) -> str:
        """Its arrays with their shapes, for messages."""
        return self.listed(self.arrays)

    def listed(self, names: Iterable[str]) -> str:
        """Some of its arrays with their shapes, for messages; of very many the first."""
        known = list(names)
        listed = ", ".join(f"{name} {self.arrays[name].shape}" for name in known[:MOST_LISTED])
        return listed if len(known) <= MOST_LISTED else f"{listed} and {len(known) - MOST_LISTED} more"


@dataclass(frozen=True)
class LazyArray:
    """A cube, a series of cubes, or a large picture that stays in its file and is read where it is indexed.

    It does as much of an array as ``np.moveaxis`` needs.

    Attributes:
        stored_shape: shape in the file, two to four axes.
        dtype: of what indexing returns.
        read: file, name and a slice for each axis of the file → this part.
        order: which axis of the file each axis here is; () for the same. Those of length 1 may be left out.
    """

    path: Path
    name: str
    stored_shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Path, str, tuple[slice, ...]], np.ndarray]
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.order:
            object.__setattr__(self, "order", tuple(range(len(self.stored_shape))))

    def with_axes(self, first: int, end: int) -> LazyArray:
        """Without the axes before ``first`` and from ``end`` on, which have the length 1."""
        return replace(self, order=self.order[first:end])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored_shape[axis] for axis in self.order)

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def size(self) -> int:
        return int(np.prod(self.stored_shape))

    def transpose(self, order: tuple[int, ...]) -> LazyArray:
        return replace(self, order=tuple(self.order[axis] for axis in order))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        """
        Raises:
            InputError: this part of the file is damaged.
        """
        every = range(len(self.stored_shape))
        left_out = tuple(axis for axis in every if axis not in self.order)
        wanted = dict(zip(self.order, part, strict=True)) | dict.fromkeys(left_out, slice(None))
        values = self.read(self.path, self.name, tuple(wanted[axis] for axis in every))
        values = values.transpose(*self.order, *left_out)
        return values.reshape(values.shape[: self.ndim]).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: of the format.
        signatures: what its files begin with.
        suffixes: of the files that are written in it.
        open: path → arrays and metadata. Cubes may stay in the file: memory-mapped, or as a ``LazyArray``.
        write: path, arrays and metadata → file. 3-D arrays come bands first, (C,H,W); where the field expects them
            last (.mat, .npy, ENVI) they are stored so, and ``metadata["axes"]`` records it where the format can.
        largest: bytes that one array may have.
        companion: suffix of a second file that belongs to each.
        mark: of a format whose files are folders, the file in them by which they are known.
    """

    name: str
    signatures: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    open: Callable[[Path], tuple[Arrays, Metadata]]
    write: Callable[[Path, Arrays, Metadata], None]
    largest: float = float("inf")
    companion: str | None = None
    mark: str | None = None


def damaged(path: Path, format: str, error: Exception) -> InputError:
    """The error for a file that its format's library cannot read."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"{path} begins like {format} but cannot be read, so it is damaged or incomplete", f"get it again ({reason})"
    )


def let_go(array: Any) -> None:
    """Give the pages of a memory-mapped file back to the system, which reads them again when they are wanted.

    Without this, all of a file that is read part by part counts as this program's memory in the end. What is no
    memory map, or on a system that cannot, is left alone.
    """
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    if array is not None and hasattr(mmap, "MADV_DONTNEED"):
        array.madvise(mmap.MADV_DONTNEED)
