"""What scenes, measurements and estimates look like in a notebook: a few lines, and one drawing with some spectra.

The drawing is an SVG within a picture element: it runs nothing and loads nothing. Whatever is shown, all of it takes
less than 600 kilobytes, and of usual scenes some twenty.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from crsdun.optics.wavelengths import band_order
from crsdun.scenes import Measurement, Scene
from crsdun.showing import spectrum_in_words
from crsdun.spread import spread_evenly
from crsdun.viewing.colour import css_colour, measurement_picture, picture
from crsdun.viewing.display import size_of
from crsdun.viewing.pages import exact_url, fragment, picture_url
from crsdun.viewing.palette import class_colours, class_picture, classes_present
from crsdun.viewing.pixel_selection import select_pixels

if TYPE_CHECKING:
    from crsdun.optics import Estimate

WIDEST, HIGHEST = 320, 240  # px of each picture
FINEST = 640  # pixels of a scene that are looked at along each side; of a larger one every second, every third …
POINTS, MOST_CORNERS = 3, 128  # spectra, and the bands that each is drawn through
MOST_NAMES = 8  # of classes
LETTER = 6.2  # px, the width of most letters of captions


@singledispatch
def as_html(thing: Any) -> str:
    """A piece of HTML that shows a scene, a measurement or an estimate.

    Raises:
        TypeError: it is something else.
    """
    # Estimates are made of tensors: whoever has one has loaded PyTorch, and nobody else needs to.
    from crsdun.optics import Estimate

    if isinstance(thing, Estimate):
        return _estimate(thing)
    raise TypeError(f"nobody knows how to show a {type(thing).__name__}")


@as_html.register
def _scene(scene: Scene) -> str:
    thin, step = thinned(scene)
    drawing = Drawing()
    image, description = picture(thin)
    known = thin.valid is None or bool(thin.valid.any())
    points = select_pixels(thin.cube, POINTS) if known else []
    drawing.add(image, description, points)
    if thin.classes is not None:
        drawing.add(class_picture(thin.classes), "classes", exact=True)
    if points:
        drawing.plot(thin, points, step)
    facts = [size_of(scene), values_of(scene.cube)]
    if scene.missing:
        facts.append(f"{scene.missing / scene.cube.size:.2%} without data")
    facts += names_of(scene)
    return drawing.html("Scene", scene.name, facts)


@as_html.register
def _measurement(measurement: Measurement) -> str:
    frame, mask = measurement.frame, measurement.mask
    drawing = Drawing()
    drawing.add(measurement_picture(_thin(frame)), "measurement")
    facts = [f"{frame.shape[0]}×{frame.shape[1]} pixels, {frame.dtype}", values_of(frame)]
    if mask is not None:
        drawing.add(measurement_picture(_thin(mask[0] if mask.ndim == 3 else mask)), "mask")
        facts.append(f"mask {mask.shape[-2]}×{mask.shape[-1]}{' for each band' if mask.ndim == 3 else ''}")
    if measurement.step is not None:
        facts.append(f"{measurement.step:g} pixels per band")
    if measurement.wavelengths is not None:
        facts.append(f"{len(measurement.wavelengths)} bands, {spectrum_in_words(measurement.wavelengths)}")
    if measurement.incomplete:
        facts.append(f"{measurement.incomplete} pixels lack light of voxels without data")
    return drawing.html("Measurement", measurement.name, facts)


def _estimate(estimate: Estimate) -> str:
    """The first of the batch."""
    drawing, facts = Drawing(), []
    labels = estimate.classes[0].cpu().numpy() if estimate.logits else None
    if estimate.cubes:
        cube = estimate.cube[0].detach().float().cpu().numpy()
        order, nm = band_order(estimate.wavelengths), estimate.wavelengths
        scene = Scene(
            np.where(np.isinf(cube), np.nan, cube if order is None else cube[order]),
            wavelengths=None if nm is None else tuple(sorted(nm)),
            classes=labels,
        )
        thin, step = thinned(scene)
        image, description = picture(thin)
        points = select_pixels(thin.cube, POINTS) if scene.missing < scene.cube.size else []
        drawing.add(image, description, points)
        facts += [size_of(scene), values_of(cube)]
    if labels is not None:
        drawing.add(class_picture(_thin(labels)), "classes", exact=True)
        facts.append(f"{estimate.logits[-1].shape[1]} classes")
    if estimate.cubes and points:
        drawing.plot(thin, points, step)
    stages = len(estimate.cubes)
    if stages > 1:
        facts.append(f"the last of {stages} stages")
    batch = len((estimate.cubes or estimate.logits)[-1])
    if batch > 1:
        facts.append(f"the first of {batch} in the batch")
    return drawing.html("Estimate", "", facts)


# -- the drawing ---------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A picture in the drawing, with the places of its numbered points, px."""

    left: int
    width: int
    height: int
    url: str
    rendering: str
    caption: str
    marks: list[tuple[float, float]]


class Line(NamedTuple):
    """A spectrum: where it lies in the scene, and pieces of it as points of a polyline; it has gaps without data."""

    place: str
    pieces: list[str]


@dataclass(frozen=True)
class Plot:
    """Spectra and what their axes say."""

    left: int
    lines: list[Line]
    first: str
    last: str
    high: str
    low: str


