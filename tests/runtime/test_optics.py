"""Cameras with other optics than a prism along the rows, from the measurement to the folder of results and back."""

import numpy as np
import pytest
import torch

from crsdun.errors import InputError
from crsdun.optics import Blur, CassiCamera, Exposure, StackedCamera, Validity, random_mask
from crsdun.runtime import Preparation, decode, open_method
from crsdun.runtime.preparation import PreparedMeasurement
from crsdun.runtime.reconstruction import choose_weights
from crsdun.runtime.result_files import read_results
from crsdun.scenes import Measurement
from crsdun.scenes.produce import ProduceSet
from crsdun.viewing.result_folder import write_results

OFFSETS = tuple((0.5 * c, 1.5 * c) for c in range(28))


@pytest.fixture(scope="module")
def scene():
    return ProduceSet("validation").crop(0, 60, 60, 48, 40)


@pytest.fixture(scope="module")
def measurement(scene):
    exposure = Exposure(random_mask(48, 40), offsets=OFFSETS)
    frame = exposure.measure(scene.cube, exposure.camera(scene)).numpy()
    assert frame.shape == (48 + 14, 40 + 41)
    return Measurement(frame, scene.wavelengths, random_mask(48, 40))


def test_it_is_decoded_judged_written_and_read(scene, measurement, tmp_path):
    prepared = Preparation(offsets=OFFSETS).prepare(measurement, scene)
    assert prepared.floor() is None
    result = decode(prepared, open_method("lr-tv", iterations=80))
    assert result.metrics["psnr_db"] > 23
    assert result.metrics["fit"] == "fits"
    assert "warning" not in result.metrics
    write_results(result, tmp_path / "out")
    again = read_results(tmp_path / "out")
    assert again.camera.offsets == OFFSETS
    again.camera.check(again.measurement.frame)
    assert "(0.5, 1.5)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_wrong_mask_is_doubted(measurement):
    wrong = Preparation(mask=random_mask(48, 40, seed=5), offsets=OFFSETS)
    result = decode(wrong.prepare(measurement), open_method("lr-tv", iterations=80))
    assert "hardly better than another mask" in result.metrics["warning"]


def test_rows_that_do_not_fit_are_told(measurement):
    with pytest.raises(InputError, match=r"has 62 rows, but a mask of 48 rows behind these offsets gives 49"):
        Preparation(offsets=((0.0, 0.0), (0.5, 2.0)) * 14).prepare(measurement)
    with pytest.raises(InputError, match="62 rows but the mask has 48"):
        Preparation().prepare(measurement)


def test_saturated_and_bad_pixels_are_left_out(scene):
    camera = CassiCamera(random_mask(48, 40), wavelengths=scene.wavelengths)
    counts = (camera.forward(torch.from_numpy(scene.cube)).numpy() * 4000).astype(np.uint16)
    full, bad = np.quantile(counts, 0.97), np.zeros(counts.shape, bool)
    counts = np.minimum(counts, int(full)).astype(np.uint16)
    bad[10:14, 30:34], counts[10:14, 30:34] = True, 60000
    measurement = Measurement(counts, scene.wavelengths, camera.mask.numpy())
    told = Preparation(bad=bad, saturated=int(full), bits=16).prepare(measurement)
    assert torch.equal(
        told.camera.diagonal > 0, (camera.diagonal > 0) & torch.from_numpy(~bad & (counts < int(full)))
    )
    cubes = [
        decode(prepared, open_method("lr-tv", iterations=80)).scene.cube
        for prepared in (told, Preparation(bits=16).prepare(measurement))
    ]
    scale = 4000 * 28 / 65535
    errors = [float(((cube / scale - scene.cube) ** 2).mean()) for cube in cubes]
    assert errors[0] < 0.6 * errors[1]
    with pytest.raises(InputError, match="has 9×9 pixels but the measurement 48×94"):
        Preparation(bad=np.zeros((9, 9), bool)).prepare(measurement)
    with pytest.raises(InputError, match="leaves none"):
        Preparation(saturated=0).prepare(measurement)


@pytest.mark.parametrize("reading", [-5, 1e20, 65535])
def test_what_bad_pixels_read_refuses_no_frame(scene, reading):
    camera = CassiCamera(random_mask(48, 40), wavelengths=scene.wavelengths)
    counts = (camera.forward(torch.from_numpy(scene.cube)).numpy() * 100).round()
    white, bad = np.full(counts.shape, 3000.0), np.zeros(counts.shape, bool)
    bad[10, 30], counts[10, 30], white[10, 30] = True, reading, 0
    measurement = Measurement(counts, scene.wavelengths, camera.mask.numpy())
    for known in ({"bits": 12}, {"white": white}):
        told = Preparation(bad=bad, **known).prepare(measurement)
        assert 0 <= told.measurement.frame[10, 30] <= told.measurement.frame[~bad].max()
        assert not told.camera.counted(torch.ones(counts.shape))[10, 30]
        assert told.measurement.provenance["bad_pixels_filled"] == 1


def test_the_folder_keeps_the_optics(scene, tmp_path):
    plain = CassiCamera(random_mask(48, 40), wavelengths=scene.wavelengths)
    seen = np.random.default_rng(0).random(plain.measurement_shape) > 0.05
    camera = plain.through(Blur.gaussian(0.5), Validity(seen))
    measurement = Measurement(camera.forward(torch.from_numpy(scene.cube)).numpy(), scene.wavelengths)
    result = decode(PreparedMeasurement(measurement, camera), open_method("gap-tv", iterations=3))
    write_results(result, tmp_path / "out")
    again = read_results(tmp_path / "out").camera
    assert [part.name for part in again.parts] == ["blur", "validity"]
    assert all(map(torch.equal, again.tensors, camera.tensors))
    both = StackedCamera(plain, plain)
    pictures = both.measurement(measurement.frame, measurement.frame)
    stacked = PreparedMeasurement(Measurement(pictures.numpy(), scene.wavelengths), both)
    result = decode(stacked, open_method("gap-tv", iterations=3))
    with pytest.raises(InputError, match="holds one exposure"):
        write_results(result, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_several_exposures_are_judged_and_refused_by_networks(scene):
    both = StackedCamera(*(CassiCamera(random_mask(48, 40, seed=seed), bands=28) for seed in (0, 1)))
    y = both.forward(torch.from_numpy(scene.cube))
    prepared = PreparedMeasurement(Measurement(y.numpy()), both)
    result = decode(prepared, open_method("lr-tv", iterations=80))
    assert result.metrics["fit"] == "fits"
    assert "warning" not in result.metrics
    with pytest.raises(InputError, match="networks decode one exposure"):
        decode(prepared, open_method("crsdun_tiny"))


def test_shipped_weights_are_not_chosen_for_optics_they_have_not_seen(scene):
    plain = CassiCamera(random_mask(48, 40), wavelengths=scene.wavelengths)
    y = plain.forward(torch.from_numpy(scene.cube))
    for camera, frame, why in (
        (plain.through(Blur.gaussian(0.5)), y, "they have seen no blur behind the prism"),
        (StackedCamera(plain, plain), torch.cat([y, y]), "they decode one exposure"),
    ):
        name, reason = choose_weights(PreparedMeasurement(Measurement(frame.numpy(), scene.wavelengths), camera))
        assert name is None
        assert why in reason
    bad = np.zeros(y.shape, bool)
    bad[5, 5] = True
    told = Preparation(bad=bad).prepare(Measurement(y.numpy(), scene.wavelengths, plain.mask.numpy()))
    assert choose_weights(told)[0] == "crsdun_small"
