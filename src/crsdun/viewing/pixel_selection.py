"""Which pixels represent a scene best."""

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from crsdun.errors import InputError
from crsdun.viewing.colour import check_cube

SMOOTHING = 5  # pixels
MAX_CANDIDATES = 20_000
EVEN_SHARE = 0.8  # of the bright pixels; a smaller share would come from the table alone, the most even thing there
PLACE_WEIGHT = 0.02  # of the distance across the whole picture, relative to the distance between unit spectra
MIN_DISTANCE = 0.15  # of the picture's side; nearer points lose in proportion


def select_pixels(cube: np.ndarray, count: int = 4) -> list[tuple[int, int]]:
    """Pixels with spectra as different as possible, the same ones every time.

    Of the smoothed pixels that are bright, lie in even surroundings and keep away from the border and from pixels
    without data, each next point is the one whose spectral shape is farthest from all points before it.

    Args:
        cube: (C,H,W), any scale.
        count: how many points; fewer are returned only where the cube has fewer pixels.

    Returns:
        (row, column) of each point.

    Raises:
        InputError: as ``colour.check_cube``, or the count is below 1.
    """
    check_cube(cube)
    if count < 1:
        raise InputError(f"choose at least one point, not {count}")
    H, W = cube.shape[1:]
    light = np.nan_to_num(np.asarray(cube, dtype=np.float32))
    smooth = uniform_filter(light, size=(0, SMOOTHING, SMOOTHING), mode="nearest")
    rows, columns = _candidates(smooth, ~np.isnan(cube).any(0), count)

    spectra = smooth[:, rows, columns].T  # (P, C)
    length = np.linalg.norm(spectra, axis=1, keepdims=True)
    shape = spectra / np.where(length > 0, length, 1)
    # The place decides between pixels with the same spectrum, so that even a flat scene gets distinct points.
    place = PLACE_WEIGHT * np.stack([rows / H, columns / W], axis=1)
    features = np.concatenate([shape, place], axis=1)

    distance = np.linalg.norm(features - np.median(features, axis=0), axis=1)
    chosen: list[int] = []
    for _ in range(min(count, len(features))):
        chosen.append(int(distance.argmax()))
        from_last = np.linalg.norm(features - features[chosen[-1]], axis=1)
        apart = np.linalg.norm(place - place[chosen[-1]], axis=1) / PLACE_WEIGHT
        from_last *= np.minimum(1, apart / MIN_DISTANCE)
        distance = from_last if len(chosen) == 1 else np.minimum(distance, from_last)
    return [(int(rows[index]), int(columns[index])) for index in chosen]


def _candidates(smooth: np.ndarray, valid: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of bright pixels in even surroundings away from the border; of all if these are too few.

    ``valid`` (H,W) says where a pixel has data in all bands; only if none has, others are taken.
    """
    H, W = smooth.shape[1:]
    brightness = smooth.mean(0)
    window = {"size": 2 * SMOOTHING - 1, "mode": "nearest"}
    unevenness = maximum_filter(brightness, **window) - minimum_filter(brightness, **window)

    inside = np.zeros((H, W), dtype=bool)
    margin_y, margin_x = (max(SMOOTHING, side // 16) for side in (H, W))
    inside[margin_y : H - margin_y, margin_x : W - margin_x] = True
    inside &= minimum_filter(valid, SMOOTHING)
    bright = inside & (brightness > 0.25 * np.percentile(brightness, 98))
    even = bright & (unevenness <= np.quantile(unevenness[bright], EVEN_SHARE)) if bright.any() else bright
    for allowed in (even, bright, inside, valid if valid.any() else np.ones_like(inside)):
        if allowed.sum() >= 4 * count:
            break
    rows, columns = np.nonzero(allowed)
    every = -(-len(rows) // MAX_CANDIDATES)
    return rows[::every], columns[::every]
