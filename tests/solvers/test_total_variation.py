"""The proximal step against a reference that knows nothing of it, and its properties."""

import numpy as np
import pytest
import torch
from scipy import optimize

from crsdun.solvers.total_variation import TotalVariation


def variation(image: np.ndarray) -> float:
    """Isotropic total variation of (H,W), by its definition."""
    total = 0.0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            down = image[row + 1, column] - image[row, column] if row + 1 < image.shape[0] else 0.0
            right = image[row, column + 1] - image[row, column] if column + 1 < image.shape[1] else 0.0
            total += float(np.hypot(down, right))
    return total


def denoise(cube: torch.Tensor, weight: float, inner: int = 2000, smoothness: float = 0.0) -> torch.Tensor:
    return TotalVariation(cube.shape, cube, smoothness).step(cube, weight, inner, torch.empty_like(cube))


@pytest.fixture
def cube():
    return torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_one_band_against_a_general_minimiser():
    image = np.random.default_rng(0).random((4, 5))
    weight = 0.15

    def objective(flat: np.ndarray) -> float:
        return 0.5 * float(((flat - image.ravel()) ** 2).sum()) + weight * variation(flat.reshape(image.shape))

    ours = denoise(torch.as_tensor(image)[None, None], weight)[0, 0].numpy()
    # A cold start and many restarts of a derivative-free method: slow, but it shares nothing with ours.
    found = image.ravel()
    for _ in range(6):
        found = optimize.minimize(objective, found, method="Powell", options={"xtol": 1e-9, "ftol": 1e-12}).x
    assert objective(ours.ravel()) <= objective(found) + 1e-9
    directions = np.random.default_rng(1).standard_normal((200, image.size))
    assert all(objective(ours.ravel() + 1e-3 * step) > objective(ours.ravel()) for step in directions)


def test_two_pixels_by_hand():
    # |a − b| with weight w moves both towards each other by w.
    pair = torch.tensor([[[[0.0, 1.0]]]], dtype=torch.float64)
    torch.testing.assert_close(denoise(pair, 0.2), torch.tensor([[[[0.2, 0.8]]]], dtype=torch.float64))


def test_a_difference_between_bands_counts_more_with_smoothness():
    # Two bands: frequency 0 is their mean (weight 1), frequency 1 their difference (weight 2^smoothness).
    common = torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]]]], dtype=torch.float64)
    opposite = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]], dtype=torch.float64)
    for smoothness in (0.0, 1.0):
        shrink = [float((one - denoise(one, 0.1, smoothness=smoothness)).norm()) for one in (common, opposite)]
        assert shrink[1] / shrink[0] == pytest.approx(2**smoothness)


def test_a_constant_image_stays(cube):
    flat = torch.ones_like(cube) * torch.arange(3.0, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(denoise(flat, 10.0, smoothness=0.7), flat)


def test_the_mean_of_each_band_is_kept_and_the_variation_falls(cube):
    means, variations = cube.mean((-2, -1)), [variation(band.numpy()) for band in cube.flatten(0, 1)]
    for weight in (0.05, 0.2, 1.0):
        smooth = denoise(cube, weight)
        torch.testing.assert_close(smooth.mean((-2, -1)), means)
        fallen = [variation(band.numpy()) for band in smooth.flatten(0, 1)]
        # With more than one band only the sum over frequencies must fall, here it does in each band.
        assert all(after < before for after, before in zip(fallen, variations, strict=True))
        variations = fallen


def test_a_heavy_weight_leaves_the_mean(cube):
    torch.testing.assert_close(denoise(cube, 50.0), cube.mean((-2, -1), keepdim=True).expand_as(cube))


def test_a_warm_start_continues_where_it_was(cube):
    continued = TotalVariation(cube.shape, cube, 0.5)
    for _ in range(10):
        result = continued.step(cube, 0.2, 5, torch.empty_like(cube))
    torch.testing.assert_close(result, denoise(cube, 0.2, inner=50, smoothness=0.5))


def test_in_place_equals_out_of_place(cube):
    expected = denoise(cube, 0.2, inner=5)
    own = cube.clone()
    TotalVariation(own.shape, own).step(own, 0.2, 5, out=own)
    torch.testing.assert_close(own, expected)
