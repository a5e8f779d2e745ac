"""Random cameras: pure functions of their random numbers, within their ranges, each kind with its own switch."""

from dataclasses import asdict, fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import CameraRandomisation, moved_mask, nbk7_wavelengths, random_mask
from crsdun.optics.random_camera import draw_grid, point_spread
from crsdun.typed import typed

HEIGHT, WIDTH, BANDS = 24, 30, 6
GRID = nbk7_wavelengths(BANDS)
EVERYTHING = CameraRandomisation()
SWITCHES = ("coarse", "grey", "blurred", "leaking", "saturated", "vignetted", "per_band", "left", "fractional",
            "uneven", "grids", "noisy", "misplaced", "far")  # fmt: skip
# Sharp binary masks, whole steps to the right, no noise, nothing unknown.
PLAIN = replace(EVERYTHING, **dict.fromkeys(SWITCHES, 0.0), dark=0.0)


def draws(settings, count=60, size=(HEIGHT, WIDTH)):
    return [settings.draw(np.random.default_rng(seed), *size, BANDS, GRID) for seed in range(count)]


def masks(settings, count=60):
    return [drawn.told.mask.numpy() for drawn in draws(settings, count)]


def test_a_draw_depends_on_the_generator_alone():
    def drawn(seed):
        return EVERYTHING.draw(np.random.default_rng(seed), HEIGHT, WIDTH, BANDS, GRID)

    for seed in range(20):
        one, other = drawn(seed), drawn(seed)
        assert torch.equal(one.told.mask, other.told.mask)
        assert torch.equal(one.true.mask, other.true.mask)
        assert one.told.offsets == other.told.offsets == one.true.offsets
        assert (one.noise, one.dark) == (other.noise, other.dark)
    assert not torch.equal(drawn(0).told.mask[..., :5, :5], drawn(1).told.mask[..., :5, :5])


def test_three_hundred_draws_lie_within_their_ranges():
    seen = draws(EVERYTHING, 300)
    for drawn in seen:
        for camera in (drawn.told, drawn.true):
            assert (camera.height, camera.width, camera.bands) == (HEIGHT, WIDTH, BANDS)
            assert camera.mask.dtype == torch.float32
            assert 0 <= camera.mask.min() <= camera.mask.max() <= 1.0001
            assert camera.wavelengths == GRID
        assert 1 <= abs(drawn.told.offsets[-1]) / (BANDS - 1) <= 3
        assert drawn.told.span <= EVERYTHING.span(BANDS) == 15
        steps = np.diff(drawn.told.offsets)
        assert (steps > 0).all() or (steps < 0).all()
        assert drawn.noise.photons is None or 50 <= drawn.noise.photons <= 10_000
        assert 0 <= drawn.noise.read_sigma <= 0.1 * BANDS / 28
        assert abs(drawn.dark) <= 0.01
    # … and reach over most of them.
    photons = [drawn.noise.photons for drawn in seen if drawn.noise.photons]
    assert min(photons) < 100
    assert max(photons) > 5000
    assert {drawn.told.step for drawn in seen} >= {-3, -2, -1, 1, 2, 3, None}
    assert 0.25 < sum(drawn.noise.silent for drawn in seen) / 300 < 0.42
    assert 0.4 < sum(drawn.true is not drawn.told for drawn in seen) / 300 < 0.6
    assert 0.75 < sum(float(drawn.told.step or 0.5).is_integer() for drawn in seen) / 300 < 0.87


def test_what_is_plain():
    for drawn in draws(PLAIN):
        values = drawn.told.mask.unique().tolist()
        assert values == [0, 1]
        assert 0.2 < drawn.told.mask.mean() < 0.8
        assert drawn.told.step in (1, 2, 3)
        assert drawn.told.mask.ndim == 2
        assert (drawn.true is drawn.told, drawn.noise.silent, drawn.dark) == (True, True, 0)


