"""Protocols against their formulas written out."""

import math

import pytest
import torch
import torch.nn.functional as F

from crsdun.errors import InputError
from crsdun.evaluation import PROTOCOLS, cube_metrics, get_protocol

generator = torch.Generator().manual_seed(0)
TRUTH = torch.rand(3, 20, 24, generator=generator)
ERRORS = torch.tensor([0.1, 0.01, 0.001]).view(3, 1, 1)  # 20, 40 and 60 dB


def ssim_by_hand(estimate, truth, border):
    """SSIM of one band at every pixel (Wang et al. 2004: σ 1.5, K1 0.01, K2 0.03, range 1)."""
    line = torch.exp(-((torch.arange(11) - 5) ** 2) / (2 * 1.5**2)).double()
    window = torch.outer(line, line) / line.sum() ** 2
    estimate, truth = (F.pad(band.double()[None, None], 4 * [5], mode=border) for band in (estimate, truth))

    def smooth(image):
        return F.conv2d(image, window[None, None])[0, 0]

    a, b = smooth(estimate), smooth(truth)
    aa, bb, ab = smooth(estimate**2) - a**2, smooth(truth**2) - b**2, smooth(estimate * truth) - a * b
    return ((2 * a * b + 1e-4) * (2 * ab + 9e-4)) / ((a**2 + b**2 + 1e-4) * (aa + bb + 9e-4))


def test_the_mean_over_bands_is_not_the_psnr_of_the_cube():
    pooled = -10 * math.log10((0.01 + 0.0001 + 0.000001) / 3)
    assert cube_metrics(TRUTH + ERRORS, TRUTH, "crsdun")["psnr_db"] == pytest.approx(pooled, abs=1e-3)
    assert cube_metrics(TRUTH + ERRORS, TRUTH, "float")["psnr_db"] == pytest.approx(40, abs=1e-2)


def test_mst_rounds_to_steps_of_a_256th_and_takes_255_as_the_peak():
    truth = torch.zeros(1, 12, 12)
    assert cube_metrics(truth + 2 / 256, truth, "mst")["psnr_db"] == pytest.approx(20 * math.log10(255 / 2), abs=1e-4)
    # Less than half a step more is nothing.
    two, more = (cube_metrics(truth + steps / 256, truth, "mst")["psnr_db"] for steps in (2, 2.4))
    assert two == more


def test_nothing_is_clipped_in_any_protocol():
    for name in PROTOCOLS:
        bright = torch.full((2, 12, 12), 3.0)
        assert cube_metrics(bright + 1, bright, name)["psnr_db"] < 0.1


def test_equal_cubes_do_not_swallow_the_mean():
    for name in PROTOCOLS:
        metrics = cube_metrics(TRUTH, TRUTH, name)
        assert metrics["psnr_db"] == 100
        assert metrics["ssim"] == pytest.approx(1)
        assert metrics["protocol"] == name


@pytest.mark.parametrize(("protocol", "border"), [("crsdun", "reflect"), ("float", "reflect"), ("mst", "constant")])
def test_ssim_by_hand(protocol, border):
    estimate = TRUTH + 0.2 * torch.rand(TRUTH.shape, generator=generator)
    maps = [ssim_by_hand(a, b, border) for a, b in zip(estimate, TRUTH, strict=True)]
    assert cube_metrics(estimate, TRUTH, protocol)["ssim"] == pytest.approx(float(torch.stack(maps).mean()), abs=1e-5)


def test_figures_of_whole_cubes_are_those_of_torchmetrics_bit_for_bit():
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    estimate = TRUTH + 0.1 * torch.rand(TRUTH.shape, generator=generator)
    found = cube_metrics(estimate, TRUTH, "crsdun")
    assert found["psnr_db"] == peak_signal_noise_ratio(estimate, TRUTH, data_range=1.0, dim=(0, 1, 2)).item()
    ssim = structural_similarity_index_measure(estimate[None], TRUTH[None], data_range=1.0)
    assert found["ssim"] == cube_metrics(estimate, TRUTH, "float")["ssim"] == ssim.item()
    assert found["rmse"] == (estimate - TRUTH).square().mean().sqrt().item()


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InputError, match="no protocol 'uint8'; there are crsdun, mst, float"):
        get_protocol("uint8")
