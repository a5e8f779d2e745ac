"""Seg: the segmenter of the two-stage systems, from a cube to a class map.

The CRSDUN paper only calls it "SwinTransformer". Subtracting the reconstruction networks from the published counts of
the four two-stage systems leaves CRSDUN's class branch without cross-aggregation, with 2K Swin blocks at each of its
five nodes, K being the number of stages of the system: inferred, not published.

Legend: B batch · C bands · N classes · K stages · H, W scene.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crsdun.errors import InputError
from crsdun.networks.blocks import swin_blocks
from crsdun.networks.network import Network, NetworkConfig, check_counts
from crsdun.networks.unet import UNet, pad_to_multiple
from crsdun.optics import CassiCamera, Estimate


@dataclass(frozen=True)
class SegConfig(NetworkConfig):
    """Everything that decides the layers of the segmenter.

    Attributes:
        bands: C, at least 1.
        classes: N, at least 1, background included.
        stages: K, at least 1: pairs of Swin blocks at each node.
        width: channels at full resolution; None for as many as bands (as in the paper's counts).
    """

    bands: int
    classes: int
    stages: int = 3
    width: int | None = None

    def __post_init__(self) -> None:
        check_counts("Seg", bands=self.bands, classes=self.classes, stages=self.stages, width=self.base)


class Segmenter(Network):
    """The segmenter; ``crsdun.create("seg_3stg", bands=28, classes=23)`` builds it."""

    stage_count = 1  # the input, or a first guess of it

    def __init__(self, config: SegConfig):
        super().__init__(config)
        d, count = config.base, 2 * config.stages
        self.unet = UNet(config.bands, config.classes, d, lambda width: swin_blocks(width, base=d, count=count))

    def forward(self, cube: Tensor, camera: CassiCamera | None = None) -> Estimate:
        """The class map of a cube or, like any network, of a measurement: the lower reference.

        Args:
            cube: (B,C,H,W), reflectance usually 0..1; with a camera a measurement, (B,H,Wm).
            camera: the camera that took the measurement.

        Returns:
            One stage: the cube (``mean_estimate`` of a measurement), and its logits (B,N,H,W).

        Raises:
            InputError: the cube has another number of bands; with a camera, as any network.
        """
        if camera is not None:
            cube = camera.mean_estimate(cube)
        H, W = cube.shape[-2:]
        return Estimate([cube], [self.unet(pad_to_multiple(cube))[..., :H, :W]])

    def check(self, cube: Tensor, camera: CassiCamera | None) -> None:
        """Raise an InputError unless it is a cube of the network's bands or, with a camera, as for any network."""
        if camera is not None:
            super().check(cube, camera)
        elif cube.ndim != 4 or cube.shape[1] != self.config.bands:
            raise InputError(
                f"the segmenter takes cubes (batch, {self.config.bands}, height, width), not {tuple(cube.shape)}",
                "give a single cube a batch axis (cube[None]), and a measurement its camera",
            )
