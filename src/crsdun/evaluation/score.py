"""Figures of many scenes, kept as sums that add up over scenes and processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric

from crsdun.evaluation.metrics import (
    CALIBRATION_BINS,
    CLASS_FIGURES,
    CUBE_FIGURES,
    DOUBT_BINS,
    calibration_error,
    class_figures,
    confusion_matrix,
    cube_metrics,
    doubt_figures,
    doubt_histogram,
    reliability,
)
from crsdun.methods.doubt import odds_scale

if TYPE_CHECKING:
    from crsdun.methods import MethodRun
    from crsdun.scenes import Scene


class Score(Metric):
    """All figures of one stage over the scenes of a split.

    ``score(cube, truth, …)`` adds a scene and returns its figures; ``score.compute()`` returns those of all scenes,
    in a process group those of all processes. Figures of cubes are averaged over scenes; class maps are pooled over
    all labelled pixels.

    Args:
        protocol: a name in ``PROTOCOLS``.
        class_names: N names; empty if the classes have no names.
        classes: N if the classes have no names; 0 ignores classes.
        coverage: pixels with more doubt than this are unknown; None if the doubt is not calibrated.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    confusion: Tensor
    bins: Tensor
    doubts: Tensor

    def __init__(
        self,
        protocol: str = "crsdun",
        class_names: Sequence[str] = (),
        classes: int = 0,
        coverage: float | None = None,
    ):
        super().__init__()
        self.protocol, self.class_names, self.coverage = protocol, tuple(class_names), coverage
        self.class_count = classes = len(self.class_names) or classes
        for name, start in {
            "sums": torch.zeros(len(CUBE_FIGURES), dtype=torch.float64),
            "counts": torch.zeros(len(CUBE_FIGURES), dtype=torch.int64),
            "confusion": torch.zeros(classes, classes, dtype=torch.int64),
            "bins": torch.zeros(3, CALIBRATION_BINS + 1, dtype=torch.float64),
            "doubts": torch.zeros(2, DOUBT_BINS, dtype=torch.int64),
        }.items():
            self.add_state(name, start, dist_reduce_fx="sum")

    def update(
        self,
        cube: Tensor,
        truth: Tensor,
        logits: Tensor | None = None,
        classes: Tensor | None = None,
        doubt: Tensor | None = None,
    ) -> None:
        """Add a scene.

        Args:
            cube, truth: (C,H,W), estimated and true; the truth may be on another device.
            logits: (N,H,W), of a method that segments, at its temperature.
            classes: (H,W), the true ones on any device, negative where unknown; None if the scene has no labels.
            doubt: (H,W), 0..1, as of ``methods.doubt``; None takes the odds of the softmax.
        """
        metrics = cube_metrics(cube, truth.to(cube.device), self.protocol)
        for place, name in enumerate(CUBE_FIGURES):
            if metrics[name] is not None:
                self.sums[place] += metrics[name]
                self.counts[place] += 1
        if self.class_count and logits is not None and classes is not None:
            classes = classes.to(logits.device)
            estimate = logits.argmax(0)
            self.confusion += confusion_matrix(estimate, classes, self.class_count)
            self.bins += reliability(logits, classes)
            doubt = odds_scale(logits) if doubt is None else doubt.to(logits.device)
            self.doubts += doubt_histogram(doubt, estimate, classes)

    def add(self, other: Score) -> None:
        """Add the scenes of another score of the same kind, with the same sums as if this one had seen them."""
        for name in self._defaults:
            setattr(self, name, getattr(self, name) + getattr(other, name).to(self.sums.device))
        self._computed = None  # what torchmetrics keeps of an earlier ``compute``

    def compute(self) -> tuple[dict[str, Any], Tensor]:
        """The figures and the confusion matrix (N,N).

        The figures are the means over cubes (None if no scene has the figure) and, if pixels are labelled,
        ``class_figures``, ``calibration_error`` and ``doubt_figures``.
        """
        means = (self.sums / self.counts).tolist()
        figures = {name: _plain(mean) for name, mean in zip(CUBE_FIGURES, means, strict=True)}
        if self.confusion.sum() > 0:
            pooled = class_figures(self.confusion, self.class_names)
            figures |= {name: _plain(float(value)) for name, value in pooled.items()}
            figures["calibration_error"] = calibration_error(self.bins)
            figures |= doubt_figures(self.doubts, self.coverage)
        return figures, self.confusion.clone()


def _plain(value: float) -> float | None:
    """None instead of NaN, which JSON does not have."""
    return None if value != value else value


def judge(run: MethodRun, truth: Scene | None, protocol: str = "crsdun") -> list[dict[str, Any]]:
    """The figures of every stage of a run on one scene, first to last.

    Always ``data_residual``; with a true scene on the same bands those of ``cube_metrics``, where it lacks data also
    ``voxels_without_data``; and if it has classes, which must be the method's (``comparable_truth``), ``miou``,
    ``miou_present`` and ``accuracy``.
    """
    rows: list[dict[str, Any]] = []
    for residual, (x, theta) in zip(run.residuals, run.estimate.stages, strict=True):
        rows.append({"data_residual": residual})
        if truth is None:
            continue
        classes = None if theta is None or truth.classes is None else torch.from_numpy(truth.classes)
        score = Score(protocol, classes=0 if classes is None or theta is None else theta.shape[1]).to(x.device)
        figures, _ = score(x[0], torch.from_numpy(truth.cube), None if theta is None else theta[0], classes)
        rows[-1] |= {name: figures[name] for name in CUBE_FIGURES} | {"protocol": protocol}
        rows[-1] |= {name: figures[name] for name in CLASS_FIGURES if name in figures}
        if truth.missing:
            rows[-1]["voxels_without_data"] = truth.missing
    return rows
