"""Paints docs/images/patchwork.png, and says what the scenes are like and how long they take on one thread.

python benchmarks/patchwork_picture.py
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from crsdun.machine import processor_in_words
from crsdun.scenes import SceneSet
from crsdun.scenes.patchwork import PatchworkSet, WildProduceSet
from crsdun.viewing.colour import cube_to_srgb

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "patchwork.png"
ACROSS, SHOWN = 6, 128  # scenes in a row, pixels of each
CROP = (64, 128)
TIMED, CROPS = 100, 200


def row(scenes: SceneSet, first: int) -> np.ndarray:
    """The middle of some scenes, each as bright as the picture allows."""
    tiles = []
    for index in range(first, first + ACROSS):
        cube = scenes.crop(index, 64, 64, SHOWN, SHOWN).cube
        cube = cube * (0.9 / max(float(np.quantile(cube, 0.98)), 1e-3))
        tiles.append(cube_to_srgb(cube, scenes.wavelengths, normalise=False))
    return np.concatenate(tiles, axis=1)


def milliseconds(scenes: SceneSet, height: int, width: int) -> np.ndarray:
    """Median, and the time that one in ten exceeds, of parts of different scenes."""
    times = []
    for index in range(1000, 1000 + TIMED):
        start = time.thread_time()
        scenes.crop(index, 5 * index % (257 - height), 7 * index % (257 - width), height, width)
        times.append(1000 * (time.thread_time() - start))
    return np.quantile(times, (0.5, 0.9))


def rank(cube: np.ndarray) -> int:
    """How many components hold all but 0.01 % of the energy."""
    flat = cube.reshape(len(cube), -1).astype(np.float64)
    energy = np.cumsum(np.linalg.svd(flat @ flat.T, compute_uv=False))
    return 1 + int((energy < 0.9999 * energy[-1]).sum())


patchwork, wild = PatchworkSet("train"), WildProduceSet("train")
rows = [row(patchwork, first) for first in (6, 108, 312)] + [row(wild, 0)]
picture = Image.fromarray(np.concatenate(rows))
palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE)
picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(PICTURE, optimize=True)
cubes = [patchwork.crop(index, 64, 64, *CROP).cube for index in range(CROPS)]
for what, measure in (
    ("mean", np.mean),
    ("where the brightest hundredth begins", lambda cube: np.quantile(cube, 0.99)),
    ("components", rank),
):
    low, middle, high = np.quantile([measure(cube) for cube in cubes], (0.05, 0.5, 0.95))
    print(f"{CROPS} crops, {what}: {middle:.2g}, in nine of ten {low:.2g} to {high:.2g}")
print(processor_in_words())
for scenes in (patchwork, wild):
    for height, width in (CROP, (256, 256)):
        median, slow = milliseconds(scenes, height, width)
        print(f"{scenes.title}: {height}×{width} pixels, 28 bands: {median:.0f} ms, one in ten over {slow:.0f} ms")
