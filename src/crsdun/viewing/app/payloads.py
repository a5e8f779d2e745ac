"""Everything the page needs to draw itself, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from crsdun.runtime import DEFAULT_SOLVER
from crsdun.solvers import SOLVERS
from crsdun.viewing.app.jobs import JobStatus, fitting_weights
from crsdun.viewing.app.open_scene import MOST_CLASSES, Layer, OpenScene
from crsdun.viewing.app.pictures import COLOUR_MAPS, map_stops
from crsdun.viewing.app.requests import ENGINES, ArrayChoice, OpenRequest
from crsdun.viewing.app.samples import SAMPLES
from crsdun.viewing.app.uploads import FileSummary
from crsdun.viewing.app.workspace import Trial, Workspace
from crsdun.viewing.colour import css_colour, wavelength_to_rgb
from crsdun.viewing.palette import UNLABELLED_COLOUR, class_colours
from crsdun.web.uploads import MEGABYTE


@dataclass(frozen=True)
class BlockPayload:
    """Where a block of cross-aggregation lies in its network."""

    stage: int
    branch: str
    node: int
    block: int


@dataclass(frozen=True)
class LayerPayload:
    """A layer; ``segments`` and ``probabilities`` say whether each stage has classes, and with probabilities.

    ``classifier``: one gave its classes that can be saved.
    """

    name: str
    stages: int
    segments: list[bool]
    probabilities: list[bool]
    metrics: dict[str, float]
    stage_metrics: list[dict[str, float]]
    seconds: float | None
    blocks: list[BlockPayload]
    classifier: bool


@dataclass(frozen=True)
class ClassPayload:
    name: str
    colour: str


@dataclass(frozen=True)
class ScenePayload:
    """What is open; ``lights`` are the colours of the bands' light, ``detector`` the shape of the measurement.

    ``unknown`` is the colour of pixels whose class is unknown; ``request`` and ``refined`` as in ``OpenScene``.
    """

    name: str
    bands: int
    height: int
    width: int
    wavelengths: tuple[float, ...] | None
    lights: list[str]
    step: float | None
    detector: tuple[int, int] | None
    has_truth: bool
    request: OpenRequest | None
    classes: list[ClassPayload]
    unknown: str
    notes: list[str]
    refined: str
    layers: list[LayerPayload]


@dataclass(frozen=True)
class StatePayload:
    """A workspace, and what can be chosen in it.

    Attributes:
        suggested: role → the array that probably has it.
        suggested_camera: name of the camera file that probably belongs to these, in place of a mask.
        fits: cameras (bands and step) that fit the suggested measurement and mask.
        fits_of_weights: for each of the shipped weights why they do not fit what is open, None where they do.
        libraries: names of the files of reference spectra.
        classifiers: names of the files of saved classifiers.
        default_method: chosen where no shipped weights fit, as on the command line.
        limit_mb: of the largest upload.
        maps: colour maps as stops.
    """

    version: int
    problem: str
    scene: ScenePayload | None
    files: list[FileSummary]
    suggested: dict[str, ArrayChoice]
    suggested_camera: str | None
    fits: list[dict[str, int]]
    samples: list[dict[str, str]]
    weights: list[str]
    fits_of_weights: dict[str, str | None]
    libraries: list[str]
    classifiers: list[str]
    methods: list[str]
    default_method: str
    engines: list[str]
    job: JobStatus | None
    trials: list[Trial]
    limit_mb: int
    maps: dict[str, list[str]]


def state_payload(workspace: Workspace) -> StatePayload:
    with workspace.lock:
        return StatePayload(
            version=workspace.version,
            problem=workspace.problem,
            scene=None if workspace.scene is None else _scene_payload(workspace.scene),
            files=list(workspace.summaries.values()),
            suggested=workspace.suggestions(),
            suggested_camera=workspace.suggested_camera(),
            fits=workspace.fitting_cameras(),
            samples=[{"name": name, "title": title} for name, title in SAMPLES.items()],
            weights=sorted(workspace.weights),
            fits_of_weights=fitting_weights(workspace.scene),
            libraries=list(workspace.libraries),
            classifiers=list(workspace.classifiers),
            methods=list(SOLVERS),
            default_method=DEFAULT_SOLVER,
            engines=[each for each in ENGINES if find_spec(each) is not None],
            job=workspace.job.status() if workspace.job else None,
            trials=workspace.trials,
            limit_mb=workspace.limit // MEGABYTE,
            maps={name: map_stops(name) for name in COLOUR_MAPS},
        )


def _scene_payload(scene: OpenScene) -> ScenePayload:
    bands, height, width = scene.shape
    count = min(MOST_CLASSES, len(scene.class_names))
    rows, columns = (0, 0) if scene.measurement is None else scene.measurement.frame.shape
    return ScenePayload(
        name=scene.name,
        bands=bands,
        height=height,
        width=width,
        wavelengths=scene.wavelengths,
        lights=[css_colour(255 * part for part in wavelength_to_rgb(nm)) for nm in scene.wavelengths or ()],
        step=scene.camera.step if scene.camera else None,
        detector=None if scene.measurement is None else (rows, columns),
        has_truth=scene.truth is not None,
        request=scene.request,
        classes=[
            ClassPayload(name, css_colour(colour))
            for name, colour in zip(scene.class_names[:count], class_colours(count), strict=True)
        ],
        unknown=css_colour(UNLABELLED_COLOUR),
        notes=scene.notes,
        refined=scene.refined,
        layers=[_layer_payload(layer) for layer in scene.layers.values()],
    )


def _layer_payload(layer: Layer) -> LayerPayload:
    return LayerPayload(
        name=layer.name,
        stages=layer.stages,
        segments=[each is not None for each in layer.class_maps],
        probabilities=[each is not None for each in layer.probabilities],
        metrics=layer.metrics,
        stage_metrics=layer.stage_metrics,
        seconds=layer.seconds,
        blocks=[BlockPayload(each.stage, each.branch, each.node, each.block) for each in layer.blocks],
        classifier=layer.classifier is not None,
    )
