"""Pictures of a layer as PNG: colours, single bands, and maps of where an estimate can be trusted."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image

from crsdun.errors import InputError
from crsdun.evaluation import spectral_angles
from crsdun.scenes import Scene
from crsdun.viewing.app.open_scene import MOST_CLASSES, TRUTH, Layer, OpenScene, display_range
from crsdun.viewing.app.requests import AttentionRequest, PictureRequest
from crsdun.viewing.app.spectra import check_inside
from crsdun.viewing.colour import css_colour, false_colour, measurement_picture, picture
from crsdun.viewing.display import COLOUR_MAP as SEQUENTIAL
from crsdun.viewing.display import error_map, upper_limit

DIVERGING = "RdBu_r"  # readable for colour-blind eyes, as the sequential one


@dataclass(frozen=True)
class Legend:
    """What a picture shows; of a map also its range and its colour map."""

    text: str
    low: float | None = None
    high: float | None = None
    map: str | None = None


@dataclass(frozen=True)
class Picture:
    """(H,W) or (H,W,3) uint8; (H,W) indices of the colour map ``palette`` where there is one."""

    image: np.ndarray
    legend: Legend
    palette: str | None = None

    def png(self) -> bytes:
        image = Image.fromarray(self.image)
        if self.palette is not None:
            image.putpalette(_palette(self.palette))
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()


def render(scene: OpenScene, request: PictureRequest) -> Picture:
    """One picture.

    ``request.mode`` is ``colour`` · ``band`` · ``false`` three bands as red, green and blue · ``error`` RMSE over
    bands · ``angle`` between spectra · ``trust`` the residual mapped back to the scene · ``residual`` y − A x on the
    detector · ``measurement`` · ``confidence`` of the class map.

    Raises:
        InputError: there is no such layer, band or mode, or the scene lacks what it needs.
    """
    mode = request.mode
    if mode == "measurement":
        return _measurement(scene)
    layer, k = scene.layer(request.layer, request.stage)
    cube = layer.cubes[k]
    if any(not 0 <= band < len(cube) for band in request.bands):
        raise InputError("there is no such band", f"expected 0..{len(cube) - 1}")
    reference = scene.layers.get(TRUTH, layer)  # truth and estimates are shown alike
    like = reference.cubes[-1]
    if mode == "band":
        band = request.bands[0]
        low, high = display_range(like[band]) if request.stretch else reference.range
        grey = np.clip((cube[band] - low) * (255 / (high - low or 1)), 0, 255).astype(np.uint8)
        return Picture(grey, Legend("reflectance", low, high, "gray"))
    if mode == "false":
        image = false_colour(cube, list(request.bands), like=like)
        return Picture(image, Legend("false colour, each band stretched"))
    if mode in ("error", "angle", "confidence", "trust", "residual") and layer.name == TRUTH:
        mode = "colour"
    if mode == "colour":
        image, text = picture(
            Scene(cube, scene.wavelengths), None if like is cube else Scene(like, scene.wavelengths)
        )
        return Picture(image, Legend(text))
    if mode in ("error", "angle"):
        return _error(scene, cube, mode)
    if mode == "confidence":
        return _confidence(layer, k)
    if mode not in ("trust", "residual"):
        raise InputError(f"there is no display mode {mode!r}")
    return _residual(scene, cube, mode)


def attention(scene: OpenScene, request: AttentionRequest) -> Picture:
    """Where a block of cross-aggregation looks from a pixel, or on average from a box, over the darkened picture.

    ``request.block`` counts the layer's ``blocks``; ``request.map`` is ``association`` with super-tokens ·
    ``attention`` among them · ``sources``, the pixels it receives from.

    Raises:
        InputError: the layer has no such block, there is no such map, or the region lies outside the scene.
    """
    layer, k = scene.layer(request.layer)
    if not 0 <= request.block < len(layer.blocks) or request.map not in ("association", "attention", "sources"):
        raise InputError(f"{layer.name} has no such cross-aggregation to show", "choose weights of CRSDUN")
    check_inside(request.region, scene)
    top, left, height, width = (getattr(request.region, name) for name in ("top", "left", "height", "width"))
    weights = np.zeros(scene.shape[1:], dtype=np.float32)
    weights[top : top + height, left : left + width] = 1 / (height * width)
    with torch.inference_mode():
        maps = layer.blocks[request.block].look(torch.from_numpy(weights))
    values = getattr(maps, request.map)
    high = float(values.max()) or 1.0
    share = np.clip(values / high, 0, 1)[..., None]
    image, _ = picture(Scene(layer.cubes[k], scene.wavelengths))
    grey = image.mean(-1, keepdims=True) * 0.45
    heat = np.array(_palette(SEQUENTIAL)).reshape(-1, 3)[(255 * share[..., 0]).astype(int)]
    mixed = grey * (1 - share) + heat * np.sqrt(share)
    return Picture(np.clip(mixed, 0, 255).astype(np.uint8), Legend(request.map, 0, high))


def class_bytes(scene: OpenScene, name: str, stage: int | None) -> np.ndarray:
    """The class of each pixel as a byte (H,W); 255 where it is unlabelled, or 255 or more.

    Raises:
        InputError: this layer has no classes.
    """
    layer, k = scene.layer(name, stage)
    classes = layer.class_maps[k]
    if classes is None:
        raise InputError(f"{name} has no class map at this stage")
    return np.where((classes < 0) | (classes > MOST_CLASSES), MOST_CLASSES, classes).astype(np.uint8)


def _error(scene: OpenScene, cube: np.ndarray, mode: str) -> Picture:
    if TRUTH not in scene.layers:
        raise InputError("an error map needs the true scene", "open it with the measurement")
    truth = scene.layers[TRUTH].cubes[0]
    if mode == "error":
        return _map(error_map(cube, truth), "RMSE over bands")
    angles = spectral_angles(torch.from_numpy(cube), torch.from_numpy(truth)).numpy()
    return _map(np.where((truth != 0).any(0), angles, 0), "spectral angle (degrees)")


def _confidence(layer: Layer, k: int) -> Picture:
    probabilities = layer.probabilities[k]
    if probabilities is None:
        raise InputError(f"{layer.name} has no class probabilities at this stage")
    return _map(probabilities.max(0), "probability of the most probable class", low=0.0, high=1.0)


def _measurement(scene: OpenScene) -> Picture:
    if scene.measurement is None:
        raise InputError("there is no measurement here", "open one, or simulate it")
    return Picture(measurement_picture(scene.measurement.frame), Legend("the coded measurement y"))


def _residual(scene: OpenScene, cube: np.ndarray, mode: str) -> Picture:
    camera, measurement = scene.cpu_camera, scene.measurement
    if camera is None or measurement is None:
        raise InputError("there is no measurement here", "open one, or simulate it")
    # A scene's bands are sorted from blue to red; the camera may spread them the other way.
    order = range(camera.bands) if camera.wavelengths is None else np.argsort(np.argsort(camera.wavelengths))
    in_camera_order = torch.from_numpy(cube[np.asarray(order)])
    residual = torch.from_numpy(measurement.frame) - camera.forward(in_camera_order)
    if mode == "trust":
        at_scene = camera.gather(residual.abs()).mean(0) / float(np.abs(measurement.frame).mean() or 1)
        return _map(at_scene.numpy(), "|y − A x| where this pixel’s light fell, relative to the mean of y")
    values = residual.numpy()
    limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
    index = np.clip((values / limit + 1) * 127.5, 0, 255).astype(np.uint8)
    return Picture(index, Legend("y − A x on the detector", -limit, limit, DIVERGING), DIVERGING)


def _map(values: np.ndarray, text: str, low: float = 0.0, high: float | None = None) -> Picture:
    high = upper_limit(values) if high is None else high
    index = np.clip((values - low) * (255 / (high - low or 1)), 0, 255).astype(np.uint8)
    return Picture(index, Legend(text, low, high, SEQUENTIAL), SEQUENTIAL)


@cache
def _palette(name: str) -> list[int]:
    import matplotlib

    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.rint(255 * colours).astype(int).reshape(-1).tolist()


def map_stops(name: str, count: int = 9) -> list[str]:
    """A colour map as CSS colours, from its lowest value to its highest."""
    palette = np.array(_palette(name)).reshape(-1, 3)
    return [css_colour(palette[index]) for index in np.linspace(0, 255, count).astype(int)]
