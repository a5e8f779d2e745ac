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
from crsdun.optics import CassiCamera
from crsdun.scenes import Measurement, Scene
from crsdun.viewing.app.open_scene import MOST_CLASSES, TRUTH, Layer, OpenScene, display_range
from crsdun.viewing.app.requests import AttentionRequest, PictureRequest
from crsdun.viewing.colour import NO_DATA, css_colour, false_colour, picture
from crsdun.viewing.display import COLOUR_MAP as SEQUENTIAL
from crsdun.viewing.display import error_map, upper_limit
from crsdun.viewing.regions import check_region, inside

DIVERGING = "RdBu_r"  # readable for colour-blind eyes, as the sequential one
COLOUR_MAPS = ("gray", SEQUENTIAL, "viridis", "cividis", DIVERGING)
COMPARED = ("error", "angle", "confidence", "trust", "residual")  # modes that an estimate has and the truth has not
MEASUREMENT_BLACK_AND_WHITE = (1, 99)  # percentiles
BINS, MOST_COUNTED = 64, 30_000  # of histograms, and about how many values they count
MOST_MAPS = 4  # that a scene keeps


@dataclass(frozen=True)
class Legend:
    """What a picture shows; of a map also its range, its colour map, and how often which value occurs.

    Attributes:
        counts: of the values, or of a sample of many, in ``BINS`` intervals of one width from ``least`` to ``most``.
    """

    text: str
    low: float | None = None
    high: float | None = None
    map: str | None = None
    least: float | None = None
    most: float | None = None
    counts: tuple[int, ...] = ()


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


