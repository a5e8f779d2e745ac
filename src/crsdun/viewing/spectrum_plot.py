"""Spectra of one pixel as lines over the wavelength, as figures show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties

from crsdun.errors import InputError
from crsdun.viewing.colour import VISIBLE, wavelength_to_rgb, with_data
from crsdun.viewing.sheet import DPI, STYLE, font, number_badge, style_ticks, text_width

TRUTH = "truth"  # the name of the spectrum that the others are compared with


def check_pixels(pixels: Sequence[tuple[int, int]], height: int, width: int) -> None:
    """Raise an InputError where a pixel (row, column) lies outside a scene."""
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(
                f"the pixel at row {row}, column {column} lies outside the scene of {height}×{width} pixels"
            )


def plot_spectra(
    axes: Axes,
    spectra: Mapping[str, np.ndarray],
    wavelengths: Sequence[float] | None,
    number: int,
    labelled: bool = True,
) -> None:
    """Spectra of one numbered pixel, with a legend above the curves and the colour of the light on the axis.

    Args:
        spectra: (C,) by name, with gaps where they are NaN. ``truth``, or a single one, is drawn solid, the others
            dashed with their correlation coefficient r with the truth in the legend.
        wavelengths: nm, in any order; None numbers the bands from 1.
        number: of the pixel.
        labelled: whether the axis of wavelengths has tick labels and a title.
    """
    bands = len(next(iter(spectra.values())))
    axis = np.arange(1, bands + 1) if wavelengths is None else np.asarray(wavelengths, dtype=float)
    width, height = (round(float(side), 6) for side in axes.bbox.size)
    _draw_lines(axes, axis, spectra)
    _style(axes, axis, spectra, width, height)
    number_badge(axes, number, 18 / width, 1 - 16 / height, axes.transAxes)
    axes.tick_params(labelbottom=labelled)
    if labelled:
        axes.set_xlabel("band" if wavelengths is None else "wavelength (nm)", **font(STYLE.small, STYLE.faint))
    if wavelengths is not None:
        draw_light(axes)


def _draw_lines(axes: Axes, axis: np.ndarray, spectra: Mapping[str, np.ndarray]) -> None:
    order = np.argsort(axis)
    truth = spectra.get(TRUTH)
    estimates = [name for name in spectra if name != TRUTH]
    for name, values in spectra.items():
        line: dict[str, Any]
        if name == TRUTH or len(spectra) == 1:
            line = {"color": STYLE.truth, "linestyle": "-", "linewidth": 2.2, "label": name}
        else:
            r = None if truth is None else _correlation(values, truth)
            cycle, index = divmod(estimates.index(name), len(STYLE.estimates))
            line = {
                "color": STYLE.estimates[index],
                "linestyle": ("--", "-.", ":")[cycle % 3],
                "linewidth": 2,
                "label": name if r is None else f"{name}   r = {r:.3f}",
            }
        axes.plot(axis[order], values[order], marker="o" if len(axis) == 1 else None, **line)


def _style(axes: Axes, axis: np.ndarray, spectra: Mapping[str, np.ndarray], width: float, height: float) -> None:
    known = with_data(np.concatenate([*spectra.values()]))
    lowest, highest = min(0.0, float(known.min(initial=0))), float(known.max(initial=-np.inf))
    highest = highest if highest > lowest else lowest + 1
    widest = max(text_width(str(line.get_label()), STYLE.small) for line in axes.get_lines())
    columns = 2 if len(spectra) > 3 and 2 * (widest + 55) < width - 34 else 1
    # Room above the curves for the legend, so that it never covers them.
    legend_part = min(0.6, (22 * -(-len(spectra) // columns) + 14) / height)
    axes.set_ylim(lowest, lowest + (highest - lowest) / (1 - legend_part))
    margin = 0.01 * np.ptp(axis) or 1
    axes.set_xlim(axis.min() - margin, axis.max() + margin)
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(34 / width, 1),
        ncols=columns,
        facecolor=STYLE.paper,
        edgecolor="none",
        framealpha=1,
        borderaxespad=0.2,
        handlelength=2.4,
        labelspacing=0.35,
        prop=FontProperties(family=STYLE.font, size=STYLE.small * 72 / DPI),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_color(STYLE.ink)
    style_ticks(axes)
    axes.grid(axis="y", color=STYLE.line, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(STYLE.line)


def draw_light(axes: Axes) -> None:
    """A thin strip on the wavelength axis, in the colour of the light."""
    grid = np.linspace(*axes.get_xlim(), 400)
    visible = (grid >= VISIBLE[0]) & (grid <= VISIBLE[1])
    if not visible.any():
        return
    strip = np.array([(*wavelength_to_rgb(nm), float(opacity)) for nm, opacity in zip(grid, visible, strict=True)])
    inset = axes.inset_axes((0, 0, 1, 0.02))
    inset.imshow(strip[None], aspect="auto", interpolation="bilinear")
    inset.set_axis_off()


def _correlation(estimate: np.ndarray, truth: np.ndarray) -> float | None:
    """Pearson's r of two spectra (C,), over the bands where both hold data, or None where one of them is flat."""
    known = ~np.isnan(estimate) & ~np.isnan(truth)
    estimate, truth = estimate[known], truth[known]
    if not known.any():
        return None
    a, b = (np.asarray(values, dtype=np.float64) - np.mean(values, dtype=np.float64) for values in (estimate, truth))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 1e-12 else None
