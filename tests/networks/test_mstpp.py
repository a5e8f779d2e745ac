"""MST++: the common examination, equality with the published network, and what its outputs cannot show."""

import pytest
import torch
import torch.nn.functional as F

import crsdun
from crsdun.evaluation import multiply_adds, parameters
from crsdun.networks.mstpp import SpectralAttention
from tests.networks.examination import ExportedNetworkExamination, NetworkExamination, PublishedNetworkExamination


class TestMstpp(ExportedNetworkExamination, PublishedNetworkExamination):
    name, settings = "mstpp", {"bodies": 2}
    published = "mstpp", "mstpp_64x64"
    stages, segmented = 1, 0
    smallest = "mstpp", {"bodies": 1}


class TestNarrow(NetworkExamination):
    """A width of its own, apart from the number of bands."""

    name, settings = "mstpp", {"bodies": 1, "width": 3}
    stages, segmented = 1, 0


def test_published_counts():
    network = crsdun.create("mstpp", bands=28)
    assert parameters(network) == 1_333_950
    assert parameters(network.bodies[0]) == 439_414
    assert multiply_adds(network) / 1e9 == pytest.approx(18.81, rel=1e-3)


def test_every_parameter_learns():
    camera = NetworkExamination.camera()
    cube, y = NetworkExamination.measure(camera)
    network = crsdun.create("mstpp", bands=4)
    NetworkExamination.loss(network(y, camera), cube, None).backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


@torch.no_grad()
def test_odd_sizes_are_reflected_to_a_multiple_of_8():
    camera = NetworkExamination.camera(20, 41)
    y = NetworkExamination.measure(camera)[1]
    network, seen = crsdun.create("mstpp", bands=4).eval(), {}
    network.initial.register_forward_hook(lambda module, inputs, output: seen.update(x=output))
    network.embed.register_forward_hook(lambda module, inputs, output: seen.update(padded=inputs[0], e=output))
    network.bodies[0].register_forward_hook(lambda module, inputs, output: seen.update(start=inputs[0].clone()))
    network.out.register_forward_hook(lambda module, inputs, output: seen.update(out=output))
    cube = network(y, camera).cube
    assert torch.equal(seen["padded"], F.pad(seen["x"], (0, 7, 0, 4), mode="reflect"))
    assert torch.equal(seen["start"], seen["e"])
    assert torch.equal(cube, (seen["out"] + seen["e"])[..., :20, :41])


@torch.no_grad()
def test_attention_by_the_book():
    """Channel by channel, as the formula is written."""
    torch.manual_seed(0)
    layer, x = SpectralAttention(6, heads=2).double(), torch.randn(1, 6, 3, 5, dtype=torch.float64)
    layer.scale.copy_(torch.tensor([0.5, 3]).view(2, 1, 1))
    tokens = x.flatten(2)[0]  # (d, H·W)
    q, k, v = (linear.weight @ tokens for linear in (layer.query, layer.key, layer.value))
    mixed = torch.zeros_like(v)
    for i in range(6):
        own = range(i // 3 * 3, i // 3 * 3 + 3)  # the channels of the same head
        logits = [layer.scale.flatten()[i // 3] * (k[i] @ q[j]) / (k[i].norm() * q[j].norm()) for j in own]
        for weight, j in zip(torch.stack(logits).softmax(0), own, strict=True):
            mixed[i] += weight * v[j]
    expected = layer.out.weight @ mixed + layer.out.bias[:, None]
    torch.testing.assert_close(layer(x), expected.view(x.shape) + layer.position(v.view(x.shape)))


def test_initial_weights():
    torch.manual_seed(0)
    network = crsdun.create("mstpp", bands=16)
    attention = network.bodies[0].bottleneck.attention
    assert attention.query.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert attention.scale.flatten().tolist() == [1, 1, 1, 1]
    assert attention.position[0].weight.std().item() > 0.1  # convolutions as PyTorch draws them
