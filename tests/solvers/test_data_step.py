"""Optics whose A Aᵀ is not diagonal: the step towards the measurement, and that telling them is worth it."""

import pytest
import torch

from crsdun.optics import (
    Blur,
    CassiCamera,
    Distortion,
    SensorNoise,
    SideCamera,
    StackedCamera,
    Validity,
    dual_disperser,
    random_mask,
)
from crsdun.solvers import create_solver
from crsdun.solvers.data_step import solved
from crsdun.solvers.held_out import HeldOut
from tests.solvers.test_solvers import BANDS, SIZE, piecewise_smooth, psnr

PLAIN = CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)
ROWS, COLUMNS = (torch.linspace(-1, 1, size) for size in PLAIN.measurement_shape)
RADIUS = ROWS[:, None] ** 2 + COLUMNS**2
FIELD = torch.stack([1.2 * ROWS[:, None] * RADIUS, 1.2 * COLUMNS * RADIUS])
DEAD = torch.rand(PLAIN.measurement_shape, generator=torch.Generator().manual_seed(3)) < 0.05
SECOND = CassiCamera(random_mask(SIZE, SIZE, seed=1), bands=BANDS)


@pytest.mark.parametrize(
    "camera",
    [
        CassiCamera(random_mask(6, 7), offsets=[0, 1.5, 3.2]),
        CassiCamera(random_mask(6, 7), bands=3).through(Blur.gaussian(0.7)),
        StackedCamera(CassiCamera(random_mask(6, 7), bands=3), CassiCamera(random_mask(6, 7, seed=1), bands=3)),
    ],
    ids=["fractional", "blur", "two exposures"],
)
def test_a_few_steps_come_nearer_to_the_solution_than_a_division(camera):
    camera = camera.to(torch.float64)
    residual = torch.rand(2, *camera.measurement_shape, generator=torch.Generator().manual_seed(0)).double()
    used = (camera.row_sums > 0) & (torch.rand(camera.measurement_shape) > 0.2)
    noise = 0.1 * camera.row_sums.mean() * (1 + torch.rand(camera.measurement_shape, dtype=torch.float64))

    def divided(r):
        return torch.where(used, r / (camera.row_sums + noise), 0)

    found = solved(camera, residual, noise, divided)
    assert (found[:, ~used] == 0).all()
    torch.testing.assert_close(found[1], solved(camera, residual[1], noise, divided))
    pixels = torch.eye(used.numel(), dtype=torch.float64)[used.flatten()].view(-1, *used.shape)
    matrix = (camera.forward(camera.adjoint(pixels)) + noise * pixels)[:, used]
    exact = torch.linalg.solve(matrix, residual[:, used].mT).mT
    assert (found[:, used] - exact).norm() < 0.2 * (divided(residual)[:, used] - exact).norm()


def test_where_a_times_its_adjoint_is_diagonal_it_is_a_division():
    def divided(r):
        return r / 3

    residual = exposed(PLAIN)
    assert torch.equal(solved(PLAIN, residual, 0.0, divided), divided(residual))


def decoded(measurement: torch.Tensor, camera: CassiCamera, name: str = "lr-tv") -> float:
    return psnr(create_solver(name, iterations=100)(measurement[None], camera).cube[0], piecewise_smooth())


def exposed(camera: CassiCamera) -> torch.Tensor:
    noise = SensorNoise(photons=5000)
    return noise(camera.forward(piecewise_smooth()), BANDS, torch.Generator().manual_seed(0))


# By how much, in dB, the cube is better if the solver is told the optics.
TOLD = {
    "blur": (PLAIN.through(Blur.gaussian(0.6)), 6),
    "blur of each band": (PLAIN.through(Blur.gaussian([0.3 + 0.5 * c / BANDS for c in range(BANDS)])), 6),
    "distortion": (PLAIN.through(Distortion(FIELD)), 8),
}


@pytest.mark.parametrize("name", TOLD)
def test_telling_the_optics_beats_pretending_there_are_none(name):
    camera, gain = TOLD[name]
    y = exposed(camera)
    assert decoded(y, camera) > decoded(y, PLAIN) + gain


