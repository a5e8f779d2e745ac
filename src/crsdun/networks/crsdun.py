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
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.networks.blocks import AttentionResidualBlock, conv
from crsdun.networks.network import Network, NetworkConfig, check_counts
from crsdun.networks.proximal import ClassProximalNetwork, CubeProximalNetwork, and_told
from crsdun.networks.start import (
    SOLVER_BYTES,
    PixelClassifier,
    on_bands,
    own_scale,
    resampling,
    solver_start,
    standard_mask,
)
from crsdun.networks.unfolding import DegradationEstimator, gradient_step, soft_threshold, unexplained
from crsdun.optics import CassiCamera, Estimate, Progress
from crsdun.optics.wavelengths import parse_wavelengths
from crsdun.solvers import align


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
        start: x⁰ is ``learnt``, from the measurement and the mask (published), or that of ``lr-tv``.
        start_iterations: of the solver.
        start_classes: θ⁰ is what a classifier makes of each spectrum of x⁰; without it θ⁰ = 0 (published), and
            stage 1 has no cross-aggregation.
        own_scale: y is divided by the brightness of its scene first, and the cube multiplied by it in the end; the
            mask is taken as if D were that of a half open one.
        quiet: the proximal networks begin as the identity, so that what is known at the start is not lost, and a
            learnt x⁰ begins as the measurement alone.
        noise_aware: each stage is told how much of y its cube leaves unexplained, and a is the exponential of what it
            estimates, so that it can become as large as the noise asks for.
        align: in use, look where the measurement shows the mask to be (``solvers.align``).
        class_bands: C bands on which the class branch sees the cube, as for ``parse_wavelengths`` (``nbk7``); None
            for those of the camera.
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
    start: Literal["learnt", "lr-tv"] = "learnt"
    start_iterations: int = 100
    start_classes: bool = False
    own_scale: bool = False
    quiet: bool = False
    noise_aware: bool = False
    align: bool = False
    class_bands: str | None = None

    def __post_init__(self) -> None:
        check_counts("CRSDUN", bands=self.bands, classes=self.classes, stages=self.stages, width=self.base)
        if self.class_bands is not None and len(self.class_wavelengths or ()) != self.bands:
            raise InputError(
                f"class_bands {self.class_bands!r} are not {self.bands} bands",
                f"set class_bands to nbk7:{self.bands}, or to null for those of the camera",
            )
        if not (self.lista or self.cube_in_class_input):
            raise InputError(
                "without LISTA the class branch sees the cube only through its input: "
                "set cube_in_class_input=True, or lista=True"
            )

    @cached_property
    def class_wavelengths(self) -> tuple[float, ...] | None:
        """The class bands in nm."""
        return None if self.class_bands is None else parse_wavelengths(self.class_bands)


