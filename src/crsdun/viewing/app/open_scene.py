"""What is open in a tab: an exposure and its camera, the truth where it is known, and what methods made of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crsdun import runtime
from crsdun.classifiers import SpectralClassifier
from crsdun.errors import InputError, worded
from crsdun.optics import CameraFile, CassiCamera
from crsdun.runtime.explanation import CrossAggregationRecord
from crsdun.runtime.reconstruction import check_one_scene
from crsdun.scenes import UNLABELLED, Measurement, Scene, StoredMask
from crsdun.scenes.labels import plain
from crsdun.viewing.app.requests import OpenRequest
from crsdun.viewing.app.wording import CONTROLS
from crsdun.viewing.palette import class_name

TRUTH = "truth"
MOST_CLASSES = 255  # which have a byte each in a class map; the last one stands for all others
BLACK_AND_WHITE = (0.5, 99.8)  # percentiles that are shown black and white


@dataclass
class Layer:
    """A cube to look at: the truth, or every stage of an estimate.

    Attributes:
        name: unique among the layers of a scene.
        cubes: (C,H,W) of each stage, first to last.
        probabilities: (N,H,W) of each stage; None for stages that do not segment.
        class_maps: (H,W) int64 of each stage, −1 where it is unknown, or None. In a scene these are numbers of its
            legend, and so are the classes of ``probabilities``; before, those of what made them (``in_legend``).
        metrics: of the last stage.
        stage_metrics: of each stage, as far as they are known.
        result: the reconstruction it came from; None for the truth.
        blocks: what the cross-aggregation of a network computed.
        serial: of all layers there ever were.
        classifier: that gave its classes, where regions made one or a file held one.
        classified: the name of the layer whose cube it then has.
    """

    name: str
    cubes: list[np.ndarray]
    probabilities: list[np.ndarray | None]
    class_maps: list[np.ndarray | None]
    metrics: dict[str, float] = field(default_factory=dict)
    stage_metrics: list[dict[str, float]] = field(default_factory=list)
    seconds: float | None = None
    result: runtime.Reconstruction | None = None
    blocks: list[CrossAggregationRecord] = field(default_factory=list)
    serial: int = field(default_factory=itertools.count().__next__)
    classifier: SpectralClassifier | None = None
    classified: str = ""

    @property
    def stages(self) -> int:
        return len(self.cubes)

    @cached_property
    def range(self) -> tuple[float, float]:
        """Which values of the last cube are shown black and white."""
        return display_range(self.cubes[-1])

    @property
    def own_class_names(self) -> tuple[str, ...] | None:
        """The classes of what made its map, by their numbers there; None where they have no names."""
        if self.classifier is not None:
            return self.classifier.class_names
        if self.result is None:
            return None
        names, truth = self.result.scene.class_names, self.result.truth
        if names is None and truth is not None and truth.classes is not None:  # compared by their numbers
            return truth.class_names
        return names


def in_legend(legend: tuple[str, ...], layer: Layer, names: Sequence[str] | None) -> tuple[tuple[str, ...], Layer]:
    """A legend with the classes of a layer, and the layer with the numbers that they have there.

    Classes that are called alike (``labels.plain``) are one; new ones follow. Those without a name are called by
    their number, unless a truth without names was compared with named ones by the numbers: it then takes their names.

    Args:
        names: of the classes of the layer, by the numbers that it has so far.
    """
    maps, shares = ([each for each in many if each is not None] for many in (layer.class_maps, layer.probabilities))
    if not maps and not shares:
        return legend, layer
    highest = max((int(labels.max(initial=-1)) for labels in maps), default=-1)
    count = max(len(names or ()), *map(len, shares), min(highest + 1, MOST_CLASSES))
    own = [class_name(number, names) for number in range(count)]
    truth = None if layer.result is None else layer.result.truth
    if truth is not None and truth.classes is not None and truth.class_names is None and not set(own) & set(legend):
        unnamed = [k < count and name == class_name(k, None) for k, name in enumerate(legend)]
        legend = tuple(own[k] if unnamed[k] else name for k, name in enumerate(legend))
    known = list(legend or own[:1])
    numbers = np.full(count + 2, UNLABELLED)  # −1 takes the last
    numbers[count] = MOST_CLASSES  # which stands for all others
    for number in range(count) if layer.classifier is None else layer.classifier.given:
        name = own[number]
        alike = [other for other in known if plain(other) == plain(name) and other not in own]
        if name not in known and not alike:
            known.append(name)
        numbers[number] = known.index(name if name in known else alike[0])
    if np.array_equal(numbers[:count], np.arange(count)):
        return tuple(known), layer
    return tuple(known), replace(
        layer,
        class_maps=[None if labels is None else numbers[labels.clip(max=count)] for labels in layer.class_maps],
        probabilities=[None if each is None else _placed(each, numbers) for each in layer.probabilities],
    )


def _placed(probabilities: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Probabilities (N,H,W) with each class at its number, where it has one."""
    own = numbers[: len(probabilities)]
    placed = np.zeros((own.max() + 1, *probabilities.shape[1:]), np.float32)
    np.add.at(placed, own[own != UNLABELLED], probabilities[own != UNLABELLED])
    return placed


