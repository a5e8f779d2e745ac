"""A measurement as it is stored in a file: the frame of the detector and what is known of the camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.labelled import labelled
from crsdun.optics.masks import for_bands
from crsdun.scenes.array_roles import (
    STACK_AXES,
    around,
    find_beside,
    find_exposures,
    frames_first,
    is_called_measurement,
    nearest,
    role_by_name,
    with_axes,
)
from crsdun.scenes.formats import ArrayFile, in_memory, open_arrays, write_arrays
from crsdun.scenes.formats.array_file import LazyArray, let_go
from crsdun.scenes.formats.pictures import grey
from crsdun.scenes.mask_io import MaskRows, transmission
from crsdun.showing import Shown, spectrum_in_words
from crsdun.spread import sample_rows

if TYPE_CHECKING:
    import xarray

# In a provenance: what the numbers of the mask were divided by.
MASK_DIVISOR = "mask_divided_by"
# And which arrays of its file are the dark and the white frame: ``dark`` → name.
CALIBRATION_BESIDE = "calibration_beside"
# Whole numbers above this are counts, also where they are stored as floating point, as MATLAB does; all but this part
# of them, since dead pixels may have been filled.
LEAST_COUNTS, NOT_WHOLE = 100, 0.01


@dataclass(frozen=True, repr=False)
class Measurement(Shown):
    """One exposure of a CASSI camera.

    Attributes:
        frame: (H,Wm). Integers keep their type; anything else becomes float32.
        wavelengths: centre of each band in nm, length C; None where unknown.
        mask: coded aperture of the exposure, (H,W) or (C,H,W) float32; None where unknown.
        step: dispersion in pixels per band; None where unknown.
        name: what to call the measurement in tables and pictures.
        provenance: where the measurement came from and what was done to it.
        valid: (H,Wm) bool, which pixels received all of the scene's light; the others lack that of voxels without
            data, which a simulation takes for black. None where all did.
        counts: whether these are counts of a camera, whose scale is not known yet, instead of values on the scale of
            y = A x; None leaves it to the numbers (``holds_counts``).

    Raises:
        InputError: the frame is not 2-D, or holds NaN or infinity, or ``valid`` has another shape.
    """

    frame: np.ndarray
    wavelengths: tuple[float, ...] | None = None
    mask: np.ndarray | None = None
    step: float | None = None
    name: str = "measurement"
    provenance: dict[str, Any] = field(default_factory=dict)
    valid: np.ndarray | None = None
    counts: bool | None = None

    def __post_init__(self) -> None:
        unmasked(self.frame, "the measurement")
        if self.frame.ndim != 2 or 0 in self.frame.shape:
            raise InputError(f"a measurement has the shape (height, width), not {self.frame.shape}")
        if self.frame.dtype.kind not in "iu":
            object.__setattr__(self, "frame", np.ascontiguousarray(self.frame, dtype=np.float32))
        broken = np.argwhere(~np.isfinite(self.frame))
        if len(broken):
            row, column = broken[0]
            raise InputError(
                f"the measurement {self.name!r} holds {len(broken)} NaN or infinite values, the first at row {row}, "
                f"column {column}",
                "replace dead pixels by their neighbours first",
            )
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", tuple(float(value) for value in self.wavelengths))
        if self.mask is not None:
            object.__setattr__(self, "mask", np.ascontiguousarray(self.mask, dtype=np.float32))
        if self.valid is not None:
            if self.valid.shape != self.frame.shape:
                raise InputError(
                    f"the map of valid pixels of {self.name!r} has shape {self.valid.shape}, its frame "
                    f"{self.frame.shape}",
                    "give both the same size",
                )
            object.__setattr__(self, "valid", np.ascontiguousarray(self.valid, dtype=bool))

    def _outline(self) -> list[str]:
        height, width = self.frame.shape
        bands = "" if self.wavelengths is None else f"{len(self.wavelengths)} bands"
        step = "" if self.step is None else f"step {self.step:g}"
        mask = "" if self.mask is None else "with its mask"
        return [
            repr(self.name), f"{height}×{width} {self.frame.dtype}", bands, spectrum_in_words(self.wavelengths), step,
            mask,
        ]  # fmt: skip

    @cached_property
    def holds_counts(self) -> bool:
        """``counts``, or where that is None, whether these are integers or large whole numbers."""
        return are_counts(self.frame) if self.counts is None else self.counts

    @property
    def incomplete(self) -> int:
        """The number of pixels that lack light of voxels without data."""
        return 0 if self.valid is None else self.valid.size - int(self.valid.sum())

    def to_xarray(self) -> xarray.Dataset:
        """The measurement with names on its axes; no copy.

        ``frame`` (y, x), and where known ``valid`` (y, x) and ``mask``, which has the size of the scene: (scene_y,
        scene_x), or (scene_y, scene_x, wavelength).

        Raises:
            InputError: xarray is not installed.
        """
        variables: dict[str, Any] = {"frame": (("y", "x"), self.frame)}
        if self.valid is not None:
            variables["valid"] = (("y", "x"), self.valid)
        if self.mask is not None:
            axes = ("scene_y", "scene_x", "wavelength")[: self.mask.ndim]
            variables["mask"] = (axes, self.mask if self.mask.ndim == 2 else np.moveaxis(self.mask, 0, -1))
        attributes: dict[str, Any] = {"name": self.name, "step": self.step, "provenance": self.provenance}
        if self.mask is None or self.mask.ndim == 2:
            attributes["wavelengths_nm"] = self.wavelengths
        return labelled(variables, self.wavelengths, attributes)


@dataclass(frozen=True)
class _Alone:
    """A picture that stays in its file, as a stack of one, which is not in memory either."""

    picture: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, *self.picture.shape

    @property
    def dtype(self) -> np.dtype:
        return self.picture.dtype

    def __getitem__(self, part: tuple[slice, slice, slice]) -> np.ndarray:
        return self.picture[part[1:]][None]


@dataclass(frozen=True)
class Exposures:
    """The exposures in one file, each read when it is asked for.

    Attributes:
        file: that holds them.
        array: name of the exposure, or of the stack of exposures.
        frames: (T,H,Wm) as stored; of .npy, ENVI, HDF5 and .mat v7.3 they are still in the file.
        wavelengths, mask: as of each ``Measurement``.
        mask_divisor: what the numbers of the mask were divided by.
        mask_rows: the mask where it was left in the file, in place of ``mask``.
        doubtful: whether they may as well be the bands of a cube.
    """

    file: ArrayFile
    array: str
    frames: Any
    wavelengths: tuple[float, ...] | None
    mask: np.ndarray | None
    mask_divisor: float
    doubtful: bool
    mask_rows: MaskRows | None = None

    @property
    def step(self) -> float | None:
        """Dispersion in pixels per band; None where unknown."""
        return self.file.metadata.get("step")

    def __len__(self) -> int:
        return self.frames.shape[0]

    def __iter__(self) -> Iterator[Measurement]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Measurement:
        """
        Raises:
            InputError: the frame is too large, or holds NaN or infinity.
        """
        return self.part(index, 0, self.frames.shape[1])

    def part(self, index: int, top: int, bottom: int) -> Measurement:
        """Rows of an exposure, from ``top`` to the one before ``bottom``; errors as for a whole one.

        The mask is that of all rows, if it was read (``open_exposures``).
        """
        file, count, rows = self.file, len(self), slice(top, bottom)
        index = range(count)[index]
        whole = bottom - top == self.frames.shape[1]
        name = self.name_of(index, file.metadata.get("name", file.path.stem))
        return Measurement(
            self._decoded(self._stored(index, rows)),
            name=name if whole else f"{name} from row {top} on",
            provenance=self._provenance | ({"frame": index + 1, "frames": count} if count > 1 else {}),
            valid=None if self._valid is None else self._valid[rows, :],
            counts=self._are_counts(index, whole),
            **self._camera,
        )

    def edited(self, stored: np.ndarray, name: str) -> Measurement:
        """A frame (H,Wm) in place of one of the file, in its numbers, with what the file tells of all of them.

        Raises:
            InputError: it holds NaN or infinity.
        """
        fits = self._valid is not None and self._valid.shape == stored.shape
        return Measurement(
            self._decoded(stored),
            name=name,
            provenance=self._provenance,
            valid=self._valid[:, :] if fits else None,
            counts=self.file.metadata.get("holds_counts"),
            **self._camera,
        )

    @property
    def _camera(self) -> dict[str, Any]:
        return {"wavelengths": self.wavelengths, "mask": self.mask, "step": self.step}

    @property
    def _provenance(self) -> dict[str, Any]:
        """Where they all came from."""
        file = self.file
        origin = {"file": file.path.name, "format": file.format, "array": self.array}
        provenance = {**file.metadata.get("provenance", origin), **file.encoding(self.array).summary()}
        for of_an_earlier_reading in (MASK_DIVISOR, CALIBRATION_BESIDE):
            provenance.pop(of_an_earlier_reading, None)  # our own files hold transmissions, and frames alone
        if self.mask_divisor != 1:
            provenance[MASK_DIVISOR] = self.mask_divisor
        if self._calibration_beside:
            provenance[CALIBRATION_BESIDE] = self._calibration_beside
        return provenance

    def _stored(self, index: int, rows: slice) -> np.ndarray:
        size = (rows.stop - rows.start) * self.frames.shape[2] * self.frames.dtype.itemsize
        check_budget(size, f"a frame of {self.file.path}")
        stored = self.frames[index : index + 1, rows, :]
        frame = np.array(stored[0], stored.dtype.newbyteorder("="))
        let_go(self.frames)
        return frame

    def _decoded(self, stored: np.ndarray) -> np.ndarray:
        return self.file.encoding(self.array).decode(stored)

    def _are_counts(self, index: int, whole: bool) -> bool | None:
        """Whether a frame holds counts: as its file says, else, of a part of it, by rows from all over it."""
        told: bool | None = self.file.metadata.get("holds_counts")
        if told is not None or whole:
            return told
        if index not in self._known_counts:
            sample = [self._stored(index, slice(*rows)) for rows in sample_rows(self.frames.shape[1])]
            self._known_counts[index] = are_counts(self._decoded(np.concatenate(sample)))
        return self._known_counts[index]

    @cached_property
    def _known_counts(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _calibration_beside(self) -> dict[str, str]:
        arrays = self.file.arrays
        found = {
            kind: [name for name, array in arrays.items() if role_by_name(name, array) == f"{kind} frame"]
            for kind in ("dark", "white")
        }
        return {kind: nearest(self.array, names)[0] for kind, names in found.items() if names}

    @cached_property
    def _valid(self) -> Any:
        name = find_beside(self.file, "valid pixels", self.array)
        valid = None if name is None else self.file.arrays[name]
        return valid if valid is not None and valid.shape == self.frames.shape[1:] else None

    def name_of(self, index: int, name: str) -> str:
        """As ``name_of_exposure``."""
        return name_of_exposure(name, index, len(self))

    def one(self, number: int | None = None) -> Measurement:
        """The exposure with this number from 1; None takes the only one. Raises as ``place``."""
        return self[self.place(number)]

    def place(self, number: int | None = None) -> int:
        """The index of the exposure with this number from 1; None takes the only one.

        Raises:
            InputError: there are several and none is named, or there is none with this number, or they are doubtful.
        """
        if self.doubtful:
            raise self.as_cube()
        count = len(self)
        if number is None and count > 1:
            raise InputError(f"{self.file.path} holds {count} exposures", f"choose one of 1 to {count} with <frame>")
        if number is not None and not 1 <= number <= count:
            raise InputError(
                f"{self.file.path} has no frame {number}", f"expected 1 to {count}" if count > 1 else "omit <frame>"
            )
        return 0 if number is None else number - 1

    def as_cube(self) -> InputError:
        """The error where these are probably no exposures."""
        count, rows, columns = self.frames.shape
        shape = self.file.arrays[self.array].shape
        axes = "thw" if shape[0] == count else "hwt"
        return InputError(
            f"{self.file.path} holds no measurement (height, width) but {self.array} {shape}; it looks like a cube",
            f"crsdun simulate makes a measurement of it; if these are {count} exposures of {rows}×{columns}, set "
            f"<axes> to {axes}",
        )


def unmasked(array: Any, what: str) -> np.ndarray:
    """An array without a mask of invalid elements.

    Raises:
        InputError: it has some, which would be taken for numbers.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.getmaskarray(array).any():
        raise InputError(f"{what} is a masked array with invalid elements", "fill them, and give them as bad pixels")
    return np.asarray(array)


