"""Scenes that can be opened without any file of one's own."""

from __future__ import annotations

from functools import lru_cache

from crsdun.errors import InputError
from crsdun.scenes import Scene, open_set

# Scenes of Produce-23's test split: name → title on the page.
SAMPLES = {f"produce-{index}": f"Produce-23, test scene {index}" for index in (0, 7, 19, 33)}


@lru_cache(maxsize=len(SAMPLES))
def read_sample(name: str) -> Scene:
    """A sample by name; all of them are labelled.

    Raises:
        InputError: there is no such sample.
    """
    if name not in SAMPLES:
        raise InputError(f"there is no sample {name!r}", f"there are {', '.join(SAMPLES)}")
    return open_set("produce", "test")[int(name.removeprefix("produce-"))]
