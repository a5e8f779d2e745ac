"""The yardstick of ``crsdun bench --against plain`` computes the same network."""

import sys
from pathlib import Path

import pytest
import torch

from crsdun.networks import create
from crsdun.optics import CassiCamera, random_mask
from crsdun.training import joint_loss

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain import PlainCrsdun

CASES = [("crsdun_3stg", 6, 4, None, 3), ("crsdun_2stg", 5, 3, 8, 2)]


@pytest.mark.parametrize(("name", "bands", "classes", "width", "stages"), CASES)
def test_the_plain_network_gives_the_same_estimates_and_gradients(name, bands, classes, width, stages):
    torch.manual_seed(0)
    ours = create(name, bands, classes, **({} if width is None else {"width": width}))
    plain = PlainCrsdun(bands, classes, stages, width)
    plain.load_state_dict(ours.state_dict())
    camera = CassiCamera(random_mask(64, 96), bands=bands, step=2)
    cube = torch.rand(2, bands, 64, 96)
    labels = torch.randint(0, classes, (2, 64, 96))
    measurement = camera.forward(cube)
    for network in (ours, plain):
        joint_loss(network(measurement, camera), cube, labels).backward()
    gradients = dict(plain.named_parameters())
    for parameter_name, parameter in ours.named_parameters():
        expected = gradients[parameter_name].grad
        if parameter.grad is None:
            assert expected is None or not expected.any(), parameter_name
        else:
            assert (parameter.grad - expected).norm() <= 2e-4 * expected.norm() + 1e-9, parameter_name
    with torch.inference_mode():
        ours_says, plain_says = ours.eval()(measurement, camera), plain.eval()(measurement, camera)
    for a, b in zip(ours_says.cubes + ours_says.logits, plain_says.cubes + plain_says.logits, strict=True):
        assert (a - b).abs().max() <= 2e-5 * b.abs().max()
