"""The building blocks that the networks share: norms, feed-forward, window attention, residual blocks.

Legend: B batch · d channels of a feature map · H, W its size · n number of windows in the batch · C base width.
Feature maps are (B,d,H,W) in channels-last memory, so that the channels of a pixel lie side by side: views as
(B,H,W,d) cost nothing and depthwise convolutions are several times faster. Every GELU is exact, every padding
of a convolution is zeros, every norm has eps 1e-5.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun import native
from crsdun.networks.row_chunks import Cut, Norm, add, add_by_rows

WINDOW = 8


def conv(inputs: int, outputs: int, kernel: int = 1, bias: bool = False, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of the image."""
    kind = PointwiseConv if kernel == 1 else DepthwiseConv if groups == inputs == outputs else nn.Conv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, bias=bias, groups=groups)


class PointwiseConv(nn.Conv2d):
    """conv1×1, a product for each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight[:, :, 0, 0], self.bias)


class PixelLinear(nn.Linear):
    """A linear layer over the channels of each pixel, (B,d,H,W) → (B,outputs,H,W)."""

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv1×1 with weight (outputs,d)."""
    if native.usable(x):
        return native.Pointwise.apply(x, weight, bias)
    # Dilation means nothing to a kernel of one pixel, but with a single thread PyTorch leaves 1×1 convolutions to a
    # fallback that is two to three times slower than oneDNN, unless they are dilated.
    return F.conv2d(x, weight[:, :, None, None], bias, dilation=1 if torch.compiler.is_exporting() else 2)


