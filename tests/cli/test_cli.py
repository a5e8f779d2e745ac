"""The commands as a person types them: what they leave behind, what they print, how they refuse."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import crsdun
from crsdun.cli import main, options, parser
from crsdun.optics import CassiCamera, random_mask
from crsdun.scenes import Measurement, Scene, read_measurement, read_scene, write_measurement, write_scene
from crsdun.scenes.catalog import DATASETS
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import SOLVERS
from tests.listing import visible
from tests.refusing import refuse

BANDS, H, W = 6, 24, 20
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0)
REAL = Path(__file__).parents[2] / "shared" / "data" / "tsa_real"


def smooth_scene() -> Scene:
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(BANDS)])
    return Scene(cube, wavelengths=WAVELENGTHS, classes=(cube[0] > 0.5).astype(int), class_names=("soil", "leaf"))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a scene, a mask and a measurement; commands run inside it."""
    monkeypatch.chdir(tmp_path)
    write_scene(smooth_scene(), "scene.npz")
    np.save("mask.npy", random_mask(H, W, seed=1))
    assert main(["simulate", "scene.npz", "--mask", "mask.npy", "--out", "y.npz"]) == 0
    return tmp_path


RECONSTRUCT = ("reconstruct", "y.npz", "--iterations", "8", "--out", "out")


# -- what is left behind ---------------------------------------------------------------------------------------


def test_a_result_folder_holds_everything(files, capsys):
    assert main([*RECONSTRUCT, "--truth", "scene.npz", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert visible("out") == [
        "bands.png", "cube.hdr", "cube.img", "cube.npz", "measurement.npz", "metrics.json", "overview.png",
        "picture.png", "record.json", "report.html", "spectra.png", "truth.npz",
    ]  # fmt: skip
    metrics = json.loads(Path("out/metrics.json").read_text())
    judged = {"data_residual", "fit", "held_out_residual", "noise"}
    assert metrics.keys() == {*judged, "psnr_db", "ssim", "sam_deg", "rmse", "protocol"}
    assert printed["psnr_db"] == metrics["psnr_db"] > 15

    envi, archive = read_scene("out/cube.hdr"), read_scene("out/cube.npz")
    assert envi.wavelengths == archive.wavelengths == WAVELENGTHS
    assert np.array_equal(envi.cube, archive.cube)
    record = json.loads(Path("out/record.json").read_text())
    assert record["method"] == "lr-tv"
    assert record["settings"]["iterations"] == 8
    assert record["camera"]["wavelengths_nm"] == list(WAVELENGTHS)
    for picture in Path("out").glob("*.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L")).std() > 5, f"{picture} is blank"


def test_weights_give_classes_too(files, capsys):
    network = crsdun.create("crsdun_1stg", bands=BANDS, classes=2, width=2)
    crsdun.save(network, "w.safetensors", wavelengths=WAVELENGTHS, class_names=("soil", "leaf"), step=2)
    arguments = ["reconstruct", "y.npz", "--weights", "w.safetensors", "--truth", "scene.npz", "--out", "out"]
    assert main(arguments) == 0
    assert "mIoU" in capsys.readouterr().out
    assert np.load("out/classes.npy").shape == (H, W)
    assert Path("out/classes.png").is_file()
    assert {"miou", "accuracy"} <= json.loads(Path("out/metrics.json").read_text()).keys()
    assert json.loads(Path("out/record.json").read_text())["settings"]["width"] == 2


@pytest.fixture
def produce(tmp_path, monkeypatch):
    """A part of a scene of Produce-23, measured by a camera that the shipped weights fit."""
    monkeypatch.chdir(tmp_path)
    write_scene(ProduceSet("test").crop(3, 64, 32, 64, 96), "scene.npz")
    assert main(["simulate", "scene.npz", "--out", "y.npz"]) == 0
    return tmp_path


def test_the_shipped_weights_decode_where_they_fit(produce, capsys):
    assert main(["reconstruct", "y.npz", "--truth", "scene.npz", "--out", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "crsdun: crsdun_small fits this camera; it knows 23 classes, background to fake corn, and calls"
    )
    assert "by crsdun_small in" in captured.out
    assert json.loads(Path("out/metrics.json").read_text())["accuracy"] > 0.8
    assert json.loads(Path("out/record.json").read_text())["method"] == "crsdun_small"
    assert read_scene("out/cube.npz").class_names == ProduceSet.class_names
    assert main(["reconstruct", "y.npz", "--weights", "crsdun_small", "--out", "asked"]) == 0
    assert capsys.readouterr().err == ""
    assert np.array_equal(np.load("asked/classes.npy"), np.load("out/classes.npy"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--wavelengths", "380-700:28"], "but the camera has one at 391.852 nm"),
        ([], "the wavelengths of the bands are not known"),
        (["--step", "1"], "28 bands but the camera has 55"),
        (["--step", "-2", "--bands", "28", "--wavelengths", "800-900:28"], "but the camera has one at 900 nm"),
    ],
)
def test_where_they_do_not_fit_it_is_said_and_lr_tv_decodes(produce, capsys, given, why):
    y = read_measurement("y.npz")
    np.save("bare.npy", y.frame)
    np.save("mask.npy", y.mask)
    assert main(["reconstruct", "bare.npy", "--mask", "mask.npy", *given, "--out", "out"]) == 0
    words = capsys.readouterr().err
    assert why in words
    assert words.endswith("lr-tv, which needs none, decodes\n")
    assert json.loads(Path("out/record.json").read_text())["method"] == "lr-tv"


def test_the_other_method_by_name(files):
    assert main([*RECONSTRUCT, "--method", "gap-tv"]) == 0
    assert json.loads(Path("out/record.json").read_text())["method"] == "gap-tv"


def test_a_mask_of_its_own_and_an_unknown_camera(files):
    """A bare frame: the widths tell the number of bands, and nobody knows the wavelengths."""
    np.save("frame.npy", read_measurement("y.npz").frame)
    assert main(["reconstruct", "frame.npy", "--mask", "mask.npy", "--iterations", "2", "--out", "out"]) == 0
    scene = read_scene("out/cube.npz")
    assert (scene.bands, scene.wavelengths) == (BANDS, None)


def test_camera_counts_are_normalised_when_told_how(files):
    y = read_measurement("y.npz").frame
    counts = Measurement(np.round(y / BANDS * 4000 + 64).astype(np.uint16))
    write_measurement(counts, "counts.npy")
    for name, scale in (("levels", ["--dark", "64", "--white", "4064"]), ("depth", ["--dark", "64", "--bits", "12"])):
        command = ["reconstruct", "counts.npy", "--mask", "mask.npy", "--iterations", "2", "--out", name, *scale]
        assert main(command) == 0
    assert main([*RECONSTRUCT[:3], "2", "--out", "direct"]) == 0
    levels, direct = read_scene("levels/cube.npz").cube, read_scene("direct/cube.npz").cube
    np.testing.assert_allclose(levels, direct, atol=0.01)
    assert json.loads(Path("levels/record.json").read_text())["measurement"]["normalised"]["white"] == 4064


def test_simulation_keeps_the_camera_and_is_seeded(files):
    noisy = ["--photons", "100", "--read-noise", "0.01", "--bits", "10", "--mask", "random:5", "--step", "-1"]
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["simulate", "scene.npz", *noisy, "--seed", seed, "--out", f"{name}.h5"]) == 0
    a, b, c = (read_measurement(f"{name}.h5") for name in "abc")
    assert np.array_equal(a.frame, b.frame)
    assert not np.array_equal(a.frame, c.frame)
    assert (a.step, a.wavelengths) == (-1, WAVELENGTHS)
    assert np.array_equal(a.mask, random_mask(H, W, seed=5))
    assert a.provenance["noise"]["photons"] == 100
    assert main(["reconstruct", "a.h5", "--iterations", "2", "--out", "out"]) == 0
    offsets = json.loads(Path("out/record.json").read_text())["camera"]["offsets_pixels"]
    assert offsets == [0, -1, -2, -3, -4, -5]


def test_simulation_on_other_bands(files):
    assert main(["simulate", "scene.npz", "--wavelengths", "460-690:4", "--out", "y4.npz"]) == 0
    assert read_measurement("y4.npz").frame.shape == (H, W + 6)


def test_simulation_of_a_scene_of_a_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "produce:3", "--out", "y.npz"]) == 0
    assert "28 bands of test_003" in capsys.readouterr().out
    for name in ("produce", "produce:50", "produce:-1", "produce:x"):
        assert "name one, produce:0 to produce:49" in refuse(capsys, "simulate", name, "--out", "new.npz")


