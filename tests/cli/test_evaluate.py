"""``crsdun evaluate`` and ``crsdun compare`` as a person types them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.cli import main
from crsdun.optics import random_mask
from crsdun.scenes import write_scene
from tests.evaluation.scenes import NAMES, PaintedSet
from tests.listing import visible
from tests.refusing import refuse

DATA = """
cubes: "{name}.npz"
labels_key: classes
classes: [background, real pear, fake pear, real plum, fake plum]
unlabelled: -1
splits: {test: ["scene *"]}
"""
VALIDATION = DATA.replace("{test:", "{validation:")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of three scenes, weights that were never trained, and results of both commands' ingredients."""
    folder = tmp_path_factory.mktemp("cli")
    scenes = PaintedSet(3)
    for index, name in enumerate(scenes.names):
        write_scene(scenes[index], folder / f"{name}.npz")
    (folder / "data.yaml").write_text(DATA)
    (folder / "validation.yaml").write_text(VALIDATION)
    torch.manual_seed(0)
    network = crsdun.create("crsdun_2stg", bands=8, classes=5, width=8)
    crsdun.save(network, folder / "weights.safetensors", class_names=NAMES, step=2.0)
    before = Path.cwd()
    os.chdir(folder)
    for method, out in (("weights.safetensors", "net"), ("gap-tv", "gap")):
        assert main(["evaluate", method, "data.yaml", "--out", out]) == 0
    os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_the_folder_holds_everything():
    files = {
        "evaluation.json", "record.json", "scenes.csv", "table.md", "table.tex", "contact_sheet.png", "report.html",
    }  # fmt: skip
    assert set(visible("gap")) == files
    assert set(visible("net")) == files | {"classes.csv", "confusion.png"}
    evaluation = json.loads(Path("net/evaluation.json").read_text())
    assert len(evaluation["record"]["weights"]["sha256"]) == 64
    assert evaluation["record"]["versions"].keys() >= {"crsdun", "python", "torch", "numpy"}
    assert evaluation["camera"] == {"mask": "random:0", "step": 2.0, "noise": {}}
    assert evaluation["data"]["class_names"] == list(NAMES)
    assert sum(map(sum, evaluation["confusion"])) == 3 * (32 * 48 - 4 * 6)


def test_figures_are_printed_by_stage(capsys):
    assert main(["evaluate", "weights.safetensors", "data.yaml", "--out", "again", "--first", "1"]) == 0
    printed = capsys.readouterr().out
    assert "stage 1" in printed
    assert "real or fake (%)" in printed
    assert "1 scene of data test, mask random:0, step 2, noise: none; protocol crsdun" in printed
    assert (
        main(["evaluate", "gap-tv", "data.yaml", "--iterations", "2", "--out", "again", "--overwrite", "--json"]) == 0
    )
    figures = json.loads(capsys.readouterr().out)
    assert figures["method"] == "gap-tv"
    assert 5 < figures["psnr_db"] < json.loads(Path("gap/evaluation.json").read_text())["stages"][0]["psnr_db"]


def test_mask_files_noise_and_protocols(capsys):
    np.save("mask.npy", random_mask(40, 60, seed=3))
    options = ["--mask", "mask.npy", "--photons", "10", "--read-noise", "0.01", "--seed", "4", "--protocol", "mst"]
    assert main(["evaluate", "gap-tv", "data.yaml", "--iterations", "2", *options, "--out", "noisy"]) == 0
    camera = json.loads(Path("noisy/evaluation.json").read_text())["camera"]
    assert camera["mask"].startswith("40×60, SHA-256 ")
    assert camera["noise"] == {"photons": 10.0, "read_sigma": 0.01, "seed": 4}
    assert "protocols differ: crsdun and mst" in refuse(capsys, "compare", "gap", "noisy")


def test_compare_prints_a_verdict(capsys):
    assert main(["compare", "net", "gap/evaluation.json"]) == 0
    printed = capsys.readouterr().out
    assert "B is better" in printed
    assert "95 % interval" in printed
    assert "compare on 10 or more" in printed
    assert main(["compare", "net", "gap", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    psnr = found["figures"]["psnr_db"]
    assert 0 < psnr["low"] < psnr["difference"] < psnr["high"]
    assert main(["compare", "gap", "gap"]) == 0
    assert "no clear difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "gap-tv", "data.yaml", "--out", "gap"), "gap exists already"),
        (("evaluate", "gap-tw", "data.yaml", "--out", "new"), "no method called 'gap-tw'; did you mean gap-tv"),
        (("evaluate", "gap-tv", "nowhere", "--out", "new"), "nowhere is not a data set"),
        (("evaluate", "gap-tv", "data.yaml", "--split", "exam", "--out", "new"), "no split 'exam'"),
        (("evaluate", "gap-tv", "data.yaml", "--protocol", "8bit", "--out", "new"), "no protocol '8bit'"),
        (
            ("evaluate", "gap-tv", "data.yaml", "--mask", "random:one", "--out", "new"),
            "SEED with an integer",
        ),
        (("evaluate", "weights.safetensors", "data.yaml", "--step", "1", "--out", "new"), "dispersion of 2 pixels"),
        (("evaluate", "weights.safetensors", "data.yaml", "--iterations", "1", "--out", "new"), "not of weights"),
        (("compare", "gap", "nothing"), "there is no evaluation nothing"),
    ],
)
def test_refusals_say_what_and_the_remedy(arguments, words, capsys):
    assert words in refuse(capsys, *arguments)


