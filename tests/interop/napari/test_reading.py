"""Files and folders as layers, opened by the real napari."""

import numpy as np
import pytest
from PIL import Image

import crsdun
from crsdun.errors import InputError
from crsdun.interop.napari.reading import get_reader
from crsdun.optics import nbk7_wavelengths
from crsdun.runtime import write_data
from crsdun.scenes import Measurement, Outline, Scene, write_arrays, write_measurement, write_scene
from crsdun.scenes.series import SERIES
from crsdun.viewing import class_colours, class_picture, picture
from tests.interop.napari.conftest import settle
from tests.interop.napari.made import BANDS, CLASS_NAMES, H, W, made_measurement, made_scene


def opened(viewer, path):
    return {layer.name: layer for layer in viewer.open(path, plugin="crsdun")}


def test_a_scene_is_its_cube_picture_and_classes(viewer, tmp_path):
    scene = made_scene()
    write_scene(scene, tmp_path / "patch.npz")
    layers = opened(viewer, tmp_path / "patch.npz")
    assert list(layers) == ["cube: patch", "picture: patch", "classes: patch"]
    cube, image, classes = layers.values()
    assert np.array_equal(cube.data, scene.cube)
    assert cube.axis_labels == ("wavelength", "y", "x")
    assert cube.metadata["wavelengths_nm"] == scene.wavelengths == nbk7_wavelengths()
    assert cube.contrast_limits[0] == 0
    assert 0.8 < cube.contrast_limits[1] <= scene.cube.max()
    assert image.rgb
    assert np.array_equal(image.data, picture(scene)[0])
    assert tuple(image.scale) == (1, 1)
    assert (cube.visible, image.visible, classes.visible) == (True, True, False)
    assert viewer.dims.axis_labels == ("wavelength", "y", "x")


def test_classes_have_their_numbers_names_and_colours(viewer, tmp_path):
    scene = made_scene()
    write_scene(scene, tmp_path / "patch.h5")
    classes = opened(viewer, tmp_path / "patch.h5")["classes: patch"]
    assert np.array_equal(classes.data, scene.classes)
    assert np.allclose(classes.get_color(1), [*class_colours(3)[1] / 255, 1], atol=1e-6)
    names = dict(zip(classes.features["index"], classes.features["class"], strict=True))
    assert names == {-1: "unlabelled", **dict(enumerate(CLASS_NAMES))}
    for layer in viewer.layers:
        layer.visible = layer is classes
    row, column = np.argwhere(scene.classes == 2)[0]
    assert "class: fruit" in classes.get_status((0, row, column))["coordinates"]
    classes.opacity = 1
    viewer.reset_view()
    settle()
    shown = {tuple(colour) for colour in viewer.screenshot(canvas_only=True, flash=False)[..., :3].reshape(-1, 3)}
    assert {tuple(colour) for colour in class_picture(scene.classes).reshape(-1, 3)} <= shown


def test_a_measurement_keeps_what_its_file_tells_of_the_camera(viewer, tmp_path):
    measurement = made_measurement()
    write_measurement(measurement, tmp_path / "y.npz")
    (layer,) = opened(viewer, tmp_path / "y.npz").values()
    assert layer.name == "measurement: patch"
    assert np.array_equal(layer.data, measurement.frame)
    known = layer.metadata["crsdun"]
    assert isinstance(known, Measurement)
    assert np.array_equal(known.mask, measurement.mask)
    assert (known.wavelengths, known.step) == (measurement.wavelengths, 2)


def test_a_scene_and_its_measurement_in_one_file(viewer, tmp_path):
    arrays = {"truth": made_scene().cube, "meas": made_measurement().frame, "mask": made_measurement().mask}
    write_arrays(tmp_path / "both.mat", arrays, {})
    assert list(opened(viewer, tmp_path / "both.mat")) == ["measurement: both", "cube: both", "picture: both"]


