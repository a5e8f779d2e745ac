"""SSR: the common examination, equality with the published network, and what its outputs cannot show."""

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import multiply_adds, parameters
from crsdun.networks.unet import pad_to_multiple
from crsdun.networks.unfolding import gradient_step
from tests.networks.examination import NetworkExamination, PublishedNetworkExamination


class TestSsr(PublishedNetworkExamination):
    name, settings = "ssr_2stg", {}
    published = "ssr", "ssr_2stg_64x64"
    segmented = 0


class TestNarrow(NetworkExamination):
    """A width of its own, apart from the number of bands."""

    name, settings = "ssr_2stg", {"width": 3}
    segmented = 0


@pytest.mark.parametrize(("stages", "count"), [(3, 1_810_095), (6, 3_618_594), (9, 5_427_093)])
def test_published_parameters(stages, count):
    assert parameters(crsdun.create(f"ssr_{stages}stg", bands=28)) == count


@pytest.mark.parametrize(("stages", "billions"), [(6, 56.53), (9, 84.74)])
def test_published_multiply_adds(stages, billions):
    assert multiply_adds(crsdun.create(f"ssr_{stages}stg", bands=28)) / 1e9 == pytest.approx(billions, rel=1e-3)


def test_every_parameter_learns():
    camera = NetworkExamination.camera()
    cube, y = NetworkExamination.measure(camera)
    network = crsdun.create("ssr_2stg", bands=4)
    NetworkExamination.loss(network(y, camera), cube, None).backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_stages_follow_each_other_at_the_true_size():
    """Every stage starts at the cube of the last one; only the proximal networks see padding."""
    camera = NetworkExamination.camera(20, 41)
    y = NetworkExamination.measure(camera, 2)[1]
    network = crsdun.create("ssr_3stg", bands=4).eval()
    stage, seen = network.stages[2], {}
    stage.estimate.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0], rho=output[0]))
    stage.cube_network.register_forward_hook(lambda module, inputs, output: seen.update(z=inputs[0], out=output))
    stage.cube_network.embed.register_forward_hook(lambda module, inputs, output: seen.update(embedded=inputs[0]))
    cubes = network(y, camera).cubes
    assert torch.equal(seen["x"], cubes[1])
    assert seen["rho"].shape == (2, 1, 1, 1)
    torch.testing.assert_close(seen["z"], gradient_step(cubes[1], y, camera, size=seen["rho"]))
    assert seen["out"].shape == (2, 4, 20, 41)
    assert torch.equal(seen["embedded"], pad_to_multiple(seen["z"], 32))


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(InputError, match="SSR needs stages of at least 1"):
        crsdun.create("ssr_0stg", bands=4)
    with pytest.raises(InputError, match="SSR needs width of at least 1"):
        crsdun.create("ssr_1stg", bands=4, width=0)
