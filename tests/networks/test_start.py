"""What CRSDUN begins with: a solver's cube, a scale of its own, classes of single spectra, bands for the classes."""

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError
from crsdun.methods import RunOptions, Tiles, run_method
from crsdun.networks.start import MEAN, PixelClassifier, on_bands, own_scale, resampling, standard_mask
from crsdun.optics import moved_mask
from crsdun.solvers import LrTv

BANDS = (420.0, 470.0, 520.0, 590.0, 660.0)
WARM = {"start": "lr-tv", "start_iterations": 30, "start_classes": True, "own_scale": True, "quiet": True}


def camera(**settings) -> crsdun.CassiCamera:
    mask = (np.random.default_rng(3).random((32, 48)) < 0.5).astype(np.float32)
    return crsdun.CassiCamera(mask, **{"wavelengths": BANDS, **settings})


def scene() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 32), torch.linspace(0, 4, 48), indexing="ij")
    return 0.4 + 0.3 * torch.sin(rows + columns + torch.arange(5)[:, None, None] / 2)


def network(**settings) -> crsdun.networks.Network:
    torch.manual_seed(0)
    return crsdun.create("crsdun_2stg", 5, 3, **settings).eval()


@torch.no_grad()
def test_it_begins_with_what_the_solver_finds():
    warm, c = network(**WARM), camera()
    y = c.forward(scene())[None]
    begun = warm.begin(y, c)
    assert torch.equal(begun, LrTv(iterations=30)(y, c).cube)
    assert torch.equal(warm(y, c).cube, warm(y, c, begun=begun).cube)
    assert network().begin(y, c) is None


@torch.no_grad()
def test_untrained_and_quiet_it_keeps_what_the_solver_found():
    c = camera()
    y = c.forward(scene())[None]
    begun = network(**WARM).begin(y, c)

    def far(**changes) -> float:
        return float((network(**WARM | changes)(y, c).cube - begun).square().mean().sqrt())

    assert far() < 0.01
    assert far(quiet=False) > 5 * far()