def test_a_moved_mask_costs_what_its_method_does_not_know(capsys):
    assert main(["evaluate", "gap-tv", "data.yaml", "--mask-shift=-0.5,1", "--out", "moved", "--json"]) == 0
    moved = json.loads(capsys.readouterr().out)
    exact = json.loads(Path("gap/evaluation.json").read_text())
    assert moved["psnr_db"] < exact["stages"][-1]["psnr_db"] - 1
    assert json.loads(Path("moved/evaluation.json").read_text())["camera"]["moved"] == [-0.5, 1]
    assert "moves by two numbers" in refuse(
        capsys, "evaluate", "gap-tv", "data.yaml", "--mask-shift", "1", "--out", "n"
    )


def test_scenes_on_other_bands(capsys):
    assert main(["evaluate", "gap-tv", "data.yaml", "--wavelengths", "460-600:4", "--out", "fewer", "--json"]) == 0
    assert json.loads(Path("fewer/evaluation.json").read_text())["data"]["wavelengths_nm"] == pytest.approx(
        [460, 506.667, 553.333, 600], abs=0.001
    )
    assert json.loads(capsys.readouterr().out)["psnr_db"] > 10
    assert "covers" in refuse(capsys, "evaluate", "gap-tv", "data.yaml", "--wavelengths", "900-990:4", "--out", "n")


def test_weights_are_calibrated_and_reconstruct_with_doubt(capsys):
    calibrate = ("evaluate", "weights.safetensors", "validation.yaml", "--calibrate")
    assert main([*calibrate, "sure.safetensors", "--out", "calibration"]) == 0
    known = crsdun.load("sure.safetensors").card.calibration
    assert known.made_from["count"] == 3
    figures = json.loads(Path("calibration/evaluation.json").read_text())["stages"]
    assert "known" in figures[-1]
    assert "known" not in figures[0]  # the last stage alone is calibrated
    assert "accuracy where known (%)" in capsys.readouterr().out
    assert main(["info", "sure.safetensors"]) == 0
    printed = capsys.readouterr().out
    assert "calibrated, temperature" in printed
    assert len(printed) < 3_000

    assert main(["simulate", "scene 0.npz", "--out", "doubted.npz"]) == 0
    decode = ("reconstruct", "doubted.npz", "--weights", "sure.safetensors", "--coverage", "0.5", "--repeats", "2")
    assert main([*decode, "--out", "doubted", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert metrics["calibrated"]
    result = crsdun.runtime.read_results("doubted")
    assert result.doubt.coverage == metrics["coverage"] == 0.5
    assert float(result.doubt.unknown.mean()) == pytest.approx(metrics["unknown"])
    assert 0.2 < metrics["unknown"] < 0.8
    assert (result.classes == -1).sum() == result.doubt.unknown.sum()
    assert result.error.shape == result.scene.cube.shape
    assert {"doubt.npz", "doubt.png", "error.npz", "error.png"} <= set(os.listdir("doubted"))
    page = Path("doubted/report.html").read_text()
    assert "of the pixels are unknown" in page
    assert 'value="expected error"' in page

    assert main(["reconstruct", "doubted.npz", "--weights", "weights.safetensors", "--out", "plain"]) == 0
    assert "not calibrated" in Path("plain/report.html").read_text()
    assert crsdun.runtime.read_results("plain").doubt.unknown is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("weights.safetensors", "data.yaml", "--calibrate", "new.safetensors", "--split", "test"), "not on test"),
        (("weights.safetensors", "validation.yaml", "--calibrate", "new.onnx"), "go into a .safetensors file"),
        (("weights.safetensors", "validation.yaml", "--calibrate", "weights.safetensors"), "exists already"),
        (("weights.safetensors", "validation.yaml", "--calibrate", "n.safetensors", "--cubes-only"), "--cubes-only"),
        (("lr-tv", "validation.yaml", "--calibrate", "new.safetensors"), "no file of weights"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(capsys, arguments, words):
    assert words in refuse(capsys, "evaluate", *arguments, "--out", "never")
