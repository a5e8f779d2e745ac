"""PnP: what it gains, which denoisers it takes, and what it says of those that are none."""

import json

import pytest
import torch
from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, SensorNoise, random_mask
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import Pnp, create_solver, per_image
from tests.solvers.test_solvers import BANDS, SIZE, piecewise_smooth, psnr

QUICK = {"iterations": 2}


def unchanged(images: Tensor, sigma: Tensor) -> Tensor:
    return images


class Blur(nn.Module):
    """A denoiser of single grey pictures, as those of deepinv with one channel."""

    def forward(self, picture: Tensor, sigma: Tensor) -> Tensor:
        assert picture.shape[1] == 1
        assert sigma.shape == picture.shape[:1]
        return nn.functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


@pytest.fixture(scope="module")
def camera():
    return CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)


@pytest.fixture(scope="module")
def y(camera):
    return camera.forward(piecewise_smooth())[None]


@pytest.mark.parametrize(("noise", "gain"), [(SensorNoise(), 0.4), (SensorNoise(photons=500), 1.0)])
def test_better_than_lr_tv_on_produce(noise, gain):
    truth = torch.as_tensor(ProduceSet("validation").crop(1, 80, 80, 96, 96).cube)
    camera = CassiCamera(random_mask(96, 96), bands=len(truth))
    y = noise(camera.forward(truth), len(truth), torch.Generator().manual_seed(0))[None]
    before, after = (psnr(create_solver(name)(y, camera).cube[0], truth) for name in ("lr-tv", "pnp"))
    assert after > before + gain


def test_the_denoiser_is_called_with_images_and_their_noise(camera, y):
    calls = []

    def denoise(images: Tensor, sigma: Tensor) -> Tensor:
        calls.append((images, sigma))
        return images

    Pnp(iterations=3, images=4, denoiser=denoise)(y, camera)
    assert len(calls) == 3
    for images, sigma in calls:
        assert images.shape == (1, 4, SIZE, SIZE)
        assert sigma.shape == (1,)
        assert 0.005 < float(sigma) < 0.2
        assert images.min() > -0.5
        assert images.max() < 1.5


def test_the_images_are_mirrored_in_another_way_at_each_turn(camera, y):
    """So that what a denoiser prefers, such as light from the left, cannot add up."""
    seen = []

    def denoise(images: Tensor, sigma: Tensor) -> Tensor:
        seen.append(images[0])
        return images

    Pnp(iterations=4, denoiser=denoise)(y, camera)
    for turn, images in enumerate(seen):
        distance = [float((images.flip(mirror) - seen[0]).abs().mean()) for mirror in ((), (-1,), (-2,), (-2, -1))]
        assert distance.index(min(distance)) == turn


def test_a_denoiser_of_single_pictures(camera, y):
    solver = Pnp(**QUICK, denoiser=per_image(Blur()))
    assert torch.isfinite(solver(y, camera).cube).all()
    assert solver.settings["denoiser"] == "per_image(Blur)"


def test_settings_are_plain_and_name_the_denoiser():
    assert Pnp().settings["denoiser"] == "coefficient_denoiser"
    settings = Pnp(denoiser=unchanged, iterations=3).settings
    assert json.loads(json.dumps(settings)) == settings
    assert settings["denoiser"] == "unchanged"
    assert settings["iterations"] == 3
    assert create_solver("pnp", denoiser=unchanged) == Pnp(denoiser=unchanged)


@pytest.mark.parametrize(
    ("denoise", "words"),
    [
        (lambda images, sigma: images[:, :1], "shape"),
        (lambda images, sigma: images[..., :-1], "per_image"),
        (lambda images, sigma: images[0], "shape"),
        (lambda images, sigma: None, "NoneType"),
        (lambda images, sigma: images / 0, "NaN or infinity"),
    ],
)
def test_what_is_no_denoiser_is_refused(camera, y, denoise, words):
    with pytest.raises(InputError, match=words) as caught:
        Pnp(**QUICK, denoiser=denoise)(y, camera)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"iterations": 0}, "iterations"),
        ({"images": 0}, "images"),
        ({"images": 9}, "at most 8"),
        ({"denoiser": 3}, "int"),
    ],
)
def test_impossible_settings(wrong, words):
    with pytest.raises(InputError, match=words):
        Pnp(**wrong)


def test_another_denoiser_takes_more_images(camera, y):
    assert Pnp(**QUICK, images=20, denoiser=unchanged)(y, camera).cube.shape == (1, BANDS, SIZE, SIZE)


@pytest.mark.parametrize("bands", [1, 3, 31])
def test_any_number_of_bands(bands):
    truth = piecewise_smooth(bands, 40, 56)
    camera = CassiCamera(random_mask(40, 56), bands=bands)
    cube = Pnp(**QUICK)(camera.forward(truth)[None], camera).cube
    assert cube.shape == (1, bands, 40, 56)
    assert torch.isfinite(cube).all()


def test_detector_pixels_held_out_decide_whether_the_denoiser_helps(camera, y):
    def spoils(images: Tensor, sigma: Tensor) -> Tensor:
        return images.mean((-2, -1), keepdim=True).expand_as(images)

    before = create_solver("lr-tv")(y, camera)
    spoilt = Pnp(denoiser=spoils)(y, camera)
    torch.testing.assert_close(spoilt.cube, before.cube)
    assert spoilt.fits == before.fits
    helped = Pnp()(y, camera)
    assert helped.fits[0].held_out < before.fits[0].held_out
    assert helped.fits[0].noise == before.fits[0].noise
