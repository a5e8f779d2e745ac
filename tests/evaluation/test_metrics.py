"""Metrics against their definitions written out."""

import math

import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import cube_metrics, multiply_adds, parameters, spectral_angles
from crsdun.evaluation.metrics import (
    authenticity_pairs,
    calibration_error,
    class_figures,
    class_scores,
    confusion_matrix,
    doubt_figures,
    doubt_histogram,
    reliability,
)
from crsdun.methods import data_residual

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
    truth = torch.cat([TRUTH[:, :8], 0 * TRUTH[:, 8:]], dim=1)  # black below
    cosine = torch.nn.functional.cosine_similarity((TRUTH + 0.1).double(), truth.double(), dim=0)
    torch.testing.assert_close(spectral_angles(TRUTH + 0.1, truth), cosine.arccos().rad2deg(), rtol=0, atol=1e-9)


def test_black_pixels_have_no_spectral_angle():
    truth = TRUTH.clone()
    truth[:, :8] = 0
    angle = cube_metrics(truth + 0.01, truth)["sam_deg"]
    assert angle == pytest.approx(cube_metrics(truth[:, 8:] + 0.01, truth[:, 8:])["sam_deg"], rel=1e-6)


def test_ssim_is_one_for_equals_and_unknown_for_small_scenes():
    assert cube_metrics(TRUTH, TRUTH)["ssim"] == pytest.approx(1)
    assert cube_metrics(TRUTH.flip(1), TRUTH)["ssim"] < 0.2
    assert cube_metrics(TRUTH[:, :5], TRUTH[:, :5])["ssim"] is None


def test_a_black_scene_has_no_spectral_angle():
    assert cube_metrics(TRUTH, 0 * TRUTH)["sam_deg"] is None


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="crop or resample the truth"):
        cube_metrics(TRUTH, TRUTH[:, :5])
    with pytest.raises(InputError, match="class map has shape"):
        confusion_matrix(torch.zeros(2, 2).long(), torch.zeros(2, 3).long(), 2)


def test_miou_by_hand():
    #                     background, then classes 1, 2, 3; class 3 never occurs; two pixels are unlabelled
    truth = torch.tensor([[0, 0, 1, 1, 1, 2, -1, -1]])
    estimate = torch.tensor([[0, 1, 1, 1, 2, 2, 1, 2]])
    metrics = class_figures(confusion_matrix(estimate, truth, classes=4))
    expected = (2 / (4 + 1e-4) + 1 / (2 + 1e-4) + 0) / 3
    assert metrics["miou"].item() == pytest.approx(expected, rel=1e-9)
    assert metrics["miou_present"].item() == pytest.approx(expected * 3 / 2, rel=1e-9)
    assert metrics["accuracy"].item() == pytest.approx(4 / 6)
    background = class_figures(confusion_matrix(estimate, torch.zeros_like(truth), classes=4))
    assert math.isnan(background["miou_present"])
    with pytest.raises(InputError, match="holds class 2 but these weights know 2 classes"):
        confusion_matrix(estimate, truth, classes=2)


def test_data_residual():
    camera = crsdun.CassiCamera(torch.ones(16, 20), bands=3)
    y = camera.forward(TRUTH)
    assert data_residual(y, TRUTH, camera) == 0
    assert data_residual(y, 0 * TRUTH, camera) == 1
    assert data_residual(y, 1.25 * TRUTH, camera) == pytest.approx(0.25, rel=1e-5)


def test_the_data_residual_of_a_measurement_without_light_is_a_number():
    camera = crsdun.CassiCamera(torch.ones(16, 20), bands=3)
    dark = torch.zeros_like(camera.forward(TRUTH))
    assert data_residual(dark, TRUTH, camera) == 1
    assert data_residual(dark, 0 * TRUTH, camera) == 0


def test_multiply_adds_of_a_network_grow_with_its_pixels():
    network = crsdun.create("crsdun_1stg", bands=2, classes=2)
    once, twice = multiply_adds(network, 32, 32), multiply_adds(network, 64, 32)
    assert math.isclose(twice, 2 * once, rel_tol=1e-3)
    assert parameters(network) == sum(value.numel() for value in network.parameters())
    assert next(network.parameters()).device.type == "cpu"


# Rows are true classes, columns estimated ones; plum never occurs.
NAMES = ("background", "real pear", "fake pear", "real plum", "fake plum", "pit")
CONFUSION = torch.tensor(
    [
        [50, 2, 0, 0, 0, 0],
        [1, 6, 3, 0, 0, 0],
        [0, 2, 4, 0, 2, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 3],
    ]
)


def test_every_class_by_hand():
    scores = class_scores(CONFUSION)
    assert scores["pixels"].tolist() == [52, 10, 8, 0, 0, 4]
    assert scores["iou"][1] == pytest.approx(6 / (10 + 10 - 6), rel=1e-4)
    assert scores["precision"].tolist() == pytest.approx([50 / 51, 6 / 10, 4 / 8, 0, 0, 1])
    assert scores["recall"].tolist() == pytest.approx([50 / 52, 6 / 10, 4 / 8, 0, 0, 3 / 4])
    assert scores["f1"].tolist() == pytest.approx([100 / 103, 0.6, 0.5, 0, 0, 6 / 7])