def test_telling_where_the_dispersion_goes_beats_pretending_it_runs_along_the_rows():
    camera = CassiCamera(random_mask(SIZE, SIZE), offsets=[(0.25 * c, 2 * c) for c in range(BANDS)])
    y = exposed(camera)
    assert decoded(y, camera) > decoded(y[1:-1], PLAIN) + 8


@pytest.mark.parametrize("reading", [0.0, float(BANDS)])
def test_telling_dead_pixels_beats_believing_them(reading):
    y = torch.where(DEAD, reading, exposed(PLAIN))
    told = decoded(y, PLAIN.through(Validity(~DEAD)))
    assert told > decoded(y, PLAIN) + 4
    assert told > decoded(exposed(PLAIN), PLAIN) - 1


def test_two_exposures_are_better_than_one():
    both = StackedCamera(PLAIN, SECOND)
    assert decoded(exposed(both), both) > decoded(exposed(PLAIN), PLAIN) + 2


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_a_second_camera_helps(channels):
    centres = torch.arange(1, channels + 1)[:, None] / (channels + 1)
    response = torch.exp(-(((torch.linspace(0, 1, BANDS) - centres) * channels / 0.6) ** 2))
    both = StackedCamera(PLAIN, SideCamera(response, SIZE, SIZE))
    assert decoded(exposed(both), both) > decoded(exposed(PLAIN), PLAIN) + 2


@pytest.mark.parametrize("name", ["lr-tv", "gap-tv", "admm-tv"])
def test_each_picture_may_be_in_units_of_its_own(name):
    random = torch.Generator().manual_seed(0)
    grey = torch.poisson(piecewise_smooth().mean(0) * 500, generator=random) / 500
    photons = {"photons": 5000.0} if name == "lr-tv" else {}
    solver = create_solver(name, iterations=30, **photons)
    cubes = []
    for unit in (1, 255, 4095):
        both = StackedCamera(PLAIN, SideCamera(torch.full((1, BANDS), unit / BANDS), SIZE, SIZE))
        cubes.append(solver(both.measurement(exposed(PLAIN), unit * grey)[None], both).cube)
    for cube in cubes[1:]:
        torch.testing.assert_close(cube, cubes[0], atol=2e-3, rtol=0)


def test_each_picture_has_noise_of_its_own():
    random = torch.Generator().manual_seed(0)
    both = StackedCamera(PLAIN, SideCamera(torch.full((1, BANDS), 1 / BANDS), SIZE, SIZE))
    truth = both.forward(piecewise_smooth())
    sigma = torch.ones_like(truth)
    sigma[SIZE:] = 0.1
    pixels = HeldOut(truth + sigma * torch.randn(truth.shape, generator=random), both, 0.2)
    pixels.look(truth)
    coded, grey = (float(part.mean()) for part in both.pictures(pixels.variance))
    assert grey < coded / 30


def test_a_double_disperser_is_decoded():
    mask = random_mask(SIZE, SIZE + 2 * (BANDS - 1))
    camera, mirrored = (dual_disperser(mask, bands=BANDS, step=step) for step in (2, -2))
    y = exposed(camera)
    assert decoded(y, camera) > decoded(y, mirrored) + 6


@pytest.mark.parametrize("name", ["gap-tv", "admm-tv", "pnp"])
def test_other_solvers_take_them_too(name):
    camera = PLAIN.through(Blur.gaussian(0.6), Validity(~DEAD))
    stacked = StackedCamera(camera, SideCamera(torch.full((1, BANDS), 0.5), SIZE, SIZE))
    settings = {"iterations": 3} if name == "pnp" else {}
    y = exposed(stacked)
    told = create_solver(name, **settings)(y[None], stacked).cube[0]
    pretended = create_solver(name, **settings)(y[None, :SIZE, : PLAIN.measurement_width], PLAIN).cube[0]
    assert psnr(told, piecewise_smooth()) > psnr(pretended, piecewise_smooth()) + 3