class DepthwiseConv(nn.Conv2d):
    """A convolution of each channel by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return depthwise(x, self.weight, self.bias)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of each channel with weight (d,1,k,k), zeros around the image."""
    size = weight.shape[-1]
    if native.usable(x) and size in native.KERNEL_SIZES:
        return native.DepthwiseConv.apply(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=size // 2, groups=len(weight))


def downsample(inputs: int, outputs: int) -> nn.Conv2d:
    """conv4/2: half the size."""
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


def upsample(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """convT2/2: twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)


def init_truncated(module: nn.Module) -> None:
    """Weights of ``module``'s convolutions and linear layers: truncated normal, σ 0.02, and biases zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def to_windows(x: Tensor, size: int) -> Tensor:
    """(B,d,H,W) → (B·n, size², d): windows row by row, pixels of a window row by row."""
    B, d, H, W = x.shape
    tiles = x.permute(0, 2, 3, 1).reshape(B, H // size, size, W // size, size, d)
    return tiles.transpose(2, 3).reshape(-1, size * size, d)


def from_windows(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """(B·n, size², d) → (B,d,H,W), the inverse of ``to_windows``."""
    tiles = windows.reshape(-1, height // size, width // size, size, size, windows.shape[-1])
    return tiles.transpose(2, 3).reshape(-1, height, width, windows.shape[-1]).permute(0, 3, 1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ d^-½ + bias) v for (…, tokens, d), where possible without tokens × tokens in memory."""
    if torch.compiler.is_exporting() or (bias is not None and bias.requires_grad and torch.is_grad_enabled()):
        # Other engines know no fused attention, and PyTorch has none on the CPU that gives the bias its gradient.
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return (logits if bias is None else logits + bias).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class ChannelLayerNorm(nn.LayerNorm):
    """LN: LayerNorm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        if native.usable(x):
            return native.LayerNorm.apply(x, self.weight, self.bias)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def moments(self, x: Tensor) -> tuple[()]:
        """Nothing: a pixel is normalised by itself."""
        return ()

    def scaling(self, x: Tensor) -> native.Scaling:
        """For the kernels, see ``native.branch``."""
        return None, self.weight, self.bias


class ChannelGroupNorm(nn.GroupNorm):
    """GN: GroupNorm with one channel per group; its statistics are those of the whole image."""

    def __init__(self, width: int):
        super().__init__(width, width)

    def forward(self, x: Tensor, *moments: Tensor) -> Tensor:
        """An image, or a part of one whose ``moments`` are given."""
        # PyTorch's own loses three digits in channels-last memory (its variance is that of one pass) and refuses an
        # image of one pixel (whose norm is the bias).
        if not moments and native.usable(x):
            return native.ChannelNorm.apply(x, self.weight, self.bias, self.eps, False)[0]
        return normalise(self, x, *(moments or self.moments(x)))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel of each image, (B,d,1,1)."""
        if native.usable(x) and not torch.is_grad_enabled():
            mean, variance = native.channel_moments(x)
            return mean[..., None, None], variance[..., None, None]
        return channel_moments(x.permute(0, 2, 3, 1).flatten(1, 2))

    def scaling(self, x: Tensor) -> native.Scaling:
        """For the kernels, see ``native.branch``."""
        return scaling(self, *self.moments(x))


class ChannelBatchNorm(nn.BatchNorm2d):
    """BN: the statistics are those of the batch in training, and running ones in evaluation."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    alone = True  # the batch is all in this process

    def forward(self, x: Tensor, *moments: Tensor) -> Tensor:
        """Images, or parts of some whose ``moments`` are given."""
        if not moments and self.training and self.alone and native.usable(x):
            out, mean, variance = native.ChannelNorm.apply(x, self.weight, self.bias, self.eps, True)
            self.count(mean, variance, x.numel() // x.shape[1])
            return out
        return normalise(self, x, *(moments or self.moments(x)))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel, the same for each image, (B,d,1,1); training counts the batch."""
        if not self.training:
            mean, variance = self.running_mean.view(1, -1, 1, 1), self.running_var.view(1, -1, 1, 1)
        else:
            pixels = x.permute(0, 2, 3, 1).flatten(0, 2)
            mean, variance = channel_moments(pixels[None])
            self.count(mean, variance, len(pixels))
        return mean.expand(len(x), -1, 1, 1), variance.expand(len(x), -1, 1, 1)

    @torch.no_grad()
    def count(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Let the running statistics follow those of a batch with so many values of each channel."""
        unbiased = variance * (values / max(values - 1, 1))
        self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased.flatten().to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1

    def scaling(self, x: Tensor) -> native.Scaling:
        """For the kernels, see ``native.branch``."""
        return scaling(self, *self.moments(x))


def scaling(norm: ChannelGroupNorm | ChannelBatchNorm, mean: Tensor, variance: Tensor) -> native.Scaling:
    """Mean, scale and shift of each channel of each image, (B,d) each."""
    mean, variance = mean.flatten(1), variance.flatten(1)
    return mean, norm.weight * (variance + norm.eps).rsqrt(), norm.bias.expand_as(mean)


def normalise(norm: ChannelGroupNorm | ChannelBatchNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """(x − mean) / √(variance + eps), then the norm's own scale and bias."""
    scale = norm.weight.view(-1, 1, 1) * (variance + norm.eps).rsqrt()
    return torch.addcmul(norm.bias.view(-1, 1, 1), x - mean, scale)


def channel_moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over the pixels, (B, pixels, d) → (B,d,1,1), at least in float32."""
    if pixels.dtype in (torch.float16, torch.bfloat16):
        pixels = pixels.float()
    exporting = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    mean, variance = moments(pixels) if exporting else _Moments.apply(pixels)
    return mean.permute(0, 2, 1)[..., None], variance.permute(0, 2, 1)[..., None]


def moments(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over the pixels, (B, 1, d): the mean first, since that keeps all digits."""
    mean = pixels.mean(1, keepdim=True)
    return mean, (pixels - mean).square_().mean(1, keepdim=True)


class _Moments(torch.autograd.Function):
    """``moments``, keeping for its gradient nothing but what it was given."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = moments(pixels)
        ctx.save_for_backward(pixels, mean)
        return mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> Tensor:
        pixels, mean = ctx.saved_tensors
        count = pixels.shape[1]
        return torch.addcmul(to_mean / count, pixels - mean, to_variance * (2 / count))


class FeedForward(nn.Module):
    """FFN: four times as wide inside, with a depthwise convolution between the two GELUs."""

    def __init__(self, width: int):
        super().__init__()
        self.cut = Cut(4 * width, reach=1, recompute=True)
        self.widen = conv(width, 4 * width)
        self.mix = conv(4 * width, 4 * width, 3, groups=4 * width)
        self.narrow = conv(4 * width, width)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        if norm is not None:
            weights = [self.widen.weight, self.mix.weight, self.narrow.weight]
            return native.branch("feed_forward", x, norm.scaling(x), weights)
        if native.usable(x) and torch.is_grad_enabled():
            return native.FeedForward.apply(x, self.widen.weight, self.mix.weight, self.narrow.weight)
        return self.narrow(F.gelu(self.mix(F.gelu(self.widen(x)))))


class WindowSpectralAttention(nn.Module):
    """WSSA: in each 8×8 window the tokens are the d channels, each as long as the window has pixels."""

    def __init__(self, width: int, base: int):
        super().__init__()
        self.cut = Cut(8 * width, rows=WINDOW)
        self.scale = base**-0.5
        self.qkv = conv(width, 3 * width)
        self.out = conv(width, width, bias=True)
        init_truncated(self)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        if norm is not None:
            weights = [self.qkv.weight, None, None, self.out.weight, self.out.bias]
            return native.branch("window_attention", x, norm.scaling(x), weights, 0, scale=self.scale)
        qkv = self.qkv(x)
        if native.usable(x):
            return self.out(native.ChannelAttention.apply(qkv, self.scale))
        q, k, v = to_windows(qkv, WINDOW).chunk(3, dim=-1)  # (B·n, 64, d) each
        attention = (q.transpose(1, 2) @ k * self.scale).softmax(-1)  # (B·n, d, d)
        return self.out(from_windows(v @ attention.transpose(1, 2), WINDOW, *x.shape[-2:]))


class ConvolutionalModulation(nn.Module):
    """CMB: an 11×11 depthwise neighbourhood modulates the values."""

    def __init__(self, width: int):
        super().__init__()
        self.cut = Cut(4 * width, reach=5)
        self.context = nn.Sequential(conv(width, width), conv(width, width, 11, groups=width))
        self.value = conv(width, width)
        self.out = conv(width, width, bias=True)
        init_truncated(self)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        if norm is not None:
            convolutions = [*self.context, self.value, self.out]
            weights = [conv.weight for conv in cast("list[nn.Conv2d]", convolutions)]
            return native.branch("convolutional_modulation", x, norm.scaling(x), [*weights, self.out.bias])
        return self.out(self.context(x) * self.value(x))


class SpatialAttention(nn.Module):
    """SAB: one spatial map, shared by all channels, weighted by a gate for each channel."""

    def __init__(self, width: int):
        super().__init__()
        self.cut = Cut(4 * width, reach=1)
        self.hidden = conv(width, width)
        self.gate = conv(width, width, 3, groups=width)
        self.map = conv(width, 1, 3)
        self.out = conv(width, width, bias=True)
        init_truncated(self)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        if norm is not None:
            weights = [each.weight for each in (self.hidden, self.gate, self.map, self.out)]
            return native.branch("spatial_attention", x, norm.scaling(x), [*weights, self.out.bias])
        h = self.hidden(x)
        if native.usable(x):
            return self.out(native.SpatialGate.apply(h, self.gate.weight, self.map.weight))
        return self.out(self.gate(h).sigmoid() * F.gelu(self.map(h)))


class AttentionResidualBlock(nn.Module):
    """ARB: convolutional modulation, then spatial attention."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.modulation = ChannelLayerNorm(width), ConvolutionalModulation(width)
        self.norm2, self.attention = ChannelGroupNorm(width), SpatialAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        x = add_by_rows(x, self.norm1, self.modulation)
        return add_by_rows(x, self.norm2, self.attention)


class SpectralSpatialBlock(nn.Module):
    """SSRB: positions, window spectral attention, feed-forward, then an attention residual block."""

    def __init__(self, width: int, base: int):
        super().__init__()
        self.position = conv(width, width, 5, bias=True, groups=width)
        self.norm1, self.attention = ChannelLayerNorm(width), WindowSpectralAttention(width, base)
        self.norm2, self.ffn = ChannelGroupNorm(width), FeedForward(width)
        self.residual = AttentionResidualBlock(width)

    def forward(self, x: Tensor) -> Tensor:
        x = add(x, self.position(x))
        x = add_by_rows(x, self.norm1, self.attention)
        x = add_by_rows(x, self.norm2, self.ffn)
        return self.residual(x)


class WindowAttention(nn.Module):
    """W-MSA: self-attention among the 64 pixels of each 8×8 window, with a relative position bias."""

    position_index: Tensor

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.cut = Cut(8 * width, rows=WINDOW)
        self.heads = heads
        self.qkv = PixelLinear(width, 3 * width)
        self.out = PixelLinear(width, width)
        self.position = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("position_index", relative_positions(), persistent=False)
        nn.init.trunc_normal_(self.position, std=0.02)
        init_truncated(self)

    def forward(self, x: Tensor, norm: Norm | None = None) -> Tensor:
        if norm is not None:
            position = self.position[self.position_index.T].permute(2, 0, 1)  # (heads, 64, 64), of key and query
            weights = [self.qkv.weight, self.qkv.bias, position, self.out.weight, self.out.bias]
            return native.branch("window_attention", x, norm.scaling(x), weights, self.heads, scale=0.0)
        qkv = self.qkv(x)
        bias = self.position[self.position_index].permute(2, 0, 1)  # (heads, 64, 64)
        if native.usable(x):
            return self.out(native.PixelAttention.apply(qkv, bias))
        q, k, v = (
            to_windows(qkv, WINDOW).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B·n, heads, 64, ·)
        mixed = attend(q, k, v, bias[None])
        return self.out(from_windows(mixed.transpose(1, 2).flatten(-2), WINDOW, *x.shape[-2:]))


def relative_positions() -> Tensor:
    """Row of the position table for every (query, key) pair of a window, (64, 64)."""
    row, column = torch.arange(WINDOW**2) // WINDOW, torch.arange(WINDOW**2) % WINDOW
    rows = row[:, None] - row[None] + WINDOW - 1
    columns = column[:, None] - column[None] + WINDOW - 1
    return rows * (2 * WINDOW - 1) + columns


class SwinBlock(nn.Module):
    """Window attention and feed-forward; a shifted block sees the image rolled by half a window."""

    def __init__(self, width: int, heads: int, shift: int):
        super().__init__()
        self.shift = shift
        self.norm1, self.attention = ChannelLayerNorm(width), WindowAttention(width, heads)
        self.norm2, self.ffn = ChannelLayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (2, 3))
        x = add_by_rows(x, self.norm1, self.attention)
        x = add_by_rows(x, self.norm2, self.ffn)
        if self.shift:
            x = x.roll((self.shift, self.shift), (2, 3))
        return x


def swin_blocks(width: int, base: int, count: int = 2) -> nn.Sequential:
    """``count`` Swin blocks, every second one shifted; there is one head for each base width."""
    return nn.Sequential(*(SwinBlock(width, width // base, WINDOW // 2 * (i % 2)) for i in range(count)))
