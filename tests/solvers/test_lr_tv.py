"""LR-TV: better than total variation in bands, whatever the noise, without a setting."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, SensorNoise, SideCamera, StackedCamera, random_mask
from crsdun.solvers import AdmmTv, GapTv, LrTv, create_solver
from crsdun.solvers.held_out import HeldOut, valid_pixels
from crsdun.solvers.total_variation import TotalVariation
from tests.solvers.test_solvers import psnr

BANDS, SIZE = 20, 64


@pytest.fixture(scope="module")
def truth():
    """Shaded rectangles of four spectra with fine texture, (C,H,W) in 0..1."""
    random = np.random.default_rng(5)
    wavelength = np.linspace(0, 1, BANDS)
    spectra = [0.1 + 0.8 * np.exp(-((wavelength - centre) ** 2) / 0.05) for centre in (0.2, 0.5, 0.8)]
    cube = np.full((BANDS, SIZE, SIZE), 0.5) * np.linspace(0.6, 1, SIZE)
    for number in range(9):
        top, left = random.integers(0, SIZE - 20, 2)
        cube[:, top : top + 20, left : left + 20] = spectra[number % 3][:, None, None]
    texture = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), 1)
    return torch.as_tensor(cube * (1 + 0.1 * texture / texture.std()), dtype=torch.float32).clamp(0, 1)


@pytest.fixture(scope="module")
def camera():
    return CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)


def measured(truth, camera, noise, seed=0):
    y = camera.forward(truth)
    return noise(y, BANDS, torch.Generator().manual_seed(seed))[None]


@pytest.mark.parametrize(
    ("noise", "gain"),
    [(SensorNoise(), 3.0), (SensorNoise(photons=500), 0.8), (SensorNoise(read_sigma=0.1), 0.8)],
    ids=["none", "shot", "read"],
)
def test_it_is_better_than_both_others_whatever_the_noise(truth, camera, noise, gain):
    y = measured(truth, camera, noise)
    others = max(psnr(solver(y, camera).cube[0], truth) for solver in (GapTv(), AdmmTv()))
    assert psnr(LrTv()(y, camera).cube[0], truth) > others + gain


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
def test_the_noise_is_estimated(truth, camera, sigma):
    y = measured(truth, camera, SensorNoise(read_sigma=sigma))
    (fit,) = LrTv()(y, camera).fits
    assert fit.noise * float(y.square().mean().sqrt()) == pytest.approx(sigma, rel=0.25)
    assert fit.noise < fit.held_out


def test_the_fit_is_in_relation_to_the_measurement(truth, camera):
    y = measured(truth, camera, SensorNoise(photons=500))
    fits = [LrTv()(unit * y, camera).fits[0] for unit in (1, 64)]
    assert fits[0].held_out == pytest.approx(fits[1].held_out, rel=1e-3)
    assert fits[0].noise == pytest.approx(fits[1].noise, rel=1e-3)


def test_without_noise_the_measurement_is_explained(truth, camera):
    y = measured(truth, camera, SensorNoise())
    estimate = LrTv()(y, camera)
    assert float((camera.forward(estimate.cube) - y).norm() / y.norm()) < 0.005
    assert estimate.fits[0].noise < 0.01


def test_known_noise_is_used(truth, camera):
    noise = SensorNoise(photons=100, read_sigma=0.3)
    y = measured(truth, camera, noise)
    told = LrTv(photons=100, read_sigma=0.3)(y, camera).cube[0]
    assert psnr(told, truth) > psnr(LrTv()(y, camera).cube[0], truth) - 0.1
    assert not torch.equal(told, LrTv()(y, camera).cube[0])


def test_saturated_pixels_are_left_out(truth, camera):
    y = measured(truth, camera, SensorNoise())
    clipped = y.clamp(max=float(y.flatten().quantile(0.97)))
    trusted = GapTv()(clipped, camera).cube[0]
    assert psnr(LrTv()(clipped, camera).cube[0], truth) > psnr(trusted, truth) + 2


def test_valid_pixels():
    y = torch.arange(400.0).view(20, 20)
    plain, mask = CassiCamera(torch.ones(20, 20), bands=1), torch.ones(20, 20)
    assert valid_pixels(y, plain).all()  # one brightest pixel is no plateau
    mask[:, 3] = 1e-3
    assert valid_pixels(y, plain.with_mask(mask)).logical_not().nonzero()[:, 1].unique().tolist() == [3]
    assert valid_pixels(y.clamp(max=389), plain).sum() == 389
    assert valid_pixels(torch.ones(20, 20), plain).all()  # a scene like that
    both = StackedCamera(plain, SideCamera([1e-4], 20, 20))  # each picture has its own light and its own brightest
    pictures = y.clamp(max=389), 1e-4 * y.clamp(max=385)
    valid = valid_pixels(both.measurement(*pictures), both)
    assert [int(part.sum()) for part in both.pictures(valid)] == [389, 385]


def test_held_out_pixels_tell_the_noise_and_how_it_grows():
    random = torch.Generator().manual_seed(0)
    truth = torch.rand(300, 300, generator=random) * 10
    deviation = (0.2**2 + 0.05 * truth).sqrt()
    y = truth + deviation * torch.randn(300, 300, generator=random)
    pixels = HeldOut(y, CassiCamera(torch.ones(300, 300), bands=1), 0.1)
    assert pixels.look(truth) == pytest.approx(float(deviation.square().mean()), rel=0.05)
    assert pixels.noise == pytest.approx(pixels.error, rel=0.05)
    expected = deviation.square() / deviation.square().mean()
    torch.testing.assert_close(pixels.variance[pixels.used].mean(), torch.tensor(1.0), rtol=0.02, atol=0)
    assert (pixels.variance - expected).abs().max() < 0.15
    assert not (pixels.held & pixels.used).any()
    assert (pixels.held | pixels.used).all()


def test_without_the_refit_pixels_held_out_stay_a_test(truth, camera):
    y = measured(truth, camera, SensorNoise())
    chosen = HeldOut(y[0], camera, LrTv.held_out).held
    fit, refit = (LrTv(refit=refit)(y, camera) for refit in (False, True))
    honest, seen = (float((camera.forward(each.cube) - y)[0][chosen].norm()) for each in (fit, refit))
    assert honest > 2 * seen


@pytest.mark.parametrize("rank", [1, 2])
def test_no_more_components_are_kept_than_are_wanted(truth, camera, rank):
    result = LrTv(iterations=25, rank=rank)(camera.forward(truth)[None], camera)
    assert result.fits[0].rank == rank


def test_few_iterations_still_give_a_cube_and_a_fit(truth, camera):
    y = measured(truth, camera, SensorNoise())
    calls = []
    for iterations in (1, 5, 30):
        estimate = LrTv(iterations=iterations)(y, camera, lambda done, total: calls.append((done, total)))
        assert math.isfinite(estimate.fits[0].held_out)
        assert torch.isfinite(estimate.cube).all()
        assert calls[-1] == (iterations, iterations)


def test_an_early_end_is_told_as_done(truth, camera):
    y = measured(truth, camera, SensorNoise(read_sigma=0.1))
    calls = []
    LrTv()(y, camera, lambda done, total: calls.append((done, total)))
    assert len(calls) < 250
    assert calls[-1] == (250, 250)


def test_high_effort_takes_more_time_and_other_settings_stay():
    normal, high = create_solver("lr-tv"), create_solver("lr-tv", effort="high")
    assert high.iterations > normal.iterations
    assert high.weight < normal.weight
    assert create_solver("lr-tv", effort="high", iterations=7) == replace(high, iterations=7)


def test_an_unknown_effort_is_refused():
    with pytest.raises(InputError, match="gap-tv has no effort 'high'"):
        create_solver("gap-tv", effort="high")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"final": 0},
        {"held_out": 0.0},
        {"discarded": 1.0},
        {"fall": 2.0},
        {"photons": 0},
        {"read_sigma": -1},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(LrTv(), **wrong)


def test_turned_components_change_nothing_but_the_basis():
    # Within the same span, unweighted by component, a turned basis goes on from the same dual variables.
    cube = torch.rand(1, 6, 9, 8, generator=torch.Generator().manual_seed(1))
    orthonormal = torch.linalg.qr(torch.rand(6, 6, generator=torch.Generator().manual_seed(2)))[0]
    variation = TotalVariation(cube.shape, cube)
    variation.step(cube, 0.1, 3, out=torch.empty_like(cube))
    before = variation.step(cube, 0.1, 0, out=torch.empty_like(cube))
    variation.turn(orthonormal[None].contiguous())
    torch.testing.assert_close(variation.step(cube, 0.1, 0, out=torch.empty_like(cube)), before, rtol=0, atol=1e-5)


def test_fewer_components_project_on_their_span():
    cube = torch.rand(1, 6, 9, 8, generator=torch.Generator().manual_seed(1))
    rows = torch.linalg.qr(torch.rand(6, 6, generator=torch.Generator().manual_seed(2)))[0][:2]
    variation = TotalVariation(cube.shape, cube)
    variation.turn(rows[None].contiguous())
    out = variation.step(cube, 1e-9, 1, out=torch.empty_like(cube))
    torch.testing.assert_close(out, torch.einsum("rc,rd,bdhw->bchw", rows, rows, cube), rtol=0, atol=1e-5)


def test_the_tail_of_a_mask_is_no_light():
    """Where a blurred mask lets 1e-20 of the light through, the noise there is not the scene."""
    rng = np.random.default_rng(4)
    mask = (rng.random((40, 48)) < 0.5).astype(np.float32)
    mask[:, :5] = mask[:, -5:] = 1e-20
    mask[12:17] = 1e-20
    camera = CassiCamera(mask, bands=4)
    cube = torch.full((4, 40, 48), 0.5)
    y = camera.forward(cube) + 0.02 * torch.from_numpy(rng.standard_normal((40, camera.measurement_width))).float()
    estimate = LrTv(iterations=40)(y[None], camera).cube[0]
    assert 0 <= estimate.min() <= estimate.max() < 1
    assert (estimate[:, 20:, 8:-8] - 0.5).abs().mean() < 0.05
