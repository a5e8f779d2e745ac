"""Layers in C for the CPU, where PyTorch is slow: compiled on first use, never required, equal but for rounding."""

from crsdun.native.functions import (
    BEFORE_GELU,
    GATE,
    GELU,
    KERNEL_SIZES,
    TIMES,
    Scaling,
    ChannelAttention,
    DepthwiseConv,
    FeedForward,
    GatherTokens,
    LayerNorm,
    PixelAttention,
    SpreadTokens,
    associate,
    branch,
    depthwise,
    usable,
)
from crsdun.native.library import library

__all__ = [
    "BEFORE_GELU",
    "GATE",
    "GELU",
    "KERNEL_SIZES",
    "TIMES",
    "Scaling",
    "ChannelAttention",
    "DepthwiseConv",
    "FeedForward",
    "GatherTokens",
    "LayerNorm",
    "PixelAttention",
    "SpreadTokens",
    "associate",
    "branch",
    "depthwise",
    "library",
    "usable",
]
