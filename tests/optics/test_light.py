"""Wavelengths, masks, noise and calibration."""

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import (
    KAIST_WAVELENGTHS,
    SensorNoise,
    nbk7_wavelengths,
    normalise_frame,
    parse_wavelengths,
    random_mask,
    to_nanometres,
)

# The 28-band grid that people who work with FVgNET agree on, rounded (nm).
FVGNET = (
    400, 405.268, 410.766, 416.510, 422.519, 428.811, 435.410, 442.339, 449.624, 457.296, 465.387, 473.934, 482.979,
    492.567, 502.751, 513.588, 525.146, 537.498, 550.729, 564.934, 580.223, 596.718, 614.558, 633.898, 654.912,
    677.793, 702.748, 730,
)  # fmt: skip


def test_prism_grid_from_the_sellmeier_formula():
    assert np.abs(np.subtract(nbk7_wavelengths(), FVGNET)).max() < 1e-3
    grid = nbk7_wavelengths(40, 450, 701)
    assert (grid[0], grid[-1], len(grid)) == (450, 701, 40)
    assert (np.diff(grid) > 0).all()


def test_units():
    assert to_nanometres([0.4, 0.7], "Micrometers") == (400, 700)
    assert to_nanometres([4000], "Angstrom") == (400,)
    with pytest.raises(InputError, match=r"'furlong'.*expected nm"):
        to_nanometres([1], "furlong")


@pytest.mark.parametrize(
    ("text", "wavelengths"),
    [
        ("450,460, 470", (450, 460, 470)),
        ("400-700:4", (400, 500, 600, 700)),
        ("0.4-0.7:4um", (400, 500, 600, 700)),
        ("450 460nm", (450, 460)),
        ("nbk7", nbk7_wavelengths(28)),
        ("nbk7:12", nbk7_wavelengths(12)),
        ("KAIST", KAIST_WAVELENGTHS),
        ("600", (600,)),
    ],
)
def test_what_a_person_types(text, wavelengths):
    assert parse_wavelengths(text) == pytest.approx(wavelengths)


@pytest.mark.parametrize("text", ["", "blue", "400-700", "400-700:0", "400-700:9999999999", "-450,460", "450;460"])
def test_what_cannot_be_read(text):
    with pytest.raises(InputError, match="cannot read the wavelengths"):
        parse_wavelengths(text)


def test_micrometres_without_a_unit_are_asked_about():
    with pytest.raises(InputError, match=r"0\.45-0\.65:5um"):
        parse_wavelengths("0.45-0.65:5")


def test_random_masks_are_seeded_and_open_as_asked():
    mask = random_mask(200, 300, transmission=0.3, seed=5)
    assert np.array_equal(mask, random_mask(200, 300, transmission=0.3, seed=5))
    assert not np.array_equal(mask, random_mask(200, 300, transmission=0.3, seed=6))
    assert set(np.unique(mask)) == {0, 1}
    assert abs(mask.mean() - 0.3) < 0.01
    with pytest.raises(InputError, match=r"transmission in 0\.\.1"):
        random_mask(2, 2, transmission=2)


FLAT = torch.full((400, 400), 5.0, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_poisson_noise_has_the_variance_of_photons():
    noisy = SensorNoise(photons=200)(FLAT, bands=28, generator=seeded())
    assert noisy.mean().item() == pytest.approx(5, rel=2e-3)
    assert noisy.var().item() == pytest.approx(5 / 200, rel=0.03)


def test_binomial_noise_is_the_recipe_of_the_field():
    noisy = SensorNoise(binomial_bits=11, quantum_efficiency=0.4)(FLAT, bands=28, generator=seeded())
    h = 5 * 2 / 28 * 1.2
    photons = int(h * 2**11 / 0.4)
    scale = 2**11 * 2 / 28 * 1.2
    assert noisy.mean().item() == pytest.approx(photons * 0.4 / scale, rel=2e-3)
    assert noisy.var().item() == pytest.approx(photons * 0.4 * 0.6 / scale**2, rel=0.03)


def test_read_noise_and_quantisation():
    noisy = SensorNoise(read_sigma=0.1)(FLAT, bands=28, generator=seeded())
    assert noisy.std().item() == pytest.approx(0.1, rel=0.02)
    ramp = torch.linspace(-1, 30, 5000, dtype=torch.float64)
    quantised = SensorNoise(bits=3)(ramp, bands=28)
    assert len(quantised.unique()) == 8
    assert (quantised.min().item(), quantised.max().item()) == (0, 28)
    inside = (ramp >= 0) & (ramp <= 28)
    assert (quantised - ramp)[inside].abs().max() <= 28 / 7 / 2 + 1e-12


@pytest.mark.parametrize("noise", [SensorNoise(photons=50, read_sigma=0.1, bits=8), SensorNoise(binomial_bits=12)])
def test_noise_is_seeded_and_never_without_light(noise):
    assert torch.equal(noise(FLAT, 28, seeded(3)), noise(FLAT, 28, seeded(3)))
    assert not torch.equal(noise(FLAT, 28, seeded(3)), noise(FLAT, 28, seeded(4)))
    assert torch.isfinite(noise(-FLAT, 28, seeded())).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photons": 1, "binomial_bits": 11}, "not both"),
        ({"photons": 0}, "between 0 and 1e12"),
        ({"quantum_efficiency": 1.5}, r"\(0, 1\]"),
        ({"photons": float("nan")}, "between 0 and 1e12"),
        ({"read_sigma": -1}, "0 or a positive number"),
        ({"read_sigma": float("nan")}, "0 or a positive number"),
        ({"bits": 0}, "between 1 and 32"),
    ],
)
def test_impossible_noise_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SensorNoise(**settings)


def test_counts_become_a_measurement():
    y = np.array([[0.0, 7.0], [14.0, 28.0]])
    dark, white, exposure = 64.0, 4000.0, 0.5
    frame = np.round(y / 28 * (white - dark) * exposure + dark).astype(np.uint16)
    normalised = normalise_frame(frame, bands=28, dark=dark, white=white, exposure=exposure)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, y, atol=0.01)
    np.testing.assert_allclose(
        normalise_frame(frame, 28, np.full((2, 2), dark), np.full((2, 2), white), exposure=0.5), y, atol=0.01
    )
    assert normalise_frame(np.array([[4095]]), bands=28, bit_depth=12).item() == 28
    assert normalise_frame(np.array([[10]]), bands=28, dark=60, bit_depth=12).item() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "need their scale"),
        ({"white": 10.0, "dark": 20.0}, "swapped"),
        ({"white": np.ones((3, 3)), "dark": 0.0}, "same detector window"),
        ({"bit_depth": 12, "exposure": 0}, "exposure ratio"),
        ({"bit_depth": 99}, "between 1 and 32"),
        ({"white": float("inf")}, "finite counts"),
    ],
)
def test_impossible_calibrations_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        normalise_frame(np.ones((2, 2)), bands=28, **settings)
