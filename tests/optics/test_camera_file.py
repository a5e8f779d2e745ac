"""The camera file: what goes in comes out, and what is no camera file is refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from crsdun.budget import limited_to
from crsdun.errors import InputError
from crsdun.optics import (
    Blur,
    CameraFile,
    CassiCamera,
    Distortion,
    StackedCamera,
    Validity,
    random_mask,
    read_camera,
    write_camera,
)
from crsdun.optics.camera_file import FORMAT, HEADER
from crsdun.scenes import describe, read_mask

OFFSETS = ((0.0, 0.0), (0.3, 1.9), (0.6, 4.1))


@pytest.fixture
def stored():
    rng = np.random.default_rng(0)
    return CameraFile(
        rng.random((3, 8, 10), dtype=np.float32),
        OFFSETS,
        (450.0, 500.0, 612.5),
        dark=rng.random((9, 15), dtype=np.float32),
        white=rng.random((9, 15), dtype=np.float32),
        valid=rng.random((9, 15)) < 0.9,
        parts=(("blur", np.ones((3, 3), np.float32) / 9),),
        measured={"residuals": [0.1, 0.2, 0.3]},
        provenance={"frames": ["450nm.tif"]},
    )


@pytest.fixture
def path(tmp_path, stored):
    write_camera(stored, tmp_path / "camera.npz")
    return tmp_path / "camera.npz"


def test_everything_comes_back(stored, path):
    np.testing.assert_equal(vars(read_camera(path)), vars(stored))
    assert read_camera(path).bad_pixels == int((~stored.valid).sum()) > 0


@pytest.mark.parametrize(
    "camera",
    [
        CassiCamera(random_mask(6, 7), bands=4, step=-2),
        CassiCamera(random_mask(6, 7), wavelengths=(450, 500.25), step=1.5),
        CassiCamera(torch.rand(3, 6, 7), offsets=OFFSETS),
        CassiCamera(random_mask(6, 7), offsets=OFFSETS).through(
            Blur.gaussian([0.5, 0.7, 0.6]), Distortion(torch.full((2, 7, 12), 0.5)), Validity(torch.rand(7, 12) < 0.8)
        ),
        CassiCamera(random_mask(6, 7), bands=3).through(Validity(torch.eye(6, 11) == 0)),
    ],
)
def test_a_camera_comes_back(camera, tmp_path):
    camera.save(tmp_path / "camera.npz")
    again = CassiCamera.load(tmp_path / "camera.npz")
    assert torch.equal(again.mask, camera.mask)
    assert (again.offsets, again.wavelengths, again.step) == (camera.offsets, camera.wavelengths, camera.step)
    assert [part.name for part in again.parts] == [part.name for part in camera.parts]
    cube = torch.rand(camera.bands, 6, 7)
    assert torch.equal(again.forward(cube), camera.forward(cube))


def test_several_pictures_of_a_scene_are_not_one_camera(tmp_path):
    camera = CassiCamera(random_mask(6, 7), bands=4)
    with pytest.raises(InputError, match="save each of these alone"):
        StackedCamera(camera, camera).save(tmp_path / "camera.npz")


def test_nothing_is_replaced_and_the_name_says_what_it_is(stored, path):
    with pytest.raises(InputError, match="exists already"):
        write_camera(stored, path)
    write_camera(replace(stored, dark=None), path, overwrite=True)
    assert read_camera(path).dark is None
    with pytest.raises(InputError, match=r"a camera file ends in \.npz"):
        write_camera(stored, path.with_suffix(".yaml"))


def test_it_is_also_a_file_of_arrays(stored, path):
    assert np.array_equal(read_mask(path, "mask"), stored.mask)
    with pytest.raises(InputError, match="is a camera file; omit mask, and set camera to it"):
        read_mask(path)
    description = describe(path)
    assert description.wavelengths == stored.wavelengths
    assert {array.key for array in description.arrays} == {"mask", "dark", "white", "valid", "0_blur"}


def rewritten(path, **changes):
    """The file with other arrays, or another header."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop(HEADER))) | changes.pop("header", {})
    arrays |= changes
    np.savez(
        path, **{HEADER: json.dumps(header)}, **{name: each for name, each in arrays.items() if each is not None}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": {"format": FORMAT + 1, "version": "9.1"}}, r"by crsdun 9\.1, a newer one than this.*; upgrade"),
        ({"header": {"format": "new"}}, "format takes a whole number"),
        ({"header": {"kind": "weights"}}, "holds no camera"),
        ({"header": {"offsets": None}}, "offsets takes a list"),
        ({"header": {"offsets": [[0, 0], [1], [2, 3]]}}, "offsets are not pairs"),
        ({"header": {"offsets": [[0, 0]]}}, "of 1, 3 bands"),
        ({"mask": None}, "holds no mask"),
        ({"mask": np.full((3, 8, 10), np.nan)}, "mask holds NaN"),
        ({"mask": np.array(["open"])}, r"mask is <U4"),
        ({"wavelengths": np.arange(2.0)}, "of 2, 3 bands"),
        ({"dark": np.zeros((4, 4))}, "have the sizes"),
        ({"blur": np.ones((3, 3))}, "no array called 'blur'"),
        ({"2_blur": np.ones((3, 3))}, "no array called '2_blur'"),
        ({"1_polarisation": np.ones((3, 3))}, "no array called '1_polarisation'"),
        ({"0_blur": np.ones(3)}, "its 0_blur is float64 of shape"),
        ({"mask": np.array([{}], dtype=object)}, "not a whole camera file"),
    ],
)
def test_what_is_refused(path, changes, message):
    rewritten(path, **changes)
    with pytest.raises(InputError, match=message) as refusal:
        read_camera(path)
    assert str(path) in str(refusal.value)


def test_other_files_are_refused(path, tmp_path):
    whole = path.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("mask: open")
    np.savez(tmp_path / "arrays.npz", mask=np.ones((3, 3)))
    np.save(tmp_path / "mask.npy", np.ones((3, 3)))
    for name in ("cut.npz", "text.npz", "arrays.npz", "mask.npy", "missing.npz", "."):
        with pytest.raises(InputError, match="camera file"):
            read_camera(tmp_path / name)
    with limited_to(1000), pytest.raises(InputError, match="GB of memory"):
        read_camera(path)
