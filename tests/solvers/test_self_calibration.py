"""How a camera deviates from what is told is found from exposures, and nothing is where it does not."""

import json
import math

import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import Blur, CassiCamera, Distortion, SensorNoise, StackedCamera, Validity, random_mask
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import Deviation, LrTv, refine_camera
from crsdun.solvers.self_calibration import deviating, on_detector

HEIGHT, WIDTH = 64, 80
FAR = Deviation(1.5, 1.0, 0.3, 1.0, 1.02)


@pytest.fixture(scope="module")
def cubes():
    """Parts of two scenes, with every fourth band, (7,H,W)."""
    produce = ProduceSet("validation")
    return [torch.from_numpy(produce[number].cube[::4, 60 : 60 + HEIGHT, 60 : 60 + WIDTH]) for number in range(2)]


def told_camera(**dispersion):
    return CassiCamera(random_mask(HEIGHT, WIDTH), 7, **(dispersion or {"step": 4}))


def exposed(cube, told, by=Deviation(), photons=500):  # noqa: B008
    """The frame (1,Hm,Wm), on the detector of the told camera, of the one that deviates, its border closed."""
    true = deviating(torch.zeros(1, *told.measurement_shape), told, by)
    y = on_detector(true.forward(cube), true, told)
    return SensorNoise(photons=photons)(y, told.bands, torch.Generator().manual_seed(0))[None]


def check_found(found, by):
    assert found.deviation.down == pytest.approx(by.down, abs=0.1)
    assert found.deviation.right == pytest.approx(by.right, abs=0.1)
    assert found.deviation.degrees == pytest.approx(by.degrees, abs=0.1)
    assert found.deviation.scale == pytest.approx(by.scale, abs=0.002)
    assert found.deviation.dispersion == pytest.approx(by.dispersion, abs=0.004)


@pytest.mark.parametrize(("scene", "photons"), [(0, None), (1, 500)])
def test_a_camera_that_is_as_told_stays_itself(cubes, scene, photons):
    told = told_camera()
    found = refine_camera(exposed(cubes[scene], told, photons=photons), told)
    assert found.camera is told
    assert (found.deviation, found.dark, found.significant) == (Deviation(), 0, False)
    assert found.before == found.after
    assert str(found).startswith("no deviation from the given camera found")


def test_a_mask_that_has_moved_moves_on():
    told = told_camera()
    told = told.with_mask(told.mask, (1.0, 2.0))
    y = torch.zeros(1, *told.measurement_shape)
    assert deviating(y, told, Deviation(down=0.25)).moved == (1.25, 2.0)
    assert deviating(y, told, Deviation(dispersion=1.02)).moved == (1.0, 2.0)


@pytest.mark.parametrize(
    "by", [FAR, Deviation(-0.7, 0.4, -0.5, 1.008, 0.98), Deviation(down=1.0), Deviation(dispersion=0.97)], ids=str
)
def test_what_deviates_is_found(cubes, by):
    told = told_camera()
    y = exposed(cubes[0], told, by)
    found = refine_camera(y, told)
    check_found(found, by)
    assert found.after < 0.8 * found.before
    assert found.camera.moved == (found.deviation.down, found.deviation.right)
    # Behind the camera that was found the scene explains the frame as behind the true one.
    frames = found.frames(y)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    rest = (found.camera.forward(cubes[0]) - frames)[inside].norm() / frames[inside].norm()
    noise = (exposed(cubes[0], told, by, photons=None) - y).norm() / y.norm()
    assert rest < 2 * noise + 0.02


@pytest.mark.parametrize(
    "dispersion", [{"step": -4}, {"offsets": [30.0, 26.5, 22.0, 17.0, 11.0, 6.0, 0.0]}, {"step": 0}], ids=str
)
def test_any_dispersion(cubes, dispersion):
    told = told_camera(**dispersion)
    by = Deviation(-0.6, 0.5, 0.4, 1.0, 1.0 if dispersion == {"step": 0} else 1.015)
    check_found(refine_camera(exposed(cubes[0], told, by), told), by)


BENT = [(0.0, 0.0), (0.8, 4.0), (1.9, 7.5), (3.2, 12.0), (4.0, 15.5), (5.1, 20.5), (6.0, 24.0)]
DOWN = [(4.0 * band, 0.0) for band in range(7)]


@pytest.mark.parametrize("offsets", [BENT, DOWN], ids=["tilted", "down"])
def test_a_dispersion_in_any_direction(cubes, offsets):
    told = told_camera(offsets=offsets)
    by = Deviation(-0.6, 0.5, 0.4, 1.0, 1.02)
    found = refine_camera(exposed(cubes[0], told, by), told)
    check_found(found, by)
    assert found.after < 0.8 * found.before
    moves = torch.tensor(found.camera.offsets) / torch.tensor(told.down_and_right)
    assert moves[1:].nanmean() == pytest.approx(found.deviation.dispersion, abs=1e-4)


def parts(told):
    """What a real camera has: a blur for each band, distortion, and pixels that do not count."""
    height, width = told.measurement_shape
    down, right = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    valid = torch.rand(height, width, generator=torch.Generator().manual_seed(5)) > 0.03
    return {
        "validity": (Validity(valid),),
        "blur": (Blur.gaussian([0.3 + 0.05 * band for band in range(7)]),),
        "distortion": (Distortion(torch.stack([down * right**2, 1.2 * right**3])),),
        "all": (Blur.gaussian(0.4), Distortion(torch.stack([down * right**2, right**3])), Validity(valid)),
    }


