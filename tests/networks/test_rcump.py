"""RCUMP: the common examination, equality with the published network, and what its outputs cannot show."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import crsdun
from crsdun.evaluation import multiply_adds, parameters
from crsdun.networks.rcump import ChannelEstimator, MixedBlock
from tests.networks.examination import ExportedNetworkExamination, NetworkExamination, PublishedNetworkExamination


class TestRcump(ExportedNetworkExamination, PublishedNetworkExamination):
    name, settings = "rcump_2stg", {"width": 4}
    published = "rcump", "rcump_1stg_64x64"
    segmented = 0
    smallest = "rcump_1stg", {"width": 4}


def test_published_counts():
    network = crsdun.create("rcump_9stg", bands=28)
    assert parameters(network) == 9_467_103
    stage = network.stages[0]
    assert [parameters(part) for part in (stage.step, stage.completion, stage.network)] == [3_501, 36_125, 1_012_097]
    assert parameters(stage.network.threshold) == 67_201
    assert [parameters(block) for block in stage.network.encoder] == [4_320, 14_784, 31_392, 54_144]
    assert [parameters(block) for block in stage.network.decoder] == [6_304, 22_848, 49_632]
    assert multiply_adds(network) / 1e9 == pytest.approx(75.86, rel=1e-3)


def test_every_parameter_learns_once_the_chain_counts():
    camera = NetworkExamination.camera()
    cube, y = NetworkExamination.measure(camera)
    network = crsdun.create("rcump_2stg", bands=4, width=4)
    for module in network.modules():
        if isinstance(module, ChannelEstimator):
            for layer in (module.fusion, module.mlp[0], module.mlp[2]):
                torch.nn.init.constant_(layer.bias, 0.1)  # so few units might all be dead by chance
    for counts in (False, True):
        NetworkExamination.loss(network(y, camera), cube, None).backward()
        still = [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()]
        # ω starts at 0: what it weighs has to wait for it.
        assert bool(still) != counts
        assert all(".completion.chain." in name for name in still)
        for stage in network.stages:
            torch.nn.init.constant_(stage.completion.omega[-1], 0.1)


@torch.no_grad()
def test_stages_follow_each_other():
    """r steps down the plain gradient from the last cube, and x = U(r) + RCB(last cube) + r, at the true size."""
    camera = NetworkExamination.camera(20, 41)
    y = NetworkExamination.measure(camera, 2)[1]
    network = crsdun.create("rcump_3stg", bands=4, width=4).eval()
    stage, seen = network.stages[2], {}
    for name in ("step", "network", "completion"):
        part = getattr(stage, name)
        part.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: (inputs, output)}))
    stage.network.embed.register_forward_hook(lambda module, inputs, output: seen.update(data=inputs[0]))
    stage.network.embed_mask.register_forward_hook(lambda module, inputs, output: seen.update(mask=inputs[0]))
    _, before, after = network(y, camera).cubes

    gradient = camera.adjoint(camera.forward(before) - y)
    torch.testing.assert_close(seen["step"][0][0], gradient)
    rho = seen["step"][1]
    assert rho.shape == (2, 4, 1, 1)
    r, shifted = seen["network"][0]
    torch.testing.assert_close(r, before - rho * gradient)
    assert torch.equal(seen["completion"][0][0], before)
    torch.testing.assert_close(after, seen["network"][1] + seen["completion"][1] + r)

    # The masks where the prism puts them, cut to the scene's columns; both padded by reflection.
    assert torch.equal(shifted, camera.disperse(camera.mask_per_band)[None, ..., :41])
    assert torch.equal(seen["data"], F.pad(r, (0, 7, 0, 12), mode="reflect"))
    assert torch.equal(seen["mask"], F.pad(shifted, (0, 7, 0, 12), mode="reflect"))


@torch.no_grad()
def test_the_threshold_looks_at_gated_features():
    camera = NetworkExamination.camera()
    y = NetworkExamination.measure(camera)[1]
    network, seen = crsdun.create("rcump_1stg", bands=4, width=4).eval(), {}
    inner = network.stages[0].network
    inner.encoder[-1].register_forward_hook(lambda module, inputs, output: seen.update(gated=output))
    inner.encoder[-1].data.register_forward_hook(lambda module, inputs, output: seen.update(plain=output))
    inner.threshold.register_forward_hook(lambda module, inputs, output: seen.update(looked=inputs[0], b=output))
    inner.up[-1].register_forward_hook(lambda module, inputs, output: seen.update(shrunk=inputs[0]))
    network(y, camera)
    gated, m = seen["gated"]
    assert torch.equal(gated, seen["plain"] * m)
    assert torch.equal(seen["looked"], gated)
    b = 0.001 * seen["b"]
    assert b.shape == (1, 16, 1, 1)
    assert torch.equal(seen["shrunk"], gated.sign() * (gated.abs() - b).clamp(min=0))
    assert not torch.equal(seen["shrunk"], gated)


@torch.no_grad()
def test_light_is_shared_out_evenly_and_darkness_divides_nothing():
    mask = np.random.default_rng(0).random((8, 9)).astype(np.float32)
    mask[:, :3] = 0
    camera = crsdun.CassiCamera(mask, bands=4)
    network, seen = crsdun.create("rcump_1stg", bands=4, width=4).eval(), {}
    network.initial.register_forward_hook(lambda module, inputs, output: seen.update(given=inputs[0]))
    network(camera.forward(torch.full((1, 4, 8, 9), 0.7)), camera)
    g, masked = seen["given"].chunk(2, 1)
    lit = camera.gather(camera.forward(torch.ones(1, 4, 8, 9))) > 0
    assert not lit.all()
    torch.testing.assert_close(g, 0.7 * lit)  # a flat scene is guessed at once
    assert torch.equal(masked, g * camera.mask)


def test_initial_weights():
    torch.manual_seed(0)
    network = crsdun.create("rcump_1stg", bands=16)
    stage = network.stages[0]
    assert stage.step.offset.item() == stage.network.threshold.offset.item() == pytest.approx(0.1)
    assert [omega.item() for omega in stage.completion.omega] == [0] * 5
    for kernel in (
        stage.network.up[0].weight,
        stage.completion.chain[0].weight,
        stage.network.threshold.mlp[0].weight,
    ):
        assert kernel.mean().item() == pytest.approx(0, abs=1e-3)
        assert kernel.std().item() == pytest.approx(0.01, rel=0.05)
    norm = stage.network.encoder[-1].mask[1]
    assert norm.weight.mean().item() == pytest.approx(0.1, abs=4e-3)
    assert [norm.weight.std().item(), norm.bias.std().item()] == pytest.approx([0.01, 0.01], rel=0.25)
    assert network.initial.bias.std().item() > 0.03


def test_the_estimator_by_hand():
    estimator = ChannelEstimator(2)
    for parameter in estimator.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(estimator.offset, 0.3)
    expected = (np.log(2) + 0.3) * 0.1  # Softplus(0) = ln 2
    assert estimator(torch.ones(1, 2, 4, 4)).flatten().tolist() == pytest.approx([expected] * 2)


def test_groups_where_a_block_narrows():
    block = MixedBlock(8, 4)
    assert [part[0].groups for part in (block.around[0], block.around[2], block.point[0])] == [4, 4, 1]
    assert sum(isinstance(module, torch.nn.LeakyReLU) for module in block.modules()) == 1
    assert all(module.negative_slope == 0.1 for module in block.modules() if isinstance(module, torch.nn.LeakyReLU))