def is_coarse(mask):
    """Whether it consists of squares of 2×2 pixels, wherever these begin."""
    alike = [(np.diff(mask, axis=axis) == 0).all(1 - axis) for axis in range(2)]
    return all(along[0::2].all() or along[1::2].all() for along in alike)


def is_grey(mask):
    return len(np.unique(mask)) > 2


# What tells that a kind is there, which the plain camera never has.
SIGNS = {
    "coarse": lambda drawn: is_coarse(drawn.told.mask.numpy()),
    "grey": lambda drawn: len(drawn.told.mask.unique()) > 100,
    "blurred": lambda drawn: is_grey(drawn.told.mask.numpy()),
    "leaking": lambda drawn: 0.005 <= drawn.told.mask.min() <= 0.1 and 0.6 <= drawn.told.mask.max() < 1,
    "vignetted": lambda drawn: is_grey(drawn.told.mask.numpy()) and 0.4 <= drawn.told.mask.max() < 1.0001,
    "per_band": lambda drawn: drawn.told.mask.ndim == 3,
    "left": lambda drawn: drawn.told.step < 0,
    "fractional": lambda drawn: drawn.told.step is not None and not float(drawn.told.step).is_integer(),
    "uneven": lambda drawn: drawn.told.step is None,
    "noisy": lambda drawn: not drawn.noise.silent,
    "misplaced": lambda drawn: not torch.equal(drawn.told.mask, drawn.true.mask),
}


@pytest.mark.parametrize("kind", SIGNS)
def test_each_kind_has_its_switch(kind):
    sign = SIGNS[kind]
    assert not any(sign(drawn) for drawn in draws(PLAIN))
    assert all(sign(drawn) for drawn in draws(replace(PLAIN, **{kind: 1.0})))
    half = sum(sign(drawn) for drawn in draws(replace(PLAIN, **{kind: 0.5}), 100))
    assert 30 < half < 70


@pytest.mark.parametrize("kind", sorted(SIGNS.keys() - {"coarse", "grey", "blurred", "leaking", "vignetted"}))
def test_what_is_switched_off_never_comes_among_everything_else(kind):
    settings = replace(EVERYTHING, fractional=0.0, uneven=0.0)
    settings = replace(settings, **{kind: 0.0})
    assert not any(SIGNS[kind](drawn) for drawn in draws(settings, 200))


def test_the_shape_of_the_masks():
    open_shares = [mask.mean() for mask in masks(replace(PLAIN, open=(0.3, 0.31)))]
    assert np.mean(open_shares) == pytest.approx(0.305, abs=0.01)
    blurred = replace(PLAIN, blurred=1.0, blur=(0.8, 0.8))
    assert all(np.var(mask) < 0.15 for mask in masks(blurred))
    saturated = [(mask == 1).mean() for mask in masks(replace(blurred, saturated=1.0))]
    assert np.mean(saturated) > np.mean([(mask == 1).mean() for mask in masks(blurred)]) + 0.05
    dim = [mask.max() for mask in masks(replace(PLAIN, vignetted=1.0, vignetting=(0.3, 0.3)))]
    assert 0.3 <= min(dim) < 0.75 < max(dim) <= 1


def test_bands_see_slightly_different_masks():
    for mask in masks(replace(PLAIN, per_band=1.0), 20):
        light = mask.sum((1, 2))
        assert 0.35 < light.min() / light.max() < 1
        means = mask / light[:, None, None]
        neighbours = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(means)]
        assert min(neighbours) > 0.9
    flat = replace(PLAIN, per_band=1.0, band_shift=0.0, band_blur=0.0, band_transmission=(1.0, 1.0))
    for mask in masks(flat, 5):
        assert np.array_equal(mask, np.repeat(mask[:1], BANDS, 0))


def test_light_falls_off_smoothly():
    for mask in masks(replace(PLAIN, vignetted=1.0), 20):
        light = mask[mask > 0]
        assert light.max() - light.min() < 0.15  # the crop is small on the sensor


