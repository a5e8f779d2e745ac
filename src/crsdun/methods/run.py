"""One safe run of any method, with its precision, tiles, memory, check for finiteness, and residual."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from crsdun.budget import is_out_of_memory
from crsdun.errors import InputError
from crsdun.machine import check_device
from crsdun.methods.doubt import COVERAGE, Doubt, doubt_of
from crsdun.methods.memory import available_memory
from crsdun.methods.method import Method
from crsdun.methods.precision import in_precision
from crsdun.methods.sequence import Before
from crsdun.methods.tiles import Tiles, automatic_tiles, by_tiles
from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress
from crsdun.optics.wavelengths import band_order
from crsdun.scenes import Scene

# A scene is at most this many times as bright as a white one; brighter measurements are on another scale.
BRIGHTEST = 10


@dataclass(frozen=True)
class RunOptions:
    """How a method is run.

    Attributes:
        device: where to compute, such as ``cpu`` or ``cuda``.
        precision: of products and convolutions: float32, bfloat16 or float16. The results are float32.
        tiles: how to cut the frame; None computes it whole, or in automatic tiles if there is not enough memory.
        memory: available bytes, if measured before an earlier run, whose freed memory would count as used; None
            measures now.
        keep_stages: keep the cubes and logits of all stages; the frame is then not tiled automatically.
        allow_nonfinite: return estimates that contain NaN or infinity instead of raising an error.
        coverage: share of the pixels of scenes like those of the calibration that keep their class; the others, with
            more doubt, are unknown (``methods.doubt``).
        repeats: how many times a frame is decoded again to estimate the error of each voxel (``methods.repeats``).
        before: the frame before, in a sequence.
    """

    device: str | torch.device = "cpu"
    precision: str = "float32"
    tiles: Tiles | None = None
    memory: int | None = None
    keep_stages: bool = False
    allow_nonfinite: bool = False
    coverage: float = COVERAGE
    repeats: int = 0
    before: Before | None = None

    def check(self, method: Method) -> None:
        """Raise an InputError if the method cannot be run with these options."""
        if self.precision not in method.precisions:
            able = " and ".join(method.precisions)
            raise InputError(f"{method.name} computes in {able}, not in {self.precision}", "omit <precision>")
        check_device(self.device)
        in_precision(self.precision, self.device)
        if not 0 < self.coverage <= 1:
            raise InputError(
                f"a coverage lies above 0 and up to 1, not at {self.coverage:g}", "set <coverage> to 0.95"
            )
        if self.repeats < 0 or self.repeats == 1:
            raise InputError(f"errors are estimated from 2 repeats or more, not {self.repeats}", "set <repeats> to 4")
        if self.tiles is not None and not method.tileable:
            raise InputError(f"{method.name} takes whole frames", "omit <tile>")


@dataclass(frozen=True)
class MethodRun:
    """The result of a run.

    Attributes:
        estimate: float32, on the device, bands by ascending wavelength (the order of scenes, not of the camera).
        camera: as completed by the method, or as it found it from the measurement, on the device; its bands are
            those of the estimate, by ascending wavelength.
        residuals: ‖y − A x‖ / ‖y‖ of every stage, first to last.
        seconds: taken by the method.
        tiles: in which it was computed; None if it was computed whole.
    """

    estimate: Estimate
    camera: CassiCamera
    residuals: list[float]
    seconds: float
    tiles: Tiles | None

    @property
    def residual(self) -> float:
        """Of the last stage."""
        return self.residuals[-1]

    def scene(self, name: str, card: ModelCard) -> Scene:
        """The estimate as a scene, with the class names of the card; what is not finite becomes 0."""
        x, theta = self.estimate.stages[-1]
        return Scene(
            np.nan_to_num(x[0].cpu().numpy(), posinf=0, neginf=0),
            wavelengths=self.wavelengths,
            classes=None if theta is None else theta[0].argmax(0).cpu().numpy(),
            class_names=None if theta is None else card.class_names,
            name=name,
        )

    def doubt(self, card: ModelCard, coverage: float = COVERAGE) -> Doubt | None:
        """How far the class map of the last stage can be believed; None where there is none."""
        return doubt_of(self.estimate, card, self.wavelengths, coverage)

    @property
    def wavelengths(self) -> tuple[float, ...] | None:
        """Of the estimate's bands, in nm, ascending."""
        return self.estimate.wavelengths


