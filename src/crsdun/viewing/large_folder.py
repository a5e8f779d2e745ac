"""Pictures of a scene larger than memory, at a reduced size, from the store in which its rows lie."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from crsdun.runtime import LargeRun
from crsdun.scenes import UNLABELLED, Scene
from crsdun.scenes.scene_rows import CLASSES, CUBE
from crsdun.viewing.averages import Averages
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.figures import Panel, band_sheet, class_map, comparison, save_png, spectra
from crsdun.viewing.pixel_selection import select_pixels

# The cube of which pictures are drawn has at most so many voxels.
MOST_VOXELS = 1 << 22


def write_pictures(run: LargeRun, folder: Path) -> int:
    """Draw what ``write_results`` draws of a scene in memory, and add to the record what it shows.

    ``picture.png``, ``bands.png``, ``spectra.png``, ``overview.png``, and where the method segments ``classes.png``
    and ``doubt.png``. Values are means of squares of pixels, and so are the percentiles that decide on their
    brightness; a class is that of the middle of its square.

    Returns:
        The side of the squares in pixels; 1 where nothing is reduced.
    """
    factor = max(1, math.ceil(math.sqrt(math.prod(run.size) / MOST_VOXELS)))
    scene, maps = _reduced(run, factor)
    if scene.classes is not None:
        class_map(scene.classes, scene.class_names, folder / "classes.png", "unknown")
        calibrated = "doubt" in maps
        panels = [Panel("Confidence" if calibrated else "Largest softmax", maps["confidence"])]
        if calibrated:
            panels.append(Panel("Doubt", maps["doubt"], f"{run.metrics['unknown']:.1%} unknown"))
        comparison(panels, folder / "doubt.png")
    image, description = picture(scene)
    save_png(image, folder / "picture.png")
    band_sheet(scene.cube, scene.wavelengths, folder / "bands.png")
    points = select_pixels(scene.cube)
    spectra({run.method.name: scene.cube}, scene.wavelengths, points, folder / "spectra.png", image)
    panels = [
        Panel("Measurement", measurement_picture(_reduced_frame(run, factor))),
        Panel(run.method.name, image, f"residual {run.metrics['data_residual']:.2%}"),
    ]
    comparison(panels, folder / "overview.png")
    places = [[int(part) * factor for part in point] for point in points]
    run.note(picture=description, pictures_average=factor, spectra_at_row_column=places)
    return factor


def _reduced(run: LargeRun, factor: int) -> tuple[Scene, dict[str, np.ndarray]]:
    """The scene and its maps of values as means of squares, and its classes in the middle of these."""
    store, (bands, height, width) = run.store, run.size
    cube = Averages((bands, height, width), factor, "float32")
    values = {name: Averages((height, width), factor, "float32") for name in store.maps if name != CLASSES}
    classes: list[np.ndarray] = []
    for top, bottom in run.frame.blocks(store.chunk_rows):
        cube.add(top, store.read(CUBE, top, bottom))
        for name, averages in values.items():
            averages.add(top, store.read(name, top, bottom))
        if CLASSES in store.maps:
            middle = [row - top for row in range(top, bottom) if row == _middle(row, factor, height)]
            seen = store.read(CLASSES, top, bottom)
            if "doubt" in store.maps:
                unknown = store.read("doubt", top, bottom) > run.metrics["coverage"]
                seen = np.where(unknown, UNLABELLED, seen)
            columns = [min(left + factor // 2, width - 1) for left in range(0, width, factor)]
            classes.append(seen[middle][:, columns])
    scene = Scene(
        cube.mean, store.wavelengths, np.concatenate(classes).astype(np.int64) if classes else None,
        store.class_names, store.name,
    )  # fmt: skip
    return scene, {name: averages.mean for name, averages in values.items()}


def _middle(row: int, factor: int, height: int) -> int:
    """The row in the middle of the square that a row belongs to."""
    return min(row // factor * factor + factor // 2, height - 1)


def _reduced_frame(run: LargeRun, factor: int) -> np.ndarray:
    frame = run.frame
    averages = Averages((frame.height, frame.exposures.frames.shape[2]), factor, "float32")
    for top, bottom in frame.blocks():
        averages.add(top, frame.prepared(top, bottom).measurement.frame)
    return averages.mean
