"""Networks at reduced precision, if the device supports it."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

from crsdun.errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def in_precision(precision: str, device: str | torch.device) -> AbstractContextManager:
    """A context in which networks compute products and convolutions in ``precision``, the rest as PyTorch chooses.

    Raises:
        InputError: the precision is unknown, or ``device`` does not support it.
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}", f"there are: {', '.join(PRECISIONS)}")
    wanted, kind = PRECISIONS[precision], torch.device(device).type
    if wanted == torch.float32:
        return nullcontext()
    pixel = torch.ones(1, 1, 1, 1, dtype=torch.float32, device=device)
    try:
        # PyTorch warns and continues in float32 on some devices, and raises on others.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autocast(kind, wanted):
                able = F.conv2d(pixel, pixel).dtype == wanted
    except (RuntimeError, NotImplementedError):
        able = False
    if not able:
        raise InputError(f"the device {str(device)!r} does not compute in {precision} here", "omit <precision>")
    return torch.autocast(kind, wanted)
