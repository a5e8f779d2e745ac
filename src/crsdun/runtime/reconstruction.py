"""From a prepared measurement to a scene: choosing a method, running it, and the result with its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from crsdun import provenance
from crsdun.errors import InputError
from crsdun.evaluation.legends import comparable_truth
from crsdun.methods import Method, MethodRun, Progress, RunOptions, Tiles, run_batch
from crsdun.methods.doubt import Doubt
from crsdun.methods.repeats import expected_error
from crsdun.methods.run import check_scale
from crsdun.methods.verdict import doubt_mask, judge_run
from crsdun.networks import find_weights, pretrained_weights, read_header
from crsdun.networks.hub import is_hub_address
from crsdun.networks.network import fit_card
from crsdun.networks.zoo import NAMES
from crsdun.optics import CassiCamera, Estimate, ModelCard, StackedCamera
from crsdun.registry import unknown
from crsdun.runtime.engines import open_engine
from crsdun.runtime.preparation import PreparedMeasurement
from crsdun.scenes import UNLABELLED, Measurement, Scene
from crsdun.showing import Outlined, size_in_words, spectrum_in_words
from crsdun.solvers import SOLVERS, create_solver

# Used if no weights fit.
DEFAULT_SOLVER = "lr-tv"
# Weights are chosen behind masks whose open part lies between these, of which a hundredth lets through no less than
# this, unless it is closed; and for frames at least this bright relative to those of a white scene.
OPEN, ALMOST_CLOSED, DIM = (0.3, 0.7), 0.05, 0.06
# Wavelengths (nm) and values of true scenes that differ by less are the same.
SAME_NM, SAME_TRUTH = 0.01, 1e-5


@dataclass(frozen=True, repr=False)
class Reconstruction(Outlined):
    """The result of decoding one measurement, and its inputs.

    Attributes:
        measurement: the exposure, as a measurement on the scale of y = A x, unless it ``holds_counts``.
        camera: that took it, as completed by the method, with the bands of the scene.
        scene: the estimate, with wavelengths, and with classes if the method segments.
        truth: the true scene on the camera's bands, if it was given; without classes of another legend.
        metrics: of the scene, as in ``evaluation.score.judge``; ``class_note``, where classes of the truth were not
            compared, or only by their numbers; and what ``methods.verdict`` says: ``fit``, ``held_out_residual`` and
            ``noise`` where they are known, and if the scene should not be believed, ``warning``, why; and where the
            method found the mask elsewhere than told, ``mask_moved``, pixels down and right. With classes
            ``calibrated``, whether confidences are probabilities, and if so ``coverage`` and ``unknown``, the share
            of pixels with more doubt than that.
        record: how it was made, as plain JSON values.
        stages: cubes and logits of every stage, on the CPU and with the bands in the order of ``scene``, if
            they were requested; logits of the last one at the temperature of the calibration.
        stage_metrics: of these stages.
        doubt: how far the class of each pixel can be believed; None without classes.
        error: the expected error of each voxel, (C,H,W) float32, if it was requested (``RunOptions.repeats``).
    """

    measurement: Measurement
    camera: CassiCamera
    scene: Scene
    truth: Scene | None
    metrics: dict[str, Any]
    record: dict[str, Any]
    stages: Estimate | None = None
    stage_metrics: list[dict[str, Any]] = field(default_factory=list)
    doubt: Doubt | None = None
    error: np.ndarray | None = None

    def _outline(self) -> list[str]:
        scene, residual = self.scene, f"data residual {self.metrics['data_residual']:.2%}"
        made = f"{size_in_words(scene.cube.shape)} by {self.record['method']}"
        return [repr(scene.name), made, residual, "" if self.warning is None else "do not rely on it"]

    @property
    def classes(self) -> np.ndarray | None:
        """The class map, −1 where it is unknown, (H,W) int64; ``scene.classes`` has a class everywhere."""
        classes, unknown = self.scene.classes, None if self.doubt is None else self.doubt.unknown
        return classes if classes is None or unknown is None else np.where(unknown, UNLABELLED, classes)

    @property
    def known_scene(self) -> Scene:
        """The scene with the class map of ``classes``, for files that hold no doubt beside it."""
        return replace(self.scene, classes=self.classes)

    @property
    def warning(self) -> str | None:
        """Why the scene should not be believed (``methods.verdict``); None if it may be."""
        return self.metrics.get("warning")


def check_one_scene(results: Sequence[tuple[str, Reconstruction]]) -> None:
    """Raise an InputError unless results, each with its name, can be of one scene, on the same bands and scale."""
    (first, one), *_ = results
    shape, counts = one.scene.cube.shape, one.measurement.holds_counts
    known: tuple[str, tuple[float, ...]] | None = None
    truth: tuple[str, np.ndarray] | None = None
    for name, result in results:
        remedy, wavelengths = "choose results of one scene", result.scene.wavelengths
        if result.scene.cube.shape != shape:
            raise InputError(
                f"{name} holds a cube of shape {result.scene.cube.shape}, but {first} one of {shape}", remedy
            )
        if result.measurement.holds_counts != counts:
            in_counts, other = (first, name) if counts else (name, first)
            raise InputError(
                f"{in_counts} is in camera counts, and {other} is not", "decode both measurements on the same scale"
            )
        if wavelengths is not None:
            known = known or (name, wavelengths)
            if not np.allclose(wavelengths, known[1], rtol=0, atol=SAME_NM):
                own, others = spectrum_in_words(wavelengths), spectrum_in_words(known[1])
                raise InputError(f"{name} has other wavelengths ({own}) than {known[0]} ({others})", remedy)
        if result.truth is not None:
            cube, truth = result.truth.cube, truth or (name, result.truth.cube)
            if cube.shape != truth[1].shape or not np.allclose(cube, truth[1], atol=SAME_TRUTH, equal_nan=True):
                raise InputError(f"{name} was decoded with another true scene than {truth[0]}", remedy)


def open_method(
    name: str | Path,
    device: str | torch.device = "cpu",
    engine: str | None = None,
    step: float | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Method:
    """A method by what a user types: the name of a solver or of shipped weights, or a weights file.

    Args:
        device: of a network that PyTorch runs.
        engine, step, progress: of a network, as in ``open_engine``.
        **settings: of a solver, such as ``iterations``.

    Raises:
        InputError: there is no such method or file, or no such setting or engine.
    """
    if str(name) in SOLVERS:
        if engine is not None:
            raise InputError("an engine computes a network", "set <weights>, or omit <engine>")
        return create_solver(str(name), **settings)
    if not Path(name).suffix and not is_hub_address(name) and not find_weights(name).exists():
        raise unknown("method", str(name), [*SOLVERS, *pretrained_weights()])
    if settings:
        raise InputError(f"{', '.join(settings)} is a setting of the training-free methods, not of weights")
    return open_engine(name, engine, step, device, progress)


def list_methods() -> list[str]:
    """Names of everything that can be opened or created: shipped weights, solvers, and networks.

    In the name of a network, {K} stands for the number of stages, as in ``crsdun.create("crsdun_3stg", bands=28)``.
    """
    return list(dict.fromkeys([*pretrained_weights(), *SOLVERS, *NAMES]))


def choose_weights(prepared: PreparedMeasurement) -> tuple[str | None, str]:
    """The shipped weights that fit a measurement and its camera, or None; and the reason, in one line."""
    reasons = fit_of_weights(prepared)
    for name, reason in reasons.items():
        if reason is None:
            return name, f"{name} fits this camera{_knows(_card_of(name)[0])}"
    alike: dict[str | None, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(reason, []).append(name)
    several = len(alike) > 1
    listed = "; ".join(
        f"{' and '.join(names)}: {reason}" if several else f"{reason}" for reason, names in alike.items()
    )
    return None, f"no shipped weights fit ({listed}); {DEFAULT_SOLVER}, which needs none, decodes"


def _knows(card: ModelCard) -> str:
    """What weights make of any pixel, to go on with; empty where they have no classes."""
    names = card.class_names
    if not names:
        return ""
    listed = f"{len(names)} classes, {names[0]} to {names[-1]}"
    if card.calibration is None:
        return f"; it calls every pixel one of {listed}"
    return f"; it knows {listed}, and calls pixels unlike them unknown"


def fit_of_weights(prepared: PreparedMeasurement) -> dict[str, str | None]:
    """For each of the shipped weights why they do not fit a measurement and its camera; None where they do."""
    reasons: dict[str, str | None] = {}
    for name in pretrained_weights():
        card, bands = _card_of(name)
        try:
            fit_card(prepared.camera, card, bands)
            check_resemblance(prepared, card)
            reasons[name] = None
        except InputError as error:
            reasons[name] = error.message
    return reasons


def check_resemblance(prepared: PreparedMeasurement, card: ModelCard) -> None:
    """Raise an InputError unless a measurement and its camera resemble those that weights have seen."""
    camera, frame = prepared.camera, torch.from_numpy(prepared.measurement.frame)
    if isinstance(camera, StackedCamera):
        raise InputError("they decode one exposure, and there are several pictures of the scene")
    for part in camera.parts:
        if part.couples:
            raise InputError(f"they have seen no {part.name} behind the prism")
    if camera.wavelengths is None:
        raise InputError("the wavelengths of the bands are not known", "set <wavelengths>")
    openness = float((camera.mask > camera.mask.max() / 2).float().mean())
    if not OPEN[0] <= openness <= OPEN[1]:
        raise InputError(
            f"{openness:.0%} of the mask is open, but they have only seen {OPEN[0]:.0%} to {OPEN[1]:.0%}"
        )
    if card.steps is not None:  # they learnt behind random cameras: grey masks, one for each band, any exposure
        return
    if prepared.counts:
        raise InputError("the scale of the counts is not known", "set <bits>")
    check_scale(frame, camera)
    if camera.mask.ndim == 3:
        raise InputError("they have only seen masks that are the same for all bands")
    grey = float(((camera.mask > 0) & (camera.mask < ALMOST_CLOSED)).float().mean())
    if grey > 0.01:
        raise InputError(f"{grey:.0%} of the mask is almost closed, but they have only seen open and closed")
    check_brightness(frame, camera)


def check_brightness(frame: torch.Tensor, camera: CassiCamera) -> None:
    """Raise an InputError if a frame is so dark that it is probably on another of the field's scales."""
    bands, peak = camera.bands, float(frame.max())
    for largest, scale in ((0.8, "0.8 y / max(y)"), (1.0, "y / max(y)")):
        if bands > 1 and abs(peak - largest) < 1e-6:
            raise InputError(f"the largest value is {largest:g}, as of {scale}, which has lost the scale of y")
    white = float(camera.forward(torch.ones(bands, camera.height, camera.width)).max())
    if peak >= DIM * white:
        return
    reason = f"the measurement goes up to {peak / white:.2%} of what a white scene gives: too dark"
    for factor, scale in ((bands, f"y / {bands}"), (bands / 2, f"2 y / {bands}")):
        if 3 * DIM * white <= peak * factor <= white:
            raise InputError(f"{reason}, or on the scale of {scale}, so that {factor:g} times its values are y")
    raise InputError(f"{reason}, or on a scale of its own")