def test_means_leave_the_background_out_and_count_absent_classes_as_nothing():
    figures = {name: float(value) for name, value in class_figures(CONFUSION, NAMES).items()}
    iou = [6 / 14, 4 / 12, 3 / 4]
    assert figures["miou"] == pytest.approx(sum(iou) / 5, rel=1e-4)
    assert figures["miou_present"] == pytest.approx(sum(iou) / 3, rel=1e-4)
    assert figures["recall"] == pytest.approx((0.6 + 0.5 + 0.75) / 5)
    assert figures["f1"] == pytest.approx((0.6 + 0.5 + 6 / 7) / 5)
    assert figures["accuracy"] == pytest.approx(63 / 74)


def test_real_and_fake_by_hand():
    figures = class_figures(CONFUSION, NAMES)
    # 18 pear pixels; 15 taken for a pear, 10 of them with the right authenticity
    assert float(figures["kind_accuracy"]) == pytest.approx(15 / 18)
    assert float(figures["authenticity_accuracy"]) == pytest.approx(10 / 15)
    assert authenticity_pairs(NAMES) == [(1, 2), (3, 4)]
    assert "kind_accuracy" not in class_figures(CONFUSION, ["a", "b", "real c", "d", "fake e", "f"])


def test_figures_of_many_matrices_at_once():
    many = class_figures(torch.stack([CONFUSION, 2 * CONFUSION, CONFUSION.T]), NAMES)
    for name, value in class_figures(CONFUSION.T, NAMES).items():
        assert float(many[name][2]) == pytest.approx(float(value))


def test_unlabelled_pixels_count_nowhere():
    truth = torch.tensor([[0, 1, 1, -1]])
    logits = torch.zeros(2, 1, 4)
    logits[1] = torch.tensor([[-2.0, 3.0, -1.0, 9.0]])
    other = logits.clone()
    other[:, 0, 3] = 0
    estimate = logits.argmax(0)
    assert confusion_matrix(estimate, truth, 2).tolist() == [[1, 0], [1, 1]]
    assert torch.equal(reliability(logits, truth), reliability(other, truth))
    assert calibration_error(reliability(logits, torch.full((1, 4), -1))) is None


def test_the_calibration_error_by_hand():
    # Four pixels say 90 %, of which three are right; two say 60 %, of which none is.
    sure, unsure = math.log(9), math.log(1.5)
    logits = torch.zeros(2, 1, 6)
    logits[0] = torch.tensor([[sure] * 4 + [unsure] * 2])
    truth = torch.tensor([[0, 0, 0, 1, 1, 1]])
    expected = 4 / 6 * (0.9 - 0.75) + 2 / 6 * 0.6
    assert calibration_error(reliability(logits, truth)) == pytest.approx(expected, rel=1e-5)


def test_the_calibration_error_is_that_of_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits = 4 * torch.randn(5, 40, 50, generator=generator)
    logits[:, 0] *= 100  # confidences of exactly 1
    truth = torch.randint(-1, 5, (40, 50), generator=generator)
    theirs = multiclass_calibration_error(logits.flatten(1).T, truth.flatten(), 5, n_bins=15, ignore_index=-1)
    assert calibration_error(reliability(logits, truth)) == pytest.approx(float(theirs), rel=1e-5)


def test_how_doubt_tells_wrong_pixels_by_hand():
    # Wrong pixels have the doubts 0.9 and 0.5; of the three right ones one has 0.5 too, and an unlabelled one counts
    # nowhere: 2·3 pairs, of which 5 are in order and one is a tie.
    doubt = torch.tensor([[0.9, 0.5, 0.5, 0.1, 0.2, 1.0]])
    estimate, truth = torch.tensor([[0, 1, 0, 0, 0, 0]]), torch.tensor([[1, 0, 0, 0, 0, -1]])
    histogram = doubt_histogram(doubt, estimate, truth)
    assert histogram.sum(1).tolist() == [3, 2]
    assert doubt_figures(histogram) == {"doubt_auroc": pytest.approx(5.5 / 6)}
    figures = doubt_figures(histogram, coverage=0.8)
    assert figures["known"] == pytest.approx(4 / 5)
    assert figures["accuracy_known"] == pytest.approx(3 / 4)
    assert doubt_figures(doubt_histogram(doubt, truth.clamp(min=0), truth))["doubt_auroc"] is None


def test_the_area_of_doubt_is_that_of_torchmetrics():
    from torchmetrics.functional.classification import binary_auroc

    doubt = torch.rand(30, 40, generator=generator).mul(1000).floor() / 1000 + 0.0005
    wrong = torch.rand(30, 40, generator=generator) < doubt**2
    theirs = float(binary_auroc(doubt.flatten(), wrong.flatten().long()))
    ours = doubt_figures(doubt_histogram(doubt, wrong.long(), torch.zeros(30, 40).long()))["doubt_auroc"]
    assert ours == pytest.approx(theirs, abs=1e-6)
