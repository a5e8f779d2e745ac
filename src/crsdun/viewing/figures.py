"""Figures for a paper, a talk or a report, each written to the path it is given.

A path that ends in .pdf or .svg gives that format, any other PNG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor

from crsdun.errors import InputError
from crsdun.spread import spread_evenly
from crsdun.viewing.colour import check_cube, with_data
from crsdun.viewing.display import band_picture, band_tint, upper_limit
from crsdun.viewing.palette import class_picture, classes_present
from crsdun.viewing.sheet import STYLE, Sheet, fit_box, is_map, number_badge, resize, shorten, text_width
from crsdun.viewing.spectrum_plot import check_pixels, plot_spectra

BAR_ROOM = 76  # px right of a map for its colour bar and the numbers at its ticks


class Panel(NamedTuple):
    """One picture of a comparison.

    Attributes:
        title: what it is, in a few words.
        image: (H,W,3) uint8 in colour, (H,W) uint8 in grey, or a map (H,W) of floats, drawn with a colour bar.
        subtitle: a number that belongs to it, such as ``31.2 dB``.
    """

    title: str
    image: np.ndarray
    subtitle: str = ""


def save_png(image: np.ndarray, path: str | Path) -> None:
    """A picture, (H,W), (H,W,3) or (H,W,4) uint8, as a PNG file of exactly these pixels.

    Raises:
        InputError: another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise InputError(
            f"a picture is uint8 of shape (H,W), (H,W,3) or (H,W,4), not {image.dtype} of shape {image.shape}",
            "make one with cube_to_srgb, false_colour or measurement_picture",
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format="PNG")


