"""One scene as several systems see it: cube, error and classes of each, the truth first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes import Scene
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map, upper_limit
from crsdun.viewing.palette import class_picture, classes_present
from crsdun.viewing.sheet import STYLE, Legend, Sheet, fit_box, is_map, shorten

COLUMNS = 7
CELL = 210, 280  # px that a picture is wide and high at most
HEADER = 38  # px for the name of a system and its figures
SEAM = 4  # px between the pictures of a system
ROOM = 1.5  # by which the largest errors of a system may exceed those of most before they lose their colour
BAR_ROOM = 80  # px right of the last column for the scale of the errors


class SystemCell(NamedTuple):
    """What a system makes of the scene.

    Attributes:
        name: of the system.
        figures: how good its estimate is, in a few words.
        estimate: the estimated scene, with classes where the system segments.
    """

    name: str
    figures: str
    estimate: Scene


def system_sheet(truth: Scene, frame: np.ndarray, cells: Sequence[SystemCell], path: str | Path) -> None:
    """Draw the scene and its estimates: in colour, the error (RMSE over bands), and the classes.

    All have the exposure of the truth and one scale of errors, that of most systems. The measurement takes the place
    of the truth's error.

    Args:
        truth: the scene.
        frame: its measurement, (H,Wm).
        cells: one for each system, of the same bands and classes.
        path: where the figure goes.

    Raises:
        InputError: there are no systems.
    """
    if not cells:
        raise InputError("a sheet of systems needs at least one")
    names = truth.class_names
    columns = [("truth", "measurement below", _stack(truth, truth, measurement_picture(frame)))]
    for cell in cells:
        error = error_map(cell.estimate.cube, truth.cube)
        columns.append((cell.name, cell.figures, _stack(cell.estimate, truth, error)))
    largest = [upper_limit(image) for _, _, images in columns for image in images if is_map(image)]
    limits = 0.0, ROOM * median(largest)  # one system that fails shall not make all others look alike

    width, height = fit_box(truth.cube.shape[2], truth.cube.shape[1], *CELL)
    deep = max(len(images) for _, _, images in columns)
    pitch = HEADER + deep * (height + SEAM) + STYLE.gap
    across = min(COLUMNS, len(columns))
    maps = [scene.classes for scene in (truth, *(cell.estimate for cell in cells)) if scene.classes is not None]
    entries = classes_present(maps, names) if maps else []
    full = 2 * STYLE.margin + across * (width + STYLE.gap) - STYLE.gap + BAR_ROOM
    legend = Legend(entries, full - 2 * STYLE.margin, STYLE.small)
    below = STYLE.margin + -(-len(columns) // COLUMNS) * pitch
    sheet = Sheet(full, below + legend.height + STYLE.margin)
    for place, (name, figures, images) in enumerate(columns):
        row, column = divmod(place, COLUMNS)
        left, top = STYLE.margin + column * (width + STYLE.gap), STYLE.margin + row * pitch
        sheet.write(left, top + 8, shorten(name, STYLE.small, width), STYLE.small, weight="bold")
        sheet.write(left, top + 26, figures, STYLE.small, STYLE.faint)
        top += HEADER
        for image in images:
            # The measurement is wider than the scene.
            w, h = fit_box(image.shape[1], image.shape[0], width, height)
            sheet.show(image, left, top, w, h, limits=limits, bar=False)
            top += height + SEAM
    error_top = STYLE.margin + HEADER + height + SEAM
    sheet.colour_bar(full - STYLE.margin - BAR_ROOM + STYLE.gap, error_top, height, limits, "error")
    legend.draw(sheet, STYLE.margin, below)
    sheet.save(path)


def _stack(scene: Scene, truth: Scene, middle: np.ndarray) -> list[np.ndarray]:
    """The pictures of a column, from top to bottom."""
    classes = [] if scene.classes is None else [class_picture(scene.classes)]
    return [picture(scene, like=truth)[0], middle, *classes]
