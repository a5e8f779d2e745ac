"""A camera from frames of its mask: what is found, how exactly, and what is said of frames that do not tell."""

from dataclasses import replace

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import CalibrationFrames, CassiCamera, calibrate, random_mask
from tests.optics.simulated_calibration import DARK, simulated


@pytest.fixture(scope="module")
def prism():
    return simulated()


@pytest.fixture(scope="module")
def found(prism):
    return calibrate(prism.taken)


def test_a_tilted_uneven_fractional_dispersion(prism, found):
    assert np.abs(np.array(found.file.offsets) - prism.camera.offsets).max() < 0.05
    assert (found.curve.of, found.curve.degree) == ("1/λ²", 1)
    assert found.curve.axis_degrees == pytest.approx(15, abs=0.3)
    assert found.file.wavelengths == prism.taken.wavelengths


def test_the_mask_of_each_band_with_its_blur_and_vignetting(prism, found):
    true, masks = prism.camera.mask.numpy(), found.file.mask
    assert masks.shape == true.shape
    assert np.sqrt(((masks - true) ** 2).mean()) < 0.04
    for mask, band in zip(masks, true, strict=True):
        assert np.corrcoef(mask.ravel(), band.ravel())[0, 1] > 0.99
        assert (mask * band).sum() / (mask * mask).sum() == pytest.approx(1, abs=0.03)  # the level of open elements
    assert found.levels == pytest.approx(prism.light, rel=0.04)


def test_hot_and_dead_pixels(prism, found):
    bad = ~found.file.valid
    assert bad[prism.bad].mean() > 0.9
    assert bad[~prism.bad].mean() < 0.002
    assert found.file.dark.shape == bad.shape
    assert found.residuals.max() < 0.1
    assert found.warnings == ()


def test_what_the_camera_makes_of_its_masks_are_the_frames(prism, found):
    camera = CassiCamera.load(found.file)
    light = camera.disperse(camera.mask_per_band).numpy()
    assert np.abs(light - found.explained).max() < 1e-5
    frames = (prism.taken.frames - float(DARK)) / found.levels[:, None, None]
    error = np.where(found.file.valid, frames - light, 0)
    assert np.sqrt((error**2).mean()) < 0.05


def test_whole_steps_and_one_mask_where_that_is_all_there_is():
    exact = simulated(angle=0, step=2, blurred=False, noise=0.02)
    offsets = [(0, 2 * band) for band in range(8)]
    taken = replace(exact.taken, wavelengths=None)
    frames = [np.roll(exact.taken.frames[0], 2 * band, 1) for band in range(8)]
    found = calibrate(replace(taken, frames=np.stack(frames)))
    assert found.file.offsets == tuple(offsets)
    assert CassiCamera.load(found.file).step == 2
    assert found.file.mask.ndim == 2
    assert (found.curve.of, found.curve.degree) == ("band", 1)


def test_given_offsets_are_taken(prism):
    offsets = [tuple(move) for move in prism.camera.offsets]
    found = calibrate(prism.taken, offsets)
    assert found.file.offsets == tuple(offsets)
    assert found.curve is None
    assert np.abs(found.moves - offsets).max() < 0.1


def test_whites_of_the_bands_tell_what_open_elements_let_through(prism):
    light = np.ones(prism.taken.frames.shape[1:]) * 2 * prism.light[:, None, None] + DARK
    found = calibrate(replace(prism.taken, band_whites=light))
    assert found.levels == pytest.approx(2 * prism.light, rel=3e-3)
    assert np.percentile(found.file.mask, 99) == pytest.approx(0.5, abs=0.03)


