"""The scene type refuses what does not fit together, and crops and resamples it whole."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, Scene

CUBE = np.linspace(0, 1, 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"cube": CUBE[0]}, "shape"),
        ({"cube": np.full((3, 4, 5), -np.inf)}, "60 infinite values; put NaN where there is no data"),
        ({"cube": CUBE * 1j}, "complex numbers"),
        ({"wavelengths": (400, 500)}, "3 bands but 2 wavelengths"),
        ({"wavelengths": (400, 600, 500)}, "do not ascend"),
        ({"wavelengths": (400, float("nan"), 500)}, "positive numbers of nanometres"),
        ({"classes": np.zeros((5, 4), int)}, "transposed"),
        ({"classes": np.zeros((4, 5))}, "integers"),
        ({"classes": np.full((4, 5), -2)}, "labels of -2 to -2, and below 0 only −1 means something"),
        ({"classes": np.full((4, 5), 2), "class_names": ("a", "b")}, "labels of 2 to 2 but 2 class names"),
    ],
)
def test_what_does_not_fit_is_refused(details, expected):
    with pytest.raises(InputError, match=expected):
        Scene(**{"cube": CUBE, **details})


def test_lists_are_arrays():
    scene = Scene(CUBE.tolist(), classes=np.ones((4, 5), int).tolist())
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.classes.shape == (4, 5)


def test_what_is_masked_is_no_data():
    cube = np.ma.masked_equal(np.where(CUBE > 0.9, -9999, CUBE), -9999)
    classes = np.ma.masked_equal(np.full((4, 5), 7, np.uint8), 7)
    classes[0] = 1
    scene = Scene(cube, classes=classes)
    assert type(scene.cube) is type(scene.classes) is np.ndarray
    np.testing.assert_array_equal(scene.cube, np.where(CUBE > 0.9, np.nan, CUBE))
    assert scene.missing == (CUBE > 0.9).sum() > 0
    assert scene.classes.tolist() == [[1] * 5] + [[UNLABELLED] * 5] * 3


def test_a_crop_takes_cube_and_classes_together():
    classes = np.arange(20).reshape(4, 5)
    part = Scene(CUBE, classes=classes).cropped(1, 2, 3, 2)
    np.testing.assert_array_equal(part.cube, CUBE[:, 1:4, 2:4])
    np.testing.assert_array_equal(part.classes, classes[1:4, 2:4])
    with pytest.raises(InputError, match="leaves the 4×5 scene"):
        part = Scene(CUBE).cropped(2, 0, 3, 5)


def test_a_cube_of_a_mapped_file_is_safe_to_share(tmp_path):
    np.save(tmp_path / "cube.npy", CUBE)
    cube = Scene(np.load(tmp_path / "cube.npy", mmap_mode="r")).cube
    assert cube.flags.writeable
    assert type(cube) is np.ndarray
    np.testing.assert_array_equal(cube, CUBE)


def test_resampling_is_linear_in_the_wavelength():
    scene = Scene(CUBE, wavelengths=(400, 500, 600)).resampled((425.0, 600.0))
    np.testing.assert_allclose(scene.cube[0], 0.75 * CUBE[0] + 0.25 * CUBE[1], rtol=1e-6)
    np.testing.assert_allclose(scene.cube[1], CUBE[2], rtol=1e-6)
    assert scene.wavelengths == (425, 600)
    with pytest.raises(InputError, match="covers 400–600 nm"):
        Scene(CUBE, wavelengths=(400, 500, 600)).resampled((380.0, 500.0))


def test_unlabelled_is_no_class():
    assert UNLABELLED == -1