@dataclass
class OpenScene:
    """What is open. ``truth`` is on the camera's bands; ``class_names`` the legend of all layers.

    ``request``: by which it was opened from arrays of files, None where it was not or was simulated since;
    ``counts``: as in ``PreparedMeasurement``.

    ``refined``: what its measurement told of the camera, where that was asked.

    ``maps`` are the maps of ``pictures`` that were computed last.
    """

    name: str
    wavelengths: tuple[float, ...] | None
    measurement: Measurement | None = None
    camera: CassiCamera | None = None
    truth: Scene | None = None
    class_names: tuple[str, ...] = ()
    layers: dict[str, Layer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    request: OpenRequest | None = None
    counts: bool = False
    refined: str = ""
    maps: dict[Any, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.truth is not None and TRUTH not in self.layers:
            layer = Layer(TRUTH, [self.truth.cube], [None], [self.truth.classes])
            self.class_names, layer = in_legend(self.class_names, layer, self.truth.class_names)
            self.layers = {TRUTH: layer, **self.layers}

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        if self.camera is not None:
            return self.camera.bands, self.camera.height, self.camera.width
        C, H, W = next(iter(self.layers.values())).cubes[0].shape
        return C, H, W

    def layer(self, name: str, stage: int | None = None) -> tuple[Layer, int]:
        """A layer, and the index of a stage in it (``stage`` from 1; None is the last one).

        Raises:
            InputError: there is no such layer.
        """
        if name not in self.layers:
            raise InputError(f"there is nothing called {name!r} here any more", "choose another")
        layer = self.layers[name]
        return layer, (layer.stages if stage is None else min(max(stage, 1), layer.stages)) - 1

    def with_layers(self, layers: Sequence[Layer]) -> OpenScene:
        """The same scene with more layers, their classes by its legend, and what their results know besides."""
        legend, changed, notes, wavelengths = self.class_names, dict(self.layers), self.notes, self.wavelengths
        for layer in layers:
            legend, changed[layer.name] = in_legend(legend, layer, layer.own_class_names)
            if layer.result is not None:
                wavelengths = wavelengths or layer.result.scene.wavelengths
                note = layer.result.metrics.get("class_note") if layer.classifier is None else None
                notes = [*dict.fromkeys([*notes, *([note] if note else [])])]
        return replace(self, layers=changed, wavelengths=wavelengths, class_names=legend, notes=notes)


def display_range(values: np.ndarray) -> tuple[float, float]:
    """Which values are shown black and white, from at most a million of them."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // 1_000_000)]
    flat = flat[np.isfinite(flat)]
    low, high = np.percentile(flat, BLACK_AND_WHITE) if flat.size else (0, 1)
    return min(float(low), float(high) / 4), float(high)


# -- opening ----------------------------------------------------------------------------------------------------


def open_exposure(
    measurement: Measurement, mask: StoredMask | CameraFile | None, truth: Scene | None, request: OpenRequest
) -> OpenScene:
    """A measurement with its camera, which ``request`` describes where the files do not.

    Args:
        mask: of the camera, or all that is known of it.

    Raises:
        InputError: they do not fit together; the message says what would.
    """
    settings: dict[str, Any] = {
        name: getattr(request, name) for name in ("bands", "wavelengths", "step", "bits", "dark", "white")
    }
    if mask is not None:
        settings |= {"camera_file": mask} if isinstance(mask, CameraFile) else mask._asdict()
    prepared = runtime.Preparation(**settings).prepare(measurement, truth)
    measurement, camera = prepared.measurement, prepared.camera
    if truth is not None:
        truth = runtime.match_bands(camera, truth)
    ascending = camera.wavelengths and tuple(sorted(camera.wavelengths))
    known = ascending or (truth.wavelengths if truth is not None else None)
    return OpenScene(
        measurement.name, known, measurement, camera, truth,
        notes=[*(worded(remark, CONTROLS.__getitem__) for remark in prepared.remarks()), *missing_note(truth)],
        request=request, counts=prepared.counts,
    )  # fmt: skip


def open_cube(scene: Scene, request: OpenRequest) -> OpenScene:
    """A cube to look at or to simulate a measurement of."""
    note = "a cube without a measurement: look at it, or simulate its measurement"
    notes = [note, *missing_note(scene)]
    return OpenScene(scene.name, scene.wavelengths, truth=scene, notes=notes, request=request)


def missing_note(scene: Scene | None) -> list[str]:
    """What to say of voxels without data."""
    if scene is None or not scene.missing:
        return []
    return [f"{scene.missing} voxels hold no data: they are grey, send no light in a simulation and count nowhere"]


def open_folders(folders: Sequence[Path]) -> OpenScene:
    """Folders that ``crsdun reconstruct`` wrote, of one scene; what is decoded later is the measurement of the first.

    Raises:
        InputError: as ``read_results`` and ``check_one_scene``.
    """
    results = [(folder.name, runtime.read_results(folder)) for folder in folders]
    check_one_scene(results)
    first = results[0][1]
    truths = [(name, each.truth) for name, each in results if each.truth is not None]
    truths.sort(key=lambda known: known[1].classes is None)  # one with classes, if there is any
    layers: dict[str, Layer] = {}
    for name, result in results:
        method = title = str(result.record["method"])
        for number in itertools.count(1):
            if title not in layers:
                break
            title = f"{method} · {name}" if number == 1 else f"{method} · {name} ({number})"
        layers[title] = layer_of(result, title)
    return OpenScene(
        first.scene.name,
        first.scene.wavelengths,
        first.measurement,
        first.camera,
        truths[0][1] if truths else None,
        notes=[
            f"{name} was decoded without a true scene, and is compared with that of {truths[0][0]}"
            for name, result in results
            if truths and result.truth is None
        ],
        counts=first.measurement.holds_counts,
    ).with_layers(list(layers.values()))


def layer_of(result: runtime.Reconstruction, name: str, blocks: Sequence[CrossAggregationRecord] = ()) -> Layer:
    """The layer of a reconstruction, stage by stage; of one read from a folder the answer alone."""
    seconds = result.record["seconds"]
    if result.stages is None:
        maps = [result.classes]
        return Layer(name, [result.scene.cube], [None], maps, result.metrics, [result.metrics], seconds, result)
    stages = result.stages.stages
    maps = [None if theta is None else theta[0].argmax(0).numpy() for _, theta in stages]
    return Layer(
        name,
        [x[0].numpy() for x, _ in stages],
        [None if theta is None else theta[0].softmax(0).numpy() for _, theta in stages],
        [*maps[:-1], result.classes],  # which pixels are unknown is only known of the last one
        result.metrics,
        [{key: value for key, value in row.items() if value is not None} for row in result.stage_metrics],
        seconds,
        result,
        list(blocks),
    )
