"""Two methods on the same scenes: how much better one is, and how certain that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.evaluation.evaluator import Evaluation, SceneRow, figure_of
from crsdun.evaluation.metrics import class_figures

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Means over scenes, and figures of the class map pooled over the scenes.
SCENE_FIGURES = ("psnr_db", "ssim", "sam_deg", "rmse")
POOLED_FIGURES = ("miou", "f1", "accuracy", "kind_accuracy", "authenticity_accuracy")


@dataclass(frozen=True)
class Comparison:
    """B against A in one figure.

    Attributes:
        figure: a name in ``FIGURES``.
        a, b: over all scenes.
        difference: b − a.
        low, high: 95 % confidence interval of the difference.
    """

    figure: str
    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def compare(a: Evaluation, b: Evaluation) -> list[Comparison]:
    """Paired differences B − A of every figure that both have.

    The interval is a paired bootstrap over scenes: 10 000 resamples of all scenes, drawn with replacement (seed 0),
    the same for A and B. Means are taken and confusion matrices pooled for each resample, and the interval runs from
    the 2.5th to the 97.5th percentile of the differences. It covers what other scenes of the same kind would have
    changed, not what another training run would; for fewer than about ten scenes it is too narrow.

    Raises:
        InputError: scenes, data, protocol or camera differ, or there is a single scene.
    """
    check_comparable(a, b)
    count = len(a.scenes)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights = torch.from_numpy(draws).double()
    return [*_of_cubes(a, b, weights), *_of_classes(a, b, weights)]


def check_comparable(a: Evaluation, b: Evaluation) -> None:
    """Raise an InputError that names the difference unless both used the same measurements and protocol."""
    names_a, names_b = ([row["name"] for row in each.scenes] for each in (a, b))
    if a.data["fingerprint"] != b.data["fingerprint"]:
        raise InputError(
            f"the data differ: {a.data['name']} (fingerprint {a.data['fingerprint'][:12]}…) and {b.data['name']} "
            f"({b.data['fingerprint'][:12]}…)",
            "evaluate both on the same files",
        )
    if names_a != names_b:
        alone = [name for name in (*names_a, *names_b) if (name in names_a) != (name in names_b)]
        raise InputError(
            f"the scenes differ: {len(names_a)} and {len(names_b)}, {', '.join(alone[:3])} in one only",
            "evaluate both on the same scenes",
        )
    if a.protocol != b.protocol:
        raise InputError(f"the protocols differ: {a.protocol} and {b.protocol}", "evaluate both under one")
    for part in sorted(a.camera.keys() | b.camera.keys()):
        ours, theirs = a.camera.get(part), b.camera.get(part)
        if ours != theirs:
            raise InputError(f"the cameras differ in {part}: {ours} and {theirs}", "evaluate both with one camera")
    if len(names_a) < 2:
        raise InputError("a single scene gives no confidence interval", "evaluate both on more scenes")


def _of_cubes(a: Evaluation, b: Evaluation, weights: Tensor) -> Iterator[Comparison]:
    for figure in SCENE_FIGURES:
        values = [[figure_of(row, figure) for row in each.scenes] for each in (a, b)]
        if None in values[0] or None in values[1]:
            continue
        of_a, of_b = torch.tensor(values, dtype=torch.float64)
        yield _comparison(figure, of_a.mean(), of_b.mean(), weights @ (of_b - of_a) / len(of_a))


def _of_classes(a: Evaluation, b: Evaluation, weights: Tensor) -> Iterator[Comparison]:
    if not (a.confusion and b.confusion):
        return
    names = a.data["class_names"] or []
    matrices = [_matrices(each.scenes, len(names)) for each in (a, b)]
    whole = [class_figures(each.sum(0), names) for each in matrices]
    # A few hundred resamples at a time: the memory for all at once grows with the square of the classes.
    resampled = [
        [class_figures(torch.tensordot(part, each, dims=1), names) for part in weights.split(500)]
        for each in matrices
    ]
    for figure in POOLED_FIGURES:
        if figure in whole[0]:
            of_a, of_b = (torch.cat([part[figure] for part in each]) for each in resampled)
            yield _comparison(figure, whole[0][figure], whole[1][figure], of_b - of_a)


def _matrices(scenes: Sequence[SceneRow], classes: int) -> Tensor:
    """The confusion matrices of all scenes, (S,N,N); zeros for a scene without labels."""
    matrices = torch.zeros(len(scenes), classes, classes, dtype=torch.float64)
    for matrix, row in zip(matrices, scenes, strict=True):
        for true, estimated, pixels in row.get("confusion", ()):
            matrix[true, estimated] = pixels
    return matrices


def _comparison(figure: str, a: Tensor, b: Tensor, differences: Tensor) -> Comparison:
    tail = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(differences, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Comparison(figure, float(a), float(b), float(b - a), low, high)
