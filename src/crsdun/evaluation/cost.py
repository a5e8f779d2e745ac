"""What a network costs: parameters and multiply-adds, beside what is published of it."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crsdun.networks import Joined, Network
from crsdun.optics import CassiCamera


class Published(NamedTuple):
    """What is printed of a system, for 28 bands, 23 classes and one scene of 256×256 at step 2.

    Attributes:
        parameters: learnt values.
        multiply_adds: of one scene.
        source: where it is printed.
    """

    parameters: float
    multiply_adds: float
    source: str


class Setting(NamedTuple):
    """What counts depend on besides the network."""

    bands: int = 28
    classes: int = 23
    height: int = 256
    width: int = 256
    step: float = 2


PAPER = "He et al., CVPR 2026"
PUBLISHED = {
    "mstpp+seg": Published(3.10e6, 45.61e9, PAPER),
    "rcump_9stg+seg": Published(14.3e6, 152.1e9, PAPER),
    "ssr_6stg+seg": Published(6.91e6, 108.1e9, PAPER),
    "ssr_9stg+seg": Published(10.3e6, 161.0e9, PAPER),
    "crsdun_3stg": Published(4.02e6, 59.49e9, PAPER),
    "crsdun_5stg": Published(6.73e6, 99.07e9, PAPER),
    # That repository divides by 2²⁰ and 2³⁰ where others divide by 10⁶ and 10⁹.
    "ssr_9stg": Published(5.18 * 2**20, 78.93 * 2**30, "repository of SSR, printed as 5.18 M and 78.93 G"),
}
MAIN_TABLE = ("mstpp+seg", "rcump_9stg+seg", "ssr_6stg+seg", "ssr_9stg+seg", "crsdun_3stg", "crsdun_5stg")


def published(name: str, setting: Setting) -> Published | None:
    """What is published of a system by its name in the zoo, where the setting is the published one."""
    return PUBLISHED.get(name) if setting == Setting() else None


def parameters(network: Network) -> int:
    """Number of learnt values."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: Network, height: int = 256, width: int = 256, step: float = 2) -> int:
    """Multiply-adds of one scene of height × width pixels, as the field counts them (fvcore's convention).

    Convolutions, matrix products and attention count their products; a norm with affine parameters counts five
    operations an element where its statistics come from the data and two where they are stored. Pointwise
    functions, softmax and copies count nothing. Nothing is computed: the network runs on the ``meta`` device.
    A training-free solver before a segmenter counts nothing, as it does alone.
    """
    if isinstance(network, Joined) and not isinstance(network.reconstruction, Network):
        network = network.segmenter
    ghost = copy.deepcopy(network).to("meta").eval()
    camera = CassiCamera(torch.empty(height, width, device="meta"), bands=network.config.bands, step=step)
    measurement = torch.empty(1, height, camera.measurement_width, device="meta")
    norms = 0

    def count_norm(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal norms
        norms += (2 if isinstance(module, nn.BatchNorm2d) else 5) * output.numel()

    for module in ghost.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            module.register_forward_hook(count_norm)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        ghost(measurement, camera)
    return counter.get_total_flops() // 2 + norms