def band_sheet(
    cube: np.ndarray, wavelengths: Sequence[float] | None, path: str | Path, columns: int = 7, max_bands: int = 28
) -> None:
    """All bands, or ``max_bands`` of them evenly spaced, on one scale of brightness and in the colour of their light.

    Args:
        cube: (C,H,W), any scale; black and white are the 0.5th and 99.8th percentile of all bands shown.
        wavelengths: nm; without them the bands are grey and numbered from 1.
        path: where the figure goes.
        columns: bands in a row.
        max_bands: how many bands to show at most.

    Raises:
        InputError: as ``colour.check_cube``.
    """
    check_cube(cube, wavelengths)
    bands = spread_evenly(len(cube), max_bands)
    columns = min(columns, len(bands))
    width, height = fit_box(cube.shape[2], cube.shape[1], 200, 280)
    margin, gap, header = STYLE.margin, STYLE.gap, STYLE.text + 9
    rows = -(-len(bands) // columns)
    sheet = Sheet(
        2 * margin + columns * (width + gap) - gap, 2 * margin + rows * (height + header + gap) - gap, dark=True
    )
    # One picture of all tiles: axes for each would take most of the time.
    tiles = np.full((sheet.height, sheet.width, 3), ImageColor.getrgb(STYLE.dark_paper), dtype=np.uint8)
    values = with_data(cube if len(bands) == len(cube) else cube[bands])
    white = upper_limit(values)
    black = min(float(np.percentile(values, 0.5)) if values.size else 0.0, white / 4)  # a bright cube stays bright
    for place, band in enumerate(bands):
        row, column = divmod(place, columns)
        left, top = margin + column * (width + gap), margin + row * (height + header + gap)
        tint = band_tint(wavelengths, band)
        label = f"band {band + 1}" if wavelengths is None else f"{wavelengths[band]:.1f} nm"
        sheet.write(left, top + header / 2 - 2, label, STYLE.text, colour=tuple(tint))
        tile = band_picture(resize(cube[band], width, height), white, black, tint)
        tiles[top + header : top + header + height, left : left + width] = tile
    sheet.figure.figimage(tiles, origin="upper")
    sheet.save(path)


def spectra(
    cubes: Mapping[str, np.ndarray],
    wavelengths: Sequence[float] | None,
    points: Sequence[tuple[int, int]],
    path: str | Path,
    picture: np.ndarray,
) -> None:
    """The scene with numbered points, and beside it the spectra at these points.

    Args:
        cubes: (C,H,W) each, by the name in the legend; lines as ``plot_spectra`` draws them.
        wavelengths: nm, or None to count bands from 1.
        points: (row, column) of each point; ``select_pixels`` finds good ones.
        path: where the figure goes.
        picture: (H,W,3) uint8 of the scene.

    Raises:
        InputError: no cube, cubes of different shapes or not finite, no point, or a point outside the scene.
    """
    shapes = {cube.shape for cube in cubes.values()}
    if len(shapes) != 1 or not points:
        raise InputError(f"spectra need at least one point and cubes of one shape, not {len(points)} and {shapes}")
    for cube in cubes.values():
        check_cube(cube, wavelengths)
    _, H, W = next(iter(shapes))
    if picture.shape[:2] != (H, W):
        raise InputError(f"the picture has shape {picture.shape} but the cubes have {(H, W)}", "make it from them")
    check_pixels(points, H, W)

    margin, axis_room, label_room = STYLE.margin, 52, 34
    columns = int(np.ceil(np.sqrt(len(points))))
    rows = -(-len(points) // columns)
    plot_width, plot_height = 400, 250 if rows > 1 else 400
    inner = rows * plot_height + (rows - 1) * label_room
    width, height = fit_box(W, H, 900, inner)
    right = margin + width + margin
    sheet = Sheet(right + columns * (axis_room + plot_width) + margin, inner + label_room + 2 * margin)

    image = sheet.show(picture, margin, margin, width, height)
    for place, (row, column) in enumerate(points):
        number_badge(image, place + 1, column + 0.5, row + 0.5)
        left = right + place % columns * (axis_room + plot_width) + axis_room
        axes = sheet.axes(left, margin + place // columns * (plot_height + label_room), plot_width, plot_height)
        here = {name: cube[:, row, column] for name, cube in cubes.items()}
        plot_spectra(axes, here, wavelengths, place + 1, labelled=place + columns >= len(points))
    sheet.save(path)


def class_map(
    classes: np.ndarray, class_names: Sequence[str] | None, path: str | Path, grey: str = "unlabelled"
) -> None:
    """A class map with a legend of the classes that occur, each with its share of the pixels.

    The map is drawn pixel by pixel, enlarged by a whole factor where it is small.

    Args:
        classes: (H,W) integers from 0, −1 where unlabelled or unknown (light grey).
        class_names: names by number; None writes ``class 0`` and so on.
        path: where the figure goes.
        grey: what −1 is called.

    Raises:
        InputError: the map is not integer (H,W), or a class has no name.
    """
    image = class_picture(classes)
    if class_names is not None and classes.max() >= len(class_names):
        raise InputError(
            f"the map holds class {classes.max()} but there are {len(class_names)} class names", "name every class"
        )
    entries = [
        entry._replace(name=grey) if entry.number < 0 else entry for entry in classes_present([classes], class_names)
    ]

    factor = max(1, 640 // max(classes.shape))
    height, width = classes.shape[0] * factor, classes.shape[1] * factor
    margin, line, swatch = STYLE.margin, 27, 17
    rows = max(1, min(len(entries), height // line))
    columns = -(-len(entries) // rows)
    rows = -(-len(entries) // columns)
    name_width = max(text_width(entry.name, STYLE.text) for entry in entries)
    column_width = int(swatch + 10 + name_width + 78)
    sheet = Sheet(2 * margin + width + columns * (margin + column_width), 2 * margin + max(height, rows * line))
    sheet.show(image, margin, margin, width, height)
    for place, entry in enumerate(entries):
        column, row = divmod(place, rows)
        left, middle = 2 * margin + width + column * (column_width + margin), margin + (row + 0.5) * line
        sheet.swatch(left, middle - swatch / 2, swatch, entry.colour)
        sheet.write(left + swatch + 10, middle, entry.name, STYLE.text)
        share = float((classes == entry.number).mean())
        percentage = "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"
        sheet.write(left + column_width, middle, percentage, STYLE.text, STYLE.faint, align="right")
    sheet.save(path)


def comparison(
    pictures: Sequence[Panel | tuple], path: str | Path, columns: int = 5, title: str | None = None
) -> None:
    """Pictures side by side, all of one height, with titles.

    Args:
        pictures: in reading order: ``Panel(title, image, subtitle)``. All maps of floats share one scale, from 0 (or
            their least value) to their 99.8th percentile.
        path: where the figure goes.
        columns: panels in a row.
        title: what a PNG file says of itself.

    Raises:
        InputError: there are no panels, or one is not a picture.
    """
    panels = [Panel(*each) for each in pictures]
    if not panels:
        raise InputError("a comparison needs at least one panel")
    for panel in panels:
        if not (panel.image.ndim == 2 or (panel.image.ndim == 3 and panel.image.shape[2] in (3, 4))):
            raise InputError(
                f"the panel {panel.title!r} has shape {panel.image.shape}", "expected (H,W), (H,W,3) or (H,W,4)"
            )
        if np.isinf(panel.image).any():
            raise InputError(f"the panel {panel.title!r} holds infinite values", "replace them first")
    maps = [panel.image for panel in panels if is_map(panel.image)]
    lowest = min((float(with_data(values).min(initial=0)) for values in maps), default=0.0)
    limits = lowest, max(map(upper_limit, maps), default=1.0)

    height = panels[0].image.shape[0]
    height = min(640, height * max(1, -(-320 // height)))  # a whole multiple of a small picture's
    margin, gap, header = STYLE.margin, STYLE.gap + 6, STYLE.title + 14
    widths = [max(1, round(panel.image.shape[1] * height / panel.image.shape[0])) for panel in panels]
    rooms = [width + BAR_ROOM * is_map(panel.image) for width, panel in zip(widths, panels, strict=True)]
    rows = [range(start, min(start + columns, len(panels))) for start in range(0, len(panels), columns)]
    across = max(sum(rooms[index] + gap for index in row) - gap for row in rows)
    sheet = Sheet(2 * margin + across, 2 * margin + len(rows) * (header + height + gap) - gap)
    for number, row in enumerate(rows):
        left, top = margin, margin + number * (header + height + gap)
        for index in row:
            panel, width = panels[index], widths[index]
            reserved = text_width(panel.subtitle, STYLE.text) + 12 if panel.subtitle else 0
            heading = shorten(panel.title, STYLE.title, width - reserved)
            sheet.write(left, top + header / 2 - 4, heading, STYLE.title, weight="bold")
            sheet.write(left + width, top + header / 2 - 4, panel.subtitle, STYLE.text, STYLE.faint, "right")
            sheet.show(panel.image, left, top + header, width, height, limits=limits)
            left += rooms[index] + gap
    sheet.save(path, title)
