"""One examination for every solver: quality, units, odd cameras, odd inputs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from crsdun import solvers
from crsdun.errors import InputError
from crsdun.optics import Blur, CassiCamera, random_mask
from crsdun.solvers.denoiser import shipped_denoiser

BANDS, SIZE = 8, 48
# Fewer iterations than usual, where these take seconds.
FEWER = {"deep-prior": {"iterations": 8}}


def piecewise_smooth(bands: int = BANDS, height: int = SIZE, width: int = SIZE, seed: int = 0) -> Tensor:
    """Rectangles of smooth spectra on a shaded ground, (C,H,W) in 0..1."""
    random = np.random.default_rng(seed)
    spectrum = np.linspace(0, 1, bands)[:, None, None]
    cube = 0.2 + 0.2 * spectrum * np.ones((1, height, width)) * np.linspace(0.5, 1, width)
    for _ in range(6):
        top, left = random.integers(0, height), random.integers(0, width)
        rows, columns = slice(top, top + height // 3), slice(left, left + width // 3)
        cube[:, rows, columns] = 0.1 + 0.8 * np.exp(-((spectrum - random.random()) ** 2) / 0.1)
    return torch.as_tensor(cube, dtype=torch.float32)


def psnr(cube: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(float(((cube - truth) ** 2).mean()))


@pytest.fixture(params=sorted(solvers.SOLVERS))
def solver(request):
    return solvers.create_solver(request.param, **FEWER.get(request.param, {}))


@pytest.fixture(params=["lr-tv", "gap-tv", "admm-tv"])
def tv_solver(request):
    return solvers.create_solver(request.param)


@pytest.fixture
def quick(solver):
    return replace(solver, iterations=8)


@pytest.fixture(scope="module")
def truth():
    return piecewise_smooth()


@pytest.fixture(scope="module")
def camera():
    return CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)


def test_quality_is_far_above_back_projection(solver, truth, camera):
    y = camera.forward(truth)[None]
    estimate = solver(y, camera)
    back = camera.adjoint(y / camera.diagonal.clamp(min=1))
    assert estimate.logits == []
    assert estimate.cube.shape == (1, BANDS, SIZE, SIZE)
    assert estimate.cube.min() >= 0
    assert psnr(estimate.cube[0], truth) > 25.5
    assert psnr(estimate.cube[0], truth) > psnr(back[0], truth) + 12


def test_total_variation_is_what_helps(tv_solver, truth, camera):
    y = camera.forward(truth)[None]
    without = replace(tv_solver, first_weight=1e-6, weight=1e-6)
    assert psnr(tv_solver(y, camera).cube[0], truth) > psnr(without(y, camera).cube[0], truth) + 5


def test_smooth_spectra_are_worth_preferring(tv_solver):
    # Fine texture in three broad colours: no band has flat parts to help it.
    texture = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((3, 64, 64)), (0, 2, 2))
    rgb = torch.as_tensor(0.4 + 0.2 * texture / texture.std(), dtype=torch.float32).clamp(0, 1)
    basis = torch.exp(-((torch.linspace(0, 1, 28)[:, None] - torch.tensor([0.1, 0.5, 0.9])) ** 2) / 0.08)
    truth = torch.einsum("cr,rhw->chw", basis, rgb)
    camera = CassiCamera(random_mask(64, 64), bands=28)
    y = camera.forward(truth)[None]
    plain = replace(tv_solver, smoothness=0.0)
    assert psnr(tv_solver(y, camera).cube[0], truth) > psnr(plain(y, camera).cube[0], truth) + 0.1


def test_the_measurement_is_explained_better_with_more_iterations(tv_solver, truth, camera):
    y = camera.forward(truth)[None]

    def residual(iterations: int) -> float:
        cube = replace(tv_solver, iterations=iterations)(y, camera).cube
        return float((camera.forward(cube) - y).norm() / y.norm())

    residuals = [residual(iterations) for iterations in (2, 10, 60)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 0.02


@pytest.mark.parametrize("unit", [1e-4, 4096.0])
def test_units_do_not_matter(quick, truth, camera, unit):
    y = camera.forward(truth)[None]
    torch.testing.assert_close(quick(y * unit, camera).cube / unit, quick(y, camera).cube, rtol=1e-3, atol=1e-4)


def test_a_batch_is_its_scenes(quick, truth, camera):
    y = camera.forward(torch.stack([truth, 30 * piecewise_smooth(seed=3)]))
    singles = torch.cat([quick(one[None], camera).cube for one in y])
    torch.testing.assert_close(quick(y, camera).cube, singles, rtol=1e-4, atol=1e-4)


def per_band_mask() -> np.ndarray:
    return np.stack([random_mask(SIZE, SIZE, seed=band // 2) * (0.5 + band / 20) for band in range(BANDS)])


def dark_columns() -> np.ndarray:
    mask = random_mask(SIZE, SIZE)
    mask[:, :24] = 0
    return mask


CAMERAS = {
    "per-band mask": CassiCamera(per_band_mask()),
    "grey mask": CassiCamera(0.05 + 0.9 * random_mask(SIZE, SIZE), bands=BANDS),
    "to the left": CassiCamera(random_mask(SIZE, SIZE), bands=BANDS, step=-2),
    "fractional": CassiCamera(random_mask(SIZE, SIZE), offsets=[1.7 * c + 0.1 * c * c for c in range(BANDS)]),
    "across the rows": CassiCamera(random_mask(SIZE, SIZE), offsets=[(0.7 * c, 1.5 * c) for c in range(BANDS)]),
    "no dispersion": CassiCamera(per_band_mask(), step=0),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_any_camera(solver, truth, name):
    camera = CAMERAS[name]
    y = camera.forward(truth)[None]
    cube = solver(y, camera).cube
    back = camera.adjoint(y / camera.diagonal.clamp(min=1e-3))
    assert torch.isfinite(cube).all()
    assert psnr(cube[0], truth) > psnr(back[0], truth) + 5


def test_mirrored_light_gives_the_mirrored_cube(quick, truth):
    # Reversed bands seen with the opposite dispersion are the same measurement.
    mask = random_mask(SIZE, SIZE)
    right, left = CassiCamera(mask, bands=BANDS, step=2), CassiCamera(mask, bands=BANDS, step=-2)
    y = right.forward(truth)[None]
    torch.testing.assert_close(left.forward(truth.flip(0))[None], y)
    torch.testing.assert_close(quick(y, left).cube.flip(1), quick(y, right).cube, rtol=1e-3, atol=1e-4)


def test_where_no_light_arrives_the_result_is_finite(quick, truth):
    camera = CassiCamera(dark_columns(), bands=BANDS)
    assert (camera.diagonal == 0).any()
    cube = quick(camera.forward(truth)[None], camera).cube
    assert torch.isfinite(cube).all()
    assert cube.max() < 5


@pytest.mark.parametrize("light", [0.0, 1.0])
def test_a_closed_mask_or_a_black_frame_gives_a_finite_cube(quick, light):
    camera = CassiCamera(np.full((6, 7), 1 - light), bands=3)
    cube = quick(torch.full((1, 6, camera.measurement_width), light), camera).cube
    assert torch.equal(cube, torch.zeros(1, 3, 6, 7))


@pytest.mark.parametrize(("bands", "height", "width"), [(1, 9, 8), (5, 1, 1), (1, 1, 1), (4, 1, 6)])
def test_smallest_scenes(solver, bands, height, width):
    truth = 0.25 + piecewise_smooth(bands, height, width)
    camera = CassiCamera(np.ones((height, width)), bands=bands)
    cube = solver(camera.forward(truth)[None], camera).cube[0]
    assert cube.shape == truth.shape
    assert torch.isfinite(cube).all()
    if bands == 1:
        assert (cube - truth).abs().max() < 0.05  # nothing is mixed: the measurement is the scene


def test_double_precision_and_reproducibility(quick, truth, camera):
    y = camera.forward(truth)[None]
    assert torch.equal(quick(y, camera).cube, quick(y, camera).cube)
    double = quick(y.double(), camera).cube
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), quick(y, camera).cube, rtol=1e-3, atol=1e-4)


def test_the_default_type_of_pytorch_does_not_matter(quick, truth, camera):
    blurred = camera.through(Blur.gaussian(0.5))
    y = blurred.forward(truth)[None]
    expected = quick(y, blurred).cube
    shipped_denoiser.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        other = camera.through(Blur.gaussian(0.5))
        assert torch.equal(quick(y, other).cube, expected)
        assert other.forward(truth.double()).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        shipped_denoiser.cache_clear()


def test_inputs_stay_as_they_were_and_no_gradient_is_kept(quick, truth, camera):
    y = camera.forward(truth)[None].requires_grad_()
    before = y.detach().clone()
    assert not quick(y, camera).cube.requires_grad
    assert torch.equal(y.detach(), before)


def test_progress_is_told_once_an_iteration(tv_solver, truth, camera):
    calls = []
    quick = replace(tv_solver, iterations=8)
    quick(camera.forward(truth)[None], camera, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_progress_never_goes_back_and_ends_with_everything(quick, truth, camera):
    calls = []
    y = camera.forward(torch.stack([truth, piecewise_smooth(seed=3)]))
    quick(y, camera, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert {total for _, total in calls} == {calls[-1][0]}


def test_gap_and_admm_are_one_method_without_noise_relaxation_and_falling_weight(truth, camera):
    y = camera.forward(truth)[None].double()
    same = {"noise": 0.0, "iterations": 6, "first_weight": 0.2, "weight": 0.2}
    gap, admm = solvers.GapTv(**same), solvers.AdmmTv(**same, relaxation=1.0)
    torch.testing.assert_close(gap(y, camera).cube, admm(y, camera).cube, rtol=0, atol=1e-12)


def test_bad_measurements_are_answered_in_one_line(quick, camera):
    good = torch.ones(1, SIZE, camera.measurement_width)
    broken = good.clone()
    broken[0, 3, 4], broken[0, 5, 6] = float("nan"), float("inf")
    for measurement, words in [
        (broken, "2 NaN or infinite"),
        (good[0], "batch"),
        (good.int(), "float"),
        (good[..., :-1], "columns wide"),
        (good[:, 1:], "rows"),
        (good[:0], "no frame"),
        (good.numpy(), "torch.from_numpy"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            quick(measurement, camera)
        assert "\n" not in str(caught.value)


def test_solvers_by_name():
    assert solvers.create_solver("gap-tv", iterations=7) == solvers.GapTv(iterations=7)
    assert isinstance(solvers.create_solver("admm-tv"), solvers.AdmmTv)
    with pytest.raises(InputError, match="admm-tv"):
        solvers.create_solver("gap")
    with pytest.raises(InputError, match="first_weight"):
        solvers.create_solver("gap-tv", relaxation=1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"inner": 0},
        {"weight": 0.0},
        {"first_weight": math.inf},
        {"smoothness": -1},
    ],
)
def test_impossible_settings_are_refused(tv_solver, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(tv_solver, **wrong)


@pytest.mark.parametrize("solver", [solvers.GapTv, solvers.AdmmTv])
def test_a_negative_noise_term_is_refused(solver):
    with pytest.raises(InputError, match="noise"):
        solver(noise=-0.1)


def test_relaxation_out_of_range_is_refused():
    with pytest.raises(InputError, match="relaxation"):
        solvers.AdmmTv(relaxation=2.0)
