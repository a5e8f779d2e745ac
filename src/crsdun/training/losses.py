"""The losses that networks are trained on.

    L = Σ_k λˢ^(K−k) ( MSE(x_k, x) + λᶜᵉ CE(θ_k, class) ),   k from 1 to K

Reconstruction networks were published with RMSE in place of MSE, and weights 1, 0.7, 0.5, 0.3 for the last four
stages.

Legend: B batch · C bands · N classes · K stages · H, W scene · x cube · θ class map as logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.optics import Estimate
from crsdun.registry import Registry
from crsdun.typed import typed, written

IGNORED = -1  # class of an unlabelled pixel


def parse_class_weights(value: Any) -> Any:
    """``loss.classes`` as it may be written."""
    if isinstance(value, dict):
        return typed(dict[str, float], value, "loss.classes")
    if value in ("uniform", "frequency"):
        return value
    raise ValueError(value)


@dataclass(frozen=True)
class LossConfig:
    """L = Σ_k λˢ^(K−k) ( MSE + λᶜᵉ CE ).

    Attributes:
        cube: what is minimised for a cube: ``mse``, its root ``rmse`` (of the whole batch), ``l1``, ``charbonnier``,
            ``l1+sam``, ``tempered``, ``none`` to learn from the class map alone, or one of ``register_loss``.
        stage_decay: λˢ.
        stage_weights: weights of the last stages, the last one first, in place of the powers of λˢ:
            [1, 0.7, 0.5, 0.3] ignores all but four. Null for the powers.
        cross_entropy_weight: λᶜᵉ, the weight of the cross-entropy beside the loss of the cube.
        balance: ``fixed`` weights, or ``uncertainty``, which learns them, starting from the fixed ones (``Balance``).
        classes: whether all classes weigh alike in CE (``uniform``), or rare ones more (``frequency``,
            ``frequency_weights``); or a weight for some classes by name, 1 for all others.
        focal: γ of the focal loss (Lin et al., ICCV 2017): CE of a pixel times (1 − p)^γ, with p the probability of
            its true class, so that pixels that are certain count less. 0 is CE itself.
        class_stages: whose CE counts, that of ``all`` stages or of the ``last`` one only.
        label_smoothing: probability that the target of CE divides evenly among all classes.
    """

    cube: str = "mse"
    stage_decay: float = 0.7
    stage_weights: tuple[float, ...] | None = None
    cross_entropy_weight: float = 1e-4
    balance: Literal["fixed", "uncertainty"] = "fixed"
    classes: Literal["uniform", "frequency"] | dict[str, float] = field(
        default="uniform", metadata=written(parse_class_weights, "uniform, frequency, or {name of a class: weight}")
    )
    focal: float = 0.0
    class_stages: Literal["all", "last"] = "all"
    label_smoothing: float = 0.0


def joint_loss(
    estimate: Estimate,
    cube: Tensor,
    classes: Tensor,
    loss: LossConfig | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The loss of a single process; by default the paper's.

    Args:
        estimate: of a network, all K stages.
        cube: the true x, (B,C,H,W), NaN where there is no data.
        classes: the true classes, (B,H,W) int64, 0..N−1 and ``IGNORED`` where unknown.
        loss: its terms and their weights; a learnt balance counts as the fixed one it starts from.
        class_weights: of ``frequency_weights``, (N,); None weighs all classes alike.

    Returns:
        A scalar: MSE is the mean over all elements with data, CE the mean over all labelled pixels (0 where no pixel
        is labelled).

    Raises:
        InputError: there is no cube loss of that name.
    """
    loss = loss or LossConfig()
    targets = Targets.alone(cube, classes)
    targets = replace(targets, class_weights=class_weights, smoothing=loss.label_smoothing, focal=loss.focal)
    mse, ce = stage_losses(estimate, targets)
    errors = CubeErrors(*targets.compared(estimate.cubes), mse, mse, weight=targets.weight, known=targets.known)
    return Balance(replace(loss, balance="fixed"))(cube_losses(loss.cube, errors), ce)