def test_one_mask_lets_through_what_the_whites_of_the_bands_tell():
    rng, mask = np.random.default_rng(0), random_mask(64, 64, seed=1)
    transmission = np.linspace(1, 0.8, 6)

    def taken(transmission, light):
        frames = np.full((6, 64, 74), 20.0)
        for band in range(6):
            frames[band, :, 2 * band : 2 * band + 64] += 3000 * transmission[band] * light[band] * mask
        whites = np.broadcast_to(20 + 3000 * light[:, None, None], frames.shape)
        noisy = frames + rng.normal(0, 2, frames.shape)
        return CalibrationFrames(noisy, tuple("abcdef"), dark=20.0, band_whites=whites)

    for light in (np.ones(6), np.linspace(0.5, 1, 6)):
        found = calibrate(taken(transmission, light))
        assert found.file.mask.shape == (6, 64, 64)
        levels = [np.median(each[mask == 1]) for each in found.file.mask]
        assert levels == pytest.approx(transmission, abs=5e-3)
        assert found.residuals.max() < 0.01
        assert found.warnings == ()
        assert calibrate(replace(taken(transmission, light), band_whites=None)).file.mask.shape == (64, 64)
        assert calibrate(taken(np.ones(6), light)).file.mask.shape == (64, 64)
    (told,) = calibrate(taken(1.5 * transmission, np.ones(6))).warnings
    assert told.startswith(
        "open elements let through up to 1.5 times the light of the white frames of the bands: were"
    )
    with pytest.raises(InputError, match="up to 3 times the light that was measured without it; take band_whites"):
        calibrate(taken(3 * transmission, np.ones(6)))


def test_a_white_evens_out_the_detector(prism):
    sensitivity = np.linspace(0.6, 1, prism.taken.frames.shape[2])
    frames = DARK + (prism.taken.frames.astype(float) - DARK) * sensitivity
    white = np.broadcast_to(DARK + 3000 * sensitivity, frames.shape[1:])
    uneven, evened = (calibrate(replace(prism.taken, frames=frames, white=each)) for each in (None, white))
    true = prism.camera.mask.numpy()
    errors = [np.abs(each.file.mask / each.file.mask.mean() - true / true.mean()).mean() for each in (uneven, evened)]
    assert errors[1] < 0.5 * errors[0]
    assert np.array_equal(evened.file.white, white.astype(np.float32))


# -- one picture ---------------------------------------------------------------------------------------------------


def test_one_picture_and_a_step():
    rng, mask = np.random.default_rng(0), random_mask(40, 48, seed=3)
    frame = (DARK + 2000 * mask + 20 * rng.standard_normal(mask.shape)).round()
    dark = np.full(mask.shape, DARK)
    taken = CalibrationFrames(
        frame[None], ("mask.tif",), (450.0, 500.0, 550.0), dark, np.full(mask.shape, DARK + 2000)
    )
    found = calibrate(taken, [(0, 0), (0, 2), (0, 4)])
    assert np.abs(found.file.mask - mask).max() < 0.1
    assert found.file.mask.shape == (40, 48)
    assert found.file.dark is found.file.white is None  # these are of the mask, not of the wider detector
    assert found.warnings[0].startswith("the dark frame and the white frame had the size of the picture")
    level = calibrate(replace(taken, dark=DARK, white=None), [(0, 0), (0, 2), (0, 4)])
    assert level.file.dark.shape == level.file.detector == (40, 52)
    assert (level.file.dark == DARK).all()
    assert level.warnings == ()
    with pytest.raises(InputError, match=r"one picture of the mask does not tell how.*set step or offsets"):
        calibrate(taken)


# -- what is refused, and what is said -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dark": np.zeros((5, 6))}, r"the dark has 5×6 pixels but the frames \d+×\d+"),
        ({"white": np.ones((5, 6))}, r"the white has 5×6 pixels but the frames \d+×\d+"),
        ({"dark": 5000.0}, "were frames and dark swapped"),
        ({"white": 4000.0}, "one white level does not tell how sensitive each pixel is; give a frame with white"),
        ({"white": np.full((76, 76), 10.0)}, "the white has 10 counts and the dark 100; were they swapped"),
        ({"band_whites": 2}, "there are 2 white frames for 8 bands"),
        ({"dark": float("nan")}, "the dark holds NaN"),
    ],
)
def test_what_does_not_fit_together(prism, changes, message):
    shape = prism.taken.frames.shape[1:]
    if "band_whites" in changes:
        changes = {"band_whites": np.full((changes["band_whites"], *shape), 4000)}
    with pytest.raises(InputError, match=message):
        replace(prism.taken, **changes)


def test_frames_of_the_mask_are_no_whites(prism):
    with pytest.raises(InputError, match="the white frames of the bands are those of the mask; give frames without"):
        replace(prism.taken, band_whites=prism.taken.frames.copy())


