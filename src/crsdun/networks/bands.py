"""Row by row through a wide layer: the same numbers from a cache's worth of memory.

A layer that is many times as wide inside as outside spends its time moving the wide tensor to memory and back. Cut
into bands of rows, with as many rows of overlap as its convolutions reach, the wide part of a band stays in the
processor's cache. Training recomputes the wide part of each band when its gradient is due, in place of keeping it.

Legend: B batch · d channels · H, W size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Bytes of the wide part of one band: smaller ones cost calls, larger ones memory (docs/performance.md).
BAND_BYTES = 8 << 20


def by_rows(
    layer: nn.Module,
    inner: Callable[[Tensor], Tensor],
    x: Tensor,
    width: int,
    reach: int = 0,
    rows: int = 1,
    recompute: bool = False,
) -> Tensor:
    """``inner(x)``, a part of ``layer``, computed band by band on the CPU and at once on other devices.

    Args:
        layer: owns all parameters that ``inner`` uses.
        inner: (B,d,H,W) → (B,d',H,W); row i of the result depends on rows i−reach … i+reach only, and, where
            ``rows`` is not 1, on the rows of the same group of ``rows``.
        x: (B,d,H,W).
        width: channels of the widest tensor inside.
        reach: rows of overlap.
        rows: bands are a multiple of this high.
        recompute: in training, keep only x and compute the bands again backward; else training takes x at once.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return inner(x)
    if not torch.is_grad_enabled():
        return _forward(inner, x, width, reach, rows)
    if recompute and (x.requires_grad or any(parameter.requires_grad for parameter in layer.parameters())):
        return _Recomputed.apply(x, inner, width, reach, rows, *layer.parameters())
    return inner(x)


def _bands(x: Tensor, width: int, rows: int) -> Iterator[tuple[slice, int, int]]:
    """Bands of about BAND_BYTES: which images, first row, row behind the last."""
    B, _, H, W = x.shape
    row_bytes = width * W * x.element_size()
    height = min(max(BAND_BYTES // row_bytes // rows, 1) * rows, H)
    images = max(BAND_BYTES // (row_bytes * H), 1) if height == H else 1
    for first in range(0, B, images):
        for top in range(0, H, height):
            yield slice(first, first + images), top, min(top + height, H)


def _forward(inner: Callable[[Tensor], Tensor], x: Tensor, width: int, reach: int, rows: int) -> Tensor:
    out: Tensor | None = None
    for images, top, bottom in _bands(x, width, rows):
        above = max(top - reach, 0)
        band = inner(x[images, :, above : bottom + reach])[:, :, top - above : bottom - above]
        if band.shape[0] == x.shape[0] and band.shape[2] == x.shape[2]:
            return band  # one band is all
        if out is None:
            shape = (x.shape[0], band.shape[1], *x.shape[2:])
            out = torch.empty(shape, dtype=band.dtype, device=band.device, memory_format=torch.channels_last)
        out[images, :, top:bottom] = band
    assert out is not None
    return out


class _Recomputed(torch.autograd.Function):
    """Bands forward without keeping anything but x; bands again, with their gradients, backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, inner: Callable, width: int, reach: int, rows: int, *parameters: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.inner, ctx.cut, ctx.parameters = inner, (width, reach, rows), parameters
        ctx.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return _forward(inner, x, width, reach, rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        width, reach, rows = ctx.cut
        wanted = [parameter for parameter in ctx.parameters if parameter.requires_grad]
        totals = [torch.zeros_like(parameter) for parameter in wanted]
        to_x = torch.zeros_like(x)
        enabled, dtype = ctx.autocast
        for images, top, bottom in _bands(x, width, rows):
            above = max(top - reach, 0)
            part = x[images, :, above : bottom + reach].detach().requires_grad_()
            with torch.enable_grad(), torch.autocast("cpu", dtype, enabled):
                band = ctx.inner(part)[:, :, top - above : bottom - above]
            found = torch.autograd.grad(band, [part, *wanted], gradient[images, :, top:bottom])
            to_x[images, :, above : bottom + reach] += found[0]
            for total, new in zip(totals, found[1:], strict=True):
                total += new
        given = iter(totals)
        to_parameters = [next(given) if parameter.requires_grad else None for parameter in ctx.parameters]
        return (to_x, None, None, None, None, *to_parameters)
