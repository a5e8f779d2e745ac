"""``crsdun classes`` and ``crsdun reconstruct --classes``: from marks to a class map in other results."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crsdun.classifiers import AUTO, load_classifier
from crsdun.classifiers import KINDS as ALL_KINDS
from crsdun.classifiers import NORMALISATIONS as ALL_NORMALISATIONS
from crsdun.cli import main
from crsdun.cli.classes import KINDS, NORMALISATIONS
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import read_results, simulate
from crsdun.scenes import open_series, read_scene, write_measurement, write_scene
from tests.classifiers.scenes import NAMES, SIDE, marked, painted


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two scenes with their exposures, and marks on the first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captures").mkdir()
    (tmp_path / "truths").mkdir()
    for index in range(2):
        scene = painted(index)
        write_measurement(simulate(scene, Exposure(random_mask(SIDE, SIDE))), f"captures/{index}.npz")
        write_scene(scene, f"truths/{index}.npz")
    write_scene(replace(painted(), classes=None, class_names=None), "cube.npz")
    labels = marked(painted()).labels
    rows = [f"{row},{column},{NAMES[labels[row, column]]}" for row, column in np.argwhere(labels >= 0)]
    (tmp_path / "points.csv").write_text("\n".join(["row,column,class", *rows]))
    return tmp_path


def run(*arguments):
    return main(list(map(str, arguments)))


def test_the_options_are_what_there_is():
    assert (AUTO, *ALL_KINDS) == KINDS
    assert tuple(ALL_NORMALISATIONS) == NORMALISATIONS


def test_from_a_result_to_the_class_maps_of_a_folder(capsys):
    exposure = ("--method", "gap-tv", "--iterations", "20")
    assert run("reconstruct", "captures/0.npz", *exposure, "--truth", "truths/0.npz", "--out", "first") == 0
    capsys.readouterr()
    made = ("--points", "points.csv", "--kind", "lda", "--picture", "map.png", "--out", "c.safetensors")
    assert run("classes", "first", *made) == 0
    told = capsys.readouterr().out
    assert "cross-validated accuracy: lda" in told
    assert "c.safetensors: lda for 3 classes on 9 bands; against the truth mIoU" in told
    assert "look at map.png" in told

    made = ("--classes", "c.safetensors", "--truth", "truths", "--out", "results", "--json")
    assert run("reconstruct", "captures", *exposure, *made) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["miou_present"] > 0.5 for each in printed["results"]] == [True, True]
    for name in ("0", "1"):
        result = read_results(f"results/{name}")
        assert result.scene.class_names == NAMES
        assert result.truth.class_names == NAMES
        assert result.record["classes"]["kind"] == "lda"
        found = np.load(f"results/{name}/classes.npy")
        np.testing.assert_array_equal(found, load_classifier("c.safetensors").classify(result.scene).classes)
        assert (found == painted(int(name)).classes).mean() > 0.7
        report = (Path("results", name) / "report.html").read_text()
        assert all(each in report for each in NAMES)
        assert (Path("results", name) / "classes.png").exists()


def test_a_classifier_made_again_counts_as_another(capsys, monkeypatch):
    Path("renamed.csv").write_text(Path("points.csv").read_text().replace(NAMES[0], "moss"))

    def classifier(points):
        made = ("--points", points, "--kind", "lda", "--out", "c.safetensors", "--overwrite")
        assert run("classes", "cube.npz", *made) == 0

    classifier("points.csv")
    decoding = ("--method", "gap-tv", "--iterations", "2", "--classes", "c.safetensors", "--out")
    assert run("reconstruct", "captures", *decoding, "many") == 0
    with monkeypatch.context() as patch:
        patch.setattr("crsdun.viewing.video.write_video", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run("reconstruct", "captures", *decoding, "walk", "--sequence") == 130
    classifier("renamed.csv")
    capsys.readouterr()
    assert run("reconstruct", "captures", *decoding, "many") == 1
    assert capsys.readouterr().err.count("exists already") == 2
    assert run("reconstruct", "captures", *decoding, "many", "--overwrite") == 0
    assert run("reconstruct", "captures", *decoding, "walk", "--sequence") == 0
    assert "finished before" not in capsys.readouterr().out
    assert "moss" in read_results("many/1").scene.class_names
    series = open_series("walk/cubes.h5")
    assert all("moss" in scene.class_names for scene in series)


def test_regions_and_label_maps_mark_too(capsys):
    boxes = []
    for number, name in enumerate(NAMES):
        for top in (2, 14):
            left = 8 * number + 2
            ring = [[left, top], [left + 3, top], [left + 3, top + 3], [left, top + 3], [left, top]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            boxes.append({"type": "Feature", "properties": {"name": name}, "geometry": geometry})
    with open("regions.geojson", "w") as file:
        json.dump({"type": "FeatureCollection", "features": boxes}, file)
    assert run("classes", "cube.npz", "--regions", "regions.geojson", "--out", "r.safetensors", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["marked"]["leaf"] == {"pixels": 18, "places": 2}
    sparse = np.zeros((SIDE, SIDE), np.uint8)
    sparse[2:5, 2:5], sparse[2:5, 10:13], sparse[2:5, 18:21] = 1, 2, 3
    np.save("labels.npy", sparse)
    assert run("classes", "cube.npz", "--labels", "labels.npy", "--out", "l.safetensors", "--kind", "angle") == 0
    assert "no class is marked in two places" in capsys.readouterr().out
    scene = read_scene("cube.npz")
    assert (load_classifier("r.safetensors").classify(scene).classes == painted().classes).mean() > 0.98
    assert (load_classifier("l.safetensors").classify(scene).classes == painted().classes + 1).mean() > 0.98


def test_what_does_not_fit_is_refused_before_anything_is_decoded(capsys):
    assert run("classes", "cube.npz", "--points", "points.csv", "--kind", "lda", "--out", "c.safetensors") == 0
    for arguments, told in (
        (("classes", "cube.npz", "--points", "none.csv", "--out", "d.safetensors"), "there is no file none.csv"),
        (("classes", "cube.npz", "--regions", "none.csv", "--out", "d.safetensors"), "there is no file none.csv"),
        (("classes", "cube.npz", "--regions", "points.csv", "--out", "d.safetensors"), "this is no file of regions"),
        (("classes", "cube.npz", "--points", "points.csv", "--out", "d.pkl"), "choose another --out"),
        (("classes", "cube.npz", "--points", "points.csv", "--out", "c.safetensors"), "allow it with --overwrite"),
        (("classes", "nowhere.npz", "--points", "points.csv", "--out", "d.safetensors"), "there is no file nowhere"),
        (("reconstruct", "captures/0.npz", "--classes", "points.csv", "--out", "out"), "is no whole .safetensors"),
        (
            (
                "reconstruct",
                "captures/0.npz",
                "--classes",
                "c.safetensors",
                "--wavelengths",
                "500-700:9",
                "--out",
                "o",
            ),
            "the classifier needs 450–650 nm",
        ),
    ):
        capsys.readouterr()
        assert run(*arguments) == 2, arguments
        captured = capsys.readouterr()
        assert told in captured.err, captured.err
        assert captured.out == ""
