"""The one interface over networks, two-stage systems, solvers, exported networks and plugins."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor

from crsdun.optics import CassiCamera, Estimate, ModelCard, Progress


class Method(Protocol):
    """Anything that estimates a cube, and perhaps a class map, from a measurement. No caller asks which kind it is.

    Attributes:
        name: for tables and records.
        settings: everything that decides what it computes, as plain JSON values.
        card: what it was trained for; empty for a method without weights.
        class_count: N, 0 if it does not segment.
        stage_count: number of cubes in its estimate.
        engine: the library that computes it.
        precisions: in which it can compute; the first is the default.
        tileable: a frame may be cut into bands of rows that are computed separately and blended.
        needs_scale: the measurement must be on the scale of y = A x.
        takes_start: it may also be called with a cube to begin with, ``start``, (B,C,H,W).
        inspectable: it is a PyTorch module whose layers can be recorded.
        batches: several measurements of one camera may be given at once, and each is estimated as it is alone.
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
    def takes_start(self) -> bool: ...
    @property
    def inspectable(self) -> bool: ...
    @property
    def batches(self) -> bool: ...

    def __call__(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """The estimate of measurements (B,H,Wm) that ``camera`` took; ``progress`` is called with (done, total)."""

    def fit(self, camera: CassiCamera) -> CassiCamera:
        """The camera, completed with what the method knows about it; an InputError if it was made for another one."""

    def peak_bytes(self, height: int, width: int) -> int | None:
        """Peak memory in bytes for a scene of this size in float32, without weights; None if unknown."""

    def inference(self) -> AbstractContextManager[None]:
        """A context for inference: no layer behaves as in training."""
