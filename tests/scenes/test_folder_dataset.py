"""Your own data: every format of cubes and labels, valid and invalid YAML."""

import re
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import yaml
from PIL import Image

from crsdun.errors import InputError, InputWarning
from crsdun.scenes import UNLABELLED, Scene, open_arrays, open_set, read_arrays, read_scene, write_arrays, write_scene
from crsdun.scenes.dataset_check import check_set
from crsdun.scenes.file_dataset import FileDataset
from crsdun.scenes.folder_dataset import index_folder
from crsdun.scenes.formats import array_file
from crsdun.scenes.formats.array_file import LazyArray
from tests.scenes.datasets import SIZE, made_scene, write_release
from tests.scenes.examination import SetExamination

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BANDS, CLASSES = 6, 3
WAVELENGTHS = [450.0, 500.0, 550.0, 600.0, 650.0, 700.0]
COLOURS = np.array([[0, 0, 0], [0, 128, 0], [192, 0, 0], [255, 255, 255]], dtype=np.uint8)


def scene(index: int, bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """A cube (C,H,W) float32 and its classes, the last column unlabelled."""
    cube, classes = made_scene(index, bands, CLASSES)
    classes[:, -1] = UNLABELLED
    return cube.astype(np.float32), classes


def write_cubes(folder: Path, suffix: str = ".npy", count: int = 10) -> None:
    (folder / "cubes").mkdir(exist_ok=True)
    for index in range(count):
        cube = scene(index)[0]
        path = folder / "cubes" / f"tree_{index}{suffix}"
        if suffix == ".npy":
            np.save(path, np.moveaxis(cube, 0, -1))
        else:
            write_scene(Scene(cube, wavelengths=tuple(WAVELENGTHS)), path)


def write_labels(folder: Path, kind: str = "colours", count: int = 10) -> None:
    """Label maps: colours, grey values or indices with 255 for unlabelled, or arrays of 0..3 with 0 for it."""
    (folder / "labels").mkdir(exist_ok=True)
    for index in range(count):
        classes = scene(index)[1]
        path = folder / "labels" / f"tree_{index}"
        if kind == "colours":
            Image.fromarray(COLOURS[classes]).save(path.with_suffix(".png"))
        elif kind in ("grey", "indices"):
            picture = Image.fromarray(classes.astype(np.uint8))
            if kind == "indices":
                picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
            picture.save(path.with_suffix(".png"))
        elif kind == "npy":
            np.save(path, classes + 1)
        elif kind == "mat":
            scipy.io.savemat(path.with_suffix(".mat"), {"gt": (classes + 1).astype(float)})


def documented(key: str) -> str:
    """The YAML of the documentation that has a key."""
    return next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if key in text)


def write_yaml(folder: Path, **keys) -> Path:
    """The YAML of a folder of colours; None takes a key away."""
    plain = {
        "cubes": "cubes/{name}.npy",
        "labels": "labels/{name}.png",
        "wavelengths": WAVELENGTHS,
        "classes": [{"name": n, "colour": COLOURS[i].tolist()} for i, n in enumerate(("soil", "leaf", "fruit"))],
        "unlabelled": [255, 255, 255],
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
    }
    path = folder / "orchard.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (plain | keys).items() if value is not None}))
    return path


BY_VALUE = {
    "classes": [{"name": n, "value": i + 1} for i, n in enumerate(("soil", "leaf", "fruit"))],
    "unlabelled": 0,
}
BY_PLACE = {"classes": ["soil", "leaf", "fruit"], "unlabelled": 255}


