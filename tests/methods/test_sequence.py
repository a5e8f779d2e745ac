"""What a frame takes from the frame before: a start, and what has not changed."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.methods import Before, RunOptions, run_method
from crsdun.optics import CassiCamera, Estimate, random_mask
from crsdun.solvers import AdmmTv, GapTv, Solver

C, H, W = 4, 24, 20
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0)


def scene(phase: float = 0) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    return torch.stack(
        [0.5 + 0.4 * torch.sin(rows / 3 + columns / 4 + band / 3 + phase) for band in range(C)]
    ).float()


def camera(wavelengths: tuple[float, ...] = WAVELENGTHS) -> CassiCamera:
    return CassiCamera(random_mask(H, W, seed=1), wavelengths=wavelengths)


def noisy(x: torch.Tensor, seed: int, sigma: float = 0.1) -> torch.Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Given(Solver):
    """Returns what it is told to begin with, or zeros."""

    takes_start = True

    def __call__(self, measurement, camera, progress=None, start=None):
        return Estimate([torch.zeros(1, C, H, W) if start is None else start.clone()])


# -- a start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelengths", [WAVELENGTHS, WAVELENGTHS[::-1], (550.0, 450.0, 600.0, 500.0)])
def test_the_cube_before_reaches_the_method_in_the_order_of_the_camera(wavelengths):
    cube, told = scene().numpy(), camera(wavelengths)
    run = run_method(Given(), told.forward(scene()), told, RunOptions(before=Before(cube)))
    np.testing.assert_array_equal(run.estimate.cube[0].numpy(), cube)  # ascending again
    cold = run_method(Given(), told.forward(scene()), told, RunOptions(before=Before(cube, warm=False)))
    assert not cold.estimate.cube.any()


def test_a_cube_of_another_size_is_refused():
    told, cube = camera(), scene().numpy()[:, :-1]
    with pytest.raises(InputError, match=r"\(4, 24, 20\) .*, but the one before \(4, 23, 20\)"):
        run_method(GapTv(iterations=2), told.forward(scene()), told, RunOptions(before=Before(cube)))


@pytest.mark.parametrize("solver", [GapTv(iterations=50), AdmmTv(iterations=50)])
def test_solvers_need_fewer_iterations_from_a_cube_nearby(solver):
    told = camera()
    y, counted = told.forward(scene(0.2)), []
    before = run_method(solver, told.forward(scene()), told).estimate.cube[0].numpy()
    cold = run_method(solver, y, told, progress=lambda done, total: counted.append(total)).estimate.cube[0]
    warm = run_method(
        solver, y, told, RunOptions(before=Before(before)), lambda done, total: counted.append(total)
    ).estimate.cube[0]
    assert set(counted) == {50, 30}
    error = [float((cube - scene(0.2)).square().mean()) for cube in (cold, warm)]
    assert error[1] < 1.05 * error[0]


def test_a_start_of_another_shape_is_refused():
    told = camera()
    with pytest.raises(InputError, match=r"a start has the shape \(1, 4, 24, 20\) here"):
        GapTv(iterations=2)(told.forward(scene())[None], told, start=torch.zeros(1, 3, H, W))


# -- what has not changed --------------------------------------------------------------------------------------------


def test_noise_falls_where_nothing_moves():
    before, x = noisy(scene(), 1), noisy(scene(), 2)
    smooth = Before(before.numpy(), smoothing=0.5).smooth(x, camera())
    errors = [float((cube - scene()).square().mean()) for cube in (x, smooth)]
    assert errors[1] < 0.65 * errors[0]  # a mean of two would have half


def test_what_moves_is_left_alone():
    before, x = noisy(scene(), 1, 0.02), noisy(scene(), 2, 0.02)
    before[:, :, : W // 2] = noisy(scene(2), 3, 0.02)[:, :, : W // 2]
    smooth = Before(before.numpy(), smoothing=0.5).smooth(x, camera())
    moved, still = slice(0, W // 2 - 3), slice(W // 2 + 3, W)
    assert float((smooth - x)[..., moved].abs().max()) < 0.02
    assert float((smooth - x)[..., still].abs().mean()) > 0.005


def test_another_scene_is_left_alone():
    x = scene()
    smooth = Before(1 - x.numpy(), smoothing=0.5).smooth(x, camera())
    assert float((smooth - x).abs().mean()) < 0.1 * float((1 - 2 * x).abs().mean())


def test_without_smoothing_nothing_changes():
    x = noisy(scene(), 2)
    assert Before(scene().numpy()).smooth(x, camera()) is x
    for smoothing in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="at least 0 and below 1"):
            Before(scene().numpy(), smoothing=smoothing)
