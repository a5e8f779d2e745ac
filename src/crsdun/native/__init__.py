"""Layers in C for the CPU, where PyTorch is slow: compiled on first use, never required, equal but for rounding."""

from crsdun.native.build import library
from crsdun.native.functions import (
    KERNEL_SIZES,
    ChannelAttention,
    ChannelNorm,
    DepthwiseConv,
    FeedForward,
    GatherTokens,
    LayerNorm,
    PixelAttention,
    Pointwise,
    Scaling,
    SpatialGate,
    SpreadTokens,
    associate,
    branch,
    channel_moments,
    usable,
)

__all__ = [
    "KERNEL_SIZES",
    "ChannelAttention",
    "ChannelNorm",
    "DepthwiseConv",
    "FeedForward",
    "GatherTokens",
    "LayerNorm",
    "PixelAttention",
    "Pointwise",
    "Scaling",
    "SpatialGate",
    "SpreadTokens",
    "associate",
    "branch",
    "channel_moments",
    "library",
    "usable",
]