def assert_scenes_are_right(scenes: FileDataset, tolerance: float = 0) -> None:
    for index, name in enumerate(scenes.names):
        cube, classes = scene(int(name.removeprefix("tree_")))
        np.testing.assert_allclose(scenes[index].cube, cube, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(scenes[index].classes, classes)


class TestFolder(SetExamination):
    @pytest.fixture
    def scenes(self, tmp_path):
        write_cubes(tmp_path)
        write_labels(tmp_path)
        return open_set(write_yaml(tmp_path), "train")

    def test_scenes_are_right(self, scenes):
        assert_scenes_are_right(scenes)
        assert scenes.class_names == ("soil", "leaf", "fruit")
        assert scenes.colours == ((0, 0, 0), (0, 128, 0), (192, 0, 0))
        assert scenes.name == "orchard train"


class TestUnlabelledFolder(SetExamination):
    @pytest.fixture
    def scenes(self, tmp_path):
        write_cubes(tmp_path, ".h5")
        keys = {"labels": None, "classes": None, "unlabelled": None, "wavelengths": None}
        return open_set(write_yaml(tmp_path, cubes="cubes/{name}.h5", **keys), "test")

    def test_there_are_no_classes(self, scenes):
        assert scenes.class_names is scenes[0].classes is None
        assert scenes.wavelengths == tuple(WAVELENGTHS)


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".hdr", ".mat", ".npz", ".tif"])
def test_any_format_of_cubes(tmp_path, suffix):
    write_cubes(tmp_path, suffix, 5)
    write_labels(tmp_path, count=5)
    scenes = open_set(write_yaml(tmp_path, cubes=f"cubes/{{name}}{suffix}", wavelengths=WAVELENGTHS), "train")
    assert_scenes_are_right(scenes)
    part = scenes.crop(0, 3, 4, 5, 6)
    np.testing.assert_array_equal(part.cube, scenes[0].cropped(3, 4, 5, 6).cube)


@pytest.mark.parametrize("kind", ["grey", "indices", "npy", "mat"])
def test_any_format_of_labels(tmp_path, kind):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, kind, 5)
    suffix = "png" if kind in ("grey", "indices") else kind
    keys = BY_PLACE if suffix == "png" else BY_VALUE
    assert_scenes_are_right(open_set(write_yaml(tmp_path, labels=f"labels/{{name}}.{suffix}", **keys), "train"))


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".mat"])
def test_labels_in_the_file_of_the_cube(tmp_path, suffix):
    for index in range(5):
        cube, classes = scene(index)
        (tmp_path / f"tree_{index}").mkdir()
        written = Scene(cube, tuple(WAVELENGTHS), classes, ("soil", "leaf", "fruit"))
        write_scene(written, tmp_path / f"tree_{index}" / f"scene{suffix}")
    keys = {"classes": ["soil", "leaf", "fruit"], "unlabelled": -1, "labels": None, "labels_key": "classes"}
    keys |= {"cubes": f"{{name}}/scene{suffix}", "wavelengths": None if suffix != ".mat" else WAVELENGTHS}
    assert_scenes_are_right(open_set(write_yaml(tmp_path, **keys), "train"))


def test_matlab_v73_bands_last_and_compressed(tmp_path):
    write_labels(tmp_path, count=5)
    (tmp_path / "cubes").mkdir()
    for index in range(5):
        path = tmp_path / "cubes" / f"tree_{index}.mat"
        write_scene(Scene(scene(index)[0], wavelengths=tuple(WAVELENGTHS)), path, mat_version="7.3")
    array = open_arrays(path).arrays["cube"]
    assert isinstance(array, LazyArray)
    assert array.shape == (SIZE, SIZE, BANDS)
    np.testing.assert_array_equal(array[2:5, :, 1:3], read_arrays(path).arrays["cube"][2:5, :, 1:3])
    assert_scenes_are_right(open_set(write_yaml(tmp_path, cubes="cubes/{name}.mat", wavelengths=None), "train"))


def test_only_the_chunks_of_a_crop_are_read(tmp_path):
    """The far chunks of the file are destroyed; a crop of the near ones does not notice, the whole does."""
    path = tmp_path / "cube.h5"
    cube = np.random.default_rng(0).random((4, 64, 64))
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=cube, chunks=(4, 16, 16), compression="gzip", fletcher32=True)
        last = file["cube"].id.get_chunk_info(15).byte_offset
    raw = bytearray(path.read_bytes())
    raw[last : last + 8] = bytes(8)
    path.write_bytes(raw)
    array = open_arrays(path).arrays["cube"]
    np.testing.assert_array_equal(array[:, 0:16, 0:32], cube[:, :16, :32])
    with pytest.raises(InputError, match=r"damaged or incomplete.*filter"):
        array[:, 0:64, 0:64]


