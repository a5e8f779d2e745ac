"""A camera that disperses across the rows, from the measurement to the folder of results and back."""

import pytest

from crsdun.errors import InputError
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, decode, open_method
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


def test_the_wrong_direction_is_doubted(measurement):
    turned = tuple((down, -right) for down, right in OFFSETS)
    result = decode(Preparation(offsets=turned).prepare(measurement), open_method("lr-tv", iterations=80))
    assert "hardly better than another mask" in result.metrics["warning"]


def test_rows_that_do_not_fit_are_told(measurement):
    with pytest.raises(InputError, match=r"has 62 rows, but a mask of 48 rows behind these offsets gives 49"):
        Preparation(offsets=((0.0, 0.0), (0.5, 2.0)) * 14).prepare(measurement)
    with pytest.raises(InputError, match="62 rows but the mask has 48"):
        Preparation().prepare(measurement)
