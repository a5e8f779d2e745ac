"""FVgNET in both layouts: bands, classes, orientation and splits, and what is wrong with a copy."""

import warnings

import h5py
import numpy as np
import pytest
from PIL import Image

from crsdun.errors import InputError
from crsdun.optics import nbk7_wavelengths
from crsdun.scenes import Scene, fvgnet, open_set
from crsdun.scenes.file_dataset import FileDataset
from crsdun.scenes.fvgnet import index_fvgnet
from tests.scenes.datasets import SIZE, made_scene, names_of, palette_picture, write_list, write_mirror, write_release
from tests.scenes.examination import SetExamination


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release") / "fvgnet")


@pytest.fixture(scope="session")
def mirror(tmp_path_factory):
    return write_mirror(tmp_path_factory.mktemp("mirror") / "fvgnet")


@pytest.fixture(scope="session")
def full_mirror(tmp_path_factory):
    return write_mirror(tmp_path_factory.mktemp("full_mirror") / "fvgnet", bands=204, scenes=6)


@pytest.fixture
def copy(tmp_path):
    """A release to spoil."""
    return write_release(tmp_path / "fvgnet")


class TestRelease(SetExamination):
    @pytest.fixture
    def scenes(self, release):
        return open_set(release, "train")

    def test_scenes_are_as_distributed(self, scenes):
        for index, name in enumerate(scenes.names):
            cube, classes = made_scene(names_of(13).index(name), 28)
            np.testing.assert_array_equal(scenes[index].cube, cube.astype(np.float32))
            np.testing.assert_array_equal(scenes[index].classes, classes)
        assert max(scene.cube.max() for scene in scenes) > 1  # nothing is clipped
        assert min(scene.cube.min() for scene in scenes) < 0.1
        assert scenes.wavelengths == nbk7_wavelengths()
        assert scenes.colours[3] == (128, 128, 0)
        assert scenes.class_names[20] == "fake onion"


class TestMirror(SetExamination):
    @pytest.fixture
    def scenes(self, mirror):
        return open_set(mirror, "train")

    def test_bands_are_interpolated_and_cubes_turned(self, scenes):
        for index, name in enumerate(scenes.names):
            cube, classes = made_scene(names_of(12).index(name), 34)
            expected = Scene(cube, wavelengths=tuple(range(400, 731, 10))).resampled(nbk7_wavelengths())
            np.testing.assert_allclose(scenes[index].cube, expected.cube, rtol=1e-6)
            np.testing.assert_array_equal(scenes[index].classes, classes)


class TestMirrorOf204Bands(SetExamination):
    @pytest.fixture
    def scenes(self, full_mirror):
        return open_set(full_mirror, "train")

    def test_wavelengths_of_the_file_win(self, full_mirror, tmp_path):
        assert "evenly spaced" in " ".join(index_fvgnet(full_mirror).notes)
        other = write_mirror(tmp_path / "fvgnet", bands=204, scenes=6)
        own = np.linspace(390, 1010, 204) ** 1.001
        for path in other.glob("cubes/*.h5"):
            with h5py.File(path, "a") as file:
                file["wavelengths"] = own
        index = index_fvgnet(other)
        np.testing.assert_allclose(index.schema.wavelengths, own, atol=1e-6)
        scene, even = FileDataset(index, "train")[0], open_set(full_mirror, "train")[0]
        assert scene.wavelengths == even.wavelengths == nbk7_wavelengths()
        assert np.abs(scene.cube - even.cube).max() > 0.01


def test_the_palette_and_the_objects():
    assert len(fvgnet.PALETTE) == len(set(fvgnet.PALETTE.values())) == 23
    # The table of the mirror's object ids: (real, fake) by object.
    table = {1: (1, 2), 2: (19, 20), 3: (7, 8), 4: (15, 16), 5: (9, 10), 6: (5, 6), 7: (3, 4), 8: (13, 14),
             9: (17, 18), 10: (21, 22), 11: (11, 12), 12: (21, 22)}  # fmt: skip
    pairs = {code: cls for code, cls in fvgnet.label_codes().items() if len(code) == 2}
    assert pairs == {(0, made): 0 for made in (0, 1, 2)} | {
        (thing, made): classes[made - 1] for thing, classes in table.items() for made in (1, 2)
    }


