"""Colour against colour-science's own spectral integration, and pictures of awkward cubes."""

import warnings

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import KAIST_WAVELENGTHS, nbk7_wavelengths
from crsdun.scenes import Scene
from crsdun.viewing import (
    auto_exposure,
    cube_to_srgb,
    false_colour,
    measurement_picture,
    picture,
    wavelength_to_rgb,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import colour

NBK7 = nbk7_wavelengths()
D65 = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]


def lab(srgb: np.ndarray) -> np.ndarray:
    return colour.XYZ_to_Lab(colour.sRGB_to_XYZ(srgb), D65)


def seen_by_the_library(spectrum: colour.SpectralDistribution, illuminant: str) -> np.ndarray:
    """sRGB of a full spectrum under an illuminant, adapted to D65, all by colour-science."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about every table that it trims or aligns
        lamp = colour.SDS_ILLUMINANTS[illuminant]
        xyz, white = (colour.sd_to_XYZ(sd, illuminant=lamp) / 100 for sd in (spectrum, colour.sd_ones()))
    adapted = colour.chromatic_adaptation(xyz, white, colour.xy_to_XYZ(D65), method="Von Kries", transform="Bradford")
    return np.clip(colour.XYZ_to_sRGB(adapted), 0, 1)


@pytest.mark.parametrize(
    ("wavelengths", "illuminant", "worst", "mean"),
    [(NBK7, "D65", 1.0, 0.5), (NBK7, "A", 1.0, 0.5), (KAIST_WAVELENGTHS, "D65", 3.0, 1.0)],
    ids=["nbk7", "nbk7 under A", "kaist"],
)
def test_colour_checker_matches_the_integration_of_full_spectra(wavelengths, illuminant, worst, mean):
    patches = colour.SDS_COLOURCHECKERS["BabelColor Average"].values()
    expected = np.stack([seen_by_the_library(patch, illuminant) for patch in patches])
    cube = np.stack([np.interp(wavelengths, sd.wavelengths, sd.values) for sd in patches], axis=1)[:, None]

    seen = cube_to_srgb(cube, wavelengths, illuminant, normalise=False)[0] / 255

    difference = colour.delta_E(lab(seen), lab(expected), method="CIE 2000")
    assert difference.max() < worst
    assert difference.mean() < mean


@pytest.mark.parametrize("illuminant", ["D65", "A", "E"])
@pytest.mark.parametrize(
    "wavelengths", [NBK7, KAIST_WAVELENGTHS, (450, 550, 650), (640, 700, 760, 900), (550,)], ids=len
)
def test_white_is_white_and_grey_is_neutral_whatever_the_bands(wavelengths, illuminant):
    ramp = np.linspace(0, 1, 32)
    cube = np.broadcast_to(ramp, (len(wavelengths), 1, 32))
    image = cube_to_srgb(cube, wavelengths, illuminant, normalise=False)[0].astype(int)
    assert image[-1].tolist() == [255, 255, 255]
    assert np.ptp(image, axis=1).max() == 0
    assert (np.diff(image[:, 0]) > 0).all()


@pytest.mark.parametrize(("nanometres", "channel"), [(450, 2), (530, 1), (640, 0)])
def test_light_of_one_colour_has_it(nanometres, channel):
    cube = np.zeros((28, 4, 4))
    cube[np.abs(np.asarray(NBK7) - nanometres).argmin()] = 1
    pixel = cube_to_srgb(cube, NBK7)[0, 0]
    assert pixel.argmax() == channel
    assert pixel[channel] == 255
    assert np.argmax(wavelength_to_rgb(nanometres)) == channel


def test_bands_may_come_in_any_order_and_twice():
    cube = np.random.default_rng(0).random((28, 5, 6))
    order = np.random.default_rng(1).permutation(28)
    expected = cube_to_srgb(cube, NBK7).astype(int)
    shuffled = cube_to_srgb(cube[order], np.asarray(NBK7)[order])
    doubled = cube_to_srgb(np.concatenate([cube, cube[:14]]), NBK7 + NBK7[:14])
    assert np.abs(shuffled - expected).max() <= 1
    assert np.abs(doubled - expected).max() <= 1


def test_invisible_bands_contribute_nothing():
    cube = np.random.default_rng(0).random((28, 5, 6))
    glowing = np.concatenate([cube, np.full((1, 5, 6), 100.0)])
    np.testing.assert_array_equal(cube_to_srgb(glowing, (*NBK7, 1000)), cube_to_srgb(cube, NBK7))


def test_no_visible_band_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"900–1100 nm.*false_colour"):
        cube_to_srgb(np.ones((3, 2, 2)), (900, 1000, 1100))


@pytest.mark.parametrize(
    ("cube", "wavelengths", "illuminant", "message"),
    [
        (np.ones((2, 2)), (500, 600), "D65", "shape"),
        (np.ones((2, 2, 2)), (500,), "D65", "2 bands but 1"),
        (np.full((1, 2, 2), np.inf), (500,), "D65", "4 infinite values"),
        (np.ones((1, 2, 2)), (500,), "candle", "illuminant"),
    ],
)
def test_what_cannot_be_drawn_is_refused(cube, wavelengths, illuminant, message):
    with pytest.raises(InputError, match=message):
        cube_to_srgb(cube, wavelengths, illuminant)


@pytest.mark.parametrize("side", [6, 64])
def test_exposure_ignores_a_hot_pixel_and_the_scale(side):
    cube = np.random.default_rng(0).random((28, side, side)) * 0.1
    calm = cube_to_srgb(cube, NBK7)
    hot = cube.copy()
    hot[:, 2, 2] = 1000
    burnt = cube_to_srgb(hot, NBK7)
    burnt[2, 2] = calm[2, 2]
    assert calm.max() == 255
    assert np.abs(burnt.astype(int) - calm).max() <= 12
    assert np.abs(cube_to_srgb(cube * 500, NBK7).astype(int) - calm).max() <= 1


def test_black_negative_and_constant_cubes():
    assert cube_to_srgb(np.zeros((28, 4, 4)), NBK7).max() == 0
    assert cube_to_srgb(np.full((28, 4, 4), -1.0), NBK7).max() == 0
    assert cube_to_srgb(np.full((28, 4, 4), 0.02), NBK7).min() == 255
    assert measurement_picture(np.zeros((4, 4))).max() == 0
    assert set(measurement_picture(np.full((4, 4), 3.0)).flat) == {128}


def test_truth_and_estimate_are_shown_alike():
    truth = np.random.default_rng(0).random((28, 8, 8))
    exposure = auto_exposure(truth, NBK7)
    np.testing.assert_array_equal(cube_to_srgb(truth, NBK7, exposure=exposure), cube_to_srgb(truth, NBK7))
    darker = cube_to_srgb(truth / 2, NBK7, exposure=exposure)
    assert darker.mean() < 0.8 * cube_to_srgb(truth, NBK7).mean()

    for wavelengths in (NBK7, None):
        image, _ = picture(Scene(truth / 2, wavelengths), like=Scene(truth, wavelengths))
        assert image.mean() < 0.8 * picture(Scene(truth, wavelengths))[0].mean()
    with pytest.raises(InputError, match="different bands"):
        picture(Scene(truth, NBK7), like=Scene(truth))


@pytest.mark.parametrize(
    ("bands", "wavelengths", "expected"),
    [
        (28, NBK7, "colour under D65 (28 bands, 400–730 nm)"),
        (6, None, "false colour (bands 6, 4, 2 as red, green, blue)"),
        (3, (900, 1000, 1100), "false colour (1100, 1000, 900 nm as red, green, blue)"),
        (3, (650, 700, 1100), "false colour (1100, 700, 650 nm as red, green, blue)"),
        (1, (500,), "grey (its only band)"),
    ],
)
def test_a_picture_says_what_it_shows(bands, wavelengths, expected):
    cube = np.random.default_rng(0).random((bands, 7, 9))
    image, description = picture(Scene(cube, wavelengths))
    assert description == expected
    assert image.shape == (7, 9, 3)
    assert image.dtype == np.uint8
    assert image.std() > 20


def test_false_colour_puts_the_bands_where_they_belong():
    cube = np.stack([np.tile(np.linspace(0, top, 50), (4, 1)) for top in (1, 10, 100)])
    cube[2] = cube[2, :, ::-1]
    image = false_colour(cube, (2, 0, 1))
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, -1].tolist() == [0, 255, 255]
    with pytest.raises(InputError, match=r"0\.\.2"):
        false_colour(cube, (0, 1, 3))


def test_a_measurement_is_stretched_over_its_greys():
    frame = np.random.default_rng(0).random((20, 30)) * 14 + 3
    frame[3, 3] = 1e6
    image = measurement_picture(frame)
    assert image.shape == (20, 30)
    assert 100 < np.median(image) < 155
    with pytest.raises(InputError, match="measurement"):
        measurement_picture(np.zeros((2, 3, 4)))
