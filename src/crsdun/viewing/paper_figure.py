"""The usual figure of a paper: one scene, several methods, some bands enlarged, spectra and class maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from crsdun.errors import InputError
from crsdun.evaluation import get_protocol
from crsdun.scenes import Box, Scene
from crsdun.showing import size_in_words, spectrum_in_words
from crsdun.viewing.colour import measurement_picture, picture, spread_bands
from crsdun.viewing.display import band_picture, band_tint, upper_limit
from crsdun.viewing.palette import class_picture, classes_present
from crsdun.viewing.pixel_selection import select_pixels
from crsdun.viewing.sheet import STYLE, Legend, Sheet, fit_box, number_badge, shorten, text_width
from crsdun.viewing.spectrum_plot import TRUTH, check_pixels, plot_spectra

PROTOCOL = "crsdun"  # of the PSNR
SHARPNESS = 2  # pixels of the PNG for one of the layout
WIDEST = 1500  # px of the layout
HEADER = 250  # px that scene, measurement and spectra are high
TILE = 420  # px that a band is wide and high at most
SEAM = 4  # px between a band and its boxes
LABEL = 78  # px for the label left of a row
BOX_COLOURS = ("#f0e442", "#56b4e9", "#e69f00", "#cc79a7")


def choose_boxes(cube: np.ndarray, count: int = 2) -> list[Box]:
    """Squares of a fifth of the scene's side where a cube (C,H,W) has most detail; they do not overlap."""
    H, W = cube.shape[1:]
    side = max(1, min(H, W) // 5)
    light = np.nan_to_num(cube).mean(0)
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


def choose_bands(scene: Scene, values: Sequence[float] | None = None) -> list[int]:
    """The bands nearest to these wavelengths in nm, or with these numbers from 1 where no wavelengths are known.

    By default three, spread over all bands. No band is repeated.

    Raises:
        InputError: a wavelength lies outside the bands, or there is no band of that number.
    """
    if values is None:
        return sorted(set(spread_bands(scene.bands)))
    axis = np.arange(1, scene.bands + 1) if scene.wavelengths is None else np.asarray(scene.wavelengths)
    slack = 0.5 if scene.wavelengths is None else float(np.diff(axis).max(initial=10)) / 2
    for value in values:
        if not axis[0] - slack <= value <= axis[-1] + slack:
            unit = "the bands are numbered" if scene.wavelengths is None else "the bands lie at nm"
            raise InputError(f"there is no band {value:g}", f"{unit} {axis[0]:g} to {axis[-1]:g}")
    return list(dict.fromkeys(int(np.abs(axis - value).argmin()) for value in values))


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

    Class maps have the legend of the first scene that names its classes; scenes with another one show none.

    Args:
        estimates: of one scene, by the name above their column; their classes are −1 where unknown.
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
                f"{name} has {_shape_text(scene)} but {next(iter(estimates))} {_shape_text(first)}",
                "show estimates of one scene on the same bands",
            )
    reference = first if truth is None else truth
    bands = choose_bands(reference) if bands is None else bands
    boxes = choose_boxes(reference.cube) if boxes is None else boxes
    pixels = select_pixels(reference.cube, 2) if pixels is None else pixels
    H, W = reference.cube.shape[1:]
    check_pixels(pixels, H, W)
    for box in boxes:
        reference.cropped(*box)  # raises where it leaves the scene

    margin, gap, line = STYLE.margin, STYLE.gap, STYLE.small + 7
    across = WIDEST - 2 * margin
    cell = min((across - LABEL + gap) // len(scenes) - gap, 2 * TILE)
    # The boxes are stacked to the right of their band, together as high as it is.
    broadest = max((box.width / box.height for box in boxes), default=0.0) / max(1, len(boxes))
    width, height = fit_box(W, H, min(TILE, int((cell - SEAM) / (1 + broadest * H / W))), TILE)
    box_width = cell - width - SEAM if boxes else 0
    row_height = height + line + gap
    with_classes = any(scene.classes is not None for scene in estimates.values())
    class_names = next((scene.class_names for scene in scenes.values() if scene.class_names), None)
    maps = {  # colours mean nothing under the legend of others
        name: scene.classes if scene.class_names in (None, class_names) else None for name, scene in scenes.items()
    }
    grey = {  # what −1 means
        "unlabelled" if scene is truth else "unknown": None
        for scene, classes in zip(scenes.values(), maps.values(), strict=True)
        if classes is not None and classes.min() < 0
    }
    entries = [
        entry._replace(name=" or ".join(grey)) if entry.number < 0 else entry
        for entry in (classes_present(maps.values(), class_names) if with_classes else [])
    ]
    legend = Legend(entries, across - LABEL, STYLE.small)
    first_row = margin + HEADER + 58
    class_row = first_row + len(bands) * row_height
    total = class_row + (height + gap + legend.height if with_classes else -gap) + margin
    sheet = Sheet(WIDEST, total, sharpness=SHARPNESS)

    _draw_header(sheet, scenes, reference, frame, boxes, pixels)
    lefts = [margin + LABEL + column * (cell + gap) for column in range(len(scenes))]
    for left, (name, scene) in zip(lefts, scenes.items(), strict=True):
        psnr = "" if truth is None or scene is truth else _psnr(scene.cube, truth.cube)
        room = width - (text_width(psnr, STYLE.small) + 8 if psnr else 0)
        sheet.write(left, first_row - 12, shorten(name, STYLE.text, room), STYLE.text, weight="bold")
        sheet.write(left + width, first_row - 12, psnr, STYLE.small, STYLE.faint, "right")
    for row, band in enumerate(bands):
        top = first_row + row * row_height
        label = f"band {band + 1}" if first.wavelengths is None else f"{first.wavelengths[band]:.0f} nm"
        sheet.write(margin, top + height / 2, label, STYLE.text, weight="bold")
        white, tint = upper_limit(reference.cube[band]), band_tint(first.wavelengths, band)
        for left, scene in zip(lefts, scenes.values(), strict=True):
            image = band_picture(scene.cube[band], white, tint=tint)
            _outline(sheet.show(image, left, top, width, height), boxes)
            if truth is not None and scene is not truth:
                psnr = _psnr(scene.cube[band : band + 1], truth.cube[band : band + 1])
                sheet.write(left + width, top + height + line / 2, psnr, STYLE.small, STYLE.faint, "right")
            _draw_enlarged(sheet, image, boxes, left + width + SEAM, top, box_width, height)
    if with_classes:
        sheet.write(margin, class_row + height / 2, "classes", STYLE.text, weight="bold")
        for left, classes in zip(lefts, maps.values(), strict=True):
            if classes is not None:
                sheet.show(class_picture(classes), left, class_row, width, height)
            else:
                sheet.write(left + width / 2, class_row + height / 2, "none", STYLE.small, STYLE.faint, "center")
        legend.draw(sheet, lefts[0], class_row + height + gap + 3)
    for path in paths:
        sheet.save(path)


# -- parts -----------------------------------------------------------------------------------------------------


def _draw_header(
    sheet: Sheet,
    scenes: Mapping[str, Scene],
    reference: Scene,
    frame: np.ndarray,
    boxes: Sequence[Box],
    pixels: Sequence[tuple[int, int]],
) -> None:
    """The scene with boxes and numbered pixels, its measurement, and the spectra there."""
    margin, axis_room, top = STYLE.margin, 54, STYLE.margin + 22
    left, tall = margin, HEADER - 48
    for title, image in (("scene", picture(reference)[0]), ("measurement", measurement_picture(frame))):
        width, height = fit_box(image.shape[1], image.shape[0], 2 * tall, tall)
        sheet.write(left, margin + 8, title, STYLE.text, weight="bold")
        axes = sheet.show(image, left, top, width, height)
        if title == "scene":
            _outline(axes, boxes)
            for number, (row, column) in enumerate(pixels, start=1):
                number_badge(axes, number, column + 0.5, row + 0.5)
        left += width + STYLE.gap
    room = (sheet.width - margin - left) / max(1, len(pixels))
    for place, (row, column) in enumerate(pixels):
        axes = sheet.axes(left + place * room + axis_room, margin, room - axis_room, HEADER - 26)
        here = {name: scenes[name].cube[:, row, column] for name in sorted(scenes, key=TRUTH.__ne__)}  # truth first
        plot_spectra(axes, here, reference.wavelengths, place + 1)


def _draw_enlarged(
    sheet: Sheet, image: np.ndarray, boxes: Sequence[Box], left: float, top: float, width: int, height: int
) -> None:
    """The boxes one above the other, each as large as fits."""
    room = (height - SEAM * (len(boxes) - 1)) // max(1, len(boxes))
    for place, box in enumerate(boxes):
        part = image[box.top : box.top + box.height, box.left : box.left + box.width]
        axes = sheet.show(part, left, top + place * (room + SEAM), *fit_box(box.width, box.height, width, room))
        _frame(axes, place, (0, 0), 1, 1, transform=axes.transAxes)


def _outline(axes: Axes, boxes: Sequence[Box]) -> None:
    for place, box in enumerate(boxes):
        _frame(axes, place, (box.left, box.top), box.width, box.height)


def _frame(
    axes: Axes, place: int, corner: tuple[float, float], width: float, height: float, **properties: Any
) -> None:
    colour = BOX_COLOURS[place % len(BOX_COLOURS)]
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.8, **properties))


def _psnr(estimate: np.ndarray, truth: np.ndarray) -> str:
    """Of two cubes (C,H,W)."""
    return f"{get_protocol(PROTOCOL).psnr(torch.from_numpy(estimate), torch.from_numpy(truth)):.2f} dB"


def _shape_text(scene: Scene) -> str:
    return " at ".join(filter(None, (size_in_words(scene.cube.shape), spectrum_in_words(scene.wavelengths))))
