"""Two methods on the same scenes: how much better one is, and how certain that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.evaluation.evaluator import EvaluatedData, Evaluation, SceneRow, figure_of
from crsdun.evaluation.metrics import CUBE_FIGURES, class_figures

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Figures of the class map, pooled over the scenes.
MEANS_OVER_CLASSES = ("miou", "f1")
POOLED_FIGURES = (*MEANS_OVER_CLASSES, "accuracy", "kind_accuracy", "authenticity_accuracy")


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


def compare(a: Evaluation | Sequence[Evaluation], b: Evaluation | Sequence[Evaluation]) -> list[Comparison]:
    """Paired differences B − A of ``CUBE_FIGURES`` and ``POOLED_FIGURES``, as far as both have them.

    Args:
        a, b: an evaluation, or one for each of several seeds, of which the means are compared.

    The interval is a paired bootstrap over scenes: 10 000 resamples of all scenes, drawn with replacement (seed 0),
    the same for A and B. Means are taken and confusion matrices pooled for each resample, and the interval runs from
    the 2.5th to the 97.5th percentile of the differences. Figures of the class map need two labelled scenes, and only
    these are drawn; a class that a resample does not hold is left out of its means, and a resample in which nothing
    counts is left out.

    The interval covers what other scenes of the same kind would have changed, not what another training run would;
    for fewer than about ten scenes it is too narrow. Of several seeds, as many are drawn too, independently for A and
    B, so that the interval covers other training runs as well, as far as so few can tell.

    Raises:
        InputError: scenes, data, bands, protocol or camera differ, or there is a single scene.
    """
    several_a, several_b = ([each] if isinstance(each, Evaluation) else list(each) for each in (a, b))
    for other in (*several_a, *several_b):
        check_comparable(several_a[0], other)
    return [*_of_cubes(several_a, several_b), *_of_classes(several_a, several_b)]


def _draws(*counts: int) -> list[Tensor]:
    """How often each of so many is drawn in each resample, (RESAMPLES,count); the same every time."""
    random = np.random.default_rng(0)
    return [
        torch.from_numpy(random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)).double()
        for count in counts
    ]


def check_comparable(a: Evaluation, b: Evaluation) -> None:
    """Raise an InputError that names the difference unless both used the same measurements and protocol."""
    names_a, names_b = ([row["name"] for row in each.scenes] for each in (a, b))
    if a.data["fingerprint"] != b.data["fingerprint"]:
        raise InputError(
            f"the data differ: {a.data['name']} (fingerprint {a.data['fingerprint'][:12]}…) and {b.data['name']} "
            f"({b.data['fingerprint'][:12]}…)",
            "evaluate both on the same files",
        )
    if (a.data["bands"], a.data["wavelengths_nm"]) != (b.data["bands"], b.data["wavelengths_nm"]):
        texts = dict.fromkeys((_bands_text(a.data), _bands_text(b.data)))
        words = " and ".join(texts) if len(texts) > 1 else f"{_bands_text(a.data)}, spaced differently"
        raise InputError(f"the bands differ: {words}", "evaluate both on the same bands")
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


def _bands_text(data: EvaluatedData) -> str:
    nm = data["wavelengths_nm"]
    return f"{data['bands']} " + ("without wavelengths" if nm is None else f"at {nm[0]:g}–{nm[-1]:g} nm")


def _of_cubes(a: Sequence[Evaluation], b: Sequence[Evaluation]) -> Iterator[Comparison]:
    scenes, *seeds = _draws(len(a[0].scenes), len(a), len(b))
    for figure in CUBE_FIGURES:
        values = [[[figure_of(row, figure) for row in each.scenes] for each in several] for several in (a, b)]
        if any(value is None for several in values for rows in several for value in rows):
            continue
        of_a, of_b = (torch.tensor(several, dtype=torch.float64) for several in values)  # (seeds,scenes)
        resampled = [scenes @ each.T / each.shape[1] for each in (of_a, of_b)]
        yield _comparison(figure, of_a.mean(), of_b.mean(), _over_seeds(resampled, seeds))


def _of_classes(a: Sequence[Evaluation], b: Sequence[Evaluation]) -> Iterator[Comparison]:
    labelled = [place for place, row in enumerate(a[0].scenes) if row.get("confusion")]
    if not all(each.confusion for each in (*a, *b)) or len(labelled) < 2:
        return
    names = a[0].data["class_names"] or []
    scenes, *seeds = _draws(len(labelled), len(a), len(b))
    whole: list[list[dict[str, Tensor]]] = []
    resampled: list[list[dict[str, Tensor]]] = []
    for several in (a, b):
        matrices = [_matrices([each.scenes[place] for place in labelled], len(names)) for each in several]
        whole.append([class_figures(each.sum(0), names) for each in matrices])
        resampled.append([_resampled(each, names, scenes) for each in matrices])
    for figure in POOLED_FIGURES:
        if all(figure in each for several in whole for each in several):
            of_a, of_b = (torch.stack([each[figure] for each in several]).mean() for several in whole)
            parts = [torch.stack([each[figure] for each in several], 1) for several in resampled]
            differences = _over_seeds(parts, seeds)
            counting = differences[~differences.isnan()]
            if len(counting):
                yield _comparison(figure, of_a, of_b, counting)


def _resampled(matrices: Tensor, names: Sequence[str], scenes: Tensor) -> dict[str, Tensor]:
    """The figures of each resample of the scenes; a few hundred at a time, since the memory for all at once grows
    with the square of the classes.

    Means over classes count one that does not occur in any scene as 0. Of one that occurs, but not in a resample,
    nothing is known there: the mean of the others stands for it.
    """
    parts = [class_figures(torch.tensordot(part, matrices, dims=1), names) for part in scenes.split(500)]
    figures = {figure: torch.cat([part[figure] for part in parts]) for figure in parts[0]}
    pixels = matrices.sum(-1)[:, 1:]
    occurring = (pixels.sum(0) > 0).sum() / (scenes @ pixels > 0).sum(-1)
    return figures | {figure: figures[figure] * occurring for figure in MEANS_OVER_CLASSES}


def _over_seeds(resampled: Sequence[Tensor], seeds: Sequence[Tensor]) -> Tensor:
    """B − A in each resample, from the figures of every seed, (resamples,seeds)."""
    of_a, of_b = ((each * drawn).sum(1) / drawn.sum(1) for each, drawn in zip(resampled, seeds, strict=True))
    return of_b - of_a


def _matrices(scenes: Sequence[SceneRow], classes: int) -> Tensor:
    """The confusion matrices of scenes, (S,N,N)."""
    matrices = torch.zeros(len(scenes), classes, classes, dtype=torch.float64)
    for matrix, row in zip(matrices, scenes, strict=True):
        for true, estimated, pixels in row.get("confusion", ()):
            matrix[true, estimated] = pixels
    return matrices


def _comparison(figure: str, a: Tensor, b: Tensor, differences: Tensor) -> Comparison:
    tail = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(differences, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Comparison(figure, float(a), float(b), float(b - a), low, high)