def run_method(
    method: Method,
    measurement: Tensor,
    camera: CassiCamera,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> MethodRun:
    """Run a method on one measurement.

    Args:
        measurement: y, (H,Wm), on the scale of y = A x.
        camera: that took it.
        progress: called with (done, total) iterations, tiles or layers; what it raises ends the run.

    Raises:
        InputError: measurement, camera, method and options do not fit together, there is not enough memory, or the
            estimate is not finite.
    """
    return run_batch(method, measurement[None], camera, options, progress)[0]


def run_batch(
    method: Method,
    measurements: Tensor,
    camera: CassiCamera,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> list[MethodRun]:
    """Run a method on several measurements of one camera at once; a run for each, with its share of the seconds.

    Of more than one the method must say that it ``batches``.

    Args:
        measurements: y, (B,H,Wm), on the scale of y = A x.
        camera, options, progress: as for ``run_method``.

    Raises:
        InputError: as ``run_method``, for any of them.
    """
    options = options or RunOptions()
    options.check(method)
    assert len(measurements) == 1 or (method.batches and options.before is None)
    camera = method.fit(camera)
    if method.needs_scale:
        for measurement in measurements:
            check_scale(measurement, camera)
    tiles = choose_tiles(method, camera, options)
    camera, y = camera.to(options.device), measurements.to(options.device)
    with torch.inference_mode(), method.inference():
        start = time.perf_counter()
        estimate = _compute(method, y, camera, replace(options, tiles=tiles), progress)
        finite = estimate.is_finite  # which also waits for a GPU
        seconds = (time.perf_counter() - start) / len(y)
        if not (finite or options.allow_nonfinite):
            raise not_finite(method, options)
        camera = estimate.camera or camera
        if options.before is not None:
            x = options.before.smooth(estimate.cube[0], camera)
            estimate = replace(estimate, cubes=[*estimate.cubes[:-1], x[None]])
        estimate, order = replace(estimate, wavelengths=camera.wavelengths), band_order(camera.wavelengths)
        if order is not None:  # what people get has its bands by ascending wavelength
            estimate, camera = estimate.in_order(order), camera.in_order(order)
        runs = []
        for frame, part in zip(y, estimate.frames(), strict=True):
            residuals = [data_residual(frame, x[0], camera) for x in part.cubes]
            runs.append(MethodRun(part, camera, residuals, seconds, tiles))
    return runs


def choose_tiles(method: Method, camera: CassiCamera, options: RunOptions) -> Tiles | None:
    """The requested tiles, or those that the available memory requires."""
    if options.tiles is not None or options.keep_stages or not method.tileable:
        return options.tiles
    memory = available_memory(options.device) if options.memory is None else options.memory
    return automatic_tiles(method, camera, memory)


def _compute(
    method: Method, y: Tensor, camera: CassiCamera, options: RunOptions, progress: Progress | None
) -> Estimate:
    """The last stage, or all of them, in float32."""
    with enough_memory(method, options), in_precision(options.precision, y.device):
        if options.tiles is None:
            call: Any = method
            if options.before is not None and options.before.warm and method.takes_start:
                call = partial(cast(Any, method), start=options.before.seen_by(camera)[None])
            estimate = call(y, camera, progress)
        else:
            estimate = by_tiles(method, y, camera, options.tiles, progress)
    if not options.keep_stages:
        estimate = estimate.last_stage()
    return replace(
        estimate,
        cubes=[x.float() for x in estimate.cubes],
        logits=[theta.float() for theta in estimate.logits],
    )


@contextmanager
def enough_memory(method: Method, options: RunOptions) -> Iterator[None]:
    """Say in the block in a user's words that memory has run out; tiles, which help, give the last stage alone."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fewer = "" if options.tiles is None else f", fewer than {options.tiles.rows}"
        remedy = f"cut it with <tile>{fewer}" if method.tileable and not options.keep_stages else "crop it"
        raise InputError("there is not enough memory for this frame", remedy) from error


class ScaleError(InputError):
    """A measurement is probably not on the scale of its camera."""


@contextmanager
def simulated_from(name: str) -> Iterator[None]:
    """Inside the block, errors name the scene whose measurement is simulated, and mend that, not a measurement."""
    try:
        yield
    except ScaleError as error:
        remedy = "bring the scene to a scale on which white is 1, or choose another method"
        raise InputError(f"{name}: {error.message}", remedy) from error
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.remedy) from error


def not_finite(method: Method, options: RunOptions) -> ScaleError:
    """The error where an estimate is not finite."""
    fewer = "" if options.precision == "float32" else "omit <precision>, or "
    return ScaleError(
        f"{method.name} ended in values that are not finite",
        f"{fewer}bring the measurement to the scale of its camera with <bits>, or with <white> and <dark>",
    )


def data_residual(measurement: Tensor, cube: Tensor, camera: CassiCamera) -> float:
    """‖y − A x‖ / ‖y‖: the part of y (H,Wm) that a cube (C,H,W), bands in the camera's order, does not explain."""
    return unexplained_share(*map(float, unexplained_norms(measurement, cube, camera)))


def unexplained_share(unexplained: float, light: float) -> float:
    """Of ‖y − A x‖ in ‖y‖; of a measurement without light 1, or 0 where the cube has none either."""
    return unexplained / light if light else float(unexplained > 0)


def unexplained_norms(measurement: Tensor, cube: Tensor, camera: CassiCamera) -> tuple[Tensor, Tensor]:
    """‖y − A x‖ and ‖y‖; their squares add up over the rows of a frame that light does not cross."""
    measurement = camera.counted(measurement)
    return (measurement - camera.forward(cube)).norm(), measurement.norm()


def check_scale(measurement: Tensor, camera: CassiCamera) -> None:
    """Raise an InputError if a measurement is far brighter than a scene in 0..1 can be."""
    check_level(float(camera.counted(measurement).max()), white_level(camera))


def white_level(camera: CassiCamera) -> float:
    """The most that a white scene gives through a camera."""
    return float(camera.open_light.max())


def check_level(high: float, white: float) -> None:
    """The same of the highest value of a measurement, where a white scene gives ``white``."""
    if high > BRIGHTEST * white:
        raise ScaleError(
            f"the measurement goes up to {high:.4g}, but a white scene gives {white:.4g} through this camera; these "
            "look like raw counts",
            "normalise them with <bits>, or with <white> and <dark>",
        )
