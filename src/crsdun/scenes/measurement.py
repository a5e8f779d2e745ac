"""A measurement as it is stored in a file: the frame of the detector and what is known of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import find_array, role_by_name
from crsdun.scenes.formats import read_arrays, write_arrays
from crsdun.scenes.formats.pictures import grey
from crsdun.scenes.mask_io import transmission

# In a provenance: what the numbers of the mask were divided by.
MASK_DIVISOR = "mask_divided_by"


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

    Raises:
        InputError: the frame is not 2-D, or holds NaN or infinity.
    """

    frame: np.ndarray
    wavelengths: tuple[float, ...] | None = None
    mask: np.ndarray | None = None
    step: float | None = None
    name: str = "measurement"
    provenance: dict[str, Any] = field(default_factory=dict)

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


def read_measurement(
    path: str | Path, key: str | None = None, wavelengths: Sequence[float] | None = None
) -> Measurement:
    """A measurement from any file that ``read_arrays`` reads, with the mask and the camera that our files keep.

    Gains, offsets and no-data values that the file states are applied; the provenance records them.

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
    masks = [other for other, array in file.arrays.items() if other != name and role_by_name(other, array) == "mask"]
    origin = file.metadata.get("provenance", {"file": file.path.name, "format": file.format, "array": name})
    provenance, mask = {**origin, **file.encoding(name).summary()}, None
    provenance.pop(MASK_DIVISOR, None)  # an earlier reading; our own files hold transmissions
    if masks:
        mask, divisor = transmission(masks[0], file, wavelengths)
        if divisor != 1:
            provenance[MASK_DIVISOR] = divisor
    return Measurement(
        file.encoding(name).decode(frame),
        wavelengths=wavelengths,
        mask=mask,
        step=file.metadata.get("step"),
        name=file.metadata.get("name", file.path.stem),
        provenance=provenance,
    )


def write_measurement(measurement: Measurement, path: str | Path, overwrite: bool = False) -> None:
    """Write a measurement in the format of the suffix; ``read_measurement`` returns it.

    .npz, .mat, .h5 and .tif hold everything. .png (counts of uint8 or uint16) and .hdr leave out the mask, .npy
    everything but the frame.

    Raises:
        InputError: the suffix is unknown, the frame for a .png is not uint8 or uint16, the file exists, or the disk
            refuses.
    """
    arrays = {"measurement": measurement.frame}
    if measurement.mask is not None:
        arrays["mask"] = measurement.mask
    metadata = {
        "name": measurement.name,
        "provenance": measurement.provenance,
        "step": measurement.step,
        "wavelengths": measurement.wavelengths,
        "wavelength_units": "Nanometers",
    }
    write_arrays(path, arrays, metadata, overwrite)
