"""The report of one reconstruction: pictures, every band, spectra to click for, classes, and how it was made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from crsdun.evaluation import FIGURES
from crsdun.evaluation.metrics import class_scores, confusion_matrix
from crsdun.runtime import Reconstruction
from crsdun.scenes import UNLABELLED, Scene
from crsdun.viewing.colour import measurement_picture, picture, wavelength_to_rgb
from crsdun.viewing.figures import LOOK
from crsdun.viewing.pages import (
    LARGEST,
    command_line,
    exact_url,
    hexadecimal,
    packed,
    picture_url,
    render,
)
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours, class_picture
from crsdun.viewing.pixel_selection import select_pixels

BANDS_ROOM = 1_700_000  # bytes for the pictures of all bands; spectra get what is left
BAND_SIDES = (640, 512, 384, 320, 256, 192, 128, 96, 64, 32)  # px, the first that fits
GAMMA = 1.6  # as in the sheet of bands


def result_page(result: Reconstruction) -> str:
    """The page ``report.html`` of a reconstruction, a whole HTML file of less than 5 MB.

    Pictures of bands and the spectra are as fine as fit: the page says which pixels it averaged.
    """
    scene, truth = result.scene, result.truth
    scenes = {"estimate": scene} if truth is None else {"estimate": scene, "truth": truth}
    data: dict[str, Any] = {
        "name": scene.name,
        "height": scene.cube.shape[1],
        "width": scene.cube.shape[2],
        "wavelengths": scene.wavelengths,
        "light": [hexadecimal(tint) for tint in _light(scene)],
        "gamma": GAMMA,
        "pictures": {name: _pictures(each, like=truth) for name, each in scenes.items()},
        "classes": [{key: row[key] for key in ("name", "colour")} for row in _classes(result)],
        "points": select_pixels(scene.cube if truth is None else truth.cube, 3),
    }
    error = None if truth is None else _map(np.sqrt(np.square(scene.cube - truth.cube).mean(0)))
    data["error"] = error and error["picture"]
    values = {
        "facts": _facts(result),
        "description": picture(scene)[1],
        "record": result.record,
        "command": command_line(result.record["command"]),
        "figures": _figures(result),
        "protocol": result.metrics.get("protocol"),
        "classes": _classes(result),
        "error": error,
        "frame": picture_url(measurement_picture(result.measurement.frame)),
        "frame_range": [float(result.measurement.frame.min()), float(result.measurement.frame.max())],
        "frame_size": result.measurement.frame.shape,
        "mask": picture_url(_mask(result)),
        "camera": result.camera,
        "truth": truth,
    }
    data["bands"] = _bands(scenes)
    data["spectra"] = None
    left = LARGEST - len(render("result", data, **values, averaged=1).encode())
    data["spectra"] = _spectra(scenes, left)
    return render("result", data, **values, averaged=data["spectra"]["factor"])


# -- what the script shows -------------------------------------------------------------------------------------


def _pictures(scene: Scene, like: Scene | None) -> dict[str, str | None]:
    return {
        "colour": picture_url(picture(scene, like)[0]),
        "classes": None if scene.classes is None else exact_url(class_picture(scene.classes)),
    }


def _bands(scenes: dict[str, Scene]) -> dict[str, Any]:
    """Every band as a picture from its own black to its own white, so that a dark one keeps its detail.

    ``white`` is that of the brightest cube at each band: the script dims by it to show all bands on one scale.
    """
    cubes = [scene.cube for scene in scenes.values()]
    white = [max(float(np.percentile(cube[band], 99.8)) for cube in cubes) for band in range(len(cubes[0]))]
    for side in BAND_SIDES:
        urls = {
            name: [picture_url(_grey(band, full, side), 75) for band, full in zip(scene.cube, white, strict=True)]
            for name, scene in scenes.items()
        }
        if sum(len(url) for each in urls.values() for url in each) <= BANDS_ROOM:
            break
    return {**urls, "white": white}


def _grey(band: np.ndarray, full: float, side: int) -> np.ndarray:
    level = np.clip(band / full if full > 0 else np.zeros_like(band), 0, 1) ** (1 / GAMMA)
    image = Image.fromarray(np.rint(255 * level).astype(np.uint8))
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def _spectra(scenes: dict[str, Scene], room: int) -> dict[str, Any]:
    """The cubes in 65 536 steps between ``low`` and ``high``, pixel by pixel (row, column, band).

    Squares of ``factor`` pixels are averaged, as few as fit into ``room`` bytes.
    """
    C, H, W = scenes["estimate"].cube.shape
    factor = 1
    # base64 writes 2 bytes as 8/3 letters; a thousand for what stands around them.
    while len(scenes) * C * math.ceil(H / factor) * math.ceil(W / factor) * 8 / 3 + 1000 > room and factor < max(
        H, W
    ):
        factor += 1
    cubes = {name: _averaged(scene.cube, factor) for name, scene in scenes.items()}
    low = min(float(cube.min()) for cube in cubes.values())
    high = max(float(cube.max()) for cube in cubes.values())
    step = (high - low) / 65535 or 1.0
    values = {
        name: packed(np.rint((cube.astype(np.float64) - low) / step).transpose(1, 2, 0))
        for name, cube in cubes.items()
    }
    height, width = cubes["estimate"].shape[1:]
    return {**values, "factor": factor, "height": height, "width": width, "low": low, "step": step}


def _averaged(cube: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of pixels; those at the lower and right border may be cut."""
    if factor == 1:
        return cube
    rows, columns = (np.arange(0, side, factor) for side in cube.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(cube.astype(np.float64), rows, axis=1), columns, axis=2)
    counts = np.outer(np.diff(rows, append=cube.shape[1]), np.diff(columns, append=cube.shape[2]))
    return sums / counts


