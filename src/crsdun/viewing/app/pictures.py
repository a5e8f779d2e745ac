"""What is looked at, as PNG: colours, single bands, and maps of where an estimate can be trusted."""

from __future__ import annotations

import io
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from crsdun.errors import InputError
from crsdun.evaluation import spectral_angles
from crsdun.scenes import Scene
from crsdun.viewing.app.spectra import Region
from crsdun.viewing.app.workspace import TRUTH, Layer, Workspace, spread
from crsdun.viewing.colour import css_colour, false_colour, measurement_picture, picture
from crsdun.viewing.display import COLOUR_MAP as SEQUENTIAL
from crsdun.viewing.display import error_map, upper_limit

DIVERGING = "RdBu_r"  # told apart by colour-blind eyes


class View(NamedTuple):
    """A picture (H,W), (H,W,3) uint8, or (H,W) indices of a colour map; and what the page says about it."""

    image: np.ndarray
    legend: dict[str, Any]
    map: str | None = None

    def png(self) -> bytes:
        picture = Image.fromarray(self.image)
        if self.map is not None:
            picture.putpalette(_palette(self.map))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return file.getvalue()


def look(subject: Workspace, name: str, stage: int | None, mode: str, bands: list[int], stretch: bool) -> View:
    """One picture.

    Args:
        name: of a layer.
        stage: from 1; None is the last one.
        mode: ``colour`` · ``band`` · ``false`` three bands as red, green and blue · ``error`` RMSE over bands ·
            ``angle`` between spectra · ``trust`` the residual as the scene sees it · ``residual`` y − A x on the
            detector · ``measurement`` · ``confidence`` of the class map.
        bands: one for ``band``, three for ``false``; from 0.
        stretch: over the values of the shown band rather than those of all bands.

    Raises:
        InputError: there is no such layer, band or mode, or it needs what is not there.
    """
    if mode == "measurement":
        return _measurement(subject)
    layer, place = subject.layer(name, stage)
    cube = layer.cubes[place]
    if any(not 0 <= band < len(cube) for band in bands):
        raise InputError("there is no such band", f"expected 0..{len(cube) - 1}")
    reference = subject.layers.get(TRUTH, layer)  # truth and estimates are shown alike
    like = reference.cubes[-1]
    if mode == "band":
        band = bands[0]
        low, high = spread(like[band]) if stretch else reference.spread
        grey = np.clip((cube[band] - low) * (255 / (high - low or 1)), 0, 255).astype(np.uint8)
        return View(grey, {"text": "reflectance", "low": low, "high": high, "map": "gray"})
    if mode == "false":
        return View(false_colour(cube, bands, like=like), {"text": "false colour, each band stretched"})
    if mode in ("error", "angle", "confidence", "trust", "residual") and layer.name == TRUTH:
        mode = "colour"
    if mode == "colour":
        scene = Scene(cube, subject.wavelengths)
        image, text = picture(scene, None if like is cube else Scene(like, subject.wavelengths))
        return View(image, {"text": text})
    if mode in ("error", "angle"):
        return _error(subject, cube, mode)
    if mode == "confidence":
        return _confidence(layer, place)
    if mode not in ("trust", "residual"):
        raise InputError(f"there is no way {mode!r} to look at it")
    return _residual(subject, cube, mode)


def attention(subject: Workspace, name: str, block: int, what: str, place: Region) -> View:
    """Where a block of cross-aggregation looks for a pixel, or on average for a box, over the darkened picture.

    Args:
        block: place among the layer's ``blocks``.
        what: ``association`` with super-tokens · ``attention`` among them · ``sources``, the pixels it receives from.

    Raises:
        InputError: this layer has no such block, or there is no such way to look.
    """
    layer, stage = subject.layer(name)
    if not 0 <= block < len(layer.blocks) or what not in ("association", "attention", "sources"):
        raise InputError(f"{name} has no cross-aggregation that could show this", "choose weights of CRSDUN")
    weights = np.zeros(subject.shape[1:], dtype=np.float32)
    weights[place.top : place.top + place.height, place.left : place.left + place.width] = 1 / (
        place.height * place.width
    )
    with torch.inference_mode():
        found = layer.blocks[block].look(torch.from_numpy(weights))
    values = getattr(found, what)
    high = float(values.max()) or 1.0
    share = np.clip(values / high, 0, 1)[..., None]
    image, _ = picture(Scene(layer.cubes[stage], subject.wavelengths))
    grey = image.mean(-1, keepdims=True) * 0.45
    heat = np.array(_palette(SEQUENTIAL)).reshape(-1, 3)[(255 * share[..., 0]).astype(int)]
    mixed = grey * (1 - share) + heat * np.sqrt(share)
    return View(
        np.clip(mixed, 0, 255).astype(np.uint8), {"text": what, "low": 0, "high": high, "tokens": found.tokens}
    )