def are_counts(frame: np.ndarray) -> bool:
    """Whether a frame holds counts: integers, or whole numbers so large that they are not on the scale of y = A x."""
    if frame.dtype.kind in "iu" or not frame.size:
        return frame.dtype.kind in "iu"
    return bool(frame.max() > LEAST_COUNTS) and float((frame != np.round(frame)).mean()) <= NOT_WHOLE


def name_of_exposure(name: str, index: int, count: int) -> str:
    """What to call one of ``count`` exposures of a file called ``name``: as the file, or with its number from 1."""
    return name if count == 1 else f"{name}_{index + 1:0{len(str(count))}d}"


def open_exposures(
    path: str | Path,
    key: str | None = None,
    wavelengths: Sequence[float] | None = None,
    mask_size: tuple[int, ...] | None = None,
    axes: str | None = None,
    by_rows: bool = False,
) -> Exposures:
    """The exposures in any file that ``read_arrays`` reads, with the mask and the camera that our files keep.

    Gains, offsets and no-data values that the file states are applied; the provenance records them.

    Args:
        key: name of the frame or stack; None takes the one with a known name (meas_real, meas, y …), or the only one.
        wavelengths: of the camera's bands in nm, None takes those in the file.
        mask_size: (H,W) of the mask; None takes that in the file.
        axes: of a stack, "thw" or "hwt"; None finds out (``frames_first``).
        by_rows: leave the mask in the file as well, as ``mask_rows``.

    Raises:
        InputError: the file cannot be read, does not reveal which array is the frame, is a cube or a colour picture.
    """
    opened = grey(open_arrays(path))
    stored: Any
    name, stored = find_exposures(opened, key)
    file = around(opened, name)
    told = file.wavelengths if wavelengths is None else tuple(wavelengths)
    mask, mask_rows, divisor = None, None, 1.0
    beside = find_beside(file, "mask", name)
    if beside is not None:
        own = around(opened, beside)
        # A list of its own tells which bands a mask has; otherwise these are those of the exposures.
        same = None if own.grids and own.grids != file.grids else told
        if by_rows:
            mask_rows = MaskRows.of(beside, own, same)
            mask_size = mask_size or mask_rows.shape
        else:
            mask, divisor, known = transmission(beside, in_memory(own, [beside]), same)
            mask = for_bands(mask, known, told)
            mask_size = mask_size or mask.shape[-2:]
    doubtful = stored.ndim == 3 and axes is None and not is_called_measurement(name)
    if stored.ndim == 3:
        stored = frames_first(stored, with_axes(file, axes, STACK_AXES), mask_size)
    else:
        stored = _Alone(stored) if isinstance(stored, LazyArray) else stored[None]
    return Exposures(file, name, stored, told, mask, divisor, doubtful, mask_rows)