def test_counts_are_divided(tmp_path):
    write_labels(tmp_path, count=5)
    (tmp_path / "cubes").mkdir()
    for index in range(5):
        counts = np.round(scene(index)[0].clip(0) * 10_000).astype(np.uint16)
        np.save(tmp_path / "cubes" / f"tree_{index}.npy", np.moveaxis(counts, 0, -1))
    assert_scenes_are_right(open_set(write_yaml(tmp_path, divisor=10_000), "train"), tolerance=6e-5)
    with pytest.warns(InputWarning, match=r"without their scale; set divisor in a \.yaml of the data set: 10000 for"):
        full = open_set(write_yaml(tmp_path), "train")[0]
    np.testing.assert_allclose(full.cube * 65535, np.round(full.cube * 65535), atol=2e-3)


def test_bands_come_sorted_and_resampled(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    backwards = open_set(write_yaml(tmp_path, wavelengths=WAVELENGTHS[::-1]), "train")
    assert backwards.wavelengths == tuple(WAVELENGTHS)
    cube = scene(int(backwards.names[0][-1]))[0]
    np.testing.assert_array_equal(backwards[0].cube, cube[::-1])
    between = open_set(write_yaml(tmp_path, resample=[475, 525]), "train")
    assert (between.bands, between.wavelengths) == (2, (475, 525))
    np.testing.assert_allclose(between[0].cube[0], (cube[0] + cube[1]) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"wavelengths": [450, 450, 460, 470, 480, 490]},
            "two bands of 'orchard' have the same wavelength; drop one",
        ),
        ({"wavelengths": [490, 450, 450, 470, 480, 490]}, "two bands have the same wavelength; drop one"),
        ({"resample": [500, 500]}, "two wavelengths of resample are the same; drop one"),
        ({"resample": [600, 500]}, "the wavelengths of resample do not ascend; sort them"),
        ({"resample": [500, 800]}, "'orchard' covers 450–700 nm, not 500–800 nm; choose bands inside that range"),
        (
            {"wavelengths": None, "bands": 6, "resample": [500]},
            "'orchard' has no wavelengths, .*; give them with wav",
        ),
        ({"wavelengths": None, "bands": -1}, "-1 is no number of bands"),
    ],
)
def test_bands_that_no_scene_can_have_are_refused_at_once(tmp_path, keys, message):
    write_cubes(tmp_path, count=1)
    path = write_yaml(tmp_path, labels=None, classes=None, unlabelled=None, splits={"train": 1}, **keys)
    with pytest.raises(InputError, match=message):
        check_set(path)


def test_patterns_need_not_be_in_their_normal_form(tmp_path):
    write_cubes(tmp_path, count=2)
    write_labels(tmp_path, count=2)
    keys = {"labels": "labels/./{name}.png", "splits": {"train": 1}}
    for cubes in ("./cubes/{name}.npy", "cubes//{name}.npy", "../" + tmp_path.name + "/cubes/{name}.npy"):
        assert open_set(write_yaml(tmp_path, cubes=cubes, **keys), "train").names == ("tree_0", "tree_1")


def test_a_file_states_one_wavelength_for_each_band(tmp_path):
    for index in range(3):
        wavelengths = WAVELENGTHS[: BANDS - (index == 1)]
        np.savez(tmp_path / f"tree_{index}.npz", cube=np.moveaxis(scene(index)[0], 0, -1), wavelengths=wavelengths)
    keys = {"labels": None, "classes": None, "unlabelled": None, "wavelengths": None, "splits": {"train": 1}}
    path = write_yaml(tmp_path, cubes="{name}.npz", **keys)
    assert re.search(r"tree_1\.npz has 6 bands but 5 wavelengths", "\n".join(check_set(path).problems))
    with pytest.raises(InputError, match=r"tree_1\.npz has 6 bands but 5 wavelengths; correct its list"):
        open_set(path, "train")[1]


def test_infinite_values_are_told_without_warnings_of_numpy(tmp_path):
    write_labels(tmp_path, count=1)
    (tmp_path / "cubes").mkdir()
    cube = scene(0)[0]
    cube[0, :3, :3], cube[1, 0, 0] = np.inf, -np.inf
    np.save(tmp_path / "cubes" / "tree_0.npy", np.moveaxis(cube, 0, -1))
    problems = check_set(write_yaml(tmp_path, splits={"train": 1})).problems
    assert any("infinite" in problem for problem in problems)


