"""The kernels as functions of tensors with gradients, equal to what PyTorch computes but for rounding.

Legend: B batch · d channels · H, W size. Features are (B,d,H,W) float32 on the CPU; they are brought into
channels-last memory where they are not. Ask ``usable`` first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crsdun.native.build import library, pointer

# Sizes that ``depthwise`` can be asked for.
KERNEL_SIZES = (3, 5, 11)
# Rows of the parts of an image that sum up the gradient of a depthwise convolution.
ROWS_OF_A_PART = 32
WINDOW = 8
# Values of the longest vector.
LANES = 16


def usable(x: Tensor) -> bool:
    """Whether the kernels may compute this: on the CPU, in float32, outside of graphs that are recorded."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and library() is not None
    )


def call(name: str, tensors: list[Tensor | None], sizes: list[int], scale: float | None = None) -> None:
    """Call a kernel, which trusts what it is given."""
    for tensor in tensors:
        if tensor is not None and (tensor.dtype != torch.float32 or tensor.device.type != "cpu"):
            raise RuntimeError(f"features in float32 on the CPU met {tensor.dtype} on {tensor.device}")
    kernel = getattr(library(), name)
    kernel(*map(pointer, tensors), *map(ctypes.c_long, sizes), *([] if scale is None else [ctypes.c_float(scale)]))


