"""Writes what tests/scenes/patchwork compares scenes with, for a new version of the data sets only."""

import numpy as np

from tests.scenes.patchwork.test_patchwork import FROZEN, SETS, thumbnail

scenes = [("train", index) for index in range(8)] + [("validation", 0), ("test", 0)]
np.savez_compressed(
    FROZEN,
    **{f"{kind.title} {split} {index}": thumbnail(kind(split), index) for kind in SETS for split, index in scenes},
)
