"""Calibrating the class maps of a network: what is taken, what is stored, what is refused."""

from dataclasses import replace

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import EvaluationOptions, calibrate, evaluate
from crsdun.networks import read_header
from crsdun.optics import Estimate, ModelCard
from tests.evaluation.scenes import NAMES, PaintedSet


class Validation(PaintedSet):
    split = "validation"


@pytest.fixture(scope="module")
def network():
    """One that takes each pixel for the class whose painted spectrum is nearest, and is far too sure."""

    class Nearest(crsdun.networks.Network):
        def forward(self, measurement, camera):
            cube = camera.adjoint(measurement) / 3
            light = torch.linspace(0, 1, 8)
            spectra = torch.stack([0.6 + 0 * light, light, 0.5 + 0.4 * torch.sin(6 * light), 1 - light, light**2])
            smooth = torch.nn.functional.avg_pool2d(cube, 7, 1, 3)
            distance = (smooth[:, None] - 0.8 * spectra[None, :, :, None, None]).square().sum(2)
            return Estimate([cube], [-40 * distance])

    network = Nearest(crsdun.networks.CrsdunConfig(bands=8, classes=5))
    network.card = ModelCard(class_names=NAMES)
    return network


@pytest.fixture(scope="module")
def known(network):
    return calibrate(network, Validation(6))


def test_the_calibration_says_what_it_is_made_from(known):
    assert known.made_from["scenes"] == "painted validation"
    assert known.made_from["count"] == 6
    assert known.made_from["pixels"] == 6 * (32 * 48 - 4 * 6)  # every labelled one, since there are few
    assert known.made_from["camera"]["mask"] == "random:0"
    errors = known.made_from["calibration_error"]
    assert errors["after"] < errors["before"] / 2


def test_an_evaluation_is_that_of_the_calibrated_network(network, known):
    raw = evaluate(network, Validation(6)).figures
    assert not {"known", "accuracy_known"} & raw.keys()
    sure, network.card = network.card, replace(network.card, calibration=known)
    try:
        figures = evaluate(network, Validation(6)).figures
    finally:
        network.card = sure
    assert figures["calibration_error"] == pytest.approx(known.made_from["calibration_error"]["after"], abs=1e-3)
    assert raw["calibration_error"] == pytest.approx(known.made_from["calibration_error"]["before"], abs=1e-3)
    assert figures["known"] == pytest.approx(0.95, abs=0.005)
    assert figures["accuracy"] == raw["accuracy"] < figures["accuracy_known"]
    assert figures["doubt_auroc"] > 0.6


def test_it_travels_in_the_header_of_the_weights(known, tmp_path):
    weights = crsdun.create("crsdun_1stg", bands=8, classes=5, width=4)
    crsdun.save(weights, tmp_path / "plain.safetensors", class_names=NAMES)
    assert crsdun.load(tmp_path / "plain.safetensors").card.calibration is None
    crsdun.save(weights, tmp_path / "w.safetensors", class_names=NAMES, calibration=known)
    assert crsdun.load(tmp_path / "w.safetensors").card.calibration == known
    assert read_header(tmp_path / "w.safetensors").card.class_names == NAMES


def test_what_cannot_be_calibrated_is_refused(network):
    with pytest.raises(InputError, match=r"on the validation split, not on test.*set split to validation"):
        calibrate(network, PaintedSet(1))
    with pytest.raises(InputError, match="no classes to calibrate"):
        calibrate(network, Validation(1, labelled=False))
    with pytest.raises(InputError, match="at least one"):
        calibrate(network, Validation(1), options=EvaluationOptions(first=0))
