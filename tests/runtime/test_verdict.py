"""A network's cube is judged before it is shown: what it was not trained for is said, and a solver takes over."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import crsdun
from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.methods import RunOptions
from crsdun.methods.verdict import MASK_DOUBT, Verdict, against_solver, describe_fit, judge_figures
from crsdun.networks import earlier_weights, pretrained_weights
from crsdun.optics import Exposure, ModelCard, SensorNoise, moved_mask
from crsdun.runtime import Pipeline, Preparation, decode, fit_of_weights, open_method, simulate
from crsdun.scenes import Measurement, Scene, read_scene, write_measurement, write_scene
from crsdun.scenes.produce import ProduceSet

H, W = 64, 96
rows, columns = np.mgrid[:H, :W]


def produce() -> Scene:
    """Of the kind that the shipped weights were trained for."""
    return ProduceSet("test").crop(3, 64, 32, H, W)


@pytest.fixture
def tiny_alone(monkeypatch):
    """Weights that learnt behind a single kind of camera are all there is."""
    first = {"crsdun_tiny_1": earlier_weights()["crsdun_tiny_1"]}
    monkeypatch.setattr("crsdun.runtime.reconstruction.pretrained_weights", lambda: first)


@pytest.fixture
def tiny_beside(monkeypatch):
    """They are there beside those that are shipped."""
    both = {**pretrained_weights(), **earlier_weights()}
    monkeypatch.setattr("crsdun.runtime.reconstruction.pretrained_weights", lambda: both)


def waves() -> Scene:
    """Of another kind, seen by the same camera."""
    scene = produce()
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 9 + columns / 7 + band / 3) for band in range(scene.bands)])
    return Scene(cube, wavelengths=scene.wavelengths, name="waves")


def shifted(measurement: Measurement) -> Measurement:
    """With a mask that is registered one pixel off."""
    return replace(measurement, mask=np.roll(measurement.mask, 1, axis=1))


@pytest.mark.parametrize(
    ("measurement", "why"),
    [
        (simulate(waves(), Exposure()), r"leaves \d.\d% of the measurement unexplained, where .* leave 0.\d%"),
        (shifted(simulate(produce(), Exposure())), r"gives values from -0.\d* to 3.\d*, where a scene has 0 to 1"),
    ],
    ids=["another kind of scene", "a mask one pixel off"],
)
def test_what_weights_were_not_trained_for(measurement, why, tiny_alone):
    prepared = Preparation().prepare(measurement)
    asked = decode(prepared, open_method("crsdun_tiny_1"))
    assert asked.warning == asked.metrics["warning"]

    lines = []
    pipeline = Pipeline(notify=lines.append)
    for _ in range(2):
        result = pipeline.decode(prepared)
        assert result.record["method"] == "lr-tv"
        assert result.metrics["data_residual"] < asked.metrics["data_residual"] / 3
        assert (result.warning is None) == (measurement.name == "waves")
    fits, instead = lines
    assert fits.startswith("crsdun_tiny_1 fits this camera; it knows 23 classes, background to ")
    assert instead == f"{asked.warning}; lr-tv decodes instead"
    assert re.fullmatch(f"crsdun_tiny_1 {why}", asked.warning)


def test_what_they_were_trained_for_is_not_doubted(tiny_alone):
    for exposure in (Exposure(), Exposure(noise=crsdun.optics.SensorNoise(photons=500))):
        prepared = Preparation().prepare(simulate(produce(), exposure))
        assert Pipeline(notify=lambda line: None).decode(prepared).record["method"] == "crsdun_tiny_1"


def test_the_warning_is_in_the_line_the_figures_and_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_measurement(shifted(simulate(produce(), Exposure())), "y.npz")
    assert main(["reconstruct", "y.npz", "--weights", "crsdun_tiny_1", "--out", "out"]) == 0
    line = capsys.readouterr().out
    warning = json.loads((tmp_path / "out/metrics.json").read_text())["warning"]
    assert f"\nWARNING: do not rely on this result: {warning}\n" in line
    assert f"<strong>Do not rely on this result.</strong> {warning}." in (tmp_path / "out/report.html").read_text()


def grey() -> np.ndarray:
    """A mask that lets a little light through where it should be closed, in one of eight columns of the frame."""
    mask = np.array(crsdun.optics.random_mask(H, W))
    mask[:, ::4] = np.where(mask[:, ::4] > 0, 1, 0.01)
    return mask


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wavelengths": None}, "the wavelengths of the bands are not known"),
        ({"mask": np.ones((H, W), np.float32)}, "100% of the mask is open"),
        ({"frame": 1e-3}, r"the measurement goes up to 0.0\d% of what a white scene gives"),
        ({"frame": 1 / 28}, r"too dark, or on the scale of y / 28, so that 28 times its values are y"),
        ({"frame": 2 / 28}, r"too dark, or on the scale of 2 y / 28, so that 14 times its values are y"),
        ({"frame": None}, r"the largest value is 0.8, as of 0.8 y / max\(y\), which has lost the scale of y"),
        ({"mask": grey()}, r"1\d% of the mask is almost closed"),
    ],
)
@pytest.mark.usefixtures("tiny_beside")
def test_cameras_that_do_not_resemble_those_of_the_weights(change, why):
    measurement = simulate(produce(), Exposure())
    if "frame" in change:
        factor = change["frame"] or 0.8 / measurement.frame.max()
        change = {"frame": measurement.frame * np.float32(factor)}
    reasons = fit_of_weights(Preparation().prepare(replace(measurement, **change)))
    assert re.search(why, reasons["crsdun_tiny_1"])
    # Any exposure and any mask with a code is the same to weights that learnt behind random cameras.
    coded = "wavelengths" not in change and not (isinstance(change.get("mask"), np.ndarray) and change["mask"].all())
    assert (reasons["crsdun_small"] is None) == coded


@pytest.mark.parametrize("exposure", [Exposure(step=-3), Exposure(step=1, noise=SensorNoise(photons=500))])
@pytest.mark.usefixtures("tiny_beside")
def test_weights_that_learnt_behind_random_cameras_take_others(exposure):
    prepared = Preparation().prepare(simulate(produce(), exposure))
    assert "dispersion" in fit_of_weights(prepared)["crsdun_tiny_1"]
    result = Pipeline(notify=lambda line: None).decode(prepared)
    assert (result.record["method"], result.warning) == ("crsdun_small", None)


def test_they_find_a_mask_that_has_moved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exact = simulate(produce(), Exposure())
    moved = replace(exact, mask=moved_mask(exact.mask, 1, 0))
    write_measurement(moved, "y.npz")
    write_scene(produce(), "truth.npz")
    assert main(["reconstruct", "y.npz", "--truth", "truth.npz", "--out", "out"]) == 0
    line = capsys.readouterr().out
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["mask_moved"] == pytest.approx([-1, 0], abs=0.1)
    down, right = metrics["mask_moved"]
    found = f"ts mask was found {down:+.2f} rows and {right:+.2f} columns off its given position"
    assert f"; i{found}" in line
    assert f"I{found}." in (tmp_path / "out/report.html").read_text()
    assert "warning" not in metrics
    # A frame of 64 rows tells to a tenth of a pixel where the mask is; and the row that moved in, nobody told.
    expected = decode(Preparation().prepare(exact), open_method("crsdun_small")).scene.cube
    found, expected, truth = (cube[:, 2:-2] for cube in (read_scene("out/cube.npz").cube, expected, produce().cube))
    assert np.square(found - truth).mean() < 2.5 * np.square(expected - truth).mean()


@pytest.mark.parametrize("method", ["lr-tv", "gap-tv"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda mask: np.roll(mask, 1, axis=0),
        lambda mask: np.roll(mask, 1, axis=1),
        lambda mask: 1 - mask,
        lambda mask: crsdun.optics.random_mask(H, W, seed=9),
    ],
    ids=["one row off", "one column off", "inverted", "another"],
)
def test_a_solver_behind_a_wrong_mask_is_doubted(method, wrong):
    right = simulate(produce(), Exposure(noise=crsdun.optics.SensorNoise(photons=500)))
    for measurement, doubted in ((right, False), (replace(right, mask=wrong(right.mask).astype(np.float32)), True)):
        result = decode(Preparation().prepare(measurement), open_method(method))
        assert (result.warning is not None) == doubted
    assert result.warning == MASK_DOUBT


def test_a_mask_that_has_moved_is_sent_to_what_mends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    right = simulate(produce(), Exposure())
    write_measurement(replace(right, mask=np.roll(right.mask, 1, axis=0)), "y.npz")
    for more, named in (((), True), (("--refine-camera",), False)):
        out = f"out{len(more)}"
        assert main(["reconstruct", "y.npz", "--method", "gap-tv", "--iterations", "20", "--out", out, *more]) == 0
        assert ("if the mask has only moved, --refine-camera finds" in capsys.readouterr().out) == named


def test_masks_that_another_cannot_replace_are_not_tried():
    # All open: there is nothing to compare.
    measurement = simulate(produce(), Exposure(mask=np.ones((H, W), np.float32)))
    assert decode(Preparation().prepare(measurement), open_method("gap-tv", iterations=5)).warning is None


def test_how_well_the_cube_fits_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_measurement(simulate(produce(), Exposure(noise=crsdun.optics.SensorNoise(photons=500))), "y.npz")
    assert main(["reconstruct", "y.npz", "--method", "lr-tv", "--out", "out"]) == 0
    line = capsys.readouterr().out
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["fit"] == "fits"
    assert 0.005 < metrics["noise"] < metrics["held_out_residual"] < 0.05
    assert f"noise {metrics['noise']:.2%}: fits the measurement within its noise" in line
    report = (tmp_path / "out/report.html").read_text()
    assert "The cube fits the measurement within its noise." in report
    assert "residual of pixels held out" in report


@pytest.mark.parametrize(
    ("method", "scale", "fit"),
    [("crsdun_tiny_1", 1.0, "fits"), ("crsdun_tiny_1", 0.2, "not"), ("gap-tv", 1.0, "fits")],
)
def test_the_verdict_on_other_methods(method, scale, fit):
    measurement = simulate(produce(), Exposure())
    dark = replace(measurement, frame=measurement.frame * np.float32(scale), mask=measurement.mask)
    if scale != 1:
        dark = shifted(dark)
    assert decode(Preparation().prepare(dark), open_method(method)).metrics["fit"] == fit


def test_what_has_learnt_is_doubted_at_any_scale_where_it_does_not_explain():
    """A solver that was stopped early is not, and neither is what leaves little more than a solver."""
    prepared = Preparation().prepare(simulate(waves(), Exposure()))
    y = torch.from_numpy(prepared.measurement.frame)

    def weights(card: ModelCard):
        return SimpleNamespace(name="some weights", needs_scale=False, card=card)

    def verdict(residual: float, card: ModelCard):
        return against_solver(weights(card), residual, y, prepared.camera, RunOptions())

    learnt = ModelCard(prepared.camera.wavelengths)
    assert judge_figures(weights(learnt), 0.19, None, (0, 1)) is None
    found = verdict(0.19, learnt)
    assert found.fit == "not"
    assert re.fullmatch(
        r"some weights leaves 19\.0% of the measurement unexplained, where .* leave 0\.\d%", found.doubt
    )
    assert judge_figures(weights(ModelCard()), 0.19, None, (0, 1)) == Verdict("partly")
    assert verdict(0.009, learnt) == Verdict("partly")


def test_an_evaluation_marks_the_scenes_that_should_not_be_believed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    crsdun.scenes.write_scene(waves(), "scenes/waves.npz")
    crsdun.scenes.write_scene(produce(), "scenes/produce.npz")
    (tmp_path / "data.yaml").write_text('cubes: "scenes/{name}.npz"\nsplits: {test: [waves, produce]}\n')
    assert main(["evaluate", "crsdun_tiny_1", "data.yaml", "--cubes-only", "--out", "out"]) == 0
    evaluation = json.loads((tmp_path / "out/evaluation.json").read_text())
    warnings = {row["name"]: row.get("warning") for row in evaluation["scenes"]}
    assert warnings["produce"] is None
    assert "unexplained" in warnings["waves"]
    assert "WARNING: do not rely on 1 of 2 scenes, such as waves:" in " ".join(capsys.readouterr().out.split())
    assert "waves (do not rely on it)" in (tmp_path / "out/report.html").read_text()


# -- the dark level and counts ---------------------------------------------------------------------------------


def test_a_dark_level_is_found_said_and_subtracted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measurement = simulate(produce(), Exposure(noise=crsdun.optics.SensorNoise(photons=500)))
    write_measurement(replace(measurement, frame=measurement.frame + 0.6), "y.npz")
    common = ["reconstruct", "y.npz", "--method", "gap-tv", "--iterations", "20", "--out"]
    assert main([*common, "veiled"]) == 0
    line = capsys.readouterr().err
    assert "unlit pixels read about 0.6, " in line
    assert "set --dark to " in line
    assert main([*common, "clear", "--dark", "0.6"]) == 0
    assert "unlit" not in capsys.readouterr().err
    stored = crsdun.scenes.read_measurement(tmp_path / "clear/measurement.npz").frame
    np.testing.assert_allclose(stored, measurement.frame, atol=1e-5)
    assert main(["info", "y.npz"]) == 0
    assert "unlit pixels of measurement read about 0.6" in " ".join(capsys.readouterr().out.split())


def test_a_dark_frame_beside_the_measurement_is_told_until_it_is_subtracted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measurement = simulate(produce(), Exposure())
    dark = np.full(measurement.frame.shape, 0.6, np.float32)
    np.savez("y.npz", meas=measurement.frame + dark, dark=dark, mask=measurement.mask)
    common = ["reconstruct", "y.npz", "--method", "gap-tv", "--iterations", "5", "--out"]
    assert main([*common, "veiled"]) == 0
    line = " ".join(capsys.readouterr().err.split())
    assert (
        "also holds a dark frame, dark, which is not subtracted: to subtract it, set --dark to this file too" in line
    )
    assert "unlit" not in line
    assert main([*common, "clear", "--dark", "y.npz"]) == 0
    assert "dark frame" not in capsys.readouterr().err


def test_a_frame_without_a_dark_level_is_not_commented():
    for noise in (crsdun.optics.SensorNoise(), crsdun.optics.SensorNoise(photons=100)):
        assert Preparation().prepare(simulate(produce(), Exposure(noise=noise))).floor() is None


def test_solvers_take_counts_and_networks_ask_for_their_scale():
    measurement = simulate(produce(), Exposure())
    counts = replace(measurement, frame=(100 * measurement.frame).round().astype(np.uint16))
    prepared = Preparation().prepare(counts)
    assert Pipeline(notify=lambda line: None).decode(prepared).record["method"] == "crsdun_small"
    result = decode(prepared, open_method("lr-tv"))
    scaled = decode(Preparation().prepare(measurement), open_method("lr-tv"))
    np.testing.assert_allclose(result.scene.cube / 100, scaled.scene.cube, atol=0.05)
    with pytest.raises(InputError, match="crsdun_tiny_1 needs the scale of its camera; normalise them: set bits"):
        decode(prepared, open_method("crsdun_tiny_1"))
    with pytest.raises(InputError, match="a true scene has another; normalise them"):
        decode(replace(prepared, truth=produce()), open_method("lr-tv"))


def test_what_should_not_be_believed_is_not_said_to_fit():
    figures = {"fit": "fits", "noise": 0.01}
    assert describe_fit(figures) == "fits the measurement within its noise"
    assert describe_fit({**figures, "warning": "its mask is another one"}) == (
        "should not be believed although it fits the measurement: see the warning"
    )
    assert "within its noise, which is large" in describe_fit({**figures, "noise": 0.23})
