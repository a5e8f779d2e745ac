"""Figures for a paper, a talk or a report, each written to the path it is given.

A path that ends in .pdf or .svg gives that format, any other PNG. Layouts are in pixels of the PNG. Figures may be
drawn from several threads: nothing here touches matplotlib's global state, but for the moment of writing a PDF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from PIL import Image

from crsdun.errors import InputError
from crsdun.viewing.colour import VISIBLE, wavelength_to_rgb
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours, class_picture

LOOK: dict[str, Any] = {
    "font": "DejaVu Sans",
    "title": 18, "text": 15, "small": 13,  # px
    "paper": "#ffffff", "ink": "#1f2328", "faint": "#6e7781", "line": "#d0d7de",
    "dark_paper": "#101214", "dark_ink": "#e6e8ea", "dark_faint": "#9aa1a9",
    "truth": "#1f2328", "estimates": ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    "map": "magma",
    "margin": 24, "gap": 12,  # px
}  # fmt: skip
DPI = 100
_ONE_PDF = Lock()
TRUTH = "truth"


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
    cube: np.ndarray, wavelengths: Sequence[float] | None, path: str | Path, columns: int = 7, most: int = 28
) -> None:
    """All bands, or an even choice of ``most``, on one scale of brightness and in the colour of their light.

    Args:
        cube: (C,H,W), any scale; black and full brightness are the 0.5th and 99.8th percentile of all bands shown.
        wavelengths: nm; without them the bands are grey and numbered from 1.
        columns: tiles in a row.
        most: tiles at most.
    """
    _check(cube, wavelengths)
    shown = np.unique(np.linspace(0, len(cube) - 1, min(len(cube), most)).round().astype(int))
    columns = min(columns, len(shown))
    width, height = _fit_box(cube.shape[2], cube.shape[1], 200, 280)
    margin, gap, header = LOOK["margin"], LOOK["gap"], LOOK["text"] + 9
    rows = -(-len(shown) // columns)
    sheet = _Sheet(
        2 * margin + columns * (width + gap) - gap, 2 * margin + rows * (height + header + gap) - gap, dark=True
    )
    tiles = [_resize(cube[band], width, height) for band in shown]
    black, full = np.percentile(cube[shown], (0.5, 99.8))
    black = min(black, full / 4)  # an even bright cube stays bright
    for place, (band, tile) in enumerate(zip(shown, tiles, strict=True)):
        left = margin + place % columns * (width + gap)
        top = margin + place // columns * (height + header + gap)
        tint = np.ones(3) if wavelengths is None else _readable(wavelength_to_rgb(wavelengths[band]))
        label = f"band {band + 1}" if wavelengths is None else f"{wavelengths[band]:.1f} nm"
        sheet.write(left, top + header / 2 - 2, label, LOOK["text"], colour=tuple(tint))
        brightness = np.clip((tile - black) / (full - black or 1), 0, 1)[..., None] ** (1 / 1.6)
        sheet.show(np.rint(255 * brightness * tint).astype(np.uint8), left, top + header, width, height)
    sheet.save(path)


def spectra(
    cubes: Mapping[str, np.ndarray],
    wavelengths: Sequence[float] | None,
    points: Sequence[tuple[int, int]],
    path: str | Path,
    picture: np.ndarray,
) -> None:
    """The scene with numbered points, and beside it the spectra there.

    Args:
        cubes: (C,H,W) each, by the name in the legend. The one called ``truth`` (or a single one) is drawn solid,
            the others dashed, with their correlation coefficient r with the truth in the legend.
        wavelengths: nm, or None to count bands from 1.
        points: (row, column) of each point; ``select_pixels`` finds good ones.
        path: where the figure goes.
        picture: (H,W,3) uint8 of the scene.

    Raises:
        InputError: no cube, cubes of different shapes, no point, or a point outside the scene.
    """
    shapes = {cube.shape for cube in cubes.values()}
    if len(shapes) != 1 or not points:
        raise InputError(f"spectra need at least one point and cubes of one shape, not {len(points)} and {shapes}")
    for cube in cubes.values():
        _check(cube, wavelengths)
    C, H, W = next(iter(shapes))
    if picture.shape[:2] != (H, W):
        raise InputError(f"the picture has shape {picture.shape} but the cubes see {(H, W)}", "draw it from them")
    outside = [point for point in points if not (0 <= point[0] < H and 0 <= point[1] < W)]
    if outside:
        raise InputError(f"the point (row, column) = {outside[0]} lies outside the scene of {H}×{W} pixels")

    axis = np.arange(1, C + 1) if wavelengths is None else np.asarray(wavelengths, dtype=float)
    order = np.argsort(axis)
    margin, axis_room, label_room = LOOK["margin"], 52, 34
    panel_columns = int(np.ceil(np.sqrt(len(points))))
    panel_rows = -(-len(points) // panel_columns)
    panel_width, panel_height = 400, 250 if panel_rows > 1 else 400
    inner = panel_rows * panel_height + (panel_rows - 1) * label_room
    width, height = _fit_box(W, H, 900, inner)
    right = margin + width + margin
    sheet = _Sheet(right + panel_columns * (axis_room + panel_width) + margin, inner + label_room + 2 * margin)

    image = sheet.show(_resize(picture, width, height), margin, margin, width, height)
    for number, (row, column) in enumerate(points, start=1):
        _badge(image, number, (column + 0.5) / W * width - 0.5, (row + 0.5) / H * height - 0.5)
    for index, (row, column) in enumerate(points):
        left = right + index % panel_columns * (axis_room + panel_width) + axis_room
        top = margin + index // panel_columns * (panel_height + label_room)
        axes = sheet.axes(left, top, panel_width, panel_height)
        here = {name: cube[:, row, column] for name, cube in cubes.items()}
        _draw_spectra(axes, axis, order, here, panel_width, panel_height)
        _badge(axes, index + 1, 18 / panel_width, 1 - 16 / panel_height, axes.transAxes)
        last_row = index + panel_columns >= len(points)
        axes.tick_params(labelbottom=last_row)
        if last_row:
            axes.set_xlabel("band" if wavelengths is None else "wavelength (nm)", **_font("small", "faint"))
        if wavelengths is not None:
            _rainbow(axes, axis)
    sheet.save(path)


def class_map(classes: np.ndarray, class_names: Sequence[str] | None, path: str | Path) -> None:
    """A class map with a legend of the classes that occur, each with its share of the pixels.

    The map is drawn pixel by pixel, enlarged by a whole factor where it is small.

    Args:
        classes: (H,W) integers from 0, −1 where unlabelled (light grey).
        class_names: names by number; None writes ``class 0`` and so on.
        path: where the figure goes.

    Raises:
        InputError: the map is not integer (H,W), or a class has no name.
    """
    image = class_picture(classes)
    present, counts = np.unique(classes, return_counts=True)
    if class_names is not None and present[-1] >= len(class_names):
        raise InputError(
            f"the map holds class {present[-1]} but there are {len(class_names)} class names", "name every class"
        )
    colours = class_colours(max(int(present[-1]) + 1, 0))
    entries = []
    for label, count in zip(present, counts, strict=True):
        if label < 0:
            continue
        name = f"class {label}" if class_names is None else class_names[label]
        entries.append((name, count / classes.size, tuple(colours[label] / 255)))
    if present[0] < 0:
        entries.append(("unlabelled", counts[0] / classes.size, tuple(np.array(UNLABELLED_COLOUR) / 255)))

    factor = max(1, 640 // max(classes.shape))
    height, width = classes.shape[0] * factor, classes.shape[1] * factor
    margin, line, swatch = LOOK["margin"], 27, 17
    rows = max(1, min(len(entries), height // line))
    columns = -(-len(entries) // rows)
    rows = -(-len(entries) // columns)
    name_width = max(_text_width(name, LOOK["text"]) for name, _, _ in entries)
    column_width = int(swatch + 10 + name_width + 78)
    body = max(height, rows * line)
    sheet = _Sheet(2 * margin + width + columns * (margin + column_width), 2 * margin + body)
    sheet.show(np.kron(image, np.ones((factor, factor, 1), dtype=np.uint8)), margin, margin, width, height)
    for place, (name, share, colour) in enumerate(entries):
        left = 2 * margin + width + place // rows * (column_width + margin)
        middle = margin + (place % rows + 0.5) * line
        sheet.swatch(left, middle - swatch / 2, swatch, colour)
        sheet.write(left + swatch + 10, middle, name, LOOK["text"])
        sheet.write(left + column_width, middle, _percent(share), LOOK["text"], LOOK["faint"], align="right")
    sheet.save(path)


def comparison(rows: Sequence[Panel | tuple], path: str | Path, columns: int = 5) -> None:
    """Pictures side by side, all of one height, with titles.

    Args:
        rows: the panels in reading order: ``Panel(title, image, subtitle)``. All maps of floats share one scale,
            from 0 (or their least value) to their 99.8th percentile.
        path: where the figure goes.
        columns: panels in a row.

    Raises:
        InputError: there are no panels, or one is not a picture.
    """
    panels = [Panel(*panel) for panel in rows]
    if not panels:
        raise InputError("a comparison needs at least one panel")
    for panel in panels:
        if not (panel.image.ndim == 2 or (panel.image.ndim == 3 and panel.image.shape[2] in (3, 4))):
            raise InputError(
                f"the panel {panel.title!r} has shape {panel.image.shape}", "expected (H,W), (H,W,3) or (H,W,4)"
            )
        if not np.isfinite(panel.image).all():
            raise InputError(f"the panel {panel.title!r} holds NaN or infinite values", "replace them first")
    maps = [panel.image for panel in panels if _is_map(panel.image)]
    least = min((float(values.min()) for values in maps), default=0.0)
    limits = (min(least, 0.0), max((float(np.percentile(values, 99.8)) for values in maps), default=1.0))

    height = _display_height(panels[0].image.shape[0])
    margin, gap, header, bar = LOOK["margin"], LOOK["gap"] + 6, LOOK["title"] + 14, 76
    widths = [max(1, round(panel.image.shape[1] * height / panel.image.shape[0])) for panel in panels]
    rooms = [width + (bar if _is_map(panel.image) else 0) for width, panel in zip(widths, panels, strict=True)]
    lines = [range(start, min(start + columns, len(panels))) for start in range(0, len(panels), columns)]
    across = max(sum(rooms[index] + gap for index in line) - gap for line in lines)
    sheet = _Sheet(2 * margin + across, 2 * margin + len(lines) * (header + height + gap) - gap)
    for number, line in enumerate(lines):
        left, top = margin, margin + number * (header + height + gap)
        for index in line:
            panel, width = panels[index], widths[index]
            reserved = _text_width(panel.subtitle, LOOK["text"]) + 12 if panel.subtitle else 0
            title = _shorten(panel.title, LOOK["title"], width - reserved)
            sheet.write(left, top + header / 2 - 4, title, LOOK["title"], weight="bold")
            sheet.write(left + width, top + header / 2 - 4, panel.subtitle, LOOK["text"], LOOK["faint"], "right")
            if _is_map(panel.image):
                sheet.show_map(panel.image, limits, left, top + header, width, height)
            else:
                sheet.show(_resize(panel.image, width, height), left, top + header, width, height)
            left += rooms[index] + gap
    sheet.save(path)


# -- the sheet of paper --------------------------------------------------------------------------------------


class _Sheet:
    """A figure laid out in pixels from its top left corner."""

    def __init__(self, width: int, height: int, dark: bool = False):
        self.width, self.height = width, height
        self.ink = LOOK["dark_ink" if dark else "ink"]
        paper = LOOK["dark_paper" if dark else "paper"]
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=paper)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        below = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, below / self.height, width / self.width, height / self.height)
        )

    def show(self, image: np.ndarray, left: float, top: float, width: int, height: int) -> Axes:
        """A picture that already has width × height pixels."""
        axes = self.axes(left, top, width, height)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        return axes

    def show_map(
        self, values: np.ndarray, limits: tuple[float, float], left: float, top: float, width: int, height: int
    ) -> None:
        axes = self.axes(left, top, width, height)
        shown = axes.imshow(
            _resize(values, width, height),
            cmap=LOOK["map"],
            vmin=limits[0],
            vmax=limits[1] if limits[1] > limits[0] else limits[0] + 1,
            interpolation="nearest",
            aspect="auto",
        )
        axes.set_axis_off()
        bar = self.figure.colorbar(shown, cax=self.axes(left + width + 10, top, 14, height))
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
        _style_ticks(bar.ax)

    def write(
        self, x: float, middle: float, words: str, size: float, colour: Any = None, align: str = "left", **font: Any
    ) -> None:
        self.figure.text(
            x / self.width,
            1 - middle / self.height,
            words,
            fontsize=size * 72 / DPI,
            family=LOOK["font"],
            color=self.ink if colour is None else colour,
            ha=align,
            va="center_baseline",
            parse_math=False,
            **font,
        )

    def swatch(self, left: float, top: float, size: float, colour: tuple) -> None:
        axes = self.axes(left, top, size, size)
        axes.set_facecolor(colour)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)

    def save(self, path: str | Path, sharp: int = 1) -> None:
        """Write the file; ``sharp`` pixels of pictures for one of the layout."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.lower().lstrip(".")
        if kind != "pdf":
            self.figure.savefig(path, format="svg" if kind == "svg" else "png", dpi=sharp * DPI)
            return
        # Publishers refuse the Type 3 fonts of matplotlib's default; the setting is global, so one at a time.
        with _ONE_PDF, rc_context({"pdf.fonttype": 42}):
            self.figure.savefig(path, format="pdf", dpi=sharp * DPI)


