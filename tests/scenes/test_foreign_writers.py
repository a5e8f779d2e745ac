"""The same numbers as other programs write them: MATLAB's compact doubles, ImageJ, LZW; and no data in a set."""

import struct
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from crsdun.errors import InputError
from crsdun.runtime import Preparation
from crsdun.scenes import open_set, read_arrays, read_mask, read_measurement, read_scene
from crsdun.scenes.dataset_check import check_set

CUBE = np.random.default_rng(0).random((5, 12, 16)).astype(np.float32)  # (C,H,W)
CODE = (np.random.default_rng(1).random((6, 8)) < 0.5).astype(np.float64)
CODE[0, :2] = 0, 1

# -- MATLAB ----------------------------------------------------------------------------------------------------

INT32, UINT32, INT8, DOUBLE_CLASS, MATRIX = 5, 6, 1, 6, 14
STORED = {"u1": 2, "i2": 3, "u2": 4, "i4": 5, "f8": 9}  # numbers of the types of data


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data.ljust(-len(data) % 8 + len(data), b"\0")


def write_doubles(path, name: str, array: np.ndarray, stored_as: str) -> None:
    """A .mat v5 with a variable of class double, whose numbers MATLAB stores in the smallest type that holds them.

    Source: "MAT-File Format", MathWorks, level 5.
    """
    parts = element(UINT32, struct.pack("<II", DOUBLE_CLASS, 0))
    parts += element(INT32, np.array(array.shape, "<i4").tobytes())
    parts += element(INT8, name.encode())
    parts += element(STORED[stored_as], array.astype(f"<{stored_as}").tobytes(order="F"))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + element(MATRIX, parts))


@pytest.mark.parametrize("stored_as", STORED)
def test_a_double_means_the_same_however_it_was_stored(tmp_path, stored_as):
    frame = np.random.default_rng(2).integers(0, 200, (6, 14)).astype(float)
    frame[0, 0] = 200
    write_doubles(tmp_path / "compact.mat", "meas", frame, stored_as)
    scipy.io.savemat(tmp_path / "plain.mat", {"meas": frame})
    for name in ("compact.mat", "plain.mat"):
        array = read_arrays(tmp_path / name).arrays["meas"]
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, frame)
        measurement = read_measurement(tmp_path / name)
        assert measurement.frame.dtype == np.float32  # on the scale of y = A x, and no counts of a camera
        prepared = Preparation(mask=CODE).prepare(measurement)
        np.testing.assert_array_equal(prepared.measurement.frame, frame)


@pytest.mark.parametrize("stored_as", ["u1", "u2", "f8"])
def test_a_cube_and_a_mask_in_doubles(tmp_path, stored_as):
    cube = np.round(np.moveaxis(CUBE, 0, -1))  # 0 and 1, which are no 255ths
    write_doubles(tmp_path / "cube.mat", "img", cube, stored_as)
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.mat").cube, np.round(CUBE))
    write_doubles(tmp_path / "mask.mat", "mask", CODE, stored_as)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.mat"), CODE)


# -- TIFF ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("details", [{}, {"metadata": {"axes": "CYX"}}, {"metadata": {"axes": "ZYX"}}])
def test_imagej(tmp_path, details):
    tifffile.imwrite(tmp_path / "cube.tif", CUBE, imagej=True, **details)
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.tif").cube, CUBE)
    counts = (CUBE * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "counts.tif", counts, imagej=True, **details)
    np.testing.assert_allclose(read_scene(tmp_path / "counts.tif").cube, counts / 65535, rtol=1e-6)
    tifffile.imwrite(tmp_path / "frame.tif", CUBE[0], imagej=True)
    np.testing.assert_array_equal(read_measurement(tmp_path / "frame.tif").frame, CUBE[0])


def test_more_bands_than_rows_in_imagej(tmp_path):
    cube = np.random.default_rng(3).random((31, 12, 16)).astype(np.float32)
    tifffile.imwrite(tmp_path / "cube.tif", cube, imagej=True)
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.tif").cube, cube)


@pytest.mark.parametrize("axes", ["CYX", "YXC", "CXY", "XYC"])
def test_tifffile_names_the_axes(tmp_path, axes):
    cube = np.random.default_rng(3).random((31, 12, 16)).astype(np.float32)
    stored = cube.transpose(["CYX".index(axis) for axis in axes])
    tifffile.imwrite(tmp_path / "cube.tif", stored, photometric="minisblack", metadata={"axes": axes})
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.tif").cube, cube)


@pytest.mark.parametrize("metadata", [{"axes": "YX"}, {"name": 3}, {"step": "none", "provenance": "a lab"}])
def test_notes_of_other_programs_in_a_tiff(tmp_path, metadata):
    tifffile.imwrite(tmp_path / "mask.tif", CODE.astype(np.float32), metadata=metadata)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), CODE)


PICTURE = np.arange(96, dtype=np.uint16).reshape(8, 12)


@pytest.mark.skipif(find_spec("imagecodecs") is None, reason="imagecodecs (crsdun[tiff]) is not installed")
def test_lzw(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_arrays(tmp_path / "lzw.tif").arrays["image"], PICTURE)


def test_lzw_without_the_library_that_knows_it(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    code = "import sys; sys.modules['imagecodecs'] = None; from crsdun.cli import main; main(['info', 'lzw.tif'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    words = "lzw.tif is compressed as LZW; install crsdun[tiff], or save the file without compression"
    assert done.stderr == f"crsdun: {words}\n"


# -- no data in a set ------------------------------------------------------------------------------------------


def test_voxels_without_data_are_never_light(tmp_path):
    """ENVI cubes of a set that state −9999 as no data: seen by the check, and not measured as darkness below zero."""
    cube = CUBE.copy()
    cube[:, 0, :3] = -9999
    for name, values in (("s0", CUBE), ("s1", cube)):
        values.tofile(tmp_path / f"{name}.img")
        bands, lines, samples = cube.shape
        header = ["ENVI", f"samples = {samples}", f"lines = {lines}", f"bands = {bands}", "data type = 4"]
        header += ["interleave = bsq", "data ignore value = -9999", "wavelength = {400, 450, 500, 550, 600}"]
        (tmp_path / f"{name}.hdr").write_text("\n".join(header))
    (tmp_path / "d.yaml").write_text("cubes: '{name}.hdr'\nsplits: {test: [s0, s1]}\n")
    check = check_set(tmp_path / "d.yaml")
    lines = [line for line in (*check.problems, *check.notes) if "s1" in line]
    assert lines
    assert any("15" in line for line in lines)
    assert not [line for line in (*check.problems, *check.notes) if "s0" in line]
    assert check.splits["test"].low >= 0
    scenes = open_set(tmp_path / "d.yaml", "test")
    assert scenes[0].cube.min() >= 0
    with suppress(InputError):  # refusing them would be right too
        assert np.nanmin(scenes[1].cube) >= 0
