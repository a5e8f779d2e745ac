"""Cross-aggregation super-token attention (CASTA): how the cube branch and the class branch inform each other.

Legend: B batch · d channels · H, W size · h token size (a cell of h×h pixels has one super-token) · m number of
cells. X always stands for the pixel (cube) features and Θ for the class features, in both branches.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun import native
from crsdun.networks.blocks import (
    ChannelBatchNorm,
    ChannelLayerNorm,
    FeedForward,
    attend,
    conv,
    depthwise,
    from_windows,
    to_windows,
)
from crsdun.networks.row_chunks import add, add_by_rows


class CrossAggregationBlock(nn.Module):
    """CASTAB: f, the features of one branch, is updated with the help of e, those of the other.

    Args:
        width: d, of f and of e.
        heads: of the attention among super-tokens.
        token: h, pixels along the side of a cell.
        blocks: how many times CASTA and feed-forward follow each other.
        pixels: which of the two inputs has the pixel (cube) features X, ``"own"`` in the cube branch, ``"other"`` in
            the class branch.
        affinity_gradient: let gradients through the association Q (the published network does not).
    """

    def __init__(self, width: int, heads: int, token: int, blocks: int, pixels: str, affinity_gradient: bool):
        super().__init__()
        self.position = conv(2 * width, 2 * width, 5, bias=True, groups=2 * width)
        self.blocks = nn.ModuleList(
            CrossAggregation(width, heads, token, pixels, affinity_gradient) for _ in range(blocks)
        )

    def forward(self, f: Tensor, e: Tensor) -> Tensor:
        # One convolution of concat[f, e] in the paper; channel by channel, it is one of each.
        d, weight, bias = f.shape[1], self.position.weight, cast(Tensor, self.position.bias)
        f = add(f, depthwise(f, weight[:d], bias[:d]))
        e = add(e, depthwise(e, weight[d:], bias[d:]))
        for block in self.blocks:
            f = block(f, e)
        return f


class CrossAggregation(nn.Module):
    """CASTA and feed-forward, each with its norm: f learns from e, which stays as it is."""

    def __init__(self, width: int, heads: int, token: int, pixels: str, affinity_gradient: bool):
        super().__init__()
        self.pixels = pixels
        self.norm_pixels, self.norm_classes = ChannelLayerNorm(width), ChannelLayerNorm(width)
        self.attention = SuperTokenAttention(width, heads, token, affinity_gradient)
        self.norm, self.ffn = ChannelBatchNorm(width), FeedForward(width)

    def forward(self, f: Tensor, e: Tensor) -> Tensor:
        X, theta = (f, e) if self.pixels == "own" else (e, f)
        f = add(f, self.attention(self.norm_pixels(X), self.attention.seeds(self.norm_classes(theta))))
        return add_by_rows(f, self.norm, self.ffn)


class SuperTokenAttention(nn.Module):
    """CASTA: pixels X are gathered into super-tokens seeded by Θ; these attend to each other and are spread again."""

    def __init__(self, width: int, heads: int, token: int, affinity_gradient: bool):
        super().__init__()
        self.token, self.affinity_gradient = token, affinity_gradient
        self.refine = TokenSelfAttention(width, heads)

    def seeds(self, theta: Tensor) -> Tensor:
        """S₀: the mean class features of each cell, (B, d, H/h, W/h). Computed first, so that Θ can be freed."""
        with torch.set_grad_enabled(self.affinity_gradient and torch.is_grad_enabled()):
            return F.avg_pool2d(theta, self.token)

    def forward(self, X: Tensor, S0: Tensor) -> Tensor:
        h, (H, W) = self.token, X.shape[-2:]
        if native.usable(X) and not self.affinity_gradient:
            Q = native.associate(X, S0, h)  # (B, H, W, 9)
            return native.SpreadTokens.apply(self.refine(native.GatherTokens.apply(X, Q, h)), Q, h)
        pixels = to_windows(X, h)  # (B·m, h², d)
        Q = self.associate(pixels, S0)  # (B·m, h², 9)
        S = self.refine(self.gather(pixels, Q, (H // h, W // h)))
        return from_windows(Q @ neighbourhoods(S), h, H, W)

    def associate(self, pixels: Tensor, S0: Tensor) -> Tensor:
        """Q: how much each pixel belongs to each of the 3×3 super-tokens around it, (B·m, h², 9), rows sum to 1."""
        with torch.set_grad_enabled(self.affinity_gradient and torch.is_grad_enabled()):
            logits = pixels @ neighbourhoods(S0).transpose(1, 2)
            return (logits * pixels.shape[-1] ** -0.5).softmax(-1)

    def gather(self, pixels: Tensor, Q: Tensor, grid: tuple[int, int]) -> Tensor:
        """S = Σ Q X / Σ Q, over all pixels whose neighbourhood contains the token, (B, d, H/h, W/h)."""
        weight = add_from_neighbourhoods(Q.sum(1).unsqueeze(-1), grid)
        return add_from_neighbourhoods(Q.transpose(1, 2) @ pixels, grid) / (weight + 1e-12)


class TokenSelfAttention(nn.Module):
    """MHSA over all super-tokens of the image; channels of qkv come head by head, q, k, v inside each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = conv(width, 3 * width)
        self.out = conv(width, width, bias=True)

    def forward(self, S: Tensor) -> Tensor:
        B, d, rows, columns = S.shape
        mixed = attend(*self.split(S))
        return self.out(mixed.transpose(1, 2).reshape(B, rows, columns, d).permute(0, 3, 1, 2))

    def split(self, S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of each super-token, (B, heads, m, d/heads) each."""
        B, d, rows, columns = S.shape
        qkv = self.qkv(S).permute(0, 2, 3, 1).reshape(B, rows * columns, self.heads, 3, d // self.heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        return q, k, v


def neighbourhoods(S: Tensor) -> Tensor:
    """The 3×3 tokens around each cell, zeros outside: (B,d,rows,columns) → (B·m, 9, d)."""
    padded = F.pad(S.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1)  # (B, rows, columns, d, 3, 3), a view
    return around.permute(0, 1, 2, 4, 5, 3).reshape(-1, 9, S.shape[1])


def add_from_neighbourhoods(parts: Tensor, size: tuple[int, int]) -> Tensor:
    """What every cell (B·m, 9, d) adds to the tokens around it, summed at the tokens: (B,d,rows,columns)."""
    d, cells = parts.shape[-1], size[0] * size[1]
    columns = parts.view(-1, cells, 9, d).permute(0, 3, 2, 1).reshape(-1, d * 9, cells)
    return F.fold(columns, size, 3, padding=1)
