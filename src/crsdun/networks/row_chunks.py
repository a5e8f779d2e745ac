"""Row by row through a wide layer: the same numbers from a cache's worth of memory.

A layer that is many times as wide inside as outside spends its time moving the wide tensor to memory and back. Cut
into bands of rows, with as many rows of overlap as its convolutions reach, the wide part of a band stays in the
processor's cache. Training recomputes the wide part of each band when its gradient is due instead of keeping it.

A block owns the features it is given: if no gradient needs them any longer, a sum overwrites them.

Legend: B batch · d channels · H, W size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from crsdun import native

# Bytes of the wide part of one band: smaller bands cost calls, larger ones memory (docs/performance.md).
BAND_BYTES = 8 << 20


class Cut(NamedTuple):
    """How a layer is cut into bands; each has one as ``layer.cut``.

    Attributes:
        width: channels of the widest tensor inside.
        reach: rows of overlap: row i of the result depends on rows i−reach … i+reach only,
        rows: and on the rows of the same group of so many; bands are a multiple of this high.
        recompute: in training, compute the bands again in the backward pass instead of keeping what is inside.
    """

    width: int
    reach: int = 0
    rows: int = 1
    recompute: bool = False


class Norm(Protocol):
    """A norm that takes a part of an image when it is given the ``moments`` of the whole."""

    def __call__(self, x: Tensor, *moments: Tensor) -> Tensor: ...
    def moments(self, x: Tensor) -> tuple[Tensor, ...]: ...
    def scaling(self, x: Tensor) -> native.Scaling: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


class Layer(Protocol):
    """(B,d,H,W) → (B,d,H,W), in bands as its ``cut`` says; with a norm, x + layer(norm(x)) in one kernel."""

    cut: Cut

    def __call__(self, x: Tensor, norm: Norm | None = None) -> Tensor: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


def add(x: Tensor, update: Tensor) -> Tensor:
    """x + update, in inference in x itself."""
    return x.add_(update) if _inferring() else x + update


def add_by_rows(x: Tensor, norm: Norm, layer: Layer) -> Tensor:
    """x + layer(norm(x)), (B,d,H,W), in inference in x itself; on the CPU band by band."""
    if native.usable(x):
        return layer(x, norm) if _inferring() else x + layer(norm(x))
    moments = norm.moments(x)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        if _inferring():
            return _add(x, norm, layer, moments, out=x)
        parameters = [*norm.parameters(), *layer.parameters()]
        if layer.cut.recompute and any(each.requires_grad for each in (x, *parameters)):
            return _Recomputed.apply(x, norm, layer, len(moments), *moments, *parameters)
    return add(x, layer(norm(x, *moments)))


def _inferring() -> bool:
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling())


def _bands(x: Tensor, cut: Cut) -> Iterator[tuple[slice, int, int]]:
    """Bands of at most about BAND_BYTES, of nearly equal height: which images, first row, row behind the last."""
    B, _, H, W = x.shape
    row_bytes = cut.width * W * x.element_size()
    count = -(-H // (max(BAND_BYTES // row_bytes // cut.rows, 1) * cut.rows))
    height = -(-H // (count * cut.rows)) * cut.rows
    images = max(BAND_BYTES // (row_bytes * H), 1)
    for first in range(0, B, images):
        for top in range(0, H, height):
            yield slice(first, first + images), top, min(top + height, H)


def _add(x: Tensor, norm: Norm, layer: Layer, moments: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """x + layer(norm(x)) into ``out``, which may be x."""
    reach, kept = layer.cut.reach, x
    for images, top, bottom in _bands(x, layer.cut):
        part, start = x[images, :, top : bottom + reach], min(top, reach)
        if start:
            part = torch.cat([kept, part], 2)  # the rows above, as they were
        stop = start + bottom - top
        kept = part[:, :, max(stop - reach, 0) : stop].clone()
        band = layer(norm(part, *(each[images] for each in moments)))[:, :, start:stop]
        torch.add(x[images, :, top:bottom], band, out=out[images, :, top:bottom])
    return out


class _Recomputed(torch.autograd.Function):
    """Bands forward without keeping anything but x; bands again, with their gradients, backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Norm, layer: Layer, count: int, *tensors: Tensor) -> Tensor:
        moments, ctx.parameters = tensors[:count], tensors[count:]
        ctx.save_for_backward(x, *moments)
        ctx.norm, ctx.layer = norm, layer
        ctx.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return _add(x, norm, layer, moments, out=torch.empty_like(x, memory_format=torch.channels_last))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *moments = ctx.saved_tensors
        reach, (enabled, dtype) = ctx.layer.cut.reach, ctx.autocast
        wanted = [parameter for parameter in ctx.parameters if parameter.requires_grad]
        to_x = gradient.clone(memory_format=torch.channels_last)
        to_moments, to_wanted = ([torch.zeros_like(each) for each in part] for part in (moments, wanted))
        for images, top, bottom in _bands(x, ctx.layer.cut):
            above = max(top - reach, 0)
            parts = [x[images, :, above : bottom + reach], *(each[images] for each in moments)]
            parts = [part.detach().requires_grad_() for part in parts]
            with torch.enable_grad(), torch.autocast("cpu", dtype, enabled):
                band = ctx.layer(ctx.norm(*parts))[:, :, top - above : bottom - above]
            gradients = torch.autograd.grad(band, [*parts, *wanted], gradient[images, :, top:bottom])
            totals = [to_x[images, :, above : bottom + reach], *(each[images] for each in to_moments), *to_wanted]
            torch._foreach_add_(totals, gradients)
        given = iter(to_wanted)
        to_parameters = [next(given) if parameter.requires_grad else None for parameter in ctx.parameters]
        return (to_x, None, None, None, *to_moments, *to_parameters)
