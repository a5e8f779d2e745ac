"""The cost of a network: parameters and multiply-adds."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crsdun.networks import Network
from crsdun.optics import CassiCamera


def parameters(network: Network) -> int:
    """Number of learnt values."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: Network, height: int = 256, width: int = 256, step: float = 2) -> int:
    """Multiply-adds of one scene of height × width pixels, as the field counts them (fvcore's convention).

    Convolutions, matrix products and attention count their products; a norm with affine parameters counts five
    operations an element where its statistics come from the data and two where they are stored. Pointwise
    functions, softmax and copies are not counted, nor is a training-free solver before a segmenter. Nothing is
    computed: the network runs on the ``meta`` device.
    """
    ghost = copy.deepcopy(network.learnt_part).to("meta").eval()
    camera = CassiCamera(torch.empty(height, width, device="meta"), bands=ghost.config.bands, step=step)
    measurement = torch.empty(1, *camera.measurement_shape, device="meta")
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
