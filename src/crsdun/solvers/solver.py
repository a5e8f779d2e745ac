"""The base class of training-free methods, and the table of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress
from crsdun.optics.values import check_tensor
from crsdun.registry import Registry
from crsdun.typed import typed


class Solver(ABC):
    """A method without weights (see ``crsdun.methods.Method``): a frozen dataclass of its settings.

    A solver of your own inherits from it, defines ``__call__`` and is registered under a name (``register_solver``).

    Attributes:
        name: for tables and records; the one under which it was registered.
        bands, stages, base: as in a network's configuration; here any number of bands, one stage, no width.
        engine, tileable, precisions, needs_scale, inspectable, exportable, batches: as in ``Network``.
        takes_start: it may be called with a cube to begin with, as ``start``.
        efforts: the settings that differ from their defaults where more time may be taken, by name.
    """

    name = "solver"
    card = ModelCard()
    bands: int | None = None
    stages = base = 1
    class_count, stage_count = 0, 1
    engine = "torch"
    tileable = False
    precisions: tuple[str, ...] = ("float32",)
    needs_scale = False
    takes_start = False
    inspectable = False
    exportable = False
    batches = False
    efforts: ClassVar[dict[str, dict[str, Any]]] = {"normal": {}}

    @abstractmethod
    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """Reconstruct.

        Args:
            measurement: y, (B,H,Wm) floating point.
            camera: the camera that took it.
            progress: called as ``progress(done, total)`` after each iteration; what it raises ends the computation.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The fields as plain values, from which ``create_solver`` makes it again.

        Those that name a file are left out: what is left out cannot be set by the weights of a two-stage system.
        """
        return asdict(self)  # type: ignore[call-overload]

    def fit(self, camera: CassiCamera) -> CassiCamera:
        """The camera unchanged: a solver takes any."""
        return camera

    def peak_bytes(self, height: int, width: int) -> int | None:
        """Unknown."""
        return None

    def inference(self) -> AbstractContextManager[None]:
        """A solver has no training mode."""
        return nullcontext()


@dataclass(frozen=True)
class NormalisedFrame:
    """One measurement on a scale of its own, so that settings mean the same in all units.

    Attributes:
        measurement: y over ``scale``, (H,Wm); of several pictures, each over its unit as well.
        camera: that took it so, on its device and in its floating type.
        scale: the brightness of the scene.
        start: first estimate, (C,H,W): the back-projection, divided by that of a white scene, or what was given.
    """

    measurement: Tensor
    camera: CassiCamera
    scale: float
    start: Tensor


def check_measurement(measurement: Tensor, camera: CassiCamera) -> None:
    """Raise an InputError unless the measurement is a (B,H,Wm) of the camera, of one frame or more, and finite.

    What pixels read that do not count may be anything.
    """
    check_tensor(measurement, "a solver takes a tensor")
    if measurement.ndim != 3 or not measurement.is_floating_point():
        raise InputError(
            f"a solver takes floating-point measurements (batch, height, width), not {measurement.dtype} of "
            f"shape {tuple(measurement.shape)}",
            "convert with .float(), add a batch axis with measurement[None]",
        )
    camera.check(measurement)
    if not len(measurement):
        raise InputError("there is no frame in this batch of measurements", "give at least one, (1, height, width)")
    finite = torch.isfinite(camera.counted(measurement))
    if not bool(finite.all()):
        count = int((~finite).sum())
        raise InputError(f"the measurement contains {count} NaN or infinite values", "replace them first, e.g. by 0")


def normalised(measurement: Tensor, camera: CassiCamera, start: Tensor | None = None) -> list[NormalisedFrame]:
    """The frames of a measurement (B,H,Wm).

    Args:
        start: cubes to begin with, (B,C,H,W) in the units of y per band, such as those of the frames before.

    Raises:
        InputError: it has another shape or type, or contains NaN or infinity; or ``start`` has another shape.
    """
    check_measurement(measurement, camera)
    camera = camera.to(measurement)
    measurement = camera.counted(measurement)
    if len(camera.units) > 1:
        for picture, unit in zip(camera.pictures(measurement), camera.units, strict=True):
            picture /= unit
        camera = camera.in_own_units()
    if start is not None:
        expected = (len(measurement), camera.bands, camera.height, camera.width)
        if start.shape != expected:
            raise InputError(f"a start has the shape {expected} here, not {tuple(start.shape)}")
        start = start.to(measurement)
    back = camera.adjoint(torch.where(camera.lit, camera.open_light, 0))
    frames = []
    for number, y in enumerate(measurement):
        scale = float(camera.brightness(y))
        # No light at all, or a mask that is closed everywhere: nothing to scale.
        scale = scale if 0 < scale < math.inf else 1.0
        sent = camera.adjoint(torch.where(camera.lit, y / scale, 0))
        first = sent / torch.where(back > 0, back, 1) if start is None else start[number] / scale
        frames.append(NormalisedFrame(y / scale, camera, scale, first.clamp(min=0).contiguous()))
    return frames


SOLVERS: Registry[type[Solver]] = Registry("solver")
S = TypeVar("S", bound=type[Solver])


def register_solver(name: str, solver: S) -> S:
    """Register a solver under a name, for ``open_method`` and for every command.

    Raises:
        InputError: the name is taken.
    """
    SOLVERS.register(name, solver)
    solver.name = name
    return solver


def create_solver(name: str, effort: str = "normal", **overrides: Any) -> Solver:
    """The solver of this name, with the settings of an effort, and some changed.

    Raises:
        InputError: no solver has this name, or it has no such effort or setting.
    """
    solver = SOLVERS.find(name)
    if effort not in solver.efforts:
        raise InputError(f"{name} has no effort {effort!r}", f"it has {' and '.join(solver.efforts)}")
    known = [each.name for each in fields(solver)]  # type: ignore[arg-type]
    for override in overrides:
        if override not in known:
            raise InputError(f"{name} has no setting {override!r}", f"it has {', '.join(known) or 'none'}")
    return typed(solver, {**solver.efforts[effort], **overrides}, name)
