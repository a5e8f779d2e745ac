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
        _check_reference(name, reference, frame)
    if not 0 < exposure < float("inf"):
        raise InputError(f"the exposure ratio must be a positive number, not {exposure}")
    light = np.asarray(white, dtype=np.float64) - dark
    if not np.all(light > 0):
        raise InputError("the white reference is not brighter than the dark one everywhere", "were they swapped?")
    normalised = bands * (np.asarray(frame, dtype=np.float64) - dark) / light / exposure
    return np.maximum(normalised, 0).astype(np.float32)


def subtract_dark(frame: np.ndarray, dark: np.ndarray | float) -> np.ndarray:
    """A frame (H,Wm) without its ``dark``, a frame or a level in the same units; not below 0, float32.

    Raises:
        InputError: shapes disagree, or the dark is not finite.
    """
    _check_reference("dark", dark, frame)
    return np.maximum(np.asarray(frame, dtype=np.float64) - dark, 0).astype(np.float32)


def _check_reference(name: str, reference: np.ndarray | float, frame: np.ndarray) -> None:
    if np.ndim(reference) and np.shape(reference) != np.shape(frame):
        raise InputError(
            f"the {name} frame has shape {np.shape(reference)} but the measurement {np.shape(frame)}",
            "take both with the same detector window",
        )
    if not np.isfinite(reference).all():
        raise InputError(f"the {name} reference holds NaN or infinity", "give finite counts")


# The largest counts of cameras, in the lower or the upper bits of their files, and the part of all pixels that may
# have them by chance.
DEPTHS = (8, 10, 12, 14, 16)
FULL_SCALES = {bits: (2**bits - 1, (2**bits - 1) << (16 - bits)) for bits in DEPTHS}
MOST_SATURATED = 2e-3


def saturation(frame: np.ndarray, bits: int | None = None) -> tuple[float, float] | None:
    """The count that full pixels of a detector have, and their part of all; None where few are, or that is unclear.

    Args:
        frame: counts, any shape; averages of several exposures may be floating point.
        bits: bit depth of the camera, or of its file; None asks whether the largest count is that of any depth.
    """
    high = float(frame.max())
    return saturation_at(high, float((frame == high).mean()), bits)


def saturation_at(high: float, share: float, bits: int | None = None) -> tuple[float, float] | None:
    """The same by the largest count, and the part of all pixels that have it."""
    full = {each for levels in FULL_SCALES.values() for each in levels}
    if bits is not None:
        full = {2**bits - 1} | (full if bits == 16 else set())
    return (high, share) if high in full and share > MOST_SATURATED else None


# Detector pixels with at most this part of the most light are taken for unlit, and this many are needed.
UNLIT, FEWEST_UNLIT = 0.05, 50
# A floor matters from this part of the mean brightness on.
LOWEST_FLOOR = 0.03
# Light below a dark that no noise of a frame worth decoding explains, as part of the light above it.
MOST_LOST = 0.1


def dark_floor(frame: np.ndarray, light: np.ndarray | None = None) -> float | None:
    """The level that a frame has where no light arrives: an offset that was not subtracted.

    At the left and right border few bands fall on a pixel, and behind a closed part of the mask none does.

    Args:
        frame: (H,Wm), in any units; with ``light``, any pixels.
        light: exposure of a white scene by the same camera, of the same pixels: the floor is then where a straight
            line of the values of the darkest pixels over their light meets no light. None takes the lower quartile of
            the two outer columns on each side.

    Returns:
        In the units of the frame; None where too few pixels tell, or the level is so low that it does not matter.
    """
    if light is None:
        edges = np.concatenate([frame[:, :2], frame[:, -2:]], axis=1)
        floor = float(np.quantile(edges, 0.25)) if edges.size >= FEWEST_UNLIT else 0.0
    else:
        floor = _where_no_light_arrives(frame, light)
    return floor if floor >= LOWEST_FLOOR * float(frame.mean()) > 0 else None


def dark_excess(frame: np.ndarray, dark: np.ndarray | float, light: np.ndarray) -> tuple[float, float] | None:
    """By how much a dark is too high, and the part of the pixels that lie below it; None where noise explains these.

    Noise is as often above as below a right dark, so that where no light arrives the two are equal on average.

    Args:
        frame, dark: counts of the same pixels, any shape; the dark may be a level.
        light: exposure of a white scene by the same camera, of the same pixels.
    """
    difference = np.asarray(frame, dtype=np.float64) - dark
    excess = -_where_no_light_arrives(difference, light)
    lost, kept = below_and_above(difference)
    if kept <= 0 or (excess < LOWEST_FLOOR * kept / difference.size and lost < MOST_LOST * kept):
        return None
    return max(excess, 0.0) or lost / int((difference < 0).sum()), float((difference < 0).mean())


def below_and_above(frame: np.ndarray) -> tuple[float, float]:
    """The sums of what a frame has below 0, as a positive number, and above."""
    values = np.asarray(frame, dtype=np.float64)
    return -float(values[values < 0].sum()), float(values[values > 0].sum())


def _where_no_light_arrives(frame: np.ndarray, brightness: np.ndarray) -> float:
    """The constant of a straight line, without what lies far off: light from beside the mask, hot pixels.

    0 where too few pixels tell, or their values scatter, as behind a wrong mask.
    """
    unlit = brightness <= UNLIT * brightness.max()
    if unlit.sum() < FEWEST_UNLIT:
        return 0.0
    light, values = brightness[unlit].astype(np.float64), frame[unlit].astype(np.float64)
    for _ in range(3):
        slope, floor = np.polyfit(light, values, 1) if np.ptp(light) > 0 else (0.0, values.mean())
        off = np.abs(values - (slope * light + floor))
        near = off <= 4 * np.median(off)
        light, values = light[near], values[near]
    return float(floor) if np.median(off) <= abs(floor) / 2 else 0.0
