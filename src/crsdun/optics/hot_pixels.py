"""Detector pixels that read more than light can give them.

Legend: Hm, Wm detector · y frame (Hm,Wm) · L what a white scene gives each pixel, ``CassiCamera.open_light``.

The light of a point of the scene falls on as many pixels as there are bands, and optics blur it, so near a bright
pixel there are other bright ones, in proportion to what the mask lets through. A pixel that stands alone is hot.
Where the mask is nearly closed, y / L of a single one is hundreds of times the brightness of the scene.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crsdun.optics.camera import CassiCamera

# Of fewer bands, the light of a point may well stand alone.
FEWEST_BANDS = 4
# What surrounds a pixel: so many rows above and below, and columns to either side, or where bands lie further apart
# the places of two of them, up to FARTHEST.
HOT_ROWS, HOT_COLUMNS, FARTHEST = 2, 4, 16
# A hot pixel has more than this many times what the second brightest of these have, as they are and relative to L;
# where it has less than the mean of the frame, which may be noise, twice as many times.
TIMES = 2.0
# And more than this part of that mean.
LEAST = 0.1
# Less light than this part of the most around a pixel says little of how bright the scene is there, and so many
# pixels must say something.
LIT, FEWEST_LIT = 0.1, 4
# Where more than FEW pixels stand alone, and hold more than this part of the light, that is what the scene is like.
FEW, MOST_LIGHT = 2, 0.05
# Pixels that are looked at together: each takes a few kilobytes.
AT_ONCE = 256


def hot_pixels(frame: np.ndarray, camera: CassiCamera, mean: float | None = None) -> np.ndarray:
    """Where a frame reads far more than around there, and more than the mask lets through, bool (Hm,Wm).

    Two that lie side by side are found, larger clusters are not. Whether these pixels are hot, or the scene has
    bright points, is for ``are_points`` to say.

    Args:
        frame: y, (Hm,Wm), in any units, dark level subtracted.
        camera: that took it.
        mean: of y, where these are some rows of a frame.
    """
    y, light = np.asarray(frame, np.float32), camera.open_light.cpu().numpy().astype(np.float32)
    found = np.zeros(y.shape, bool)
    if camera.bands < FEWEST_BANDS:
        return found
    reach, mean = _reach(camera), float(y.mean()) if mean is None else mean
    rows, columns = np.nonzero(_may_be_hot(y, LEAST * mean, reach))
    for first in range(0, len(rows), AT_ONCE):
        at = rows[first : first + AT_ONCE], columns[first : first + AT_ONCE]
        near, light_near = _around(y, *at, reach), _around(light, *at, reach)
        says = (light_near > 0) & (light_near >= LIT * light_near.max(1, keepdims=True))
        relative = np.divide(near, light_near, out=np.zeros_like(near), where=says)
        brightest, possible = (np.partition(each, -2)[:, -2] for each in (near, relative))
        is_bright = y[at] > mean
        times = np.where(is_bright, TIMES, 2 * TIMES)
        alone = y[at] > times * np.maximum(brightest, light[at] * possible)
        found[at] = alone & (says.sum(1) >= FEWEST_LIT) & (is_bright | (brightest > 0))
    return found


def are_points(count: int, held: float, light: float) -> bool:
    """Whether so many pixels that stand alone, which hold ``held`` of the ``light`` of a frame, are its scene."""
    return count > FEW and held > MOST_LIGHT * light


def _reach(camera: CassiCamera) -> tuple[int, int]:
    """How many rows above and below, and columns to either side, are compared with a pixel of a camera."""
    moves = np.abs(np.diff(np.array(camera.down_and_right), axis=0)).max(0, initial=0)
    rows, columns = (min(math.ceil(2 * move), FARTHEST) for move in moves)
    return max(HOT_ROWS, rows), max(HOT_COLUMNS, columns)


def _may_be_hot(y: np.ndarray, least: float, reach: tuple[int, int]) -> np.ndarray:
    """A quick choice that holds all hot pixels: on one side at least, nothing is brighter than a TIMES-th of them."""
    from scipy.ndimage import maximum_filter1d

    rows, columns = reach
    tallest = np.pad(maximum_filter1d(y, 2 * rows + 1, axis=0), ((0, 0), (columns, columns)))
    brightest = np.lib.stride_tricks.sliding_window_view(tallest, columns, axis=1).max(-1)
    left, right = brightest[:, : y.shape[1]], brightest[:, columns + 1 :]
    return (y > least) & (y > TIMES * np.minimum(left, right))


def _around(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    """The pixels around each of N, (N,n); 0 beside the picture."""
    down, right = reach
    padded = np.pad(picture, ((down, down), (right, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * down + 1, 2 * right + 1))
    near = windows[rows, columns].reshape(len(rows), -1)
    return np.delete(near, near.shape[1] // 2, 1)