def parts_of(count: int, least: int) -> int:
    """How many parts of at least so many sum up a gradient: the same on all machines, as sums depend on it."""
    return max(1, min(count // least, 64))


def check(fits: bool, *tensors: Tensor) -> None:
    """A RuntimeError, as PyTorch's layers raise one, unless the shapes fit."""
    if not fits:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise RuntimeError(f"the shapes {shapes} do not fit together")


def last(x: Tensor) -> Tensor:
    """In channels-last memory."""
    if x.is_contiguous(memory_format=torch.channels_last) or not x.is_contiguous():
        return x.contiguous(memory_format=torch.channels_last)
    B, d, H, W = x.shape
    out = torch.empty_like(x, memory_format=torch.channels_last)
    call("to_channels_last", [x, out], [B, d, H * W])
    return out


def empty(x: Tensor, channels: int) -> Tensor:
    """(B, channels, H, W) of the size of x."""
    B, _, H, W = x.shape
    return torch.empty(B, channels, H, W, memory_format=torch.channels_last)


# ---- Whole residual branches, for inference: x + layer(norm(x)) in new memory

# Mean (or None for LayerNorm), scale and shift: see ``Norm`` in branches.h.
Scaling = tuple[Tensor | None, Tensor, Tensor]


def branch(
    name: str, x: Tensor, norm: Scaling, weights: Sequence[Tensor | None], *heads: int, scale: float | None = None
) -> Tensor:
    """One of the kernels of branches.h, with the weights in its order: the first one is (·,d) or (·,d,1,1)."""
    x, first = last(x), weights[0]
    B, d, H, W = x.shape
    check(first is not None and first.shape[1] == d == norm[1].shape[-1], x, norm[1])
    check(name != "window_attention" or H % WINDOW == W % WINDOW == 0, x)
    out = torch.empty_like(x)
    contiguous = [None if weight is None else weight.contiguous() for weight in (*norm, *weights)]
    call(name, [x, *contiguous, out], [B, H, W, d, *heads], scale)
    return out


# ---- Depthwise convolution


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, other: Tensor | None = None) -> Tensor:
    """Without gradient: a convolution of each channel, (d,1,k,k) with zeros around the image, + ``other``."""
    x = last(x)
    B, d, H, W = x.shape
    check(tuple(weight.shape[:2]) == (d, 1), x, weight)
    out = torch.empty_like(x)
    call("depthwise", [x, weight.contiguous(), bias, out, other], [B, H, W, d, weight.shape[-1]])
    return out


def depthwise_weight_gradient(x: Tensor, gradient: Tensor, size: int) -> Tensor:
    """Gradient of the weight (d,1,size,size) of ``depthwise``."""
    B, d, H, W = x.shape
    strips = max(1, H // ROWS_OF_A_PART)
    parts = torch.empty(B * strips, d, 1, size, size)
    call("depthwise_weight_gradient", [x, gradient, parts], [B, H, W, d, size, strips])
    return parts.sum(0)


class DepthwiseConv(torch.autograd.Function):
    """conv k×k of each channel: x (B,d,H,W), weight (d,1,k,k), bias (d) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = last(x)
        ctx.save_for_backward(x, weight)
        return depthwise(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = last(gradient)
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            depthwise(gradient, weight.flip(-1, -2)) if to_x else None,
            depthwise_weight_gradient(x, gradient, weight.shape[-1]) if to_weight else None,
            gradient.sum((0, 2, 3)) if to_bias else None,
        )


# ---- Layers 1×1


class Pointwise(torch.autograd.Function):
    """conv1×1: x (B,d,H,W), weight (outputs,d), bias (outputs) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = last(x), weight.contiguous()
        ctx.save_for_backward(x, weight)
        outputs, d = weight.shape
        check(x.shape[1] == d, x, weight)
        out = empty(x, outputs)
        call("pointwise", [x, weight, bias, out], [x.numel() // d, d, outputs])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (outputs, d), pixels = weight.shape, x.numel() // x.shape[1]
        parts = parts_of(pixels, 1024)
        to_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        to_bias = torch.empty(parts, outputs) if ctx.needs_input_grad[2] else None
        to_weight = torch.empty(parts, outputs, d)
        tensors = [x, weight, last(gradient), to_x, to_weight, to_bias]
        call("pointwise_backward", tensors, [pixels, d, outputs, parts])
        return to_x, to_weight.sum(0), None if to_bias is None else to_bias.sum(0)


# ---- Feed-forward


class FeedForward(torch.autograd.Function):
    """FFN: x (B,d,H,W) by conv1×1, GELU, depthwise conv3×3, GELU, conv1×1; keeps only x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        x, weights = last(x), tuple(weight.contiguous() for weight in weights)
        B, d, H, W = x.shape
        check(weights[0].shape[1] == d, x, weights[0])
        out = torch.empty_like(x)
        call("feed_forward", [x, None, None, None, *weights, out], [B, H, W, d])
        ctx.save_for_backward(x, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        B, d, H, W = x.shape
        strips = max(1, H // ROWS_OF_A_PART)
        parts = B * strips
        to_x, to_widen, to_narrow = torch.empty_like(x), torch.empty(parts, 4 * d, d), torch.empty(parts, 4 * d, d)
        to_mix = torch.empty(parts, *weights[1].shape)
        tensors = [x, last(gradient), *weights, to_x, to_widen, to_mix, to_narrow]
        call("feed_forward_backward", tensors, [B, H, W, d, strips])
        return to_x, to_widen.sum(0)[..., None, None], to_mix.sum(0), to_narrow.sum(0).T[..., None, None]


# ---- LayerNorm


class LayerNorm(torch.autograd.Function):
    """LayerNorm over the channels of each pixel, x (B,d,H,W); keeps only x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = last(x)
        check(x.shape[1] == len(weight), x, weight)
        ctx.save_for_backward(x, weight)
        out = torch.empty_like(x)
        call("layer_norm", [x, weight, bias, out], [x.numel() // x.shape[1], x.shape[1]])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, weight = ctx.saved_tensors
        d, pixels = x.shape[1], x.numel() // x.shape[1]
        parts = parts_of(pixels, 1024)
        to_x, to_parameters = torch.empty_like(x), torch.empty(parts, 2, d)
        call("layer_norm_backward", [x, weight, last(gradient), to_x, to_parameters], [pixels, d, parts])
        to_weight, to_bias = to_parameters.sum(0)
        return to_x, to_weight, to_bias


# ---- GroupNorm with one channel per group, and BatchNorm


def channel_moments(x: Tensor, over_batch: bool = False) -> tuple[Tensor, Tensor]:
    """Without gradient: mean and variance of each channel of each image, or of all together, (B or 1, d)."""
    x = last(x)
    images, pixels, d = _pixels(x, over_batch)
    parts = parts_of(pixels, 1024)
    mean, variance, room = torch.empty(images, d), torch.empty(images, d), torch.empty(images, parts, 2, d)
    call("channel_moments", [x, mean, variance, room], [images, pixels, d, parts])
    return mean, variance


class ChannelNorm(torch.autograd.Function):
    """The norm of x (B,d,H,W), and the mean and variance that it took, (B,d) or, over the batch, (1,d)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, over_batch: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = last(x)
        mean, variance = channel_moments(x, over_batch)
        deviation = (variance + eps).rsqrt()
        scale, out = weight * deviation, torch.empty_like(x)
        call("channel_norm", [x, mean, scale, bias.expand_as(mean).contiguous(), out], [*_pixels(x, over_batch)])
        ctx.save_for_backward(x, mean, deviation, scale)
        ctx.over_batch = over_batch
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, mean, deviation, scale = ctx.saved_tensors
        images, pixels, d = _pixels(x, ctx.over_batch)
        parts = parts_of(pixels, 1024)
        to_x, to_bias, to_weight = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
        room = torch.empty(images, parts, 2, d)
        tensors = [x, mean, deviation, scale, last(gradient), to_x, to_bias, to_weight, room]
        call("channel_norm_backward", tensors, [images, pixels, d, parts])
        return to_x, to_weight.sum(0), to_bias.sum(0), None, None


def _pixels(x: Tensor, over_batch: bool) -> tuple[int, int, int]:
    """How many images, pixels of each, channels; over the batch it is one image."""
    B, d, H, W = x.shape
    return (1, B * H * W, d) if over_batch else (B, H * W, d)


# ---- Spatial attention


class SpatialGate(torch.autograd.Function):
    """σ(conv3×3 of each channel) ⊙ GELU(conv3×3 d→1) of h (B,d,H,W): SAB between its layers 1×1; keeps only h."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, gate: Tensor, map: Tensor) -> Tensor:
        h, gate, map = last(h), gate.contiguous(), map.contiguous()
        ctx.save_for_backward(h, gate, map)
        B, d, H, W = h.shape
        check(len(gate) == map.shape[1] == d, h, gate, map)
        out = torch.empty_like(h)
        call("spatial_gate", [h, gate, map, out], [B, H, W, d])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        h, gate, map = ctx.saved_tensors
        B, d, H, W = h.shape
        to_gate, to_map = torch.empty_like(h), torch.empty(B, 1, H, W)
        call("spatial_gate_backward", [h, gate, map, last(gradient), to_gate, to_map], [B, H, W, d])
        spread = last(to_map.expand(-1, d, -1, -1))  # a convolution to one channel is one of each channel, summed
        to_h = depthwise(spread, map.transpose(0, 1).flip(-1, -2))
        to_h = depthwise(to_gate, gate.flip(-1, -2), other=to_h)
        to_map_weight = depthwise_weight_gradient(h, spread, 3).transpose(0, 1)
        return to_h, depthwise_weight_gradient(h, to_gate, 3), to_map_weight


# ---- Attention in windows of 8×8 pixels


class PixelAttention(torch.autograd.Function):
    """W-MSA: qkv (B,3d,H,W), heads inside each of q, k and v; bias (heads,64,64) of query and key; keeps these."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor) -> Tensor:
        qkv, turned = last(qkv), bias.transpose(1, 2).contiguous()
        ctx.save_for_backward(qkv, turned)
        (B, channels, H, W), heads = qkv.shape, len(bias)
        check(channels % (3 * heads) == H % WINDOW == W % WINDOW == 0, qkv, bias)
        out = empty(qkv, channels // 3)
        call("pixel_attention", [qkv, turned, out], [B, H, W, heads, channels // 3 // heads])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        qkv, turned = ctx.saved_tensors
        (B, channels, H, W), heads = qkv.shape, len(turned)
        parts = parts_of(B * H * W // WINDOW**2, 8)
        to_qkv, to_bias = torch.empty_like(qkv), torch.empty(parts, *turned.shape)
        sizes = [B, H, W, heads, channels // 3 // heads, parts]
        call("pixel_attention_backward", [qkv, turned, last(gradient), to_qkv, to_bias], sizes)
        return to_qkv, to_bias.sum(0).transpose(1, 2)


class ChannelAttention(torch.autograd.Function):
    """WSSA: qkv (B,3d,H,W); in each window the tokens are the d channels; keeps only qkv."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: float) -> Tensor:
        qkv = last(qkv)
        ctx.save_for_backward(qkv)
        ctx.scale = scale
        B, channels, H, W = qkv.shape
        check(channels % 3 == H % WINDOW == W % WINDOW == 0, qkv)
        out = empty(qkv, channels // 3)
        call("channel_attention", [qkv, out], [B, H, W, channels // 3], scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (qkv,) = ctx.saved_tensors
        B, channels, H, W = qkv.shape
        to_qkv = torch.empty_like(qkv)
        call("channel_attention_backward", [qkv, last(gradient), to_qkv], [B, H, W, channels // 3], ctx.scale)
        return to_qkv, None


# ---- Super-tokens: cells of h×h pixels, one token each; q says how much a pixel belongs to the 3×3 tokens around it


def associate(x: Tensor, tokens: Tensor, cell: int) -> Tensor:
    """Q without gradient, (B,H,W,9), rows sum to 1: pixels x (B,d,H,W) and tokens (B,d,H/h,W/h)."""
    x = last(x)
    B, d, H, W = x.shape
    check(tuple(tokens.shape) == (B, d, H / cell, W / cell), x, tokens)
    q = torch.empty(B, H, W, 9)
    call("associate", [x, last(tokens), q], [B, H, W, d, cell], d**-0.5)
    return q


class GatherTokens(torch.autograd.Function):
    """S = Σ Q X / Σ Q, (B,d,H/h,W/h), from x (B,d,H,W); no gradient for Q."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, q: Tensor, cell: int) -> Tensor:
        weights = torch.empty(len(x), 1, x.shape[-2] // cell, x.shape[-1] // cell)
        ctx.save_for_backward(q, weights)
        ctx.cell = cell
        return gather_tokens(last(x), q, weights, cell)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        q, weights = ctx.saved_tensors
        return spread_tokens(gradient, q, weights, ctx.cell), None, None


class SpreadTokens(torch.autograd.Function):
    """Σ Q S for each pixel, (B,d,H,W), from tokens (B,d,H/h,W/h); no gradient for Q."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, q: Tensor, cell: int) -> Tensor:
        ctx.save_for_backward(q)
        ctx.cell = cell
        return spread_tokens(tokens, q, None, cell)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (q,) = ctx.saved_tensors
        return gather_tokens(last(gradient), q, None, ctx.cell), None, None


def gather_tokens(x: Tensor, q: Tensor, weights: Tensor | None, cell: int) -> Tensor:
    """Σ Q X at the tokens; with room for ``weights`` (B,1,H/h,W/h), Σ Q, divided by them."""
    B, d, H, W = x.shape
    parts = torch.empty(B * (H // cell) * (W // cell), 9, -(-d // LANES) * LANES + LANES)
    tokens = torch.empty(B, d, H // cell, W // cell, memory_format=torch.channels_last)
    call("gather_tokens", [x, q, parts, tokens, weights], [B, H, W, d, cell])
    return tokens


def spread_tokens(tokens: Tensor, q: Tensor, weights: Tensor | None, cell: int) -> Tensor:
    """Σ Q S at the pixels, the tokens divided by their ``weights`` where there are any."""
    d, (B, H, W, _) = tokens.shape[1], q.shape
    out = torch.empty(B, d, H, W, memory_format=torch.channels_last)
    call("spread_tokens", [last(tokens), q, weights, out], [B, H, W, d, cell])
    return out


# ---- Planes of pixels, without gradient


def mix_planes(matrix: Tensor, planes: Tensor, out: Tensor) -> None:
    """out (B,n,P) = matrix (B,n,k) · planes (B,k,P), all contiguous."""
    (B, n, k), P = matrix.shape, planes.shape[-1]
    check(planes.shape == (B, k, P) and out.shape == (B, n, P), matrix, planes, out)
    call("mix_planes", [matrix, planes, out], [B, n, k, P])


def total_variation(
    f: Tensor, p: Tensor, q: Tensor, radius: Tensor, local: Tensor | None, steps: int, out: Tensor
) -> None:
    """The dual steps of ``solvers.total_variation`` in place, then u in ``out``.

    Args:
        f, p, q, out: contiguous, (..., H,W).
        radius: of the disc, as many as there are images.
        local: its factor at each pixel, contiguous (H,W).
    """
    H, W = f.shape[-2:]
    n = f.numel() // (H * W)
    check(p.shape == q.shape == out.shape == f.shape and radius.numel() == n, f, p, q, out, radius)
    check(local is None or local.shape == (H, W), f)
    call("total_variation", [f, p, q, radius, local, out], [n, H, W, steps])
