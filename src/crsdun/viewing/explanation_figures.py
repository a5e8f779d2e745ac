"""Pictures of what a network does inside: the estimate stage by stage, and where cross-aggregation looks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import MaxNLocator

from crsdun.errors import InputError
from crsdun.runtime import AttentionMaps, Explanation, RegionAttention, StageEstimate
from crsdun.viewing.colour import picture
from crsdun.viewing.figures import DPI, LOOK, _fit_box, _resize, _Sheet, _shorten, _style_ticks, _text_width
from crsdun.viewing.palette import class_colours, class_picture

PICTURE = 300  # px of a stage's picture at most
MAP = 172  # px of a map at most
NEAR = 7  # cells along the side of the part of the scene in which a pixel's association is shown
LEAST_TOP = 2.0  # of the scale of attention and sources: an even look stays dark

ROWS = {"association": "belongs to", "attention": "attends to", "sources": "receives from"}
ASKS = {"cube": "the cube asks the classes", "class": "the classes ask the cube"}
SIZES = {2: "half size", 1: "full size"}


def stage_sheet(explanation: Explanation, path: str | Path) -> None:
    """How x and θ grow: the scene in colour and the class map after every stage, and the truth where it is known.

    All pictures share one exposure, that of the truth or of the answer.

    Args:
        explanation: of ``crsdun.runtime.explain``.
        path: where the figure goes.
    """
    stages, truth = explanation.stages, explanation.truth
    like = explanation.answer if truth is None else truth
    columns = [(f"stage {k}", stage.scene, words(stage)) for k, stage in enumerate(stages, start=1)]
    if truth is not None:
        columns.append(("truth", truth, ("", "")))
    width, height = _fit_box(like.cube.shape[2], like.cube.shape[1], PICTURE, PICTURE)
    segmented = any(stage.scene.classes is not None for stage in stages)
    legend = _legend_of(explanation) if segmented else []

    margin, gap, header, caption, line = LOOK["margin"], LOOK["gap"], 30, 26, 25
    across = len(columns) * (width + gap) - gap
    name_width = max((_text_width(name, LOOK["small"]) for name, _ in legend), default=0) + 40
    per_line = max(1, int(across // name_width))
    rows = 2 if segmented else 1
    body = header + rows * (height + caption) + line * -(-len(legend) // per_line)
    sheet = _Sheet(2 * margin + across, 2 * margin + body + (8 if legend else 0))
    for place, (title, scene, (of_cube, of_classes)) in enumerate(columns):
        left, top = margin + place * (width + gap), margin + header
        sheet.write(left, margin + 8, title, LOOK["title"], weight="bold")
        sheet.show(_resize(picture(scene, like=like)[0], width, height), left, top, width, height)
        _caption(sheet, of_cube, left, top + height, width)
        if not segmented:
            continue
        top += height + caption
        if scene.classes is None:
            sheet.write(left, top + 14, "no class map", LOOK["small"], LOOK["faint"])
        else:
            sheet.show(_resize(class_picture(scene.classes), width, height), left, top, width, height)
        _caption(sheet, of_classes, left, top + height, width)
    top = margin + header + rows * (height + caption) + 14
    for place, (name, colour) in enumerate(legend):
        left, middle = margin + place % per_line * (across / per_line), top + place // per_line * line
        sheet.swatch(left, middle - 7, 14, colour)
        sheet.write(left + 22, middle, name, LOOK["small"])
    sheet.save(path)


def words(stage: StageEstimate) -> tuple[str, str]:
    """What is said below the picture and below the class map of a stage."""
    figures = stage.figures
    residual = f"residual {figures['data_residual']:.1%}"
    of_cube, of_classes = residual, ""
    if "psnr_db" in figures:
        of_cube = f"{figures['psnr_db']:.2f} dB   {residual}"
    elif "psnr_to_answer_db" in figures:
        of_cube = f"{figures['psnr_to_answer_db']:.1f} dB to the answer   {residual}"
    if "miou" in figures:
        of_classes = f"mIoU {figures['miou']:.3f}"
    if "same_class_as_answer" in figures:
        of_classes += f"{'   ' if of_classes else ''}{figures['same_class_as_answer']:.1%} as in the answer"
    return of_cube, of_classes


def look_sheet(explanation: Explanation, looks: RegionAttention, path: str | Path) -> None:
    """Where every block of cross-aggregation looks for a pixel or a region.

    One column for each block, stages below each other, three maps for each block: the super-tokens that the pixel
    belongs to (near it, for a single pixel), those that these attend to, and the pixels it receives from in the end.
    The last two are relative to an even look over the whole scene. Each kind of map has one scale for all blocks, so
    that they compare.

    Args:
        explanation: of ``crsdun.runtime.explain``.
        looks: of one of its questions, as ``explanation.pixel(row, column)``.
        path: where the figure goes.

    Raises:
        InputError: the network has no cross-aggregation.
    """
    if not looks.blocks:
        raise InputError("this network has no cross-aggregation: there is nothing to show of where it looks")
    answer = explanation.answer
    image = picture(answer)[0]
    grey = np.rint(image @ np.array([0.2126, 0.7152, 0.0722])).astype(np.uint8)
    width, height = _fit_box(image.shape[1], image.shape[0], MAP, MAP)
    single = int(looks.region.sum()) == 1
    near = _near(looks.region, explanation.blocks[0].cell) if single else (slice(None), slice(None))
    near_width, near_height = _fit_box(grey[near].shape[1], grey[near].shape[0], width, height)

    stages = [(k, list(group)) for k, group in groupby(looks.blocks, key=lambda look: look.stage)]
    most = max(len(group) for _, group in stages)
    margin, gap, label, bar = LOOK["margin"], LOOK["gap"], 26, 64
    title, header, between = 30, 46, 14
    left = margin + width + 2 * margin + label
    group_height = header + 3 * (height + gap) - gap + between
    sheet = _Sheet(
        left + most * (width + gap) - gap + bar + margin,
        2 * margin + title + max(len(stages) * group_height - between, 2 * (height + gap) + 60),
    )
    sheet.write(margin, margin + 8, _title(explanation, looks), LOOK["title"], weight="bold")

    # What is asked about, on the scene and on the class map.
    top = margin + title + header
    axes = sheet.show(_resize(image, width, height), margin, top, width, height)
    _mark(axes, looks.region, width, height, near)
    if answer.classes is not None:
        colours = _resize(class_picture(answer.classes), width, height)
        axes = sheet.show(colours, margin, top + height + gap, width, height)
        _mark(axes, looks.region, width, height)

    scales = {name: _scale(looks.blocks, name) for name in ROWS}
    for number, (stage, group) in enumerate(stages):
        first = margin + title + number * group_height
        for place, look in enumerate(group):
            at = left + place * (width + gap)
            if place == 0 or group[place - 1].branch != look.branch:
                sheet.write(at, first + 10, f"stage {stage}: {ASKS[look.branch]}", LOOK["text"], weight="bold")
            several = sum((each.branch, each.node) == (look.branch, look.node) for each in group) > 1
            name = SIZES[look.node] + (f", block {look.block}" if several else "")
            sheet.write(at, first + 32, _shorten(name, LOOK["small"], width), LOOK["small"], LOOK["faint"])
            for row, which in enumerate(ROWS):
                down = first + header + row * (height + gap)
                values = getattr(look, which)
                if which == "association":
                    drawn = _over(grey[near], values[near] / scales[which], near_width, near_height)
                    axes = sheet.show(drawn, at, down, near_width, near_height)
                    if single:
                        _mark(axes, looks.region[near], near_width, near_height)
                else:
                    sheet.show(_over(grey, values / scales[which], width, height), at, down, width, height)
        for row, (which, what) in enumerate(ROWS.items()):
            down = first + header + row * (height + gap)
            _write_upwards(sheet, left - 14, down + height / 2, what)
            unit = "share" if which == "association" else "× even"
            _bar(sheet, left + most * (width + gap), down, height, scales[which], unit)
    sheet.save(path)


def _legend_of(explanation: Explanation) -> list[tuple[str, tuple]]:
    """Names and colours of all classes that occur, in any stage or the truth."""
    scenes = [stage.scene for stage in explanation.stages]
    scenes += [] if explanation.truth is None else [explanation.truth]
    present = np.unique(np.concatenate([each.classes.ravel() for each in scenes if each.classes is not None]))
    present = present[present >= 0]
    names = explanation.answer.class_names
    colours = class_colours(int(present.max()) + 1) / 255
    return [(names[k] if names and k < len(names) else f"class {k}", tuple(colours[k])) for k in present]


def _caption(sheet: _Sheet, text: str, left: float, bottom: float, width: int) -> None:
    if text:
        sheet.write(left, bottom + 13, text, LOOK["small"], LOOK["faint"])


def _title(explanation: Explanation, looks: RegionAttention) -> str:
    answer = explanation.answer
    if looks.title.startswith("class ") or answer.classes is None:
        return looks.title
    number = int(np.bincount(answer.classes[looks.region]).argmax())
    return f"{looks.title}: {answer.class_names[number] if answer.class_names else f'class {number}'}"


def _near(region: np.ndarray, cell: int) -> tuple[slice, slice]:
    """Some cells around a pixel, inside the scene."""
    parts = []
    for place, side in zip(np.argwhere(region)[0], region.shape, strict=True):
        length = min(NEAR * cell, side)
        start = int(np.clip(place // cell * cell - NEAR // 2 * cell, 0, side - length))
        parts.append(slice(start, start + length))
    return parts[0], parts[1]


def _scale(looks: Sequence[AttentionMaps], which: str) -> float:
    """The value that is drawn brightest, over all blocks."""
    if which == "association":
        return max(float(look.association.max()) for look in looks)
    return max(LEAST_TOP, *(float(np.percentile(getattr(look, which), 99.8)) for look in looks))


def _over(grey: np.ndarray, values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map 0..1 in colour over a dimmed grey picture, (height, width, 3) uint8."""
    values = np.clip(_resize(values, width, height), 0, 1)
    tint = colormaps[LOOK["map"]](values)[..., :3]
    seen = _resize(grey, width, height)[..., None] / 255
    return np.rint(255 * np.clip(0.8 * tint + 0.3 * seen * (1 - 0.5 * values[..., None]), 0, 1)).astype(np.uint8)


