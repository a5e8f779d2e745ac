"""The segmenter alone: the common examination, equality with stored outputs, and its two ways of being called."""

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import multiply_adds, parameters
from crsdun.networks.unet import pad_to_multiple
from tests.networks.examination import NetworkExamination
from tests.networks.stored import StoredRun


class TestSegmenter(NetworkExamination):
    """From the measurement, the lower reference."""

    name, settings = "seg_1stg", {}
    stages, segmented = 1, 1


class TestNarrow(TestSegmenter):
    name, settings = "seg_1stg", {"width": 6}


@torch.no_grad()
def test_outputs_equal_the_stored_ones():
    run = StoredRun("seg", "seg_2stg_64x64")
    run.assert_equal(run.network(run.cube).logits)


@pytest.mark.parametrize(("stages", "count"), [(3, 1_732_644), (6, 3_287_712), (9, 4_842_780)])
def test_inferred_parameters(stages, count):
    assert parameters(crsdun.create(f"seg_{stages}stg", bands=28, classes=23)) == count


@pytest.mark.parametrize(("stages", "billions"), [(3, 26.80), (6, 51.52), (9, 76.24)])
def test_inferred_multiply_adds(stages, billions):
    network = crsdun.create(f"seg_{stages}stg", bands=28, classes=23)
    assert multiply_adds(network) / 1e9 == pytest.approx(billions, rel=1e-3)


@torch.no_grad()
def test_a_cube_is_segmented_as_it_is_and_a_measurement_through_its_first_guess():
    camera = NetworkExamination.camera(20, 41)
    cube, y = NetworkExamination.measure(camera, 2)
    network, seen = crsdun.create("seg_1stg", bands=4, classes=3).eval(), {}
    network.unet.register_forward_hook(lambda module, inputs, output: seen.update(padded=inputs[0], out=output))
    of_cube = network(cube)
    assert of_cube.cube is cube
    assert torch.equal(seen["padded"], pad_to_multiple(cube, 32))
    assert torch.equal(of_cube.logits[0], seen["out"][..., :20, :41])

    estimate = network(y, camera)
    H = camera.mean_estimate(y)
    assert torch.equal(estimate.cube, H)
    assert torch.equal(estimate.logits[0], network(H).logits[0])


def test_every_parameter_learns():
    camera = NetworkExamination.camera()
    network = crsdun.create("seg_2stg", bands=4, classes=3)
    logits = network(NetworkExamination.measure(camera)[0]).logits[0]
    torch.nn.functional.cross_entropy(logits, torch.zeros(1, 32, 32).long()).backward()
    assert [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_every_second_block_is_shifted():
    nodes = crsdun.create("seg_3stg", bands=4, classes=3).unet
    for node in (nodes.encoder1, nodes.encoder2, nodes.bottleneck, nodes.node2, nodes.node1):
        assert [block.shift for block in node] == [0, 4] * 3


def test_what_is_no_cube_is_refused():
    network = crsdun.create("seg_1stg", bands=4, classes=3)
    with pytest.raises(InputError, match=r"takes cubes \(batch, 4, height, width\), not \(1, 5, 8, 8\)"):
        network(torch.zeros(1, 5, 8, 8))
    with pytest.raises(InputError, match="a measurement its camera"):
        network(torch.zeros(1, 32, 38))
    with pytest.raises(InputError, match="classes takes a whole number, not None"):
        crsdun.create("seg_1stg", bands=4)