def test_splits_are_sorted_disjoint_and_drawn_from_training_only(release):
    splits = {split: open_set(release, split).names for split in ("train", "validation", "test")}
    assert [len(names) for names in splits.values()] == [9, 1, 3]
    assert all(list(names) == sorted(names) for names in splits.values())
    assert list(splits["test"]) == names_of(13)[10:]
    assert sorted(splits["train"] + splits["validation"]) == names_of(10)
    others = {index_fvgnet(release, seed=seed).splits["validation"][0].name for seed in range(12)}
    assert len(others) > 3
    assert len(index_fvgnet(release, validation=0.3).splits["validation"]) == 3


def test_the_drawn_validation_scenes_are_frozen(release):
    """Whoever trained yesterday must find the same split tomorrow."""
    names = [pair.name for pair in index_fvgnet(release, validation=0.3).splits["validation"]]
    assert names == ["2021-11-03_000", "2021-11-03_002", "2021-11-03_004"]


def test_one_list_only(mirror):
    index = index_fvgnet(mirror)
    assert [len(scenes) for scenes in index.splits.values()] == [9, 1, 2]
    assert "only one list: 2 test scenes were drawn" in index.notes[1]
    assert "listed scenes without masks, left out: 2" in index.notes[0]


def test_a_mirror_with_the_lists_of_the_release(tmp_path):
    folder = write_mirror(tmp_path / "fvgnet", scenes=6)
    (folder / "list.csv").unlink()
    write_list(folder / "train_data.csv", names_of(6)[:4])
    write_list(folder / "test_data.csv", names_of(6)[4:])
    assert list(open_set(folder, "test").names) == names_of(6)[4:]


