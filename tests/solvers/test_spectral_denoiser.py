"""White noise out of cubes: how much, for which cubes, and in proportion."""

import pytest
import torch

from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import SpectralDenoiser, spectral_denoiser
from tests.solvers.test_solvers import psnr


@pytest.fixture(scope="module")
def denoiser() -> SpectralDenoiser:
    return SpectralDenoiser().requires_grad_(False)


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    return torch.as_tensor(ProduceSet("validation").crop(0, 80, 80, 64, 64).cube)[None]


def noise(like: torch.Tensor, sigma: float) -> torch.Tensor:
    return sigma * torch.randn(like.shape, generator=torch.Generator().manual_seed(0))


def level(sigma: float) -> torch.Tensor:
    return torch.tensor([sigma])


@pytest.mark.parametrize(("sigma", "gain"), [(0.005, 5), (0.05, 10), (0.15, 12)])
def test_noise_is_taken_out(denoiser, truth, sigma, gain):
    noisy = truth + noise(truth, sigma)
    assert psnr(denoiser(noisy, level(sigma)), truth) > psnr(noisy, truth) + gain


def test_the_network_is_better_than_the_filter_alone_and_left_out_where_it_is_not(denoiser, truth, monkeypatch):
    figures = {}
    for least in (torch.inf, spectral_denoiser.LEAST_SIGMA, 0):
        monkeypatch.setattr(spectral_denoiser, "LEAST_SIGMA", least)
        figures[least] = [psnr(denoiser(truth + noise(truth, s), level(s)), truth) for s in (0.005, 0.05)]
    filtered, usual, learnt = figures.values()
    assert usual[1] == learnt[1] > filtered[1] + 1.5
    assert usual[0] == filtered[0] > learnt[0] + 1.5


def test_any_number_of_bands_and_any_brightness(denoiser, truth):
    for bands in (1, 3):
        part = truth[:, ::9][:, :bands]
        noisy = part + noise(part, 0.05)
        assert psnr(denoiser(noisy, level(0.05)), part) > psnr(noisy, part)
    noisy = truth + noise(truth, 0.05)
    brighter = denoiser(100 * noisy, level(5.0))
    torch.testing.assert_close(brighter, 100 * denoiser(noisy, level(0.05)), rtol=0, atol=0.02)


def test_what_is_all_noise_becomes_flat(denoiser):
    flat = 0.4 + noise(torch.zeros(1, 4, 32, 32), 0.01)
    denoised = denoiser(flat, level(0.02))
    assert float(denoised.std((-2, -1)).max()) < 1e-6
    torch.testing.assert_close(denoised.mean((-2, -1)), flat.mean((-2, -1)))


def test_each_of_a_batch_has_a_noise_of_its_own_and_gradients_arrive(truth):
    denoiser = SpectralDenoiser()
    noisy = torch.cat([truth + noise(truth, 0.05), truth + noise(truth, 0.2)])[..., :32, :32].requires_grad_()
    denoised = denoiser(noisy, torch.tensor([0.05, 0.2]))
    torch.testing.assert_close(denoised[1:], denoiser(noisy[1:], level(0.2)))
    denoised.square().mean().backward()
    assert noisy.grad.abs().max() > 0
    assert all(weight.grad is not None for weight in denoiser.parameters())