def _light(scene: Scene) -> np.ndarray:
    """The colour in which a band is shown, (C,3) uint8; white where nobody knows."""
    if scene.wavelengths is None:
        return np.full((scene.bands, 3), 255)
    return np.array([np.rint(255 * np.array(wavelength_to_rgb(nm))) for nm in scene.wavelengths])


# -- what the template writes ----------------------------------------------------------------------------------


def _facts(result: Reconstruction) -> str:
    bands, height, width = result.scene.cube.shape
    nm = result.scene.wavelengths
    span = "" if nm is None else f", {nm[0]:.0f}–{nm[-1]:.0f} nm"
    return f"{bands} band{'s' if bands > 1 else ''} of {height}×{width} pixels{span}"


def _figures(result: Reconstruction) -> list[tuple[str, str, str]]:
    """(name, value, unit) of every figure worth a tile."""
    metrics = result.metrics
    tiles = [
        (figure.name, figure.number(metrics[name]), figure.unit.strip())
        for name, figure in FIGURES.items()
        if metrics.get(name) is not None
    ]
    tiles.append(("data residual", f"{100 * metrics['data_residual']:.2f}", "%"))
    tiles.append(("time", f"{result.record['seconds']:.1f}", "s"))
    return tiles


def _classes(result: Reconstruction) -> list[dict[str, Any]]:
    """A row for each class that occurs: pixels and shares, and against the truth where that has classes."""
    scene, truth = result.scene, result.truth
    if scene.classes is None:
        return []
    maps = [scene.classes] if truth is None or truth.classes is None else [scene.classes, truth.classes]
    present = np.unique(np.concatenate([each.ravel() for each in maps]))
    count = max(int(present[-1]) + 1, 0)
    colours = [*class_colours(count), UNLABELLED_COLOUR]  # the last one is that of −1
    names = scene.class_names or (truth.class_names if truth is not None else None) or ()
    scores: dict[str, Any] = {}
    if len(maps) > 1 and count:
        estimated, true = (torch.from_numpy(each.astype(np.int64)) for each in maps)
        scores = class_scores(confusion_matrix(estimated, true, count))
    rows = []
    for label in map(int, present):
        pixels = int((scene.classes == label).sum())
        row: dict[str, Any] = {
            "name": names[label] if 0 <= label < len(names) else f"class {label}",
            "colour": hexadecimal(colours[label]),
            "pixels": pixels,
            "share": pixels / scene.classes.size,
        }
        if label == UNLABELLED:
            row["name"] = "unlabelled"
        if scores:
            row["true_pixels"] = int((maps[1] == label).sum())
            row |= {
                name: float(scores[name][label]) if label >= 0 else None for name in ("iou", "precision", "recall")
            }
        rows.append(row)
    return rows


def _map(error: np.ndarray) -> dict[str, Any]:
    """A map of floats in colour, its scale and a picture of that."""
    full = float(np.percentile(error, 99.8)) or 1.0
    colours = np.rint(255 * colormaps[LOOK["map"]](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    levels = np.rint(255 * np.clip(error / full, 0, 1)).astype(np.uint8)
    return {"picture": picture_url(colours[levels]), "bar": exact_url(colours[None]), "full": full}


def _mask(result: Reconstruction) -> np.ndarray:
    """The mask, its mean over bands where every band has its own, (H,W) uint8."""
    mask = result.camera.mask.float().cpu().numpy()
    mask = mask.mean(0) if mask.ndim == 3 else mask
    return np.rint(255 * mask / max(float(mask.max()), 1e-12)).astype(np.uint8)
