"""The sheet that every figure is drawn on, and what all figures share: type, colours, colour bars, legends.

A sheet is laid out in pixels from its top left corner. Sheets may be drawn from several threads: nothing here touches
matplotlib's global state, except while a PDF is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from PIL import Image

from crsdun.viewing.colour import NO_DATA
from crsdun.viewing.display import COLOUR_MAP
from crsdun.viewing.palette import ClassEntry


@dataclass(frozen=True)
class Style:
    """What all figures look alike in; sizes are in pixels."""

    font: str = "DejaVu Sans"
    title: int = 18
    text: int = 15
    small: int = 13
    margin: int = 24
    gap: int = 12
    paper: str = "#ffffff"
    ink: str = "#1f2328"
    faint: str = "#6e7781"
    line: str = "#d0d7de"
    dark_paper: str = "#101214"
    dark_ink: str = "#e6e8ea"
    truth: str = "#1f2328"
    estimates: tuple[str, ...] = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


STYLE = Style()
DPI = 100
BAR = 14  # px, width of a colour bar
_ONE_PDF = Lock()


class Sheet:
    """A figure laid out in pixels.

    Args:
        width, height: pixels of the layout.
        dark: light text on dark paper.
        sharpness: pixels of pictures, and of the PNG, for one pixel of the layout.
    """

    def __init__(self, width: int, height: int, dark: bool = False, sharpness: int = 1):
        self.width, self.height, self.sharpness = width, height, sharpness
        self.ink = STYLE.dark_ink if dark else STYLE.ink
        paper = STYLE.dark_paper if dark else STYLE.paper
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=paper)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        below = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, below / self.height, width / self.width, height / self.height)
        )

    def show(
        self,
        image: np.ndarray,
        left: float,
        top: float,
        width: int,
        height: int,
        shape: tuple[int, int] | None = None,
        limits: tuple[float, float] = (0, 1),
        bar: bool = True,
    ) -> Axes:
        """A picture, (H,W) or (H,W,3) uint8, or a map (H,W) of floats, grey where it is NaN.

        Args:
            shape: (rows, columns) that the axes count from 0 at the upper left corner; None counts the image's own
                pixels, so that the centre of its first one is (0.5, 0.5).
            limits: the values of the first and the last colour of a map.
            bar: draw the colour bar of a map on its right.
        """
        rows, columns = image.shape[:2] if shape is None else shape
        low, high = limits if is_map(image) else (0, 255)
        axes = self.axes(left, top, width, height)
        axes.imshow(
            resize(image, self.sharpness * width, self.sharpness * height),
            cmap=colormaps[COLOUR_MAP].with_extremes(bad=(NO_DATA / 255,) * 3) if is_map(image) else "gray",
            vmin=low,
            vmax=high if high > low else low + 1,
            interpolation="nearest",
            aspect="auto",
            extent=(0, columns, rows, 0),
        )
        axes.set_axis_off()
        if bar and is_map(image):
            self.colour_bar(left + width + 10, top, height, limits)
        return axes

    def colour_bar(self, left: float, top: float, height: float, limits: tuple[float, float], unit: str = "") -> None:
        """The scale of a map, ``BAR`` pixels wide, with its ticks on the right and its unit above."""
        if unit:
            self.write(left, top + 6, unit, STYLE.small, STYLE.faint)
            top, height = top + 18, height - 18
        low, high = limits
        scale = ScalarMappable(Normalize(low, high if high > low else low + 1), COLOUR_MAP)
        bar = self.figure.colorbar(scale, cax=self.axes(left, top, BAR, height))
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
        style_ticks(bar.ax)

    def write(
        self,
        x: float,
        middle: float,
        text: str,
        size: float,
        colour: Any = None,
        align: str = "left",
        **properties: Any,
    ) -> None:
        """One line of text, ``middle`` being half the height of its letters; ``properties`` as of matplotlib."""
        place = {"ha": align, "va": "center_baseline", "parse_math": False}
        self.figure.text(
            x / self.width,
            1 - middle / self.height,
            text,
            **(font(size, self.ink if colour is None else colour) | place | properties),
        )

    def swatch(self, left: float, top: float, size: float, colour: np.ndarray) -> None:
        """A square in a colour of three uint8."""
        axes = self.axes(left, top, size, size)
        axes.set_facecolor(tuple(colour / 255))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)

    def save(self, path: str | Path, title: str | None = None) -> None:
        """Write the figure: a path that ends in .pdf or .svg gives that format, any other PNG, with the title."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.lower().lstrip(".")
        dpi = self.sharpness * DPI
        if kind != "pdf":
            metadata = {"Title": title} if title and kind != "svg" else None
            self.figure.savefig(path, format="svg" if kind == "svg" else "png", dpi=dpi, metadata=metadata)
            return
        # Publishers refuse the Type 3 fonts that are matplotlib's default; the setting is global, so one at a time.
        with _ONE_PDF, rc_context({"pdf.fonttype": 42}):
            self.figure.savefig(path, format="pdf", dpi=dpi)


