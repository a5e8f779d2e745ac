"""Pictures of an evaluation: which classes are taken for which, and scenes from the worst to the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from crsdun.errors import InputError
from crsdun.evaluation.metrics import authenticity_pairs
from crsdun.scenes import Scene
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.figures import DPI, LOOK, _fit_box, _resize, _Sheet, _shorten, _style_ticks, _text_width
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours, class_picture

CELL = 34  # px of one entry of the confusion matrix
SCENE = 384, 256  # px that a scene is wide and high at most on the contact sheet


class ContactSheetRow(NamedTuple):
    """One scene of a contact sheet.

    Attributes:
        title: which one it is, such as ``worst: scene 7``.
        figures: how good its estimate is, in a few words.
        truth: the scene.
        frame: its measurement, (H,Wm).
        estimate: the scene that came out, with classes where the method segments.
    """

    title: str
    figures: str
    truth: Scene
    frame: np.ndarray
    estimate: Scene


def confusion_picture(confusion: Sequence[Sequence[int]], class_names: Sequence[str], path: str | Path) -> None:
    """A confusion matrix: of the pixels of each true class (row), the percentage taken for each class (column).

    Classes that do not occur in the truth stay empty. Pairs of real and fake that stand side by side are framed:
    what lies inside the frame is of the right kind.

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

    margin, names = LOOK["margin"], int(max(_text_width(name, LOOK["small"]) for name in class_names)) + 34
    side, counts = N * CELL, 110
    left, top = margin + 24 + names, margin + 62 + names
    pairs = [pair for pair in authenticity_pairs(class_names) if pair[1] == pair[0] + 1]
    note = "% of the true pixels of each row" + ("; framed: the right kind, real or fake" if pairs else "")
    across = left + max(side + counts, int(_text_width(note, LOOK["small"]))) + margin
    sheet = _Sheet(across, top + side + margin)
    sheet.write(left, margin + 8, "taken for …", LOOK["text"], weight="bold")
    sheet.write(left, margin + 32, note, LOOK["small"], LOOK["faint"])
    sheet.write(margin, top - 16, "truth", LOOK["text"], weight="bold")
    sheet.write(left + side + counts - 10, top - 16, "pixels", LOOK["small"], LOOK["faint"], align="right")

    axes = sheet.axes(left, top, side, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(range(N), class_names, rotation=90)
    axes.set_yticks(range(N), class_names)
    _style_ticks(axes)
    axes.tick_params(length=0, pad=24, labelcolor=LOOK["ink"])
    for spine in axes.spines.values():
        spine.set_color(LOOK["line"])
    axes.set_xticks(np.arange(N + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(N + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LOOK["line"], linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for true, estimated in zip(*np.nonzero(shares >= 0.5), strict=True):
        share = shares[true, estimated]
        colour = LOOK["paper"] if share > 55 else LOOK["ink"]
        font = {"fontsize": LOOK["small"] * 72 / DPI, "family": LOOK["font"], "color": colour}
        axes.text(estimated, true, f"{share:.0f}", ha="center", va="center_baseline", **font)
    for real, _ in pairs:
        axes.add_patch(
            Rectangle((real - 0.5, real - 0.5), 2, 2, fill=False, edgecolor=LOOK["ink"], linewidth=1.4, zorder=3)
        )

    for place, colour in enumerate(class_colours(N) / 255):
        middle = (place + 0.5) * CELL - 7
        sheet.swatch(left - 22, top + middle, 14, tuple(colour))
        sheet.swatch(left + middle, top - 22, 14, tuple(colour))
        count = f"{int(pixels[place]):,}" if pixels[place] else "none"
        sheet.write(left + side + counts - 10, top + middle + 7, count, LOOK["small"], LOOK["faint"], align="right")
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
    errors = [np.sqrt(np.square(row.estimate.cube - row.truth.cube).mean(0)) for row in rows]
    limits = (0.0, max(float(np.percentile(error, 99.8)) for error in errors))
    with_classes = all(scene.classes is not None for row in rows for scene in (row.truth, row.estimate))

    titles = ["truth", "measurement", "estimate", "error, RMSE over bands"]
    titles += ["true classes", "estimated classes"] if with_classes else []
    pictures = [_pictures(row, error, with_classes) for row, error in zip(rows, errors, strict=True)]
    heights = [_fit_box(row.truth.cube.shape[2], row.truth.cube.shape[1], *SCENE)[1] for row in rows]
    sizes = [
        [round(image.shape[1] * height / image.shape[0]) for image in images]
        for images, height in zip(pictures, heights, strict=True)
    ]
    columns = [max(column) for column in zip(*sizes, strict=True)]
    margin, gap, header, bar = LOOK["margin"], LOOK["gap"], 44, 64
    lefts = [margin + sum(columns[:place]) + place * gap + (bar if place > 3 else 0) for place in range(len(columns))]
    across = lefts[-1] + columns[-1] + (0 if with_classes else bar) + margin
    legend = _legend(rows, across - 2 * margin) if with_classes else []
    below = margin + 20 + len(rows) * header + sum(heights)
    sheet = _Sheet(across, below + 2 * margin + 28 * len(legend))

    for title, left, width in zip(titles, lefts, columns, strict=True):
        sheet.write(left, margin + 10, _shorten(title, LOOK["text"], width), LOOK["text"], weight="bold")
    top = margin + 20
    for row, images, widths, height in zip(rows, pictures, sizes, heights, strict=True):
        sheet.write(margin, top + header - 14, row.title, LOOK["text"])
        indent = max(_text_width(row.title, LOOK["text"]) + 24, lefts[1] - margin)
        sheet.write(margin + indent, top + header - 14, row.figures, LOOK["text"], LOOK["faint"])
        for image, left, width in zip(images, lefts, widths, strict=True):
            if image.dtype == np.uint8:
                sheet.show(_resize(image, width, height), left, top + header, width, height)
            else:
                sheet.show_map(image, limits, left, top + header, width, height)
        top += header + height
    for line, entries in enumerate(legend):
        for left, name, colour in entries:
            middle = below + margin + 28 * line + 8
            sheet.swatch(margin + left, middle - 8, 16, colour)
            sheet.write(margin + left + 24, middle, name, LOOK["text"])
    sheet.save(path)


def _pictures(row: ContactSheetRow, error: np.ndarray, with_classes: bool) -> list[np.ndarray]:
    images = [
        picture(row.truth)[0],
        measurement_picture(row.frame),
        picture(row.estimate, like=row.truth)[0],
        error,
    ]
    if with_classes:
        images += [class_picture(scene.classes) for scene in (row.truth, row.estimate) if scene.classes is not None]
    return images


def _legend(rows: Sequence[ContactSheetRow], width: float) -> list[list[tuple[float, str, tuple]]]:
    """Lines of (left, name, colour) for the classes that occur."""
    maps = [scene.classes for row in rows for scene in (row.truth, row.estimate) if scene.classes is not None]
    present = np.unique(np.concatenate([classes.ravel() for classes in maps]))
    names = rows[0].truth.class_names
    lines: list[list[tuple[float, str, tuple]]] = [[]]
    left = 0.0
    for label in present:
        if label < 0:
            name, colour = "unlabelled", np.array(UNLABELLED_COLOUR)
        else:
            name, colour = names[label] if names else f"class {label}", class_colours(label + 1)[label]
        room = 24 + _text_width(name, LOOK["text"]) + 28
        if left + room > width and lines[-1]:
            lines.append([])
            left = 0.0
        lines[-1].append((left, name, tuple(colour / 255)))
        left += room
    return lines