@pytest.mark.parametrize("which", ["validity", "blur", "distortion", "all"])
def test_what_stands_behind_the_prism_stays(cubes, which):
    told = told_camera(offsets=BENT) if which == "all" else told_camera()
    told = told.through(*parts(told)[which])
    by = Deviation(1.2, -0.7, 0.3, 1.0, 1.02)
    y = exposed(cubes[1], told, by)
    y[:, told.counted(torch.ones_like(y))[0] == 0] = 30.0  # which is bright, and means nothing
    found = refine_camera(y, told)
    check_found(found, by)
    assert found.after < 0.8 * found.before
    assert [part.name for part in found.camera.parts] == [part.name for part in told.parts]
    assert found.camera.parts[0].values.shape[-2:] in {
        found.camera.measurement_shape,
        told.parts[0].values.shape[-2:],
    }
    cube = LrTv(iterations=60)(found.frames(y), found.camera).cube
    without = LrTv(iterations=60)(y, told).cube
    errors = [(each[0] - cubes[1])[:, 6:-6, 6:-6].norm() for each in (cube, without)]
    assert errors[0] < 0.6 * errors[1]


def test_a_camera_with_bad_pixels_that_is_as_told_stays_itself(cubes):
    told = told_camera()
    told = told.through(*parts(told)["validity"])
    y = exposed(cubes[1], told)
    y[:, told.counted(torch.ones_like(y))[0] == 0] = 30.0
    found = refine_camera(y, told)
    assert found.camera is told
    assert not found.significant


def test_other_pixels_of_another_exposure_do_not_count(cubes):
    told, by = told_camera(), Deviation(down=1.0, dispersion=1.02)
    valid = parts(told)["validity"][0].values
    first, second = told.through(Validity(valid)), told.through(Validity(valid.flip(-1)))
    found = refine_camera(exposed(cubes[0], first, by), first)
    assert found.is_of(second)
    assert not found.is_of(told.through(Blur.gaussian(0.4), Validity(valid)))
    assert not found.is_of(told_camera(step=3))
    other = found.camera_for(second)
    assert torch.equal(other.mask, found.camera.mask)
    assert torch.equal(other.parts[-1].values, on_detector(second.parts[-1].values, told, found.camera))
    assert not torch.equal(other.parts[-1].values, found.camera.parts[-1].values)


def test_frames_of_a_camera_vote_together_in_any_units_and_type(cubes):
    told = told_camera()
    y = torch.cat([exposed(cube, told, FAR) for cube in cubes])
    calls = []
    found = refine_camera(4000 * y.double(), told, lambda *state: calls.append(state))
    check_found(found, FAR)
    assert found.camera.mask.dtype == told.mask.dtype
    assert calls[-1] == (7, 7)


def test_a_mask_for_each_band(cubes):
    told = CassiCamera(told_camera().mask_per_band.clone(), step=4)
    found = refine_camera(exposed(cubes[1], told, FAR), told)
    check_found(found, FAR)
    assert found.camera.mask.shape == told.mask.shape


def test_a_dark_level_that_was_left(cubes):
    told = told_camera()
    y = exposed(cubes[0], told)
    dark = 0.15 * float(y.mean())
    found = refine_camera(y + dark, told)
    assert found.camera is told
    assert found.significant
    assert found.dark == pytest.approx(dark, rel=0.1)
    assert found.after < found.before
    torch.testing.assert_close(found.frames(y + dark), y, atol=0.2 * dark, rtol=0)
    assert "dark level" in str(found)


def test_light_that_falls_beside_the_detector_is_not_looked_for(cubes):
    told = told_camera()
    wider = deviating(torch.zeros(1, HEIGHT, told.measurement_width), told, Deviation(dispersion=1.05))
    assert wider.measurement_width == told.measurement_width + 2
    frame = on_detector(torch.ones(HEIGHT, told.measurement_width), told, wider)
    assert frame.shape == (HEIGHT, wider.measurement_width)
    assert not frame[:, -2:].any()
    assert not wider.forward(torch.ones(7, HEIGHT, WIDTH))[:, -1].any()
    narrower = deviating(torch.zeros(1, HEIGHT, told.measurement_width), told, Deviation(dispersion=0.95))
    assert narrower.mask.ndim == 2
    assert on_detector(frame, wider, narrower).shape == (HEIGHT, narrower.measurement_width)


def test_frames_without_the_code_refine_nothing(cubes):
    told = told_camera()
    noise = torch.rand(1, HEIGHT, told.measurement_width, generator=torch.Generator().manual_seed(1))
    for y in (noise, torch.zeros_like(noise)):
        assert refine_camera(y, told).camera is told


def test_too_small_a_frame_refines_nothing():
    for size in ((6, 5), (2, 5), (13, 40)):
        told = CassiCamera(random_mask(*size), bands=3)
        y = told.forward(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))[None]
        assert refine_camera(y, told).camera is told


def test_the_record_is_plain(cubes):
    told = told_camera()
    found = refine_camera(exposed(cubes[0], told, FAR), told)
    record = json.loads(json.dumps(found.record, allow_nan=False))
    assert record["degrees"]["found"] == found.deviation.degrees
    assert 0 < record["degrees"]["uncertainty"] < 0.2
    assert record["held_out_after"] < record["held_out_before"]
    assert "instead of" in str(found)


def test_what_does_not_fit_is_refused(cubes):
    told = told_camera()
    y = exposed(cubes[0], told)
    with pytest.raises(InputError, match="batch axis"):
        refine_camera(y[0], told)
    with pytest.raises(InputError, match="NaN"):
        refine_camera(torch.full_like(y, math.nan), told)


def test_several_pictures_are_refused():
    several = StackedCamera(*(CassiCamera(random_mask(8, 8, seed=seed), 3) for seed in range(2)))
    with pytest.raises(InputError, match="of several cameras; refine each of them from its own picture"):
        refine_camera(torch.ones(1, *several.measurement_shape), several)
