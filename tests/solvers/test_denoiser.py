"""The shipped denoiser: what it computes, how little it asks of its input, and that it denoises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crsdun.solvers.denoiser import MOST_IMAGES, WEIGHTS, CoefficientDenoiser, shipped_denoiser

STORED = Path(__file__).with_name("denoised.npz")
CPU = torch.device("cpu")


def images(r: int, height: int, width: int) -> Tensor:
    """Edges at the same places in all images, the later ones weaker, about 0.5."""
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 3) ** 2 < (height / 4) ** 2
    bar = columns > 0.7 * width
    made = [0.5 + (0.3 * disc - 0.2 * bar * (-1) ** k + 0.1 * np.sin(rows / 9)) / (1 + k) for k in range(r)]
    return torch.as_tensor(np.stack(made), dtype=torch.float32)[None]


@pytest.fixture(scope="module")
def denoiser() -> CoefficientDenoiser:
    return shipped_denoiser(CPU)


def test_it_is_small_and_stored_without_pickle(denoiser):
    assert sum(each.numel() for each in denoiser.parameters()) == 901_184
    assert WEIGHTS.suffix == ".safetensors"
    assert WEIGHTS.stat().st_size < 4e6
    assert WEIGHTS.with_suffix(".md").is_file()


def test_it_computes_what_it_computed_when_it_was_shipped(denoiser):
    stored = np.load(STORED)
    out = denoiser(torch.as_tensor(stored["images"]), torch.as_tensor(stored["sigma"]))
    torch.testing.assert_close(out, torch.as_tensor(stored["denoised"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1])
def test_white_noise_is_removed(denoiser, sigma):
    truth = images(6, 64, 80)
    noisy = truth + sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    left = (denoiser(noisy, torch.tensor([sigma])) - truth).square().mean().sqrt()
    assert left < 0.6 * sigma


@pytest.mark.parametrize("r", range(1, MOST_IMAGES + 1))
def test_any_number_of_images(denoiser, r):
    truth = images(r, 40, 40)
    noisy = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(r))
    out = denoiser(noisy, torch.tensor([0.05]))
    assert out.shape == truth.shape
    assert (out - truth).square().mean() < (noisy - truth).square().mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 9), (33, 64), (50, 17)])
def test_any_size(denoiser, size):
    out = denoiser(images(4, *size), torch.tensor([0.02]))
    assert out.shape == (1, 4, *size)
    assert torch.isfinite(out).all()


def test_brightness_and_scale_do_not_matter(denoiser):
    noisy = images(5, 32, 48) + 0.05 * torch.randn(1, 5, 32, 48, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.05])
    expected = 30 * denoiser(noisy, sigma) + 7
    torch.testing.assert_close(denoiser(30 * noisy + 7, 30 * sigma), expected, rtol=1e-4, atol=1e-3)


def test_each_scene_of_a_batch_has_a_noise_level_of_its_own(denoiser):
    noisy = images(5, 32, 48) + 0.05 * torch.randn(2, 5, 32, 48, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.02, 0.08])
    singles = torch.cat([denoiser(one[None], s[None]) for one, s in zip(noisy, sigma, strict=True)])
    torch.testing.assert_close(denoiser(noisy, sigma), singles, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(denoiser(noisy, sigma), denoiser(noisy, sigma.flip(0)), atol=1e-3)


def test_without_learning_it_changes_nothing():
    noisy = images(3, 16, 16)
    assert torch.equal(CoefficientDenoiser()(noisy, torch.tensor([0.1])), noisy)
