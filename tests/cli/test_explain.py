"""``crsdun explain``: what it leaves behind, what it prints, how it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

import crsdun
from crsdun.cli import main
from crsdun.optics import Exposure
from crsdun.runtime import simulate
from crsdun.scenes import read_measurement, write_measurement, write_scene
from tests.listing import visible
from tests.runtime.test_explanation import NAMES, H, W, network, scene


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a scene, its measurement and weights; commands run inside it."""
    monkeypatch.chdir(tmp_path)
    write_scene(scene(), "scene.npz")
    write_measurement(simulate(scene(), Exposure(np.random.default_rng(0).random((H, W)))), "y.npz")
    crsdun.save(network(), "w.safetensors")
    crsdun.save(network("mstpp", bodies=1), "cube.safetensors")
    return tmp_path


EXPLAIN = ["explain", "y.npz", "--weights", "w.safetensors", "--out", "out"]


def test_stages_and_questions_are_left_behind(files, capsys):
    assert main([*EXPLAIN, "--pixel", "3", "4", "--pixel", "5", "50", "--truth", "scene.npz", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    pictures = ["pixel_3_4.png", "pixel_5_50.png", "stages.png"]
    assert visible("out") == sorted(["explanation.json", "record.json", *pictures])
    told = json.loads(Path("out/explanation.json").read_text())
    assert told.items() <= printed.items()
    assert [stage["psnr_db"] > 0 for stage in told["stages"]] == [True, True]
    looks = told["looks"]["pixel 3 4"]
    assert looks[0].keys() == {"stage", "branch", "node", "block", "tokens", "own_class"}
    assert len(looks) == 6
    assert json.loads(Path("out/record.json").read_text())["method"] == "w.safetensors"


def test_a_class_by_name_and_pixels_by_themselves(files, capsys):
    assert main(EXPLAIN) == 0
    words = capsys.readouterr().out
    assert len(list(Path("out").glob("pixel_*.png"))) == 3
    assert "class as in the answer" in words
    assert "look at out/stages.png" in words
    occurring = [name for name in NAMES if main([*EXPLAIN[:-1], name, "--class", name]) == 0]
    assert occurring
    assert all(Path(name, f"class_{name}.png").is_file() for name in occurring)


def test_a_network_without_cross_aggregation_says_so(files, capsys):
    assert main(["explain", "y.npz", "--weights", "cube.safetensors", "--pixel", "3", "4", "--out", "out"]) == 0
    assert "no cross-aggregation" in capsys.readouterr().out
    assert visible("out") == ["explanation.json", "record.json", "stages.png"]


def test_a_frame_is_prepared_and_judged_as_for_a_reconstruction(files, capsys):
    frame = read_measurement("y.npz").frame
    np.savez("dark.npz", measurement=frame, mask=read_measurement("y.npz").mask, dark=np.full_like(frame, 0.1))
    reconstruct = ["reconstruct", "dark.npz", "--weights", "w.safetensors", "--out", "same"]
    assert main(reconstruct) == main([*EXPLAIN[:1], "dark.npz", *EXPLAIN[2:]]) == 0
    told = capsys.readouterr()
    assert told.err.count("the file also holds a dark frame") == 2
    assert told.out.count("WARNING: do not rely on this result") == 2
    metrics = json.loads(Path("out/explanation.json").read_text())["metrics"]
    expected = json.loads(Path("same/metrics.json").read_text())
    assert (metrics["fit"], metrics["warning"]) == (expected["fit"], expected["warning"])


def test_counts_are_refused_as_for_a_reconstruction(files, capsys):
    measurement = read_measurement("y.npz")
    np.savez("counts.npz", measurement=np.rint(2 * measurement.frame).astype(np.uint8), mask=measurement.mask)
    assert main([*EXPLAIN[:1], "counts.npz", *EXPLAIN[2:]]) == 2
    assert "the measurement holds camera counts, and w.safetensors needs the scale" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--pixel", "3", "400"], "lies outside the scene of 40×52 pixels"),
        (["--class", "stone"], "no class 'stone'; there are soil, leaf, fruit"),
        (["--step", "1"], "for 4 bands but the camera has 7"),
    ],
)
def test_what_cannot_be_shown_is_refused(files, capsys, more, words):
    assert main([*EXPLAIN, *more]) == 2
    assert words in capsys.readouterr().err
    assert not Path("out").exists()