def class_bytes(subject: Workspace, name: str, stage: int | None) -> np.ndarray:
    """The class of each pixel as a byte (H,W), 255 where unlabelled or from 255 on.

    Raises:
        InputError: this layer has no classes.
    """
    layer, place = subject.layer(name, stage)
    classes = layer.class_maps[place]
    if classes is None:
        raise InputError(f"{name} has no class map in this stage")
    return np.where((classes < 0) | (classes > 255), 255, classes).astype(np.uint8)


def _error(subject: Workspace, cube: np.ndarray, mode: str) -> View:
    if TRUTH not in subject.layers:
        raise InputError("an error map needs the true scene", "open it beside the measurement")
    truth = subject.layers[TRUTH].cubes[0]
    if mode == "error":
        return _map(error_map(cube, truth), "RMSE over bands")
    angles = spectral_angles(torch.from_numpy(cube), torch.from_numpy(truth)).numpy()
    return _map(np.where((truth != 0).any(0), angles, 0), "spectral angle (degrees)")


def _confidence(layer: Layer, place: int) -> View:
    probabilities = layer.probabilities[place]
    if probabilities is None:
        raise InputError(f"{layer.name} tells no class probabilities in this stage")
    return _map(probabilities.max(0), "probability of the most probable class", low=0.0, high=1.0)


def _measurement(subject: Workspace) -> View:
    if subject.measurement is None:
        raise InputError("there is no measurement here", "open one, or simulate it")
    return View(measurement_picture(subject.measurement.frame), {"text": "the coded measurement y"})


def _residual(subject: Workspace, cube: np.ndarray, mode: str) -> View:
    camera, measurement = subject.cpu_camera, subject.measurement
    if camera is None or measurement is None:
        raise InputError("there is no measurement here", "open one, or simulate it")
    # A scene begins with blue, whichever way the camera spreads it.
    order = range(camera.bands) if camera.wavelengths is None else np.argsort(np.argsort(camera.wavelengths))
    in_camera_order = torch.from_numpy(cube[np.asarray(order)])
    residual = torch.from_numpy(measurement.frame) - camera.forward(in_camera_order)
    if mode == "trust":
        seen = camera.gather(residual.abs()).mean(0) / float(np.abs(measurement.frame).mean() or 1)
        return _map(seen.numpy(), "|y − A x| where this pixel’s light fell, relative to the mean of y")
    values = residual.numpy()
    limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
    index = np.clip((values / limit + 1) * 127.5, 0, 255).astype(np.uint8)
    return View(index, {"text": "y − A x on the detector", "low": -limit, "high": limit, "map": DIVERGING}, DIVERGING)


def _map(values: np.ndarray, text: str, low: float = 0.0, high: float | None = None) -> View:
    high = upper_limit(values) if high is None else high
    index = np.clip((values - low) * (255 / (high - low or 1)), 0, 255).astype(np.uint8)
    return View(index, {"text": text, "low": low, "high": high, "map": SEQUENTIAL}, SEQUENTIAL)


@cache
def _palette(name: str) -> list[int]:
    import matplotlib

    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.rint(255 * colours).astype(int).reshape(-1).tolist()


def map_stops(name: str, count: int = 9) -> list[str]:
    """A colour map as CSS colours from its lowest to its highest value."""
    palette = np.array(_palette(name)).reshape(-1, 3)
    return [css_colour(palette[index]) for index in np.linspace(0, 255, count).astype(int)]
