"""The displacement of a mask is found from exposures, and none where there is none."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d, gaussian_filter

from crsdun.errors import InputError
from crsdun.optics import Blur, CassiCamera, Distortion, SensorNoise, moved_mask, random_mask
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import align

HEIGHT, WIDTH = 112, 128


@pytest.fixture(scope="module")
def cubes():
    """Parts of three scenes, (28,H,W)."""
    produce = ProduceSet("validation")
    return [torch.from_numpy(produce[number].cube[:, 60 : 60 + HEIGHT, 60 : 60 + WIDTH]) for number in range(3)]


def grey(mask):
    return gaussian_filter(mask, 0.6)


def told_camera(blur=False, **dispersion):
    mask = random_mask(HEIGHT, WIDTH)
    return CassiCamera(grey(mask) if blur else mask, 28, **dispersion)


def exposed(cube, told, down, right, photons=None, edge="closed", smear=None, seed=0):
    """The frame (1,H,Wm) behind the mask that is told, moved."""
    mask = told.mask.numpy()
    if smear:
        for axis in (-2, -1):
            mask = convolve1d(mask, smear, axis=axis)
    true = told.with_mask(torch.from_numpy(moved_mask(mask, down, right, edge=edge)))
    y = true.forward(cube)
    return (SensorNoise(photons=photons)(y, 28, torch.Generator().manual_seed(seed)) if photons else y)[None]


@pytest.mark.parametrize("blur", [False, True], ids=["binary", "grey"])
@pytest.mark.parametrize("photons", [None, 500, 20])
def test_a_mask_that_has_not_moved_stays(cubes, blur, photons):
    told = told_camera(blur)
    for cube in cubes:
        camera, shift = align(exposed(cube, told, 0, 0, photons), told)
        assert camera is told
        assert (shift.down, shift.right, shift.significant, shift.gain) == (0, 0, False, 0)
        assert shift.explained > 0.1


@pytest.mark.parametrize("blur", [False, True], ids=["binary", "grey"])
@pytest.mark.parametrize(
    ("down", "right"),
    [(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5), (1, 0), (0, 1), (0, -1), (-1.5, 0), (0, 1.5), (0.7, -0.3), (-2, 2)],
)
def test_a_mask_that_has_moved_is_found(cubes, blur, down, right):
    told = told_camera(blur)
    camera, shift = align(exposed(cubes[0], told, down, right, photons=500), told)
    assert shift.significant
    assert (shift.down, shift.right) == (pytest.approx(down, abs=0.1), pytest.approx(right, abs=0.1))
    assert shift.gain > 0
    inside = (slice(3, -3), slice(3, -3))
    expected = moved_mask(told.mask.numpy(), shift.down, shift.right)[inside]
    np.testing.assert_allclose(camera.mask.numpy()[inside], expected, atol=1e-6)
    assert camera.offsets == told.offsets


def test_pixels_that_do_not_count_do_not_hide_it(cubes):
    told = told_camera()
    y = exposed(cubes[0], told, 0.8, -0.6, photons=500)
    dead = torch.rand(y.shape[1:], generator=torch.Generator().manual_seed(0)) < 0.01
    for reading in (0, 100, math.nan):
        camera, shift = align(torch.where(dead, reading, y), told.counting(~dead))
        assert (shift.down, shift.right) == (pytest.approx(0.8, abs=0.1), pytest.approx(-0.6, abs=0.1))
        assert len(camera.parts) == 1


@pytest.mark.parametrize(
    "dispersion",
    [{"step": -2}, {"step": 1}, {"step": 1.5}, {"step": 3}, {"offsets": [(0.5 * c, 2 * c) for c in range(28)]}],
    ids=["-2", "1", "1.5", "3", "down and right"],
)
def test_any_dispersion(cubes, dispersion):
    told = told_camera(**dispersion)
    _, shift = align(exposed(cubes[1], told, -0.5, 0.6), told)
    assert (shift.down, shift.right) == (pytest.approx(-0.5, abs=0.1), pytest.approx(0.6, abs=0.1))
    camera, _ = align(exposed(cubes[1], told, 0, 0), told)
    assert camera is told


PLAIN = told_camera()
BLURRED_ASIDE = Blur([[0, 0, 0], [0, 0.3, 0.7], [0, 0, 0]])
FURTHER_RIGHT = Distortion(np.stack([np.zeros(PLAIN.measurement_shape), np.ones(PLAIN.measurement_shape)]))


@pytest.mark.parametrize("part", [BLURRED_ASIDE, FURTHER_RIGHT], ids=["blur", "distortion"])
@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, -0.5), (0, 1)])
def test_what_is_told_behind_the_prism_is_no_displacement(cubes, part, down, right):
    told = PLAIN.through(part)
    camera, shift = align(exposed(cubes[0], told, down, right, photons=500), told)
    assert (shift.down, shift.right) == (pytest.approx(down, abs=0.05), pytest.approx(right, abs=0.05))
    columns = slice(None) if part is FURTHER_RIGHT else slice(3, -3)  # a blur hides the border
    expected = moved_mask(told.mask.numpy(), shift.down, shift.right)
    np.testing.assert_allclose(camera.mask[:, columns], expected[:, columns], atol=1e-6)


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("blur", [False, True], ids=["binary", "grey"])
@pytest.mark.parametrize("down", [-0.5, 1, 1.5])
def test_a_mask_that_moved_across_the_dispersion_has_not_moved_along_it(cubes, step, blur, down):
    told = told_camera(blur, step=step)
    _, shift = align(exposed(cubes[0], told, down, 0), told)
    assert (shift.down, shift.right) == (pytest.approx(down, abs=0.05), 0)


def test_a_mask_for_each_band(cubes):
    mask = np.stack([random_mask(HEIGHT, WIDTH, seed=band // 7) for band in range(28)])
    told = CassiCamera(mask)
    camera, shift = align(exposed(cubes[0], told, 1, -0.5), told)
    assert (shift.down, shift.right) == (pytest.approx(1, abs=0.1), pytest.approx(-0.5, abs=0.1))
    assert camera.mask.shape == mask.shape


def test_units_and_types_do_not_matter(cubes):
    told = told_camera()
    y = exposed(cubes[0], told, 0.5, 1)
    shifts = [align(frames, told)[1] for frames in (y, 4000 * y, y.double())]
    for shift in shifts[1:]:
        assert shift.down == pytest.approx(shifts[0].down, abs=0.01)
        assert shift.right == pytest.approx(shifts[0].right, abs=0.01)


def test_frames_of_a_camera_vote_together(cubes):
    rows = 32
    told = told_camera(blur=True).crop(0, 0, rows, WIDTH)
    # In so little light that a few rows of one frame show nothing, but those of twelve do.
    frames = [exposed(cubes[seed % 3][:, :rows], told, 0.5, 0, photons=5, seed=seed) for seed in range(12)]
    assert not any(align(frame, told)[1].significant for frame in frames)
    _, shift = align(torch.cat(frames), told)
    assert (shift.down, shift.right) == (pytest.approx(0.5, abs=0.1), 0)


def test_frames_without_the_code_move_nothing(cubes):
    told = told_camera()
    noise = torch.rand(1, HEIGHT, told.measurement_width, generator=torch.Generator().manual_seed(1))
    other = told.with_mask(torch.from_numpy(random_mask(HEIGHT, WIDTH, seed=5)))
    for y in (noise, torch.zeros_like(noise), other.forward(cubes[0])[None]):
        camera, shift = align(y, told)
        assert camera is told
        assert not shift.significant


def test_a_smear_is_no_displacement(cubes):
    told = told_camera()
    smear = [0.25, 0.5, 0.25]
    for cube in cubes:
        assert align(exposed(cube, told, 0, 0, smear=smear), told)[0] is told
    _, shift = align(exposed(cubes[0], told, 1, 0, smear=smear), told)
    assert shift.down == pytest.approx(1, abs=0.1)


def test_too_small_a_frame_moves_nothing():
    told = CassiCamera(random_mask(6, 5), bands=3)
    y = told.forward(torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0)))[None]
    assert align(y, told)[0] is told
    told = CassiCamera(random_mask(2, 5), bands=3)
    assert align(y[:, :2], told)[0] is told


def test_the_border_of_the_moved_mask(cubes):
    told = told_camera()
    right = align(exposed(cubes[0], told, 0, 1), told)[0].mask
    assert right[:, 0].max() < 0.05  # the frame is dark where only this column lets light through
    right = align(exposed(cubes[0], told, 0, 1, edge="nearest"), told)[0].mask
    np.testing.assert_allclose(right[:, 0], right[:, 1], atol=0.1)
    down = align(exposed(cubes[0], told, 1, 0, edge="nearest"), told)[0].mask
    assert not down[0].any()
    assert down[1].any()


@pytest.mark.parametrize(("down", "right"), [(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5), (1.5, -0.5)])
def test_a_border_that_is_half_closed(cubes, down, right):
    told = told_camera()
    found, shift = align(exposed(cubes[0], told, down, right), told)
    np.testing.assert_allclose(found.mask, moved_mask(told.mask.numpy(), shift.down, shift.right), atol=1e-6)
    found, shift = align(exposed(cubes[0], told, down, right, edge="nearest"), told)
    repeated = moved_mask(told.mask.numpy(), shift.down, shift.right, edge="nearest")
    rows = slice(2, None) if down > 0 else slice(None, HEIGHT - 2 if down else None)
    np.testing.assert_allclose(found.mask[rows], repeated[rows], atol=1e-6)
    if down:
        assert not found.mask[0 if down > 0 else -1].any()  # whose code has not been told


def test_what_does_not_fit_is_refused(cubes):
    told = told_camera()
    y = exposed(cubes[0], told, 0, 0)
    with pytest.raises(InputError, match="batch axis"):
        align(y[0], told)
    with pytest.raises(InputError, match="NaN"):
        align(torch.full_like(y, math.nan), told)
    with pytest.raises(InputError, match="columns wide"):
        align(y[..., 1:], told)
    with pytest.raises(InputError, match="reach"):
        align(y, told, reach=0)
