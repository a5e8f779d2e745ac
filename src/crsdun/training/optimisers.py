"""How weights are updated: Adam, AdamW, and Muon for the matrices of a network.

Source of Muon: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from crsdun.networks import Network
from crsdun.training.config import OptimiserConfig


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before each step, for weights of two dimensions or more.

    A kernel counts as the matrix (outputs, inputs · rows · columns). A step is as long as the rate says, times
    √(rows/columns) where there are more rows than columns.

    Args:
        parameters: or groups of them.
        rate: of learning.
        momentum: of the gradients, after Nesterov.
        weight_decay: decoupled, as of AdamW.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        rate: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the parameters that have a gradient once."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            ahead = []
            for weight in weights:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                ahead.append(weight.grad.lerp(mean, group["momentum"]).flatten(1))
            for weight, change in zip(weights, all_orthogonal(ahead), strict=True):
                if group["weight_decay"]:
                    weight *= 1 - group["lr"] * group["weight_decay"]
                weight -= group["lr"] * max(1, len(weight) / weight[0].numel()) ** 0.5 * change.view_as(weight)


def all_orthogonal(matrices: list[Tensor]) -> list[Tensor]:
    """``orthogonal`` of each of many matrices; those of equal shape, or its transpose, in one go."""
    places: dict[torch.Size, list[int]] = defaultdict(list)
    wide = [x.mT if x.shape[0] > x.shape[1] else x for x in matrices]
    for place, x in enumerate(wide):
        places[x.shape].append(place)
    done = list(matrices)
    for alike in places.values():
        for place, x in zip(alike, orthogonal(torch.stack([wide[place] for place in alike])), strict=True):
            done[place] = (x.mT if wide[place] is not matrices[place] else x).contiguous()
    return done


def orthogonal(x: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows or columns, roughly, by five steps of Newton and Schulz.

    Args:
        x: (count,rows,columns).
    """
    if x.shape[-2] > x.shape[-1]:
        return orthogonal(x.mT).mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    for _ in range(5):
        square = x @ x.mT
        # x ← 3.4445 x + (−4.7750 s + 2.0315 s²) x with s = x xᵀ
        factor = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, factor, x, beta=3.4445)
    return x


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for some weights and AdamW for all others, as one optimiser.

    Args:
        matrices: groups of Muon.
        others: groups of AdamW.
        betas: of AdamW.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], betas: tuple[float, float]):
        muon = Muon(matrices, rate=0.0)
        adamw = torch.optim.AdamW(others, betas=betas, fused=True)
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self.parts = muon, adamw
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the parameters that have a gradient once."""
        for part in self.parts:
            part.step()


def optimiser_for(network: Network, balance: nn.Module, settings: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of everything that requires a gradient.

    Each group has its ``peak``, the learning rate after the warm-up.
    """
    matrices: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    free = list(balance.parameters())
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if settings.name == "muon" and is_matrix(name, parameter):
            matrices.append(parameter)
        else:
            # Kernels and matrices; not biases, norms and single numbers.
            (decaying if sum(size > 1 for size in parameter.shape) > 1 else free).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": settings.weight_decay, "peak": settings.rate},
        {"params": free, "weight_decay": 0.0, "peak": settings.rate},
    ]
    if settings.name == "muon":
        of_muon = {"params": matrices, "weight_decay": settings.weight_decay, "peak": settings.muon_rate}
        return MuonWithAdamW([of_muon], groups, settings.betas)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(groups, lr=settings.rate, betas=settings.betas, fused=True)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter mixes several inputs into several outputs.

    Depthwise kernels, (C,1,k,k), and tables that are looked up, such as those of positions, do not.
    """
    layer = name.rpartition(".")[2] == "weight"
    return layer and parameter.ndim >= 2 and min(parameter.shape[:2]) > 1
