"""The picture of a calibration: masks, dispersion, what is left unexplained, pixels that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from crsdun.optics import Calibration
from crsdun.viewing.display import error_size, upper_limit
from crsdun.viewing.sheet import STYLE, Sheet, fit_box, font, shorten, style_ticks, text_width

PICTURE = 300  # px of a mask at most
BAR_ROOM = 76  # px right of a map for its colour bar and the numbers at its ticks
PLOT, AXIS = 190, 56  # px: height of a plot, and the room for the numbers along its axes
BAD = (213, 94, 0)
NARROWEST = 800  # px that the plots have at least
TITLES = ("shift (px)", "deviation (px)", "light (counts)", "unexplained (%)")  # of the plots
LINE = 18  # px from one line of a warning to the next
WARNING = "#b04a00"


def calibration_sheet(calibration: Calibration, path: str | Path) -> None:
    """What a calibration found, and how well it explains the frames, on one sheet.

    Above the masks of the first, the middle and the last band, and the error at each detector pixel with bad ones
    marked; below, over the bands: displacement, its distance from the curve, light, and light left unexplained. Other
    displacements that explain the frames as well are dashed, and what should not be overlooked stands at the end.

    Args:
        path: where the figure goes.
    """
    stored, bands = calibration.file, len(calibration.frames)
    masks = stored.mask if stored.mask.ndim == 3 else stored.mask[None]
    shown = sorted({0, len(masks) // 2, len(masks) - 1})
    names = stored.measured["frames"]
    width, height = fit_box(masks.shape[2], masks.shape[1], PICTURE, PICTURE)
    error = misfit(calibration)
    error_width, error_height = fit_box(error.shape[1], error.shape[0], PICTURE, PICTURE)
    margin, gap, header = STYLE.margin, STYLE.gap, STYLE.title + 14
    plots = bands > 1
    room = len(shown) * (width + gap) + error_width + BAR_ROOM
    across = max(room, NARROWEST) if plots else room
    top = margin + header
    below = top + max(height, error_height) + 2 * gap
    said = _lines_of(calibration.warnings, across)
    end = below + (header + PLOT + AXIS if plots else 0)
    sheet = Sheet(2 * margin + across, end + LINE * len(said) + margin)
    for number, line in enumerate(said):
        sheet.write(margin, end + LINE * (number + 0.5), line, STYLE.text, WARNING)
    left = margin
    for band in shown:
        title = "mask" if len(masks) == 1 else f"mask, {names[band]}"
        sheet.write(left, margin + 8, shorten(title, STYLE.title, width), STYLE.title, weight="bold")
        sheet.show(np.rint(255 * np.clip(masks[band], 0, 1)).astype(np.uint8), left, top, width, height)
        left += width + gap
    sheet.write(left, margin + 8, "unexplained light", STYLE.title, weight="bold")
    axes = sheet.show(error, left, top, error_width, error_height, limits=(0, max(upper_limit(error), 1e-6)))
    if stored.valid is not None:
        rows, columns = np.nonzero(~stored.valid)
        axes.plot(columns + 0.5, rows + 0.5, ".", markersize=3, color=np.array(BAD) / 255)
    if plots:
        _plots(sheet, calibration, below, across)
    sheet.save(path)


def _lines_of(warnings: Sequence[str], width: float) -> list[str]:
    """Warnings in lines that are not wider than this."""
    lines: list[str] = []
    for warning in warnings:
        line = ""
        for word in warning.split():
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, STYLE.text) > width:
                lines.append(line)
                longer = f"    {word}"
            line = longer
        lines.append(line)
    return lines


def misfit(calibration: Calibration) -> np.ndarray:
    """How far frames and camera are apart at each detector pixel: root mean square over bands, of an open element."""
    error, valid = error_size(calibration.frames - calibration.explained), calibration.file.valid
    return error if valid is None else np.where(valid, error, np.nan)


def off_the_curve(calibration: Calibration) -> np.ndarray:
    """How far each frame lies from where the camera file says, in pixels, (C,)."""
    if calibration.curve is not None:
        return calibration.curve.residuals
    offsets, moves = np.array(calibration.file.offsets), calibration.moves
    return np.zeros(len(offsets)) if moves is None else np.hypot(*(offsets - offsets[0] - moves).T)


def _plots(sheet: Sheet, calibration: Calibration, top: float, across: float) -> None:
    """Four plots side by side."""
    stored, margin, header = calibration.file, STYLE.margin, STYLE.title + 14
    known = stored.wavelengths is not None
    axis = np.array(stored.wavelengths if known else range(1, len(stored.offsets) + 1), dtype=float)
    width = (across - len(TITLES) * AXIS) / len(TITLES)
    for place, title in enumerate(TITLES):
        left = margin + AXIS + place * (width + AXIS)
        sheet.write(left, top + 8, shorten(title, STYLE.text, width), STYLE.text, weight="bold")
        axes = sheet.axes(left, top + header, width, PLOT)
        if title.startswith("shift"):
            _draw_displacement(axes, axis, calibration)
        elif title.startswith("deviation"):
            _draw_points(axes, axis, off_the_curve(calibration))
        elif title.startswith("light"):
            _draw_points(axes, axis, calibration.levels)
        else:
            _draw_points(axes, axis, 100 * calibration.residuals)
        style_ticks(axes)
        axes.set_xlabel("wavelength (nm)" if known else "band", **font(STYLE.small, STYLE.faint))
        axes.spines[["top", "right"]].set_visible(False)


def _draw_points(axes: Axes, axis: np.ndarray, values: np.ndarray) -> None:
    axes.plot(axis, values, "o-", color=STYLE.estimates[1], markersize=4, linewidth=1)
    axes.set_ylim(0, 1.1 * float(np.max(values)) or 1)


def _draw_displacement(axes: Axes, axis: np.ndarray, calibration: Calibration) -> None:
    """Measured points, and lines where the camera file says that bands lie."""
    offsets = np.array(calibration.file.offsets)
    named: Sequence[tuple[int, str]] = ((1, "right"), (0, "down"))
    for column, name in named:
        colour = STYLE.estimates[1 - column]
        axes.plot(axis, offsets[:, column], "-", color=colour, linewidth=1.2, label=name)
        if calibration.moves is not None:
            axes.plot(axis, calibration.moves[:, column], "o", color=colour, markersize=4)
    for rival in calibration.rivals.values():
        for column, _ in named:
            axes.plot(axis, rival[:, column], "--", color=STYLE.estimates[1 - column], linewidth=1)
    if calibration.rivals:
        axes.plot([], [], "--", color=STYLE.ink, linewidth=1, label="as well")
    axes.legend(frameon=False, prop={"family": STYLE.font, "size": STYLE.small * 0.72})
