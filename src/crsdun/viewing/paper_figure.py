"""The usual figure of a paper: one scene, several methods, some bands enlarged, spectra and class maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from crsdun.errors import InputError
from crsdun.scenes import Scene
from crsdun.viewing.colour import measurement_picture, picture, wavelength_to_rgb
from crsdun.viewing.figures import (
    LOOK,
    TRUTH,
    _badge,
    _draw_spectra,
    _fit_box,
    _rainbow,
    _readable,
    _resize,
    _Sheet,
    _shorten,
    _text_width,
)
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours, class_picture

SHARP = 2  # pixels of the PNG for one of the layout
WIDEST = 1500  # px of the layout
HEADER = 250  # px that scene, measurement and spectra are high
TILE = 420  # px that a band is wide and high at most
SEAM = 4  # px between a band and its boxes
LABEL = 78  # px for what stands left of a row
BOX_COLOURS = ("#f0e442", "#56b4e9", "#e69f00", "#cc79a7")


class Box(NamedTuple):
    """A part of the scene that is drawn enlarged, in pixels."""

    top: int
    left: int
    height: int
    width: int


def choose_boxes(cube: np.ndarray, count: int = 2) -> list[Box]:
    """Squares of a fifth of the scene's side where a cube (C,H,W) has most detail; they do not overlap."""
    H, W = cube.shape[1:]
    side = max(1, min(H, W) // 5)
    light = cube.mean(0)
    steps = [np.diff(light, axis=axis, append=light.take([-1], axis)) for axis in (0, 1)]
    detail = uniform_filter(np.hypot(*steps), size=side, mode="constant")
    half = side // 2
    inside = np.full((H, W), -np.inf)
    corner = np.s_[half : H - side + half + 1, half : W - side + half + 1]
    inside[corner] = detail[corner]
    boxes: list[Box] = []
    while len(boxes) < count and np.isfinite(inside.max()):
        row, column = (int(place) for place in np.unravel_index(int(inside.argmax()), inside.shape))
        boxes.append(Box(row - half, column - half, side, side))
        inside[max(0, row - side + 1) : row + side, max(0, column - side + 1) : column + side] = -np.inf
    return boxes


def choose_bands(scene: Scene, wanted: Sequence[float] | None = None) -> list[int]:
    """The bands nearest to these wavelengths in nm, or of these numbers from 1 where no wavelengths are known.

    Without a wish three bands spread over all. Each band comes once.

    Raises:
        InputError: a wavelength lies outside the bands, or there is no band of that number.
    """
    if wanted is None:
        return sorted({int((2 * third + 1) * scene.bands / 6) for third in range(3)})
    axis = np.arange(1, scene.bands + 1) if scene.wavelengths is None else np.asarray(scene.wavelengths)
    slack = 0.5 if scene.wavelengths is None else float(np.diff(axis).max(initial=10)) / 2
    for value in wanted:
        if not axis[0] - slack <= value <= axis[-1] + slack:
            unit = "the bands are numbered" if scene.wavelengths is None else "the bands lie at nm"
            raise InputError(f"there is no band {value:g}", f"{unit} {axis[0]:g} to {axis[-1]:g}")
    return list(dict.fromkeys(int(np.abs(axis - value).argmin()) for value in wanted))


def paper_figure(
    estimates: Mapping[str, Scene],
    frame: np.ndarray,
    paths: Sequence[str | Path],
    truth: Scene | None = None,
    bands: Sequence[int] | None = None,
    boxes: Sequence[Box] | None = None,
    pixels: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Draw the figure: scene, measurement and spectra; bands with PSNR and enlarged boxes; class maps if any.

    Args:
        estimates: of one scene, by the name that stands over their column.
        frame: the measurement, (H,Wm).
        paths: of the files, .png, .pdf or .svg.
        truth: of the scene on the same bands; without it there are no PSNRs and correlations.
        bands: indices from 0; None as ``choose_bands``.
        boxes: None as ``choose_boxes``; an empty list draws none.
        pixels: (row, column) of the spectra; None as ``select_pixels``.

    Raises:
        InputError: there is no estimate, scenes of different sizes or bands, or a box or pixel outside.
    """
    scenes = {**estimates} if truth is None else {**estimates, TRUTH: truth}
    first = next(iter(estimates.values()), None)
    if first is None:
        raise InputError("a figure needs at least one estimate")
    for name, scene in scenes.items():
        if (scene.cube.shape, scene.wavelengths) != (first.cube.shape, first.wavelengths):
            raise InputError(
                f"{name} has {_described(scene)} but {next(iter(estimates))} {_described(first)}",
                "show estimates of one scene on the same bands",
            )
    from crsdun.viewing.pixel_selection import select_pixels

    reference = first if truth is None else truth
    bands = choose_bands(reference) if bands is None else bands
    boxes = choose_boxes(reference.cube) if boxes is None else boxes
    pixels = select_pixels(reference.cube, 2) if pixels is None else pixels
    _check_places(reference, boxes, pixels)

    H, W = reference.cube.shape[1:]
    margin, gap, line = LOOK["margin"], LOOK["gap"], LOOK["small"] + 7
    across = WIDEST - 2 * margin
    cell = min((across - LABEL + gap) // len(scenes) - gap, 2 * TILE)
    # The boxes stand on each other right of their band, together as high as it is.
    broadest = max((box.width / box.height for box in boxes), default=0.0) / max(1, len(boxes))
    width, height = _fit_box(W, H, min(TILE, int((cell - SEAM) / (1 + broadest * H / W))), TILE)
    beside = cell - width - SEAM if boxes else 0
    row_height = height + line + gap
    with_classes = any(scene.classes is not None for scene in estimates.values())
    legend = _legend(list(scenes.values()), across - LABEL) if with_classes else []
    below = margin + HEADER + 58
    rows = below + len(bands) * row_height
    total = rows + (height + gap + 26 * len(legend) if with_classes else -gap) + margin
    sheet = _Sheet(WIDEST, total)

    _draw_header(sheet, scenes, reference, frame, boxes, pixels)
    lefts = [margin + LABEL + place * (cell + gap) for place in range(len(scenes))]
    for left, (name, scene) in zip(lefts, scenes.items(), strict=True):
        words = "" if truth is None or scene is truth else f"{_psnr(scene.cube, truth.cube):.2f} dB"
        room = width - (_text_width(words, LOOK["small"]) + 8 if words else 0)
        sheet.write(left, below - 12, _shorten(name, LOOK["text"], room), LOOK["text"], weight="bold")
        sheet.write(left + width, below - 12, words, LOOK["small"], LOOK["faint"], "right")
    for place, band in enumerate(bands):
        top = below + place * row_height
        label = f"band {band + 1}" if first.wavelengths is None else f"{first.wavelengths[band]:.0f} nm"
        sheet.write(margin, top + height / 2, label, LOOK["text"], weight="bold")
        full = float(np.percentile(reference.cube[band], 99.8))
        tint = np.ones(3) if first.wavelengths is None else _readable(wavelength_to_rgb(first.wavelengths[band]))
        for left, scene in zip(lefts, scenes.values(), strict=True):
            image = _tinted(scene.cube[band], full, tint)
            axes = sheet.show(_fine(image, width, height), left, top, width, height)
            _outline(axes, boxes, SHARP * width / W, SHARP * height / H)
            if truth is not None and scene is not truth:
                words = f"{_psnr(scene.cube[band], truth.cube[band]):.2f} dB"
                sheet.write(left + width, top + height + line / 2, words, LOOK["small"], LOOK["faint"], "right")
            _draw_zooms(sheet, image, boxes, left + width + SEAM, top, beside, height)
    if with_classes:
        sheet.write(margin, rows + height / 2, "classes", LOOK["text"], weight="bold")
        for left, scene in zip(lefts, scenes.values(), strict=True):
            if scene.classes is not None:
                sheet.show(_fine(class_picture(scene.classes), width, height), left, rows, width, height)
            else:
                sheet.write(left + width / 2, rows + height / 2, "none", LOOK["small"], LOOK["faint"], "center")
        for number, entries in enumerate(legend):
            middle = rows + height + gap + 26 * number + 10
            for left, name, colour in entries:
                sheet.swatch(lefts[0] + left, middle - 7, 14, colour)
                sheet.write(lefts[0] + left + 21, middle, name, LOOK["small"])
    for path in paths:
        sheet.save(path, SHARP)


# -- parts -----------------------------------------------------------------------------------------------------


def _draw_header(
    sheet: _Sheet,
    scenes: Mapping[str, Scene],
    reference: Scene,
    frame: np.ndarray,
    boxes: Sequence[Box],
    pixels: Sequence[tuple[int, int]],
) -> None:
    """The scene with boxes and numbered pixels, its measurement, and the spectra there."""
    C, H, W = reference.cube.shape
    margin, gap, axis_room, top = LOOK["margin"], LOOK["gap"], 54, LOOK["margin"] + 22
    tall = HEADER - 48
    left = margin
    for title, image in (("scene", picture(reference)[0]), ("measurement", measurement_picture(frame))):
        width, height = _fit_box(image.shape[1], image.shape[0], 2 * tall, tall)
        sheet.write(left, margin + 8, title, LOOK["text"], weight="bold")
        axes = sheet.show(_fine(image, width, height), left, top, width, height)
        if title == "scene":
            across, down = SHARP * width / W, SHARP * height / H
            _outline(axes, boxes, across, down)
            for number, (row, column) in enumerate(pixels, start=1):
                _badge(axes, number, (column + 0.5) * across - 0.5, (row + 0.5) * down - 0.5)
        left += width + gap
    if not pixels:
        return
    axis = np.arange(1, C + 1) if reference.wavelengths is None else np.asarray(reference.wavelengths)
    each = (sheet.width - margin - left) / len(pixels)
    for place, (row, column) in enumerate(pixels):
        wide = each - axis_room
        axes = sheet.axes(left + place * each + axis_room, margin, wide, HEADER - 26)
        here = {name: scenes[name].cube[:, row, column] for name in sorted(scenes, key=TRUTH.__ne__)}
        _draw_spectra(axes, axis, np.argsort(axis), here, wide, HEADER - 26)
        _badge(axes, place + 1, 18 / wide, 1 - 16 / (HEADER - 26), axes.transAxes)
        if reference.wavelengths is not None:
            _rainbow(axes, axis)
        words = "band" if reference.wavelengths is None else "wavelength (nm)"
        sheet.write(
            left + place * each + axis_room + wide / 2,
            margin + HEADER + 8,
            words,
            LOOK["small"],
            LOOK["faint"],
            "center",
        )


def _draw_zooms(
    sheet: _Sheet, image: np.ndarray, boxes: Sequence[Box], left: float, top: float, width: int, height: int
) -> None:
    """The boxes on each other, each as large as fits."""
    room = (height - SEAM * (len(boxes) - 1)) // max(1, len(boxes))
    for place, box in enumerate(boxes):
        part = image[box.top : box.top + box.height, box.left : box.left + box.width]
        wide, high = _fit_box(box.width, box.height, width, room)
        axes = sheet.show(_fine(part, wide, high), left, top + place * (room + SEAM), wide, high)
        _frame(axes, place, (0, 0), 1, 1, transform=axes.transAxes)


def _outline(axes: Axes, boxes: Sequence[Box], across: float, down: float) -> None:
    for place, box in enumerate(boxes):
        corner = box.left * across - 0.5, box.top * down - 0.5
        _frame(axes, place, corner, box.width * across, box.height * down)


def _frame(axes: Axes, place: int, corner: tuple[float, float], width: float, height: float, **where: Any) -> None:
    colour = BOX_COLOURS[place % len(BOX_COLOURS)]
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.8, **where))


def _tinted(band: np.ndarray, full: float, tint: np.ndarray) -> np.ndarray:
    level = np.clip(band / full if full > 0 else np.zeros_like(band), 0, 1)[..., None] ** (1 / 1.6)
    return np.rint(255 * level * tint).astype(np.uint8)


def _fine(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return _resize(image, SHARP * width, SHARP * height)


def _psnr(estimate: np.ndarray, truth: np.ndarray) -> float:
    """10 log₁₀(1 / MSE), at most 100, as in the protocol ``crsdun``."""
    error = float(np.square(estimate.astype(np.float64) - truth).mean())
    return 100.0 if error <= 1e-10 else -10 * float(np.log10(error))


def _legend(scenes: Sequence[Scene], width: float) -> list[list[tuple[float, str, tuple]]]:
    """Lines of (left, name, colour) for the classes that occur."""
    present = np.unique(np.concatenate([scene.classes.ravel() for scene in scenes if scene.classes is not None]))
    names = next((scene.class_names for scene in scenes if scene.class_names), None) or ()
    colours = [*class_colours(max(int(present[-1]) + 1, 0)), np.array(UNLABELLED_COLOUR)]
    lines: list[list[tuple[float, str, tuple]]] = [[]]
    left = 0.0
    for label in map(int, present):
        name = "unlabelled" if label < 0 else names[label] if label < len(names) else f"class {label}"
        room = 21 + _text_width(name, LOOK["small"]) + 24
        if left + room > width and lines[-1]:
            lines.append([])
            left = 0.0
        lines[-1].append((left, name, tuple(colours[label] / 255)))
        left += room
    return lines


def _check_places(scene: Scene, boxes: Sequence[Box], pixels: Sequence[tuple[int, int]]) -> None:
    for box in boxes:
        scene.cropped(*box)
    H, W = scene.cube.shape[1:]
    for row, column in pixels:
        if not (0 <= row < H and 0 <= column < W):
            raise InputError(f"the pixel at row {row}, column {column} lies outside the scene of {H}×{W} pixels")


def _described(scene: Scene) -> str:
    bands, height, width = scene.cube.shape
    nm = scene.wavelengths
    return f"{bands} bands of {height}×{width}" + ("" if nm is None else f" at {nm[0]:g}–{nm[-1]:g} nm")
