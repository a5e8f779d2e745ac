"""What is odd about the numbers of a measurement: each doubt in one line, for whoever took it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, dark_excess
from crsdun.scenes import Measurement

# In the provenance of what crsdun brought to the scale of y = A x.
NORMALISED, SIMULATED = "normalised", "simulated_from"
# What the brightest pixels, but for this part of all, may be relative to those of a white scene.
OUTLIERS, ABOVE_WHITE = 1e-3, 1.5


def check_is_raw(measurement: Measurement, references: dict[str, Any]) -> None:
    """Raise an InputError if a frame would be brought to the scale of y = A x a second time.

    Args:
        references: what it would be divided by: ``white``, ``bits`` or ``exposure``; None where not given.
    """
    given = [name for name, value in references.items() if value is not None]
    done = next((name for name in (NORMALISED, SIMULATED) if name in measurement.provenance), None)
    if given and done is not None and measurement.frame.dtype.kind == "f":
        how = "crsdun simulated it" if done == SIMULATED else "its counts were divided before"
        raise InputError(
            f"the measurement is on the scale of y = A x already: {how}",
            f"omit {' and '.join(f'<{name}>' for name in given)}",
        )


def doubts_of(
    raw: Measurement, scaled: Measurement, camera: CassiCamera, references: dict[str, Any], is_scaled: bool
) -> Iterator[str]:
    """What is odd, in lines without a full stop.

    Args:
        raw, scaled: the measurement as it was read, and on the scale of y = A x.
        camera: with the pixels that count.
        references: ``dark`` and ``white``, frames or levels, or None; and ``bits``.
        is_scaled: whether anything divided the counts.
    """
    light = camera.open_light
    counts = (camera.counted(torch.ones_like(light)) > 0).cpu().numpy()
    light = light.cpu().numpy()
    dark, white = (_at(references[name], counts) for name in ("dark", "white"))
    frame = raw.frame[counts]
    if dark is not None and (found := dark_excess(frame, dark, light[counts])):
        excess, share = found
        yield (
            f"{share:.0%} of the pixels lie below the dark, by more than noise explains, and count as 0: the dark is "
            f"about {excess:.3g} counts too high; is it that of this exposure time?"
        )
    if not is_scaled:
        return
    brightest = float(light.max())
    high = float(np.quantile(scaled.frame[counts], 1 - OUTLIERS))
    if high > ABOVE_WHITE * brightest:
        yield (
            f"the measurement goes up to {high:.3g}, where a white scene gives {brightest:.3g}: are the white "
            "reference, the bit depth or the exposure those of another recording?"
        )
    if white is None:
        full = float(2 ** references["bits"] - 1)
    else:
        full = float(np.median(white))
    fractions = frame.dtype.kind == "f" and bool((frame != np.round(frame)).any())
    if fractions and frame.max() <= camera.bands < full / 2:
        yield (
            f"the frame holds fractions up to {frame.max():.3g} and was divided by {full:.4g}: it was probably on "
            "the scale of y = A x already, and then needs no white reference and no bit depth"
        )


def _at(reference: Any, counts: np.ndarray) -> Any:
    """A frame at these pixels; a level, or None, as it is."""
    return reference[counts] if np.ndim(reference) else reference