def test_a_folder_of_results_is_all_of_it(viewer, tmp_path):
    scene, measurement = made_scene(), made_measurement()
    result = crsdun.reconstruct(measurement, method="crsdun_tiny", truth=scene)
    (tmp_path / "result").mkdir()
    write_data(result, tmp_path / "result")
    layers = opened(viewer, tmp_path / "result")
    assert list(layers) == [
        "measurement: patch", "cube (truth): patch", "picture (truth): patch",  # whose classes are others
        "cube (crsdun_tiny): patch", "picture (crsdun_tiny): patch", "classes (crsdun_tiny): patch",
        "confidence (crsdun_tiny): patch",
    ]  # fmt: skip
    cube = layers["cube (crsdun_tiny): patch"]
    assert np.array_equal(cube.data, result.scene.cube)
    assert cube.metadata["metrics"]["psnr_db"] == pytest.approx(result.metrics["psnr_db"])
    assert np.array_equal(layers["classes (crsdun_tiny): patch"].data, result.classes)
    assert np.array_equal(layers["confidence (crsdun_tiny): patch"].data, result.doubt.confidence)
    assert [name for name, layer in layers.items() if layer.visible] == [cube.name, "picture (crsdun_tiny): patch"]


@pytest.mark.parametrize("suffix", sorted(SERIES))
def test_a_series_is_read_scene_by_scene(viewer, tmp_path, suffix):
    if suffix == "zarr":
        pytest.importorskip("zarr", reason="needs the extra zarr")
    scenes = [Scene(made_scene().cube * shade, nbk7_wavelengths(), made_scene().classes) for shade in (0.5, 1.0)]
    writer = SERIES[suffix](tmp_path / f"frames.{suffix}")
    writer.create(Outline(2, 10.0, scenes[0], "frames"))
    for index, scene in enumerate(scenes):
        writer.write(index, scene)
    cubes, classes = opened(viewer, tmp_path / f"frames.{suffix}").values()
    assert cubes.data.shape == (2, BANDS, H, W)
    assert not isinstance(cubes.data, np.ndarray)
    assert viewer.dims.axis_labels == ("time", "wavelength", "y", "x")
    assert np.array_equal(np.asarray(cubes.data[1, 3]), scenes[1].cube[3])
    assert np.array_equal(np.asarray(classes.data[1, 7]), scenes[1].classes)


def test_exposures_are_a_stack(viewer, tmp_path):
    frame = made_measurement().frame
    write_arrays(tmp_path / "meas.mat", {"meas": np.stack([frame, 2 * frame])}, {})
    np.save(tmp_path / "mask.npy", made_measurement().mask)
    (layer,) = opened(viewer, tmp_path / "meas.mat").values()
    assert layer.name == "measurements: meas"
    assert layer.data.shape == (2, *frame.shape)
    assert viewer.dims.axis_labels[0] == "exposure"


def test_a_mask_and_a_class_map_alone(viewer, tmp_path):
    np.save(tmp_path / "mask.npy", made_measurement().mask)
    np.save(tmp_path / "classes.npy", made_scene().classes.T)
    assert list(opened(viewer, tmp_path / "mask.npy")) == ["mask: mask"]
    (classes,) = opened(viewer, tmp_path / "classes.npy").values()
    assert (classes.name, classes.data[0, 0], classes.data.max()) == ("classes: classes", -1, 2)


def test_a_folder_with_a_picture_for_each_band(viewer, tmp_path):
    for nm in (450, 550, 650):
        Image.fromarray(np.full((8, 8), nm - 400, np.uint8)).save(tmp_path / f"{nm}nm.png")
    cube, *_ = opened(viewer, tmp_path).values()
    assert cube.metadata["wavelengths_nm"] == (450, 550, 650)


def test_what_cannot_be_read_is_said_in_the_words_of_the_plugin(viewer, tmp_path):
    counts = np.zeros((6, 8, 3), np.uint16)
    counts[1, 2] = 1000
    write_arrays(tmp_path / "counts.mat", {"cube": counts.transpose(2, 0, 1)}, {})
    with pytest.raises(InputError) as caught:
        viewer.open(tmp_path / "counts.mat", plugin="crsdun")
    # napari shows the message, and no remedy.
    assert "set the divisor of crsdun.scenes.read_scene: 10000 for reflectances" in caught.value.message
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"half\.npz"):
        viewer.open(tmp_path / "half.npz", plugin="crsdun")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        viewer.open(tmp_path / "empty", plugin="crsdun")
    assert len(viewer.layers) == 0


def test_several_files_at_once_are_left_to_others():
    assert get_reader(["a.npz", "b.npz"]) is None


def test_the_sample_is_a_measurement_and_its_scene(viewer):
    layers = viewer.open_sample("crsdun", "produce")
    assert [layer.name for layer in layers if layer.visible] == ["measurement: test_000"]
    assert len(layers) == 4
