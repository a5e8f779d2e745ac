"""A name or a path opens its data set, and anything else is refused with the names of what there is."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.scenes import Scene, open_set, register_dataset, write_scene
from crsdun.scenes.catalog import DATASETS, open_whole
from crsdun.scenes.file_dataset import FileDataset
from crsdun.scenes.scene_set import WholeScene
from tests.evaluation.scenes import PaintedSet
from tests.scenes.datasets import made_scene, write_release
from tests.scenes.examination import SetExamination


def test_a_folder_of_fvgnet(tmp_path):
    scenes = open_set(str(write_release(tmp_path / "fvgnet")), "test")
    assert isinstance(scenes, FileDataset)
    assert scenes.name == "fvgnet test"


class TestProduce(SetExamination):
    @pytest.fixture
    def scenes(self):
        return open_set("produce", "test")

    def test_it_has_the_shape_of_fvgnet(self, scenes):
        assert (len(scenes), scenes.bands, len(scenes.class_names)) == (50, 28, 23)


@pytest.mark.skipif(find_spec("tensorly") is None, reason="tensorly (crsdun[demo]) is not installed")
def test_indian_pines():
    assert open_set("indian-pines", "validation").name == "indian-pines validation"


@pytest.mark.parametrize("source", ["imagenet", ".", "a.txt"])
def test_anything_else_is_refused_with_the_names_of_what_there_is(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    names = "produce, indian-pines, patchwork, produce-wild"
    with pytest.raises(InputError, match=rf"not a data set; expected {names}, a folder .* or a \.yaml"):
        open_set(source, "train")


def test_an_unknown_split():
    with pytest.raises(InputError, match="there is no split 'val'; expected one of train, validation, test"):
        open_set("produce", "val")


class Painted(PaintedSet):
    """A data set as a plugin brings it: its opener takes the split."""

    def __init__(self, split):
        super().__init__(3)
        self.split, self.name = split, f"painted {split}"


def test_a_registered_data_set_is_known_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    register_dataset("painted", Painted)
    try:
        assert open_set("painted", "test").name == "painted test"
        assert main(["data", "check", "painted", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["layout"] == "8 bands from 450 to 690 nm"
        assert main(["evaluate", "gap-tv", "painted", "--first", "1", "--out", "gap"]) == 0
        small = "network={name: crsdun_1stg, settings: {width: 4}}"
        changes = [small, "sampling.crop=[32, 32]", "sampling.batch=1", "optimiser.warm_up=0", "steps=1"]
        config = Path(__file__).parents[2] / "configs" / "crsdun_tiny_produce.yaml"
        assert main(["train", str(config), *changes, "data.source=painted", "out=run"]) == 0
        with pytest.raises(InputError, match="already a data set called 'painted'"):
            register_dataset("painted", PaintedSet)
        with pytest.raises(InputError, match="patchwork, produce-wild, painted, a folder"):
            open_set("paintd", "test")
    finally:
        DATASETS.unregister("painted")


class TestWholeScene(SetExamination):
    @pytest.fixture
    def scenes(self, tmp_path):
        cube, classes = made_scene(0, 6, 3)
        scene = Scene(cube, (450, 480, 510, 540, 570, 600), classes, ("soil", "leaf", "fruit"), "field")
        write_scene(scene, tmp_path / "field.npz")
        return open_whole(tmp_path / "field.npz")

    def test_it_is_that_scene(self, scenes):
        assert (len(scenes), scenes.names, scenes.name) == (1, ("field",), "whole field test")
        np.testing.assert_array_equal(scenes[0].cube, made_scene(0, 6, 3)[0].astype(np.float32))

    def test_its_hashes_are_of_what_it_holds(self, scenes):
        other = replace(scenes.scene, cube=scenes.scene.cube + 1)
        assert WholeScene(other).hashes()["cube"] != scenes.hashes()["cube"]
        assert WholeScene(other).hashes()["classes"] == scenes.hashes()["classes"]
        assert WholeScene(replace(other, classes=None, class_names=None)).hashes().keys() == {"cube"}


def test_indian_pines_as_a_whole():
    pytest.importorskip("tensorly")
    scenes = open_whole("indian-pines")
    assert (scenes.bands, scenes.size(0)) == (28, (145, 145))