def test_the_true_mask_is_the_told_one_moved_a_little():
    near = replace(PLAIN, misplaced=1.0, shift=0.1, far=0.0, rotation=0.0, scale=0.0)
    far = replace(near, far=1.0, farthest=0.5)

    def error(settings):
        return np.mean([(drawn.true.mask - drawn.told.mask).abs().mean() for drawn in draws(settings)])

    assert 0.02 < error(near) < 0.1 < error(far) < 0.3
    for only in ({"rotation": 0.1}, {"scale": 0.002}):
        assert 0 < error(replace(near, shift=0.0, **only)) < 0.05
    assert error(replace(near, shift=0.0)) == 0


def test_the_measurement_is_the_true_cameras_with_noise_and_offset():
    cube = np.random.default_rng(0).random((BANDS, HEIGHT, WIDTH), dtype=np.float32)
    known = replace(PLAIN, misplaced=1.0, fractional=0.5)
    for drawn in draws(known, 10):
        y = drawn.true.forward(torch.from_numpy(cube))
        assert torch.equal(drawn.measure(cube, 3), y)
        assert not torch.equal(drawn.measure(cube, 3), drawn.told.forward(torch.from_numpy(cube)))
        offset = replace(drawn, dark=-0.2)
        assert torch.equal(offset.measure(cube, 3), (y - 0.2 * y.mean()).clamp(min=0))
    for drawn in draws(replace(known, noisy=1.0), 10):
        y = drawn.true.forward(torch.from_numpy(cube))
        expected = drawn.noise(y, BANDS, torch.Generator().manual_seed(3))
        assert torch.equal(drawn.measure(cube, 3), expected)
        assert not torch.equal(drawn.measure(cube, 4), expected)
        assert (drawn.measure(cube, 3) >= 0).all()


def test_each_drawn_camera_has_its_adjoint():
    for drawn in draws(EVERYTHING, 40):
        camera = drawn.told.to(torch.float64)
        x = torch.rand(BANDS, HEIGHT, WIDTH, dtype=torch.float64)
        y = torch.rand(HEIGHT, camera.measurement_width, dtype=torch.float64)
        assert (camera.forward(x) * y).sum().item() == pytest.approx((x * camera.adjoint(y)).sum().item(), rel=1e-9)


@pytest.mark.parametrize("bands", [1, 3, 28])
def test_grids(bands):
    grids = [draw_grid(np.random.default_rng(seed), bands) for seed in range(300)]
    assert all(len(grid) == bands and 400 <= grid[0] <= grid[-1] <= 730 for grid in grids)
    if bands > 1:
        assert all((np.diff(grid) > 0).all() and grid[-1] - grid[0] >= 119.99 for grid in grids)
        assert sum(np.allclose(grid, nbk7_wavelengths(bands)) for grid in grids) / 300 == pytest.approx(
            0.25, abs=0.08
        )
        assert sum((grid[0], grid[-1]) == (453.5, 648) for grid in grids) / 300 == pytest.approx(0.25, abs=0.08)
        assert sum(bands > 2 and np.ptp(np.diff(grid)) < 1e-6 for grid in grids) > 50
        assert len({grid[0] for grid in grids}) > 100
    inside = [draw_grid(np.random.default_rng(seed), 4, (500, 640)) for seed in range(50)]
    assert all(500 <= grid[0] < grid[-1] <= 640.001 for grid in inside)
    with pytest.raises(InputError, match="at least 120 nm"):
        draw_grid(np.random.default_rng(0), 4, (500, 600))


def test_other_grids_than_the_data_sets():
    def other(settings, wavelengths):
        grids = [settings.grid(np.random.default_rng(seed), wavelengths) for seed in range(100)]
        return sum(grid != wavelengths for grid in grids)

    assert 25 < other(EVERYTHING, GRID) < 60
    assert other(replace(EVERYTHING, grids=0.0), GRID) == 0
    assert other(EVERYTHING, None) == 0
    assert other(EVERYTHING, (500.0, 550.0, 600.0)) == 0  # too narrow
    assert EVERYTHING.grid_range((350, 600)) == (400, 600)
    assert EVERYTHING.grid_range((1000, 2500)) is None


