"""Several data sets in one run: how many samples each gives, which ones, and what of them is learnt."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crsdun.errors import InputError
from crsdun.scenes.catalog import DATASETS, register_dataset
from crsdun.training import IGNORED, RunObserver, train
from crsdun.training.batches import Batches, exposure_for
from crsdun.training.mixture import Mixture, open_others
from tests.training.small import SmallSet, small_config, small_sets

SETS = small_sets()


class OtherSet(SmallSet):
    """As the small set, under another name and with or without names of classes."""

    def __init__(self, name, class_names=None, scenes=3, **size):
        super().__init__("train", scenes, **size)
        self.name, self.class_names = name, class_names
        self.names = tuple(f"{name} {index}" for index in range(scenes))
        self.scenes = [replace(scene, name=name) for scene, name in zip(self.scenes, self.names, strict=True)]


@pytest.fixture
def registered():
    """Registers a set under its name until the test ends."""
    names = []

    def register(scenes):
        register_dataset(scenes.name, lambda split: scenes)
        names.append(scenes.name)

    yield register
    for name in names:
        DATASETS.unregister(name)


def mixed(others, **sections):
    config = small_config("unused", **sections)
    return Batches(SETS[0], exposure_for(config.camera, SETS), config, range(config.sampling.batch), others)


def test_each_set_has_its_share_of_any_200_samples_and_shows_all_its_scenes():
    mixture = Mixture(SETS[0], [(OtherSet("a"), 0.25), (OtherSet("b", scenes=5), 0.6)])
    for first in (0, 7, 100_001):
        drawn = [mixture.drawn(number, [0, 0]) for number in range(first, first + 200)]
        counts = Counter(map(mixture.place, drawn))
        assert [counts[place] for place in range(3)] == pytest.approx([30, 50, 120], abs=1)
        for place, scenes in enumerate(mixture.sets):
            seen = Counter(index for index in drawn if mixture.place(index) == place)
            assert len(seen) == len(scenes)
            assert max(seen.values()) - min(seen.values()) <= 2  # of epochs cut at both ends


def test_epochs_of_the_main_set_are_whole_and_those_of_a_run_without_others():
    alone, with_others = Mixture(SETS[0]), Mixture(SETS[0], [(OtherSet("a"), 0.5)])
    expected = [alone.drawn(number, [3, 0]) for number in range(18)]
    found = [index for index in (with_others.drawn(number, [3, 0]) for number in range(36)) if index < 6]
    assert found == expected
    assert sorted(expected[:6]) == sorted(expected[6:12]) == list(range(6))
    others = [index - 6 for index in (with_others.drawn(number, [3, 0]) for number in range(36)) if index >= 6]
    assert sorted(others[:3]) == sorted(others[3:6]) == [0, 1, 2]
    assert len({tuple(others[at : at + 3]) for at in range(0, 18, 3)}) > 1


def test_half_of_a_batch_of_two_is_one_each():
    stream = mixed([(OtherSet("a"), 0.5)], sampling={"mosaic": 0})
    for step in range(8):
        assert sorted(name.split()[0] for name in stream.batch(step).names) == ["a", "train"]


def test_a_mosaic_stays_within_one_set():
    stream = mixed([(OtherSet("a"), 0.5)], sampling={"mosaic": 1.0})
    names = [name.removeprefix("mosaic of ") for step in range(8) for name in stream.batch(step).names]
    origins = [{part.split()[0] for part in name.split(", ")} for name in names]
    assert sorted(map(sorted, origins)) == [["a"]] * 8 + [["train"]] * 8


def test_a_set_without_class_names_gives_no_labels_and_one_with_the_same_names_does():
    for class_names in (None, SETS[0].class_names):
        stream = mixed([(OtherSet("a", class_names), 0.5)], sampling={"mosaic": 0})
        for step in range(3):
            batch = stream.batch(step)
            for name, classes in zip(batch.names, batch.classes, strict=True):
                labelled = name.startswith("train") or class_names is not None
                assert bool((classes != IGNORED).any()) == labelled


def test_crops_must_fit_into_every_set():
    with pytest.raises(InputError, match="scene a 0 has 24×64 pixels, crops need 32×32"):
        mixed([(OtherSet("a", height=24), 0.1)])


@pytest.mark.parametrize(
    ("scenes", "words"),
    [
        (OtherSet("a", ("background", "two", "one", "three")), "small train and a differ in their class names"),
        (OtherSet("a", scenes=0), "a holds no scenes"),
        (OtherSet("small train"), "two sets called small train"),
    ],
)
def test_sets_that_do_not_fit_are_refused(registered, scenes, words):
    registered(scenes)
    with pytest.raises(InputError, match=words):
        open_others(SETS[0], {scenes.name: 0.1})


def test_a_set_without_wavelengths_does_not_fit_one_with_them(registered):
    scenes = OtherSet("a")
    scenes.wavelengths = None
    registered(scenes)
    with pytest.raises(InputError, match="small train and a differ in their wavelengths"):
        open_others(SETS[0], {"a": 0.1})


def test_a_set_on_other_wavelengths_is_put_on_those_of_the_main_one(registered):
    class Finer(OtherSet):
        def on_grid(self, wavelengths):
            self.asked = wavelengths
            return OtherSet("on the grid")

    finer, same = Finer("finer"), OtherSet("same")
    finer.wavelengths = (400.0, 500.0, 600.0)
    registered(finer)
    registered(same)
    found = open_others(SETS[0], {"same": 0.2, "finer": 0.1})
    assert [(scenes.name, share) for scenes, share in found] == [("on the grid", 0.1), ("same", 0.2)]
    assert finer.asked == SETS[0].wavelengths


@pytest.mark.parametrize("mix", [{"a": 0.5, "b": 0.5}, {"a": 0.0}, {"a": -0.1}, dict.fromkeys("abcdefghij", 0.1)])
def test_shares_are_positive_and_leave_some_to_the_main_set(mix):
    with pytest.raises(InputError, match=r"data\.mix must be positive shares that sum to less than 1"):
        small_config("unused", data={"mix": mix})


def test_a_mixed_run_resumes_exactly_and_knows_its_scenes(registered, tmp_path):
    registered(OtherSet("a"))
    sections = {"data": {"mix": {"a": 0.5}}}
    silent = RunObserver(notify=lambda line: None)
    whole = train(small_config(tmp_path / "whole", **sections), SETS, silent)
    for _ in range(6):
        part = train(small_config(tmp_path / "parts", minutes=1e-9, **sections), SETS, silent)
    expected = load_file(whole.weights)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(part.weights).items())
    assert '"a"' in (tmp_path / "whole" / "run.json").read_text()
    last = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert float(dict(zip(last[0].split(","), last[-1].split(","), strict=True))["epoch"]) == 1  # 6 of 12 samples

    train(small_config(tmp_path / "changed", minutes=1e-9, **sections), SETS, silent)
    DATASETS["a"]("train").scenes[1].cube[0, 0, 0] += np.float32(0.5)
    with pytest.raises(InputError, match=r"not those that .* learnt from"):
        train(small_config(tmp_path / "changed", **sections), SETS, silent)
    with pytest.raises(InputError, match=r"data\.mix\.a was 0\.5, now None"):
        train(small_config(tmp_path / "changed"), SETS, silent)
