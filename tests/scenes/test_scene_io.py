"""Scenes: which array is taken, which axis holds the bands, on which scale."""

import h5py
import numpy as np
import pytest
import scipy.io

from crsdun.cli import main
from crsdun.errors import InputError, InputWarning
from crsdun.scenes import UNLABELLED, Scene, read_class_map, read_scene, write_scene
from crsdun.scenes.formats import write_arrays
from crsdun.scenes.labels import read_codes


def ramp(*shape):
    """Every entry different from all others, in 0..1."""
    return (np.arange(np.prod(shape)) / np.prod(shape)).reshape(shape).astype(np.float32)


# -- which axis holds the bands --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "bands", "axis"),
    [
        ((9, 8, 4), None, 2),  # the field's habit
        ((4, 8, 9), None, 0),
        ((6, 6, 20), None, 2),  # a square scene with many bands
        ((20, 6, 6), None, 0),
        ((4, 8, 9), 9, 2),  # the wavelengths know better
        ((9, 4, 8), 4, 1),
        ((4, 9, 4), 9, 1),
    ],
)
def test_the_band_axis(tmp_path, shape, bands, axis):
    array = ramp(*shape)
    np.save(tmp_path / "cube.npy", array)
    scene = read_scene(tmp_path / "cube.npy", wavelengths=bands and range(400, 400 + bands))
    np.testing.assert_array_equal(scene.cube, np.moveaxis(array, axis, 0))


@pytest.mark.parametrize("shape", [(6, 6, 6), (8, 4, 9), (4, 8, 4)])
def test_an_ambiguous_axis_is_not_guessed(tmp_path, shape):
    np.save(tmp_path / "cube.npy", ramp(*shape))
    with pytest.raises(InputError, match=r"which axis holds the bands; give the wavelengths") as caught:
        read_scene(tmp_path / "cube.npy")
    assert str(shape) in str(caught.value)


def test_wavelengths_that_fit_no_axis(tmp_path):
    np.save(tmp_path / "cube.npy", ramp(9, 8, 4))
    with pytest.raises(InputError, match="4 bands but 3 wavelengths"):
        read_scene(tmp_path / "cube.npy", wavelengths=(400, 500, 600))


def test_our_own_files_record_their_axes(tmp_path):
    scene = Scene(ramp(6, 6, 6))
    for suffix in (".npz", ".h5", ".mat", ".tif", ".hdr"):
        write_scene(scene, tmp_path / f"cube{suffix}")
        np.testing.assert_array_equal(read_scene(tmp_path / f"cube{suffix}").cube, scene.cube)


# -- scale and order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint16, 65535), (np.uint8, 255)])
def test_integers_are_scaled_by_their_type(tmp_path, dtype, largest):
    counts = np.random.default_rng(0).integers(0, largest, (6, 5, 3)).astype(dtype)
    scipy.io.savemat(tmp_path / "kaist.mat", {"img_expand": counts})
    scene = read_scene(tmp_path / "kaist.mat")
    np.testing.assert_allclose(scene.cube, np.moveaxis(counts, -1, 0) / largest, rtol=1e-6)
    assert scene.provenance["divided_by"] == largest


def test_floats_and_wide_integers(tmp_path):
    np.save(tmp_path / "bright.npy", 8.8 * ramp(6, 5, 3) ** 4)
    assert read_scene(tmp_path / "bright.npy").cube.max() > 8  # kept as distributed
    np.save(tmp_path / "wide.npy", np.ones((6, 5, 3), np.int32))
    with pytest.raises(InputError, match="int32 numbers, whose scale is unknown"):
        read_scene(tmp_path / "wide.npy")


def test_bands_come_sorted(tmp_path):
    np.save(tmp_path / "cube.npy", ramp(6, 5, 3))
    scene = read_scene(tmp_path / "cube.npy", wavelengths=(600, 400, 500))
    assert scene.wavelengths == (400, 500, 600)
    np.testing.assert_array_equal(scene.cube, np.moveaxis(ramp(6, 5, 3), -1, 0)[[1, 2, 0]])
    assert scene.provenance["bands"] == "sorted by wavelength"
    with pytest.raises(InputError, match="same wavelength"):
        read_scene(tmp_path / "cube.npy", wavelengths=(600, 400, 400))