def test_optics_without_a_blur_is_linear_interpolation_and_keeps_the_light():
    mask = random_mask(30, 30, seed=1)
    moved = point_spread(torch.from_numpy(mask), [0.0], [(0.3, -0.25)])[0].numpy()
    np.testing.assert_allclose(moved, moved_mask(mask, 0.3, -0.25)[3:-3, 3:-3], atol=1e-5)
    from scipy.ndimage import gaussian_filter

    # A Gaussian from square to square is as wide as one whose variance has that of the two squares more.
    blurred = point_spread(torch.from_numpy(mask), [0.8], [(0.0, 0.0)])[0].numpy()
    np.testing.assert_allclose(blurred, gaussian_filter(mask, np.sqrt(0.8**2 + 1 / 6))[3:-3, 3:-3], atol=0.03)
    even = point_spread(torch.ones(20, 20), [0.2, 0.8], [(0.4, 0.1), (0, 0)])
    np.testing.assert_allclose(even, torch.ones(2, 14, 14), rtol=1e-5)


def test_a_mask_is_turned_clockwise_and_grows_about_its_centre():
    mask = np.zeros((41, 41), np.float32)
    mask[18:23, 33:38] = 1  # right of the centre

    def centre(moved):
        return np.array([(moved * index).sum() for index in np.indices(moved.shape)]) / moved.sum()

    np.testing.assert_allclose(centre(mask), (20, 35))
    np.testing.assert_allclose(centre(moved_mask(mask, 0, 0, degrees=90)), (35, 20), atol=0.01)
    np.testing.assert_allclose(centre(moved_mask(mask, 2, -1, degrees=30)), (29.5, 31.99), atol=0.05)
    np.testing.assert_allclose(centre(moved_mask(mask, 0, 0, scale=1.1)), (20, 36.5), atol=0.05)
    stack = moved_mask(np.stack([mask, mask[::-1]]), 0, 0, degrees=30)
    np.testing.assert_array_equal(stack[0], moved_mask(mask, 0, 0, degrees=30))


def test_by_so_much_as_a_mask_moves_what_is_beside_it_comes_in():
    mask = np.ones((4, 4), np.float32)
    np.testing.assert_allclose(moved_mask(mask, 0.25, 0)[:, 0], [0.75, 1, 1, 1])  # a quarter of a row
    np.testing.assert_allclose(moved_mask(mask, 0, -1.5)[0], [1, 1, 0.5, 0])
    np.testing.assert_array_equal(moved_mask(mask, 0.25, -1.5, edge="nearest"), mask)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"open": [0.7, 0.3]}, "open of random cameras must be two ascending numbers in 0..1"),
        ({"blurred": 1.5}, "blurred of random cameras must be a number in 0..1, not 1.5"),
        ({"photons": [0, 100]}, "photons of random cameras"),
        ({"steps": [1.2, 1.8]}, "no whole step"),
        ({"fractional": 0.6, "uneven": 0.6}, "add up to at most 1"),
        ({"spectrum": [400, 500]}, "at least 120 nm"),
        ({"rotation": 3}, "rotation of random cameras must be a number in 0..0.5"),
        ({"transmision": [0.5, 1]}, "transmission"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        typed(CameraRandomisation, values, "it")


def test_settings_come_back_from_plain_values():
    assert typed(CameraRandomisation, {}, "it") == EVERYTHING
    settings = replace(EVERYTHING, photons=None, steps=(1.2, 1.8), fractional=1.0, uneven=0.0)
    assert typed(CameraRandomisation, asdict(settings), "it") == settings
    assert all(drawn.noise.photons is None for drawn in draws(settings))
    documented = CameraRandomisation.__doc__ or ""
    assert all(f"        {each.name}: " in documented for each in fields(CameraRandomisation))