def test_frames_and_offsets_that_tell_nothing(prism):
    black = prism.taken.frames.copy()
    black[2] = 0
    with pytest.raises(InputError, match=r"507\.143 nm is not brighter than the dark"):
        calibrate(replace(prism.taken, frames=black))
    for offsets in ([(0, float("nan"))] * 8, [(0, 0)] * 8, [(0, 2 * band) for band in range(8)]):
        with pytest.raises(InputError, match="pixels off the displacements that were given; omit step and offsets"):
            calibrate(prism.taken, offsets)
    with pytest.raises(InputError, match="3 offsets for 8 frames"):
        calibrate(prism.taken, [(0, 0)] * 3)


def test_two_frames_are_enough():
    made = simulated(2, blurred=False, bad=0)
    found = calibrate(made.taken)
    assert np.abs(np.array(found.file.offsets) - made.camera.offsets).max() < 0.05
    assert found.curve.degree is None
    assert np.corrcoef(found.file.mask.ravel(), made.camera.mask[0].ravel())[0, 1] > 0.98


def test_more_dispersion_than_detector(prism):
    mask = random_mask(40, 60)
    frames = np.stack([np.pad(mask, ((0, 0), (right, 64 - right))) for right in (0, 40, 64)])[..., :70]
    with pytest.raises(
        InputError, match=r"leave a scene of .*×6 pixels .* take the frames with a larger detector window"
    ):
        calibrate(CalibrationFrames(frames, ("a", "b", "c")))


def test_an_ambiguous_dispersion_is_said_and_settled():
    tile = np.tile(random_mask(24, 12, seed=2), (5, 18))
    taken = CalibrationFrames(
        np.stack([tile[8:80, 70 - 3 * band : 200 - 3 * band] for band in range(4)]) * 2000.0 + 10,
        ("450 nm", "500 nm", "550 nm", "600 nm"),
        (450.0, 500.0, 550.0, 600.0),
        dark=10.0,
    )
    found = calibrate(taken)
    (told,) = (warning for warning in found.warnings if "ambiguous" in warning)
    assert "0 pixels further down and 12 to the right the mask looks like itself" in told
    assert found.file.measured["warnings"] == list(found.warnings)
    assert found.file.offsets == ((0, 0), (0, 3), (0, 6), (0, 9))
    (rival,) = found.file.measured["as_well"].values()
    assert np.allclose(rival, [(0, 0), (0, -9), (0, -18), (0, -27)], atol=0.1)
    given = calibrate(taken, [(0.0, -9.0 * band) for band in range(4)])
    assert not any("ambiguous" in warning for warning in given.warnings)
    assert given.file.offsets[1] == (0, -9)


def test_doubts_are_said():
    clean = simulated(noise=0.005, bad=0)
    no_dark = calibrate(replace(clean.taken, dark=None, frames=clean.taken.frames + np.uint16(900)))
    assert any("no dark frame was given" in warning for warning in no_dark.warnings)
    saturated = calibrate(replace(clean.taken, frames=np.minimum(clean.taken.frames, 1023)))
    assert any("have 1023 counts" in warning for warning in saturated.warnings)
    hot = np.random.default_rng(1).random(clean.taken.frames.shape[1:]) < 0.01
    frames, dark = (np.where(hot, 4095, each) for each in (np.minimum(clean.taken.frames, 4000), clean.taken.dark))
    full_in_the_dark = calibrate(replace(clean.taken, frames=frames, dark=dark))
    assert not any("have 4095 counts" in warning for warning in full_in_the_dark.warnings)
    wrong = clean.taken.frames.copy()
    wrong[3] = np.roll(wrong[3], 3, 1)
    stray = calibrate(replace(clean.taken, frames=wrong))
    assert any(warning.startswith(f"{clean.taken.names[3]} lies 3.") for warning in stray.warnings)
    wide = np.stack([np.tile(random_mask(64, 90, seed=1), (1, 2))[:, 50 - k : 130 - k] for k in range(8)]) * 1000.0
    outside = calibrate(CalibrationFrames(wide, clean.taken.names))
    assert any("beyond the part of the scene that all bands see" in warning for warning in outside.warnings)
