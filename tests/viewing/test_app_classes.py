"""Classes by example in the explorer: from regions to a layer with classes, and its classifier as a file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.classifiers import kinds, load_classifier
from crsdun.errors import InputError
from crsdun.optics import Estimate
from crsdun.scenes import UNLABELLED, write_scene
from crsdun.viewing.app.classes import YOURS, classify
from crsdun.viewing.app.open_scene import OpenScene, layer_of
from crsdun.viewing.app.pictures import class_bytes
from crsdun.viewing.app.requests import ClassifyRequest
from crsdun.viewing.regions import Region, marks_of
from tests.classifiers.scenes import NAMES, painted
from tests.viewing.explorer import Client, running
from tests.viewing.reports import doubted, small_reconstruction

REGIONS = [
    {"name": name, "top": top, "left": 8 * number + 3, "height": 2, "width": 2}
    for number, name in enumerate((NAMES[0], "salad", NAMES[2]))
    for top in (3, 12, 19)
]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setitem(kinds.TREES, "n_estimators", 4)


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cube")
    write_scene(painted(), folder / "painted.npz")
    with running([folder / "painted.npz"]) as link:
        yield link


def test_regions_of_one_name_are_one_class():
    marks = marks_of([Region("b", 1, 1, 2, 2), Region("a", 9, 9), Region("b", 5, 5)], 10, 12)
    assert marks.class_names == ("background", "b", "a")
    assert (marks.labels == 1).sum() == 5
    assert marks.labels[9, 9] == 2
    with pytest.raises(InputError, match="lies outside"):
        marks_of([Region("b", 9, 1, 2, 2)], 10, 12)


def test_regions_make_a_map_and_a_classifier(link, tmp_path):
    client = Client(link)
    client.post("/api/classify", layer="truth", points=REGIONS)
    job = client.wait()
    assert job["state"] == "done", job
    assert "3 classes by" in job["message"]
    assert "cross-validated accuracy" in job["message"]
    assert "pixels of the truth are of classes that the classifier does not know" in job["message"]
    scene = client.state()["scene"]
    layer = scene["layers"][-1]
    assert layer["name"] == f"truth · {YOURS}"
    assert layer["classifier"]
    assert not scene["layers"][0]["classifier"]
    assert [each["name"] for each in scene["classes"]] == [*NAMES, "salad"], "new classes follow those of the truth"
    query = f"layer={layer['name']}&version={client.version}".replace(" ", "%20").replace("·", "%C2%B7")
    labels = np.frombuffer(client.get(f"/api/classes?{query}"), np.uint8).reshape(24, 24)
    expected = np.where(painted().classes == 1, 3, painted().classes)
    assert (labels == expected).mean() > 0.98

    path = tmp_path / "classes.safetensors"
    path.write_bytes(client.get(f"/api/classifier?{query}"))
    classifier = load_classifier(path)
    assert classifier.class_names == ("background", "salad", "fruit")
    assert str(tmp_path.parent) not in str(classifier.provenance), "folders of this machine do not leave it"

    # again, from the layer that was made: it takes its own place
    client.post("/api/classify", layer=layer["name"], points=REGIONS[:6])
    client.wait()
    assert len(client.state()["scene"]["layers"]) == 2


def test_the_classes_of_a_decoded_measurement_are_downloaded_with_it(link):
    client = Client(link)
    client.post("/api/simulate", scene="open", method="gap-tv", iterations=3)
    assert client.wait()["state"] == "done"
    client.state()
    client.post("/api/classify", layer="gap-tv · 3 iterations", points=[{**r, "name": NAMES[k // 3]} for k, r in
                                                                        enumerate(REGIONS)])  # fmt: skip
    job = client.wait()
    assert "mIoU" in job["message"]
    layer = client.state()["scene"]["layers"][-1]
    assert layer["metrics"]["miou_present"] > 0.2
    query = f"layer={layer['name']}&version={client.version}".replace(" ", "%20").replace("·", "%C2%B7")
    names = client.get(f"/api/downloads?{query}").decode()
    assert "classes.npy" in names
    assert "report.html" in names


def test_what_cannot_be_learnt_is_refused_in_the_words_of_the_page(link):
    client = Client(link)
    assert "classes of this result are not by a classifier" in client.refused(
        "GET", f"/api/classifier?layer=truth&version={client.version}"
    )
    for points, told in (
        ([], "0 classes are marked"),
        (REGIONS[:2], "1 class is marked"),
        ([{**REGIONS[0], "top": 99}, REGIONS[-1]], "lies outside the scene"),
        ([REGIONS[0], {**REGIONS[0], "name": "x"}], "is marked as 'background' and as 'x'"),
        ([{**REGIONS[0], "name": ""}, REGIONS[-1]], "is no name of a class"),
    ):
        client.post("/api/classify", layer="truth", points=points)
        job = client.wait()
        assert job["state"] == "failed"
        assert told in job["message"]
    assert len(client.state()["scene"]["layers"]) == 1


def test_only_the_last_stage_knows_which_pixels_are_unknown():
    base = doubted(small_reconstruction())
    logits = [torch.nn.functional.one_hot(torch.from_numpy(base.scene.classes), 2).movedim(-1, 0)[None].float()] * 2
    estimate = Estimate([torch.from_numpy(base.scene.cube)[None]] * 2, logits)
    layer = layer_of(replace(base, stages=estimate, stage_metrics=[{}, {}]), "live")
    np.testing.assert_array_equal(layer.class_maps[0], base.scene.classes)
    np.testing.assert_array_equal(layer.class_maps[1], base.classes)
    assert (layer.class_maps[1] == UNLABELLED).mean() == 0.5
    scene = OpenScene("live", None, layers={"live": layer})
    assert (class_bytes(scene, "live", None) == 255).mean() == 0.5


def test_weights_keep_their_class_names_after_classes_by_example():
    """Whatever comes first, classes are brought into the legend by their names."""
    base = replace(small_reconstruction(truth=False), scene=replace(painted(), class_names=("salad", "a_b", "ham")))
    logits = [np.eye(3, dtype="float32")[painted().classes].transpose(2, 0, 1)[None]]
    estimate = Estimate([torch.from_numpy(painted().cube)[None]], [torch.from_numpy(each) for each in logits])
    decoded = layer_of(replace(base, stages=estimate, stage_metrics=[{}]), "weights")
    plain = layer_of(replace(base, scene=replace(painted(), classes=None, class_names=None)), "solver")
    regions = tuple(Region(each["name"], each["top"], each["left"], 2, 2) for each in REGIONS)
    scene, _ = classify(
        OpenScene("live", painted().wavelengths).with_layers([plain]), ClassifyRequest("solver", regions)
    )
    scene = scene.with_layers([decoded])
    assert scene.class_names == ("background", "salad", "fruit", "a_b", "ham")
    shown = scene.layers["weights"]
    np.testing.assert_array_equal(shown.class_maps[-1], np.array([1, 3, 4])[painted().classes])
    np.testing.assert_array_equal(shown.probabilities[-1].argmax(0), shown.class_maps[-1])
    assert decoded.class_maps[-1].max() == 2, "the result keeps its own numbers"


def test_a_truth_without_names_takes_those_it_was_compared_with():
    base = small_reconstruction()
    truth = replace(base.truth, class_names=None)
    scene = OpenScene("live", None, truth=truth)
    assert scene.class_names == ("class 0", "class 1")
    scene = scene.with_layers([layer_of(replace(base, truth=truth), "weights")])
    assert scene.class_names == base.scene.class_names
    # a truth of other classes keeps them, beside those of the weights
    lost = replace(base.truth, classes=None, class_names=None)
    other = OpenScene("live", None, truth=replace(base.truth, class_names=("oak", "elm")))
    other = other.with_layers([layer_of(replace(base, truth=lost), "weights")])
    assert other.class_names == ("oak", "elm", *base.scene.class_names)
    np.testing.assert_array_equal(other.layers["weights"].class_maps[-1], base.scene.classes + 2)
    np.testing.assert_array_equal(other.layers["truth"].class_maps[-1], base.truth.classes)
