"""The scene that comes along: sorted, scaled, labelled and attributed; or a word on how to get it."""

import itertools
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, indian_pines
from crsdun.scenes.indian_pines import STRIPS, IndianPinesSet, undo_newline_conversion
from tests.scenes.examination import SetExamination

needs_tensorly = pytest.mark.skipif(find_spec("tensorly") is None, reason="tensorly (crsdun[demo]) is not installed")


@needs_tensorly
def test_indian_pines():
    scene = indian_pines()
    assert scene.cube.shape == (200, 145, 145)
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (400.02, 2498.96)
    assert scene.cube.min() >= 0
    assert scene.cube.max() <= 1
    assert np.mean((scene.cube == 0) | (scene.cube == 1)) < 0.005
    counts = np.bincount(scene.classes[scene.classes != UNLABELLED], minlength=16)
    assert dict(zip(scene.class_names, counts.tolist(), strict=True)) == {
        "alfalfa": 46, "corn-notill": 1428, "corn-mintill": 830, "corn": 237, "grass-pasture": 483,
        "grass-trees": 730, "grass-pasture-mowed": 28, "hay-windrowed": 478, "oats": 20, "soybean-notill": 972,
        "soybean-mintill": 2455, "soybean-clean": 593, "wheat": 205, "woods": 1265,
        "buildings-grass-trees-drives": 386, "stone-steel-towers": 93,
    }  # fmt: skip
    assert "10.4231/R7RX991C" in scene.provenance["source"]
    assert scene.provenance["licence"].startswith("CC BY 3.0")


@needs_tensorly
def test_colours_are_believable():
    scene = indian_pines((450.0, 550.0, 650.0, 850.0))

    def typical(name):
        return np.median(scene.cube[:, scene.classes == scene.class_names.index(name)], axis=1)

    blue, green, red, infrared = typical("woods")
    assert max(blue, red) < green < 0.15 < 0.4 < infrared
    blue, green, red, infrared = typical("soybean-clean")  # in June nearly bare soil
    assert 0.1 < blue < green < red < infrared < 0.5
    np.testing.assert_allclose(typical("stone-steel-towers"), 0.4, atol=0.04)


@pytest.fixture(scope="module")
def raw():
    from tensorly.datasets import load_indian_pines

    data = load_indian_pines()
    order = np.argsort(data["ticks"][1])
    return np.moveaxis(np.asarray(data["tensor"], dtype=np.int32), -1, 0)[order]


@pytest.fixture(scope="module")
def repaired(raw):
    return undo_newline_conversion(raw)


@needs_tensorly
def test_the_file_went_through_a_newline_conversion(raw, repaired):
    for byte, excess in ((raw >> 8, 1.2), (raw & 255, 1.9)):
        count = np.bincount(byte.ravel(), minlength=256)
        assert count[13] == 0
        assert count[10] > excess * max(count[9], count[11])
    assert set(np.unique(repaired - raw)) == {0, 768}
    assert (raw[repaired != raw] >> 8 == 10).all()
    *_, eleven, twelve, thirteen, fourteen = np.bincount((repaired >> 8).ravel(), minlength=15)[:15]
    assert min(twelve, fourteen) * 0.9 < thirteen < max(twelve, fourteen) < eleven


@needs_tensorly
@pytest.mark.parametrize(("lost", "found"), [(11, 8), (12, 9), (14, 11), (15, 12)])
def test_the_same_damage_elsewhere_is_undone(repaired, lost, found):
    damaged = np.where(repaired >> 8 == lost, repaired - 256 * (lost - found), repaired)
    right = undo_newline_conversion(damaged, lost, found) == repaired
    doubtful = damaged >> 8 == found
    assert doubtful.sum() > 290_000
    assert 0.4 < np.mean(damaged[doubtful] == repaired[doubtful]) < 0.7  # doing nothing is no repair
    assert right[doubtful].mean() > 0.998
    assert right[0][doubtful[0]].mean() > 0.9  # 400 nm
    assert right[1:][doubtful[1:]].mean() > 0.9999


@needs_tensorly
def test_indian_pines_on_other_bands():
    scene = indian_pines((450.0, 550.0, 650.0))
    assert scene.wavelengths == (450, 550, 650)
    assert scene.cube.shape == (3, 145, 145)


def test_without_tensorly_the_message_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorly.datasets", None)
    with pytest.raises(InputError, match=r"pip install crsdun\[demo\]"):
        indian_pines()


@pytest.fixture(scope="module")
def train():
    return IndianPinesSet("train") if find_spec("tensorly") else None


@needs_tensorly
class TestIndianPinesSet(SetExamination):
    @pytest.fixture
    def scenes(self, train):
        return train

    def test_strips_are_those_of_the_scene(self, scenes):
        whole = indian_pines(scenes.wavelengths)
        assert scenes.class_names[1:] == whole.class_names
        for index, (first, end) in enumerate(STRIPS["train"]):
            np.testing.assert_array_equal(scenes[index].cube, whole.cube[:, first:end])
            known = whole.classes[first:end] != UNLABELLED
            np.testing.assert_array_equal(scenes[index].classes[known], whole.classes[first:end][known] + 1)
            assert (scenes[index].classes[~known] == UNLABELLED).all()

    def test_any_bands(self):
        assert IndianPinesSet("validation", wavelengths=(450.0, 850.0)).bands == 2


def test_no_two_splits_come_near_each_other():
    rows = sorted((*strip, split) for split, strips in STRIPS.items() for strip in strips)
    assert rows[0][0] >= 0
    assert rows[-1][1] <= 145
    for (_, end, split), (start, _, other) in itertools.pairwise(rows):
        assert split != other
        assert start - end >= 5


@needs_tensorly
def test_most_classes_are_both_learnt_and_tested():
    def pixels(split):
        labels = np.concatenate([scene.classes.ravel() for scene in IndianPinesSet(split)])
        return np.bincount(labels[labels != UNLABELLED], minlength=17)

    assert ((pixels("train") >= 8) & (pixels("test") >= 8)).sum() == 12
