"""Which cameras fit the widths of a mask and of a measurement, and how far bands are spread."""

import math
from collections.abc import Sequence

import numpy as np

from crsdun.errors import InputError

# Displacements this near to whole pixels are whole: what is left is rounding.
ROUNDING = 1e-9


def without_rounding(offsets: np.ndarray) -> np.ndarray:
    """Displacements that are whole pixels but for rounding as these."""
    whole = np.rint(offsets)
    return np.where(np.abs(offsets - whole) <= ROUNDING, whole, offsets)


def span(offsets: Sequence[float]) -> int:
    """Pixels that displacements along one axis add to the size of the scene."""
    return math.ceil(max(offsets)) - math.floor(min(offsets))


def bands_that_span(pixels: int, step: float) -> range:
    """The numbers of bands, ``step`` apart, whose displacements add so many pixels: several where it is below 1."""
    if pixels < 1 or not step:
        return range(0)

    def added(steps: int) -> int:
        return span([0.0, float(without_rounding(np.array(abs(step) * steps)))])

    least, most = math.floor((pixels - 1) / abs(step)), math.ceil(pixels / abs(step)) + 1
    while added(least) < pixels:
        least += 1
    while added(most) > pixels:
        most -= 1
    return range(least + 1, most + 2)


def dispersion_in_words(offsets: Sequence[Sequence[float]]) -> str:
    """Displacements of bands, down and right, (C,2) pixels, in a few words."""
    moves = np.array(offsets, dtype=np.float64)
    steps = np.diff(moves, axis=0)
    if not steps.size or not moves.any():
        return "not dispersed"
    along = moves[-1] - moves[0]
    if not moves[:, 0].any():
        if np.allclose(steps[:, 1], steps[0, 1]):
            return f"dispersed along the rows by {steps[0, 1]:g} pixels per band"
        where = "along the rows"
    else:
        where = f"at {np.degrees(np.arctan2(*along)):.1f}° to the rows"
    sizes = np.hypot(*steps.T)
    each = " to ".join(dict.fromkeys(f"{size:.2f}" for size in (sizes.min(), sizes.max())))
    return f"dispersed {where} by {np.hypot(*along):.2f} pixels in all, {each} per band"


def check_height(mask: Sequence[int], measurement: Sequence[int], added: int = 0) -> None:
    """Raise an InputError unless a measurement has as many rows as the mask; it says how one may be turned.

    Args:
        mask, measurement: their shapes, (H,W) and (Hm,Wm).
        added: rows that a dispersion which also runs down adds to the measurement.
    """
    (H, W), (Hm, Wm) = mask, measurement
    if Hm == H + added:
        return
    if added:
        raise InputError(
            f"the measurement has {Hm} rows, but a mask of {H} rows behind these offsets gives {H + added}",
            "crop the measurement or the mask, or correct the offsets",
        )
    if Wm == W != H and Hm > H:
        raise InputError(
            f"the measurement is as wide as the mask and has {Hm - H} rows more, so its bands are probably dispersed "
            "down the columns",
            "transpose both, or give <offsets> in pairs, down and right",
        )
    if Wm == H and Hm >= W:
        remedy = "transpose the measurement"
        remedy += ", or both if its bands are dispersed down the columns" if H == W else ""
    elif Hm == W and Wm >= H:
        remedy = "transpose the mask"
    else:
        remedy = "crop one to the rows of the other"
    raise InputError(f"the measurement has {Hm} rows but the mask has {H}, and both see the same rows: {remedy}")


def fitting_cameras(scene_width: int, measurement_width: int) -> list[tuple[int, int]]:
    """All (bands, step) with whole steps whose measurement of ``scene_width`` columns has ``measurement_width``."""
    span = measurement_width - scene_width
    if span < 1:
        return []
    return [(span // step + 1, step) for step in range(1, span + 1) if span % step == 0]


def describe_fits(scene_width: int, measurement_width: int, step: float | None = None) -> str:
    """The cameras that fit a mask and a measurement of these widths, those of a ``step`` first, as a sentence."""
    fits: list[tuple[int, float]] = [*fitting_cameras(scene_width, measurement_width)]
    if step is not None and not float(step).is_integer():
        fits = [(bands, step) for bands in bands_that_span(measurement_width - scene_width, step)[:3]] + fits
    if not fits:
        return (
            f"a mask {scene_width} wide never gives a measurement {measurement_width} wide: "
            "the measurement must be the wider one; crop the mask"
        )
    return "what would fit: " + ", ".join(f"{bands} bands at step {step:g}" for bands, step in fits[:6])
