"""One check finds everything that is wrong with a data set, and a manifest shows what has changed."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest
from PIL import Image

from crsdun import cli
from crsdun.errors import InputError
from crsdun.scenes import dataset_check
from crsdun.scenes.dataset_check import check_set, compare_manifest, write_manifest
from crsdun.scenes.produce import ProduceSet, StoredProduce
from tests.scenes.datasets import SIZE, made_scene, names_of, palette_picture, write_mirror, write_release
from tests.scenes.test_folder_dataset import WAVELENGTHS, write_cubes, write_labels, write_yaml


@pytest.fixture
def copy(tmp_path):
    return write_release(tmp_path / "fvgnet")


def test_a_good_copy(copy):
    calls = []
    check = check_set(copy, lambda done, total: calls.append((done, total)))
    assert check.problems == ()
    assert calls == [(done, 13) for done in range(1, 14)]
    assert check.layout == "FVgNET, authors' release"
    assert {split: statistics.scenes for split, statistics in check.splits.items()} == {
        "train": 9,
        "validation": 1,
        "test": 3,
    }
    test = check.splits["test"]
    cubes, classes = zip(*(made_scene(index, 28) for index in (10, 11, 12)), strict=True)
    assert test.shapes == {"28×32×32": 3}
    assert test.types == {"float64 in NumPy .npy": 3}
    assert test.orientations == {"as the labels": 3}
    assert test.labels == {".png, every pixel known": 3}
    assert test.files == 2 * 3
    assert test.low == pytest.approx(np.min(cubes))
    assert test.high == pytest.approx(np.max(cubes))
    assert test.above_one / test.values == pytest.approx(np.mean(np.array(cubes) > 1))
    counts = np.bincount(np.ravel(classes), minlength=23)
    assert [test.pixels[name] for name in check.class_names] == counts.tolist()
    assert len(check.hashes) == 2 * 13 + 2
    assert check.to_json()["splits"]["test"]["max"] == test.high


def test_a_good_mirror(tmp_path):
    check = check_set(write_mirror(tmp_path / "fvgnet"))
    assert check.problems == ()
    assert check.splits["train"].shapes == {"34×32×32": 9}
    assert check.splits["train"].orientations == {"as the labels": 9}


def test_everything_wrong_is_found_in_one_run(copy):
    names = names_of(13)
    (copy / "labels" / f"{names[0]}.png").unlink()
    (copy / "visible_28" / f"{names[1]}.npy").unlink()
    np.save(copy / "visible_28" / f"{names[2]}.npy", np.ones((SIZE, SIZE, 27)))
    cube = np.moveaxis(made_scene(3, 28)[0], 0, -1)
    cube[4:6, 7, 1] = np.nan, np.inf
    np.save(copy / "visible_28" / f"{names[3]}.npy", cube)
    picture = np.array(palette_picture(made_scene(4, 28)[1]))
    picture[30, 31] = (255, 255, 255)
    Image.fromarray(picture).save(copy / "labels" / f"{names[4]}.png")
    Image.fromarray(picture[:20]).save(copy / "labels" / f"{names[5]}.png")
    (copy / "labels" / f"{names[6]}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.save(copy / "visible_28" / f"{names[7]}.npy", np.moveaxis(made_scene(7, 28)[0], 0, -1)[:, ::-1])
    check = check_set(copy)
    problems = "\n".join(check.problems)
    for expected in (
        f"{names[0]} has no label map",
        f"{names[1]} has no cube",
        f"{names[2]} has no cube (visible_28/{names[2]}.npy holds (32, 32, 27), expected 28, 34 or 204 bands)",
        f"{names[3]}.npy: the cube of '{names[3]}' holds 1 infinite value;",
        f"{names[4]}.png holds the unknown colour [255, 255, 255] at row 30, column 31;",
        f"{names[5]}.png has 20×32 pixels but its cube 32×32",
        f"{names[6]}.png begins like PNG but cannot be read",
        f"{names[7]}.npy is mirrored",
    ):
        assert expected in problems, expected
    assert len(check.problems) == 8
    # Files of incomplete scenes are hashed as well.
    assert len(check.hashes) == 2 * 13 + 2 - 2
    assert check.splits["train"].missing + check.splits["validation"].missing == 1


def test_wrong_orientation_of_all_is_reported_once(copy):
    for path in copy.glob("visible_28/*.npy"):
        np.save(path, np.swapaxes(np.load(path), 0, 1))
    check = check_set(copy)
    assert len(check.problems) == 1
    assert "the labels look as if the cubes were transposed; transpose (true or false)" in check.problems[0]
    assert check.splits["test"].orientations == {"transposed": 3}


TURNS = {
    "mirrored": lambda cube: cube[:, ::-1],
    "upside down": lambda cube: cube[::-1],
    "transposed": lambda cube: np.swapaxes(cube, 0, 1),
    "turned by 180°": lambda cube: cube[::-1, ::-1],
}


def turn(copy, count):
    """Turn the cubes of the first scenes, each in another way."""
    for name, change in zip(names_of(count), TURNS.values(), strict=False):
        path = copy / "visible_28" / f"{name}.npy"
        np.save(path, change(np.load(path)))


def test_one_or_two_cubes_that_are_turned_are_wrong(copy):
    turn(copy, 2)
    check = check_set(copy)
    assert sorted(check.problems) == sorted(
        f"{copy / 'visible_28' / name}.npy is {turned} relative to its labels; turn it, or leave the scene out"
        for name, turned in zip(names_of(2), TURNS, strict=False)
    )
    assert not any("look turned" in note for note in check.notes)


def test_orientations_that_contradict_each_other_are_a_note(copy, capsys):
    turn(copy, 4)
    check = check_set(copy)
    assert check.problems == ()
    assert (
        "4 of 13 cubes look turned relative to their labels, but not all in one way: probably their pictures change "
        "little at the borders of classes" in check.notes
    )
    assert cli.main(["data", "check", str(copy)]) == 0
    assert "note: 4 of 13 cubes look turned" in capsys.readouterr().out


def test_pictures_that_say_nothing_of_their_labels_are_not_called_turned(copy):
    """Good tiles whose classes hardly differ, one of which fits better by chance when it is turned."""
    for index, name in enumerate(names_of(13)):
        texture = np.random.default_rng(index).random((SIZE, SIZE)) * np.linspace(1, 0.1, SIZE)
        np.save(copy / "visible_28" / f"{name}.npy", np.tile(0.2 + 0.6 * texture[..., None], 28))
    check = check_set(copy)
    assert check.splits["test"].orientations["turned by 90° to the left"] == 1
    assert check.problems == ()


@pytest.mark.parametrize(
    ("dtype", "share", "wrong"), [(">u2", 0.01, True), ("u2", 0.0005, False), ("u1", 0.01, False)]
)
def test_saturated_values(tmp_path, dtype, share, wrong):
    """Of 16 bits, where they have lost their light; of 8 bits white often is the largest value."""
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    path = tmp_path / "cubes" / "tree_3.npy"
    largest = np.iinfo(dtype).max
    counts = np.clip(np.load(path) * 0.7 * largest, 0, largest - 1).astype(dtype)
    counts.reshape(-1)[: round(share * counts.size)] = largest
    np.save(path, counts)
    problems = check_set(write_yaml(tmp_path)).problems
    expected = f"{path}: 1.0% of the values are saturated; expose for less, or crop them"
    assert problems == ((expected,) if wrong else ())


def test_no_data_is_not_saturated(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    for cube in tmp_path.glob("cubes/*.npy"):
        with h5py.File(cube.with_suffix(".h5"), "w") as file:
            file["cube"] = np.round(np.load(cube) * 60000).astype(np.uint16)
            file["cube"][:2] = 65535
            file["cube"].attrs["_FillValue"] = np.uint16(65535)
    assert check_set(write_yaml(tmp_path, cubes="cubes/{name}.h5")).problems == ()


def test_your_own_folder(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    check = check_set(write_yaml(tmp_path))
    assert check.problems == ()
    assert check.splits["train"].unlabelled == 6 * SIZE
    assert "orchard.yaml" in check.hashes
    for path in tmp_path.glob("cubes/*.npy"):
        np.save(path, np.load(path) * 100)
    assert (
        "of the values above 0 exceed 1, but metrics take 1 for white" in check_set(write_yaml(tmp_path)).problems[0]
    )


def test_where_most_scenes_are_on_another_scale_the_others_are_right(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    for path in sorted(tmp_path.glob("cubes/*.npy"))[:4]:
        np.save(path, np.load(path).clip(0.1) * 255)
    problems = check_set(write_yaml(tmp_path)).problems
    assert sorted(line.partition(":")[0] for line in problems) == [f"tree_{index}" for index in range(4)]


@pytest.mark.parametrize(
    ("factor", "divisor", "words"),
    [
        (255, None, "tree_{}: 100% of the values above 0 exceed 1, which metrics take for white, and go up to 2"),
        (1 / 100, 100, "tree_{}: the values go up to 0.01"),  # of percent, one cube is not
    ],
)
def test_scenes_on_another_scale_are_named(tmp_path, factor, divisor, words):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    for path in tmp_path.glob("cubes/*.npy"):
        cube = np.clip(np.load(path), 0.1, None) * (divisor or 1)
        np.save(path, cube * factor if path.stem in ("tree_2", "tree_7") else cube)
    path = write_yaml(tmp_path, divisor=divisor)
    problems = sorted(check_set(path).problems)
    assert len(problems) == 2
    assert all(line.startswith(words.format(index)) for line, index in zip(problems, (2, 7), strict=True))
    assert all(line.endswith("; bring all to one scale") for line in problems)


def test_a_scene_in_two_splits_is_found_by_its_content(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    cubes = tmp_path / "cubes"
    for copy, original in ((7, 2), (9, 8)):
        np.save(cubes / f"tree_{copy}.npy", np.load(cubes / f"tree_{original}.npy").astype(np.float64))
    check = check_set(write_yaml(tmp_path, splits={"train": ["tree_[0-5]"], "test": ["tree_[6-9]"]}, background=True))
    assert check.problems == ("the cube of tree_7 in the test split is that of tree_2 in train; take it out of one",)
    assert "the cube of tree_9 in the test split is that of tree_8 in test, which counts twice" in check.notes


def test_files_that_contradict_the_wavelengths(tmp_path):
    write_cubes(tmp_path, ".h5", 5)
    write_labels(tmp_path, count=5)
    with h5py.File(tmp_path / "cubes" / "tree_3.h5", "a") as file:
        file["wavelengths"][:] = np.array(WAVELENGTHS) + 30
    problems = check_set(write_yaml(tmp_path, cubes="cubes/{name}.h5")).problems
    assert len(problems) == 1
    assert "tree_3.h5 has wavelengths of 480–730 nm but the data set 450–700 nm" in problems[0]


def test_classes_that_never_occur_are_noted(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    classes = [{"name": n, "colour": [i, i, i]} for i, n in enumerate(("soil", "moss"))]
    classes += [{"name": "leaf", "colour": "#008000"}, {"name": "fruit", "colour": "#c00000"}]
    assert check_set(write_yaml(tmp_path, classes=classes, background=True)).notes == ("no pixel is moss",)


def test_manifests(copy, tmp_path):
    manifest = tmp_path / "manifest.txt"
    check = check_set(copy)
    write_manifest(check.hashes, manifest)
    assert compare_manifest(check.hashes, manifest) == {"changed": [], "missing": [], "new": []}
    if shutil.which("sha256sum"):  # the usual tool can read it
        subprocess.run(["sha256sum", "--check", "--quiet", manifest], cwd=copy, check=True)
    np.save(copy / "visible_28/2021-11-03_002.npy", np.ones((SIZE, SIZE, 28)))
    hashes = check_set(copy).hashes
    hashes["labels/new.png"] = hashes.pop("labels/2021-11-03_001.png")
    assert compare_manifest(hashes, manifest) == {
        "changed": ["visible_28/2021-11-03_002.npy"],
        "missing": ["labels/2021-11-03_001.png"],
        "new": ["labels/new.png"],
    }
    manifest.write_text("something else\n")
    with pytest.raises(InputError, match="is not a manifest"):
        compare_manifest(hashes, manifest)


class FirstTwo(ProduceSet):
    """As much of Produce-23 as a test has time for."""

    def __len__(self):
        return 2


class Rotten(StoredProduce):
    """Stored scenes, the second with one wrong value."""

    def __init__(self, split):
        self.rendered = FirstTwo(split)
        vars(self).update(vars(self.rendered))

    def __len__(self):
        return 2

    def _read(self, index, rows, columns):
        cube, *rest = self.rendered._read(index, rows, columns)
        cube = cube.copy()
        cube[3, 4, 5] += index
        return cube, *rest


def test_produce_is_compared_with_its_frozen_hashes(monkeypatch):
    monkeypatch.setattr(dataset_check, "open_set", lambda source, split: FirstTwo(split))
    check = check_set("produce")
    assert check.problems == ()
    assert check.layout == "28 bands from 400 to 730 nm"
    assert check.splits["train"].shapes == {"28×256×256": 2}
    assert check.splits["train"].orientations == {"as the labels": 2}
    assert len(check.hashes) == 256 + 25 + 50

    monkeypatch.setattr(dataset_check, "open_set", lambda source, split: Rotten(split))
    assert check_set("produce").problems == tuple(
        f"{split}_001 is not that of the frozen benchmark; make the files again"
        for split in ("train", "validation", "test")
    )
