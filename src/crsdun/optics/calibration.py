"""From the counts of a real camera to a measurement on the scale of y = A x."""

import numpy as np

from crsdun.errors import InputError


def normalise_frame(
    frame: np.ndarray,
    bands: int,
    dark: np.ndarray | float = 0.0,
    white: np.ndarray | float | None = None,
    bit_depth: int | None = None,
    exposure: float = 1.0,
) -> np.ndarray:
    """Raw counts as a measurement: y = C · (frame − dark) / (white − dark) / exposure, not below 0.

    One band at full reflectance through an open mask pixel then counts 1, as in a simulated measurement.

    Args:
        frame: raw counts, (H, Wm), any integer or floating type.
        bands: C.
        dark: counts with the shutter closed: a frame (H, Wm) or one level.
        white: counts of a white reference seen *without* the coded aperture: a frame (flat field) or one level.
            A frame taken through the mask would divide the code away.
        bit_depth: where there is no white reference, its level is taken as 2^bit_depth − 1.
        exposure: exposure time of ``frame`` divided by that of ``white``.

    Returns:
        (H, Wm) float32.

    Raises:
        InputError: shapes disagree, no white level is known, or the white is not brighter than the dark.
    """
    if bit_depth is not None and not 1 <= bit_depth <= 32:
        raise InputError(f"the bit depth of a camera lies between 1 and 32, not {bit_depth}")
    if white is None:
        if bit_depth is None:
            raise InputError("raw counts need their scale: give the white reference, or the bit depth of the camera")
        white = float(2**bit_depth - 1)
        counts = np.asarray(frame)
        if np.max(counts) > white:
            shift = 2 ** (16 - bit_depth)
            left = (
                bit_depth < 16 and counts.dtype.kind in "iu" and np.max(counts) < 2**16 and not (counts % shift).any()
            )
            raise InputError(
                f"the frame holds counts up to {np.max(counts):g}, more than {bit_depth} bits hold"
                + (f": all are multiples of {shift}, so they were stored in the upper bits of 16" if left else ""),
                "set <bits> to 16" if left else "set <bits> to the depth of the file, or give <white>",
            )
    for name, reference in (("dark", dark), ("white", white)):
        if np.ndim(reference) and np.shape(reference) != np.shape(frame):
            raise InputError(
                f"the {name} frame has shape {np.shape(reference)} but the measurement {np.shape(frame)}",
                "take both with the same detector window",
            )
    if not 0 < exposure < float("inf"):
        raise InputError(f"the exposure ratio must be a positive number, not {exposure}")
    if not (np.isfinite(white).all() and np.isfinite(dark).all()):
        raise InputError("the dark or white reference holds NaN or infinity", "give finite counts")
    light = np.asarray(white, dtype=np.float64) - dark
    if not np.all(light > 0):
        raise InputError("the white reference is not brighter than the dark one everywhere", "were they swapped?")
    normalised = bands * (np.asarray(frame, dtype=np.float64) - dark) / light / exposure
    return np.maximum(normalised, 0).astype(np.float32)
