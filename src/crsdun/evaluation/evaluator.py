"""A method on a split of a data set: every scene is measured by a simulated camera, estimated, and compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast

import torch
from torch import Tensor, distributed

from crsdun import provenance
from crsdun.errors import InputError
from crsdun.evaluation.legends import legend_difference
from crsdun.evaluation.metrics import CUBE_FIGURES, class_scores
from crsdun.evaluation.protocols import get_protocol
from crsdun.machine import processor
from crsdun.methods import Method, MethodRun, Progress, RunOptions, run_method
from crsdun.methods.doubt import COVERAGE
from crsdun.methods.run import simulated_from
from crsdun.methods.verdict import judge_run
from crsdun.optics import Exposure, ModelCard
from crsdun.provenance import Record
from crsdun.scenes import Scene
from crsdun.scenes.array_roles import MOST_ABOVE_WHITE, above_white
from crsdun.typed import finite

if TYPE_CHECKING:
    from crsdun.evaluation.score import Score
    from crsdun.scenes.scene_set import SceneSet


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how.

    Attributes:
        protocol: a name in ``PROTOCOLS``.
        device: where to compute.
        first: evaluate only this many scenes, from the beginning of the split; None for all.
        cubes_only: ignore classes.
    """

    protocol: str = "crsdun"
    device: str | torch.device = "cpu"
    first: int | None = None
    cubes_only: bool = False


@dataclass(frozen=True)
class SceneResult:
    """One scene and the result of a method on its measurement.

    Attributes:
        name: of the scene in its set.
        scene: the truth.
        frame: the measurement, (H,Wm), on the CPU.
        run: the estimates of all stages, on the device where they were computed, batch of 1.
    """

    name: str
    scene: Scene
    frame: Tensor
    run: MethodRun


class EvaluatedData(TypedDict):
    """The set of scenes; ``fingerprint`` is the SHA-256 of the hashes of everything in it as stored, also of a set
    that is resampled to other bands."""

    name: str
    bands: int
    wavelengths_nm: list[float] | None
    class_names: list[str] | None
    fingerprint: str


class DescribedNoise(TypedDict, total=False):
    """Of the detector, and its seed; empty if there is none."""

    photons: float
    read_sigma: float
    bits: int
    binomial_bits: int
    seed: int


class _DescribedMask(TypedDict):
    """``step`` or ``offsets`` is there as well."""

    mask: str
    noise: DescribedNoise


class DescribedCamera(_DescribedMask, total=False):
    step: float
    offsets: list[list[float]] | list[float]
    mask_wavelengths: list[float]
    moved: list[float]
    parts: list[str]


# A class, and its figures.
ClassRow = TypedDict(
    "ClassRow",
    {
        "class": int,
        "name": str,
        "pixels": float,
        "iou": float | None,
        "f1": float | None,
        "precision": float | None,
        "recall": float | None,
    },
)


class _EveryScene(TypedDict):
    name: str
    seconds: float
    data_residual: float
    psnr_db: float | None


class SceneRow(_EveryScene, total=False):
    ssim: float | None
    sam_deg: float | None
    rmse: float | None
    miou_present: float | None
    accuracy: float | None
    confusion: list[list[int]]
    voxels_without_data: int
    held_out: float | None
    noise: float | None
    warning: str


class EvaluationRecord(Record, total=False):
    """How the figures were made; ``weights`` is the file of the method's and its hash, or the name of the solver.

    ``peak_mb`` and ``processor_seconds`` are what the method takes for the first scene, the memory above what is
    ready to run (``experiments.bench.RunCost``).
    """

    seconds: float
    settings: dict[str, Any]
    device: str
    processes: int
    weights: dict[str, Any]
    processor: str
    peak_mb: float | None
    processor_seconds: float | None


def figure_of(row: SceneRow | ClassRow, name: str) -> Any:
    """A figure of a scene or a class by its name; None if it has none."""
    return cast(Mapping[str, Any], row).get(name)


def by_psnr(scenes: Sequence[SceneRow]) -> list[int]:
    """Places of the scenes, from the worst PSNR to the best; those that have none come first."""

    def key(place: int) -> float:
        psnr = scenes[place]["psnr_db"]
        return -math.inf if psnr is None else psnr

    return sorted(range(len(scenes)), key=key)


