"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from crsdun.networks import Network
from crsdun.optics import CassiCamera

_aten = torch.ops.aten


def parameters(network: Network) -> int:
    """Number of learnt values."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: Network, height: int = 256, width: int = 256, step: int = 2) -> int:
    """Multiply-adds of one scene of height × width pixels, as the field counts them (fvcore's convention).

    Convolutions, matrix products and attention count their products; a norm with affine parameters counts five
    operations an element where its statistics come from the data and two where they are stored. Pointwise
    functions, softmax and copies count nothing. Nothing is computed: the network runs on the ``meta`` device.
    """
    ghost = copy.deepcopy(network).to("meta").eval()
    camera = CassiCamera(torch.empty(height, width, device="meta"), bands=network.config.bands, step=step)
    measurement = torch.empty(1, height, camera.measurement_width, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=NORM_OPERATIONS)
    with torch.no_grad(), counter:
        ghost(measurement, camera)
    return counter.get_total_flops() // 2


def _norm_operations(per_element: int) -> Any:
    def count(x_shape: torch.Size, *args: Any, **kwargs: Any) -> int:
        # FlopCounterMode counts a multiply-add as two.
        return 2 * per_element * x_shape.numel()

    return count


NORM_OPERATIONS = {
    _aten.native_layer_norm: _norm_operations(5),
    _aten.native_group_norm: _norm_operations(5),
    _aten.native_batch_norm: _norm_operations(2),
}
