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
from crsdun.errors import InputError
from crsdun.optics import CameraFile, CassiCamera
from crsdun.runtime.explanation import CrossAggregationRecord
from crsdun.scenes import Measurement, Scene, StoredMask
from crsdun.viewing.app.requests import OpenRequest

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
        class_maps: (H,W) int64 of each stage, −1 where it is unknown, or None.
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


@dataclass
class OpenScene:
    """What is open. ``truth`` is on the camera's bands; ``folder`` the folder of results it was read from.

    ``from_files``: it was opened from arrays of files, and nothing was simulated since; ``counts``: as in
    ``PreparedMeasurement``.

    ``refined``: what its measurement told of the camera, where that was asked.

    ``maps`` are the maps of ``pictures`` that were computed last.
    """

    name: str
    wavelengths: tuple[float, ...] | None
    measurement: Measurement | None = None
    camera: CassiCamera | None = None
    truth: Scene | None = None
    class_names: tuple[str, ...] | None = None
    layers: dict[str, Layer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    from_files: bool = False
    counts: bool = False
    refined: str = ""
    maps: dict[Any, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.truth is not None:
            self.class_names = self.class_names or self.truth.class_names
            layer = Layer(TRUTH, [self.truth.cube], [None], [self.truth.classes])
            self.layers = {TRUTH: layer, **self.layers}

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        if self.camera is not None:
            return self.camera.bands, self.camera.height, self.camera.width
        C, H, W = next(iter(self.layers.values())).cubes[0].shape
        return C, H, W

    @cached_property
    def cpu_camera(self) -> CassiCamera | None:
        return None if self.camera is None else self.camera.to("cpu")

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
        """The same scene with more layers, and what the weights of the first one know where the files say less.

        A truth whose classes have another legend than the weights loses them.
        """
        result = layers[0].result
        known = self if result is None else result.scene
        truth, layers_before, class_names, notes = self.truth, self.layers, self.class_names, self.notes
        if result is not None and "class_note" in result.metrics and result.truth is not None:
            notes = [*dict.fromkeys([*notes, result.metrics["class_note"]])]
            if result.truth.classes is None:
                truth, class_names = result.truth, known.class_names
                layers_before = {name: layer for name, layer in layers_before.items() if name != TRUTH}
        return replace(
            self,
            truth=truth,
            layers={**layers_before, **{each.name: each for each in layers}},
            wavelengths=self.wavelengths or known.wavelengths,
            class_names=class_names or known.class_names,
            notes=notes,
        )

    def add_results(self, other: OpenScene) -> None:
        """Add the estimates of another folder of results for the same scene.

        Raises:
            InputError: its cube has another shape.
        """
        assert other.folder is not None
        if other.shape != self.shape:
            raise InputError(
                f"{other.folder.name} holds a cube of shape {other.shape}, but the first folder one of {self.shape}",
                "open them one at a time",
            )
        for layer in other.layers.values():
            if layer.name != TRUTH:
                layer.name += f" · {other.folder.name}" if layer.name in self.layers else ""
                self.layers[layer.name] = layer


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
        notes=missing_note(truth), from_files=True, counts=prepared.counts,
    )  # fmt: skip


def open_cube(scene: Scene) -> OpenScene:
    """A cube to look at or to simulate a measurement of."""
    note = "a cube without a measurement: look at it, or simulate its measurement"
    notes = [note, *missing_note(scene)]
    return OpenScene(scene.name, scene.wavelengths, truth=scene, notes=notes, from_files=True)


def missing_note(scene: Scene | None) -> list[str]:
    """What to say of voxels without data."""
    if scene is None or not scene.missing:
        return []
    return [f"{scene.missing} voxels hold no data: they are grey, send no light in a simulation and count nowhere"]


def open_folder(folder: Path) -> OpenScene:
    """A folder that ``crsdun reconstruct`` wrote; raises as ``read_results``."""
    result = runtime.read_results(folder)
    layer = layer_of(result, str(result.record["method"]))
    return OpenScene(
        result.scene.name,
        result.scene.wavelengths,
        result.measurement,
        result.camera,
        result.truth,
        result.scene.class_names,
        {layer.name: layer},
        folder=folder,
    )


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
