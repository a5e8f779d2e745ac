"""Row by row gives what all at once gives: values, gradients, every parameter."""

import pytest
import torch

import crsdun
from crsdun.native import functions
from crsdun.networks import row_chunks
from crsdun.networks.blocks import (
    AttentionResidualBlock,
    ChannelBatchNorm,
    ChannelGroupNorm,
    ChannelLayerNorm,
    FeedForward,
    SpectralSpatialBlock,
    SwinBlock,
)
from crsdun.networks.row_chunks import add_by_rows
from tests.networks.examination import NetworkExamination


class NormedFeedForward(torch.nn.Module):
    def __init__(self, norm: type[torch.nn.Module], width: int = 4):
        super().__init__()
        self.norm, self.ffn = norm(width), FeedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return add_by_rows(x, self.norm, self.ffn)


LAYERS = {
    "feed-forward, LayerNorm": lambda: NormedFeedForward(ChannelLayerNorm),
    "feed-forward, GroupNorm": lambda: NormedFeedForward(ChannelGroupNorm),
    "feed-forward, BatchNorm": lambda: NormedFeedForward(ChannelBatchNorm),
    "residual": lambda: AttentionResidualBlock(4),
    "spectral-spatial": lambda: SpectralSpatialBlock(4, 4),
    "swin": lambda: SwinBlock(8, heads=2, shift=0),
    "shifted swin": lambda: SwinBlock(8, heads=2, shift=4),
}


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return LAYERS[name]().double()


def results(layer: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Inference, then the gradients of a training pass with respect to the input and all parameters."""
    with torch.no_grad():
        values = layer(x.clone(memory_format=torch.preserve_format))  # in inference a block uses up what it is given
    x = x.clone().requires_grad_()
    out = layer(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    return [values, out, *torch.autograd.grad((out * weights).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("batch", "height"), [(1, 40), (3, 16), (2, 64)])
def test_bands_equal_the_whole(name, batch, height, monkeypatch):
    layer = build(name)
    x = torch.rand(batch, 8 if "swin" in name else 4, height, 24, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 1 << 60)
    whole = results(layer, x)
    # Bands of single rows or windows, of some, and of whole images.
    for size in (1, 30_000, 200_000):
        monkeypatch.setattr(row_chunks, "BAND_BYTES", size)
        for ours, expected in zip(results(layer, x), whole, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)


def test_bands_are_really_cut(monkeypatch):
    layer, heights = build("feed-forward, LayerNorm"), []
    layer.ffn.widen.register_forward_hook(lambda module, inputs, output: heights.append(inputs[0].shape[2]))
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 7 * 16 * 24 * 8)
    with torch.no_grad():
        layer(torch.rand(1, 4, 20, 24, dtype=torch.float64))
    assert heights == [8, 9, 7]  # 7, 7 and 6 rows, with one of overlap where there is a neighbour


def test_inference_needs_no_second_image():
    layer = build("feed-forward, GroupNorm")
    x = torch.rand(1, 4, 20, 24, dtype=torch.float64)
    with torch.no_grad():
        assert layer(x).data_ptr() == x.data_ptr()
    assert layer(x).data_ptr() != x.data_ptr()


@pytest.mark.parametrize("norm", [ChannelLayerNorm, ChannelGroupNorm])
def test_training_keeps_no_wide_tensor(norm, monkeypatch):
    monkeypatch.setattr(functions, "library", lambda: None)  # the kernels keep one, to compute less
    layer, kept = NormedFeedForward(norm), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layer(torch.rand(1, 4, 32, 32, requires_grad=True))
    assert sum(shape.numel() for shape in kept) <= 2 * 4 * 32 * 32 + 4 * 4  # x, as the layer's and as its norm's


def test_a_layer_without_gradients_trains_nothing():
    layer = NormedFeedForward(ChannelLayerNorm).requires_grad_(False)
    x = torch.rand(1, 4, 8, 8, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in layer.parameters())
    assert not layer(x.detach()).requires_grad


def test_autocast_is_remembered_backward():
    layer = NormedFeedForward(ChannelLayerNorm)
    x, seen = torch.rand(1, 4, 8, 8), []
    layer.ffn.narrow.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    out.float().sum().backward()
    assert seen == [torch.bfloat16, torch.bfloat16]


def test_a_whole_network_in_thin_bands(monkeypatch):
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=4, classes=3).eval().double()
    camera = NetworkExamination.camera(45, 37).to(torch.float64)
    y = NetworkExamination.measure(camera)[1].double()
    with torch.no_grad():
        whole = network(y, camera)
        monkeypatch.setattr(row_chunks, "BAND_BYTES", 1)
        thin = network(y, camera)
    torch.testing.assert_close(thin.cube, whole.cube, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(thin.logits[-1], whole.logits[-1], rtol=1e-10, atol=1e-12)
