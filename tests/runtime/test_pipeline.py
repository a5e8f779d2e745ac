"""From files or arrays to reconstructions, in one call or for many."""

import numpy as np
import pytest
import torch

import crsdun
from crsdun.errors import InputError, InputWarning
from crsdun.methods import RunOptions
from crsdun.optics import Exposure
from crsdun.runtime import Pipeline, Preparation, simulate
from crsdun.runtime.result_files import read_results
from crsdun.scenes import Measurement, Scene, read_mask, write_arrays, write_measurement, write_scene
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import GapTv, LrTv
from crsdun.viewing.result_folder import write_results

BANDS, H, W = 4, 96, 20
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 9 + columns / 7 + band / 3) for band in range(BANDS)])
    return Scene(cube, wavelengths=WAVELENGTHS, name="waves")


@pytest.fixture
def files(scene, tmp_path):
    """A measurement with its mask, the mask alone, and the truth."""
    measurement = simulate(scene, Exposure())
    write_measurement(measurement, tmp_path / "y.npz")
    np.save(tmp_path / "mask.npy", measurement.mask)
    write_scene(scene, tmp_path / "truth.npz")
    return tmp_path


def test_files_arrays_and_names_give_the_same(files, scene):
    by_file = crsdun.reconstruct(files / "y.npz", method="gap-tv", truth=files / "truth.npz")
    exposure = simulate(scene, Exposure())
    by_array = crsdun.reconstruct(
        exposure.frame, read_mask(files / "mask.npy"), GapTv(), scene, wavelengths=WAVELENGTHS, step=2
    )
    assert np.array_equal(by_file.scene.cube, by_array.scene.cube)
    assert by_file.metrics == by_array.metrics
    assert by_file.metrics["psnr_db"] > 20
    assert by_file.scene.wavelengths == by_array.scene.wavelengths == WAVELENGTHS
    assert by_file.record["measurement"]["name"] == "waves"
    with pytest.raises(InputError, match="reconstruct has no setting iterations, steps"):
        crsdun.reconstruct(exposure.frame, exposure.mask, steps=2, iterations=3)


def test_arrays_are_checked_like_files(files, scene, capsys):
    exposure = simulate(scene, Exposure())
    known = {"method": "gap-tv", "wavelengths": WAVELENGTHS, "truth": scene.cube}
    expected = crsdun.reconstruct(exposure.frame, exposure.mask, **known)
    assert expected.metrics["psnr_db"] > 20
    capsys.readouterr()
    for mask in (exposure.mask * 255, (exposure.mask * 255).astype(np.uint8)):
        result = crsdun.reconstruct(exposure.frame, mask, **known)
        np.testing.assert_array_equal(result.scene.cube, expected.scene.cube)
        assert "its numbers divided by 255" in capsys.readouterr().out
    lists = crsdun.reconstruct(exposure.frame.tolist(), exposure.mask.tolist(), **known)
    np.testing.assert_array_equal(lists.scene.cube, expected.scene.cube)
    text = crsdun.reconstruct(exposure.frame, exposure.mask, **{**known, "wavelengths": "450-600:4"})
    assert text.scene.wavelengths == WAVELENGTHS
    with pytest.raises(InputError, match=r"0\.45 to 0\.6 are too short for nm; if they are micrometres"):
        crsdun.reconstruct(exposure.frame, exposure.mask, wavelengths=np.array(WAVELENGTHS) / 1000)
    with pytest.raises(InputError, match="the mask in memory holds two values"):
        crsdun.reconstruct(exposure.frame, exposure.mask * 2.5 + 0.5, **known)
    np.savez(files / "session.npz", dark=np.full(exposure.frame.shape, 0.1), meas=exposure.frame, mask=exposure.mask)
    session = files / "session.npz"
    by_name = crsdun.reconstruct(session, session, dark=session, mask_key="mask", **known)
    by_value = crsdun.reconstruct(exposure.frame, exposure.mask, dark=0.1, **known)
    np.testing.assert_allclose(by_name.scene.cube, by_value.scene.cube, atol=1e-4)


