"""What Python gives a camera, numbers in whatever holds them, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crsdun.errors import InputError

ONE_TENSOR = "torch.from_numpy makes a tensor of an array"


def as_values(given: Any, what: str, shared: bool = False) -> Tensor:
    """Numbers as a tensor of their own, so that what is made of them does not change with them; their type is kept.

    A tensor that requires a gradient stays itself, and so does its graph. Others are no inference tensors, which no
    backward pass could use.

    Args:
        given: a tensor, an array, with strides and bytes in any order, or nested lists.
        what: it is, for messages.
        shared: memory may be shared with what is given.

    Raises:
        InputError: it holds no real numbers, or masked ones.
    """
    not_real = InputError(f"{what} does not consist of real numbers", "expected an array of them")
    if isinstance(given, Tensor):
        if given.is_complex():
            raise not_real
        if given.requires_grad or shared:
            return given
        with torch.inference_mode(False):
            return given.detach().clone()
    check_unmasked(given, what)
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            array = array.astype(np.float64, casting="same_kind" if array.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError):
        raise not_real from None
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # of these PyTorch knows little more than the name
        array = array.astype(np.int64)
    elif array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = array.dtype.newbyteorder("=")
    array = np.require(array, native, ["C", "W"]) if shared else np.array(array, native, order="C")
    with torch.inference_mode(False):
        return torch.from_numpy(array)


def exactly(function: Callable[..., Tensor], values: Tensor, picture: Tensor) -> Tensor:
    """A sum of products of two tensors in the type that a product of them has, whatever autocast asks of networks.

    Sums of products of PyTorch, such as convolutions, neither promote types nor leave them as they are.
    """
    kind, device = torch.promote_types(values.dtype, picture.dtype), picture.device.type
    lowered = not picture.is_meta and torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if lowered else nullcontext():
        return function(values.to(kind), picture.to(kind))


def check_unmasked(given: Any, what: str) -> None:
    """Raise an InputError if elements of an array are masked: a camera needs to know all that it is made of."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        raise InputError(f"{what} is a masked array with invalid elements", "fill them with .filled(…)")


def check_tensor(given: Any, taken: str) -> None:
    """Raise an InputError unless what is given is a tensor, where ``taken`` says what is expected."""
    if not isinstance(given, Tensor):
        raise InputError(f"{taken}, not {type(given).__name__}", ONE_TENSOR)
