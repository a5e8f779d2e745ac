"""What napari is given of a scene, a measurement or a result: arrays with their names, axes and colours.

Legend: T exposures or scenes · C bands · H, W scene · Hm, Wm detector.

A layer of napari is described by a tuple: the array, the settings of the layer, and its kind. Rows and columns are
counted in pixels in all of them, and bands from 0: napari has no axis of uneven steps. The wavelengths stand in the
metadata as ``wavelengths_nm``, and what the layer was made of as ``crsdun``: a scene, a measurement, or its word. The
array itself is kept there too, as ``crsdun_data``: people put others in its place (``as_loaded``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.scenes import Exposures, Measurement, Scene, Series
from crsdun.scenes.formats.array_file import LazyArray
from crsdun.viewing.colour import STRETCH_PERCENTILES, picture, with_data
from crsdun.viewing.display import COLOUR_MAP, upper_limit
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours, class_name

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from crsdun.runtime import Reconstruction

LayerData = tuple[Any, dict[str, Any], str]
SOURCE, LOADED = "crsdun", "crsdun_data"  # in the metadata of a layer


def add_to(viewer: Viewer, layers: Iterable[LayerData]) -> list[Layer]:
    """Add layers to a viewer, the first one at the bottom."""
    from napari.layers import Layer

    return [viewer.add_layer(Layer.create(*each)) for each in layers]


def as_loaded(layer: Layer) -> bool:
    """Whether a layer of a cube or of measurements still shows the array it was made of, or an equal one.

    Otherwise somebody has cropped, turned or edited it, and what its file told of bands and frames may be wrong.
    """
    shown, loaded = layer.data, layer.metadata[LOADED]
    in_memory = isinstance(shown, np.ndarray) and isinstance(loaded, np.ndarray)
    return shown is loaded or (in_memory and np.array_equal(shown, loaded, equal_nan=True))


def scene_layers(scene: Scene, label: str = "", hidden: bool = False) -> list[LayerData]:
    """The cube (C,H,W), its colour picture (H,W,3) and, where there are any, its classes (H,W).

    Args:
        label: what tells it from other cubes of the same scene, such as the name of a method.
        hidden: whether napari shows none of them at first; otherwise the picture lies on the cube.
    """
    title = f"{{}} ({label}): {scene.name}" if label else f"{{}}: {scene.name}"
    image, description = picture(scene)
    shown = not hidden
    rest = {**_plane(), "metadata": {SOURCE: "picture", "shows": description}, "visible": shown}
    layers: list[LayerData] = [
        cube_layer(scene.cube, scene, title.format("cube"), shown),
        (image, {"name": title.format("picture"), "rgb": True, **rest}, "image"),
    ]
    if scene.classes is not None:
        layers.append(class_layer(scene.classes, scene.class_names, title.format("classes")))
    return layers


def result_layers(result: Reconstruction) -> list[LayerData]:
    """The estimate, how far its classes can be believed, and its expected error, as far as they are known."""
    scene, method = result.scene, str(result.record["method"])
    cube, *rest = scene_layers(scene, method)
    cube[1]["metadata"] |= {"metrics": result.metrics, "record": result.record}
    layers = [cube, *rest]
    if result.classes is not None:  # −1 where they are unknown
        layers[-1] = class_layer(result.classes, scene.class_names, layers[-1][1]["name"])
    title = f"{{}} ({method}): {scene.name}"
    if result.doubt is not None:
        looks = {"contrast_limits": (0.0, 1.0), "colormap": COLOUR_MAP, "visible": False}
        settings = {"name": title.format("confidence"), **_plane(), **looks, "metadata": {SOURCE: "confidence"}}
        layers.append((result.doubt.confidence, settings, "image"))
    if result.error is not None:
        error = cube_layer(result.error, scene, title.format("expected error"), visible=False)
        error[1]["metadata"] = {SOURCE: "expected error", "wavelengths_nm": scene.wavelengths}
        layers.append(error)
    return layers


def folder_layers(result: Reconstruction) -> list[LayerData]:
    """The same with the measurement and the true scene, hidden below."""
    truth = [] if result.truth is None else scene_layers(result.truth, "truth", hidden=True)
    measurement = measurement_layer(result.measurement)
    measurement[1]["visible"] = False
    return [measurement, *truth, *result_layers(result)]


def series_layers(series: Series) -> list[LayerData]:
    """The cubes (T,C,H,W), read from the file one by one, and their classes."""
    first = series[0]
    cubes = lazily(series.file.arrays["cubes"])
    layers = [cube_layer(cubes, first, f"cubes: {series.file.path.stem}")]
    if "classes" in series.file.arrays:
        classes = lazily(series.file.arrays["classes"])
        classes = np.broadcast_to(classes[:, None], cubes.shape)  # the same at every band
        axes = {"axis_labels": ("time", _band_axis(first), "y", "x")}
        layer = class_layer(classes, first.class_names, f"classes: {series.file.path.stem}")
        layers.append((classes, layer[1] | axes, "labels"))
    return layers


def exposure_layers(exposures: Exposures) -> list[LayerData]:
    """The exposure of a file, (Hm,Wm), or all of a stack of them, (T,Hm,Wm), as the numbers of the file."""
    if len(exposures) == 1:
        return [measurement_layer(exposures[0])]
    name = f"measurements: {exposures.file.path.stem}"
    limits = _stretched(np.asarray(exposures.frames[:1, :, :]))
    settings = {"name": name, "axis_labels": ("exposure", "y", "x"), "contrast_limits": limits}
    frames = lazily(exposures.frames)
    return [(frames, {**settings, "metadata": {SOURCE: exposures, LOADED: frames}}, "image")]


def measurement_layer(measurement: Measurement) -> LayerData:
    """A measurement (Hm,Wm)."""
    frame = measurement.frame
    metadata = {SOURCE: measurement, LOADED: frame, "provenance": measurement.provenance}
    settings = {"name": f"measurement: {measurement.name}", "contrast_limits": _stretched(frame)}
    return frame, {**settings, **_plane(), "metadata": metadata}, "image"


def cube_layer(cube: Any, scene: Scene, name: str, visible: bool = True) -> LayerData:
    """A cube (C,H,W), or a series of them (T,C,H,W), in grey from 0 to the brightest.

    Args:
        scene: the scene of the cube, or the first one of the series.
    """
    metadata = {
        SOURCE: scene, LOADED: cube, "wavelengths_nm": scene.wavelengths, "provenance": scene.provenance,
    }  # fmt: skip
    axes = ("time",) * (len(cube.shape) - 3) + (_band_axis(scene), "y", "x")
    high = upper_limit(np.asarray(cube)) if len(cube.shape) == 3 else upper_limit(scene.cube)
    settings = {"name": name, "axis_labels": axes, "contrast_limits": (0.0, high if high > 0 else 1.0)}
    return cube, {**settings, "metadata": metadata, "visible": visible}, "image"


def class_layer(classes: Any, class_names: Sequence[str] | None, name: str) -> LayerData:
    """A class map (H,W): the label of a pixel is its class from 0, −1 where it is unknown, in the usual colours.

    napari shows the name of the class under the cursor.
    """
    highest = int(classes.max()) if isinstance(classes, np.ndarray) else 0
    numbers = range(-1, max(len(class_names or ()), highest + 1))
    colours = [UNLABELLED_COLOUR, *class_colours(len(numbers) - 1)]
    settings = {
        "name": name,
        "colormap": {number: (*colour / 255, 1.0) for number, colour in zip(numbers, colours, strict=True)}
        | {None: (0, 0, 0, 0)},
        "features": {"index": list(numbers), "class": [class_name(number, class_names) for number in numbers]},
        "metadata": {SOURCE: "classes", "class_names": class_names},
        "visible": False,
    }
    return classes, {**settings, **_plane()}, "labels"


def mask_layer(mask: np.ndarray, name: str) -> LayerData:
    """A coded aperture, (H,W) or (C,H,W), 0..1."""
    axes = ("band",) * (mask.ndim - 2) + ("y", "x")
    settings = {"name": f"mask: {name}", "axis_labels": axes, "contrast_limits": (0.0, 1.0)}
    return mask, {**settings, "metadata": {SOURCE: "mask"}}, "image"


def lazily(array: Any) -> Any:
    """An array that may still lie in its file as one that napari can show part by part."""
    if not isinstance(array, LazyArray):
        return array
    from dask.array import from_array

    chunks = (1, *array.shape[1:])
    return from_array(_Indexed(array), chunks, name=False, meta=np.empty((0,) * array.ndim, array.dtype))


class _Indexed:
    """A lazy array that can be indexed by numbers too, as dask does."""

    def __init__(self, array: LazyArray):
        self.array, self.shape, self.ndim, self.dtype = array, array.shape, array.ndim, array.dtype

    def __getitem__(self, part: tuple[slice | int, ...]) -> np.ndarray:
        kept = tuple(slice(None) if isinstance(each, slice) else 0 for each in part)
        return self.array[tuple(each if isinstance(each, slice) else slice(each, each + 1) for each in part)][kept]


def _plane() -> dict[str, Any]:
    return {"axis_labels": ("y", "x")}


def _band_axis(scene: Scene) -> str:
    return "band" if scene.wavelengths is None else "wavelength"


def _stretched(values: np.ndarray) -> tuple[float, float]:
    """Which values are shown black and white, as in all pictures of measurements."""
    low, high = map(float, np.percentile(with_data(values), STRETCH_PERCENTILES))
    return low, high if high > low else low + 1
