"""Any data set in files: written once, opened by its ``.yaml``, the same scenes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, open_set
from crsdun.scenes.patchwork import WildProduceSet
from crsdun.scenes.set_files import write_set
from tests.evaluation.scenes import PaintedSet


def test_labelled_scenes_come_back(tmp_path):
    sets, calls = [WildProduceSet("validation"), WildProduceSet("test")], []
    written = write_set("wild", sets, tmp_path / "wild", 2, progress=lambda *numbers: calls.append(numbers))
    assert written.scenes == {"validation": 2, "test": 2}
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert written.bytes > 4 * 28 * 256 * 256
    for scenes in sets:
        stored = open_set(written.index, scenes.split)
        assert (stored.names, stored.class_names) == (scenes.names[:2], scenes.class_names)
        for index in range(2):
            np.testing.assert_array_equal(stored[index].cube, scenes[index].cube)
            np.testing.assert_array_equal(stored[index].classes, scenes[index].classes)
    with pytest.raises(InputError, match="has no train split"):
        open_set(written.index, "train")
    with pytest.raises(InputError, match="exists already"):
        write_set("wild", sets, tmp_path / "wild", 1)
    assert write_set("wild", sets, tmp_path / "wild", 1, overwrite=True).scenes == {"validation": 1, "test": 1}
    assert len(list((tmp_path / "wild" / "cubes").iterdir())) == 2


def test_unlabelled_pixels_and_the_background_come_back(tmp_path):
    scenes = PaintedSet(2)
    scenes.class_names = ("soil", *scenes.class_names[1:])
    stored = open_set(write_set("painted", [scenes], tmp_path / "painted", 2).index, "test")
    assert stored.class_names == scenes.class_names
    assert (scenes[1].classes == UNLABELLED).any()
    np.testing.assert_array_equal(stored[1].classes, scenes[1].classes)
    assert stored.index.notes == ()


class UnstatedSet(PaintedSet):
    """Whose wavelengths are unknown."""

    def __init__(self, count):
        super().__init__(count)
        self.wavelengths = None

    def whole(self, index):
        return replace(super().whole(index), wavelengths=None)


def test_scenes_without_wavelengths_come_back(tmp_path):
    scenes = UnstatedSet(2)
    stored = open_set(write_set("painted", [scenes], tmp_path / "painted", 2).index, "test")
    assert (stored.bands, stored.wavelengths) == (scenes.bands, None)
    np.testing.assert_array_equal(stored[1].cube, scenes[1].cube)


def test_no_scene_is_no_data_set(tmp_path):
    with pytest.raises(InputError, match="at least one scene"):
        write_set("wild", [WildProduceSet("test")], tmp_path / "wild", 0)
    assert not (tmp_path / "wild").exists()


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "make", "patchwork", "--out", "patchwork", "--scenes", "2", "--split", "train"]) == 0
    assert "patchwork/patchwork.yaml: 2 train, 15 MB" in capsys.readouterr().out
    stored = open_set("patchwork/patchwork.yaml", "train")
    assert (len(stored), stored.bands, stored.class_names) == (2, 28, None)
    np.testing.assert_array_equal(stored[1].cube, open_set("patchwork", "train")[1].cube)
    assert main(["data", "make", "produce-wild", "--out", "wild", "--scenes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scenes"] == {"train": 1, "validation": 1, "test": 1}
    assert main(["data", "make", "patchwork", "--out", "other", "--split", "val"]) == 2
    assert "there is no split 'val'" in capsys.readouterr().err