def test_info_tells_a_person_and_a_machine(files, capsys):
    capsys.readouterr()
    assert main(["info", "y.npz"]) == 0
    words = capsys.readouterr().out
    assert "24×30" in words
    assert "6 bands at step 2" in words
    assert "wavelengths: 6, from 450 to 700 nm" in words
    assert main(["info", "y.npz", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert {"bands": 6, "step": 2} in described["arrays"][0]["fitting_cameras"]

    network = crsdun.create("crsdun_1stg", bands=3, classes=2)
    crsdun.save(network, "w.safetensors", wavelengths=(450, 550, 650), class_names=("[b]", "leaf"))
    assert main(["info", "w.safetensors"]) == 0
    words = capsys.readouterr().out
    assert "stages 1" in words
    assert "3, from 450 to 650 nm" in words
    assert "2: [b], leaf" in words
    assert f"{sum(each.numel() for each in network.parameters()):,}" in words
    assert main(["info", "w.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["crsdun"]["config"]["stages"] == 1


def test_info_of_shipped_weights_is_a_few_lines(capsys):
    assert main(["info", "crsdun_small"]) == 0
    words = capsys.readouterr().out
    assert len(words.splitlines()) < 20
    told = (
        "1,462,260",
        "any between 400 and 730 nm",
        "1 to 3 or -3 to -1",
        "30% to 70% open",
        "fake corn",
        "PSNR 33.83 dB",
    )
    assert [each for each in told if each not in words] == []


def test_a_folder_of_results_is_a_scene_to_every_command(files, capsys):
    assert main([*RECONSTRUCT, "--out", "out"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert main(["info", "out"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == said[-2:], "what reconstruct said of it"
    assert any("cube" in line for line in told[2:])
    assert main(["simulate", "out", "--out", "again.npz"]) == 0
    np.testing.assert_array_equal(read_scene("out").cube, read_scene("out/cube.npz").cube)
    assert read_measurement("again.npz").frame.shape == read_measurement("y.npz").frame.shape
    assert main(["spectra", "out", "--at", "3,4"]) == 0


def test_the_demo_of_the_readme(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorly", reason="the demo's scene comes with tensorly")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--json"]) == 0
    results = {Path(each["out"]).name: each for each in json.loads(capsys.readouterr().out)["results"]}
    methods = ("gap-tv", "crsdun_tiny", "crsdun_small")
    assert list(results) == [f"{k}_{m}" for k in ("produce", "indian_pines") for m in methods]
    assert results["produce_crsdun_tiny"]["psnr_db"] > results["produce_gap-tv"]["psnr_db"] + 2 > 25
    for kind in ("produce", "indian_pines"):
        assert results[f"{kind}_crsdun_small"]["psnr_db"] > max(
            results[f"{kind}_{m}"]["psnr_db"] for m in methods[:2]
        )
    assert results["indian_pines_gap-tv"]["psnr_db"] > 25
    assert "accuracy" in results["produce_crsdun_tiny"]
    assert "accuracy" not in results["indian_pines_crsdun_tiny"]  # other classes
    assert all(Path(each["out"], "overview.png").is_file() for each in results.values())
    assert Path("demo/overview.png").is_file()
    assert all(Path(each["out"], "report.html").stat().st_size < 5e6 for each in results.values())
    assert main(["demo"]) == 2
    assert "allow it with --overwrite" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason="the real measurements are not carried by the project")
def test_a_real_measurement_of_a_strawberry(tmp_path):
    command = ["reconstruct", REAL / "scene5.mat", "--mask", REAL / "mask.mat", "--wavelengths", "kaist"]
    assert main([*map(str, command), "--iterations", "3", "--out", str(tmp_path / "out")]) == 0
    assert read_scene(tmp_path / "out" / "cube.hdr").cube.shape == (28, 660, 660)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--divisor", "4095"), "divisor is a setting of the truth"),
        (("--axes", "hwc"), "axes is a setting of the truth"),
        (("--truth-key", "nope"), "truth key is a setting of the truth"),
        (("--unlabelled", "7"), "set --truth DIR too, or omit --unlabelled"),
        (("--coverage", "0.5"), "gap-tv gives no classes whose doubt is calibrated; omit --coverage"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(files, capsys, more, told):
    assert told in refuse(capsys, *RECONSTRUCT, "--method", "gap-tv", *more)


def test_other_commands_refuse_options_that_would_do_nothing(files, capsys):
    assert "omit --key" in refuse(capsys, "simulate", "indian-pines", "--key", "nope", "--out", "q.npz")
    assert "omit --axes" in refuse(capsys, "figure", "out", "--axes", "hwc", "--out", "q")
    marks = ("--points", "p.csv", "--unlabelled", "7", "--out", "q.safetensors")
    assert "set --labels too" in refuse(capsys, "classes", "scene.npz", *marks)
    np.save("stack.npy", np.stack([read_measurement("y.npz").frame] * 3))
    stack = ("reconstruct", "stack.npy", "--mask", "mask.npy", "--bands", BANDS, "--method", "gap-tv", "--out", "out")
    told = refuse(capsys, *stack, "--sequence", "--frame", "2")
    assert "one frame of a stack is no sequence; omit --frame, or --sequence" in told
    assert "no frame 0" in refuse(capsys, *stack, "--frame", "0")


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".npy", ".hdr"])
def test_a_simulation_says_whether_its_mask_is_stored(files, capsys, suffix):
    assert main(["simulate", "scene.npz", "--out", f"q{suffix}"]) == 0
    told = capsys.readouterr().out
    assert ("stored with its mask" in told) == (read_measurement(f"q{suffix}").mask is not None)
    assert ("without its mask" in told) == (suffix in (".npy", ".hdr"))


def test_the_key_of_a_mask_chooses_among_those_beside_the_exposure(files, capsys):
    exposure = read_measurement("y.npz")
    masks = {"mask": random_mask(H, W, seed=7), "right": exposure.mask}
    np.savez("two.npz", measurement=exposure.frame, wavelengths=WAVELENGTHS, **masks)
    asked = ("reconstruct", "two.npz", "--method", "lr-tv", "--iterations", "20", "--mask-key")
    for number, large in enumerate(((), ("--large",))):
        residuals = {}
        for key in masks:
            assert main([*asked, key, *large, "--out", f"{key}{number}"]) == 0
            residuals[key] = json.loads(Path(f"{key}{number}/metrics.json").read_text())["data_residual"]
        assert residuals["right"] < residuals["mask"] / 2
    np.testing.assert_array_equal(read_measurement("right0/measurement.npz").mask, exposure.mask)
    assert "has no array 'nope'" in refuse(capsys, *asked, "nope", "--out", "none")
    assert "a random mask has no arrays" in refuse(
        capsys, "simulate", "scene.npz", "--mask-key", "n", "--out", "q.npz"
    )


# -- many measurements, and large ones -------------------------------------------------------------------------


@pytest.fixture
def folder(files):
    """A folder of two measurements, a broken file and the mask that took them; and a folder with a truth."""
    Path("many").mkdir()
    Path("truths").mkdir()
    for name in ("one.npz", "two.h5"):
        write_measurement(read_measurement("y.npz"), f"many/{name}")
    np.save("many/mask.npy", np.load("mask.npy"))
    Path("many/broken.mat").write_text("not a measurement")
    Path("truths/one.npz").write_bytes(Path("scene.npz").read_bytes())
    return files


MANY = ("reconstruct", "many", "--mask", "many/mask.npy", "--iterations", "2", "--out", "out")


def test_a_folder_streams_through_past_a_broken_file(folder, capsys):
    capsys.readouterr()
    assert main([*MANY]) == 1
    captured = capsys.readouterr()
    assert sorted(os.listdir("out")) == ["one", "two"]
    assert read_scene("out/two/cube.npz").cube.shape == (BANDS, H, W)
    assert captured.out.splitlines()[-1] == "2 of 3 measurements reconstructed"
    assert captured.err.startswith("crsdun: many/broken.mat: ")
    assert captured.err.count("\n") == 1
    # What is there stays, and is told.
    assert main([*MANY, "--iterations", "3"]) == 1
    assert capsys.readouterr().err.count("allow it with --overwrite") == 2
    assert main([*MANY[:1], "many/one.npz", "many/two.h5", *MANY[2:], "--overwrite"]) == 0


def test_many_give_the_same_as_each(folder):
    assert main(["reconstruct", "many/*.npz", "many/*.h5", *MANY[2:]]) == 0
    assert main(["reconstruct", "many/two.h5", *MANY[2:-1], "alone"]) == 0
    assert np.array_equal(read_scene("out/two/cube.npz").cube, read_scene("alone/cube.npz").cube)


def test_many_for_a_machine_and_with_their_truths(folder, capsys):
    capsys.readouterr()
    assert main([*MANY, "--truth", "truths", "--json"]) == 1
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert [result["name"] for result in printed["results"]] == ["one"]
    assert printed["results"][0]["psnr_db"] > 10
    assert [failure["name"] for failure in printed["failed"]] == ["broken", "two"]
    assert "truth of two.h5" in printed["failed"][1]["reason"]
    assert captured.err.count("\n") == 2


def test_what_was_finished_before_keeps_its_warning_and_not_its_old_truth(files, capsys, monkeypatch):
    monkeypatch.setattr("crsdun.runtime.reconstruction.doubt_mask", lambda *_: "its mask is that of another camera")
    Path("many").mkdir()
    Path("truths").mkdir()
    for name in ("one", "two"):
        write_measurement(read_measurement("y.npz"), f"many/{name}.npz")
        write_scene(smooth_scene(), f"truths/{name}.npz")
    again = ["reconstruct", "many", "--method", "gap-tv", "--iterations", "2", "--truth", "truths", "--out", "out"]
    assert main(again) == 0
    assert capsys.readouterr().out.count("do not rely on this result") == 2
    assert main(again) == 0
    out = capsys.readouterr().out
    assert (out.count("finished before"), out.count("do not rely on this result")) == (2, 2)
    write_scene(replace(smooth_scene(), cube=smooth_scene().cube / 2), "truths/two.npz", overwrite=True)
    assert main(again) == 1
    captured = capsys.readouterr()
    assert captured.out.count("finished before") == 1
    assert "two exists already" in captured.err


def test_a_refined_camera_is_used_told_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scene = ProduceSet("validation")[0]
    write_scene(Scene(scene.cube[::7, 60:108, 60:124], wavelengths=scene.wavelengths[::7]), "scene.npz")
    assert main(["simulate", "scene.npz", "--step", "4", "--mask-shift", "1,0.5", "--out", "one.npz"]) == 0
    again = ["reconstruct", "one.npz", "--iterations", "20", "--out", "out", "--truth", "scene.npz", "--json"]
    assert main(again) == 0
    before = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main([*again, "--overwrite", "--refine-camera"]) == 0
    captured = capsys.readouterr()
    after = json.loads(captured.out.splitlines()[-1])
    assert captured.err.startswith("crsdun: camera refined: mask moved by +1.0")
    assert "instead of" in captured.err
    assert after["refined_camera"]["down"]["found"] == pytest.approx(1, abs=0.1)
    assert after["psnr_db"] > before["psnr_db"] + 2
    record = json.loads(Path("out/record.json").read_text())
    assert record["measurement"]["refined_camera"] == after["refined_camera"]
    Path("two.npz").write_bytes(Path("one.npz").read_bytes())
    many = ["reconstruct", "one.npz", "two.npz", "--iterations", "20", "--refine-camera", "--out", "many"]
    assert main(many) == 0
    assert capsys.readouterr().err.count("camera refined") == 1
    assert main(many) == 0
    assert capsys.readouterr().out.count("finished before") == 2


def test_an_interruption_of_many_leaves_whole_folders(folder, capsys, monkeypatch):
    from crsdun.runtime import Pipeline

    decode, calls = Pipeline.decode, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(*given)

    monkeypatch.setattr(Pipeline, "decode", interrupted)
    assert main([*MANY]) == 130
    assert os.listdir("out") == ["one"]
    first = Path("out/one/record.json").read_bytes()
    # Run again, it goes on.
    monkeypatch.setattr(Pipeline, "decode", decode)
    capsys.readouterr()
    assert main([*MANY]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "out/one: finished before"
    assert captured.out.splitlines()[-1] == "2 of 3 measurements reconstructed"
    assert captured.err.count("\n") == 1, "of the broken file"
    assert Path("out/one/record.json").read_bytes() == first
    # But not with what another measurement gave.
    frame = read_measurement("many/one.npz")
    write_measurement(replace(frame, frame=frame.frame[::-1]), "many/one.npz", overwrite=True)
    assert main([*MANY]) == 1
    assert "one exists already" in capsys.readouterr().err


def test_many_that_cannot_be_meant(folder, capsys):
    Path("empty").mkdir()
    assert "holds no measurement" in refuse(capsys, "reconstruct", "empty", *MANY[2:])
    assert "holds no measurement" in refuse(capsys, "reconstruct", "*.nothing", *MANY[2:])
    assert "--truth DIR" in refuse(capsys, *MANY, "--truth", "scene.npz")
    assert "missing.npy" in refuse(capsys, *MANY[:3], "missing.npy", *MANY[4:])
    assert "is a file" in refuse(capsys, *MANY[:-1], "y.npz")
    assert main([*RECONSTRUCT]) == 0
    assert "results of one measurement" in refuse(capsys, *MANY)


@pytest.fixture
def weights(files):
    crsdun.save(crsdun.create("crsdun_1stg", bands=BANDS, classes=2, width=2), "w.safetensors")
    return ("reconstruct", "y.npz", "--weights", "w.safetensors", "--out", "out")


def test_tiles_and_precision_are_recorded(weights, capsys):
    assert main([*weights, "--tile", "16", "--overlap", "4", "--precision", "bfloat16"]) == 0
    record = json.loads(Path("out/record.json").read_text())
    assert record["tiles"] == {"rows": 16, "overlap": 4, "automatic": False}
    assert record["precision"] == "bfloat16"


def test_tiles_of_their_own_accord_are_said(weights, capsys, monkeypatch):
    from crsdun.runtime import pipeline

    np.save("mask.npy", random_mask(5 * H, W, seed=1))
    np.save("tall.npy", np.tile(read_measurement("y.npz").frame, (5, 1)))
    monkeypatch.setattr(pipeline, "available_memory", lambda device: 1000)
    capsys.readouterr()
    assert main([weights[0], "tall.npy", *weights[2:], "--mask", "mask.npy"]) == 0
    words = capsys.readouterr().err
    assert "tiles of 64 rows, overlapping by 32" in words
    assert words.count("\n") == 1
    record = json.loads(Path("out/record.json").read_text())
    assert record["tiles"] == {"rows": 64, "overlap": 32, "automatic": True}


def test_tiles_and_precision_that_cannot_be_meant(weights, capsys):
    assert "set --overlap ROWS to 0 to 15" in refuse(capsys, *weights, "--tile", "16", "--overlap", "16")
    assert "at least 1 row" in refuse(capsys, *weights, "--tile", "0")
    assert "set --tile ROWS too" in refuse(capsys, *weights, "--overlap", "8")
    assert "gap-tv takes whole frames" in refuse(capsys, *RECONSTRUCT, "--method", "gap-tv", "--tile", "16")
    assert "lr-tv computes in float32" in refuse(capsys, *RECONSTRUCT, "--precision", "bfloat16")


# -- what is refused -------------------------------------------------------------------------------------------


def test_widths_that_do_not_fit(files, capsys):
    assert "6 bands at step 2" in refuse(capsys, *RECONSTRUCT, "--wavelengths", "450-700:7")
    assert "6 bands at step 2" in refuse(capsys, *RECONSTRUCT, "--step", "3")
    np.save("narrow.npy", np.ones((H, W - 2), np.float32))
    assert "crop the mask" in refuse(capsys, "reconstruct", "narrow.npy", "--mask", "mask.npy", "--out", "out")


def test_heights_that_differ(files, capsys):
    np.save("low.npy", np.ones((H - 4, W), np.float32))
    assert "24 rows but the mask has 20" in refuse(capsys, *RECONSTRUCT, "--mask", "low.npy")


def test_a_missing_mask(files, capsys):
    np.save("frame.npy", np.ones((H, W + 10), np.float32))
    assert "set --mask FILE" in refuse(capsys, "reconstruct", "frame.npy", "--out", "out")


def test_a_wrong_key_lists_the_right_ones(files, capsys):
    words = refuse(capsys, *RECONSTRUCT, "--key", "meas_real")
    assert "measurement" in words
    assert "mask" in words


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(files, capsys, bad):
    frame = np.ones((H, W + 10), np.float32)
    frame[3, 7] = bad
    np.save("frame.npy", frame)
    words = refuse(capsys, "reconstruct", "frame.npy", "--mask", "mask.npy", "--out", "out")
    assert "row 3, column 7" in words


def test_counts_without_a_scale(files, capsys):
    command = ("reconstruct", "frame.npy", "--mask", "mask.npy", "--out", "out")
    np.save("frame.npy", np.rint(100 * read_measurement("y.npz").frame).astype(np.uint16))
    crsdun.save(crsdun.create("crsdun_1stg", bands=BANDS, classes=2, width=2), "w.safetensors")
    assert "--bits" in refuse(capsys, *command, "--weights", "w.safetensors")
    np.save("frame.npy", np.full((H, W + 10), -0.5, np.float32))
    assert "dark frame" in refuse(capsys, *command)
    np.save("frame.npy", np.zeros((H, W + 10), np.float32))
    assert "black everywhere" in refuse(capsys, *command)
    np.save("frame.npy", 100 * read_measurement("y.npz").frame)
    assert "look like raw counts" in refuse(capsys, *command, "--weights", "w.safetensors")
    assert "check --dark" in refuse(capsys, *command, "--dark", "500", "--white", "600")


def test_values_beyond_all_scales(files, capsys):
    np.save("frame.npy", np.full((H, W + 10), 1e38, np.float32))
    assert "which no camera counts" in refuse(
        capsys, "reconstruct", "frame.npy", "--mask", "mask.npy", "--out", "out"
    )


def test_masks_that_cannot_be_meant(files, capsys):
    np.save("closed.npy", np.zeros((H, W)))
    assert "closed everywhere" in refuse(capsys, *RECONSTRUCT, "--mask", "closed.npy")
    np.save("frame.npy", np.ones((H, W), np.float32))
    assert "set --bands to 1" in refuse(capsys, "reconstruct", "frame.npy", "--mask", "mask.npy", "--out", "out")
    np.save("turned.npy", np.ones((W + 10, H), np.float32))
    assert "transpose" in refuse(capsys, "reconstruct", "turned.npy", "--mask", "mask.npy", "--out", "out")


def test_a_camera_that_spreads_red_first(files, capsys):
    """--step -2 with the bands in opposite order is the same camera, and gives the same scene."""
    assert main([*RECONSTRUCT, "--truth", "scene.npz"]) == 0
    backwards = ",".join(str(nm) for nm in reversed(WAVELENGTHS))
    assert main([*RECONSTRUCT[:-1], "red", "--step", "-2", "--wavelengths", backwards, "--truth", "scene.npz"]) == 0
    blue, red = read_scene("out/cube.npz"), read_scene("red/cube.npz")
    assert red.wavelengths == blue.wavelengths
    np.testing.assert_allclose(red.cube, blue.cube, atol=0.2)
    assert "same wavelength" in refuse(capsys, *RECONSTRUCT[:-1], "x", "--wavelengths", "5e2,500,550,600,650,700")


def test_a_noisy_simulation_can_be_decoded(files):
    assert main(["simulate", "scene.npz", "--read-noise", "2", "--out", "noisy.npz"]) == 0
    assert read_measurement("noisy.npz").frame.min() == 0
    assert main(["reconstruct", "noisy.npz", "--iterations", "2", "--out", "out"]) == 0


def test_a_cube_where_a_frame_is_due(files, capsys):
    assert "crsdun simulate" in refuse(capsys, "reconstruct", "scene.npz", "--mask", "mask.npy", "--out", "out")


def test_files_that_are_broken_or_foreign(files, capsys):
    Path("cut.npz").write_bytes(Path("y.npz").read_bytes()[:300])
    Path("text.mat").write_text("not a measurement")
    for name in ("cut.npz", "text.mat", "missing.npz"):
        refuse(capsys, "reconstruct", name, "--mask", "mask.npy", "--out", "out")
        refuse(capsys, "info", name)
    refuse(capsys, "info", ".")


class Trap:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_pickles_are_never_executed(files, capsys):
    np.save("trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez("trap.npz", measurement=np.array([Trap()], dtype=object))
    Path("trap.safetensors").write_bytes(pickle.dumps(Trap()))
    Path("trap.mat").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.npy", "trap.npz", "trap.mat"):
        refuse(capsys, "reconstruct", name, "--mask", "mask.npy", "--out", "out")
        refuse(capsys, "info", name)
    refuse(capsys, "reconstruct", "y.npz", "--weights", "trap.safetensors", "--out", "out")
    assert not Path("executed").exists()


def test_unknown_wavelength_units(files, capsys):
    write_scene(smooth_scene(), "scene.hdr")
    header = Path("scene.hdr").read_text()
    assert "nm" in header.lower() or "nanometers" in header.lower()
    lines = [
        "wavelength units = furlongs" if line.startswith("wavelength units") else line for line in header.splitlines()
    ]
    Path("scene.hdr").write_text("\n".join(lines) + "\n")
    words = refuse(capsys, "simulate", "scene.hdr", "--out", "z.npz")
    assert "furlongs" in words
    assert "--wavelengths" in words
    assert main(["info", "scene.hdr"]) == 0
    assert "furlongs" in capsys.readouterr().out
    assert main(["simulate", "scene.hdr", "--wavelengths", "450-700:6", "--out", "told.npz"]) == 0
    assert read_measurement("told.npz").wavelengths == WAVELENGTHS
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "scene.npz", "--wavelengths", "400-700:4furlong", "--out", "z.npz"])
    assert stop.value.code == 2
    assert "furlong" in capsys.readouterr().err


def test_weights_for_another_camera(files, capsys):
    crsdun.save(crsdun.create("crsdun_1stg", bands=4, classes=2, width=2), "bands.safetensors")
    words = refuse(capsys, *RECONSTRUCT[:2], "--weights", "bands.safetensors", "--out", "out")
    assert "for 4 bands but the camera has 6" in words
    network = crsdun.create("crsdun_1stg", bands=BANDS, classes=2, width=2)
    crsdun.save(network, "colours.safetensors", wavelengths=[w + 30 for w in WAVELENGTHS])
    assert "30 nm apart" in refuse(capsys, *RECONSTRUCT[:2], "--weights", "colours.safetensors", "--out", "out")
    crsdun.save(network, "step.safetensors", step=1)
    assert "pixels per band" in refuse(capsys, *RECONSTRUCT[:2], "--weights", "step.safetensors", "--out", "out")
    assert "not of weights" in refuse(capsys, *RECONSTRUCT, "--weights", "step.safetensors")


def test_weights_for_other_classes(files, capsys):
    crsdun.save(crsdun.create("crsdun_1stg", bands=BANDS, classes=1, width=2), "w.safetensors")
    command = [*RECONSTRUCT[:2], "--weights", "w.safetensors", "--truth", "scene.npz", "--out", "out"]
    assert main(command) == 0
    assert "classes are not compared: these weights know 1 class but the truth has 2" in capsys.readouterr().out


def test_truth_of_another_size(files, capsys):
    write_scene(smooth_scene().cropped(0, 0, 10, 10), "small.npz")
    assert "crop it" in refuse(capsys, *RECONSTRUCT, "--truth", "small.npz")


def test_weights_are_a_method_too(files, capsys):
    said = {
        refuse(capsys, "reconstruct", "y.npz", way, "crsdun_small", "--out", "new")
        for way in ("--method", "--weights")
    }
    assert len(said) == 1
    assert "these weights are for 28 bands" in said.pop()
    assert main([*RECONSTRUCT[:4], "--method", "auto", "--out", "auto"]) == 0
    assert json.loads(Path("auto/record.json").read_text())["method"] == "lr-tv"


@pytest.mark.parametrize("command", ["train", "table"])
def test_settings_are_changed_before_and_after_options(command):
    known = parser().parse_args(
        [command, "x.yaml", "a.b=1", "--threads", "1", "steps=2", "data=[]", "--json", "c=d=e"]
    )
    assert known.change == ["a.b=1", "steps=2", "data=[]", "c=d=e"]
    assert (known.config, known.threads, known.json) == (Path("x.yaml") if command == "train" else "x.yaml", 1, True)
    for word in ("--bad", "--bad=1", "more"):
        with pytest.raises(SystemExit):
            parser().parse_args([command, "x.yaml", "--threads", "1", "steps=2", word])


def test_help_names_all_that_is_registered(capsys):
    for said, registry in ((options.SOLVER_NAMES, SOLVERS), (options.DATA_NAMES, DATASETS)):
        ours = [name for name, row in registry.items() if row.__module__.startswith("crsdun.")]
        assert said == ", ".join(ours), "others come from plugins"
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = "".join(capsys.readouterr().out.split())  # lines break after hyphens too
    assert all(each.replace(" ", "") in told for each in (options.SOLVER_NAMES, options.DATA_NAMES))


def test_unknown_methods_and_devices(files, capsys):
    assert "gap-tv" in refuse(capsys, *RECONSTRUCT, "--method", "magic")
    assert "set --device to cpu" in refuse(capsys, *RECONSTRUCT, "--device", "abacus")
    assert "set --device to cpu" in refuse(capsys, *RECONSTRUCT, "--device", "meta")
    assert "not both" in refuse(capsys, *RECONSTRUCT, "--step", "2", "--offsets", "0,2,4,6,8,10")


def test_dispersion_down_the_columns_is_told_in_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    camera = CassiCamera(random_mask(20, 16), offsets=[(2 * band, 0) for band in range(3)])
    np.savez("down.npz", measurement=camera.forward(torch.rand(3, 20, 16)), mask=camera.mask)
    decode = ["reconstruct", "down.npz", "--method", "gap-tv", "--iterations", "3", "--bands", "3", "--out", "out"]
    assert "transpose both, or give --offsets in pairs" in refuse(capsys, *decode)
    assert main([*decode, "--offsets", "0:0,2:0,4:0"]) == 0
    assert json.loads(Path("out/record.json").read_text())["camera"]["offsets_pixels"] == [[0, 0], [2, 0], [4, 0]]


@pytest.mark.parametrize(
    "wrong",
    [["--offsets", "-4,-2,0"], ["--offsets", "0:0,2"], ["--iterations", "many"], ["--wavelengths", "400-700"]],
)
def test_a_mistyped_option_is_refused_in_one_line(files, capsys, wrong):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*RECONSTRUCT, *wrong])
    assert stop.value.code == 2
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert wrong[0] in words


def test_places_where_nothing_can_be_written(files, capsys):
    Path("file").write_text("")
    assert "is a file" in refuse(capsys, *RECONSTRUCT[:-1], "file")
    assert "is not a folder that can be written to" in refuse(capsys, *RECONSTRUCT[:-1], "file/out")
    assert "choose another --out" in refuse(capsys, *RECONSTRUCT[:-1], "x" * 300)
    assert "crsdun did not create it" in refuse(capsys, *RECONSTRUCT[:-1], ".")


def test_a_link_is_followed(files):
    Path("elsewhere").mkdir()
    Path("link").symlink_to("elsewhere")
    assert main([*RECONSTRUCT[:-1], "link"]) == 0
    assert Path("link").is_symlink()
    assert Path("elsewhere/cube.hdr").is_file()
    assert not list(files.glob(".*"))


def test_results_are_not_overwritten_unless_told(files, capsys):
    assert main([*RECONSTRUCT]) == 0
    first = Path("out/record.json").stat().st_mtime_ns
    assert "--overwrite" in refuse(capsys, *RECONSTRUCT)
    assert Path("out/record.json").stat().st_mtime_ns == first
    assert main([*RECONSTRUCT, "--overwrite"]) == 0
    assert Path("out/record.json").stat().st_mtime_ns > first
    assert "--overwrite" in refuse(capsys, "simulate", "scene.npz", "--out", "y.npz")


def test_folders_of_others_are_never_overwritten(files, capsys):
    Path("out").mkdir()
    Path("out/diary.txt").write_text("mine")
    assert "crsdun did not create it" in refuse(capsys, *RECONSTRUCT, "--overwrite")
    assert Path("out/diary.txt").read_text() == "mine"


# The ENVI library leaves its half-written file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_failure_half_way_leaves_the_old_results(files, capsys):
    assert main([*RECONSTRUCT]) == 0
    first = Path("out/record.json").read_text()
    # Files may not grow beyond 4 KB: the cube cannot be written.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        words = refuse(capsys, *RECONSTRUCT, "--overwrite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "could not write" in words
    assert Path("out/record.json").read_text() == first


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_said_in_one_line(files, capsys, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        words = refuse(capsys, *RECONSTRUCT[:-1], str(disk / "out"))
        assert "space" in words
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


# -- the door --------------------------------------------------------------------------------------------------


def test_as_a_program_no_traceback_and_quiet_when_piped(files):
    program = [sys.executable, "-m", "crsdun"]
    bad = subprocess.run([*program, "info", "missing.mat"], capture_output=True, text=True)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    good = subprocess.run([*program, *RECONSTRUCT], capture_output=True, text=True)
    assert good.returncode == 0
    assert good.stderr == ""
    assert good.stdout.count("\n") == 2


def test_options_stay_what_they_are():
    """A change here breaks somebody's script: make it on purpose."""
    commands = parser()._subparsers._group_actions[0].choices
    options = {
        name: sorted(
            option
            for action in command._actions
            for option in action.option_strings[-1:]
            if option not in ("--memory", "--threads", "--traceback")  # of every command
        )
        for name, command in commands.items()
    }
    assert options == {
        "reconstruct": [
            "--axes", "--bands", "--bits", "--camera", "--checkpoint", "--classes", "--cold", "--coverage", "--dark",
            "--device", "--divisor", "--effort", "--engine", "--exposure", "--fps", "--frame", "--help",
            "--iterations", "--json", "--key", "--large", "--mask", "--mask-key", "--method", "--minutes",
            "--offsets", "--on", "--out", "--overlap", "--overwrite", "--precision", "--refine-camera",
            "--repeat-mask",
            "--repeats", "--sequence", "--series", "--smooth", "--step", "--tile", "--truth", "--truth-key",
            "--unlabelled", "--video", "--wavelengths", "--weights", "--white", "--workers",
        ],
        "classes": [
            "--axes", "--divisor", "--help", "--json", "--key", "--kind", "--labels", "--labels-key",
            "--normalisation", "--out", "--overwrite", "--picture", "--points", "--regions", "--smoothing",
            "--unlabelled", "--wavelengths",
        ],
        "simulate": [
            "--axes", "--binomial-bits", "--bits", "--camera", "--divisor", "--help", "--json", "--key", "--mask",
            "--mask-key", "--mask-shift", "--out", "--overwrite", "--photons", "--read-noise", "--seed", "--step",
            "--wavelengths",
        ],
        "calibrate": [
            "--axes", "--band-whites", "--band-whites-key", "--bands", "--dark", "--help", "--json", "--key",
            "--offsets", "--out", "--overwrite", "--step", "--wavelengths", "--white",
        ],
        "train": ["--help", "--json", "--show"],
        "evaluate": [
            "--calibrate", "--camera", "--cubes-only", "--device", "--effort", "--first", "--help", "--iterations",
            "--json", "--mask", "--mask-key", "--mask-shift", "--minutes", "--on", "--out", "--overwrite",
            "--photons", "--protocol", "--read-noise", "--seed", "--split", "--step", "--wavelengths", "--workers",
        ],
        "compare": ["--help", "--json"],
        "table": [
            "--conditions", "--curves", "--differences", "--equal-time", "--help", "--json", "--on",
            "--pictures", "--rows", "--workers",
        ],
        "report": ["--help", "--json", "--out", "--overwrite"],
        "figure": [
            "--axes", "--bands", "--box", "--divisor", "--help", "--json", "--out", "--overwrite", "--pixel",
            "--titles", "--truth", "--truth-key",
        ],
        "cost": ["--bands", "--classes", "--help", "--json", "--measure", "--size", "--step"],
        "explain": [
            "--axes", "--bands", "--bits", "--camera", "--class", "--dark", "--device", "--divisor", "--exposure",
            "--frame", "--help", "--json", "--key", "--mask", "--mask-key", "--offsets", "--out", "--overwrite",
            "--pixel", "--step", "--truth", "--truth-key", "--unlabelled", "--wavelengths", "--weights", "--white",
        ],
        "export": ["--format", "--help", "--json", "--out", "--overwrite", "--step"],
        "data": ["--help"],
        "info": ["--help", "--json"],
        "app": ["--help", "--host", "--json", "--limit", "--no-browser", "--port"],
        "bench": ["--against", "--engines", "--help", "--json", "--out", "--overwrite", "--quick", "--repetitions"],
        "demo": ["--help", "--json", "--out", "--overwrite"],
        "push": [
            "--evaluation", "--help", "--json", "--license", "--overwrite", "--private", "--readme",
            "--tag",
        ],
        "serve": [
            "--bands", "--batch", "--bits", "--camera", "--dark", "--device", "--effort", "--exposure",
            "--help", "--host", "--iterations", "--json", "--limit", "--mask", "--mask-key", "--minutes",
            "--offsets", "--port", "--queue", "--step", "--timeout", "--token-file", "--wavelengths",
            "--white", "--workers",
        ],
        "spectra": [
            "--at", "--axes", "--box", "--divisor", "--help", "--json", "--key", "--out", "--overwrite",
            "--wavelengths",
        ],
    }  # fmt: skip


def test_bench_does_not_measure_what_it_could_not_write(capsys, tmp_path, monkeypatch):
    from crsdun.experiments import bench

    monkeypatch.setattr(bench, "benchmark", lambda *_: pytest.fail("it measured"))
    (tmp_path / "kept.json").write_text("kept")
    assert "there is no folder" in refuse(capsys, "bench", "--quick", "--out", tmp_path / "none" / "x.json")
    assert "exists already" in refuse(capsys, "bench", "--quick", "--out", tmp_path / "kept.json")
