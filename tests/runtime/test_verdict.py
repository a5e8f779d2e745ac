"""A network's cube is judged before it is shown: what it was not trained for is said, and a solver takes over."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import crsdun
from crsdun.cli import main
from crsdun.optics import Exposure
from crsdun.runtime import Pipeline, Preparation, choose_weights, decode, open_method, simulate
from crsdun.scenes import Measurement, Scene, write_measurement
from crsdun.scenes.produce import ProduceSet

H, W = 64, 96
rows, columns = np.mgrid[:H, :W]


def produce() -> Scene:
    """Of the kind that the shipped weights were trained for."""
    return ProduceSet("test").crop(3, 64, 32, H, W)


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
def test_what_weights_were_not_trained_for(measurement, why):
    prepared = Preparation().prepare(measurement)
    asked = decode(prepared, open_method("crsdun_tiny"))
    assert asked.warning == asked.metrics["warning"]

    lines = []
    pipeline = Pipeline(notify=lines.append)
    for _ in range(2):
        result = pipeline.decode(prepared)
        assert result.record["method"] == "lr-tv"
        assert result.warning is None
        assert "warning" not in result.metrics
        assert result.metrics["data_residual"] < asked.metrics["data_residual"] / 3
    assert lines == ["crsdun_tiny fits this camera", f"{asked.warning}; lr-tv decodes instead"]
    assert re.fullmatch(f"crsdun_tiny {why}", asked.warning)


def test_what_they_were_trained_for_is_not_doubted():
    for exposure in (Exposure(), Exposure(noise=crsdun.optics.SensorNoise(photons=500))):
        prepared = Preparation().prepare(simulate(produce(), exposure))
        assert Pipeline(notify=lambda line: None).decode(prepared).record["method"] == "crsdun_tiny"


def test_the_warning_is_in_the_line_the_figures_and_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_measurement(shifted(simulate(produce(), Exposure())), "y.npz")
    assert main(["reconstruct", "y.npz", "--weights", "crsdun_tiny", "--out", "out"]) == 0
    line = capsys.readouterr().out
    warning = json.loads((tmp_path / "out/metrics.json").read_text())["warning"]
    assert f"\nWARNING: do not rely on this result: {warning}\n" in line
    assert f"<strong>Do not rely on this result.</strong> {warning}." in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wavelengths": None}, "the wavelengths of the bands are not known"),
        ({"mask": np.ones((H, W), np.float32)}, "100% of the mask is open"),
        ({"frame": 1e-3}, r"the measurement goes up to 0.0\d% of what a white scene gives"),
    ],
)
def test_cameras_that_do_not_resemble_those_of_the_weights(change, why):
    measurement = simulate(produce(), Exposure())
    if "frame" in change:
        change = {"frame": measurement.frame * np.float32(change["frame"])}
    name, reason = choose_weights(Preparation().prepare(replace(measurement, **change)))
    assert name is None
    assert re.search(why, reason)