def test_cubes_that_lie_otherwise_are_noticed(release, mirror):
    with pytest.warns(UserWarning, match="as if the cubes were transposed"):
        FileDataset(index_fvgnet(mirror, transpose=False), "train")
    with pytest.warns(UserWarning, match="as if the cubes were transposed"):
        FileDataset(index_fvgnet(release, transpose=True), "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FileDataset(index_fvgnet(mirror, transpose=True), "train")


def test_hashes_tell_how_the_files_are_read_where_that_is_unusual(release):
    def hashes(**settings):
        return FileDataset(index_fvgnet(release, **settings), "test").hashes()

    plain = hashes()
    assert all((release / name).is_file() for name in plain)  # of the files alone, as ever
    assert hashes(transpose=False, real_fake=(1, 2)) == plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turned, coded = hashes(transpose=True), hashes(real_fake=(0, 1))
    assert len({*map(str, (plain, turned, coded))}) == 3
    assert plain.items() < turned.items()


def test_a_crop_reads_its_own_part_only(copy):
    """The beginning of a cube whose far end is missing can still be read."""
    scenes = open_set(copy, "test")
    path = scenes.scenes[0].cube
    stored = np.load(path)
    broken = stored.copy()
    broken[SIZE // 2 :] = np.inf
    np.save(path, broken)
    np.testing.assert_array_equal(
        scenes.crop(0, 0, 0, 8, 8).cube, np.moveaxis(stored[:8, :8], -1, 0).astype(np.float32)
    )
    with pytest.raises(InputError, match="infinite"):
        scenes[0]


def test_an_unknown_colour_is_named(copy):
    name = names_of(13)[-1]
    picture = np.array(palette_picture(made_scene(12, 28)[1]))
    picture[20, 11] = (1, 2, 3)
    picture[21, 12:14] = (9, 9, 9)
    Image.fromarray(picture).save(copy / "labels" / f"{name}.png")
    with pytest.raises(InputError, match=rf"{name}.png .* colour \[1, 2, 3\] at row 20, column 11, and 1"):
        open_set(copy, "test")
    index = index_fvgnet(copy)
    part = index.schema.read_classes(index.splits["test"][2].labels, (SIZE, SIZE), slice(0, 20))
    np.testing.assert_array_equal(part, made_scene(12, 28)[1][:20])
    with pytest.raises(InputError, match=r"at row 21, column 12 \(2 pixels"):
        index.schema.read_classes(index.splits["test"][2].labels, (SIZE, SIZE), slice(21, 30), slice(5, 20))


def test_other_codes_for_real_and_fake_are_refused_unless_given(tmp_path):
    folder = write_mirror(tmp_path / "fvgnet", scenes=4)
    for path in folder.glob("raw_labels/*.npy"):
        codes = np.load(path)
        codes[..., 1][codes[..., 1] == 2] = 0  # 1 real, 0 fake
        np.save(path, codes)
    with pytest.raises(InputError, match="unknown pair"):
        [open_set(folder, "train")[index] for index in range(3)]
    scenes = FileDataset(index_fvgnet(folder, real_fake=(1, 0)), "train")
    np.testing.assert_array_equal(scenes[0].classes, made_scene(names_of(4).index(scenes.names[0]), 34)[1])


def test_a_palette_picture_of_indices_is_read_by_its_colours(copy):
    scenes = open_set(copy, "test")
    picture = Image.open(scenes.scenes[0].labels).convert("P", palette=Image.Palette.ADAPTIVE)
    before = scenes[0].classes
    picture.save(scenes.scenes[0].labels)
    np.testing.assert_array_equal(scenes[0].classes, before)


SECOND = "visible_28/2021-11-03_002.npy"


def test_other_pictures_are_not_taken_for_labels(copy):
    for folder in ("a_photographs", "photographs"):
        (copy / folder).mkdir()
        for path in copy.glob("labels/*.png"):
            Image.fromarray(np.full((8, 8, 3), 77, dtype=np.uint8)).save(copy / folder / path.name)
    assert open_set(copy, "train").scenes[0].labels.parent.name == "labels"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda copy: next(copy.glob("visible_28/*_004.npy")).unlink(), "_004 has no cube; get it"),
        (lambda copy: next(copy.glob("labels/*_011.png")).unlink(), "_011 has no label map"),
        (lambda copy: np.save(copy / SECOND, np.ones((32, 32, 27))), "expected 28, 34 or 204 bands"),
        (lambda copy: (copy / SECOND).write_bytes(b"\x93NUMPY"), "damaged"),
        (lambda copy: (copy / "test_data.csv").unlink(), "put test_data.csv into the folder"),
        (lambda copy: write_list(copy / "test_data.csv", names_of(2)), "_001 is in the training and in the"),
        (lambda copy: write_list(copy / "test_data.csv", names_of(13)[10:] * 2), "lists 2021-11-03_012 again"),
        (
            lambda copy: (copy / "test_data.csv").write_text("names,masks\n2021-11-03_012,perhaps\n"),
            "masks = 'perhaps' in line 2; expected True or False",
        ),
    ],
)
def test_what_is_missing_is_named(copy, spoil, message):
    spoil(copy)
    assert message in "\n".join(index_fvgnet(copy).problems)
    with pytest.raises(InputError, match="fvgnet: "):
        open_set(copy, "train")


def test_a_cube_that_changed_under_our_feet(copy):
    scenes = open_set(copy, "test")
    np.save(scenes.scenes[0].cube, np.ones((SIZE, SIZE, 27)))
    with pytest.raises(InputError, match="27 bands where 28 were expected"):
        scenes.crop(0, 0, 0, 4, 4)
    np.save(scenes.scenes[0].cube, np.ones((SIZE, SIZE + 1, 28)))
    with pytest.raises(InputError, match="32×32 pixels but its cube 32×33"):
        scenes.crop(0, 0, 0, 4, 4)
