"""What is odd about the numbers of a measurement: each doubt in one line, for whoever took it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, dark_excess
from crsdun.scenes import Measurement

# In the provenance of what crsdun brought to the scale of y = A x.
NORMALISED, SIMULATED = "normalised", "simulated_from"
# And what is odd about its numbers.
DOUBTS = "doubts"
# What the brightest pixels, but for this part of all, may be relative to those of a white scene.
OUTLIERS, ABOVE_WHITE = 1e-3, 1.5


@dataclass(frozen=True)
class References:
    """What the counts of a frame are compared with.

    Attributes:
        dark, white: counts, a frame (H,Wm) or a level; None where unknown.
        bits: bit depth of the camera; None where it was not told.
    """

    dark: np.ndarray | float | None = None
    white: np.ndarray | float | None = None
    bits: int | None = None

    @property
    def scale(self) -> float | None:
        """The counts of white; None where nothing tells them."""
        if self.white is not None:
            return float(np.median(self.white))
        return None if self.bits is None else float(2**self.bits - 1)


def check_is_raw(measurement: Measurement, references: dict[str, Any]) -> None:
    """Raise an InputError if a frame would be brought to the scale of y = A x a second time.

    Args:
        references: what it would be divided by: ``white``, ``bits`` or ``exposure``; None where not given.
    """
    given = [name for name, value in references.items() if value is not None]
    divided = measurement.provenance.get(NORMALISED, {}).keys() - {"dark"}
    if given and (divided or SIMULATED in measurement.provenance) and measurement.frame.dtype.kind == "f":
        how = "its counts were divided before" if divided else "crsdun simulated it"
        raise InputError(
            f"the measurement is on the scale of y = A x already: {how}",
            f"omit {' and '.join(f'<{name}>' for name in given)}",
        )


def describe_saturation(full: float, share: float) -> str:
    """What a person should know of pixels at full scale, their counts and their part of all."""
    return (
        f"{share:.1%} of the pixels have {full:g} counts, the most that there are: they are saturated and do not "
        "count; expose for less time"
    )


def describe_hot(count: int) -> list[str]:
    """What a person should know of so many hot pixels."""
    if count == 0:
        return []
    pixels, are, do = ("pixel reads", "it is", "does") if count == 1 else ("pixels read", "they are", "do")
    return [
        f"{count} {pixels} more than twice what the mask and the pixels around allow: {are} probably hot, and {do} "
        "not count"
    ]


def doubts_of(raw: Measurement, scaled: Measurement, camera: CassiCamera, references: References) -> Iterator[str]:
    """What is odd, in lines without a full stop.

    Args:
        raw, scaled: the measurement as it was read, and on the scale of y = A x.
        camera: with the pixels that count.
        references: what brought it there.
    """
    dark, scale = references.dark, references.scale
    counts = camera.counted_pixels.cpu().numpy()
    frame = raw.frame[counts]
    negative = float((frame < 0).mean())
    if dark is None and scale is None and not negative:
        return
    light = camera.open_light.cpu().numpy()
    level, words = ("the dark", "the dark is") if dark is not None else ("0", "the dark that was subtracted was")
    if (dark is not None or negative) and (
        found := dark_excess(frame, dark[counts] if isinstance(dark, np.ndarray) else dark or 0.0, light[counts])
    ):
        excess, share = found
        yield (
            f"{share:.0%} of the pixels lie below {level}, by more than noise explains, and count as 0: {words} "
            f"about {excess:.3g} counts too high; is it that of this exposure time?"
        )
    elif dark is None and negative:
        few = "less than 0.1%" if negative < 0.001 else f"{negative:.1%}"
        yield f"{few} of the pixels lie below 0, as noise does where a dark was subtracted, and count as 0"
    if scale is None:
        return
    brightest = float(light.max())
    high = float(np.quantile(scaled.frame[counts], 1 - OUTLIERS))
    if high > ABOVE_WHITE * brightest:
        yield (
            f"the measurement goes up to {high:.3g}, where a white scene gives {brightest:.3g}: are the white "
            "reference, the bit depth or the exposure those of another recording?"
        )
    fractions = frame.dtype.kind == "f" and bool((frame != np.round(frame)).any())
    if fractions and frame.max() <= camera.bands < scale / 2:
        yield (
            f"the frame holds fractions up to {frame.max():.3g} and was divided by {scale:.4g}: it was probably on "
            "the scale of y = A x already, and then needs no white reference and no bit depth"
        )
