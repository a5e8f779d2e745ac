"""How far a class map can be believed: against probabilities that are known, and pixels that are like nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.evaluation.metrics import calibration_error, reliability
from crsdun.methods.doubt import (
    COVERAGE,
    LEVELS,
    SQUARE,
    calibrated,
    doubt_of,
    fitted_temperature,
    log_odds,
    odds_scale,
    rank,
    seen,
)
from crsdun.optics import Estimate, ModelCard

BANDS, CLASSES, SIDE = 6, 4, 120
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0)


def made(seed: int, strange: bool = False) -> tuple[Estimate, torch.Tensor]:
    """A scene of squares of each class, or of spectra that no class has, as a network that is too sure sees it."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.randint(0, CLASSES, (SIDE // 20, SIDE // 20), generator=generator)
    truth = squares.repeat_interleave(20, 0).repeat_interleave(20, 1)
    light = torch.linspace(0, 1, BANDS)
    spectra = torch.stack([0.3 + 0.1 * k * light for k in range(CLASSES)])
    if strange:
        spectra = spectra.flip(1) + 0.4 * (light > 0.7)
    cube = spectra[truth].permute(2, 0, 1) + 0.02 * torch.randn(BANDS, SIDE, SIDE, generator=generator)
    honest = 2.0 * torch.nn.functional.one_hot(truth, CLASSES).permute(2, 0, 1)
    honest = honest + torch.randn(CLASSES, SIDE, SIDE, generator=generator)
    # The truth follows from the honest logits, so these are calibrated; the network's are three times as large.
    drawn = torch.multinomial(honest.softmax(0).flatten(1).T, 1, generator=generator)[:, 0].view(SIDE, SIDE)
    return Estimate([cube[None]], [3 * honest[None]]), drawn


def columns(each: torch.Tensor) -> torch.Tensor:
    return each.flatten(1).T


@pytest.fixture(scope="module")
def card() -> ModelCard:
    (estimate, truth), wavelengths = made(0), WAVELENGTHS
    features = seen(estimate.cube[0], estimate.logits[0][0], wavelengths, wavelengths)
    known = calibrated(columns(estimate.logits[0][0]), columns(features), truth.flatten(), scenes="made")
    return ModelCard(wavelengths=wavelengths, calibration=known)


def test_the_temperature_is_the_one_that_was_put_in(card):
    assert card.calibration.temperature == pytest.approx(3, rel=0.05)
    logits = torch.tensor([[0.0, 1.0]] * 4)
    # Right in 3 of 4 pixels: the odds must be 3, so 1/T = log 3.
    assert fitted_temperature(logits, torch.tensor([1, 1, 1, 0])) == pytest.approx(1 / math.log(3), rel=1e-3)


def test_confidences_are_probabilities_after_calibration(card):
    estimate, truth = made(1)
    raw, found = doubt_of(estimate, ModelCard()), doubt_of(estimate, card, WAVELENGTHS)
    logits = estimate.logits[0][0]
    assert calibration_error(reliability(logits, truth)) > 0.1
    assert calibration_error(reliability(logits / card.calibration.temperature, truth)) < 0.03
    right = estimate.classes[0] == truth
    assert abs(found.confidence.mean() - float(right.float().mean())) < 0.02
    assert raw.confidence.mean() > found.confidence.mean() + 0.1


def test_familiar_pixels_stay_known_and_strange_ones_do_not(card):
    familiar, strange = (doubt_of(made(2, odd)[0], card, WAVELENGTHS) for odd in (False, True))
    assert float(familiar.unknown.mean()) == pytest.approx(1 - COVERAGE, abs=0.02)
    assert strange.unknown.mean() > 0.99
    assert strange.confidence.mean() == pytest.approx(
        familiar.confidence.mean(), abs=0.02
    )  # the softmax sees nothing
    half = doubt_of(made(2)[0], card, WAVELENGTHS, coverage=0.5)
    assert float(half.unknown.mean()) == pytest.approx(0.5, abs=0.05)


def test_without_a_calibration_nothing_is_unknown():
    estimate, _ = made(1)
    found = doubt_of(estimate, ModelCard())
    assert found.doubt is None
    assert found.unknown is None
    np.testing.assert_allclose(found.confidence, estimate.logits[0][0].softmax(0).amax(0))
    assert doubt_of(Estimate(estimate.cubes), ModelCard()) is None


def test_a_class_that_no_scene_had_is_beyond_doubt():
    estimate, truth = made(0)
    logits, truth = columns(estimate.logits[0][0]), truth.flatten()
    features = columns(seen(estimate.cube[0], estimate.logits[0][0], None, None))
    some = (truth != 3) & (logits.argmax(1) != 3)
    known = calibrated(logits[some], features[some], truth[some])
    found = doubt_of(estimate, ModelCard(calibration=known))
    assert (found.doubt[estimate.classes[0].numpy() == 3] == 1).all()


def test_other_bands_are_interpolated():
    rising = torch.linspace(0.1, 0.6, BANDS)[:, None, None].expand(-1, 8, 8)
    between = tuple(np.add(WAVELENGTHS[:-1], 25))
    finer = torch.from_numpy(np.interp(between, WAVELENGTHS, rising[:, 0, 0])).float()[:, None, None].expand(-1, 8, 8)
    logits = torch.zeros(2, 8, 8)
    here = seen(rising, logits, WAVELENGTHS, between)
    torch.testing.assert_close(here, seen(finer, logits, between, between))
    assert here.shape == (BANDS - 1 + 2, 8, 8)


def test_features_do_not_depend_on_noise_of_single_pixels():
    cube = torch.full((BANDS, SIDE, SIDE), 0.5)
    noisy = cube + 0.1 * torch.randn(cube.shape, generator=torch.Generator().manual_seed(0))
    shape = seen(noisy, torch.zeros(1, SIDE, SIDE), None, None)[:BANDS]
    assert float(shape.std()) < 1.5 * 0.1 / 0.55 / SQUARE


def test_log_odds_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [200.0, 0.0, -5.0]])
    p = logits[0].softmax(0)
    assert float(log_odds(logits)[0]) == pytest.approx(float(((1 - p[0]) / p[0]).log()), rel=1e-5)
    assert float(log_odds(logits)[1]) == pytest.approx(-200, rel=1e-3)  # where the softmax is exactly 1
    scale = odds_scale(logits.T[..., None])
    assert scale.shape == (2, 1)
    assert 0 == float(scale[1]) < float(scale[0]) < 0.5


def test_ranks_are_those_of_the_table():
    table = tuple(10 * level for level in LEVELS)
    wanted = torch.tensor([-1.0, 0.0, 2.5, 9.55, 10.0, 99.0])
    torch.testing.assert_close(rank(wanted, table), torch.tensor([0.0, 0.0, 0.25, 0.955, 1.0, 1.0]))


def test_a_calibration_of_something_else_is_refused(card):
    estimate, _ = made(1)
    for damaged in ("means", "whiteners"):
        for text in ("AAAA", "no base64"):
            other = replace(card, calibration=replace(card.calibration, **{damaged: text}))
            with pytest.raises(InputError, match="calibrate them again"):
                doubt_of(estimate, other, WAVELENGTHS)
    short = replace(card, calibration=replace(card.calibration, doubt=(0.0, 1.0)))
    with pytest.raises(InputError, match="calibrate them again"):
        doubt_of(estimate, short, WAVELENGTHS)
    with pytest.raises(InputError, match="too few to calibrate"):
        calibrated(torch.zeros(9, 2), torch.zeros(9, 3), torch.zeros(9).long())
