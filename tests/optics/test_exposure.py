"""One exposure: which camera looks at a scene, and what its detector adds."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.evaluation import evaluate_scene
from crsdun.optics import CassiCamera, Exposure, RandomMask, SensorNoise, Validity, moved_mask, random_mask
from crsdun.runtime import simulate
from crsdun.scenes import Scene
from crsdun.solvers import GapTv
from crsdun.training.batches import Batches, exposure_for
from crsdun.training.config import CameraConfig, SamplingConfig
from tests.evaluation.scenes import PaintedSet

BANDS, H, W = 3, 12, 10
NOISY = SensorNoise(read_sigma=0.05)


def scene(height: int = H, width: int = W, light: float = 1.0) -> Scene:
    ramp = np.linspace(0, light, BANDS * height * width, dtype=np.float32)
    return Scene(ramp.reshape(BANDS, height, width), wavelengths=(450, 550, 650), name="ramp")


# -- the camera ------------------------------------------------------------------------------------------------


def test_a_random_mask_has_the_size_of_each_scene():
    exposure = Exposure(RandomMask(3))
    for size in ((H, W), (20, 30)):
        camera = exposure.camera(scene(*size))
        assert np.array_equal(camera.mask.numpy(), random_mask(*size, seed=3))
        assert (camera.bands, camera.wavelengths, camera.step) == (BANDS, (450, 550, 650), 2)


def test_a_sized_exposure_shows_parts_of_one_mask():
    exposure = Exposure(RandomMask(3)).sized(20, 30)
    whole = random_mask(20, 30, seed=3)
    assert np.array_equal(exposure.camera(scene()).mask.numpy(), whole[:H, :W])
    assert np.array_equal(exposure.whole_camera(BANDS).mask.numpy(), whole)
    # Not what the random mask of the smaller size is.
    assert not np.array_equal(whole[:H, :W], random_mask(H, W, seed=3))
    assert exposure.sized(5, 5) is exposure


def test_a_calibrated_camera_takes_the_place_of_mask_and_dispersion():
    told = CassiCamera(random_mask(20, 30), wavelengths=(450, 550, 650), offsets=[(0, 0), (0.5, 2), (1, 5)])
    seen = np.ones(told.measurement_shape, bool)
    seen[2, 3] = seen[-1, -1] = False
    exposure = Exposure(calibrated=told.through(Validity(seen)))
    assert exposure.camera(scene(20, 30)) is exposure.calibrated
    part = exposure.camera(scene())
    assert torch.equal(part.mask, told.mask[:H, :W])
    assert part.offsets == told.offsets
    assert [tuple(each) for each in (part.parts[0].values == 0).nonzero().tolist()] == [(2, 3)]
    assert torch.equal(exposure.whole_camera(BANDS).mask, told.mask)
    assert exposure.sized(99, 99) is exposure
    described = json.loads(json.dumps(exposure.described()))
    assert described["offsets"][2] == [1, 5]
    assert described["mask"].startswith("20×30, SHA-256")
    assert described["parts"][0].startswith("validity 21×35, SHA-256")
    without = Exposure(calibrated=CassiCamera(random_mask(20, 30), BANDS))
    assert without.camera(scene()).wavelengths == (450, 550, 650), "one side knows them"
    for camera, size, message in (
        (told, (3, 21, 9), r"sees 20×30 pixels, and the scene has 21×9"),
        (told, (4, 9, 9), "3 bands of its own, and the scene 4 others"),
    ):
        with pytest.raises(InputError, match=message):
            Exposure(calibrated=camera).camera(Scene(np.ones(size)))
    with pytest.raises(InputError, match="others"):
        Exposure(calibrated=told).camera(Scene(np.ones((3, 9, 9)), (450, 560, 650)))
    for more in ({"mask": random_mask(20, 30)}, {"step": 3}, {"offsets": (0, 1, 2)}):
        with pytest.raises(InputError, match="already has its mask and its dispersion"):
            Exposure(calibrated=told, **more)
    with pytest.raises(InputError, match="do not ascend"):
        Exposure(calibrated=told.with_wavelengths((650, 550, 450)))


def test_a_mask_of_its_own_size_is_cut_at_the_upper_left():
    mask = np.random.default_rng(0).random((BANDS, 20, 30)).astype(np.float32)
    camera = Exposure(mask, step=-1).camera(scene())
    assert np.array_equal(camera.mask.numpy(), mask[:, :H, :W])
    assert camera.step == -1
    with pytest.raises(InputError, match=r"mask \(20×30\) is smaller than the scene \(12×31\).*set mask"):
        Exposure(mask).camera(scene(H, 31))
    with pytest.raises(InputError, match="bands: 4, mask: 3"):
        Exposure(mask).camera_of_size(H, W, bands=4)


@pytest.mark.parametrize("moved", [(1, 0), (0, -2), (0.5, 0.25)])
def test_light_passes_through_the_moved_mask_and_the_camera_does_not_know(moved):
    exposure = Exposure(RandomMask(3), moved=moved)
    camera = exposure.camera(scene())
    assert np.array_equal(camera.mask.numpy(), random_mask(H, W, seed=3))
    real = camera.with_mask(torch.from_numpy(moved_mask(camera.mask.numpy(), *moved)))
    frame = exposure.measure(scene().cube, camera)
    assert torch.equal(frame, real.forward(torch.from_numpy(scene().cube)))
    assert not torch.allclose(frame, Exposure(RandomMask(3)).measure(scene().cube, camera), atol=0.05)
    assert exposure.described()["moved"] == list(moved)
    assert "moved" not in Exposure(RandomMask(3)).described()
    measurement = simulate(scene(), exposure)
    assert np.array_equal(measurement.mask, camera.mask.numpy())
    assert measurement.provenance["mask_moved"] == list(moved)


def test_pixels_lack_the_light_that_would_pass_through_the_moved_mask():
    mask, cube = np.zeros((H, W), np.float32), scene().cube.copy()
    mask[2, 3], cube[:, 2, 4] = 1, np.nan
    measurement = simulate(replace(scene(), cube=cube), Exposure(mask, moved=(0, 1)))
    assert measurement.frame.max() == 0
    assert measurement.incomplete == len(cube)
    assert simulate(replace(scene(), cube=cube), Exposure(mask)).incomplete == 0


def test_a_mask_that_lies_elsewhere_is_refused():
    with pytest.raises(InputError, match="at most 16 pixels"):
        Exposure(moved=(17, 0))
    with pytest.raises(InputError, match="two numbers, down and right"):
        Exposure(moved=(1, 0, 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask": random_mask(H, W) * 255}, "whole numbers up to 255"),
        ({"mask": np.ma.masked_equal(random_mask(H, W), 0)}, "masked array"),
        ({"mask": "mask.npy"}, r"read_mask\(path\)"),
        ({"seed": 1.5}, "whole number.* not 1.5"),
        ({"noise": 500}, r"is a SensorNoise, not 500.*SensorNoise\(photons=500\)"),
        ({"step": None}, "number of pixels per band, not None"),
    ],
)
def test_what_is_no_exposure_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Exposure(**settings).camera(scene())


def test_cubes_come_as_tensors_and_as_arrays_of_any_kind():
    exposure, cube = Exposure(), scene().cube
    camera = exposure.camera(scene())
    frame = exposure.measure(cube, camera)
    assert torch.equal(exposure.measure(torch.from_numpy(cube), camera), frame)
    assert torch.equal(exposure.measure(cube[::-1].copy()[::-1], camera), frame)
    assert torch.equal(exposure.measure(cube.astype(">f4"), camera), frame)
    holes = np.where(cube > 0.5, np.nan, cube)
    masked = np.ma.masked_array(np.where(cube > 0.5, -9999, cube), cube > 0.5)
    assert torch.equal(exposure.measure(masked, camera), exposure.measure(holes, camera))


def test_offsets_take_the_place_of_the_step():
    exposure = Exposure(offsets=(0, 1, 5))
    camera = exposure.camera(scene())
    assert (camera.offsets, camera.step) == ((0, 1, 5), None)
    measured = exposure.measure(scene().cube, camera)
    assert measured.shape == (H, W + 5)
    assert torch.equal(measured, camera.forward(torch.from_numpy(scene().cube)))
    assert exposure.described()["offsets"] == [0, 1, 5]
    assert "step" not in exposure.described()


def test_what_is_recorded_is_plain_and_tells_masks_apart():
    mask = random_mask(H, W)
    exposures = Exposure(), Exposure(RandomMask(1)), Exposure(mask), Exposure(1 - mask), Exposure(noise=NOISY, seed=4)
    described = [exposure.described() for exposure in exposures]
    assert json.loads(json.dumps(described)) == described
    assert described[0] == {"mask": "random:0", "step": 2, "noise": {}}
    assert described[4]["noise"] == {"read_sigma": 0.05, "seed": 4}
    assert described[2]["mask"].startswith("12×10, SHA-256 ")
    assert len({each["mask"] for each in described}) == 4


# -- the noise -------------------------------------------------------------------------------------------------


def test_without_noise_the_seed_does_not_matter():
    exposure, cube = Exposure(), scene().cube
    camera = exposure.camera(scene())
    plain = camera.forward(torch.from_numpy(cube))
    for seed in (None, 5, "scene 5"):
        assert torch.equal(exposure.measure(cube, camera, seed), plain)


def test_the_seed_is_its_own_or_a_number_or_follows_from_the_name_of_the_scene():
    cube, camera = scene().cube, Exposure().camera(scene())

    def measured(own: int, seed: int | str | None = None) -> torch.Tensor:
        return Exposure(noise=NOISY, seed=own).measure(cube, camera, seed)

    assert torch.equal(measured(7), measured(7))
    assert torch.equal(measured(7), measured(0, seed=7))
    assert torch.equal(measured(7), measured(0, seed=np.int64(7)))
    assert not torch.equal(measured(7), measured(8))
    # A name counts together with the exposure's own seed, whatever was measured before.
    assert torch.equal(measured(7, "pear"), measured(7, "pear"))
    frames = [measured(7), measured(7, "pear"), measured(7, "plum"), measured(8, "pear")]
    assert all(not torch.equal(a, b) for i, a in enumerate(frames) for b in frames[:i])
    # Figures that were published with a seed depend on this number.
    number = int.from_bytes(bytes.fromhex("9d27e63df22bc4"), "little")  # of SHA-256("7 pear")
    assert torch.equal(measured(7, "pear"), measured(0, seed=number))


class BlackSet(PaintedSet):
    """Nothing but darkness."""

    def whole(self, index):
        painted = super().whole(index)
        return Scene(0 * painted.cube, painted.wavelengths, painted.classes, painted.class_names, name=painted.name)


def by_measure() -> torch.Tensor:
    exposure, black = Exposure(noise=NOISY), scene(light=0)
    return exposure.measure(black.cube, exposure.camera(black))


def by_simulate() -> torch.Tensor:
    return torch.from_numpy(simulate(scene(light=0), Exposure(noise=NOISY)).frame)


def by_evaluation() -> torch.Tensor:
    return evaluate_scene(GapTv(iterations=1), BlackSet(1), 0, Exposure(noise=NOISY)).frame


def by_training() -> torch.Tensor:
    config = SimpleNamespace(
        seed=0, camera=CameraConfig(noise=NOISY), sampling=SamplingConfig(crop=(16, 16), batch=2, workers=0)
    )
    scenes = BlackSet(2)
    return Batches(scenes, exposure_for(config.camera, [scenes]), config, slots=[0, 1]).batch(0).measurement


@pytest.mark.parametrize("way", [by_measure, by_simulate, by_evaluation, by_training])
def test_a_detector_counts_nothing_below_black_however_it_is_simulated(way):
    frame = way()
    assert frame.min() == 0
    assert 0.01 < frame.max() < 0.5
    assert 0.4 < (frame == 0).float().mean() < 0.6  # half of a normal distribution


@pytest.mark.parametrize("noise", [SensorNoise(), NOISY, SensorNoise(photons=500)])
def test_less_than_no_light_is_none(noise):
    """Scenes that were measured have values below 0, and ``reconstruct`` takes no such exposures."""
    exposure, dim = Exposure(noise=noise), scene()
    camera = exposure.camera(dim)
    dim.cube[:, :3] -= 1
    below = camera.forward(torch.from_numpy(dim.cube))
    frame = exposure.measure(dim.cube, camera)
    assert below.min() < -0.5
    assert frame.min() == 0
    if noise.silent:
        assert torch.equal(frame, below.clamp(min=0))


def test_an_exposure_is_described_as_its_stored_description_is_read():
    for exposure in (
        Exposure(offsets=((0.0, 0.0), (0.5, 2.0))),
        Exposure(calibrated=CassiCamera(torch.ones(6, 7), 2, offsets=((0.0, 0.0), (0.5, 2.0)))),
    ):
        assert json.loads(json.dumps(exposure.described())) == exposure.described()


def test_a_record_tells_random_masks_apart():
    told = [Exposure(RandomMask(3, part)).described()["mask"] for part in (0.3, 0.5, 0.7, 1)]
    assert told == ["random:3, 0.3 of it open", "random:3", "random:3, 0.7 of it open", "open"]
