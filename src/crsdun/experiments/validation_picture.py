"""The picture of a validation."""

from __future__ import annotations

import numpy as np

from crsdun.scenes import Scene
from crsdun.viewing import class_picture, picture


def validation_picture(truth: Scene, estimate: Scene) -> np.ndarray:
    """Truth above estimate: the scene on the left, its classes on the right if both have some, (2H,2W,3) uint8."""
    columns = [[picture(scene, like=truth)[0] for scene in (truth, estimate)]]
    if truth.classes is not None and estimate.classes is not None:
        columns.append([class_picture(truth.classes), class_picture(estimate.classes)])
    return np.hstack([np.vstack(column) for column in columns])
