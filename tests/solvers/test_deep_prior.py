"""The deep prior: what it gains, when it ends, and that an interrupted fit goes on as if it had not been."""

import json
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, SensorNoise, random_mask
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import DeepPrior, create_solver
from crsdun.solvers import deep_prior as module
from tests.solvers.test_solvers import BANDS, SIZE, piecewise_smooth, psnr


@pytest.fixture(scope="module")
def camera():
    return CassiCamera(random_mask(SIZE, SIZE), bands=BANDS)


@pytest.fixture(scope="module")
def y(camera):
    return SensorNoise(photons=500)(camera.forward(piecewise_smooth()), BANDS, torch.Generator().manual_seed(0))[None]


@pytest.mark.parametrize(("noise", "gain"), [(SensorNoise(), 0.7), (SensorNoise(photons=500), 1.2)])
def test_better_than_lr_tv_and_than_its_beginning(noise, gain):
    truth = torch.as_tensor(ProduceSet("validation").crop(1, 80, 80, 96, 96).cube)
    camera = CassiCamera(random_mask(96, 96), bands=len(truth))
    frame = noise(camera.forward(truth), len(truth), torch.Generator().manual_seed(0))[None]
    before, pnp = (psnr(create_solver(name)(frame, camera).cube[0], truth) for name in ("lr-tv", "pnp"))
    after = psnr(DeepPrior(iterations=60)(frame, camera).cube[0], truth)
    assert after > before + gain
    assert after > pnp


def test_the_pixels_held_out_end_it_and_the_best_is_kept(camera, y, monkeypatch):
    looks = []
    look = module.State.look

    def watched(self, images, held_out):
        look(self, images, held_out)
        looks.append(held_out)

    monkeypatch.setattr(module.State, "look", watched)
    monkeypatch.setattr(module, "EVERY_LOOK", 2)
    calls = []
    estimate = DeepPrior(iterations=400, rate=5e-3)(y, camera, lambda done, total: calls.append((done, total)))
    assert len(looks) < 200  # it has ended early ...
    assert calls[-1][0] == calls[-1][1]  # ... and says that it is done
    assert min(looks[-module.PATIENCE :]) >= estimate.fits[0].held_out
    assert estimate.fits[0].held_out <= min(looks)


def test_a_step_learns_nothing_from_pixels_held_out(camera, y):
    frame = module.normalised(y, camera)[0]
    start = module.LrTv(refit=False)(y, camera)
    refined = module.RefinedFrame(frame, start.cube[0] / frame.scale, start.fits[0], 8)
    hidden = torch.isinf(refined.used)
    assert 0.01 < float(hidden.float().mean()) < 0.2
    network = module.shipped_denoiser(torch.device("cpu"))

    def stepped() -> torch.Tensor:
        state = module.State.first(network, refined.first, 0.0)
        DeepPrior()._step(refined, network, state, refined.first, refined.sigma)
        return state.weights

    with module.learning():
        before = stepped()
        refined.y = refined.y + 5.0 * hidden
        assert torch.equal(stepped(), before)
        refined.y = refined.y + 5.0 * ~hidden
        assert not torch.equal(stepped(), before)


def test_tall_frames_are_learnt_from_in_parts(monkeypatch):
    truth = torch.as_tensor(ProduceSet("validation").crop(1, 80, 80, 64, 48).cube)
    camera = CassiCamera(random_mask(64, 48), bands=len(truth))
    frame = camera.forward(truth)[None]
    seen = set()
    images = module._images

    def watched(network, weights, u, *others):
        seen.add(u.shape[-2])
        return images(network, weights, u, *others)

    monkeypatch.setattr(module, "ROWS", 32)
    monkeypatch.setattr(module, "_images", watched)
    first, last = (DeepPrior(iterations=iterations)(frame, camera).fits[0].held_out for iterations in (1, 40))
    assert seen == {32, 64}  # steps, and looks
    assert last < 0.98 * first


def test_frames_whose_light_crosses_the_rows_are_learnt_from_as_a_whole(monkeypatch):
    truth = torch.as_tensor(ProduceSet("validation").crop(1, 80, 80, 64, 48).cube)
    camera = CassiCamera(random_mask(64, 48), offsets=[(c / 2, 2 * c) for c in range(len(truth))])
    frame = camera.forward(truth)[None]
    monkeypatch.setattr(module, "ROWS", 32)
    first, last = (DeepPrior(iterations=iterations)(frame, camera).fits[0].held_out for iterations in (1, 40))
    assert last < 0.98 * first