class Drawing:
    """Pictures side by side, and spectra beside them."""

    GAP, CAPTION = 12, 22  # px
    PLOT = (330, HIGHEST)

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.spectra: Plot | None = None
        self.width = 0

    def add(
        self, image: np.ndarray, caption: str, points: Sequence[tuple[int, int]] = (), exact: bool = False
    ) -> None:
        """A picture (H,W) or (H,W,3) uint8 with numbered points, (row, column); ``exact`` mixes no colours."""
        H, W = image.shape[:2]
        scale = min(WIDEST / W, HIGHEST / H)
        width, height = max(1, round(W * scale)), max(1, round(H * scale))
        small = Image.fromarray(image)
        if exact:  # and as it is not compressed much, no finer than it must be
            small.thumbnail((width, height), Image.Resampling.NEAREST)
        else:
            small.thumbnail((2 * width, 2 * height), Image.Resampling.BOX)  # for fine screens
        url = (exact_url if exact else picture_url)(np.asarray(small))
        rendering = "pixelated" if exact or scale > 1 else "auto"
        marks = [(self.width + (column + 0.5) * scale, (row + 0.5) * scale) for row, column in points]
        self.parts.append(Part(self.width, width, height, url, rendering, caption, marks))
        self.width += max(width, round(LETTER * len(caption))) + self.GAP

    def plot(self, scene: Scene, points: Sequence[tuple[int, int]], step: int) -> None:
        """The spectra at these points; ``step`` pixels of the whole scene are one of this."""
        bands = spread_evenly(scene.bands, MOST_CORNERS)
        axis = np.asarray(scene.wavelengths or range(1, scene.bands + 1), np.float64)[bands]
        values = np.stack([scene.cube[bands, row, column] for row, column in points]).astype(np.float64)
        low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
        x = np.full(len(bands), 0.5) if len(bands) == 1 else (axis - axis[0]) / (axis[-1] - axis[0])
        high = high if high > low else low + 1
        y = (high - values) / (high - low)
        width, height = self.PLOT
        lines = [
            Line(f"x {column * step}, y {row * step}", list(_pieces(self.width + width * x, height * each)))
            for (row, column), each in zip(points, y, strict=True)
        ]
        unit = "band {:g}" if scene.wavelengths is None else "{:.0f} nm"
        ends = unit.format(axis[0]), unit.format(axis[-1])
        self.spectra = Plot(self.width, lines, *ends, f"{high:.3g}", f"{low:.3g}")
        self.width += width + self.GAP

    def html(self, kind: str, name: str, facts: Sequence[str]) -> str:
        """The piece of HTML: the kind and the name of what is shown, the facts, and the drawing if there is any."""
        about = " · ".join(facts)
        title = f"<b>{kind}</b> {html.escape(name)}".rstrip()
        if not self.parts:
            return f"<div>{title}<br>{html.escape(about)}</div>"
        height = max([part.height for part in self.parts] + [HIGHEST] * (self.spectra is not None))
        lines = [] if self.spectra is None else self.spectra.lines
        drawn = fragment(
            "notebook.svg",
            width=self.width - self.GAP,
            height=height + self.CAPTION,
            parts=self.parts,
            plot=self.spectra,
            plot_width=self.PLOT[0],
            plot_height=self.PLOT[1],
            colours=[css_colour(colour) for colour in class_colours(len(lines))],
        )
        url = f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
        size = f'width="{self.width - self.GAP}" style="max-width:100%;height:auto;background:#fff"'
        shown = f'<img src="{url}" alt="{html.escape(kind.lower())}: {html.escape(about)}" {size}>'
        return f"<div>{title}<br>{html.escape(about)}<br>{shown}</div>"


def _pieces(x: np.ndarray, y: np.ndarray) -> Iterator[str]:
    """The runs between NaN, as points of polylines; a single point is a line of no length, which round caps show."""
    known = np.isfinite(y)
    for run in np.split(np.arange(len(y)), np.flatnonzero(np.diff(known)) + 1):
        if len(run) and known[run[0]]:
            corners = [f"{x[each]:.1f},{y[each]:.1f}" for each in run]
            yield " ".join(corners if len(corners) > 1 else 2 * corners)


# -- facts ---------------------------------------------------------------------------------------------------------


def values_of(values: np.ndarray) -> str:
    """The range of the values that there are, in words."""
    with np.errstate(all="ignore"):
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return "no data" if np.isnan(low) else f"values {low:.4g} to {high:.4g}"


def names_of(scene: Scene) -> list[str]:
    """The classes that occur, in words; nothing where they are unknown."""
    if scene.classes is None:
        return []
    names = [entry.name for entry in classes_present([scene.classes], scene.class_names)]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return [f"classes: {', '.join(names[:MOST_NAMES])}{more}"]


# -- large scenes --------------------------------------------------------------------------------------------------


def thinned(scene: Scene) -> tuple[Scene, int]:
    """Every ``step``-th pixel of a scene, down and right, and that step."""
    step = -(-max(scene.cube.shape[1:]) // FINEST)
    if step == 1:
        return scene, 1
    classes = None if scene.classes is None else _thin(scene.classes)
    thin = Scene(_thin(scene.cube), scene.wavelengths, classes, scene.class_names, scene.name)
    return thin, step


def _thin(image: np.ndarray) -> np.ndarray:
    step = -(-max(image.shape[-2:]) // FINEST)
    return image[..., ::step, ::step]
