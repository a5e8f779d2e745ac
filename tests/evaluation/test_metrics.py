"""Metrics against their definitions written out."""

import math

import pytest
import torch

import crsdun
from crsdun.evaluation import class_metrics, cube_metrics, data_residual, multiply_adds, parameters
from crsdun.optics import InputError

generator = torch.Generator().manual_seed(0)
TRUTH = torch.rand(3, 16, 20, generator=generator)


def test_a_constant_error_has_a_known_psnr():
    metrics = cube_metrics(TRUTH + 0.01, TRUTH)
    assert metrics["psnr_db"] == pytest.approx(40, abs=1e-3)
    assert metrics["rmse"] == pytest.approx(0.01, rel=1e-4)
    assert metrics["protocol"] == "crsdun"


def test_psnr_neither_clips_nor_follows_the_range_of_the_truth():
    bright = 4 * TRUTH
    assert cube_metrics(bright + 0.1, bright)["psnr_db"] == pytest.approx(20, abs=1e-3)


def test_the_spectral_angle_by_hand():
    truth = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    estimate = torch.tensor([1.0, 1.0]).view(2, 1, 1)
    assert cube_metrics(estimate, truth)["sam_deg"] == pytest.approx(45, abs=1e-4)
    assert cube_metrics(3 * TRUTH, TRUTH)["sam_deg"] == pytest.approx(0, abs=1e-3)


def test_black_pixels_have_no_spectral_angle():
    truth = TRUTH.clone()
    truth[:, :8] = 0
    angle = cube_metrics(truth + 0.01, truth)["sam_deg"]
    assert angle == pytest.approx(cube_metrics(truth[:, 8:] + 0.01, truth[:, 8:])["sam_deg"], rel=1e-6)


def test_ssim_is_one_for_equals_and_unknown_for_small_scenes():
    assert cube_metrics(TRUTH, TRUTH)["ssim"] == pytest.approx(1)
    assert cube_metrics(TRUTH.flip(1), TRUTH)["ssim"] < 0.2
    assert cube_metrics(TRUTH[:, :5], TRUTH[:, :5])["ssim"] is None


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="crop or resample the truth"):
        cube_metrics(TRUTH, TRUTH[:, :5])
    with pytest.raises(InputError, match="class map has shape"):
        class_metrics(torch.zeros(2, 2).long(), torch.zeros(2, 3).long(), 2)


def test_miou_by_hand():
    #                     background, then classes 1, 2, 3; class 3 never occurs; two pixels are unlabelled
    truth = torch.tensor([[0, 0, 1, 1, 1, 2, -1, -1]])
    estimate = torch.tensor([[0, 1, 1, 1, 2, 2, 1, 2]])
    metrics = class_metrics(estimate, truth, classes=4)
    expected = (2 / (4 + 1e-4) + 1 / (2 + 1e-4) + 0) / 3
    assert metrics["miou"] == pytest.approx(expected, rel=1e-9)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    with pytest.raises(InputError, match="holds class 2 but these weights know 2 classes"):
        class_metrics(estimate, truth, classes=2)


def test_data_residual():
    camera = crsdun.CassiCamera(torch.ones(16, 20), bands=3)
    y = camera.forward(TRUTH)
    assert data_residual(y, TRUTH, camera) == 0
    assert data_residual(y, 0 * TRUTH, camera) == 1
    assert data_residual(y, 1.25 * TRUTH, camera) == pytest.approx(0.25, rel=1e-5)


def test_multiply_adds_of_a_network_grow_with_its_pixels():
    network = crsdun.create("crsdun_1stg", bands=2, classes=2)
    once, twice = multiply_adds(network, 32, 32), multiply_adds(network, 64, 32)
    assert math.isclose(twice, 2 * once, rel_tol=1e-3)
    assert parameters(network) == sum(value.numel() for value in network.parameters())
    assert next(network.parameters()).device.type == "cpu"