class Crsdun(Network):
    """The cooperative unfolding network; ``crsdun.create("crsdun_3stg", bands=28, classes=23)`` builds it."""

    def __init__(self, config: CrsdunConfig):
        super().__init__(config)
        C, N = config.bands, config.classes
        self.initial: Any = conv(2 * C, C, bias=True) if config.start == "learnt" else None
        if self.initial is not None and config.quiet:
            assert self.initial.bias is not None
            nn.init.dirac_(self.initial.weight)
            nn.init.zeros_(self.initial.bias)
        self.classify = PixelClassifier(C, N) if config.start_classes else None
        self.dictionary = conv(N, C) if config.theta_in_gradient else None  # Φ
        self.recurrence = conv(N, N) if config.lista else None  # S, stands for I − t(ΦᵀΦ + γI)
        self.analysis = conv(C, N) if config.lista else None  # Wᵈ, stands for tΦᵀ
        self.stages = nn.ModuleList(CrsdunStage(config, first=k == 0) for k in range(config.stages))

        self.needs_scale = not config.own_scale
        self.solver = "" if config.start == "learnt" else config.start
        self.exportable = not self.solver  # one that decides when to stop is no graph
        self.batches = not config.align  # which finds one place of the mask for all frames that are given together

    def aligned(self, measurement: Tensor, camera: CassiCamera) -> CassiCamera:
        if not self.config.align or measurement.is_meta or torch.compiler.is_exporting():
            return camera
        with torch.autocast(measurement.device.type, enabled=False):
            return align(measurement.float(), camera)[0]

    def begin(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Tensor | None:
        """x⁰ of the solver, if it is not learnt; arguments as for any network."""
        if self.config.start == "learnt":
            return None
        return solver_start(measurement, camera, self.config.start_iterations, progress)

    def peak_bytes(self, height: int, width: int) -> int:
        solver = 0 if self.config.start == "learnt" else SOLVER_BYTES * self.config.bands * height * width
        return max(super().peak_bytes(height, width), solver)

    def forward(self, measurement: Tensor, camera: CassiCamera, begun: Tensor | None = None) -> Estimate:
        config = self.config
        shared = SharedOperators(self.dictionary, self.recurrence, self.analysis)
        scale = own_scale(measurement, camera) if config.own_scale else None
        y = measurement
        if scale is not None:
            camera, brighter = standard_mask(camera)
            y = y * (brighter / scale)
        M = camera.mask_per_band[None]
        observation = Observation(y, M, camera, ClassBands.of(camera, config.class_wavelengths, y))

        if begun is not None:
            x = begun if scale is None else begun / scale[:, None]
            x = x.to(M.dtype).contiguous(memory_format=torch.channels_last)
        else:
            H = camera.mean_estimate(y) if config.own_scale else camera.initial_estimate(y)
            x = self.initial(torch.cat([H, M.expand(len(y), -1, -1, -1)], 1))
        if self.classify is not None:
            theta = xi = self.classify(observation.bands.seen(x))
        else:
            theta = xi = torch.zeros_like(x[:, :1]).expand(-1, config.classes, -1, -1)

        cubes, logits = [], []
        for stage in cast("list[CrsdunStage]", self.stages):
            x, theta, xi = stage(x, theta, xi, observation, shared)
            cubes.append(x if scale is None else x * scale[:, None])
            logits.append(theta)
        return Estimate(cubes, logits)


class ClassBands(NamedTuple):
    """Cubes on the bands of the camera, and on those by which classes are recognised; matrices, or None if equal."""

    there: Tensor | None
    back: Tensor | None

    @classmethod
    def of(cls, camera: CassiCamera, wavelengths: tuple[float, ...] | None, like: Tensor) -> ClassBands:
        known = camera.wavelengths
        return cls(resampling(known, wavelengths, like), resampling(wavelengths, known, like))

    def seen(self, x: Tensor) -> Tensor:
        """A cube of the camera as the class branch sees it."""
        return on_bands(x, self.there)

    def unseen(self, x: Tensor) -> Tensor:
        """A cube of the class branch on the bands of the camera."""
        return on_bands(x, self.back)


class Observation(NamedTuple):
    """The measurement, with the mask of each band, the camera, and the bands of the class branch."""

    y: Tensor
    M: Tensor
    A: CassiCamera
    bands: ClassBands


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
        self.noise_aware, told = config.noise_aware, int(config.noise_aware)
        self.estimate = DegradationEstimator((C + N if config.theta_in_gradient else C) + told, initial)
        # In stage 1 the class map is still empty, unless spectra were classified: no cross-aggregation.
        empty = first and not config.start_classes
        guide = N if config.cross_cube and not empty else 0
        self.cube_network = CubeProximalNetwork(C, config.base, guide, config.affinity_gradient, told)
        self.refine = AttentionResidualBlock(C)
        self.class_network = ClassProximalNetwork(
            C,
            N,
            config.base,
            cube_in_input=config.cube_in_class_input,
            cross=config.cross_class and not empty,
            affinity_gradient=config.affinity_gradient,
        )
        if config.quiet:
            outputs = (self.cube_network.out, self.refine.modulation.out, self.refine.attention.out)
            for layer in (*outputs, self.estimate.mlp[-1]):
                nn.init.zeros_(cast(nn.Conv2d, layer).weight)

    def forward(
        self, x: Tensor, theta: Tensor, xi: Tensor, observation: Observation, shared: SharedOperators
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_k, θ_k and ξ_k from those of the stage before."""
        (y, M, A, bands), (Phi, S, W) = observation, shared
        told = unexplained(x, y, A) if self.noise_aware else None
        s = self.scalars(x, theta, told)

        # x_k: a step towards the measurement (Eq. 13), then CATʳ
        if self.theta_in_gradient:
            z = gradient_step(s.mu * x + (1 - s.mu) * bands.unseen(Phi(theta)), y, A, damping=s.a)
        else:
            z = gradient_step(x, y, A, size=s.rho)
        x = self.refine(self.cube_network(z, M, theta, told))

        # ξ_k: the LISTA step of the sparse code, then θ_k: CATˢ
        seen = bands.seen(x)
        xi = soft_threshold(S(xi) + W(seen) + s.gamma * theta, s.b) if self.lista else theta
        theta = self.class_network(xi, seen) + xi
        return x, theta, xi

    def scalars(self, x: Tensor, theta: Tensor, told: Tensor | None) -> Scalars:
        """E_k, from what is known about the scene so far."""
        known = torch.cat([x, theta], 1) if self.theta_in_gradient else x
        scalars = Scalars(**dict(zip(self.scalar_names, self.estimate(and_told(known, told)), strict=True)))
        return scalars._replace(a=(scalars.a - Scalars().a).exp()) if self.noise_aware else scalars