def test_wavelengths_beside_the_cube(tmp_path):
    scipy.io.savemat(tmp_path / "cube.mat", {"img": ramp(6, 5, 3), "wavelength": np.array([[0.4], [0.5], [0.6]])})
    assert read_scene(tmp_path / "cube.mat").wavelengths == (400, 500, 600)
    np.savez(tmp_path / "weight.npz", img=ramp(6, 5, 3), **{"lambda": 0.1, "crsdun": "[1]"})
    assert read_scene(tmp_path / "weight.npz").wavelengths is None


# -- which array -----------------------------------------------------------------------------------------------


def test_the_known_name_or_the_only_cube_is_taken(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"other": ramp(6, 5, 2), "img": ramp(6, 5, 3), "mask": ramp(6, 5)})
    assert read_scene(tmp_path / "a.mat").bands == 3
    assert read_scene(tmp_path / "a.mat", key="other").bands == 2
    np.savez(tmp_path / "b.npz", a=ramp(6, 5, 2), b=ramp(6, 5, 3))
    with pytest.raises(InputError, match=r"several arrays: a \(6, 5, 2\), b \(6, 5, 3\); choose the cube with key"):
        read_scene(tmp_path / "b.npz")


def test_a_wrong_key_lists_the_right_ones(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"img": ramp(6, 5, 3), "x": ramp(2, 3)})
    with pytest.raises(InputError, match=r"no array 'cube'; it holds img \(6, 5, 3\), x \(2, 3\)"):
        read_scene(tmp_path / "a.mat", key="cube")
    with pytest.raises(InputError, match=r"holds no cube .* x \(2, 3\); it looks like a measurement"):
        read_scene(tmp_path / "a.mat", key="x")


# -- classes ---------------------------------------------------------------------------------------------------


def test_classes_from_another_file_or_another_key(tmp_path):
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    np.savez(tmp_path / "scene.npz", cube=ramp(2, 3, 1), gt=labels.astype(float))
    scipy.io.savemat(tmp_path / "labels.mat", {"some_gt": labels})
    np.testing.assert_array_equal(read_scene(tmp_path / "scene.npz", classes_key="gt").classes, labels)
    scene = read_scene(tmp_path / "scene.npz", classes=tmp_path / "labels.mat")
    np.testing.assert_array_equal(scene.classes, labels)
    assert scene.provenance["classes"] == "labels.mat"


@pytest.mark.parametrize("name", ["classes", "labels", "gt"])
def test_the_map_beside_a_cube_is_taken_by_its_name(tmp_path, name):
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    np.savez(tmp_path / "scene.npz", cube=ramp(2, 3, 4), **{name: labels.astype(float)})
    np.testing.assert_array_equal(read_scene(tmp_path / "scene.npz").classes, labels)
    scene = read_scene(tmp_path / "scene.npz", unlabelled=0)
    np.testing.assert_array_equal(scene.classes, np.where(labels == 0, UNLABELLED, labels))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_axes_of_length_1_do_not_hide_a_map(tmp_path, suffix):
    labels = np.random.default_rng(0).integers(0, 3, (13, 12))
    for stored in (labels[None], labels[..., None]):
        path, metadata = tmp_path / f"scene{suffix}", {"axes": "CHW"}
        write_arrays(path, {"cube": ramp(4, 13, 12), "gt": stored}, metadata, overwrite=True)
        for classes_key in (None, "gt"):
            scene = read_scene(path, classes_key=classes_key)
            np.testing.assert_array_equal(scene.classes, labels)
        write_arrays(path, {"gt": stored}, {}, overwrite=True)
        codes, _ = read_codes(path, {(value,): value for value in range(3)})
        np.testing.assert_array_equal(codes[..., 0], labels)


def test_a_map_that_is_named_may_lie_anywhere(tmp_path):
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    write_arrays(tmp_path / "scene.h5", {"a/cube": ramp(4, 2, 3), "b/cube": ramp(4, 2, 3), "b/gt": labels}, {})
    scene = read_scene(tmp_path / "scene.h5", key="a/cube", axes="chw", classes_key="b/gt")
    np.testing.assert_array_equal(scene.classes, labels)


def test_what_cannot_be_the_map_of_a_cube_is_said(tmp_path):
    for array, words in (
        (
            np.zeros((13, 12), int),
            r"gt in .* has 13×12 pixels but its cube 12×13, as if it were transposed, and is not taken",
        ),
        (ramp(12, 13), "gt in .* holds fractions or infinity, and is not taken for the class map"),
    ):
        np.savez(tmp_path / "scene.npz", cube=ramp(12, 13, 4), gt=array)
        with pytest.warns(InputWarning, match=words):
            assert read_scene(tmp_path / "scene.npz").classes is None
    np.savez(tmp_path / "scene.npz", cube=ramp(12, 13, 4), labels=np.arange(9)[None])  # a list
    assert read_scene(tmp_path / "scene.npz").classes is None
    with pytest.raises(InputError, match=r"scene\.npz holds no class map beside its cube; omit unlabelled"):
        read_scene(tmp_path / "scene.npz", unlabelled=0)


