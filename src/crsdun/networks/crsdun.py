"""CRSDUN: joint spectral reconstruction and semantic segmentation with cooperative unfolding (He et al., CVPR 2026).

    {x, θ} = argmin ½‖y − A x‖² + ½‖x − Φθ‖² + μ P(x, θ),   P = ‖θ‖₁ + Q(x, θ)

solved by half-quadratic splitting, unrolled into K stages. Each stage moves the cube x towards the measurement
and through a proximal network, then the class map θ through a LISTA step and a proximal network; the two
proximal networks exchange features by cross-aggregation super-token attention.

Legend: B batch · C bands · N classes · K stages · H, W scene · Wm measurement width · d width of a level
x cube (B,C,H,W) · θ class map as logits (B,N,H,W) · ξ sparse code of θ (B,N,H,W) · y measurement (B,H,Wm)
M mask for each band (1,C,H,W) · A camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.networks.blocks import AttentionResidualBlock, conv
from crsdun.networks.network import Network, NetworkConfig, check_counts
from crsdun.networks.proximal import ClassProximalNetwork, CubeProximalNetwork
from crsdun.networks.unfolding import DegradationEstimator, gradient_step, soft_threshold
from crsdun.optics import CassiCamera, Estimate


@dataclass(frozen=True)
class CrsdunConfig(NetworkConfig):
    """Everything that decides the layers of CRSDUN. The defaults are the published 3-stage network.

    Attributes:
        bands: C, at least 1.
        classes: N, at least 1, background included.
        stages: K, at least 1.
        width: channels of the proximal networks at full resolution; None for as many as bands (published).
        theta_in_gradient: the class map takes part in the gradient step (Eq. 13); without it the step is plain.
        lista: ξ comes from a LISTA step; without it ξ is the class map of the stage before.
        cross_cube: cross-aggregation in the cube branch.
        cross_class: cross-aggregation in the class branch.
        cube_in_class_input: the class branch is fed with concat[x, ξ] instead of ξ (ablations).
        affinity_gradient: gradients flow through the pixel–token association Q (published: no).
    """

    bands: int
    classes: int
    stages: int = 3
    width: int | None = None
    theta_in_gradient: bool = True
    lista: bool = True
    cross_cube: bool = True
    cross_class: bool = True
    cube_in_class_input: bool = False
    affinity_gradient: bool = False

    def __post_init__(self) -> None:
        check_counts("CRSDUN", bands=self.bands, classes=self.classes, stages=self.stages, width=self.base)
        if not (self.lista or self.cube_in_class_input):
            raise InputError(
                "without LISTA the class branch sees the cube only through its input: "
                "set cube_in_class_input=True, or lista=True"
            )


class Crsdun(Network):
    """The cooperative unfolding network; ``crsdun.create("crsdun_3stg", bands=28, classes=23)`` builds it."""

    def __init__(self, config: CrsdunConfig):
        super().__init__(config)
        C, N = config.bands, config.classes
        self.initial = conv(2 * C, C, bias=True)
        self.dictionary = conv(N, C) if config.theta_in_gradient else None  # Φ
        self.recurrence = conv(N, N) if config.lista else None  # S, stands for I − t(ΦᵀΦ + γI)
        self.analysis = conv(C, N) if config.lista else None  # Wᵈ, stands for tΦᵀ
        self.stages = nn.ModuleList(CrsdunStage(config, first=k == 0) for k in range(config.stages))

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        y, M = measurement, camera.mask_per_band[None]
        shared = SharedOperators(self.dictionary, self.recurrence, self.analysis)

        x = self.initial(torch.cat([camera.initial_estimate(y), M.expand(len(y), -1, -1, -1)], 1))
        theta = xi = torch.zeros_like(x[:, :1]).expand(-1, self.config.classes, -1, -1)

        cubes, logits = [], []
        for stage in cast("list[CrsdunStage]", self.stages):
            x, theta, xi = stage(x, theta, xi, Observation(y, M, camera), shared)
            cubes.append(x)
            logits.append(theta)
        return Estimate(cubes, logits)


class Observation(NamedTuple):
    """The measurement, with the mask of each band and the camera."""

    y: Tensor
    M: Tensor
    A: CassiCamera


class SharedOperators(NamedTuple):
    """The convolutions that all stages share; None for those that a configuration does not use."""

    Phi: Any
    S: Any
    W: Any


class Scalars(NamedTuple):
    """The scalars that E_k estimates, (B,1,1,1) each, with the published initial values."""

    a: Any = 1.0  # damping of Eq. 13
    mu: Any = 1.0  # mixture of x and Φθ in Eq. 13
    rho: Any = 1.0  # size of a plain gradient step, without Eq. 13
    b: Any = 0.01  # threshold of LISTA
    gamma: Any = 0.0  # weight of θ in LISTA


class CrsdunStage(nn.Module):
    """Stage k: its estimator E_k, CATʳ_k with the residual block after it, and CATˢ_k."""

    def __init__(self, config: CrsdunConfig, first: bool):
        super().__init__()
        C, N = config.bands, config.classes
        self.theta_in_gradient, self.lista = config.theta_in_gradient, config.lista
        self.scalar_names = (("a", "mu") if config.theta_in_gradient else ("rho",)) + (
            ("b", "gamma") if config.lista else ()
        )
        initial = tuple(getattr(Scalars(), name) for name in self.scalar_names)
        self.estimate = DegradationEstimator(C + N if config.theta_in_gradient else C, initial)
        # In stage 1 the class map is still empty: no cross-aggregation.
        guide = N if config.cross_cube and not first else 0
        self.cube_network = CubeProximalNetwork(C, config.base, guide, config.affinity_gradient)
        self.refine = AttentionResidualBlock(C)
        self.class_network = ClassProximalNetwork(
            C,
            N,
            config.base,
            cube_in_input=config.cube_in_class_input,
            cross=config.cross_class and not first,
            affinity_gradient=config.affinity_gradient,
        )

    def forward(
        self, x: Tensor, theta: Tensor, xi: Tensor, observation: Observation, shared: SharedOperators
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_k, θ_k and ξ_k from those of the stage before."""
        (y, M, A), (Phi, S, W) = observation, shared
        s = self.scalars(x, theta)

        # x_k: a step towards the measurement (Eq. 13), then CATʳ
        if self.theta_in_gradient:
            z = gradient_step(s.mu * x + (1 - s.mu) * Phi(theta), y, A, damping=s.a)
        else:
            z = gradient_step(x, y, A, size=s.rho)
        x = self.refine(self.cube_network(z, M, theta))

        # ξ_k: the LISTA step of the sparse code, then θ_k: CATˢ
        xi = soft_threshold(S(xi) + W(x) + s.gamma * theta, s.b) if self.lista else theta
        theta = self.class_network(xi, x) + xi
        return x, theta, xi

    def scalars(self, x: Tensor, theta: Tensor) -> Scalars:
        """E_k, from what is known about the scene so far."""
        known = torch.cat([x, theta], 1) if self.theta_in_gradient else x
        return Scalars(**dict(zip(self.scalar_names, self.estimate(known), strict=True)))
