"""Pictures of an evaluation: which classes are taken for which, and scenes from the worst to the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from crsdun.errors import InputError
from crsdun.evaluation.metrics import authenticity_pairs
from crsdun.scenes import Scene
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map, upper_limit
from crsdun.viewing.palette import class_colours, class_picture, classes_present
from crsdun.viewing.sheet import STYLE, Legend, Sheet, fit_box, font, is_map, shorten, style_ticks, text_width

CELL = 34  # px of one entry of the confusion matrix
COUNTS = 110  # px right of the matrix for the pixels of each class
SCENE = 384, 256  # px that a scene is wide and high at most on the contact sheet
BAR_ROOM = 64  # px right of the error for its colour bar and the numbers at its ticks


class ContactSheetRow(NamedTuple):
    """One scene of a contact sheet.

    Attributes:
        title: which one it is, such as ``worst: scene 7``.
        figures: how good its estimate is, in a few words.
        truth: the scene.
        frame: its measurement, (H,Wm).
        estimate: the estimated scene, with classes where the method segments.
    """

    title: str
    figures: str
    truth: Scene
    frame: np.ndarray
    estimate: Scene


def confusion_picture(confusion: Sequence[Sequence[int]], class_names: Sequence[str], path: str | Path) -> None:
    """A confusion matrix: of the pixels of each true class (row), the percentage taken for each class (column).

    Rows of classes that do not occur in the truth stay empty. Pairs of real and fake that stand side by side are
    framed: pixels inside the frame are of the right kind, real or fake.

    Args:
        confusion: (N,N), pixels, true × estimated class.
        class_names: N names.
        path: where the figure goes.

    Raises:
        InputError: the matrix is not N×N.
    """
    matrix, N = np.asarray(confusion, dtype=np.float64), len(class_names)
    if matrix.shape != (N, N) or N == 0:
        raise InputError(f"a confusion matrix of {N} classes has the shape ({N}, {N}), not {matrix.shape}")
    pixels = matrix.sum(1)
    shares = 100 * matrix / np.maximum(pixels, 1)[:, None]

    margin, names = STYLE.margin, int(max(text_width(name, STYLE.small) for name in class_names)) + 34
    side = N * CELL
    left, top = margin + 24 + names, margin + 62 + names
    right = left + side + COUNTS - 10
    pairs = [pair for pair in authenticity_pairs(class_names) if pair[1] == pair[0] + 1]
    note = "% of the true pixels of each row" + ("; framed: the right kind, real or fake" if pairs else "")
    across = left + max(side + COUNTS, int(text_width(note, STYLE.small))) + margin
    sheet = Sheet(across, top + side + margin)
    sheet.write(left, margin + 8, "taken for …", STYLE.text, weight="bold")
    sheet.write(left, margin + 32, note, STYLE.small, STYLE.faint)
    sheet.write(margin, top - 16, "truth", STYLE.text, weight="bold")
    sheet.write(right, top - 16, "pixels", STYLE.small, STYLE.faint, align="right")
    _draw_matrix(sheet.axes(left, top, side, side), shares, class_names, pairs)
    for number, colour in enumerate(class_colours(N)):
        middle = (number + 0.5) * CELL
        sheet.swatch(left - 22, top + middle - 7, 14, colour)
        sheet.swatch(left + middle - 7, top - 22, 14, colour)
        count = f"{int(pixels[number]):,}" if pixels[number] else "none"
        sheet.write(right, top + middle, count, STYLE.small, STYLE.faint, align="right")
    sheet.save(path)


def contact_sheet(rows: Sequence[ContactSheetRow], path: str | Path) -> None:
    """Scenes below each other: truth, measurement, estimate, error and, where known, true and estimated classes.

    Truth and estimate of a scene share one exposure, all errors (RMSE over bands) one scale.

    Args:
        rows: of scenes with the same bands and classes; they may have different sizes.
        path: where the figure goes.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("a contact sheet needs at least one scene")
    scenes = [scene for row in rows for scene in (row.truth, row.estimate)]
    with_classes = all(scene.classes is not None for scene in scenes)
    titles = ["truth", "measurement", "estimate", "error, RMSE over bands"]
    titles += ["true classes", "estimated classes"] if with_classes else []
    images = [_images(row, with_classes) for row in rows]
    limits = 0.0, max(upper_limit(image) for of_row in images for image in of_row if is_map(image))

    heights = [fit_box(row.truth.cube.shape[2], row.truth.cube.shape[1], *SCENE)[1] for row in rows]
    widths = [
        [round(image.shape[1] * height / image.shape[0]) for image in of_row]
        for of_row, height in zip(images, heights, strict=True)
    ]
    columns = [max(column) for column in zip(*widths, strict=True)]
    margin, gap, header = STYLE.margin, STYLE.gap, 44
    lefts = [
        margin + sum(columns[:place]) + place * gap + (BAR_ROOM if place > 3 else 0) for place in range(len(columns))
    ]
    across = lefts[-1] + columns[-1] + (0 if with_classes else BAR_ROOM) + margin
    entries = classes_present([scene.classes for scene in scenes], rows[0].truth.class_names) if with_classes else []
    legend = Legend(entries, across - 2 * margin, STYLE.text)
    below = margin + 20 + len(rows) * header + sum(heights) + margin
    sheet = Sheet(across, below + legend.height + margin)

    for title, left, width in zip(titles, lefts, columns, strict=True):
        sheet.write(left, margin + 10, shorten(title, STYLE.text, width), STYLE.text, weight="bold")
    top = margin + 20
    for row, of_row, widths_of_row, height in zip(rows, images, widths, heights, strict=True):
        sheet.write(margin, top + header - 14, row.title, STYLE.text)
        indent = max(text_width(row.title, STYLE.text) + 24, lefts[1] - margin)
        sheet.write(margin + indent, top + header - 14, row.figures, STYLE.text, STYLE.faint)
        for image, left, width in zip(of_row, lefts, widths_of_row, strict=True):
            sheet.show(image, left, top + header, width, height, limits=limits)
        top += header + height
    legend.draw(sheet, margin, below)
    sheet.save(path)


def _draw_matrix(
    axes: Axes, shares: np.ndarray, class_names: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> None:
    N = len(shares)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(range(N), class_names, rotation=90)
    axes.set_yticks(range(N), class_names)
    style_ticks(axes)
    axes.tick_params(length=0, pad=24, labelcolor=STYLE.ink)
    axes.spines[:].set_color(STYLE.line)
    axes.set_xticks(np.arange(N + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(N + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=STYLE.line, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for true, estimated in zip(*np.nonzero(shares >= 0.5), strict=True):
        share = shares[true, estimated]
        text = font(STYLE.small, STYLE.paper if share > 55 else STYLE.ink)
        axes.text(estimated, true, f"{share:.0f}", ha="center", va="center_baseline", **text)
    for real, _ in pairs:
        corner = real - 0.5, real - 0.5
        axes.add_patch(Rectangle(corner, 2, 2, fill=False, edgecolor=STYLE.ink, linewidth=1.4, zorder=3))


def _images(row: ContactSheetRow, with_classes: bool) -> list[np.ndarray]:
    images = [
        picture(row.truth)[0],
        measurement_picture(row.frame),
        picture(row.estimate, like=row.truth)[0],
        error_map(row.estimate.cube, row.truth.cube),
    ]
    if with_classes:
        images += [class_picture(scene.classes) for scene in (row.truth, row.estimate) if scene.classes is not None]
    return images