def test_unknown_wavelengths(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    scenes = open_set(write_yaml(tmp_path, wavelengths=None, bands=BANDS), "train")
    assert scenes.bands == BANDS
    assert scenes.wavelengths is scenes[0].wavelengths is None
    with pytest.raises(InputError, match="hold no wavelengths; give wavelengths, such as 400-700:31, or bands in"):
        open_set(write_yaml(tmp_path, wavelengths=None), "train")


def test_splits_by_name_and_pattern(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    path = write_yaml(tmp_path, splits={"train": ["tree_[0-5]"], "test": ["tree_7", "tree_9"]})
    assert open_set(path, "train").names == tuple(f"tree_{i}" for i in range(6))
    assert open_set(path, "test").names == ("tree_7", "tree_9")
    with pytest.raises(InputError, match="orchard has no validation split; it has train, test"):
        open_set(path, "validation")
    assert index_folder(path).notes[0] == "in no split: tree_6, tree_8"


def test_splits_by_shares_are_drawn_by_the_seed(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    splits = [index_folder(write_yaml(tmp_path, seed=seed)).splits for seed in (0, 0, 1)]
    names = [[files.name for files in scenes] for scenes in splits[0].values()]
    assert [len(some) for some in names] == [6, 2, 2]
    assert sorted(name for some in names for name in some) == [f"tree_{i}" for i in range(10)]
    assert splits[0] == splits[1] != splits[2]


def test_a_name_that_stands_twice_and_brackets(tmp_path):
    root = tmp_path / "run [1]"
    for index in range(3):
        (root / f"tree_{index}").mkdir(parents=True)
        np.save(root / f"tree_{index}" / f"tree_{index}.npy", np.moveaxis(scene(index)[0], 0, -1))
    np.save(root / "tree_0" / "dark.npy", np.zeros((4, 4, BANDS)))
    keys = {"labels": None, "classes": None, "unlabelled": None, "splits": {"train": 1}}
    path = write_yaml(root, cubes="{name}/{name}.npy", **keys)
    assert open_set(path, "train").names == ("tree_0", "tree_1", "tree_2")


def test_names_are_names_before_they_are_patterns(tmp_path):
    for name in ("[0]", "[1]", "0"):
        np.save(tmp_path / f"{name}.npy", np.moveaxis(scene(0)[0], 0, -1))
    keys = {"cubes": "{name}.npy", "labels": None, "classes": None, "unlabelled": None}
    path = write_yaml(tmp_path, **keys, splits={"train": ["[0]", "[1]"], "test": ["[0-9]"]})
    assert open_set(path, "train").names == ("[0]", "[1]")
    assert open_set(path, "test").names == ("0",)


def test_label_maps_beside_their_cubes_are_no_scenes(tmp_path):
    write_cubes(tmp_path, count=5)
    for index in range(5):
        np.save(tmp_path / "cubes" / f"tree_{index}_gt.npy", scene(index)[1] + 1)
    scenes = open_set(write_yaml(tmp_path, labels="cubes/{name}_gt.npy", **BY_VALUE), "train")
    assert len(scenes) == 3
    assert_scenes_are_right(scenes)


@pytest.mark.parametrize("kind", ["shares", "names"])
def test_a_split_has_a_scene(tmp_path, kind):
    write_cubes(tmp_path, count=4)
    write_labels(tmp_path, count=4)
    splits, words = {
        "shares": (
            {"train": 0.8, "validation": 0.1, "test": 0.1},
            "the test split has no scene: its share, 0.1 of 4, is too small; give it a larger one, or list its "
            "scenes",
        ),
        "names": ({"train": ["*"], "test": []}, "the test split lists no scene; list some, or leave it out"),
    }[kind]
    path = write_yaml(tmp_path, splits=splits)
    assert check_set(path).problems == (words,)
    with pytest.raises(InputError, match=words):
        open_set(path, "train")


def test_wavelengths_that_only_some_files_state_are_not_ignored(tmp_path):
    write_labels(tmp_path, count=5)
    (tmp_path / "cubes").mkdir()
    for index in range(5):
        known = {0: {}, 1: {"wavelengths": WAVELENGTHS}}.get(index, {"wavelengths": WAVELENGTHS[::-1]})
        np.savez(tmp_path / "cubes" / f"tree_{index}.npz", cube=np.moveaxis(scene(index)[0], 0, -1), **known)
    keys = {"cubes": "cubes/{name}.npz", "splits": {"train": ["tree_*"]}}
    path = write_yaml(tmp_path, **keys, wavelengths=None, bands=BANDS)
    problems = check_set(path).problems
    assert [re.findall(r"tree_\d", line) for line in problems] == [[f"tree_{index}"] for index in range(1, 5)]
    words = (
        "tree_1.npz has wavelengths of 450–700 nm, which the data set does not know; give wavelengths in its .yaml"
    )
    with pytest.raises(InputError, match=words):
        open_set(path, "train")[1]
    problems = check_set(write_yaml(tmp_path, **keys)).problems
    assert [re.findall(r"tree_\d", line) for line in problems] == [[f"tree_{index}"] for index in range(2, 5)]

    (tmp_path / "cubes" / "tree_0.npz").unlink()  # now the first file states some, and one does not
    np.savez(tmp_path / "cubes" / "tree_2.npz", cube=np.moveaxis(scene(2)[0], 0, -1))
    path = write_yaml(
        tmp_path, **keys | {"splits": {"train": ["tree_1", "tree_2"]}}, wavelengths=None, background=True
    )
    first = tmp_path / "cubes" / "tree_1.npz"
    assert f"tree_2: no wavelengths in the file; taken for those of {first}" in check_set(path).notes
    with pytest.raises(InputError, match=r"orchard\.yaml gives 7 bands, but .*tree_1\.npz 6 wavelengths"):
        open_set(write_yaml(tmp_path, **keys, wavelengths=None, bands=7), "train")


def test_the_list_of_the_data_set_goes_before_another_in_its_files(tmp_path):
    """As one of all bands of a sensor, beside cubes of some of them."""
    write_cubes(tmp_path, count=2)
    for cube in (tmp_path / "cubes").glob("*.npy"):
        np.savez(cube.with_suffix(".npz"), cube=np.load(cube), wavelengths=np.linspace(400, 1000, 31))
        cube.unlink()
    keys = {"cubes": "cubes/{name}.npz", "labels": None, "classes": None, "unlabelled": None, "splits": {"train": 1}}
    path = write_yaml(tmp_path, **keys)
    assert open_set(path, "train")[0].wavelengths == tuple(WAVELENGTHS)
    with pytest.raises(InputError, match=r"gives 6 bands, but .* 31 wavelengths"):
        open_set(write_yaml(tmp_path, wavelengths=None, bands=len(WAVELENGTHS), **keys), "train")


def test_the_wavelengths_of_the_cube_that_is_taken(tmp_path):
    """Of a file with several cameras."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for camera, bands in (("vnir", BANDS), ("swir", 4)):
            file[f"{camera}/cube"] = np.moveaxis(scene(0)[0][:bands], 0, -1)
            file[f"{camera}/wavelengths"] = np.array(WAVELENGTHS[:bands])
    keys = {"labels": None, "classes": None, "unlabelled": None, "wavelengths": None, "splits": {"test": ["a"]}}
    scenes = open_set(write_yaml(tmp_path, cubes="{name}.h5", cube_key="vnir/cube", **keys), "test")
    assert scenes.wavelengths == tuple(WAVELENGTHS)


def test_a_cube_that_its_name_tells_from_others_needs_no_key(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["vnir/cube"] = np.moveaxis(scene(0)[0], 0, -1)
        file["vnir/wavelengths"] = np.array(WAVELENGTHS)
        file["swir/spare"] = np.zeros((SIZE, SIZE, 4))
        file["swir/wavelengths"] = np.array(WAVELENGTHS[:4]) + 900
    keys = {"labels": None, "classes": None, "unlabelled": None, "wavelengths": None, "splits": {"test": ["a"]}}
    scenes = open_set(write_yaml(tmp_path, cubes="{name}.h5", **keys), "test")
    assert scenes.wavelengths == read_scene(tmp_path / "a.h5").wavelengths == tuple(WAVELENGTHS)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_label_maps_that_stay_in_their_store(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "LARGE_PICTURE", 0)
    write_cubes(tmp_path, count=5)
    for index in range(5):
        write_arrays(tmp_path / f"labels/tree_{index}.zarr", {"classes": scene(index)[1] + 1}, {})
    path = write_yaml(tmp_path, labels="labels/{name}.zarr", **BY_VALUE)
    assert_scenes_are_right(open_set(path, "train"))
    assert check_set(path).splits["train"].labels == {".zarr, every pixel known": 3}


def test_each_scene_on_another_scale_is_said_once(tmp_path):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    for index in (4, 7):
        path = tmp_path / "cubes" / f"tree_{index}.npy"
        np.save(path, np.load(path) * 255)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scenes = open_set(write_yaml(tmp_path, splits={"test": ["tree_*"]}), "test")
        for _ in range(2):
            for index in range(len(scenes)):
                scenes[index]
                scenes.crop(index, 0, 0, 8, 8)
    lines = sorted(str(each.message) for each in told)
    assert [re.findall(r"tree_\d", line) for line in lines] == [["tree_4"], ["tree_7"]]
    assert "of the values above 0 exceed 1, which counts as white" in lines[0]
    assert lines[0].endswith("; bring it to the scale of the other scenes")


def test_transposed_cubes(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    for path in tmp_path.glob("cubes/*.npy"):
        np.save(path, np.swapaxes(np.load(path), 0, 1))
    assert_scenes_are_right(open_set(write_yaml(tmp_path, transpose=True), "train"))
    with pytest.warns(UserWarning, match="as if the cubes were transposed"):
        open_set(write_yaml(tmp_path), "train")


def test_fvgnet_with_settings(tmp_path):
    write_release(tmp_path / "downloads" / "fvgnet")
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "fvgnet.yaml"
    text = documented("fvgnet:")
    path.write_text(text)
    assert len(open_set(path, "validation")) == 1
    path.write_text(text.replace("0.1", "0.3"))
    assert len(open_set(path, "validation")) == 3
    path.write_text("fvgnet: copy\ncubes: x\n")
    with pytest.raises(
        InputError, match=r"fvgnet\.yaml: there is no key cubes; the keys are fvgnet, validation, seed"
    ):
        open_set(path, "train")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lables": "x"}, r"orchard.yaml: there is no key lables; did you mean labels"),
        ({"cubes": None}, r"orchard.yaml: it lacks cubes; expected a pattern such as cubes/\{name\}.npy"),
        ({"cubes": "cubes/*.npy"}, r"cubes cannot be 'cubes/\*.npy'; expected a pattern such as"),
        ({"cubes": "cube/{name}.npy"}, r"no file matches .*cube/\{name\}.npy; correct cubes in"),
        ({"labels": "label/{name}.png"}, r"tree_. has no label map .*tree_..png; .* \(9 more: crsdun data"),
        ({"classes": None}, "gives labels but no classes"),
        ({"labels": None}, r"gives classes but no labels; expected a pattern such as labels/\{name\}"),
        ({"classes": ["soil", "soil"]}, "two classes have the same name"),
        ({"classes": ["soil", "Soil"]}, "two classes have the same name"),
        (
            {"classes": [{"nme": "soil"}]},
            "classes cannot be .*; expected a list of different names.*there is no key nme",
        ),
        ({"classes": ["soil", {"name": "leaf", "colour": [0, 1, 2]}]}, "some classes a colour but not 'soil'"),
        (
            {"classes": [{"name": "leaf", "colour": [0, 1, 256]}]},
            "colour cannot be .0, 1, 256.; expected a colour",
        ),
        ({"classes": [{"name": n, "colour": "#00ff00"} for n in "ab"]}, r"\(0, 255, 0\) stands for 'a' and for 'b'"),
        ({"classes": ["soil"], "unlabelled": 0}, "0 stands for 'soil' and for 'unlabelled'; give each class"),
        ({"classes": ["soil", "leaf", "fruit"], "unlabelled": 9}, "holds a colour per pixel, but the classes are"),
        ({"splits": {"train": 0.9, "test": 0.2}}, "shares add up to more than 1"),
        ({"splits": {"training": 0.9}}, "expected train, validation and test, each"),
        ({"splits": {"train": ["tree_77"]}}, "the train split lists 'tree_77', but no cube has that name"),
        ({"splits": {"train": ["tree_*"], "test": ["tree_2"]}}, "tree_2 is in the train and in the test split"),
        ({"splits": {"train": [7]}}, "in quotes"),
        ({"wavelengths": "0.4-0.7:6"}, "if they are micrometres"),
        ({"wavelengths": [400, 500]}, "6 bands where 2 were expected"),
        ({"divisor": 0}, "expected a number above 0"),
        ({"transpose": "yes"}, "transpose takes true or false, not 'yes'"),
        ({"seed": 0.5}, "seed takes a whole number, not 0.5"),
    ],
)
def test_invalid_yaml_values(tmp_path, keys, message):
    write_cubes(tmp_path)
    write_labels(tmp_path)
    with pytest.raises(InputError, match=message) as refused:
        open_set(write_yaml(tmp_path, **keys), "train")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cubes: [", "is not valid YAML"),
        ("just words", "holds no keys"),
        ("!!python/object:os.system {}", "is not valid YAML"),
    ],
)
def test_what_is_not_yaml(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        open_set(tmp_path / "a.yaml", "train")


@pytest.mark.parametrize(
    ("cube", "pattern", "files"),
    [
        ("s0.hdr", "{name}.hdr", "s0.hdr s0.img"),
        ("s0.hdr", "{name}.img", "s0.hdr s0.img"),
        ("out/s0/cube.npz", "out/{name}", "out/s0/cube.npz"),
        ("s0.zarr", "{name}.zarr", "s0.zarr/zarr.json s0.zarr/image/zarr.json s0.zarr/image/c/0/0/0"),
    ],
)
def test_every_file_that_holds_a_part_of_a_scene_has_a_hash(tmp_path, cube, pattern, files):
    if cube.endswith("zarr"):
        pytest.importorskip("zarr")
    (tmp_path / cube).parent.mkdir(parents=True, exist_ok=True)
    write_arrays(tmp_path / cube, {"image": scene(0)[0]}, {})
    if cube.startswith("out"):
        (tmp_path / "out/s0/record.json").write_text("{}")
    (tmp_path / "d.yaml").write_text(f"cubes: '{pattern}'\nbands: 6\nsplits: {{test: [s0]}}\n")
    assert sorted(open_set(tmp_path / "d.yaml", "test").hashes()) == sorted(["d.yaml", *files.split()])


def test_label_maps_that_do_not_fit(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    scenes = open_set(write_yaml(tmp_path), "train")
    labels = scenes.scenes[0].labels
    Image.fromarray(COLOURS[scene(0)[1]][:, :20]).save(labels)
    with pytest.raises(InputError, match="has 32×20 pixels but its cube 32×32; replace"):
        scenes.crop(0, 0, 0, 4, 4)
    np.save(labels.with_suffix(".npy"), np.full((32, 32), 0.5))
    labels.with_suffix(".npy").rename(labels)
    with pytest.raises(InputError, match="fractions"):
        scenes.crop(0, 0, 0, 4, 4)


def test_the_yaml_of_the_documentation(tmp_path):
    """As a reader would: save it, lay files where it keys, open the splits."""
    (tmp_path / "orchard.yaml").write_text(documented("cubes:"))
    for folder in ("cubes", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(10):
        cube, classes = scene(index, 26)
        np.save(tmp_path / "cubes" / f"tree_{index}.npy", np.moveaxis(cube, 0, -1))
        Image.fromarray(COLOURS[classes]).save(tmp_path / "labels" / f"tree_{index}.png")
    sizes = [len(open_set(tmp_path / "orchard.yaml", split)) for split in ("train", "validation", "test")]
    assert sizes == [7, 1, 2]
    np.testing.assert_array_equal(open_set(tmp_path / "orchard.yaml", "validation")[0].classes.min(), UNLABELLED)