def _mark(axes: Axes, region: np.ndarray, width: int, height: int, near: tuple[slice, slice] | None = None) -> None:
    """A ring around a single pixel, and a frame around what is shown near it; the outline of a region."""
    H, W = region.shape
    if int(region.sum()) == 1:
        row, column = np.argwhere(region)[0]
        centre = (column + 0.5) / W * width - 0.5, (row + 0.5) / H * height - 0.5
        for colour, line in (("black", 3.2), ("white", 1.6)):
            axes.add_patch(Circle(centre, 5.5, fill=False, edgecolor=colour, linewidth=line, zorder=5))
        if near is not None:
            rows, columns = near
            corner = columns.start / W * width - 0.5, rows.start / H * height - 0.5
            size = (columns.stop - columns.start) / W * width, (rows.stop - rows.start) / H * height
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.2, zorder=4))
    else:
        inside = _resize(region.astype(np.float32), width, height)
        axes.contour(inside, levels=[0.5], colors="white", linewidths=1.2)


def _bar(sheet: _Sheet, left: float, top: float, height: int, most: float, unit: str) -> None:
    axes = sheet.axes(left, top + 18, 12, height - 18)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap=LOOK["map"], aspect="auto", extent=(0, 1, 0, most))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_major_locator(MaxNLocator(4))
    _style_ticks(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    sheet.write(left, top + 6, unit, LOOK["small"], LOOK["faint"])


def _write_upwards(sheet: _Sheet, x: float, middle: float, text: str) -> None:
    font = {"fontsize": LOOK["small"] * 72 / DPI, "family": LOOK["font"], "color": LOOK["faint"]}
    sheet.figure.text(x / sheet.width, 1 - middle / sheet.height, text, rotation=90, ha="center", va="center", **font)
