"""Decode and simulate behind the page: one computation at a time on this machine, with progress and cancel."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from crsdun import runtime
from crsdun.errors import InputError
from crsdun.networks import Network
from crsdun.optics import Estimate, SensorNoise, random_mask, shifted_mask
from crsdun.runtime.explanation import CrossAggregationRecord, recording
from crsdun.scenes import Scene
from crsdun.solvers import SOLVERS
from crsdun.viewing.app.wording import page_message
from crsdun.viewing.app.workspace import MOST_STAGES_BYTES, Layer, Workspace, layer_of

YARDSTICK = "gap-tv"
ENGINES = ("torch", "onnxruntime", "openvino")
# Two at once would both take more than twice as long.
_computing = threading.Lock()


class Cancelled(Exception):
    """Raised by a progress callback to end a computation."""


class Job:
    """Something that takes long. ``state`` is waiting, running, done, failed or cancelled."""

    def __init__(self, title: str, work: Callable[[Job], str], folder: Path | None = None):
        self.title, self.work, self.folder = title, work, folder
        self.state, self.step, self.done, self.total, self.message = "waiting", title, 0, 0, ""
        self._cancel = threading.Event()
        self.started = time.monotonic()
        self.thread = threading.Thread(target=self._run, name=title, daemon=True)

    def start(self) -> Job:
        self.thread.start()
        return self

    def cancel(self) -> None:
        self._cancel.set()

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")

    def progress(self, done: int, total: int) -> None:
        """What computations are given; raises ``Cancelled`` where somebody asked for it."""
        self.done, self.total = done, total
        if self._cancel.is_set():
            raise Cancelled

    def described(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "state": self.state,
            "step": self.step,
            "done": self.done,
            "total": self.total,
            "message": self.message,
            "seconds": round(time.monotonic() - self.started, 1),
        }

    def _run(self) -> None:
        try:
            while not _computing.acquire(timeout=0.1):
                self.progress(0, 0)
            try:
                self.state = "running"
                self.message = self.work(self)
                self.state = "done"
            finally:
                _computing.release()
        except Cancelled:
            self.state, self.message = "cancelled", "cancelled; what was there before is still there"
        except (InputError, OSError, MemoryError) as error:
            self.state, self.message = "failed", page_message(error, self.folder)
        except Exception as error:
            traceback.print_exc()
            self.state, self.message = "failed", f"this should not happen ({error}); the terminal tells where"


# -- decode -----------------------------------------------------------------------------------------------------


def decode(subject: Workspace, method: str, settings: dict[str, Any], weights: dict[str, Path], job: Job) -> str:
    """Let a method decode the open measurement, and GAP-TV beside it where that is asked for; adds the layers.

    Args:
        method: the name of a solver, or of one of ``weights``.
        settings: ``engine``, ``iterations`` (of a solver), ``beside`` (GAP-TV too).

    Raises:
        InputError: there is nothing to decode, or method, camera and measurement do not belong together.
        Cancelled: somebody asked for it.
    """
    layer = _estimate(subject, method, settings, weights, job)
    wanted = settings.get("beside") and method != YARDSTICK and YARDSTICK not in subject.layers
    yardstick = _estimate(subject, YARDSTICK, {}, weights, job) if wanted else None
    for each in (layer, yardstick):
        if each is not None:
            subject.layers[each.name] = each
    if layer.result is not None:
        # What weights know and the files did not tell.
        subject.wavelengths = subject.wavelengths or layer.result.scene.wavelengths
        subject.class_names = subject.class_names or layer.result.scene.class_names
    return told(layer)


def _estimate(subject: Workspace, method: str, settings: dict[str, Any], weights: dict[str, Path], job: Job) -> Layer:
    if subject.measurement is None or subject.camera is None:
        raise InputError("there is no measurement open", "open one, or simulate it from this scene")
    job.step, job.done, job.total = f"{method} is being prepared", 0, 0
    engine = settings.get("engine") or "torch"
    name, path = method, weights.get(method)
    if path is not None:
        computed = network(path, path.stat().st_mtime_ns, None if engine == "torch" else engine, subject.camera.step)
        name += "" if engine == "torch" else f" · {engine}"
    elif method in SOLVERS:
        iterations = settings.get("iterations")
        _, computed = runtime.open_method(method=method, **({"iterations": iterations} if iterations else {}))
        name += f" · {iterations} iterations" if iterations else ""
    else:
        raise InputError(f"there is no method or weights called {method!r} here", "choose another")
    job.step = f"{name} is decoding"
    config = getattr(computed, "config", None)
    stages = getattr(config, "stages", 1) * (subject.camera.bands + getattr(config, "classes", 0))
    bytes_needed = 4 * stages * subject.camera.height * subject.camera.width
    tiles = runtime.automatic_tiles(computed, subject.camera, runtime.available_memory())
    keep_stages = bytes_needed <= MOST_STAGES_BYTES and tiles is None
    inside: AbstractContextManager[list[CrossAggregationRecord]] = nullcontext([])
    if isinstance(computed, Network) and not isinstance(computed, runtime.Engine) and keep_stages:
        inside = recording(computed, (subject.camera.height, subject.camera.width))
    with inside as blocks:
        result = runtime.reconstruct(
            subject.measurement,
            subject.camera,
            computed,
            name,
            subject.truth,
            progress=job.progress,
            tiles=tiles,
            keep_stages=keep_stages,
        )
    return layer_of(result, name, blocks)


@lru_cache(maxsize=4)
def network(path: Path, changed: int, engine: str | None, step: float | None) -> Callable[..., Estimate]:
    """A network, opened once; ``changed`` is when the file was, so that new weights of the same name are read."""
    _, method = runtime.open_method(path, engine=engine, step=step if engine else None)
    return method


def told(layer: Layer) -> str:
    """What came out, in one line."""
    metrics = layer.metrics
    words = [f"{layer.name} in {layer.seconds:.1f} s"]
    if "psnr_db" in metrics:
        words.append(f"PSNR {metrics['psnr_db']:.2f} dB")
    if "miou_present" in metrics:
        words.append(f"mIoU {metrics['miou_present']:.3f}")
    if "data_residual" in metrics:
        words.append(f"residual {metrics['data_residual']:.2%}")
    return ", ".join(words)


# -- simulate ---------------------------------------------------------------------------------------------------


def simulated(scene: Scene, settings: dict[str, Any], mask: np.ndarray | None) -> Workspace:
    """A labelled scene through a simulated camera, whose mask may sit a little off from where decoding believes it.

    Args:
        settings: ``size`` (a square from the middle; 0 for all), ``step``, ``photons``, ``read_noise``, ``bits`` (0
            for none), ``seed``, ``mask_seed``, ``transmission``, ``shift_down`` and ``shift_right`` in pixels.
        mask: in place of a random one.

    Raises:
        InputError: a setting is out of its range, or the mask too small.
    """
    size, (height, width) = int(settings.get("size") or 0), scene.cube.shape[1:]
    if size:
        rows, columns = min(size, height), min(size, width)
        scene = scene.cropped((height - rows) // 2, (width - columns) // 2, rows, columns)
        height, width = rows, columns
    if mask is None:
        transmission = _number(settings, "transmission", 0.5, 0.05, 1)
        mask = random_mask(height, width, transmission, int(_number(settings, "mask_seed", 0, 0, 2**31)))
    mask = mask[..., :height, :width]
    down, right = (_number(settings, f"shift_{side}", 0, -16, 16) for side in ("down", "right"))
    noise = SensorNoise(
        photons=_number(settings, "photons", 0, 0, 1e9) or None,
        read_sigma=_number(settings, "read_noise", 0, 0, 100),
        bits=int(_number(settings, "bits", 0, 0, 32)) or None,
    )
    step = _number(settings, "step", 2, -64, 64)
    step = int(step) if step.is_integer() else step
    real = shifted_mask(mask, down, right) if down or right else mask
    silent = noise == SensorNoise()
    seed = int(_number(settings, "seed", 0, 0, 2**31))
    measurement = runtime.simulate(scene, real, step, None if silent else noise, seed)
    # Decoding believes the mask where it should be; a scene without wavelengths still tells its number of bands.
    camera = runtime.camera_for(measurement, mask, bands=scene.bands, step=step)
    subject = Workspace(scene.name, scene.wavelengths, measurement, camera, scene)
    if down or right:
        subject.notes.append(f"the mask sits {down:+g} rows, {right:+g} columns off from where decoding believes it")
    return subject


def _number(settings: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(settings.get(name, default))
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        raise InputError(f"{name.replace('_', ' ')} must lie between {low:g} and {high:g}")
    return value