class Legend:
    """Swatches and names of classes, in as many lines as they need.

    Args:
        entries: of ``palette.classes_present``.
        width: pixels that a line may take.
        size: of the names, pixels.
    """

    def __init__(self, entries: Sequence[ClassEntry], width: float, size: int):
        self.size, self.swatch = size, size + 1
        self.indent, self.pitch = 1.5 * self.swatch, self.swatch + 12
        self.lines: list[list[tuple[float, ClassEntry]]] = []
        left = 0.0
        for entry in entries:
            room = self.indent + text_width(entry.name, size) + 2 * self.swatch - 4
            if not self.lines or left + room > width:
                self.lines.append([])
                left = 0.0
            self.lines[-1].append((left, entry))
            left += room

    @property
    def height(self) -> int:
        """Pixels, 0 without entries."""
        return self.pitch * len(self.lines)

    def draw(self, sheet: Sheet, left: float, top: float) -> None:
        for line in self.lines:
            for indent, entry in line:
                sheet.swatch(left + indent, top, self.swatch, entry.colour)
                sheet.write(left + indent + self.indent, top + self.swatch / 2, entry.name, self.size)
            top += self.pitch


# -- text ------------------------------------------------------------------------------------------------------


def font(size: float, colour: str) -> dict[str, Any]:
    """Properties of text for matplotlib; the size is in pixels of the layout."""
    return {"fontsize": size * 72 / DPI, "family": STYLE.font, "color": colour}


def text_width(text: str, size: float, **properties: Any) -> float:
    """Pixels that a text of this size (pixels) takes."""
    properties = {"family": STYLE.font, "size": size, **properties}
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(**properties), False)[0])


def shorten(text: str, size: float, width: float) -> str:
    """A bold text cut to fit into ``width`` pixels, with an ellipsis where something is missing."""
    if text_width(text, size, weight="bold") <= width:
        return text
    while text and text_width(text + "…", size, weight="bold") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def style_ticks(axes: Axes) -> None:
    """Ticks and their labels in the style of all figures."""
    axes.tick_params(
        labelsize=STYLE.small * 72 / DPI,
        labelfontfamily=STYLE.font,
        color=STYLE.line,
        labelcolor=STYLE.faint,
        length=4,
    )


def number_badge(axes: Axes, number: int, x: float, y: float, transform: Any = None) -> None:
    """A number in a circle; ``transform`` says what x and y count, by default what the axes count."""
    axes.text(
        x,
        y,
        str(number),
        transform=axes.transData if transform is None else transform,
        ha="center",
        va="center_baseline",
        bbox={"boxstyle": "circle,pad=0.28", "facecolor": "white", "edgecolor": STYLE.ink, "linewidth": 1.4},
        **font(STYLE.small, STYLE.ink),
        weight="bold",
        zorder=10,
    )


# -- pictures --------------------------------------------------------------------------------------------------


def is_map(image: np.ndarray) -> bool:
    """Whether this is a map of values, (H,W) floats, rather than a picture of uint8."""
    return image.ndim == 2 and image.dtype != np.uint8


def fit_box(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest (width, height) of these proportions inside a box, whole pixels, at least 1 each."""
    scale = min(max_width / width, max_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture or map at exactly this size: averaged when it shrinks, its pixels kept visible when it grows."""
    grows = width >= image.shape[1]
    if image.dtype != np.uint8:
        image = np.asarray(image, dtype=np.float32)
    method = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), method))