def test_a_truth_in_memory_has_the_scale_it_has_in_a_file(files, scene):
    exposure, known = simulate(scene, Exposure()), {"wavelengths": WAVELENGTHS, "method": GapTv(iterations=3)}
    bytes_ = np.round(scene.cube * 255).astype(np.uint8)
    write_arrays(files / "bytes.npz", {"cube": bytes_}, {"wavelengths": WAVELENGTHS})

    def psnr(truth, **settings):
        return crsdun.reconstruct(exposure.frame, exposure.mask, truth=truth, **known, **settings).metrics["psnr_db"]

    expected = psnr(files / "bytes.npz")
    assert psnr(bytes_) == expected
    assert psnr(bytes_, divisor=255) == expected
    assert psnr(bytes_.astype(float), divisor=255) == expected
    with pytest.warns(InputWarning, match="in the truth 100% of the values above 0 exceed 1"):
        psnr(100 * scene.cube)


def test_masked_pixels_do_not_count(scene):
    exposure, known = simulate(scene, Exposure()), {"wavelengths": WAVELENGTHS, "method": GapTv(iterations=3)}
    bad = np.zeros(exposure.frame.shape, bool)
    bad[5, 6] = True
    frame = np.where(bad, 0, exposure.frame)
    expected = crsdun.reconstruct(frame, exposure.mask, bad=bad, **known).scene.cube
    masked = np.ma.array(np.where(bad, 1e5, exposure.frame), mask=bad)
    np.testing.assert_array_equal(crsdun.reconstruct(masked, exposure.mask, **known).scene.cube, expected)
    with pytest.raises(InputError, match="the measurement is a masked array with invalid elements"):
        Measurement(masked)
    with pytest.raises(InputError, match="the mask is a masked array"):
        crsdun.reconstruct(frame, np.ma.array(exposure.mask, mask=exposure.mask > 0), **known)


def test_settings_of_files_and_of_other_types_are_refused(scene):
    exposure, known = simulate(scene, Exposure()), {"wavelengths": WAVELENGTHS, "method": GapTv(iterations=3)}
    for settings in ({"frame": 2}, {"key": "y"}, {"mask_key": "mask"}, {"truth_key": "cube", "truth": scene}):
        with pytest.raises(InputError, match=f"{next(iter(settings))} is for a file"):
            crsdun.reconstruct(exposure.frame, exposure.mask, **known, **settings)
    for name in ("bands", "step", "bits"):
        with pytest.raises(InputError, match=f"{name} is a number, not '6'"):
            crsdun.reconstruct(exposure.frame, exposure.mask, **known, **{name: "6"})
    dark = torch.zeros(exposure.frame.shape)
    known["method"] = LrTv(iterations=3)
    tiles = crsdun.reconstruct(exposure.frame, exposure.mask, dark=dark, tiles=32, **known)
    assert tiles.record["tiles"]["rows"] == 32


def test_a_truth_that_may_be_the_wrong_way_round_is_told(scene):
    lines = []
    pipeline = Pipeline(GapTv(iterations=1), notify=lines.append)
    for wavelengths, told in ((WAVELENGTHS, 0), (WAVELENGTHS[::-1], 1)):
        prepared = Preparation(wavelengths=wavelengths).prepare(simulate(scene, Exposure()), Scene(scene.cube))
        pipeline.decode(prepared)
        assert len(lines) == told
    assert "the bands of the camera begin with the longest" in lines[0]


def test_the_truth_is_resampled_to_the_bands_of_the_camera(scene):
    fine = Scene(scene.cube.repeat(2, 0), wavelengths=tuple(range(430, 630, 25)), name="fine")
    prepared = Preparation().prepare(simulate(scene, Exposure()), fine)
    truth = prepared.truth_for(prepared.camera)
    assert (truth.wavelengths, truth.cube.shape) == (WAVELENGTHS, scene.cube.shape)
    assert Preparation().prepare(simulate(scene, Exposure())).truth_for(prepared.camera) is None


