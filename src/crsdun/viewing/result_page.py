"""The report of one reconstruction: pictures, every band, spectra to click for, classes, and how it was made."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from crsdun.evaluation.metrics import class_scores, confusion_matrix
from crsdun.methods.verdict import describe_fit, describe_move
from crsdun.runtime import Reconstruction
from crsdun.scenes import Scene
from crsdun.viewing.averages import averaged
from crsdun.viewing.colour import NO_DATA, css_colour, measurement_picture, picture, wavelength_to_rgb
from crsdun.viewing.display import COLOUR_MAP, GAMMA, band_picture, error_map, error_size, size_of, upper_limit
from crsdun.viewing.pages import MAX_BYTES, Tile, command_line, exact_url, figure_tiles, picture_url, render
from crsdun.viewing.palette import class_picture, classes_present
from crsdun.viewing.pixel_selection import select_pixels

BANDS_ROOM = 1_700_000  # bytes for the pictures of all bands; spectra get the rest
BAND_SIDES = (640, 512, 384, 320, 256, 192, 128, 96, 64, 32)  # px, the first that fits
NONE = 65535  # the step of a spectrum where there is no data
BAND_QUALITY = 75  # of their lossy pictures


class ClassRow(NamedTuple):
    """A class that occurs: its pixels and its share of them; the other figures where the truth has classes."""

    name: str
    colour: str
    pixels: int
    share: float
    true_pixels: int | None = None
    iou: float | None = None
    precision: float | None = None
    recall: float | None = None


class MapPicture(NamedTuple):
    """A map in colour and its scale, both as URLs, the value at the upper end of the scale, and what it shows."""

    picture: str
    scale: str
    limit: float
    text: str


class Whole(NamedTuple):
    """A scene of which a result shows one pixel for each square: its rows and columns, and the side of a square."""

    height: int
    width: int
    side: int


def result_page(result: Reconstruction, whole: Whole | None = None) -> str:
    """The page ``report.html`` of a reconstruction, a whole HTML file of less than 5 MB.

    The pictures of bands and the spectra are as fine as fits; the page says how many pixels were averaged.

    Args:
        whole: where ``result`` only shows it, at a reduced size.
    """
    scene, truth, frame = result.scene, result.truth, result.measurement.frame
    whole = whole or Whole(scene.cube.shape[1], scene.cube.shape[2], 1)
    scenes = {"estimate": scene} if truth is None else {"estimate": scene, "truth": truth}
    classes = _class_rows(result)
    error = None if truth is None else _map_picture(error_map(scene.cube, truth.cube), "RMSE over bands")
    data: dict[str, Any] = {
        "name": scene.name,
        "height": whole.height,
        "width": whole.width,
        "side": whole.side,
        "wavelengths": scene.wavelengths,
        "light": _light(scene),
        "gamma": GAMMA,
        "pictures": {name: _pictures(each, like=truth) for name, each in scenes.items()},
        "classes": [{"name": row.name, "colour": row.colour} for row in classes],
        "points": [
            [int(part) * whole.side for part in point]
            for point in select_pixels(scene.cube if truth is None else truth.cube, 3)
        ],
        "error": error and error.picture,
        "bands": _bands(scenes),
        "spectra": None,
    }
    pictures, maps = data["pictures"]["estimate"], _maps(result)
    if result.classes is not None:
        pictures["classes"] = exact_url(class_picture(result.classes))
    pictures |= {name: each.picture for name, each in maps.items()}
    page = partial(
        render,
        "result",
        data,
        summary=size_of(scene, whole.height, whole.width),
        whole=whole,
        description=picture(scene)[1],
        record=result.record,
        command=command_line(result.record["command"]),
        tiles=_tiles(result),
        protocol=result.metrics.get("protocol"),
        warning=result.warning,
        fit=describe_fit(result.metrics),
        move=describe_move(result.metrics),
        missing=result.metrics.get("voxels_without_data"),
        class_note=result.metrics.get("class_note"),
        classes=classes,
        calibrated=result.metrics.get("calibrated"),
        unknown=result.metrics.get("unknown"),
        coverage=result.metrics.get("coverage"),
        maps=maps,
        error=error,
        frame=picture_url(measurement_picture(frame)),
        frame_range=(float(frame.min()), float(frame.max())),
        frame_size=(whole.height, whole.width + result.camera.span) if whole.side > 1 else frame.shape,
        incomplete=result.measurement.incomplete,
        mask=picture_url(_mask_picture(result)),
        camera=result.camera,
        truth=truth,
    )
    data["spectra"] = _spectra(scenes, MAX_BYTES - len(page(averaged=1).encode()))
    data["spectra"]["factor"] *= whole.side
    return page(averaged=data["spectra"]["factor"])


# -- for the script --------------------------------------------------------------------------------------------


def _pictures(scene: Scene, like: Scene | None) -> dict[str, str | None]:
    return {
        "colour": picture_url(picture(scene, like)[0]),
        "classes": None if scene.classes is None else exact_url(class_picture(scene.classes)),
    }


def _bands(scenes: Mapping[str, Scene]) -> dict[str, Any]:
    """Every band as a picture up to its own white, so that a dark one keeps its detail.

    ``white`` is that of the brightest cube at each band: the script dims by it to show all bands on one scale.
    """
    cubes = [scene.cube for scene in scenes.values()]
    white = [max(upper_limit(cube[band]) for cube in cubes) for band in range(len(cubes[0]))]
    for side in BAND_SIDES:
        urls = {
            name: [_band_url(band, limit, side) for band, limit in zip(scene.cube, white, strict=True)]
            for name, scene in scenes.items()
        }
        if sum(len(url) for each in urls.values() for url in each) <= BANDS_ROOM:
            break
    return {**urls, "white": white}


def _band_url(band: np.ndarray, white: float, side: int) -> str:
    image = Image.fromarray(band_picture(band, white))
    image.thumbnail((side, side), Image.Resampling.BOX)
    return picture_url(np.asarray(image), BAND_QUALITY)


def _spectra(scenes: Mapping[str, Scene], room: int) -> dict[str, Any]:
    """The cubes in 65 535 steps from ``low`` on, pixel by pixel (row, column, band), as base64 of uint16.

    ``none`` stands where there is no data. Squares of ``factor`` pixels are averaged, as few as fit into ``room``
    bytes.
    """
    C, H, W = scenes["estimate"].cube.shape

    def size(factor: int) -> float:
        """Bytes: base64 writes 2 bytes as 8/3 letters; a thousand for what surrounds them."""
        return len(scenes) * C * math.ceil(H / factor) * math.ceil(W / factor) * 8 / 3 + 1000

    factor = next((factor for factor in range(1, max(H, W)) if size(factor) <= room), max(H, W))
    cubes = {name: averaged(scene.cube, factor) for name, scene in scenes.items()}
    low = min(float(np.nanmin(cube)) for cube in cubes.values())
    high = max(float(np.nanmax(cube)) for cube in cubes.values())
    step = (high - low) / (NONE - 1) or 1.0
    values: dict[str, Any] = {}
    for name, cube in cubes.items():
        steps = np.rint((cube.astype(np.float64) - low) / step).transpose(1, 2, 0)
        steps = np.where(np.isnan(steps), NONE, steps)
        values[name] = base64.b64encode(np.ascontiguousarray(steps, dtype="<u2").tobytes()).decode()
    height, width = cubes["estimate"].shape[1:]
    return {**values, "factor": factor, "height": height, "width": width, "low": low, "step": step, "none": NONE}


def _light(scene: Scene) -> list[str]:
    """The colour in which each band is shown, white where the wavelengths are unknown."""
    if scene.wavelengths is None:
        return ["#ffffff"] * scene.bands
    return [css_colour(255 * np.array(wavelength_to_rgb(nm))) for nm in scene.wavelengths]


# -- for the template ------------------------------------------------------------------------------------------


def _tiles(result: Reconstruction) -> list[Tile]:
    return [
        *figure_tiles(result.metrics),
        Tile("data residual", f"{100 * result.metrics['data_residual']:.2f}", "%"),
        *(
            Tile(label, f"{100 * result.metrics[name]:.2f}", "%")
            for name, label in (("held_out_residual", "residual of pixels held out"), ("noise", "noise"))
            if name in result.metrics
        ),
        Tile("time", f"{result.record['seconds']:.1f}", "s"),
    ]


def _class_rows(result: Reconstruction) -> list[ClassRow]:
    """Pixels and shares of the map as shown, with unknown ones; scores of the class that every pixel has."""
    scene, truth, shown = result.scene, result.truth, result.classes
    if scene.classes is None or shown is None:
        return []
    estimated, true = scene.classes, None if truth is None else truth.classes
    entries = classes_present([shown, true], scene.class_names or (None if truth is None else truth.class_names))
    rows = []
    for number, name, colour in entries:
        pixels = int((shown == number).sum())
        rows.append(
            ClassRow("unknown" if number < 0 and pixels else name, css_colour(colour), pixels, pixels / shown.size)
        )
    if true is None:
        return rows
    count = max(int(each.max()) for each in (estimated, true)) + 1
    labels, answer = (torch.from_numpy(each.astype(np.int64)) for each in (true, estimated))
    scores = class_scores(confusion_matrix(answer, labels, count))
    for place, entry in enumerate(entries):
        row = rows[place]._replace(true_pixels=int((true == entry.number).sum()))
        if entry.number >= 0:
            iou, precision, recall = (float(scores[name][entry.number]) for name in ("iou", "precision", "recall"))
            row = row._replace(iou=iou, precision=precision, recall=recall)
        rows[place] = row
    return rows


def _maps(result: Reconstruction) -> dict[str, MapPicture]:
    """How far the estimate can be believed, by the name of the view."""
    maps = {}
    if result.doubt is not None:
        text = "probability of the class" if result.metrics.get("calibrated") else "largest softmax, not calibrated"
        maps["confidence"] = _map_picture(result.doubt.confidence, text, limit=1.0)
        if result.doubt.doubt is not None:
            maps["doubt"] = _map_picture(
                result.doubt.doubt, "doubt: the share of familiar pixels with less", limit=1.0
            )
    if result.error is not None:
        maps["expected error"] = _map_picture(error_size(result.error), "expected RMS error over bands")
    return maps


def _map_picture(values: np.ndarray, text: str, limit: float | None = None) -> MapPicture:
    limit = limit or upper_limit(values) or 1.0
    colours = np.rint(255 * colormaps[COLOUR_MAP](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    picture = colours[np.rint(255 * np.clip(np.nan_to_num(values) / limit, 0, 1)).astype(np.uint8)]
    picture[np.isnan(values)] = NO_DATA
    return MapPicture(picture_url(picture), exact_url(colours[None]), limit, text)


def _mask_picture(result: Reconstruction) -> np.ndarray:
    """The mask, its mean over bands where every band has its own, (H,W) uint8."""
    mask = result.camera.mask.float().cpu().numpy()
    mask = mask.mean(0) if mask.ndim == 3 else mask
    return np.rint(255 * mask / max(float(mask.max()), 1e-12)).astype(np.uint8)
