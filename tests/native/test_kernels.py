"""The kernels give what PyTorch gives in float64: values and gradients, any width and size, any number of threads."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from crsdun import native
from crsdun.machine import cpuinfo
from crsdun.native import build, functions
from crsdun.networks import blocks, create
from crsdun.networks.super_tokens import SuperTokenAttention
from crsdun.optics import CassiCamera, random_mask
from crsdun.solvers.total_variation import TotalVariation

# What the kernels are compiled for: this processor, and older ones of its kind, which have shorter vectors.
OLDER = {"x86-64-v3": "avx2", "x86-64-v2": "sse4_2"}
PROCESSORS = ["native", *(name for name, feature in OLDER.items() if feature in cpuinfo().get("flags", "").split())]

needs_kernels = pytest.mark.skipif(native.library() is None, reason="there is no C compiler")
WIDTHS = [2, 5, 12, 16, 28, 33, 56]


@pytest.fixture(scope="module", params=PROCESSORS)
def processor(request, tmp_path_factory):
    """Kernels that were compiled for a processor."""
    if request.param == "native":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        flags = [f"-march={request.param}" if flag == "-march=native" else flag for flag in build.FLAGS]
        patch.setattr(build, "FLAGS", flags)
        patch.setenv("CRSDUN_CACHE", str(tmp_path_factory.mktemp(request.param)))
        library = build.library.__wrapped__()
        assert library is not None
        patch.setattr(functions, "library", lambda: library)
        yield


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def window_attention(qkv, bias):
    q, k, v = blocks.to_windows(qkv, 8).unflatten(-1, (3, len(bias), -1)).permute(2, 0, 3, 1, 4)
    mixed = blocks.attend(q, k, v, bias[None])
    return blocks.from_windows(mixed.transpose(1, 2).flatten(-2), 8, *qkv.shape[-2:])


def channel_attention(qkv):
    q, k, v = blocks.to_windows(qkv, 8).chunk(3, dim=-1)
    attention = (q.transpose(1, 2) @ k * 0.3).softmax(-1)
    return blocks.from_windows(v @ attention.transpose(1, 2), 8, *qkv.shape[-2:])


def feed_forward(x, widen, mix, narrow):
    return F.conv2d(F.gelu(F.conv2d(F.gelu(F.conv2d(x, widen)), mix, padding=1, groups=len(mix))), narrow)


def spatial_gate(h, gate, map):
    return F.conv2d(h, gate, padding=1, groups=len(gate)).sigmoid() * F.gelu(F.conv2d(h, map, padding=1))


def depthwise(size):
    return lambda x, weight, bias: F.conv2d(x, weight, bias, padding=size // 2, groups=len(weight))


def group_norm(x, weight, bias):
    return F.group_norm(x, len(weight), weight, bias)


def batch_norm(x, weight, bias):
    return F.batch_norm(x, None, None, weight, bias, training=True)


def layer_norm(x, weight, bias):
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias).permute(0, 3, 1, 2)


def norm(over_batch):
    return lambda x, weight, bias: native.ChannelNorm.apply(x, weight, bias, 1e-5, over_batch)[0]


CASES = {
    "layer 1×1": (
        native.Pointwise.apply,
        lambda x, weight, bias: F.conv2d(x, weight[..., None, None], bias),
        lambda d: [features(2, d, 9, 70), torch.randn(2 * d + 1, d), torch.randn(2 * d + 1)],
    ),
    **{
        f"depthwise {size}×{size}": (
            native.DepthwiseConv.apply,
            depthwise(size),
            lambda d, size=size: [features(2, d, 67, 21), torch.randn(d, 1, size, size) / size, torch.randn(d)],
        )
        for size in native.KERNEL_SIZES
    },
    "feed-forward": (
        native.FeedForward.apply,
        feed_forward,
        lambda d: [
            features(2, d, 67, 51),
            torch.randn(4 * d, d, 1, 1) / d**0.5,
            torch.randn(4 * d, 1, 3, 3) / 3,
            torch.randn(d, 4 * d, 1, 1) / (4 * d) ** 0.5,
        ],
    ),
    "LayerNorm": (
        native.LayerNorm.apply,
        layer_norm,
        lambda d: [features(2, d, 40, 37), torch.randn(d), torch.randn(d)],
    ),
    "GroupNorm": (norm(False), group_norm, lambda d: [features(2, d, 40, 37) + 3, torch.randn(d), torch.randn(d)]),
    "BatchNorm": (norm(True), batch_norm, lambda d: [features(3, d, 40, 37) + 3, torch.randn(d), torch.randn(d)]),
    "spatial gate": (
        native.SpatialGate.apply,
        spatial_gate,
        lambda d: [features(2, d, 35, 51), torch.randn(d, 1, 3, 3) / 3, torch.randn(1, d, 3, 3) / 3 / d**0.5],
    ),
    "attention of pixels": (
        native.PixelAttention.apply,
        window_attention,
        lambda d: [features(2, 6 * d, 16, 40), torch.randn(2, 64, 64)],
    ),
    "attention of channels": (
        lambda qkv: native.ChannelAttention.apply(qkv, 0.3),
        channel_attention,
        lambda d: [features(2, 3 * d, 16, 40)],
    ),
}


@needs_kernels
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_float64(case, width, processor):
    torch.manual_seed(0)
    kernel, reference, make = CASES[case]
    given = [tensor.requires_grad_() for tensor in make(width)]
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    found, expected = kernel(*given), reference(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)
    towards = torch.randn(expected.shape)
    gradients = torch.autograd.grad(found, given, towards)
    for gradient, wanted in zip(gradients, torch.autograd.grad(expected, exact, towards.double()), strict=True):
        assert (gradient.double() - wanted).norm() <= 1e-5 * wanted.norm() + 1e-6 * towards.norm()


@needs_kernels
@pytest.mark.parametrize("token", [4, 8])
@pytest.mark.parametrize("width", [5, 28])
def test_super_tokens_are_those_of_float64(token, width, processor):
    torch.manual_seed(0)
    layer = SuperTokenAttention(width, 1, token, affinity_gradient=False)
    x, seeds = features(2, width, 32, 24).requires_grad_(), features(2, width, 32 // token, 24 // token)
    found = layer(x, seeds)
    gradients = torch.autograd.grad(found.sum(1).square().sum(), [x, *layer.parameters()])
    exact = x.detach().double().requires_grad_()
    layer.double()
    expected = layer(exact, seeds.double())
    wanted = torch.autograd.grad(expected.sum(1).square().sum(), [exact, *layer.parameters()])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for gradient, other in zip(gradients, wanted, strict=True):
        assert (gradient.double() - other).norm() <= 1e-5 * other.norm()


@needs_kernels
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("size", [(8, 9), (40, 33), (17, 128), (1, 20), (20, 1), (1, 1)])
def test_total_variation_is_that_of_float64(size, local, processor):
    """Steps with other components and weights in between; any number of threads gives the same bits."""
    torch.manual_seed(0)
    cube, other = torch.rand(2, 5, *size), torch.linalg.qr(torch.rand(2, 5, 5))[0].mT[:, :3].contiguous()
    factors = 0.5 + torch.rand(size) if local else None

    def stepped(cube: torch.Tensor) -> torch.Tensor:
        variation = TotalVariation(cube.shape, cube, 0.7)
        variation.step(cube, 0.1, 3, torch.empty_like(cube))
        variation.turn(other.to(cube.dtype))
        variation.local = None if factors is None else factors.to(cube.dtype)
        return variation.step(cube, 0.05, 4, torch.empty_like(cube))

    expected, before = stepped(cube.double()), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(stepped(cube))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(*found)


@needs_kernels
def test_gelu_is_as_exact_as_pytorchs():
    """Through a feed-forward of identities: 0.5 x (1 + erf(x/√2)) of itself, to the last digits of float32."""
    x = torch.linspace(-8, 8, 1 << 16).view(1, 1, 256, 256)
    eye, centre = torch.zeros(4, 1, 1, 1), torch.zeros(4, 1, 3, 3)
    eye[0], centre[:, :, 1, 1] = 1, 1
    with torch.no_grad():
        found = native.FeedForward.apply(x, eye, centre, eye.transpose(0, 1))
    exact = F.gelu(F.gelu(x.double()))
    assert (found.double() - exact).abs().max() <= 1.5 * (F.gelu(F.gelu(x)).double() - exact).abs().max()


@needs_kernels
@pytest.mark.parametrize("name", ["crsdun_3stg", "crsdun_tiny"])
def test_threads_change_nothing(name):
    torch.manual_seed(0)
    network = create(name, 5, 3, width=6)
    camera = CassiCamera(random_mask(64, 96), bands=5, step=2)
    measurement = camera.forward(torch.rand(2, 5, 64, 96))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            estimate = network(measurement, camera)
            estimate.cube.square().mean().backward()
            results.append([estimate.cube, *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
            network.zero_grad()
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert (one - two).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.parametrize("where", ["float64", "autocast", "switched off"])
def test_elsewhere_pytorch_computes(where, monkeypatch):
    x = torch.zeros(1, 4, 8, 8, dtype=torch.float64 if where == "float64" else torch.float32)
    if where == "switched off":
        monkeypatch.setattr(functions, "library", lambda: None)
    with torch.autocast("cpu", enabled=where == "autocast"):
        assert not native.usable(x)


@needs_kernels
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("bands", "classes"), [(6, 4), (1, 1)])
def test_the_whole_network_is_the_same_without_kernels(bands, classes, training, monkeypatch, processor):
    torch.manual_seed(0)
    network = create("crsdun_3stg", bands, classes)
    network.train(training)
    camera = CassiCamera(random_mask(96, 64), bands=bands, step=2)
    measurement = camera.forward(torch.rand(2, bands, 96, 64))
    with torch.set_grad_enabled(training):
        found = network(measurement, camera)
        monkeypatch.setattr(functions, "library", lambda: None)
        expected = network(measurement, camera)
    for a, b in zip(found.cubes + found.logits, expected.cubes + expected.logits, strict=True):
        assert (a - b).abs().max() <= 2e-5 * b.abs().max()


@needs_kernels
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (blocks.conv(4, 8), (1, 5, 8, 8)),
        (blocks.conv(4, 4, 3, groups=4), (1, 5, 8, 8)),
        (blocks.ChannelLayerNorm(4), (1, 5, 8, 8)),
        (blocks.ChannelGroupNorm(4), (1, 5, 8, 8)),
        (blocks.SwinBlock(4, 1, 0), (1, 4, 8, 12)),
        (blocks.SwinBlock(4, 1, 0), (1, 5, 8, 8)),
        (blocks.SpectralSpatialBlock(4, 4), (1, 4, 12, 8)),
        (blocks.AttentionResidualBlock(4), (1, 5, 8, 8)),
        (SuperTokenAttention(4, 1, 4, affinity_gradient=False), (1, 4, 9, 8)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "×".join(map(str, value)),
)
def test_what_does_not_fit_is_refused_as_without_kernels(layer, shape, grad, monkeypatch):
    inputs = [torch.rand(shape)] + [torch.rand(1, 4, 2, 2)] * isinstance(layer, SuperTokenAttention)
    with torch.set_grad_enabled(grad):
        with pytest.raises(RuntimeError):
            layer(*inputs)
        monkeypatch.setattr(functions, "library", lambda: None)
        with pytest.raises(RuntimeError):
            layer(*inputs)


@needs_kernels
def test_weights_in_float64_are_refused_too():
    with pytest.raises(RuntimeError, match="float64"):
        blocks.conv(4, 4).double()(torch.rand(1, 4, 8, 8))


PROGRAM = "from crsdun.native import library; print(library() is not None)"


@pytest.mark.parametrize(
    "environment", [{"CRSDUN_NATIVE": "0"}, {"CC": "no-such-compiler"}, {"CC": "false"}, {"CRSDUN_CACHE": ""}]
)
def test_what_cannot_be_compiled_is_not_needed(environment, tmp_path):
    given = {**os.environ, "CRSDUN_CACHE": str(tmp_path), **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=given, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False"], done.stderr


@needs_kernels
def test_kernels_that_give_wrong_numbers_are_not_used(tmp_path, monkeypatch):
    folder = tmp_path / "sources"
    folder.mkdir()
    for file in build.SOURCE.parent.glob("*.[ch]"):
        (folder / file.name).write_text(file.read_text().replace("0.130928114f", "0.131f"))
    monkeypatch.setattr(build, "SOURCE", folder / "kernels.c")
    monkeypatch.setenv("CRSDUN_CACHE", str(tmp_path / "cache"))
    assert build.library.__wrapped__() is None
    assert not list((tmp_path / "cache").rglob("*.so"))
