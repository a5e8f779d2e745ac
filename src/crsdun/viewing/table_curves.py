"""How systems get better while they learn: PSNR and mIoU against samples and against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps

from crsdun.viewing.sheet import Sheet, style_ticks

WIDTH, HEIGHT = 1400, 1000
LEFT, TOP, GAP = 70, 20, 90
LEGEND = 240  # px to the right
FIGURES = {"psnr_db": ("PSNR (dB)", 1), "miou": ("mIoU (%)", 100)}
AGAINST = {"samples": ("thousand samples", 1e-3), "seconds": ("minutes of one core", 1 / 60)}


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A PNG with four plots.

    Args:
        rows: each with ``system``, ``samples``, ``seconds`` and, where known, ``psnr_db`` and ``miou``.
    """
    systems = list(dict.fromkeys(row["system"] for row in rows))
    colours = [colormaps["tab20"](index % 20) for index in range(len(systems))]
    sheet = Sheet(WIDTH, HEIGHT)
    width, height = (WIDTH - LEFT - GAP - LEGEND) / 2, (HEIGHT - TOP - 2 * GAP) / 2
    for line, (figure, (label, scale)) in enumerate(FIGURES.items()):
        for column, (against, (unit, per)) in enumerate(AGAINST.items()):
            axes = sheet.axes(LEFT + column * (width + GAP), TOP + line * (height + GAP), width, height)
            for system, colour in zip(systems, colours, strict=True):
                points = [row for row in rows if row["system"] == system and row.get(figure) is not None]
                x, y = [per * row[against] for row in points], [scale * row[figure] for row in points]
                axes.plot(x, y, color=colour, label=system, marker=".", linewidth=1.5)
            axes.set_xlabel(unit)
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
            style_ticks(axes)
            if line == 0 and column == 1:
                axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=8)
    sheet.save(path)
