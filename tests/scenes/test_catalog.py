"""What a person types opens the data set that is meant, or says what could be typed."""

from importlib.util import find_spec

import pytest

from crsdun.errors import InputError
from crsdun.scenes import open_set
from crsdun.scenes.file_dataset import FileDataset
from tests.scenes.datasets import write_release
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
    with pytest.raises(InputError, match=r"not a data set; expected produce, indian-pines, a folder .* or a \.yaml"):
        open_set(source, "train")


def test_an_unknown_split():
    with pytest.raises(InputError, match="there is no split 'val'; expected one of train, validation, test"):
        open_set("produce", "val")
