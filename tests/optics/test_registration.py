"""Displacements of pictures of one mask, and the curve that they follow."""

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from crsdun.errors import InputError
from crsdun.optics import random_mask
from crsdun.optics.registration import dispersion_curve, displacements

NAMES = ("450 nm", "500 nm", "550 nm", "600 nm")
MOVES = np.array([[0, 0], [0.3, 3.25], [-1.4, 7.5], [2.75, 12.1]])


def moved(mask: np.ndarray, move: np.ndarray) -> np.ndarray:
    """An exact displacement, as optics do it, of a slightly blurred picture with a dark border."""
    return np.fft.ifft2(fourier_shift(np.fft.fft2(mask), move)).real


@pytest.mark.parametrize("noise", [0, 0.1])
def test_fractions_of_a_pixel_in_any_direction(noise):
    rng = np.random.default_rng(0)
    picture = np.pad(gaussian_filter(random_mask(80, 72, seed=1), 0.5), ((8, 8), (8, 24)))
    light = np.array([1, 3, 0.4, 2])
    frames = np.stack([level * moved(picture, move) for level, move in zip(light, MOVES, strict=True)])
    frames += noise * light[:, None, None] * rng.standard_normal(frames.shape)
    found = displacements(frames, NAMES)
    assert np.abs(found.moves - MOVES).max() < (0.02 if noise == 0 else 0.05)
    assert found.repeats.shape == (0, 2)


def test_light_everywhere_and_a_gradient_of_it_do_not_matter():
    picture = gaussian_filter(random_mask(100, 120, seed=2), 0.5)
    frames = np.stack([moved(picture, move)[10:90, 10:100] for move in MOVES])
    frames *= np.linspace(0.5, 1, frames.shape[-1])
    assert np.abs(displacements(frames, NAMES).moves - MOVES).max() < 0.05


STEPS = np.array([[0, 0], [0, 3], [0, 6], [0, 9]])


def repeating(period: tuple[int, int], noise: float = 0.05) -> np.ndarray:
    """Frames of a mask that repeats itself and fills them."""
    rng = np.random.default_rng(0)
    tile = gaussian_filter(random_mask(*period, seed=1), 0.5, mode="wrap")
    picture = np.tile(tile, (120 // period[0] + 1, 160 // period[1] + 1))
    frames = np.stack([picture[10:90, 30 - right : 110 - right] for _, right in STEPS])
    return frames + noise * rng.standard_normal(frames.shape)


@pytest.mark.parametrize("period", [(40, 20), (30, 31)])
def test_a_mask_that_repeats_is_told(period):
    found = displacements(repeating(period), NAMES)
    assert np.abs(found.moves - STEPS).max() < 0.05, "the least step from one frame to the next"
    assert sorted(map(tuple, np.abs(found.repeats[:2]).tolist()))[0] in {(0, period[1]), (period[0], 0)}
    further = STEPS + np.arange(4)[:, None] * (0, period[1])
    if 3 * period[1] < 62:  # still seen by most of both
        assert np.abs(displacements(repeating(period), NAMES, further).moves - further).max() < 0.05


def test_stripes_tell_nothing_along_themselves():
    frames = repeating((1, 160), noise=0.0)
    found = displacements(frames, NAMES)
    assert np.abs(found.moves - STEPS)[:, 1].max() < 0.05
    assert len(found.repeats)
    assert not found.repeats[0][1]


def test_two_curves_that_predict_equally_well_are_told():
    few = np.linspace(450, 650, 8)
    way = (few**-2 - few[0] ** -2) * -4e6
    noise = np.random.default_rng(0).standard_normal(8)
    told, exact = (dispersion_curve(np.stack([0 * way, way + each * noise], 1), few) for each in (0.3, 0.02))
    assert (told.of, told.degree, told.rival_of) == ("1/λ²", 1, "degree 2 in λ")
    assert np.hypot(*(told.rival - told.down_and_right).T).max() > 0.3
    assert exact.rival is None, "where the frames say more, one predicts far better"


def test_another_mask_is_named():
    frames = np.stack([random_mask(64, 64, seed=each) for each in (0, 0, 0, 1)])
    with pytest.raises(InputError, match="600 nm does not show the mask that 550 nm shows"):
        displacements(frames, NAMES)
    frames[1] = 7  # without any detail
    with pytest.raises(InputError, match="500 nm does not show the mask"):
        displacements(frames, NAMES)


WAVELENGTHS = np.linspace(450, 650, 10)
PRISM = (WAVELENGTHS**-2 - WAVELENGTHS[0] ** -2) * -4e6


def test_the_simplest_curve_that_predicts_as_well_as_any():
    noise = 0.02 * np.random.default_rng(0).standard_normal((10, 2))
    curve = dispersion_curve(np.stack([0.2 * PRISM, PRISM], 1) + noise, WAVELENGTHS)
    assert (curve.of, curve.degree, curve.strays) == ("1/λ²", 1, ())
    assert np.abs(curve.down_and_right - np.stack([0.2 * PRISM, PRISM], 1)).max() < 0.04
    assert curve.axis_degrees == pytest.approx(np.degrees(np.arctan(0.2)), abs=0.3)
    assert 0.005 < curve.rms < curve.held_out < 0.05
    grating = np.stack([0 * WAVELENGTHS, 0.1 * (WAVELENGTHS - 450)], 1)
    assert (dispersion_curve(grating, WAVELENGTHS).of, dispersion_curve(grating, None).of) == ("λ", "band")


def test_one_band_off_the_curve_takes_no_part_in_it():
    moves = np.stack([0 * PRISM, PRISM], 1)
    wrong = moves.copy()
    wrong[6] += [1.5, -2]
    curve = dispersion_curve(wrong, WAVELENGTHS)
    assert curve.strays == (6,)
    assert curve.residuals[6] == pytest.approx(2.5, abs=0.01)
    assert np.abs(curve.down_and_right - moves).max() < 0.01


def test_what_follows_no_curve_stays_as_measured():
    moves = np.random.default_rng(0).uniform(0, 20, (10, 2))
    curve = dispersion_curve(moves, WAVELENGTHS)
    assert curve.degree is None
    assert np.array_equal(curve.down_and_right, moves)
    few = dispersion_curve(moves[:3], WAVELENGTHS[:3])
    assert few.degree is None
    assert few.residuals.max() == 0