@dataclass(frozen=True)
class Targets:
    """What the estimates of a batch are compared with, and how much of it is known.

    Attributes:
        cube, classes: as in ``joint_loss``, of the samples of this process.
        labelled: number of labelled pixels, a scalar; of the whole batch where several processes share it.
        missing: number of voxels without data, of the whole batch as well.
        share: of the batch that this process holds.
        class_weights: of the pixels of each class, (N,); None for 1.
        smoothing, focal: ``label_smoothing`` and ``focal`` of the loss.
    """

    cube: Tensor
    classes: Tensor
    labelled: Tensor
    missing: int
    share: float = 1.0
    class_weights: Tensor | None = None
    smoothing: float = 0.0
    focal: float = 0.0

    @classmethod
    def alone(cls, cube: Tensor, classes: Tensor) -> Targets:
        """Of a batch that no other process shares."""
        labelled, missing = known_counts(cube, classes)
        return cls(cube, classes, labelled, int(missing))

    @property
    def weight(self) -> float:
        """Of a mean over all elements, to make it one over those with data; 1 where all have."""
        elements = self.cube.numel() / self.share
        return elements / max(elements - self.missing, 1)

    @property
    def known(self) -> Tensor | None:
        """Where there is data, (B,C,H,W); None where all is known."""
        return ~self.cube.isnan() if self.missing else None

    def compared(self, cubes: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Estimated cubes and the true one, (B,C,H,W) each; both are 0 where there is no data."""
        if not self.missing:
            return list(cubes), self.cube
        missing = self.cube.isnan()
        return [x.masked_fill(missing, 0) for x in cubes], self.cube.masked_fill(missing, 0)


def known_counts(cube: Tensor, classes: Tensor) -> Tensor:
    """The number of labelled pixels of a batch and of its voxels without data, (2,) int64."""
    return torch.stack([(classes != IGNORED).sum(), cube.isnan().sum()])


def stage_losses(estimate: Estimate, targets: Targets) -> tuple[Tensor, Tensor]:
    """MSE(x_k, x) and CE(θ_k, class) of every stage that has them, (K,) at most.

    A reconstruction network has no class maps; a two-stage system has one, of its last cube.
    Where several processes share a batch, the losses of all add up to those of the batch.
    """
    cubes, cube = targets.compared(estimate.cubes)
    mse = [targets.share * targets.weight * F.mse_loss(x, cube) for x in cubes]
    ce = [_cross_entropy(theta, targets) / targets.labelled.clamp(min=1) for theta in estimate.logits]
    none = cube.new_zeros(0)
    return torch.stack(mse) if mse else none, torch.stack(ce) if ce else none


def _cross_entropy(theta: Tensor, targets: Targets) -> Tensor:
    """Sum of the cross-entropy over all labelled pixels, each times the weight of its class and the focal factor."""
    weights, focal = targets.class_weights, targets.focal
    reduction = "sum" if weights is None and not focal else "none"
    ce = F.cross_entropy(
        theta, targets.classes, ignore_index=IGNORED, reduction=reduction, label_smoothing=targets.smoothing
    )
    known = targets.classes.clamp(min=0)  # ce is 0 where nothing is known
    if focal:
        certainty = theta.float().softmax(1).gather(1, known[:, None])[:, 0]
        ce = (1 - certainty).clamp(min=1e-6) ** focal * ce  # with a finite gradient where all is certain
    if weights is not None:
        ce = weights[known] * ce
    return ce.sum()


def named_weights(weights: Mapping[str, float], names: Sequence[str]) -> Tensor:
    """Weights of classes that are given by name, (N,); 1 for all others.

    Raises:
        InputError: there is no class of a name.
    """
    unknown = [name for name in weights if name not in names]
    if not names:
        raise InputError("loss.classes weighs classes, and these scenes have none", "set loss.classes to uniform")
    if unknown:
        raise InputError(
            f"loss.classes weighs {', '.join(map(repr, unknown))}, which is no class of these scenes",
            f"they have {', '.join(names)}",
        )
    return torch.tensor([float(weights.get(name, 1)) for name in names])


def frequency_weights(counts: Tensor) -> Tensor:
    """Weights of classes by the inverse root of their frequency, (N,), with mean 1 over the pixels.

    A class that was not seen weighs as much as the rarest one that was.

    Args:
        counts: pixels of each class, (N,), not all 0.
    """
    counts = counts.double()
    roots = counts.clamp(min=counts[counts > 0].min()).rsqrt()
    return (roots * counts.sum() / (roots * counts).sum()).float()


@dataclass(frozen=True)
class CubeErrors:
    """What a cube loss is computed from, for all K stages, first to last.

    Attributes:
        cubes: estimates of the samples of this process, (B,C,H,W) each.
        truth: the true cubes, (B,C,H,W). Estimates and truth are 0 where there is no data.
        mse: this process's share of the MSE of each stage, (K,).
        whole_mse: the MSE over the whole batch, (K,), without gradient.
        share: of the batch that this process holds; what a loss returns must add up over the processes.
        weight: of a mean over all voxels, to make it one over those with data.
        known: where there is data, (B,C,H,W); None for everywhere.
    """

    cubes: list[Tensor]
    truth: Tensor
    mse: Tensor
    whole_mse: Tensor
    share: float = 1.0
    weight: float = 1.0
    known: Tensor | None = None

    def means(self, values: Tensor, *axes: int) -> Tensor:
        """Means over axes of the samples, of the voxels with data alone; values are 0 at all others."""
        if self.known is None:
            return values.mean(axes)
        return values.sum(axes) / self.known.sum(axes).clamp(min=1)


CubeLoss = Callable[[CubeErrors], Tensor]
CUBE_LOSSES: Registry[CubeLoss] = Registry("cube loss")


def register_loss(name: str, loss: CubeLoss) -> None:
    """Register a loss of cubes under a name, for ``loss.cube: NAME`` in a training configuration.

    Args:
        loss: maps the errors of all stages to the loss of each, (K,); (0,) ignores the cubes.

    Raises:
        InputError: the name is taken.
    """
    CUBE_LOSSES.register(name, loss)


def cube_losses(name: str, errors: CubeErrors) -> Tensor:
    """A cube loss by name: of every stage, (K,), or (0,) where it ignores the cubes.

    Raises:
        InputError: there is none of that name, or it returns something else.
    """
    losses = CUBE_LOSSES.find(name)(errors)
    stages = len(errors.cubes)
    if not isinstance(losses, Tensor) or losses.shape not in {(stages,), (0,)}:
        got = f"a tensor of shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise InputError(
            f"the cube loss {name!r} returned {got}, not one value for each of {stages} stages",
            f"return a tensor of shape ({stages},), or (0,) to ignore the cubes",
        )
    return losses


def root(errors: CubeErrors) -> Tensor:
    """RMSE of the whole batch: this process's share of its value and of its gradient."""
    whole = errors.whole_mse.detach().clamp(min=torch.finfo(errors.mse.dtype).tiny)
    half = errors.mse / (2 * whole.sqrt())  # has the gradient of √m, but half its value
    return half + half.detach()


# An absolute error times this has the gradient of the squared error where both are 0.02, at 34 dB, so that λᶜᵉ keeps
# about its meaning.
ABSOLUTE = 2 * 0.02
ANGLE = 0.1  # weight of a radian beside an absolute error
DARK = 0.01  # mean of a spectrum below which its angle is noise


def absolute(errors: CubeErrors) -> Tensor:
    """0.04 |x_k − x|, the mean over all voxels."""
    return _means(errors, lambda x: ABSOLUTE * (x - errors.truth).abs())


def charbonnier(errors: CubeErrors) -> Tensor:
    """0.04 (√((x_k − x)² + ε²) − ε) with ε = 0.001, the mean over all voxels: ``l1`` with a smooth minimum."""
    return _means(errors, lambda x: ABSOLUTE * (((x - errors.truth).square() + 1e-6).sqrt() - 1e-3))


def absolute_and_angle(errors: CubeErrors) -> Tensor:
    """0.04 (|x_k − x| + 0.1 ∠(x_k, x)): ``l1`` and the angle between spectra in radians.

    The angle is a mean over the samples, and over all pixels with data of each; it counts as 0 where the mean of the
    true spectrum is below 0.01, and has no gradient below 0.0014.
    """
    bright = errors.means(errors.truth, 1) >= DARK
    seen = None if errors.known is None else errors.known.any(1).sum((1, 2)).clamp(min=1)
    angles = []
    for x in errors.cubes:
        cosine = F.cosine_similarity(x.float(), errors.truth, eps=1e-3).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = cosine.acos() * bright
        angles.append(errors.share * (angle.mean() if seen is None else (angle.sum((1, 2)) / seen).mean()))
    return absolute(errors) + ABSOLUTE * ANGLE * (torch.stack(angles) if angles else errors.mse[:0])


# A squared error of this counts half as much as it would by itself: 34 dB. And a scene as dark as DIM counts as if it
# were as bright as BRIGHT; a darker one counts less.
TEMPERED, BRIGHT, DIM = 0.02**2, 0.5, 0.1


def tempered(errors: CubeErrors) -> Tensor:
    """0.0004 ln(1 + m/0.0004), the mean over the samples, with m the squared error of a scene with a mean of 0.5.

    Samples that are reconstructed well count by their squared error, those behind bad cameras by their decibels, and
    dark scenes like bright ones.
    """
    brightness = errors.means(errors.truth, 1, 2, 3).clamp(min=DIM)
    losses = []
    for x in errors.cubes:
        mse = errors.means((x - errors.truth).square(), 1, 2, 3) * (BRIGHT / brightness).square()
        losses.append(errors.share * TEMPERED * (mse / TEMPERED).log1p().mean())
    return torch.stack(losses) if losses else errors.mse[:0]


def _means(errors: CubeErrors, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """This process's share of the mean over all voxels with data, of each stage; equal values must have no loss."""
    means = [errors.share * errors.weight * loss(x).mean() for x in errors.cubes]
    return torch.stack(means) if means else errors.mse[:0]


register_loss("mse", lambda errors: errors.mse)
register_loss("rmse", root)
register_loss("l1", absolute)
register_loss("charbonnier", charbonnier)
register_loss("l1+sam", absolute_and_angle)
register_loss("tempered", tempered)
register_loss("none", lambda errors: errors.mse[:0])


class Balance(nn.Module):
    """One loss from those of all stages and both tasks.

    ``uncertainty`` weighs the two tasks by their uncertainty (Kendall, Gal and Cipolla, CVPR 2018),
    ½ exp(−s₁) L_cube + exp(−s₂) L_classes + ½ (s₁ + s₂), where both s = log σ² are learnt. They start at the balance
    that λᶜᵉ sets, which must then be positive.
    """

    def __init__(self, config: LossConfig):
        super().__init__()
        self.config = config
        learnt = config.balance == "uncertainty"
        start = torch.tensor([0.0, math.log(2 / config.cross_entropy_weight)]) if learnt else None
        self.log_variances = None if start is None else nn.Parameter(start)

    def forward(self, cube: Tensor, classes: Tensor, share: float = 1.0) -> Tensor:
        """A scalar from ``stage_losses``, of which this process has its share."""
        cube_loss = self._sum(cube)
        class_loss = self._sum(classes[-1:] if self.config.class_stages == "last" else classes)
        if self.log_variances is None:
            return cube_loss + self.config.cross_entropy_weight * class_loss
        s = self.log_variances
        return 0.5 * (-s[0]).exp() * cube_loss + (-s[1]).exp() * class_loss + share * 0.5 * s.sum()

    def _sum(self, stages: Tensor) -> Tensor:
        """Σ_k λˢ^(K−k) of the last stages."""
        weights, decay = self.config.stage_weights, self.config.stage_decay
        if weights is not None:
            last_first = stages.flip(0)[: len(weights)]
            return (last_first.new_tensor(weights[: len(last_first)]) * last_first).sum()
        return (decay ** torch.arange(len(stages) - 1, -1, -1, device=stages.device) * stages).sum()
