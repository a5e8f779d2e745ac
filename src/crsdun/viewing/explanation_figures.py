"""Pictures of what a network does inside: the estimate stage by stage, and where cross-aggregation attends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Rectangle

from crsdun.errors import InputError
from crsdun.runtime import AttentionMaps, Explanation, RegionAttention, StageEstimate
from crsdun.viewing.colour import picture
from crsdun.viewing.display import COLOUR_MAP, upper_limit
from crsdun.viewing.palette import class_name, class_picture, classes_present
from crsdun.viewing.sheet import STYLE, Legend, Sheet, fit_box, resize, shorten

PICTURE = 300  # px of a stage's picture at most
MAP = 172  # px of a map at most
BAR_ROOM = 64  # px right of the maps for their colour bar and the numbers at its ticks
NEAR_CELLS = 7  # along the side of the part of the scene in which a pixel's association is shown
MIN_LIMIT = 2.0  # of the scale of attention and sources, so that uniform attention stays dark

# The maps of a block: attribute of ``AttentionMaps`` → what the row of maps is called.
MAPS = {"association": "belongs to", "attention": "attends to", "sources": "receives from"}
BRANCHES = {"cube": "cube queries classes", "class": "classes query cube"}
SIZES = {2: "half size", 1: "full size"}


def stage_sheet(explanation: Explanation, path: str | Path) -> None:
    """How x and θ grow: the scene in colour and the class map after every stage, and the truth where it is known.

    All pictures share one exposure, that of the truth or, without it, of the answer.

    Args:
        explanation: of ``crsdun.runtime.explain``.
        path: where the figure goes.
    """
    stages, truth = explanation.stages, explanation.result.truth
    like = explanation.answer if truth is None else truth
    columns = [(f"stage {k}", stage.scene, *stage_captions(stage)) for k, stage in enumerate(stages, start=1)]
    if truth is not None:
        columns.append(("truth", truth, "", ""))
    width, height = fit_box(like.cube.shape[2], like.cube.shape[1], PICTURE, PICTURE)
    margin, gap, header, caption = STYLE.margin, STYLE.gap, 30, 26
    across = len(columns) * (width + gap) - gap
    segmented = any(stage.scene.classes is not None for stage in stages)
    class_maps = [scene.classes for _, scene, *_ in columns]
    entries = classes_present(class_maps, explanation.answer.class_names) if segmented else []
    legend = Legend(entries, across, STYLE.small)
    below = margin + header + (2 if segmented else 1) * (height + caption)
    sheet = Sheet(2 * margin + across, below + legend.height + (8 if segmented else 0) + margin)
    for column, (title, scene, cube_caption, class_caption) in enumerate(columns):
        left, top = margin + column * (width + gap), margin + header
        sheet.write(left, margin + 8, title, STYLE.title, weight="bold")
        sheet.show(picture(scene, like=like)[0], left, top, width, height)
        sheet.write(left, top + height + 13, cube_caption, STYLE.small, STYLE.faint)
        if not segmented:
            continue
        top += height + caption
        if scene.classes is None:
            sheet.write(left, top + 14, "no class map", STYLE.small, STYLE.faint)
        else:
            sheet.show(class_picture(scene.classes), left, top, width, height)
        sheet.write(left, top + height + 13, class_caption, STYLE.small, STYLE.faint)
    legend.draw(sheet, margin, below + 7)
    sheet.save(path)


def stage_captions(stage: StageEstimate) -> tuple[str, str]:
    """The figures of a stage, as written below its picture and below its class map."""
    figures = stage.figures
    residual = f"residual {figures['data_residual']:.1%}"
    of_cube, of_classes = residual, []
    if "psnr_db" in figures:
        of_cube = f"{figures['psnr_db']:.2f} dB   {residual}"
    elif "psnr_to_answer_db" in figures:
        of_cube = f"{figures['psnr_to_answer_db']:.1f} dB to the answer   {residual}"
    if "miou" in figures:
        of_classes.append(f"mIoU {figures['miou']:.3f}")
    if "same_class_as_answer" in figures:
        of_classes.append(f"{figures['same_class_as_answer']:.1%} as in the answer")
    return of_cube, "   ".join(of_classes)


def attention_sheet(explanation: Explanation, attention: RegionAttention, path: str | Path) -> None:
    """Where every block of cross-aggregation attends for a pixel or a region.

    One column for each block, stages below each other, three maps for each block: the super-tokens that the pixel
    belongs to (near it, for a single pixel), those that these attend to, and the pixels it receives from in the end.
    The last two are relative to uniform attention over the whole scene. Each kind of map has one scale for all
    blocks, so that they compare.

    Args:
        explanation: of ``crsdun.runtime.explain``.
        attention: of one region of it, such as ``explanation.pixel(row, column)``.
        path: where the figure goes.

    Raises:
        InputError: the network has no cross-aggregation.
    """
    blocks, region, answer = attention.blocks, attention.region, explanation.answer
    if not blocks:
        raise InputError("this network has no cross-aggregation: there is no attention to show")
    image = picture(answer)[0]
    grey = np.rint(image @ np.array([0.2126, 0.7152, 0.0722])).astype(np.uint8)
    width, height = fit_box(image.shape[1], image.shape[0], MAP, MAP)
    single = int(region.sum()) == 1
    near = _surroundings(region, explanation.blocks[0].cell) if single else (slice(None), slice(None))
    near_width, near_height = fit_box(grey[near].shape[1], grey[near].shape[0], width, height)

    stages = [(stage, list(group)) for stage, group in groupby(blocks, key=lambda maps: maps.stage)]
    columns = max(len(group) for _, group in stages)
    margin, gap, label = STYLE.margin, STYLE.gap, 26
    title, header, between = 30, 46, 14
    left = margin + width + 2 * margin + label
    bars = left + columns * (width + gap)
    stage_height = header + 3 * (height + gap) - gap + between
    sheet = Sheet(
        bars - gap + BAR_ROOM + margin,
        2 * margin + title + max(len(stages) * stage_height - between, 2 * (height + gap) + 60),
    )
    sheet.write(margin, margin + 8, _title(explanation, attention), STYLE.title, weight="bold")

    # The pixel or region, on the scene and on the class map.
    top = margin + title + header
    _mark(sheet.show(image, margin, top, width, height), region, width, height, near)
    if answer.classes is not None:
        axes = sheet.show(class_picture(answer.classes), margin, top + height + gap, width, height)
        _mark(axes, region, width, height)

    limits = {name: _upper_limit(blocks, name) for name in MAPS}
    for number, (stage, group) in enumerate(stages):
        top = margin + title + number * stage_height
        for column, maps in enumerate(group):
            x = left + column * (width + gap)
            if column == 0 or group[column - 1].branch != maps.branch:
                sheet.write(x, top + 10, f"stage {stage}: {BRANCHES[maps.branch]}", STYLE.text, weight="bold")
            several = sum((other.branch, other.node) == (maps.branch, maps.node) for other in group) > 1
            name = SIZES[maps.node] + (f", block {maps.block}" if several else "")
            sheet.write(x, top + 32, shorten(name, STYLE.small, width), STYLE.small, STYLE.faint)
            for row, kind in enumerate(MAPS):
                y = top + header + row * (height + gap)
                values = getattr(maps, kind) / limits[kind]
                if kind == "association":
                    overlay = _overlay(grey[near], values[near], near_width, near_height)
                    axes = sheet.show(overlay, x, y, near_width, near_height, shape=grey[near].shape)
                    if single:
                        _mark(axes, region[near], near_width, near_height)
                else:
                    sheet.show(_overlay(grey, values, width, height), x, y, width, height)
        for row, (kind, heading) in enumerate(MAPS.items()):
            y = top + header + row * (height + gap)
            middle = y + height / 2
            sheet.write(left - 14, middle, heading, STYLE.small, STYLE.faint, "center", va="center", rotation=90)
            sheet.colour_bar(bars, y, height, (0, limits[kind]), "share" if kind == "association" else "× uniform")
    sheet.save(path)


def _title(explanation: Explanation, attention: RegionAttention) -> str:
    answer = explanation.answer
    if attention.title.startswith("class ") or answer.classes is None:
        return attention.title
    number = int(np.bincount(answer.classes[attention.region]).argmax())
    return f"{attention.title}: {class_name(number, answer.class_names)}"


def _surroundings(region: np.ndarray, cell: int) -> tuple[slice, slice]:
    """Rows and columns of some cells around a pixel, inside the scene."""
    parts = []
    for place, side in zip(np.argwhere(region)[0], region.shape, strict=True):
        length = min(NEAR_CELLS * cell, side)
        start = int(np.clip(place // cell * cell - NEAR_CELLS // 2 * cell, 0, side - length))
        parts.append(slice(start, start + length))
    return parts[0], parts[1]


def _upper_limit(blocks: Sequence[AttentionMaps], kind: str) -> float:
    """The value that is drawn brightest, over all blocks."""
    if kind == "association":
        return max(float(maps.association.max()) for maps in blocks)
    return max(MIN_LIMIT, *(upper_limit(getattr(maps, kind)) for maps in blocks))


def _overlay(grey: np.ndarray, values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map 0..1 in colour over a dimmed grey picture, (height, width, 3) uint8."""
    values = np.clip(resize(values, width, height), 0, 1)
    tint = colormaps[COLOUR_MAP](values)[..., :3]
    scene = resize(grey, width, height)[..., None] / 255
    return np.rint(255 * np.clip(0.8 * tint + 0.3 * scene * (1 - 0.5 * values[..., None]), 0, 1)).astype(np.uint8)


def _mark(axes: Axes, region: np.ndarray, width: int, height: int, near: tuple[slice, slice] | None = None) -> None:
    """A ring around a single pixel, and a frame around what is shown near it; the outline of a region."""
    H, W = region.shape
    if int(region.sum()) == 1:
        row, column = np.argwhere(region)[0]
        for colour, line in (("black", 3.2), ("white", 1.6)):
            ring = Ellipse((column + 0.5, row + 0.5), 11 * W / width, 11 * H / height)
            ring.set(fill=False, edgecolor=colour, linewidth=line, zorder=5)
            axes.add_patch(ring)
        if near is not None:
            rows, columns = near
            size = columns.stop - columns.start, rows.stop - rows.start
            corner = columns.start, rows.start
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.2, zorder=4))
    else:
        inside = resize(region.astype(np.float32), width, height)
        x, y = (np.arange(width) + 0.5) * W / width, (np.arange(height) + 0.5) * H / height
        axes.contour(x, y, inside, levels=[0.5], colors="white", linewidths=1.2)
