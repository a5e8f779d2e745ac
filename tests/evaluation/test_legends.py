"""Classes are compared only where a truth and a method mean the same by their numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import crsdun
from crsdun import cli
from crsdun.optics import Exposure, ModelCard
from crsdun.runtime import Preparation, decode, explain, simulate
from crsdun.scenes import Scene, read_scene, write_measurement, write_scene
from crsdun.viewing.app.open_scene import TRUTH, OpenScene, layer_of
from tests.evaluation.scenes import NAMES, PaintedSet

SCENE = PaintedSet()[0]
SCENE = replace(SCENE, classes=np.where(SCENE.classes == SCENE.classes.max(), 4, SCENE.classes))
FEW = replace(SCENE, classes=np.minimum(SCENE.classes, 2))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = crsdun.create("crsdun_1stg", bands=8, classes=5, width=8)
    made.card = ModelCard(class_names=NAMES)
    return made


def decoded(network, truth, **card):
    network.card = ModelCard(**{"class_names": NAMES, **card})
    return decode(Preparation().prepare(simulate(SCENE, Exposure()), truth), network)


def test_the_same_legend_is_scored(network):
    result = decoded(network, SCENE)
    assert "class_note" not in result.metrics
    assert 0 <= result.metrics["accuracy"] <= 1
    np.testing.assert_array_equal(result.truth.classes, SCENE.classes)
    written = decoded(network, replace(SCENE, class_names=tuple(f" {name.upper()}" for name in NAMES)))
    assert written.metrics["accuracy"] == result.metrics["accuracy"], "as a person writes the same names"


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (
            replace(SCENE, class_names=(NAMES[0], NAMES[2], NAMES[1], *NAMES[3:])),  # the same names in another order
            "classes are not compared: 'fake pear' of the truth has the place of 'real pear' in these weights",
        ),
        (
            replace(SCENE, class_names=(*NAMES, "pit")),
            "classes are not compared: these weights know 5 classes but the truth has 6",
        ),
        (
            replace(FEW, class_names=None),
            "classes are not compared: these weights know 5 classes but the truth, whose classes have no names, 3",
        ),
    ],
)
def test_another_legend_is_not(network, truth, words):
    result = decoded(network, truth)
    assert result.metrics["class_note"] == words
    assert result.metrics["psnr_db"] == decoded(network, SCENE).metrics["psnr_db"]
    assert not {"miou", "miou_present", "accuracy"} & result.metrics.keys()
    assert result.truth.classes is result.truth.class_names is None
    assert result.scene.class_names == NAMES


def test_numbers_alone_are_compared_and_it_is_said(network):
    result = decoded(network, replace(SCENE, class_names=None))
    words = "class names are not compared: {} none; label 0 is taken for the background"
    assert result.metrics["class_note"] == words.format("the truth has")
    assert result.metrics["accuracy"] == decoded(network, SCENE).metrics["accuracy"]
    assert decoded(network, SCENE, class_names=None).metrics["class_note"] == words.format("these weights have")
    # Of names the whole legend is known, also where only a few of its classes occur.
    assert "class_note" not in decoded(network, FEW).metrics


def test_an_explanation_follows_the_same_rule(network):
    network.card = ModelCard(class_names=NAMES)
    prepared = Preparation().prepare(simulate(SCENE, Exposure()), replace(SCENE, class_names=(*NAMES, "pit")))
    explanation = explain(prepared, network)
    assert "these weights know 5 classes but the truth has 6" in explanation.result.metrics["class_note"]
    assert "miou" not in explanation.stages[-1].figures


def test_the_explorer_shows_no_class_of_the_one_under_a_name_of_the_other(network):
    truth = replace(SCENE, class_names=("water", "oak", "elm", "ash", "yew"))
    result = decoded(network, truth)
    scene = OpenScene("a", result.scene.wavelengths, result.measurement, result.camera, truth)
    shown = scene.with_layers([layer_of(result, "weights")])
    assert shown.class_names == (*truth.class_names, *NAMES)
    np.testing.assert_array_equal(shown.layers[TRUTH].class_maps[0], truth.classes)
    np.testing.assert_array_equal(shown.layers["weights"].class_maps[-1], result.classes + len(truth.class_names))
    assert shown.notes == [result.metrics["class_note"]]
    same = decoded(network, SCENE)
    scene = OpenScene("a", same.scene.wavelengths, same.measurement, same.camera, SCENE)
    assert scene.with_layers([layer_of(same, "weights")]).class_names == NAMES


def test_a_label_that_means_unknown_is_asked_for(network, tmp_path, capsys):
    crsdun.save(network, tmp_path / "w.safetensors", class_names=NAMES)
    write_measurement(simulate(SCENE, Exposure()), tmp_path / "y.npz")
    np.savez(tmp_path / "truth.npz", img=np.moveaxis(SCENE.cube, 0, -1), classes=SCENE.classes)
    paths = {name: str(tmp_path / name) for name in ("y.npz", "w.safetensors", "truth.npz")}
    command = ["reconstruct", paths["y.npz"], "--weights", paths["w.safetensors"], "--truth", paths["truth.npz"]]
    metrics = {}
    for name, more in (("background", []), ("unknown", ["--unlabelled", "0"])):
        assert cli.main([*command, "--out", str(tmp_path / name), *more, "--json"]) == 0
        metrics[name] = json.loads(capsys.readouterr().out)
    estimate = read_scene(tmp_path / "unknown" / "cube.npz").classes
    for name, known in (("background", SCENE.classes >= 0), ("unknown", SCENE.classes > 0)):
        expected = (estimate == SCENE.classes)[known].mean()
        assert metrics[name]["accuracy"] == pytest.approx(expected), name


def test_reconstruct_says_it_in_one_line(network, tmp_path, capsys):
    crsdun.save(network, tmp_path / "w.safetensors", class_names=NAMES)
    write_measurement(simulate(SCENE, Exposure()), tmp_path / "y.npz")
    names = [name.replace("real", "ripe") for name in NAMES]
    write_scene(Scene(SCENE.cube, SCENE.wavelengths, SCENE.classes, tuple(names)), tmp_path / "truth.npz")
    paths = {name: str(tmp_path / name) for name in ("y.npz", "w.safetensors", "truth.npz", "out")}
    command = ["reconstruct", paths["y.npz"], "--weights", paths["w.safetensors"], "--truth", paths["truth.npz"]]
    assert cli.main([*command, "--out", paths["out"]]) == 0
    printed = capsys.readouterr().out
    assert "PSNR" in printed
    assert "mIoU" not in printed
    assert "; classes are not compared: 'ripe pear' of the truth has the place of 'real pear' in these" in printed
    assert "Classes are not compared: &#39;ripe pear&#39;" in (tmp_path / "out" / "report.html").read_text()
