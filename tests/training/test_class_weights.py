"""Class weights of a run: counted once from the training scenes, kept by checkpoints and by the record."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crsdun.errors import InputError
from crsdun.training import RunObserver, train
from crsdun.training.batches import class_counts
from tests.training.small import SmallSet, small_config, small_sets

SECTIONS = {
    "loss": {"classes": "frequency", "label_smoothing": 0.1, "class_stages": "last", "cross_entropy_weight": 0.1}
}


def run(out, sets=None, **sections):
    return train(small_config(out, **sections), sets or small_sets(), RunObserver(notify=lambda line: None))


def counted(scenes):
    return [sum(int((scene.classes == c).sum()) for scene in scenes) for c in range(4)]


def test_labelled_pixels_are_counted_in_scenes_spread_over_the_set():
    scenes = SmallSet("train")
    assert class_counts(scenes, 4).tolist() == counted(scenes.scenes)
    assert class_counts(scenes, 4, number=2).tolist() == counted([scenes.scenes[0], scenes.scenes[5]])


def test_a_run_records_its_weights_and_learns_from_them(tmp_path):
    run(tmp_path / "weighted", **SECTIONS)
    record = json.loads((tmp_path / "weighted" / "run.json").read_text())
    counts = np.array(counted(SmallSet("train").scenes))
    weights = counts**-0.5 * counts.sum() / (counts**0.5).sum()
    assert record["class_weights"] == pytest.approx(weights.tolist(), rel=1e-6)

    run(tmp_path / "uniform", loss={**SECTIONS["loss"], "classes": "uniform"})
    assert "class_weights" not in json.loads((tmp_path / "uniform" / "run.json").read_text())
    for file in ("log.csv", "validation.csv"):
        columns = [line.split(",") for line in (tmp_path / "weighted" / file).read_text().splitlines()[:2]]
        others = (tmp_path / "uniform" / file).read_text().splitlines()[1].split(",")
        at = columns[0].index("loss")
        assert columns[1][at] != others[at]


def test_a_resumed_run_takes_the_weights_of_its_checkpoint(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", **SECTIONS)
    run(tmp_path / "parts", minutes=1e-9, **SECTIONS)
    monkeypatch.setattr("crsdun.training.loop.class_counts", lambda *_: pytest.fail("counted again"))
    for _ in range(5):
        part = run(tmp_path / "parts", minutes=1e-9, **SECTIONS)
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(part.weights).items())
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "parts")]
    assert records[0]["class_weights"] == records[1]["class_weights"]


def test_a_set_without_labels_is_refused(tmp_path):
    sets = small_sets()
    for scene in sets[0].scenes:
        scene.classes[:] = -1
    with pytest.raises(InputError, match=r"loss\.classes=frequency needs labels, and small train shows none"):
        run(tmp_path, sets, **SECTIONS)


def test_weights_by_name_count_as_written_and_others_as_one(tmp_path):
    run(tmp_path / "named", loss={"classes": {"two": 3, "background": 0.5}})
    assert json.loads((tmp_path / "named" / "run.json").read_text())["class_weights"] == [0.5, 1, 3, 1]
    with pytest.raises(InputError, match="weighs 'four', which is no class of these scenes; they have background"):
        run(tmp_path / "unknown", loss={"classes": {"four": 3}})
