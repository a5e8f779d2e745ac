"""Figures of many scenes as sums, which add up over scenes and over processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from crsdun.evaluation.metrics import (
    CALIBRATION_BINS,
    calibration_error,
    class_figures,
    confusion_matrix,
    cube_metrics,
    reliability,
)

CUBE_FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse")


class Score(Metric):
    """All figures of one stage over the scenes of a split.

    ``score(cube, truth, …)`` adds a scene and returns its own figures, ``score.compute()`` those of all scenes, in
    a process group of all processes. Cubes are judged scene by scene and averaged; class maps are pooled over all
    labelled pixels.

    Args:
        protocol: a name in ``PROTOCOLS``.
        class_names: N names; empty where classes are not judged.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    confusion: Tensor
    bins: Tensor

    def __init__(self, protocol: str = "crsdun", class_names: Sequence[str] = ()):
        super().__init__()
        self.protocol, self.class_names = protocol, tuple(class_names)
        classes = len(self.class_names)
        for name, start in {
            "sums": torch.zeros(len(CUBE_FIGURES), dtype=torch.float64),
            "counts": torch.zeros(len(CUBE_FIGURES), dtype=torch.int64),
            "confusion": torch.zeros(classes, classes, dtype=torch.int64),
            "bins": torch.zeros(3, CALIBRATION_BINS + 1, dtype=torch.float64),
        }.items():
            self.add_state(name, start, dist_reduce_fx="sum")

    def update(
        self, cube: Tensor, truth: Tensor, logits: Tensor | None = None, classes: Tensor | None = None
    ) -> None:
        """Add a scene.

        Args:
            cube, truth: (C,H,W), estimated and true.
            logits: (N,H,W), of a method that segments.
            classes: (H,W), the true ones, negative where unknown; None where the scene has no labels.
        """
        metrics = cube_metrics(cube, truth, self.protocol)
        for place, name in enumerate(CUBE_FIGURES):
            if metrics[name] is not None:
                self.sums[place] += metrics[name]
                self.counts[place] += 1
        if self.class_names and logits is not None and classes is not None:
            self.confusion += confusion_matrix(logits.argmax(0), classes, len(self.class_names))
            self.bins += reliability(logits, classes)

    def compute(self) -> tuple[dict[str, Any], Tensor]:
        """The figures and the confusion matrix (N,N).

        Figures are means of the cubes' (None where no scene has one) and, where pixels are labelled,
        ``class_figures`` and ``calibration_error``.
        """
        means = (self.sums / self.counts).tolist()
        figures = {name: _plain(mean) for name, mean in zip(CUBE_FIGURES, means, strict=True)}
        if self.confusion.sum() > 0:
            pooled = class_figures(self.confusion, self.class_names)
            figures |= {name: _plain(float(value)) for name, value in pooled.items()}
            figures["calibration_error"] = calibration_error(self.bins)
        return figures, self.confusion.clone()


def _plain(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if value != value else value