def test_pixels_held_out_decide_whether_it_helps(camera, y):
    # Rectangles of one colour: nothing is better for this scene than total variation.
    plain, estimate = create_solver("lr-tv")(y, camera), DeepPrior(iterations=4)(y, camera)
    torch.testing.assert_close(estimate.cube, plain.cube, rtol=1e-4, atol=1e-5)
    assert estimate.fits[0].held_out == pytest.approx(plain.fits[0].held_out, rel=1e-4)


def test_an_interrupted_fit_continued_equals_one_that_was_not(camera, tmp_path, monkeypatch):
    noise = SensorNoise(read_sigma=0.1)  # with which the estimate is not that of LR-TV
    y = noise(camera.forward(piecewise_smooth()), BANDS, torch.Generator().manual_seed(0))[None]
    monkeypatch.setattr(module, "EVERY_LOOK", 3)
    whole = DeepPrior(iterations=9)(y, camera)
    path = str(tmp_path / "state.safetensors")
    for iterations in (3, 6, 9):
        parts = DeepPrior(iterations=iterations, checkpoint=path)(y, camera)
        with safe_open(path, framework="pt") as file:
            assert json.loads(file.metadata()["deep_prior"])["step"] == iterations
    assert whole.fits != create_solver("lr-tv")(y, camera).fits
    assert torch.equal(parts.cube, whole.cube)
    assert parts.fits == whole.fits


def test_a_checkpoint_of_something_else_is_refused(camera, y, tmp_path):
    path = str(tmp_path / "state.safetensors")
    solver = DeepPrior(iterations=1, checkpoint=path)
    solver(y, camera)
    for other, frame in ((solver, 1.01 * y + 0.1), (replace(solver, seed=1), y), (replace(solver, rate=1e-3), y)):
        with pytest.raises(InputError, match="another measurement, camera or setting; name another checkpoint"):
            other(frame, camera)
    stored = (tmp_path / "state.safetensors").read_bytes()
    for content, words in ((stored[:1000], "is no checkpoint"), (b"", "is no checkpoint")):
        (tmp_path / "state.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=words):
            solver(y, camera)
    with pytest.raises(InputError, match="a single frame, not to 2"):
        solver(torch.cat([y, y]), camera)
    with pytest.raises(InputError, match="there is no folder"):
        replace(solver, checkpoint=str(tmp_path / "nowhere" / "state.safetensors"))(y, camera)


def test_it_ends_in_time(camera, y):
    begin = time.monotonic()
    calls = []
    estimate = DeepPrior(iterations=100_000, minutes=0.05)(y, camera, lambda *call: calls.append(call))
    assert time.monotonic() - begin < 30
    assert calls[-1][0] == calls[-1][1]
    assert torch.isfinite(estimate.cube).all()


def test_a_fit_that_time_ends_goes_on_whatever_the_rounding(camera, y, tmp_path, monkeypatch):
    path, normalised = str(tmp_path / "state.safetensors"), module.normalised
    for step in (1, 2, 3):

        def rounded(*given, step=step):  # as with another number of threads
            return [replace(each, measurement=each.measurement * (1 + 2e-7 * step)) for each in normalised(*given)]

        monkeypatch.setattr(module, "normalised", rounded)
        DeepPrior(minutes=1e-6, checkpoint=path)(y, camera)
        with safe_open(path, framework="pt") as file:
            stored = json.loads(file.metadata()["deep_prior"])
        assert (stored["step"], stored["fruitless"]) == (step, 0)


def test_settings_are_plain_and_leave_the_checkpoint_out():
    settings = DeepPrior(minutes=2, checkpoint="here.safetensors").settings
    assert json.loads(json.dumps(settings)) == settings
    assert settings["minutes"] == 2
    assert "checkpoint" not in settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"minutes": 0.0},
        {"minutes": float("nan")},
        {"rate": -1e-3},
        {"images": 9},
        {"images": 0},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        DeepPrior(**wrong)
