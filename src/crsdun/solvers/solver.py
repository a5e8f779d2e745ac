"""The base class of training-free methods, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from typing import Any, TypeVar

from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress
from crsdun.registry import Registry
from crsdun.typed import typed


class Solver(ABC):
    """A method without weights (see ``crsdun.methods.Method``): a frozen dataclass of its settings.

    A solver of your own inherits from it, defines ``__call__`` and is registered under a name (``register_solver``).

    Attributes:
        name: for tables and records; the one under which it was registered.
        bands, stages, base: as in a network's configuration; here any number of bands, one stage, no width.
        engine, tileable, precisions, needs_scale, inspectable, exportable: as in ``Network``.
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
    inspectable = False
    exportable = False

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
        """The fields as plain values."""
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


def create_solver(name: str, **overrides: Any) -> Solver:
    """The solver of this name, with some settings changed from their defaults.

    Raises:
        InputError: no solver has this name, or it has no such setting.
    """
    solver = SOLVERS.find(name)
    known = [each.name for each in fields(solver)]  # type: ignore[arg-type]
    for override in overrides:
        if override not in known:
            raise InputError(f"{name} has no setting {override!r}", f"it has {', '.join(known) or 'none'}")
    return typed(solver, overrides, name)