@torch.no_grad()
def test_a_quiet_network_with_nothing_to_begin_with_begins_with_the_measurement():
    c, quiet = camera(), network(quiet=True, own_scale=True)
    estimate = c.mean_estimate(c.forward(scene())[None])
    told = torch.cat([estimate, c.mask_per_band[None]], 1)
    assert torch.allclose(quiet.initial(told), estimate, atol=1e-6)
    assert not torch.allclose(network(own_scale=True).initial(told), estimate, atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("start", ["lr-tv", "learnt"])
def test_on_a_scale_of_its_own_three_times_the_light_is_three_times_the_cube(start):
    c, y = camera(), camera().forward(scene())[None]
    for own, bright in ((True, True), (False, False)):
        warm = network(**WARM | {"start": start, "own_scale": own})
        once, thrice = warm(y, c), warm(3 * y, c)
        scaled = torch.allclose(thrice.cube, 3 * once.cube, rtol=1e-3, atol=1e-3)
        assert (scaled and torch.allclose(thrice.logits[-1], once.logits[-1], atol=1e-3)) == bright


def test_the_own_scale_is_that_of_a_grey_scene():
    c = camera()
    grey = c.forward(torch.full((2, 5, 32, 48), 0.5) * torch.tensor([1.0, 4.0])[:, None, None, None])
    torch.testing.assert_close(own_scale(grey, c).flatten(), torch.tensor([0.5, 2.0]) / MEAN)
    assert own_scale(torch.zeros(1, 32, c.measurement_width), c).item() == 1  # no light, nothing to divide by


def test_a_mean_estimate_does_not_depend_on_how_much_light_the_mask_lets_through():
    c = camera()
    darker = c.with_mask(c.mask / 50)
    cube = scene()
    torch.testing.assert_close(
        c.mean_estimate(c.forward(cube)), darker.mean_estimate(darker.forward(cube)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(c.mean_estimate(c.forward(torch.full_like(cube, 0.3))).max(), torch.tensor(0.3))


@torch.no_grad()
def test_on_a_scale_of_its_own_a_mask_of_less_light_is_the_same():
    c = camera()
    dark = c.with_mask(c.mask / 50)
    warm, cube = network(**WARM), scene()
    bright, dim = warm(c.forward(cube)[None], c), warm(dark.forward(cube)[None], dark)
    torch.testing.assert_close(dim.cube, bright.cube, rtol=1e-3, atol=1e-3)
    assert standard_mask(dark)[0].diagonal.mean() == pytest.approx(2.5)
    closed = c.with_mask(c.mask * 0)
    assert torch.isfinite(warm(closed.forward(cube)[None], closed).cube).all()


@torch.no_grad()
def test_each_stage_is_told_how_noisy_the_measurement_is():
    c, told = camera(), []
    aware = network(**WARM, noise_aware=True)
    aware.stages[0].estimate.register_forward_hook(lambda layer, inputs, output: told.append(inputs[0][0, -1]))
    y = c.forward(scene())
    noise = 0.05 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    aware((y + noise)[None], c, begun=scene()[None])
    aware(y[None], c, begun=scene()[None])
    expected = float((noise.square().mean() / (y + noise).square().mean()).log10()) / 4 + 1
    assert told[0].unique().numel() == 1
    assert float(told[0][0, 0]) == pytest.approx(expected, abs=0.05)
    assert float(told[1][0, 0]) == pytest.approx(-1, abs=0.05)
    # Before training it changes nothing, and the damping is the published one.
    plain = network(**WARM)(y[None], c, begun=scene()[None])
    torch.testing.assert_close(aware(y[None], c, begun=scene()[None]).cube, plain.cube, rtol=0, atol=1e-4)


def test_spectra_are_interpolated_and_kept_beyond_the_last_band():
    matrix = resampling((400.0, 500.0, 600.0), (380.0, 450.0, 600.0, 700.0), torch.zeros(1))
    spectrum = torch.tensor([1.0, 3.0, 2.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(on_bands(spectrum, matrix).flatten(), torch.tensor([1.0, 2.0, 2.0, 2.0]))
    descending = resampling((600.0, 500.0, 400.0), (450.0,), torch.zeros(1))
    torch.testing.assert_close(on_bands(spectrum.flip(1), descending).flatten(), torch.tensor([2.0]))
    assert resampling(BANDS, BANDS, torch.zeros(1)) is None
    assert resampling(None, BANDS, torch.zeros(1)) is None


@torch.no_grad()
def test_classes_are_recognised_on_bands_of_their_own():
    """Behind a camera with twice as fine bands the classifier sees the spectra that it knows."""
    seen = []
    warm = network(**WARM, class_bands=",".join(map(str, BANDS)))
    warm.classify.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    narrow = (420.0, 450.0, 480.0, 510.0, 540.0)
    linear = 0.2 + (torch.tensor(narrow) - 420) / 400  # a spectrum that interpolation gives back exactly
    cube = linear[:, None, None].expand(5, 32, 48).contiguous()
    c = camera(wavelengths=narrow)
    warm(c.forward(cube)[None], c, begun=cube[None])
    brighter = float(own_scale(c.forward(cube)[None], c))
    expected = np.interp(BANDS, narrow, linear.numpy()) / brighter
    np.testing.assert_allclose(seen[0][0, :, 10, 10].numpy(), expected, rtol=1e-4)


def test_class_bands_are_as_many_as_the_network_has():
    with pytest.raises(InputError, match="are not 5 bands; set class_bands to nbk7:5"):
        network(**WARM, class_bands="nbk7")


def test_the_class_of_a_spectrum_hardly_depends_on_its_brightness():
    torch.manual_seed(0)
    classify = PixelClassifier(5, 3)
    x = torch.rand(1, 5, 4, 4) + 0.5
    shapes = []
    classify.layers[0].register_forward_hook(lambda layer, inputs, output: shapes.append(inputs[0][:, :5]))
    classify(x), classify(2 * x)
    assert (shapes[0] - shapes[1]).abs().max() < 0.1 < shapes[0].abs().max()


def test_progress_counts_iterations_and_layers():
    warm, c, calls = network(**WARM), camera(), []
    with torch.no_grad():
        warm(c.forward(scene())[None], c, lambda done, total: calls.append((done, total)))
    done, totals = zip(*calls, strict=True)
    assert list(done[:30]) == list(range(1, 31))
    assert len(set(totals)) == 1
    assert 30 < max(done) <= totals[0]
    assert list(done) == sorted(done)


def test_a_solver_is_no_graph():
    assert network().exportable
    assert not network(**WARM).exportable


@torch.no_grad()
def test_the_mask_is_looked_for_in_use_and_not_in_training():
    rng = np.random.default_rng(5)
    mask = (rng.random((96, 128)) < 0.5).astype(np.float32)
    told = crsdun.CassiCamera(mask, wavelengths=BANDS)
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 96), torch.linspace(0, 8, 128), indexing="ij")
    cube = 0.4 + 0.3 * torch.sin(rows + columns + torch.arange(5)[:, None, None] / 2)
    true = told.with_mask(torch.from_numpy(moved_mask(mask, 1, 0)))
    y = true.forward(cube)[None]
    looking, trusting = network(**WARM, align=True), network(**WARM)
    found, taken = looking(y, told), trusting(y, told)
    assert found.camera.moved == pytest.approx((1, 0), abs=0.1)
    assert (found.cube - cube).square().mean() < (taken.cube - cube).square().mean() / 10
    assert taken.camera is None
    assert looking.train()(y, told).camera is None
    exact = looking.eval()(told.forward(cube)[None], told)
    assert exact.camera is None

    run = run_method(looking, y[0], told)
    assert run.camera.moved == found.camera.moved
    blind = run_method(trusting, y[0], told)
    assert run.residual < blind.residual / 2
    tiled = run_method(looking, y[0], told, RunOptions(tiles=Tiles(64)))
    assert tiled.camera.moved == pytest.approx((1, 0), abs=0.15)
    assert tiled.residual < 0.6 * blind.residual
