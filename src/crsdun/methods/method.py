"""The one interface over networks, two-stage systems, solvers, exported networks and plugins."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor

from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress


class Method(Protocol):
    """Whatever makes a cube, and perhaps a class map, of a measurement. Nobody has to ask which kind it is.

    Attributes:
        name: for tables and records.
        settings: that decide what it computes, as plain JSON values.
        card: what it was trained for; empty for a method without weights.
        class_count: N, 0 where it does not segment.
        stage_count: cubes in its estimate.
        engine: the library that computes it.
        precisions: in which it can compute; the first is the usual one.
        tileable: bands of rows of a frame may be computed apart and blended.
        needs_scale: the measurement must be on the scale of y = A x.
        inspectable: it is a PyTorch module whose layers can be watched.
    """

    name: str

    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def card(self) -> ModelCard: ...
    @property
    def class_count(self) -> int: ...
    @property
    def stage_count(self) -> int: ...
    @property
    def engine(self) -> str: ...
    @property
    def precisions(self) -> tuple[str, ...]: ...
    @property
    def tileable(self) -> bool: ...
    @property
    def needs_scale(self) -> bool: ...
    @property
    def inspectable(self) -> bool: ...

    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """The estimate of measurements (B,H,Wm) that ``camera`` took; ``progress`` is called with (done, total)."""

    def fit(self, camera: CassiCamera) -> CassiCamera:
        """The camera with what the method knows of it; an InputError where it was made for another one."""

    def peak_bytes(self, height: int, width: int) -> int | None:
        """Memory at the peak for a scene of this size in float32, besides weights; None where nobody knows."""

    def inference(self) -> AbstractContextManager[None]:
        """A context in which it estimates and does not learn."""