def read_measurement(
    path: str | Path, key: str | None = None, wavelengths: Sequence[float] | None = None
) -> Measurement:
    """The measurement in a file, see ``open_exposures``.

    Raises:
        InputError: as there, or the file holds several, or NaN or infinity.
    """
    return open_exposures(path, key, wavelengths).one()


def write_measurement(measurement: Measurement, path: str | Path, overwrite: bool = False) -> None:
    """Write a measurement in the format of the suffix; ``read_measurement`` returns it.

    .npz, .mat, .h5 and .tif hold everything. .png (counts of uint8 or uint16) and .hdr leave out the mask and
    the map of valid pixels, .npy everything but the frame.

    Raises:
        InputError: the suffix is unknown, the frame for a .png is not uint8 or uint16, the file exists, or the disk
            refuses.
    """
    arrays = {"measurement": measurement.frame}
    if measurement.mask is not None:
        arrays["mask"] = measurement.mask
    if measurement.valid is not None:
        arrays["valid"] = measurement.valid.astype(np.uint8)
    metadata = {
        "name": measurement.name,
        "provenance": measurement.provenance,
        "step": measurement.step,
        "holds_counts": measurement.counts,
        "wavelengths": measurement.wavelengths,
        "wavelength_units": "Nanometers",
    }
    write_arrays(path, arrays, metadata, overwrite)