@dataclass(frozen=True)
class ValueMap:
    """Values (H,W), and how they are shown where nothing else is requested: the range and the colour map."""

    values: np.ndarray
    text: str
    low: float
    high: float
    colours: str = SEQUENTIAL

    def picture(self, low: float | None, high: float | None, colours: str | None) -> Picture:
        """As a picture; None is as it is shown by itself."""
        low, high = self.low if low is None else low, self.high if high is None else high
        colours = colours or self.colours
        scaled = (self.values - low) * (255 / (high - low or 1))
        finite = np.isfinite(self.values)
        known = self.values if finite.all() else self.values[finite]
        least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        sample = known[:: max(1, known.size // MOST_COUNTED)].astype(np.float64)
        # Values that differ in their last digits alone are one value: no bins fit between them.
        differ = most - least > 1e-12 * max(abs(least), abs(most))
        counts, _ = np.histogram(sample, BINS, (least, most if differ else least + max(1.0, abs(least))))
        legend = Legend(self.text, low, high, colours, least, most, tuple(counts.tolist()))
        image = np.nan_to_num(np.clip(scaled, 0, 255)).astype(np.uint8)
        if finite.all():
            return Picture(image, legend, colours)
        image = np.array(_palette(colours), np.uint8).reshape(-1, 3)[image]
        image[~finite] = NO_DATA
        return Picture(image, legend)


def render(scene: OpenScene, request: PictureRequest) -> Picture:
    """One picture.

    ``request.mode`` is ``colour`` · ``false`` three bands as red, green and blue, or one of ``value_map``.

    Raises:
        InputError: there is no such layer, band or mode, or the scene lacks what it needs.
    """
    if request.colours is not None and request.colours not in COLOUR_MAPS:
        raise InputError(f"there is no colour map {request.colours!r}", f"choose one of {', '.join(COLOUR_MAPS)}")
    values = value_map(scene, request)
    if values is not None:
        return values.picture(request.low, request.high, request.colours)
    layer, k = scene.layer(request.layer, request.stage)
    cube, like = layer.cubes[k], scene.layers.get(TRUTH, layer).cubes[-1]  # truth and estimates are shown alike
    if request.mode == "false":
        return Picture(
            false_colour(cube, list(request.bands), like=like), Legend("false colour, each band stretched")
        )
    image, text = picture(Scene(cube, scene.wavelengths), None if like is cube else Scene(like, scene.wavelengths))
    return Picture(image, Legend(text))


def value_map(scene: OpenScene, request: PictureRequest) -> ValueMap | None:
    """The values behind a picture; None for colours, which have no single one, and for an error of the truth.

    ``request.mode`` is ``band`` · ``error`` RMSE over bands · ``angle`` between spectra · ``difference`` of a band of
    two layers · ``trust`` the residual mapped back to the scene · ``residual`` y − A x on the detector ·
    ``measurement`` · ``confidence`` of the class map; measurement and camera are those that the layer was decoded
    from. The last few are kept.

    Raises:
        InputError: as ``render``.
    """
    key = (request.mode, request.layer, request.stage, request.bands, request.stretch, request.other)
    if key not in scene.maps:
        while len(scene.maps) >= MOST_MAPS:
            scene.maps.pop(next(iter(scene.maps)), None)
        scene.maps[key] = _value_map(scene, request)
    known: ValueMap | None = scene.maps[key]
    return known


def _value_map(scene: OpenScene, request: PictureRequest) -> ValueMap | None:
    mode = request.mode
    if mode == "measurement":
        frame = _exposure(scene, scene.layers.get(request.layer))[0].frame
        low, high = np.percentile(frame, MEASUREMENT_BLACK_AND_WHITE)
        return ValueMap(frame, "the coded measurement y", float(low), float(high), "gray")
    layer, k = scene.layer(request.layer, request.stage)
    cube = layer.cubes[k]
    if any(not 0 <= band < len(cube) for band in request.bands):
        raise InputError("there is no such band", f"expected 0..{len(cube) - 1}")
    if mode == "band":
        reference, band = scene.layers.get(TRUTH, layer), request.bands[0]
        low, high = display_range(reference.cubes[-1][band]) if request.stretch else reference.range
        return ValueMap(cube[band], "reflectance", low, high, "gray")
    if mode == "difference":
        other, band = scene.layer(request.other)[0], request.bands[0]
        return _signed(cube[band] - other.cubes[-1][band], f"{layer.name} − {other.name}")
    if mode in ("colour", "false") or (mode in COMPARED and layer.name == TRUTH):
        return None
    if mode in ("error", "angle"):
        return _error(scene, cube, mode)
    if mode == "confidence":
        return _confidence(layer, k)
    if mode not in COMPARED:
        raise InputError(f"there is no display mode {mode!r}")
    return _residual(*_exposure(scene, layer), cube, mode)


def attention(scene: OpenScene, request: AttentionRequest) -> Picture:
    """Where a block of cross-aggregation looks from a pixel, or on average from a region, over the darkened picture.

    ``request.block`` counts the layer's ``blocks``; ``request.map`` is ``association`` with super-tokens ·
    ``attention`` among them · ``sources``, the pixels it receives from.

    Raises:
        InputError: the layer has no such block, there is no such map, or the region lies outside the scene.
    """
    layer, k = scene.layer(request.layer)
    if not 0 <= request.block < len(layer.blocks) or request.map not in ("association", "attention", "sources"):
        raise InputError(f"{layer.name} has no such cross-aggregation to show", "choose weights of CRSDUN")
    check_region(request.region, *scene.shape[1:])
    top, left, height, width = (getattr(request.region, name) for name in ("top", "left", "height", "width"))
    selected = inside(request.region)
    weights = np.zeros(scene.shape[1:], dtype=np.float32)
    weights[top : top + height, left : left + width] = selected / selected.sum()
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
    """The class of each pixel as a byte (H,W); 255 where it is unknown or unlabelled, or 255 or more.

    Raises:
        InputError: this layer has no classes.
    """
    layer, k = scene.layer(name, stage)
    classes = layer.class_maps[k]
    if classes is None:
        raise InputError(f"{name} has no class map at this stage")
    return np.where((classes < 0) | (classes > MOST_CLASSES), MOST_CLASSES, classes).astype(np.uint8)


def _error(scene: OpenScene, cube: np.ndarray, mode: str) -> ValueMap:
    if TRUTH not in scene.layers:
        raise InputError("an error map needs the true scene", "open it with the measurement")
    truth = scene.layers[TRUTH].cubes[0]
    if mode == "error":
        return _magnitude(error_map(cube, truth), "RMSE over bands")
    angles = spectral_angles(torch.from_numpy(cube), torch.from_numpy(truth)).numpy()
    return _magnitude(np.where((truth != 0).any(0), angles, 0), "spectral angle (degrees)")


def _confidence(layer: Layer, k: int) -> ValueMap:
    probabilities = layer.probabilities[k]
    if probabilities is None:
        raise InputError(f"{layer.name} has no class probabilities at this stage")
    return ValueMap(probabilities.max(0), "probability of the most probable class", 0.0, 1.0)


def _exposure(scene: OpenScene, layer: Layer | None) -> tuple[Measurement, CassiCamera]:
    """The measurement of which a layer is an estimate, else the one that is open, and its camera."""
    source = scene if layer is None or layer.result is None else layer.result
    if source.measurement is None or source.camera is None:
        raise InputError("there is no measurement here", "open one, or simulate it")
    return source.measurement, source.camera.to("cpu")


def _residual(measurement: Measurement, camera: CassiCamera, cube: np.ndarray, mode: str) -> ValueMap:
    frame = measurement.frame
    # A scene's bands are sorted from blue to red; the camera may spread them the other way.
    order = range(camera.bands) if camera.wavelengths is None else np.argsort(np.argsort(camera.wavelengths))
    in_camera_order = torch.from_numpy(cube[np.asarray(order)])
    residual = camera.counted(torch.from_numpy(frame)) - camera.forward(in_camera_order)
    if mode == "trust":
        at_scene = camera.gather(residual.abs()).mean(0) / float(np.abs(frame).mean() or 1)
        text = "|y − A x| where this pixel’s light fell, relative to the mean of y"
        return _magnitude(at_scene.numpy(), text)
    return _signed(residual.numpy(), "y − A x on the detector")


def _magnitude(values: np.ndarray, text: str) -> ValueMap:
    known = values[np.isfinite(values)]
    return ValueMap(values, text, 0.0, upper_limit(known) if known.size else 1.0)


def _signed(values: np.ndarray, text: str) -> ValueMap:
    known = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(known, 99.5)) if known.size else 0.0
    return ValueMap(values, text, -(limit or 1.0), limit or 1.0, DIVERGING)


@cache
def _palette(name: str) -> list[int]:
    import matplotlib

    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.rint(255 * colours).astype(int).reshape(-1).tolist()


def map_stops(name: str, count: int = 9) -> list[str]:
    """A colour map as CSS colours, from its lowest value to its highest."""
    palette = np.array(_palette(name)).reshape(-1, 3)
    return [css_colour(palette[index]) for index in np.linspace(0, 255, count).astype(int)]