@dataclass(frozen=True)
class Evaluation:
    """How good a method is on a split, as plain JSON values.

    Attributes:
        method: its name.
        protocol: in ``PROTOCOLS``.
        data: the set.
        camera: as ``Exposure.described``.
        stages: the figures over all scenes (``Score.compute``) of each stage, first to last; the last is the result.
        classes: for each class its number, name and ``class_scores`` in the last stage; empty without classes.
        confusion: (N,N), pixels, true × estimated class; empty without classes.
        scenes: for each scene ``name``, ``seconds``, ``data_residual``, its own figures in the last stage and, with
            classes, its confusion matrix as ``[true, estimated, pixels]`` for the entries that are not 0; where the
            scene lacks data, ``voxels_without_data``; where the method knows them, ``held_out`` and ``noise``
            (``optics.Fit``); where its estimate should not be believed, ``warning``.
        record: how the figures were made.
    """

    method: str
    protocol: str
    data: EvaluatedData
    camera: DescribedCamera
    stages: list[dict[str, float | None]]
    classes: list[ClassRow]
    confusion: list[list[int]]
    scenes: list[SceneRow]
    record: EvaluationRecord

    @property
    def figures(self) -> dict[str, float | None]:
        """Of the last stage."""
        return self.stages[-1]

    @property
    def doubtful(self) -> list[SceneRow]:
        """The scenes whose estimates should not be believed (``methods.verdict``)."""
        return [row for row in self.scenes if "warning" in row]

    @property
    def missing(self) -> int:
        """The number of voxels of all scenes that hold no data and count nowhere."""
        return sum(row.get("voxels_without_data", 0) for row in self.scenes)


# Most classes do not occur in a single scene, so the paper's mean over all classes is meaningless there.
SCENE_FIGURES = (*CUBE_FIGURES, "miou_present", "accuracy")


@dataclass(frozen=True)
class JudgedScene:
    """What an evaluation needs of one scene.

    Attributes:
        row: its own figures.
        scores: of each stage, of this scene alone.
        threads, processor: that it was estimated with.
    """

    row: SceneRow
    scores: list[Score]
    threads: int | None = field(default_factory=provenance.threads)
    processor: str = field(default_factory=processor)


# Indices of scenes → each of them judged, in this order.
Judges = Callable[[Sequence[int]], Iterable[JudgedScene]]


def evaluate(
    method: Method,
    scenes: SceneSet,
    exposure: Exposure | None = None,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
    judges: Judges | None = None,
) -> Evaluation:
    """Evaluate a method on a split, with one scene in memory at a time.

    In a process group (``torch.distributed``) every process computes a share of the scenes and all return the same.

    Args:
        method: a network (on the device of ``options``; its mode is left as it was), a solver, or any other method.
        scenes: of any size; without labels, or with a method without classes, only the cubes are compared.
        exposure: how they are measured; None takes a random mask and step 2, without noise.
        progress: called with (done, total) after each scene of this process.
        judges: other processes that do what ``judge_scene`` does with all of these; None judges here.

    Raises:
        InputError: method, scenes and camera do not fit together, there is no such protocol, a mask is too small
            for a scene, an estimate is not finite, or there are more processes than scenes.
    """
    exposure, options = exposure or Exposure(), options or EvaluationOptions()
    get_protocol(options.protocol)
    if not options.cubes_only:
        check_fit(method, scenes, exposure)
    count = len(scenes) if options.first is None else min(options.first, len(scenes))
    rank, processes = _rank_and_size()
    if count < 1:
        raise InputError(f"the first {count} scenes of {scenes.name} cannot be evaluated", "evaluate at least one")
    if processes > count:
        raise InputError(f"{count} scenes cannot be shared by {processes} processes", "use fewer processes")

    share = range(rank, count, processes)
    if judges is None:
        judges = partial(map, partial(judge_scene, method, scenes, exposure, options))
    stages: list[Score] = []
    rows: dict[int, SceneRow] = {}
    start = time.perf_counter()
    for done, (index, judged) in enumerate(zip(share, judges(share), strict=True), start=1):
        rows[index] = judged.row
        if stages:
            for score, other in zip(stages, judged.scores, strict=True):
                score.add(other)
        else:
            stages = judged.scores
        if progress is not None:
            progress(done, len(share))

    pooled = [score.compute() for score in stages]
    confusion = pooled[-1][1].cpu()
    rows = _of_all_processes(rows)
    return Evaluation(
        method=method.name,
        protocol=options.protocol,
        data=described_data(scenes),
        camera=cast(DescribedCamera, exposure.described()),
        stages=[figures for figures, _ in pooled],
        classes=_class_rows(confusion, stages[-1].class_names),
        confusion=confusion.tolist(),
        scenes=[rows[index] for index in sorted(rows)],
        record=cast(
            EvaluationRecord,
            {
                **provenance.record(
                    seconds=round(time.perf_counter() - start, 2),
                    settings=method.settings,
                    device=str(options.device),
                    processes=processes,
                ),
                "threads": judged.threads,
                "processor": judged.processor,
            },
        ),
    )


def described_data(scenes: SceneSet) -> EvaluatedData:
    """What an evaluation says of its scenes."""
    return {
        "name": scenes.name,
        "bands": scenes.bands,
        "wavelengths_nm": None if scenes.wavelengths is None else list(scenes.wavelengths),
        "class_names": None if scenes.class_names is None else list(scenes.class_names),
        "fingerprint": provenance.fingerprint(scenes.hashes()),
    }


