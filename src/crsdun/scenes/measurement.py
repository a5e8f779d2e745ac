"""A measurement as it is stored in a file: the frame of the detector and what is known of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import find_array, grey, role_by_name
from crsdun.scenes.formats import read_arrays, write_arrays
from crsdun.scenes.mask_io import transmission


@dataclass(frozen=True)
class Measurement:
    """One exposure of a CASSI camera.

    Attributes:
        frame: (H,Wm). Integers are counts of a camera and keep their type, since their scale is not known yet;
            anything else becomes float32, the scale of y = A x.
        wavelengths: centre of each band in nm, length C; None where unknown.
        mask: coded aperture of the exposure, (H,W) or (C,H,W) float32; None where unknown.
        step: dispersion in pixels per band; None where unknown.
        name: what to call the measurement in tables and pictures.
        provenance: where the measurement came from and what was done to it.
        valid: (H,Wm) bool, which pixels received all of the scene's light; the others lack that of voxels without
            data, which a simulation takes for black. None where all did.

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

    def __post_init__(self) -> None:
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

    @property
    def incomplete(self) -> int:
        """The number of pixels that lack light of voxels without data."""
        return 0 if self.valid is None else self.valid.size - int(self.valid.sum())


def read_measurement(
    path: str | Path, key: str | None = None, wavelengths: Sequence[float] | None = None
) -> Measurement:
    """A measurement from any file that ``read_arrays`` reads, with the mask and the camera that our files keep.

    Args:
        key: name of the frame; None takes the one with a known name (meas_real, meas, y …), or the only 2-D array.
        wavelengths: of the camera's bands in nm, None takes those in the file.

    Raises:
        InputError: the file cannot be read, does not reveal which array is the frame, is a cube or a colour picture,
            or holds NaN or infinity.
    """
    file = grey(read_arrays(path))
    name, frame = find_array(file, "measurement", key)
    wavelengths = file.wavelengths if wavelengths is None else tuple(wavelengths)
    others = (array for other, array in file.arrays.items() if other != name and role_by_name(other, array) == "mask")
    mask = next(others, None)
    provenance = file.metadata.get("provenance", {"file": file.path.name, "format": file.format, "array": name})
    if mask is not None:
        mask, divisor = transmission(mask, file, wavelengths)
        if divisor != 1:
            provenance = {**provenance, "mask_divided_by": divisor}
    return Measurement(
        frame,
        wavelengths=wavelengths,
        mask=mask,
        step=file.metadata.get("step"),
        name=file.metadata.get("name", file.path.stem),
        provenance=provenance,
        valid=next((each for other, each in file.arrays.items() if _is_validity(other, each, frame)), None),
    )


def _is_validity(name: str, array: np.ndarray, frame: np.ndarray) -> bool:
    return role_by_name(name, array) == "valid pixels" and array.shape == frame.shape


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
        "wavelengths": measurement.wavelengths,
        "wavelength_units": "Nanometers",
    }
    write_arrays(path, arrays, metadata, overwrite)
