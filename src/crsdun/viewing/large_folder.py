"""Pictures and the report of a scene larger than memory, at a reduced size, from the store in which its rows lie."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from crsdun.methods import Doubt
from crsdun.optics import CassiCamera
from crsdun.runtime import LargeRun, Reconstruction
from crsdun.scenes import Scene
from crsdun.scenes.scene_rows import CLASSES, CUBE
from crsdun.storage import write_text
from crsdun.viewing.averages import Averages
from crsdun.viewing.pages import PAGE
from crsdun.viewing.result_folder import write_pictures
from crsdun.viewing.result_page import Whole, result_page

# The cube of which pictures are drawn has at most so many voxels.
MOST_VOXELS = 1 << 22


def draw_large(run: LargeRun, folder: Path) -> int:
    """Draw what ``write_results`` draws of a scene in memory, and ``report.html``; the record says what they show.

    Values of the cube, the frame and the mask are means of squares of pixels, and so are the percentiles that decide
    on their brightness; a class, and how far it can be believed, is that of the middle of its square.

    Returns:
        The side of the squares in pixels; 1 where nothing is reduced.
    """
    side = max(1, math.ceil(math.sqrt(math.prod(run.size) / MOST_VOXELS)))
    result = reduced(run, side)
    shown = write_pictures(result, folder)
    places = [[part * side for part in point] for point in shown["spectra_at_row_column"]]
    run.note(**{**shown, "spectra_at_row_column": places}, pictures_average=side)
    whole = Whole(run.size[1], run.size[2], side)
    write_text(folder / PAGE, result_page(replace(result, record=run.record), whole))
    return side


def reduced(run: LargeRun, side: int) -> Reconstruction:
    """What was decoded, as a result in memory of one pixel for each square of so many pixels to a side."""
    frame, camera = _reduced_exposure(run, side)
    scene, maps = _reduced_scene(run, side)
    doubt = None
    if run.segments:
        doubt = Doubt(maps["confidence"], maps.get("doubt"), run.pipeline.options.coverage)
    measurement = replace(run.sample.measurement, frame=frame, valid=None)
    return Reconstruction(measurement, camera, scene, None, run.metrics, run.record, doubt=doubt)


def _reduced_scene(run: LargeRun, side: int) -> tuple[Scene, dict[str, np.ndarray]]:
    """The scene, its cube as means of squares and its classes in their middle, as its other maps."""
    store, (bands, height, width) = run.store, run.size
    cube = Averages((bands, height, width), side, "float32")
    columns = [min(left + side // 2, width - 1) for left in range(0, width, side)]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in store.maps}
    for top, bottom in run.frame.blocks(store.chunk_rows):
        cube.add(top, store.read(CUBE, top, bottom))
        middle = [row - top for row in range(top, bottom) if row == _middle(row, side, height)]
        for name, part in parts.items():
            part.append(store.read(name, top, bottom)[middle][:, columns])
    maps = {name: np.concatenate(part) for name, part in parts.items()}
    classes = maps.pop(CLASSES, None)
    scene = Scene(
        cube.mean, store.wavelengths, None if classes is None else classes.astype(np.int64), store.class_names,
        store.name,
    )  # fmt: skip
    return scene, maps


def _middle(row: int, side: int, height: int) -> int:
    """The row in the middle of the square that a row belongs to."""
    return min(row // side * side + side // 2, height - 1)


def _reduced_exposure(run: LargeRun, side: int) -> tuple[np.ndarray, CassiCamera]:
    """The frame and the mask as means of squares, the mask in a camera that is only good for showing."""
    frame = Averages((run.frame.height, run.frame.exposures.frames.shape[2]), side, "float32")
    mask = Averages(run.frame.mask_shape, side, "float32")
    for top, bottom in run.frame.blocks():
        prepared = run.frame.prepared(top, bottom)
        frame.add(top, prepared.measurement.frame)
        mask.add(top, prepared.camera.mask.numpy())
    camera = CassiCamera(mask.mean, wavelengths=run.camera.wavelengths, offsets=run.camera.offsets)
    return frame.mean, camera