@pytest.mark.parametrize("odd", [-2, -9, 3, 255])
def test_labels_are_classes_or_unlabelled(tmp_path, odd):
    labels = np.array([[odd, 1, 2], [2, 1, 0]])
    write_arrays(tmp_path / "scene.npz", {"cube": ramp(4, 2, 3), "classes": labels}, {"class_names": list("abc")})
    words = rf"scene\.npz holds labels of .*set unlabelled to {odd}, if that marks an unknown class"
    with pytest.raises(InputError, match=words):
        read_scene(tmp_path / "scene.npz")
    with pytest.raises(InputError, match=words):
        read_class_map(tmp_path / "scene.npz")
    scene = read_scene(tmp_path / "scene.npz", unlabelled=odd)
    np.testing.assert_array_equal(scene.classes, [[UNLABELLED, 1, 2], [2, 1, 0]])


def test_classes_that_are_none(tmp_path):
    np.savez(tmp_path / "scene.npz", cube=ramp(2, 3, 1), gt=ramp(2, 3))
    with pytest.raises(InputError, match="holds fractions or infinity; a class map needs one integer"):
        read_scene(tmp_path / "scene.npz", classes_key="gt")
    np.save(tmp_path / "turned.npy", np.zeros((3, 2), int))
    with pytest.raises(InputError, match="transposed"):
        read_scene(tmp_path / "scene.npz", classes=tmp_path / "turned.npy")


# -- the scale of floating-point numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("white", [100, 255, 10_000])
def test_light_far_above_1_is_doubted(tmp_path, white):
    dark = ramp(6, 5, 3) > 0.3  # most of the scene may be black
    np.save(tmp_path / "cube.npy", white * ramp(6, 5, 3) * dark)
    with pytest.warns(InputWarning, match=rf"cube\.npy .*% of the values .* exceed 1.*to .* white, such as {white}$"):
        scene = read_scene(tmp_path / "cube.npy")
    assert scene.cube.max() > 0.9 * white
    assert read_scene(tmp_path / "cube.npy", divisor=white).cube.max() < 1


def test_a_few_bright_voxels_are_not(tmp_path):
    cube = ramp(6, 5, 3)
    cube[2:4, 2] = 300
    np.save(tmp_path / "cube.npy", cube)
    assert read_scene(tmp_path / "cube.npy").cube.max() == 300


def test_a_scale_that_the_file_states_is_doubted_too_but_not_what_crsdun_wrote(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = np.full((3, 6, 8), 5000, np.int16)
        file["cube"].attrs["scale_factor"] = 0.01
    with pytest.warns(InputWarning, match="exceed 1, which counts as white, up to 50;"):
        scene = read_scene(tmp_path / "cube.h5")
    write_scene(scene, tmp_path / "ours.npz")
    assert read_scene(tmp_path / "ours.npz").cube.max() == 50


@pytest.mark.filterwarnings("default::crsdun.errors.InputWarning")
def test_every_command_doubts_the_scale_in_its_own_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cube = np.moveaxis(ramp(8, 10, 3), -1, 0) * 255
    np.savez("cube.npz", cube=cube, wavelengths=np.array([450.0, 500, 550]))
    np.savez("y.npz", meas=np.ones((8, 14)), mask=np.eye(8, 10), wavelengths=np.array([450.0, 500, 550]))
    (tmp_path / "d.yaml").write_text("cubes: 'cub{name}.npz'\nwavelengths: 450-550:3\nsplits: {test: [e]}\n")
    option, key = "set --divisor to the value of white, such as 255", "set divisor in a .yaml of the data set to the"
    method = ["--iterations", "2", "--out", "o", "--overwrite"]
    for words, command in (
        (option, ["simulate", "cube.npz", "--out", "s.npz"]),
        (option, ["reconstruct", "y.npz", "--method", "lr-tv", "--truth", "cube.npz", *method]),
        (key, ["evaluate", "lr-tv", "d.yaml", *method]),
    ):
        assert main(command) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if "exceed 1" in line]
        assert len(lines) == 1
        assert words in lines[0]
    assert main(["data", "check", "d.yaml"]) == 1
    assert "of the values above 0 exceed 1" in capsys.readouterr().out