@cache
def _card_of(name: str) -> tuple[ModelCard, int]:
    """The card and the number of bands of shipped weights."""
    header = read_header(name)
    return header.card, header.config["bands"]


def decode(
    prepared: PreparedMeasurement,
    method: Method,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Decode one measurement.

    Args:
        prepared: measurement, camera and, for the metrics, the true scene, which is resampled to the camera's bands
            if the wavelengths of both are known; its classes are compared if they are the method's
            (``evaluation.legends.comparable_truth``).
        method: from ``open_method``, or any other.
        options, progress: as in ``run_method``.

    Raises:
        InputError: measurement, camera, method and truth do not fit together, or as in ``run_method``.
    """
    return decode_batch([prepared], method, options, progress)[0]


def decode_batch(
    several: Sequence[PreparedMeasurement],
    method: Method,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> list[Reconstruction]:
    """Decode measurements of one size that the same camera took (``PreparedMeasurement.is_like``), at once.

    Of more than one the method must say that it ``batches``. Arguments and errors are those of ``decode``.
    """
    options = options or RunOptions()
    camera = several[0].camera
    known = []
    for prepared in several:
        prepared.check_scale(method)
        known.append(comparable_truth(prepared.truth_for(method.fit(camera)), method))
    frames = torch.stack([torch.from_numpy(prepared.measurement.frame) for prepared in several])
    runs = run_batch(method, frames, camera, options, progress)
    return [
        _reconstruction(prepared, method, run, *truth, options)
        for prepared, run, truth in zip(several, runs, known, strict=True)
    ]


def _reconstruction(
    prepared: PreparedMeasurement,
    method: Method,
    run: MethodRun,
    truth: Scene | None,
    class_note: str | None,
    options: RunOptions,
) -> Reconstruction:
    """The result of a run: judged, as a scene, with its record; ``truth`` is what may be compared."""
    from crsdun.evaluation.score import judge  # torchmetrics takes a second to import

    frame = torch.from_numpy(prepared.measurement.frame)
    figures = judge(run, truth)
    verdict = judge_run(run, method, frame, options)
    doubt = verdict.doubt
    if doubt is None and not method.needs_scale and options.before is None:  # a sequence has one mask
        doubt = doubt_mask(frame, run.camera, options)
    moved = run.camera.moved != prepared.camera.moved
    classes = run.doubt(method.card, options.coverage)
    error = expected_error(run, method, frame, options).cpu().numpy() if options.repeats else None
    known = {
        "fit": verdict.fit, "held_out_residual": verdict.held_out, "noise": verdict.noise,
        "class_note": class_note, "warning": doubt, "mask_moved": list(run.camera.moved) if moved else None,
        **described_doubt(classes),
    }  # fmt: skip
    metrics = figures[-1] | {name: value for name, value in known.items() if value is not None}
    record = record_of(run, method, prepared, options)
    scene = run.scene(prepared.measurement.name, method.card)
    scene.provenance.update(method=method.name, made_by=record["made_by"], measurement=record["measurement"])
    stages = None
    if options.keep_stages:
        estimate = run.estimate
        logits = [theta.cpu() for theta in estimate.logits]
        if method.card.calibration is not None:
            logits[-1] = logits[-1] / method.card.calibration.temperature
        stages = Estimate([x.cpu() for x in estimate.cubes], logits)
    stage_metrics = figures if stages else []
    return Reconstruction(
        prepared.measurement, run.camera, scene, truth, metrics, record, stages, stage_metrics, classes, error
    )


def described_doubt(classes: Doubt | None) -> dict[str, Any]:
    """What the figures of a reconstruction say of the doubt in its class map."""
    if classes is None:
        return {}
    if classes.unknown is None:
        return {"calibrated": False}
    return {"calibrated": True, "coverage": classes.coverage, "unknown": float(classes.unknown.mean())}


class Run(Protocol):
    """What a record says of a run: the camera as the method completed it, the time, and the tiles."""

    @property
    def camera(self) -> CassiCamera: ...
    @property
    def seconds(self) -> float: ...
    @property
    def tiles(self) -> Tiles | None: ...


def record_of(run: Run, method: Method, prepared: PreparedMeasurement, options: RunOptions) -> dict[str, Any]:
    """How results were made, as plain JSON values."""
    camera, measurement, truth = run.camera, prepared.measurement, prepared.truth
    return provenance.record(
        method=method.name,
        settings=method.settings,
        device=str(options.device),
        seconds=round(run.seconds, 3),
        engine=method.engine,
        precision=options.precision,
        tiles=run.tiles and asdict(run.tiles),
        camera={
            "mask": list(camera.mask.shape),
            "bands": camera.bands,
            "wavelengths_nm": camera.wavelengths,
            "offsets_pixels": camera.offsets,
            "mask_moved_pixels": camera.moved,
        },
        measurement={"name": measurement.name, **measurement.provenance},
        truth=None if truth is None else {"name": truth.name, **truth.provenance},
    )
