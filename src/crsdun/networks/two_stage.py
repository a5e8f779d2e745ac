"""Two-stage systems: a method that reconstructs the cube, then a segmenter that sees only this cube."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.network import Network, NetworkConfig
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.optics import CassiCamera, Estimate, Progress
from crsdun.solvers import Solver


@dataclass(frozen=True)
class TwoStageConfig(NetworkConfig):
    """Both parts of a two-stage system.

    Attributes:
        method: that reconstructs: a kind of network (``ssr``) or the name of a training-free solver (``gap-tv``).
        reconstruction: configuration of that network, or the solver itself.
        segmenter: configuration of the segmenter.
    """

    method: str
    reconstruction: Any
    segmenter: SegConfig

    def __post_init__(self) -> None:
        if self.reconstruction.bands not in (None, self.segmenter.bands):
            raise InputError(
                f"{self.method} gives {self.reconstruction.bands} bands but the segmenter takes "
                f"{self.segmenter.bands}",
                "join two parts for the same bands",
            )

    @property
    def bands(self) -> int:
        """C."""
        return self.segmenter.bands

    @property
    def classes(self) -> int:
        """N."""
        return self.segmenter.classes

    @property
    def stages(self) -> int:
        """Number of cubes in the estimate."""
        return self.reconstruction.stages

    @property
    def base(self) -> int:
        """The width of the wider part."""
        return max(self.segmenter.base, self.reconstruction.base)


class TwoStageNetwork(Network):
    """A two-stage system; ``crsdun.create("ssr_9stg+seg", bands=28, classes=23)`` builds it with fresh weights.

    Args:
        config: of both parts; ``crsdun.networks.join`` derives it from parts that exist already.
        reconstruction: a network or a solver.
        segmenter: of the last cube.
    """

    def __init__(self, config: TwoStageConfig, reconstruction: Network | Solver, segmenter: Segmenter):
        super().__init__(config)
        self.reconstruction, self.segmenter = reconstruction, segmenter
        self.exportable, self.tileable = reconstruction.exportable, reconstruction.tileable
        self.solver = reconstruction.solver if isinstance(reconstruction, Network) else reconstruction.name
        self.batches = reconstruction.batches
        if isinstance(reconstruction, Network):  # after a solver, which takes float32, the segmenter takes any
            self.precisions = reconstruction.precisions

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as plain values; of a solver, its ``settings``."""
        parts = {"reconstruction": self.reconstruction.settings, "segmenter": self.segmenter.settings}
        return {"method": self.config.method, **parts}

    @property
    def parts(self) -> tuple[str, ...]:
        """Both, or only the segmenter after a solver."""
        return ("reconstruction", "segmenter") if isinstance(self.reconstruction, Network) else ("segmenter",)

    @property
    def learnt_part(self) -> Network:
        """The whole, or only the segmenter after a solver."""
        return self if isinstance(self.reconstruction, Network) else self.segmenter

    def told(self, begun: Tensor | None, progress: Progress | None) -> dict[str, Any]:
        """How far a solver is; layers report by themselves."""
        return {} if isinstance(self.reconstruction, Network) else {"progress": progress}

    def forward(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """That of the reconstruction, with the logits of its last cube only; arguments as for any network."""
        first = self.reconstruct(measurement, camera, progress)
        return replace(first, logits=self.segmenter(first.cube).logits)

    def reconstruct(self, measurement: Tensor, camera: CassiCamera, progress: Progress | None = None) -> Estimate:
        """That of the reconstruction alone, which computes in float32 where it is a solver's."""
        if isinstance(self.reconstruction, Network):
            return self.reconstruction(measurement, camera)
        with torch.autocast(measurement.device.type, enabled=False):
            return self.reconstruction(measurement, camera, progress)
