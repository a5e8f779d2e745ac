"""Detector pixels that read more than light can give them.

Legend: Hm, Wm detector · y frame (Hm,Wm) · L what a white scene gives each pixel, ``CassiCamera.open_light``.

The light of a point of the scene falls on as many pixels as there are bands, and optics blur it, so next to a bright
pixel there are other bright ones, in proportion to what the mask lets through. A pixel that stands alone is hot.
Where the mask is nearly closed, y / L of a single one is hundreds of times the brightness of the scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crsdun.optics.camera import CassiCamera

# What surrounds a pixel: so many rows above and below, and columns to either side.
HOT_ROWS, HOT_COLUMNS = 2, 4
# A hot pixel has more than this many times what the second brightest of these have, as they are and relative to L.
TIMES = 2.0
# And more than this part of the mean of its rows: less may be noise.
LEAST = 0.1
# Less light than this part of the most around a pixel says little of how bright the scene is there.
LIT = 0.1
# Pixels that are looked at together: each takes a few kilobytes.
AT_ONCE = 256


def hot_pixels(frame: np.ndarray, camera: CassiCamera) -> np.ndarray:
    """Where a frame reads far more than around there, and more than the mask lets through, bool (Hm,Wm).

    Two that lie side by side are found, larger clusters are not. In frames of Produce-23 and Indian Pines without
    hot pixels at most 1 of 200 000 is found at 10 photons, and none with more light or behind a wrong mask.

    Args:
        frame: y, (Hm,Wm), in any units, dark level subtracted.
        camera: that took it.
    """
    y, light = np.asarray(frame, np.float32), camera.open_light.cpu().numpy().astype(np.float32)
    found = np.zeros(y.shape, bool)
    rows, columns = np.nonzero(_may_be_hot(y))
    for first in range(0, len(rows), AT_ONCE):
        at = rows[first : first + AT_ONCE], columns[first : first + AT_ONCE]
        near, light_near = _around(y, *at), _around(light, *at)
        says = (light_near > 0) & (light_near >= LIT * light_near.max(1, keepdims=True))
        relative = np.divide(near, light_near, out=np.zeros_like(near), where=says)
        brightest, possible = (np.partition(each, -2)[:, -2] for each in (near, relative))
        found[at] = y[at] > TIMES * np.maximum(brightest, light[at] * possible)
    return found


def _may_be_hot(y: np.ndarray) -> np.ndarray:
    """A quick choice that holds all hot pixels: on one side at least, nothing is brighter than a TIMES-th of them."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    height, width = 2 * HOT_ROWS + 1, y.shape[1]
    tallest = np.pad(maximum_filter1d(y, height, axis=0), ((0, 0), (HOT_COLUMNS, HOT_COLUMNS)))
    brightest = np.lib.stride_tricks.sliding_window_view(tallest, HOT_COLUMNS, axis=1).max(-1)
    left, right = brightest[:, :width], brightest[:, HOT_COLUMNS + 1 :]
    floor = LEAST * uniform_filter1d(y.mean(1, keepdims=True), height, axis=0, mode="nearest")
    return (y > floor) & (y > TIMES * np.minimum(left, right))


def _around(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pixels around each of N, (N,n); 0 beside the picture."""
    padded = np.pad(picture, ((HOT_ROWS, HOT_ROWS), (HOT_COLUMNS, HOT_COLUMNS)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * HOT_ROWS + 1, 2 * HOT_COLUMNS + 1))
    near = windows[rows, columns].reshape(len(rows), -1)
    return np.delete(near, near.shape[1] // 2, 1)
