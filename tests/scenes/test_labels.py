"""What label numbers mean: found out where a file or a list says it, asked for where not, and said."""

import json
import zlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from crsdun import cli
from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, Scene, describe, open_set, read_scene, write_scene
from crsdun.scenes.dataset_check import check_set
from crsdun.scenes.labels import read_legend
from tests.scenes.datasets import SIZE, made_scene
from tests.scenes.test_folder_dataset import COLOURS, write_cubes, write_labels, write_yaml

TAKEN = (
    "is taken for the background, which mIoU leaves out; if it is a class like the others, set background to false"
)
EMPTY = "there is no background: class 0 is empty, and all others count"


@pytest.mark.parametrize(
    ("given", "background", "names", "numbers", "notes"),
    [
        (["soil", "leaf"], None, ("soil", "leaf"), (0, 1), [f"'soil' {TAKEN}"]),
        (["soil", "leaf"], True, ("soil", "leaf"), (0, 1), []),
        (["soil", "leaf"], False, ("background", "soil", "leaf"), (1, 2), [EMPTY]),
        (["background", "leaf"], None, ("background", "leaf"), (0, 1), []),
        (
            ["Unclassified", "oak", "elm"],
            None,
            ("background", "oak", "elm"),
            (-1, 1, 2),
            ["'Unclassified' stands for no class: such pixels are unlabelled", EMPTY],
        ),
        (
            ["not_labelled", "background", "oak"],
            None,
            ("background", "oak"),
            (-1, 0, 1),
            ["'not_labelled' stands for no class: such pixels are unlabelled"],
        ),
        (
            ["unlabeled", "oak", "background"],
            None,
            ("background", "oak"),
            (-1, 1, 0),
            ["'unlabeled' stands for no class: such pixels are unlabelled"],
        ),
        (
            ["background", "oak", "Unlabelled"],
            None,
            ("background", "oak"),
            (0, 1, -1),
            ["'Unlabelled' stands for no class: such pixels are unlabelled"],
        ),
        (["leaf", "background", "fruit"], None, ("background", "leaf", "fruit"), (1, 0, 2), []),
        (["leaf", "Background", "fruit"], True, ("Background", "leaf", "fruit"), (1, 0, 2), []),
        (
            ["Unclassified"],
            None,
            ("background",),
            (-1,),
            ["'Unclassified' stands for no class: such pixels are unlabelled", EMPTY],
        ),
    ],
)
def test_legends(given, background, names, numbers, notes):
    legend = read_legend(given, background)
    assert (legend.names, legend.numbers, list(legend.notes)) == (names, numbers, notes)


def test_a_background_is_present_or_not():
    with pytest.raises(InputError, match="there is no background, but a class is called 'background'"):
        read_legend(["background", "oak"], background=False)
    with pytest.raises(InputError, match="but a class is called 'Background'"):
        read_legend(["oak", "Background"], background=False)


# -- one scene -------------------------------------------------------------------------------------------------

LABELS = np.array([[0, 1, 2, 2], [1, 1, 0, 2]])
CUBE = np.random.default_rng(0).random((3, 2, 4)).astype(np.float32)


def write_classification(path, labels, names):
    labels.astype(np.uint8).tofile(path.with_suffix(".img"))
    path.write_text(
        f"ENVI\nsamples = {labels.shape[1]}\nlines = {labels.shape[0]}\nbands = 1\ndata type = 1\ninterleave = bsq\n"
        f"file type = ENVI Classification\nclasses = {len(names)}\nclass names = {{{', '.join(names)}}}\n"
    )
    return path


def test_envi_says_what_is_unclassified(tmp_path):
    write_scene(Scene(CUBE), tmp_path / "cube.npz")
    gt = write_classification(tmp_path / "gt.hdr", LABELS, ["Unclassified", "oak", "elm"])
    scene = read_scene(tmp_path / "cube.npz", classes=gt)
    assert scene.class_names == ("background", "oak", "elm")
    np.testing.assert_array_equal(scene.classes, np.where(LABELS == 0, UNLABELLED, LABELS))
    gt = write_classification(tmp_path / "gt.hdr", LABELS, ["Unclassified", "oak"])
    with pytest.raises(InputError, match=r"gt.hdr holds labels of 0 to 2 but 2 class names"):
        read_scene(tmp_path / "cube.npz", classes=gt)


