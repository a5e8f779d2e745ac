"""Runs that begin with other weights, keep parts of them, or take more steps than planned."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crsdun.errors import InputError
from crsdun.networks import load, save
from crsdun.optics import random_mask
from crsdun.training import RunObserver, train
from crsdun.training.checkpoints import read_checkpoint, write_checkpoint
from tests.training.small import SmallSet, small_config, small_sets


def run(out, sets=None, **sections):
    said = []
    sections["network"] = {"name": "crsdun_2stg", **sections.get("network", {})}
    return train(small_config(out, **sections), sets or small_sets(), RunObserver(notify=said.append)), said


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "first")[0].weights


class OtherClasses(SmallSet):
    """The same scenes, one class under another name."""

    def __init__(self, split, scenes=6):
        super().__init__(split, scenes)
        self.class_names = ("background", "one", "mine", "three")
        for scene in self.scenes:
            object.__setattr__(scene, "class_names", self.class_names)


def test_a_run_begins_with_other_weights_and_says_what_is_new(weights, tmp_path):
    sets = OtherClasses("train"), OtherClasses("validation", scenes=2)
    outcome, said = run(tmp_path / "tuned", sets, network={"weights": str(weights)}, steps=3)
    told = re.fullmatch(
        rf"begins with {weights}; (\d+) tensors are fresh in what belongs to new classes: mine", said[0]
    )
    assert int(told[1]) > 0
    record = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert record["config"]["network"]["weights"] == str(weights)
    assert load_file(outcome.weights).keys() == load_file(weights).keys()


def test_frozen_parts_keep_their_weights_and_statistics(weights, tmp_path):
    frozen = ["stages.1.class_network", "*.cube_network"]
    outcome, _ = run(tmp_path / "frozen", network={"weights": str(weights), "frozen": frozen})
    before, after = load_file(weights), load_file(outcome.weights)
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert any("stages.1.class_network" in name and "running_mean" in name for name in before)
    assert {name for name in before if "stages.1.class_network" in name or "cube_network" in name} <= kept
    assert not {"initial.weight", "dictionary.weight", "stages.0.class_network.out.weight"} & kept


@pytest.mark.parametrize(
    ("frozen", "words"),
    [
        (["stages.0.cube_networks"], "did you mean stages.0.cube_network"),
        (["nothing"], "its parts are initial, dictionary"),
        (["*"], "leaves nothing to learn"),
    ],
)
def test_frozen_parts_must_exist_and_leave_something(frozen, words, tmp_path):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "run", network={"frozen": frozen})


def test_a_finished_run_goes_on_with_more_steps(tmp_path):
    constant = {"schedule": "constant", "warm_up": 0}
    whole, _ = run(tmp_path / "whole", optimiser=constant, steps=6)
    run(tmp_path / "parts", optimiser=constant, steps=3)
    longer, said = run(tmp_path / "parts", optimiser=constant, steps=6)
    assert "was a run of 3 steps and becomes one of 6: the learning rate goes on from 0.002" in said[0]
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(longer.weights).items())
    sittings = json.loads((tmp_path / "parts" / "run.json").read_text())["sittings"]
    assert [(each["from_step"], each["steps"]) for each in sittings] == [(0, 3), (3, 6)]


def test_a_run_cannot_become_shorter_than_it_is_nor_can_the_shares_of_two_parts_change(tmp_path):
    run(tmp_path / "run", steps=5)
    with pytest.raises(InputError, match="has done 5 steps already, more than 4"):
        run(tmp_path / "run", steps=4)
    parts = {"reconstruction": {"width": 4}, "segmenter": {"width": 4}}
    two = {"network": {"name": "ssr_1stg+seg", "settings": parts}, "two_stage": {"order": "frozen"}}
    validation = {"validation": {"every": 3, "criterion": "loss"}}
    run(tmp_path / "two", steps=6, **two, **validation)
    with pytest.raises(InputError, match="two parts have shares"):
        run(tmp_path / "two", steps=7, **two, **validation)


@pytest.mark.parametrize("key", ["camera.mask", "network.weights"])
def test_a_file_that_the_configuration_names_must_be_the_same_when_a_run_goes_on(weights, tmp_path, key):
    """The mask and the weights to begin with; a run of an earlier version did not record them and goes on."""
    mask, begin = tmp_path / "mask.npy", tmp_path / "begin.safetensors"
    np.save(mask, random_mask(64, 64, seed=1))
    shutil.copy(weights, begin)
    sections = {"camera": {"mask": str(mask)}, "network": {"weights": str(begin)}}
    run(tmp_path / "run", **sections, steps=4, minutes=1e-9)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["files"]
    assert kept.keys() == {"camera.mask", "network.weights"}

    if key == "camera.mask":
        np.save(mask, random_mask(64, 64, seed=2))
    else:
        network = load(begin)
        next(network.parameters()).data.zero_()
        save(network, begin)
    with pytest.raises(InputError) as caught:
        run(tmp_path / "run", **sections, steps=4)
    name = {"camera.mask": mask, "network.weights": begin}[key]
    assert str(caught.value).startswith(f"{key}={name} does not hold what {tmp_path / 'run'} began with")

    last = read_checkpoint(tmp_path / "run" / "checkpoints", print)
    earlier = replace(last, header=replace(last.header, files={}))
    write_checkpoint(tmp_path / "run" / "checkpoints", earlier)
    assert run(tmp_path / "run", **sections, steps=4)[0].step == 4
