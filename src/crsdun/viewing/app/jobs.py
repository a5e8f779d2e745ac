"""Decoding and simulating in the background: one computation at a time on this machine, with progress and cancel.

Every call that computes goes from here into ``crsdun.runtime``.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from crsdun import runtime
from crsdun.budget import explained
from crsdun.errors import InputError
from crsdun.methods import Method, Progress, RunOptions, available_memory
from crsdun.methods.run import choose_tiles
from crsdun.optics import CassiCamera, Exposure, SensorNoise, random_mask
from crsdun.runtime import Preparation, PreparedMeasurement
from crsdun.runtime.explanation import CrossAggregationRecord, recording
from crsdun.runtime.simulation import scene_for
from crsdun.scenes import Scene, StoredMask
from crsdun.solvers import SOLVERS, refine_camera
from crsdun.viewing.app.open_scene import Layer, OpenScene, layer_of, missing_note
from crsdun.viewing.app.requests import DecodeRequest, SimulatedCamera
from crsdun.viewing.app.wording import page_message

GAP_TV = "gap-tv"
# Up to this many bytes the cubes of all stages are kept; beyond it, only the last.
MOST_STAGES_BYTES = 1 << 30
MOST_NETWORKS = 4  # that stay open
# Two computations at once would each take more than twice as long.
_computing = threading.Lock()


class Cancelled(Exception):
    """Raised by a progress callback to end a computation."""


@dataclass(frozen=True)
class JobStatus:
    """How far a job is: ``done`` of ``total`` steps (0: unknown); ``message`` is the outcome, once it has ended."""

    title: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    step: str
    done: int
    total: int
    message: str
    seconds: float


class Job:
    """A computation in a thread of its own.

    Args:
        title: what the page calls it.
        work: what to compute; returns a summary. It calls ``job.progress`` and sets ``job.step``.
        folders: left out of the paths in error messages.
    """

    def __init__(self, title: str, work: Callable[[Job], str], folders: Sequence[Path] = ()):
        self.title, self.work, self.folders = title, work, folders
        self.state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
        self.step, self.done, self.total, self.message = title, 0, 0, ""
        self._cancel = threading.Event()
        self._started = time.monotonic()
        threading.Thread(target=self._run, name=title, daemon=True).start()

    def cancel(self) -> None:
        self._cancel.set()

    @property
    def running(self) -> bool:
        """Neither ended nor told to end."""
        return self.state in ("waiting", "running") and not self._cancel.is_set()

    def progress(self, done: int, total: int) -> None:
        """The progress callback of computations; raises ``Cancelled`` after ``cancel``."""
        self.done, self.total = done, total
        if self._cancel.is_set():
            raise Cancelled

    def status(self) -> JobStatus:
        seconds = round(time.monotonic() - self._started, 1)
        return JobStatus(self.title, self.state, self.step, self.done, self.total, self.message, seconds)

    def _run(self) -> None:
        try:
            while not _computing.acquire(timeout=0.1):
                self.progress(0, 0)
            try:
                self.state = "running"
                self._end("done", self.work(self))
            finally:
                _computing.release()
        except Cancelled:
            self._end("cancelled", "cancelled; the earlier results are unchanged")
        except Exception as error:
            problem = page_message(error, self.folders)
            if not explained(error):
                traceback.print_exc()
                problem = f"unexpected error ({problem}); the terminal of crsdun app shows where"
            self._end("failed", problem)

    def _end(self, state: Literal["done", "failed", "cancelled"], message: str) -> None:
        """The message first: whoever sees the state reads the message."""
        self.message = message
        self.state = state


# -- decode -----------------------------------------------------------------------------------------------------


def decode(scene: OpenScene, request: DecodeRequest, weights: Mapping[str, Path], job: Job) -> list[Layer]:
    """The layers of a decoding: that of the method, and that of GAP-TV where it was requested too.

    Args:
        weights: files by the name that ``request.method`` may have.

    Raises:
        InputError: there is nothing to decode, or method, camera and measurement do not belong together.
        Cancelled: ``job.cancel`` was called.
    """
    layers = [_decode(scene, request, weights, job)]
    if request.add_gap_tv and request.method != GAP_TV and GAP_TV not in scene.layers:
        layers.append(_decode(scene, DecodeRequest(GAP_TV), weights, job))
    return layers


def _decode(scene: OpenScene, request: DecodeRequest, weights: Mapping[str, Path], job: Job) -> Layer:
    prepared = measured(scene)
    camera, name = prepared.camera, request.method
    job.step, job.done, job.total = f"preparing {name}", 0, 0
    if name in weights:
        path = weights[name]
        engine = None if request.engine == "torch" else request.engine
        if engine:
            job.step = runtime.first_use(path, engine, camera.step) or job.step
        method = open_network(path, engine, camera.step, job.progress)
        name += f" · {engine}" if engine else ""
    elif name in SOLVERS:
        iterations = request.iterations
        settings: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
        method = runtime.open_method(name, **settings)
        name += "" if iterations is None else f" · {iterations} iterations"
    else:
        raise InputError(f"there is no method or network called {name!r} here", "choose another")
    job.step, job.done, job.total = f"decoding with {name}", 0, 0
    options = RunOptions(memory=available_memory())
    planes = method.stage_count * (camera.bands + method.class_count)
    fits = 4 * planes * camera.height * camera.width <= MOST_STAGES_BYTES
    options = replace(options, keep_stages=fits and choose_tiles(method, camera, options) is None)
    recorder: AbstractContextManager[list[CrossAggregationRecord]] = nullcontext([])
    if method.inspectable and options.keep_stages:
        recorder = recording(method, (camera.height, camera.width))
    with recorder as blocks:
        result = runtime.decode(prepared, method, options, job.progress)
    return layer_of(result, name, blocks)


def measured(scene: OpenScene) -> PreparedMeasurement:
    """The measurement that is open; raises an InputError where there is none."""
    if scene.measurement is None or scene.camera is None:
        raise InputError("there is no measurement open", "open one, or simulate it from this scene")
    return PreparedMeasurement(scene.measurement, scene.camera, scene.truth, scene.counts)


_networks: dict[tuple[Any, ...], Method] = {}  # the latest last; used under ``_computing`` alone


def open_network(path: Path, engine: str | None, step: float | None, progress: Progress) -> Method:
    """A network, opened once; the time of its file is part of its key, so that new weights of the same name are read.

    ``progress`` is called while the network is exported for an engine, and ends that where it raises.
    """
    key = (path, path.stat().st_mtime_ns, engine, step)
    if key not in _networks:
        network = runtime.open_method(path, engine=engine, step=step if engine else None, progress=progress)
        while len(_networks) >= MOST_NETWORKS:
            _networks.pop(next(iter(_networks)))
        _networks[key] = network
    return _networks[key]


def forget_networks() -> None:
    """Read all networks anew when they are used again."""
    _networks.clear()


def summary(layer: Layer) -> str:
    """How long it took and how good it is, in one line."""
    figures = {"psnr_db": "PSNR {:.2f} dB", "miou_present": "mIoU {:.3f}", "data_residual": "residual {:.2%}"}
    parts = [text.format(layer.metrics[name]) for name, text in figures.items() if name in layer.metrics]
    return ", ".join([f"{layer.name} in {layer.seconds:.1f} s", *parts])


def fitting_weights(scene: OpenScene | None) -> dict[str, str | None]:
    """For each of the shipped weights why they do not fit, None where they do; empty without a measurement."""
    if scene is None or scene.measurement is None or scene.camera is None:
        return {}
    return runtime.fit_of_weights(measured(scene))


# -- refine -----------------------------------------------------------------------------------------------------


def refine(scene: OpenScene, job: Job) -> OpenScene:
    """The scene behind the camera that its measurement tells of, without what was decoded behind another one.

    Raises:
        InputError: there is no measurement.
        Cancelled: ``job.cancel`` was called.
    """
    prepared = measured(scene)
    frame = torch.from_numpy(prepared.measurement.frame)[None]
    found = refine_camera(frame, prepared.camera, job.progress)
    if not found.significant:
        return replace(scene, refined=str(found))
    refined = prepared.refined(found)
    return replace(
        scene, measurement=refined.measurement, camera=refined.camera, class_names=(), layers={}, refined=str(found)
    )


# -- simulate ---------------------------------------------------------------------------------------------------


def simulate(scene: Scene, settings: SimulatedCamera, mask: StoredMask | CassiCamera | None = None) -> OpenScene:
    """A labelled scene through a simulated camera, whose mask may lie a little off from where decoding assumes it.

    Args:
        mask: in place of a random one; or a camera that was calibrated, with its mask, dispersion and bands.

    Raises:
        InputError: the mask is too small, or the settings make no camera.
    """
    calibrated = mask if isinstance(mask, CassiCamera) else None
    if calibrated is not None:
        scene = scene_for(calibrated, scene)
    sees = scene.cube.shape[1:] if calibrated is None else (calibrated.height, calibrated.width)
    sizes = [min(each) for each in zip(scene.cube.shape[1:], sees, (settings.size or sys.maxsize,) * 2, strict=True)]
    if sizes != list(scene.cube.shape[1:]):
        height, width = sizes
        top, left = ((side - part) // 2 for side, part in zip(scene.cube.shape[1:], (height, width), strict=True))
        scene = scene.cropped(top, left, height, width)
    down, right = settings.shift_down, settings.shift_right
    noise = SensorNoise(settings.photons or None, read_sigma=settings.read_noise, bits=settings.bits or None)
    step = int(settings.step) if settings.step.is_integer() else settings.step
    detector: dict[str, Any] = {"noise": noise, "seed": settings.seed, "moved": (down, right)}
    height, width = scene.cube.shape[1:]
    if isinstance(mask, CassiCamera):
        exposure = Exposure(calibrated=mask, **detector)
        measurement, camera = runtime.simulate(scene, exposure), exposure.camera(scene)
    else:
        if mask is None:
            mask = StoredMask(random_mask(height, width, settings.transmission, settings.mask_seed))
        exposure = Exposure(mask.mask, step, mask_wavelengths=mask.mask_wavelengths, **detector)
        measurement = runtime.simulate(scene, exposure)
        # A scene without wavelengths still fixes the number of bands.
        camera = Preparation(bands=scene.bands, step=step).camera_for(measurement)
    simulated = OpenScene(scene.name, scene.wavelengths, measurement, camera, scene, notes=missing_note(scene))
    if down or right:
        simulated.notes.append(f"the mask lies {down:+g} rows, {right:+g} columns off from where decoding assumes it")
    return simulated