def test_what_is_decided_automatically_is_said_once(files):
    lines = []
    pipeline = Pipeline(options=RunOptions(keep_stages=True), truth=files / "truth.npz", notify=lines.append)
    for _ in range(2):
        result = pipeline.decode(pipeline.read(files / "y.npz"))
    assert result.record["method"] == "lr-tv"
    assert result.truth is not None
    assert len(result.stage_metrics) == len(result.stages.cubes) == 1
    assert len(lines) == 1
    assert lines[0].startswith("no shipped weights fit (these weights are for 28 bands")
    assert lines[0].count("28 bands") == 1, "said once for all weights"
    with pytest.raises(InputError, match="an engine computes a network; set weights, or omit engine"):
        Pipeline(engine="openvino", notify=lines.append).decode(pipeline.read(files / "y.npz"))


def test_a_frame_is_tiled_where_it_would_not_fit(files):
    lines, network = [], crsdun.create("crsdun_1stg", bands=BANDS, classes=3, width=4)
    pipeline = Pipeline(network, options=RunOptions(memory=0), notify=lines.append)
    result = pipeline.decode(pipeline.read(files / "y.npz"))
    assert result.record["tiles"] == {"rows": 64, "overlap": 32, "automatic": True}
    assert lines == [f"there is not enough memory for {H}×{W} pixels at once: tiles of 64 rows, overlapping by 32"]


def test_options_that_do_not_suit_the_method_are_refused_before_anything_is_read():
    with pytest.raises(InputError, match="gap-tv computes in float32"):
        Pipeline(GapTv(), options=RunOptions(precision="bfloat16"))


def test_the_camera_is_refined_once_for_all_its_frames(tmp_path):
    scene = ProduceSet("validation")[0]
    scene = Scene(scene.cube[::7, 60:108, 60:124], wavelengths=scene.wavelengths[::7])
    exposure = Exposure(step=4, moved=(1.0, 0.5))  # told the mask where it was
    for name in ("one", "two"):
        write_measurement(simulate(scene, exposure), tmp_path / f"{name}.npz")
    lines = []
    settings = {"options": RunOptions(), "notify": lines.append, "refine": True}
    pipeline = Pipeline(LrTv(iterations=30), **settings)
    results = [pipeline.decode(pipeline.read(tmp_path / f"{name}.npz")) for name in ("one", "two")]
    write_results(results[0], tmp_path / "out")
    assert read_results(tmp_path / "out").camera.moved == pytest.approx(results[0].camera.moved)
    assert len(lines) == 1
    assert lines[0].startswith("camera refined: mask moved by +1.0")
    for result in results:
        found = result.record["measurement"]["refined_camera"]
        assert found["down"]["found"] == pytest.approx(1, abs=0.1)
        assert found["right"]["found"] == pytest.approx(0.5, abs=0.1)
        assert found["held_out_after"] < found["held_out_before"]
        assert result.record["camera"]["mask_moved_pixels"] == (found["down"]["found"], found["right"]["found"])
        assert "mask_moved" not in result.metrics  # which the method itself found
    plain = Pipeline(LrTv(iterations=30), notify=lines.append)
    told = plain.decode(plain.read(tmp_path / "one.npz"))
    assert results[0].metrics["held_out_residual"] < told.metrics["held_out_residual"]


def test_the_camera_of_a_result_has_the_bands_of_its_scene(scene):
    exposure = simulate(scene, Exposure())
    told = {"wavelengths": WAVELENGTHS[::-1], "step": -2, "method": GapTv(iterations=3)}
    result = crsdun.reconstruct(exposure.frame, exposure.mask, **told)
    expected = crsdun.reconstruct(exposure.frame, exposure.mask, wavelengths=WAVELENGTHS, method=GapTv(iterations=3))
    np.testing.assert_allclose(result.scene.cube, expected.scene.cube, atol=1e-6)
    assert result.camera.wavelengths == result.scene.wavelengths == WAVELENGTHS
    missing = result.camera.forward(torch.from_numpy(result.scene.cube)) - torch.from_numpy(exposure.frame)
    residual = float(missing.norm() / torch.from_numpy(exposure.frame).norm())
    assert residual == pytest.approx(result.metrics["data_residual"], rel=1e-4)