def check_fit(method: Method, scenes: SceneSet, exposure: Exposure) -> tuple[str, ...]:
    """The names of the classes that can be compared; none if the scenes or the method have no classes.

    Raises:
        InputError: the method was trained for other bands, another dispersion or other classes.
    """
    # A camera of one pixel has the bands and the dispersion, which is all that is compared.
    method.fit(exposure.camera_of_size(1, 1, scenes.bands, scenes.wavelengths))
    if not scenes.class_names or not method.class_count:
        return ()
    remedy = "use weights for these classes, or compare only the cubes with <cubes_only>"
    difference = legend_difference(method.card.class_names, method.class_count, scenes.class_names, scenes.name)
    if difference is not None:
        raise InputError(difference, remedy)
    return scenes.class_names


def judge_scene(
    method: Method, scenes: SceneSet, exposure: Exposure, options: EvaluationOptions, index: int
) -> JudgedScene:
    """Measure one scene of a set, estimate it and judge the estimate; errors as ``evaluate``."""
    from crsdun.evaluation.score import Score  # torchmetrics takes a second to import

    class_names = () if options.cubes_only else check_fit(method, scenes, exposure)
    result = evaluate_scene(method, scenes, index, exposure, options.device)
    names = class_names if result.run.estimate.logits else ()
    coverage = None if method.card.calibration is None else COVERAGE
    earlier = [Score(options.protocol, names) for _ in result.run.estimate.cubes[1:]]
    stages = [*earlier, Score(options.protocol, names, coverage=coverage)]
    stages = [score.to(options.device) for score in stages]
    row = _judge(result, stages, method.card)
    verdict = judge_run(result.run, method, result.frame, RunOptions(options.device))
    doubt = _scale_doubt(result.scene) or verdict.doubt
    if doubt is not None:
        row["warning"] = doubt
    return JudgedScene(row, stages)


def evaluate_scene(
    method: Method, scenes: SceneSet, index: int, exposure: Exposure, device: str | torch.device = "cpu"
) -> SceneResult:
    """Measure one scene of a set and run a method on the measurement.

    Raises:
        InputError: the mask is too small, or the estimate not finite.
    """
    scene, name = scenes[index], scenes.names[index]
    camera = exposure.camera(scene)
    frame = exposure.measure(scene.cube, camera, seed=name)
    with simulated_from(name):
        run = run_method(method, frame, camera, RunOptions(device, keep_stages=True))
    return SceneResult(name, scene, frame, run)


def _scale_doubt(scene: Scene) -> str | None:
    """Why no figure of a scene means anything: its white is hardly 1, as metrics take it."""
    share = above_white(scene.cube)
    if share <= MOST_ABOVE_WHITE:
        return None
    return f"{share:.0%} of the values of the scene above 0 exceed 1, which metrics take for white"


def _judge(result: SceneResult, stages: Sequence[Score], card: ModelCard) -> SceneRow:
    """Add a scene to the scores of all stages, and return its own row; only the last stage is calibrated."""
    truth = torch.from_numpy(result.scene.cube)
    classes = None if result.scene.classes is None else torch.from_numpy(result.scene.classes)
    estimate, known = result.run.estimate, card.calibration
    with torch.inference_mode():
        for score, (x, theta) in zip(stages, estimate.stages, strict=True):
            logits, doubt = None if theta is None else theta[0], None
            if logits is not None and score.class_count and score is stages[-1] and known is not None:
                found = result.run.doubt(card)
                assert found is not None
                assert found.doubt is not None
                logits, doubt = logits / known.temperature, torch.from_numpy(found.doubt)
            figures, confusion = score(x[0], truth, logits, classes, doubt)
    row = {"name": result.name, "seconds": round(result.run.seconds, 4), "data_residual": result.run.residual}
    row |= {name: value for name, value in figures.items() if name in SCENE_FIGURES}
    for fit in result.run.estimate.fits:
        row |= finite({"held_out": fit.held_out, "noise": fit.noise})
    if result.scene.missing:
        row["voxels_without_data"] = result.scene.missing
    if "accuracy" in figures:
        row["confusion"] = [[*place, int(confusion[tuple(place)])] for place in confusion.nonzero().tolist()]
    return cast(SceneRow, row)


def _class_rows(confusion: Tensor, class_names: Sequence[str]) -> list[ClassRow]:
    columns = {name: values.tolist() for name, values in class_scores(confusion).items()}
    columns["pixels"] = confusion.sum(1).tolist()
    rows = (
        {"class": place, "name": name, **{column: values[place] for column, values in columns.items()}}
        for place, name in enumerate(class_names)
    )
    return [cast(ClassRow, row) for row in rows]


def _rank_and_size() -> tuple[int, int]:
    """The number of this process, and the number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _of_all_processes(rows: dict[int, SceneRow]) -> dict[int, SceneRow]:
    _, processes = _rank_and_size()
    if processes == 1:
        return rows
    gathered: list[Any] = [None] * processes
    distributed.all_gather_object(gathered, rows)
    return {index: row for part in gathered for index, row in part.items()}