def test_what_a_file_does_not_say_can_be_said(tmp_path):
    scipy.io.savemat(tmp_path / "gt.mat", {"some_gt": LABELS})
    write_scene(Scene(CUBE), tmp_path / "cube.npz")
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.npz", classes=tmp_path / "gt.mat").classes, LABELS)
    scene = read_scene(tmp_path / "cube.npz", classes=tmp_path / "gt.mat", unlabelled=0)
    np.testing.assert_array_equal(scene.classes, np.where(LABELS == 0, UNLABELLED, LABELS))


def test_our_own_files_come_back_as_they_were(tmp_path):
    scene = Scene(CUBE, classes=np.where(LABELS == 0, UNLABELLED, LABELS), class_names=("soil", "oak", "elm"))
    write_scene(scene, tmp_path / "scene.npz")
    back = read_scene(tmp_path / "scene.npz")
    assert back.class_names == scene.class_names
    np.testing.assert_array_equal(back.classes, scene.classes)


def test_info_says_what_labels_mean(tmp_path, capsys):
    gt = write_classification(tmp_path / "gt.hdr", LABELS, ["Unclassified", "oak", "elm"])
    assert describe(gt).label_notes == (
        "labels stand for 0 Unclassified, 1 oak, 2 elm",
        "'Unclassified' stands for no class: such pixels are unlabelled",
        EMPTY,
    )
    assert cli.main(["info", str(gt)]) == 0
    assert "such pixels are unlabelled" in capsys.readouterr().out
    np.savez(tmp_path / "gt.npz", gt=LABELS)
    assert cli.main(["info", str(tmp_path / "gt.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label_notes"] == [
        "gt holds labels of 0 to 2 without names: 0 is taken for the background; if it marks an unknown class, set "
        "unlabelled to 0"
    ]
    np.savez(tmp_path / "cube.npz", cube=CUBE)
    assert describe(tmp_path / "cube.npz").label_notes == ()


# -- folders ---------------------------------------------------------------------------------------------------


def write_folder(folder, **keys):
    """Five scenes with label maps of 0..3, 0 unlabelled, in .npy."""
    write_cubes(folder, count=5)
    write_labels(folder, "npy", 5)
    return write_yaml(folder, **{"labels": "labels/{name}.npy", "unlabelled": None, "background": None, **keys})


def classes_of(index):
    """0, 1, 2 and −1."""
    classes = made_scene(index, 1, 3)[1]
    classes[:, -1] = UNLABELLED
    return classes


def test_a_class_called_unclassified_is_none(tmp_path):
    path = write_folder(tmp_path, classes=["Unclassified", "soil", "leaf", "fruit"])
    scenes = open_set(path, "train")
    assert scenes.class_names == ("background", "soil", "leaf", "fruit")
    for index, name in enumerate(scenes.names):
        stored = classes_of(int(name[-1])) + 1
        np.testing.assert_array_equal(scenes[index].classes, np.where(stored == 0, UNLABELLED, stored))
    check = check_set(path)
    assert check.notes == ("'Unclassified' stands for no class: such pixels are unlabelled", EMPTY)
    assert check.splits["train"].unlabelled == 3 * SIZE
    assert check.splits["train"].pixels["background"] == 0


def test_no_class_is_the_background(tmp_path):
    classes = [{"name": n, "value": i + 1} for i, n in enumerate(("soil", "leaf", "fruit"))]
    taken = open_set(path := write_folder(tmp_path, classes=classes, unlabelled=0), "train")
    assert taken.class_names == ("soil", "leaf", "fruit")
    assert check_set(path).notes == (f"'soil' {TAKEN}",)
    told = open_set(path := write_yaml(path.parent, **NPY, classes=classes, unlabelled=0, background=False), "train")
    assert told.class_names == ("background", "soil", "leaf", "fruit")
    known = taken[0].classes != UNLABELLED
    np.testing.assert_array_equal(told[0].classes[known], taken[0].classes[known] + 1)
    assert check_set(path).notes == (EMPTY,)


NPY = {"labels": "labels/{name}.npy"}


def test_what_is_called_background_is_class_0(tmp_path):
    path = write_folder(tmp_path, classes=["leaf", "background", "fruit"], unlabelled=3, background=True)
    scenes = open_set(path, "train")
    assert scenes.class_names == ("background", "leaf", "fruit")
    for index, name in enumerate(scenes.names):
        stored = classes_of(int(name[-1])) + 1  # 0 leaf, 1 background, 2 fruit and 0 once more
        np.testing.assert_array_equal(scenes[index].classes, np.array([1, 0, 2, UNLABELLED])[stored])


def test_a_background_that_is_added_has_a_colour_of_its_own(tmp_path):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, count=5)
    scenes = open_set(write_yaml(tmp_path, background=False), "train")  # soil is black already
    assert scenes.colours == ((1, 1, 1), *(tuple(map(int, colour)) for colour in COLOURS[:3]))
    classes = [{"name": n, "colour": COLOURS[i].tolist()} for i, n in enumerate(("background", "leaf", "fruit"))]
    path = write_yaml(tmp_path, classes=classes, background=False)
    with pytest.raises(
        InputError, match=r"orchard\.yaml: there is no background, but a class is called 'background'"
    ):
        open_set(path, "train")


def test_a_value_that_nothing_says_is_asked_for(tmp_path):
    path = write_folder(tmp_path, classes=["soil", "leaf", "fruit"])
    words = "unknown value 3 .*; correct the map or its classes, or set unlabelled to it in the .yaml"
    with pytest.raises(InputError, match=words):
        [open_set(path, "train")[index] for index in range(3)]
    assert any("unknown value 3" in line for line in check_set(path).problems)


def write_named(folder, names):
    write_cubes(folder, count=5)
    (folder / "labels").mkdir(exist_ok=True)
    for index in range(5):
        write_classification(folder / "labels" / f"tree_{index}.hdr", classes_of(index) + 1, names)


def test_names_in_label_maps_are_those_of_the_data_set(tmp_path):
    write_named(tmp_path, ["Unclassified", "soil", "Leaf ", "fruit"])
    by_value = [{"name": n, "value": i + 1} for i, n in enumerate(("soil", "leaf", "fruit"))]
    keys = {"labels": "labels/{name}.hdr", "unlabelled": None, "background": True}
    path = write_yaml(tmp_path, **keys, classes=by_value)  # says nothing of 0, but the files do
    scenes = open_set(path, "train")
    np.testing.assert_array_equal(scenes[0].classes, classes_of(int(scenes.names[0][-1])))
    assert check_set(path).problems == ()

    path = write_yaml(
        tmp_path, **keys, classes=[by_value[0], *({**e, "value": 5 - e["value"]} for e in by_value[1:])]
    )
    with pytest.raises(
        InputError, match=r"hdr calls 2 'Leaf' but the data set 'fruit'; list the classes in the order"
    ):
        [open_set(path, "train")[index] for index in range(3)]
    path = write_yaml(tmp_path, **keys, classes=["ground", "soil", "leaf", "fruit"])
    with pytest.raises(InputError, match="calls 0 'Unclassified' but the data set 'ground'; set unlabelled to 0"):
        open_set(path, "train")
    assert len(check_set(path).problems) == 5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_first_palette_need_not_be_in_the_first_map(tmp_path, suffix):
    write_cubes(tmp_path, count=5)
    write_labels(tmp_path, "grey", 5)
    for index in range(5):
        path = tmp_path / "labels" / f"tree_{index}.png"
        picture = Image.open(path)
        if (colours := PALETTES.get(index)) is not None:
            indices, picture = np.asarray(picture), picture.convert("P")
            picture.putdata(indices.ravel().tolist())
            picture.putpalette(colours + [9] * (768 - 9))
        picture.save(path.with_suffix(f".{suffix}"))
    labels = f"labels/{{name}}.{suffix}"
    path = write_yaml(tmp_path, labels=labels, classes=["soil", "leaf", "fruit"], unlabelled=255, background=True)
    problems = check_set(path).problems
    assert len(problems) == 1
    assert (
        f"tree_4.{suffix} shows 1 as the colour (0, 255, 0) but other maps of the data set as (255, 0, 0)"
        in problems[0]
    )


PALETTES = {1: [0, 0, 0, 255, 0, 0, 0, 255, 0], 4: [0, 0, 0, 0, 255, 0, 255, 0, 0]}

# -- pictures in shades of grey ----------------------------------------------------------------------------------


def write_shades(folder, shades, suffix="png", bits=8):
    """Label maps of 0..2 as these shades, 255 unlabelled, with as many bits."""
    write_cubes(folder, count=5)
    (folder / "labels").mkdir(exist_ok=True)
    for index in range(5):
        picture = np.array([*shades, 255], np.uint8)[classes_of(index)]
        if suffix == "png" and bits < 8:
            (folder / "labels" / f"tree_{index}.png").write_bytes(png_of(picture // (255 // (2**bits - 1)), bits))
        else:
            Image.fromarray(picture).save(folder / "labels" / f"tree_{index}.{suffix}")


def png_of(samples, bits):
    """A PNG in shades of grey with less than 8 bits, as tools that make files small write it."""

    def chunk(name, content):
        return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

    H, W = samples.shape
    lines = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :].reshape(H, -1)
    packed = b"".join(b"\0" + line.tobytes() for line in np.packbits(lines, axis=1))
    head = W.to_bytes(4) + H.to_bytes(4) + bytes((bits, 0, 0, 0, 0))
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("shades", "suffix", "bits"),
    [((0, 2, 1), "png", 8), ((0, 2, 1), "tif", 8), ((0, 128, 254), "png", 8), ((170, 0, 85), "png", 2)],
)
@pytest.mark.parametrize("unlabelled", [255, [255, 255, 255]])
def test_shades_of_grey_are_colours_where_all_classes_have_some(tmp_path, shades, suffix, bits, unlabelled):
    write_shades(tmp_path, shades, suffix, bits)
    classes = [{"name": n, "colour": [s] * 3} for n, s in zip(("soil", "leaf", "fruit"), shades, strict=True)]
    keys = {"labels": f"labels/{{name}}.{suffix}", "classes": classes, "unlabelled": unlabelled, "background": True}
    path = write_yaml(tmp_path, **keys)
    assert check_set(path).problems == ()
    scenes = open_set(path, "train")
    for index, name in enumerate(scenes.names):
        np.testing.assert_array_equal(scenes[index].classes, classes_of(int(name[-1])))
    write_labels(tmp_path, "npy", 5)  # of arrays, 0..3 are numbers
    path = write_yaml(tmp_path, **(keys | {"labels": "labels/{name}.npy", "unlabelled": 3}))
    counts = check_set(path).splits["train"].pixels
    assert counts["leaf"] == sum(int((classes_of(int(name[-1])) == 0).sum()) for name in scenes.names)


def test_shades_of_grey_that_could_be_colours_or_numbers_are_refused(tmp_path):
    write_shades(tmp_path, (1, 0, 2))
    classes = [
        {"name": n, "colour": c} for n, c in (("leaf", [0, 128, 0]), ("soil", [0] * 3), ("fruit", [192, 0, 0]))
    ]
    keys = {"classes": classes, "unlabelled": 255, "background": True}
    np.testing.assert_array_equal(  # green is no shade: these are numbers
        open_set(write_yaml(tmp_path, **keys), "train")[0].classes,
        np.array([1, 0, 2, UNLABELLED])[
            classes_of(int(open_set(write_yaml(tmp_path, **keys), "train").names[0][-1]))
        ],
    )
    for path in (tmp_path / "labels").iterdir():
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(path)
    problems = check_set(write_yaml(tmp_path, **keys)).problems
    assert len(problems) == 5
    assert "in shades of grey, which are the colours of some classes and the numbers of others; save" in problems[0]
