"""Two-stage systems: a method that reconstructs the cube, then a segmenter that sees nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.network import Network, check_input
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.optics import CassiCamera, Estimate


@dataclass(frozen=True)
class TwoStageConfig:
    """Both parts of a two-stage system.

    Attributes:
        method: what reconstructs: a kind of network (``ssr``) or the name of a training-free solver (``gap-tv``).
        reconstruction: configuration of that network, or the solver itself.
        segmenter: configuration of the segmenter.
    """

    method: str
    reconstruction: Any
    segmenter: SegConfig

    def __post_init__(self) -> None:
        bands = getattr(self.reconstruction, "bands", self.segmenter.bands)
        if bands != self.segmenter.bands:
            raise InputError(
                f"{self.method} gives {bands} bands but the segmenter takes {self.segmenter.bands}",
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
        """Cubes in the estimate."""
        return getattr(self.reconstruction, "stages", 1)

    @property
    def base(self) -> int:
        """The width of the wider part."""
        return max(self.segmenter.base, getattr(self.reconstruction, "base", 1))


class TwoStageNetwork(Network):
    """A two-stage system; ``crsdun.create("ssr_9stg+seg", bands=28, classes=23)`` builds it with fresh weights.

    Args:
        config: of both parts; ``crsdun.networks.join`` writes it for parts that exist already.
        reconstruction: anything that is called with (measurement, camera) and returns an ``Estimate``.
        segmenter: of the last cube.
    """

    def __init__(self, config: TwoStageConfig, reconstruction: Callable[..., Estimate], segmenter: Segmenter):
        super().__init__(config)
        self.reconstruction, self.segmenter = reconstruction, segmenter

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        """All cubes of the reconstruction and the logits of the last one alone; errors as those of ``Crsdun``."""
        check_input(self, measurement, camera)
        cubes = self.reconstruction(measurement, camera).cubes
        return Estimate(cubes, [self.segmenter(cubes[-1])])
