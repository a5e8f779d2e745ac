"""The dock that draws the spectra of clicked pixels, over each other, and saves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from napari import Viewer
from napari.layers import Points
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from crsdun.errors import InputError
from crsdun.interop.napari.layers import SOURCE
from crsdun.interop.napari.picking import Cube, shown_plane, spectra_table, visible_cubes
from crsdun.interop.napari.presence import Presence
from crsdun.interop.napari.wording import message
from crsdun.storage import write_text
from crsdun.viewing.palette import class_colours
from crsdun.viewing.sheet import STYLE, style_ticks
from crsdun.viewing.spectrum_plot import draw_light

PLACES = "places"  # what the layer of the clicked pixels was made of
BADGE = 0.04  # size of a point, as a share of the scene
STILL = 3  # pixels of the screen that a click may move
DASHES = ("-", "--", "-.", ":")  # one for each cube
ADVICE = "Click a pixel of a cube. Further clicks are drawn with it."


class SpectraDock(QWidget):
    """A click adds a numbered point, and its spectrum in every visible cube.

    The points are a layer of napari, whose own tools move and delete them. Colours tell the points apart, dashes the
    cubes.
    """

    def __init__(self, napari_viewer: Viewer):  # the name by which napari gives it
        super().__init__()
        self.viewer = viewer = napari_viewer
        self.figure = Figure(figsize=(5, 3.4), facecolor=STYLE.paper, layout="constrained")
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setMinimumSize(300, 240)
        self.says = QLabel(ADVICE)
        self.says.setWordWrap(True)
        self.says.setMinimumHeight(2 * self.says.fontMetrics().lineSpacing())
        clear, save = QPushButton("Clear"), QPushButton("Save CSV …")
        clear.clicked.connect(self.clear)
        save.clicked.connect(self.ask_and_save)
        buttons = QHBoxLayout()
        for each in (clear, save):
            buttons.addWidget(each)
        layout = QVBoxLayout(self)
        layout.addWidget(self.canvas, stretch=1)
        layout.addWidget(self.says)
        layout.addLayout(buttons)
        self.band: Any = None  # the line at the band that is shown
        viewer.mouse_drag_callbacks.append(self._pressed)
        viewer.layers.events.connect(self._changed)
        viewer.dims.events.current_step.connect(self._slide)
        self._presence = Presence(self, self._leave)
        if self.points is not None:  # of an earlier dock
            self._take_up(self.points)
        self.draw()

    def _leave(self) -> None:
        """Hear nothing more of the viewer."""
        self.viewer.mouse_drag_callbacks.remove(self._pressed)
        self.viewer.layers.events.disconnect(self._changed)
        if self.points is not None:
            self.points.events.data.disconnect(self._numbered)
        self.viewer.dims.events.current_step.disconnect(self._slide)

    # -- places -------------------------------------------------------------------------------------------------

    @property
    def points(self) -> Points | None:
        """The layer of the clicked pixels; None before the first click."""
        return next((each for each in self.viewer.layers if each.metadata.get(SOURCE) == PLACES), None)

    @property
    def places(self) -> np.ndarray:
        """The clicked places, (N,2) y and x in the coordinates of the viewer."""
        points = self.points
        return np.empty((0, 2)) if points is None else np.asarray(points.data)[:, -2:]

    def _pressed(self, viewer: Viewer, event: Any) -> Iterator[None]:
        """A click, and not the beginning of a drag; other tools than the one that moves the view keep theirs."""
        active = viewer.layers.selection.active
        if event.button != 1 or (active is not None and str(active.mode) != "pan_zoom"):
            return
        pressed = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - pressed).max() <= STILL:
            self.add(event.position[-2:])

    def add(self, place: Any) -> None:
        """Add a place (y, x), at the centre of the pixel there."""
        if not shown_plane(self.viewer):
            self.says.setText("Show rows and columns in 2-D to choose pixels.")
            return
        centres = [cube.centre(pixel) for cube in visible_cubes(self.viewer) if (pixel := cube.pixel(place))]
        if not centres:
            self.says.setText("There is no visible cube here: open one, or decode a measurement.")
            return
        place = centres[0]
        points, active = self.points, self.viewer.layers.selection.active
        if points is None:
            points = self.viewer.add_points(
                place[None],
                name="spectra",
                size=max(3.0, BADGE * max(self.viewer.dims.range[axis].stop for axis in (-2, -1))),
                border_color="white",
                border_width=0.1,
                metadata={SOURCE: PLACES},
            )
            if active is not None:
                self.viewer.layers.selection.active = active
            self._take_up(points)
        else:
            points.add(place)

    def _take_up(self, points: Points) -> None:
        points.events.data.connect(self._numbered)
        self._numbered()

    def clear(self) -> None:
        """Forget all places."""
        if self.points is not None:
            self.viewer.layers.remove(self.points)
        self.draw()

    def _numbered(self, _: Any = None) -> None:
        """Number and colour the points anew, and draw their spectra."""
        points = self.points
        if points is None:
            return
        count = len(points.data)
        with points.events.data.blocker(self._numbered):
            points.features = {"number": np.arange(1, count + 1)}
            if count:
                colours = class_colours(count) / 255
                points.face_color = colours
                bright = colours @ (0.2126, 0.7152, 0.0722) > 0.5
                points.text = {"string": "{number}", "size": 9, "color": np.where(bright, "black", "white")}
        self.draw()

    def _changed(self, event: Any) -> None:
        """Draw anew if other cubes are shown than before; layers tell of much besides."""
        other_data = event.type == "data" and event.sources[0] is not self.points  # which are heard already
        if other_data or event.type in ("inserted", "removed", "reordered", "visible", "name"):
            self.draw()

    # -- drawing ------------------------------------------------------------------------------------------------

    def draw(self, _: Any = None) -> None:
        """Draw all spectra, and say what is not drawn."""
        cubes = visible_cubes(self.viewer)
        known = [cube for cube in cubes if cube.wavelengths is not None]
        drawn = known or cubes  # bands and nanometres have no axis in common
        self.figure.clear()
        axes = self.figure.add_subplot()
        for number, (place, colour) in enumerate(zip(self.places, class_colours(len(self.places)), strict=True), 1):
            for cube, dash in zip(drawn, DASHES * len(drawn), strict=False):
                pixel = cube.pixel(place)
                if pixel is not None:
                    spectrum = cube.spectrum(pixel)
                    style = {"color": colour / 255, "marker": "o" if len(spectrum) == 1 else ""}
                    axes.plot(_axis(cube), spectrum, dash, label=f"{number} · {cube.name}", **style)
                    if cube is drawn[0] and np.isfinite(spectrum[-1]):
                        beside = axes.get_yaxis_transform()
                        axes.text(1.01, spectrum[-1], str(number), color=colour / 255, transform=beside, fontsize=8)
        self._style(axes, drawn)
        self.band = axes.axvline(0, color=STYLE.faint, linewidth=0.8, visible=False)
        left_out = [cube.name for cube in cubes if cube not in drawn]
        unseen = f"Without wavelengths, and not drawn: {', '.join(left_out)}"
        self.says.setText(unseen if left_out else self._last_place() or ADVICE)
        self._mark_band()

    def _style(self, axes: Axes, drawn: Sequence[Cube]) -> None:
        axes.set_visible(bool(axes.lines))
        style_ticks(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=STYLE.line, linewidth=0.7)
        ends = [each.wavelengths for each in drawn if each.wavelengths is not None]
        axes.set_xlabel("wavelength (nm)" if ends else "band", fontsize=9, color=STYLE.faint)
        if not axes.lines:
            return
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if ends:
            first, last = min(each[0] for each in ends), max(each[-1] for each in ends)
            margin = 0 if last > first else 1
            axes.set_xlim(first - margin, last + margin)
            draw_light(axes)
        lines: list[Any] = [Line2D([], [], color=STYLE.ink) for _ in drawn]
        for line, dash in zip(lines, DASHES * len(drawn), strict=False):
            line.set_linestyle(dash)
        legend = self.figure.legend(
            lines, [cube.name for cube in drawn], loc="outside lower left", fontsize=8, frameon=False, handlelength=3
        )
        for text in legend.get_texts():
            text.set_parse_math(False)

    def _last_place(self) -> str:
        """The last pixel, as the upmost cube counts it."""
        places, cubes = self.places, visible_cubes(self.viewer)
        pixel = cubes[0].pixel(places[-1]) if cubes and len(places) else None
        return "" if pixel is None else f"{len(places)}: row {pixel[0]}, column {pixel[1]}"

    def _slide(self, _: Any = None) -> None:
        """Follow the sliders: to another cube of a series, or only to another band."""
        if self.viewer.dims.ndim > 3:
            self.draw()
        else:
            self._mark_band()

    def _mark_band(self) -> None:
        cubes = visible_cubes(self.viewer)
        if cubes and self.band is not None and self.viewer.dims.ndim > 2:
            cube, count = cubes[0], len(cubes[0].data)
            band = int(np.clip(round(float(self.viewer.dims.point[-3])), 0, count - 1))
            at = _axis(cube)[band]
            self.band.set_xdata([at, at])
            self.band.set_visible(True)
            unit = "" if cube.wavelengths is None else f": {at:.0f} nm"
            self.figure.axes[0].set_title(f"band {band + 1} of {count}{unit}", fontsize=9, color=STYLE.faint)
        self.canvas.draw_idle()

    # -- saving -------------------------------------------------------------------------------------------------

    def ask_and_save(self) -> None:
        """Save what is drawn in a file that the person names."""
        path, _ = QFileDialog.getSaveFileName(self, "Save spectra", "spectra.csv", "Tables (*.csv)")
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the spectra of all places in all visible cubes."""
        try:
            if not len(self.places):
                raise InputError("there is nothing to save", "click a pixel first")
            write_text(path, spectra_table(visible_cubes(self.viewer), self.places))
        except InputError as error:
            self.says.setText(message(error))
        else:
            self.says.setText(f"Saved {path}")


def _axis(cube: Cube) -> np.ndarray:
    """The wavelengths of a cube, or the numbers of its bands from 1."""
    return np.arange(1, len(cube.data) + 1) if cube.wavelengths is None else np.asarray(cube.wavelengths)