# -- parts of figures ----------------------------------------------------------------------------------------


def _draw_spectra(
    axes: Axes, axis: np.ndarray, order: np.ndarray, here: Mapping[str, np.ndarray], width: float, height: float
) -> None:
    truth = here.get(TRUTH)
    estimates = [name for name in here if name != TRUTH]
    for name, values in here.items():
        if name == TRUTH or len(here) == 1:
            line = {"color": LOOK["truth"], "linestyle": "-", "linewidth": 2.2, "label": name}
        else:
            r = None if truth is None else _correlation(values, truth)
            place = estimates.index(name)
            line = {
                "color": LOOK["estimates"][place % len(LOOK["estimates"])],
                "linestyle": ("--", "-.", ":")[place // len(LOOK["estimates"]) % 3],
                "linewidth": 2,
                "label": name if r is None else f"{name}   r = {r:.3f}",
            }
        axes.plot(axis[order], values[order], marker="o" if len(axis) == 1 else None, **line)

    lowest, highest = min(0.0, *(v.min() for v in here.values())), max(v.max() for v in here.values())
    highest = highest if highest > lowest else lowest + 1
    widest = max(_text_width(str(line.get_label()), LOOK["small"]) for line in axes.get_lines())
    columns = 2 if len(here) > 3 and 2 * (widest + 55) < width - 34 else 1
    # Room above the curves for the legend, so that it never lies on them.
    legend_part = min(0.6, (22 * -(-len(here) // columns) + 14) / height)
    axes.set_ylim(lowest, lowest + (highest - lowest) / (1 - legend_part))
    margin = 0.01 * np.ptp(axis) or 1
    axes.set_xlim(axis.min() - margin, axis.max() + margin)
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(34 / width, 1),
        ncols=columns,
        facecolor=LOOK["paper"],
        edgecolor="none",
        framealpha=1,
        borderaxespad=0.2,
        handlelength=2.4,
        labelspacing=0.35,
        prop=FontProperties(family=LOOK["font"], size=LOOK["small"] * 72 / DPI),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_color(LOOK["ink"])
    _style_ticks(axes)
    axes.grid(axis="y", color=LOOK["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LOOK["line"])


def _rainbow(axes: Axes, wavelengths: np.ndarray) -> None:
    """A thin strip of the light's colour on the wavelength axis."""
    first, last = axes.get_xlim()
    grid = np.linspace(first, last, 400)
    visible = (grid >= VISIBLE[0]) & (grid <= VISIBLE[1])
    if not visible.any():
        return
    strip = np.array([(*wavelength_to_rgb(nm), float(seen)) for nm, seen in zip(grid, visible, strict=True)])
    inset = axes.inset_axes((0, 0, 1, 0.02))
    inset.imshow(strip[None], aspect="auto", interpolation="bilinear")
    inset.set_axis_off()


def _badge(axes: Axes, number: int, x: float, y: float, transform: Any = None) -> None:
    axes.text(
        x,
        y,
        str(number),
        transform=axes.transData if transform is None else transform,
        ha="center",
        va="center_baseline",
        bbox={"boxstyle": "circle,pad=0.28", "facecolor": "white", "edgecolor": LOOK["ink"], "linewidth": 1.4},
        **_font("small", "ink"),
        weight="bold",
        zorder=10,
    )


def _style_ticks(axes: Axes) -> None:
    axes.tick_params(
        labelsize=LOOK["small"] * 72 / DPI,
        labelfontfamily=LOOK["font"],
        color=LOOK["line"],
        labelcolor=LOOK["faint"],
        length=4,
    )


def _font(size: str, colour: str) -> dict[str, Any]:
    return {"fontsize": LOOK[size] * 72 / DPI, "family": LOOK["font"], "color": LOOK[colour]}


def _text_width(words: str, size: float, **font: Any) -> float:
    """Pixels that the words take at this size in pixels."""
    properties = FontProperties(family=LOOK["font"], size=size, **font)
    return float(text_to_path.get_text_width_height_descent(words, properties, False)[0])


def _shorten(words: str, size: float, width: float) -> str:
    if _text_width(words, size, weight="bold") <= width:
        return words
    while words and _text_width(words + "…", size, weight="bold") > width:
        words = words[:-1]
    return words.rstrip() + "…"


def _percent(share: float) -> str:
    return "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _readable(rgb: tuple[float, float, float]) -> np.ndarray:
    """A tint bright enough for text and detail on dark paper: deep blue and red lifted towards white."""
    tint = np.asarray(rgb)
    luminance = tint @ (0.2126, 0.7152, 0.0722)
    lift = max(0.1, (0.45 - luminance) / (1 - luminance))
    return tint + lift * (1 - tint)


def _correlation(estimate: np.ndarray, truth: np.ndarray) -> float | None:
    """Pearson's r of two spectra (C,), or None where one of them is flat."""
    a, b = (np.asarray(values, dtype=np.float64) - np.mean(values, dtype=np.float64) for values in (estimate, truth))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 1e-12 else None


def _is_map(image: np.ndarray) -> bool:
    return image.ndim == 2 and image.dtype != np.uint8


def _display_height(height: int) -> int:
    """A whole multiple of a small picture's height, at most 640 px of a large one."""
    return min(640, height * max(1, -(-320 // height)))


def _fit_box(width: int, height: int, most_width: int, most_height: int) -> tuple[int, int]:
    scale = min(most_width / width, most_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture or map at exactly this size: averaged when it shrinks, its pixels kept visible when it grows."""
    grows = width >= image.shape[1]
    if image.dtype != np.uint8:
        image = np.asarray(image, dtype=np.float32)
    method = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), method))


def _check(cube: np.ndarray, wavelengths: Sequence[float] | None) -> None:
    if cube.ndim != 3 or 0 in cube.shape:
        raise InputError(f"a cube has the shape (bands, height, width), not {cube.shape}")
    if wavelengths is not None and len(wavelengths) != len(cube):
        raise InputError(f"the cube has {len(cube)} bands but {len(wavelengths)} wavelengths", "give one for each")
