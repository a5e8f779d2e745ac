"""A cube as images of its strongest components, and the step towards the measurement in them."""

import numpy as np
import pytest
import torch

from crsdun.optics import CassiCamera, random_mask
from crsdun.solvers.coefficients import Coefficients
from tests.solvers.test_solvers import BANDS, SIZE, piecewise_smooth


@pytest.fixture(scope="module")
def camera():
    return CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)


@pytest.mark.parametrize("most", [1, 3, BANDS])
def test_the_images_give_the_estimate_again(camera, most):
    cube = piecewise_smooth()
    coefficients = Coefficients.of(cube, most, camera)
    images = coefficients.images(cube)
    assert coefficients.rest.abs().max() > 0.05 or most > 1
    torch.testing.assert_close(coefficients.cube(images), cube, rtol=0, atol=1e-5)
    torch.testing.assert_close(coefficients.explained(images), camera.forward(cube), rtol=0, atol=1e-4)


def test_rows_are_explained_as_within_the_whole(camera):
    cube = piecewise_smooth()
    coefficients = Coefficients.of(cube, 3, camera)
    images = coefficients.images(cube)
    part = coefficients.rows(10, 20)
    torch.testing.assert_close(part.explained(images[:, 10:30]), coefficients.explained(images)[10:30])


def test_the_first_images_hold_most_and_all_lie_in_one_range(camera):
    images = Coefficients.of(piecewise_smooth(), 4, camera).images(piecewise_smooth())
    deviation = images.flatten(1).std(1)
    assert deviation[0] == pytest.approx(1 / 6, rel=1e-3)
    assert deviation.tolist() == sorted(deviation.tolist(), reverse=True)
    torch.testing.assert_close(images.mean((1, 2)), torch.full((4,), 0.5), rtol=0, atol=1e-4)


def test_a_cube_of_fewer_components_has_fewer_images(camera):
    spectra = torch.rand(BANDS, 2, generator=torch.Generator().manual_seed(0))
    maps = torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    assert Coefficients.of(torch.tensordot(spectra, maps, 1), 8, camera).basis.shape == (BANDS, 2)


@pytest.mark.parametrize("brightness", [0.0, 0.3])
def test_a_scene_without_contrast(camera, brightness):
    cube = torch.full((BANDS, SIZE, SIZE), brightness)
    coefficients = Coefficients.of(cube, 3, camera)
    torch.testing.assert_close(coefficients.cube(coefficients.images(cube)), cube)


def test_the_step_towards_the_measurement_is_the_minimum(camera):
    cube = piecewise_smooth()
    coefficients = Coefficients.of(cube, 3, camera)
    images = coefficients.images(piecewise_smooth(seed=1)).double()
    coefficients = Coefficients(
        camera.to(torch.float64),
        *(part.double() for part in (coefficients.mean, coefficients.basis, coefficients.rest)),
    )
    y, variance = camera.forward(cube).double(), torch.full((SIZE, camera.measurement_width), 0.01).double()
    variance[:, 10] = torch.inf  # one column does not count
    sigma = 0.05
    found = coefficients.towards(images, y, variance, sigma, iterations=300).requires_grad_()
    misfit = ((y - coefficients.explained(found)).square() / variance).sum()
    (misfit + (found - images).square().sum() / sigma**2).backward()
    assert found.grad.abs().max() < 1e-6


def test_a_measurement_that_is_explained_changes_nothing(camera):
    cube = piecewise_smooth()
    coefficients = Coefficients.of(cube, 8, camera)
    images = coefficients.images(cube)
    y = coefficients.explained(images)
    moved = coefficients.towards(images, y, torch.ones_like(y), 0.1)
    torch.testing.assert_close(moved, images, rtol=0, atol=1e-5)
    assert np.isfinite(moved.numpy()).all()
