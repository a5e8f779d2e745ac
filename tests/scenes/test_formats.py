"""Every format: what is written comes back, what is broken is refused in one line, nothing half-written stays."""

import errno
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from crsdun.errors import InputError
from crsdun.scenes import Scene, open_arrays, read_arrays, read_scene, write_scene
from crsdun.scenes.formats import FORMATS, table
from tests.scenes.format_examination import FormatExamination

SUFFIXES = (".mat", ".npz", ".h5", ".hdf5", ".tif", ".tiff", ".hdr")


# -- every format ----------------------------------------------------------------------------------------------


class TestMat5(FormatExamination):
    name, suffix, axes = "MATLAB v5", ".mat", "HWC"


class TestMat73(FormatExamination):
    name, suffix, axes, mat_version, lazy = "MATLAB v7.3", ".mat", "HWC", "7.3", True


class TestNpy(FormatExamination):
    name, suffix, axes, named, metadata, lazy = "NumPy .npy", ".npy", "HWC", False, False, True

    def write_pickled(self, path, value):
        np.save(path, np.array([value], dtype=object), allow_pickle=True)


class TestNpz(FormatExamination):
    name, suffix = "NumPy .npz", ".npz"

    def write_pickled(self, path, value):
        np.savez(path, cube=np.array([value], dtype=object))


class TestHdf5(FormatExamination):
    name, suffix, lazy = "HDF5", ".h5", True


class TestEnvi(FormatExamination):
    name, suffix, axes, named, lazy, data_suffix = "ENVI", ".hdr", "HWC", False, True, ".img"


class TestTiff(FormatExamination):
    name, suffix = "TIFF", ".tif"


class TestPng(FormatExamination):
    name, suffix, axes, named = "PNG", ".png", None, False

    def arrays(self):
        return {"frame": np.random.default_rng(0).integers(0, 65536, (60, 50)).astype(np.uint16)}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Zarr 3 takes Python 3.11")
class TestZarr(FormatExamination):
    name, suffix, lazy = "Zarr", ".zarr", True

    def test_a_truncated_file_is_refused(self, tmp_path):
        path = self.write(tmp_path)
        mark = path / "cube" / "zarr.json"
        mark.write_bytes(mark.read_bytes()[:200])
        for function in (read_arrays, open_arrays):
            with pytest.raises(InputError, match=r"begins like Zarr .* damaged or incomplete") as refused:
                function(path)
            assert "\n" not in str(refused.value)

    def test_existing_files_are_kept_without_overwrite(self, tmp_path):
        path = tmp_path / "file.zarr"
        path.mkdir()
        (path / "notes.txt").write_text("precious")
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"contains no zarr\.json"):
                self.write(tmp_path, overwrite)
        assert (path / "notes.txt").read_text() == "precious"
        (path / "notes.txt").unlink()
        self.write(tmp_path)
        with pytest.raises(InputError, match=r"exists already.*overwrite"):
            self.write(tmp_path)
        self.write(tmp_path, overwrite=True)
        assert [each.name for each in tmp_path.iterdir()] == ["file.zarr"]

    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        path = self.write(tmp_path)
        before = {part: part.read_bytes() for part in tmp_path.rglob("*") if part.is_file()}

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("zarr.Group.create_array", full)
        with pytest.raises(InputError, match=r"could not write .*file\.zarr: no space is left"):
            self.write(tmp_path, overwrite=True)
        assert {part: part.read_bytes() for part in tmp_path.rglob("*") if part.is_file()} == before
        assert path.is_dir()


def test_every_format_is_examined():
    assert {each.name for each in FormatExamination.__subclasses__()} == {format.name for format in FORMATS}


# -- scenes ----------------------------------------------------------------------------------------------------


def make_scene(bands=4, height=6, width=5, **details):
    cube = np.random.default_rng(bands).random((bands, height, width), dtype=np.float32)
    return Scene(cube, **details)


def labelled(scene, suffix):
    """What the format of the suffix can hold of a scene: ENVI has no place for a class map."""
    return None if suffix == ".hdr" else scene.classes


def assert_same(back, scene, suffix):
    np.testing.assert_array_equal(back.cube, scene.cube)
    assert back.wavelengths == scene.wavelengths
    assert back.class_names == scene.class_names
    assert back.name == scene.name
    assert back.provenance == scene.provenance
    expected = labelled(scene, suffix)
    if expected is None:
        assert back.classes is None
    else:
        np.testing.assert_array_equal(back.classes, expected)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    suffix=st.sampled_from(SUFFIXES),
    mat_version=st.sampled_from(["5", "7.3"]),
    first=st.one_of(st.none(), st.floats(0.01, 3000)),
    name=texts,
    with_classes=st.booleans(),
    provenance=st.dictionaries(texts, st.one_of(texts, st.integers(), st.lists(texts, max_size=2)), max_size=3),
)
def test_a_scene_comes_back_as_it_was(tmp_path, shape, suffix, mat_version, first, name, with_classes, provenance):
    bands, height, width = shape
    scene = make_scene(
        *shape,
        wavelengths=None if first is None else tuple(first + band / 3 for band in range(bands)),
        classes=np.arange(-1, height * width - 1).reshape(height, width) if with_classes else None,
        class_names=("grün", "a, {b} = c", *map(str, range(height * width))) if with_classes else None,
        name=name,
        provenance=provenance,
    )
    path = tmp_path / f"scene{suffix}"
    write_scene(scene, path, overwrite=True, mat_version=mat_version)
    assert_same(read_scene(path), scene, suffix)


def test_npy_holds_the_cube_with_bands_last(tmp_path):
    scene = make_scene(wavelengths=(500, 510, 520, 530))
    write_scene(scene, tmp_path / "scene.npy")
    assert np.load(tmp_path / "scene.npy").shape == (6, 5, 4)
    back = read_scene(tmp_path / "scene.npy", axes="hwc")
    np.testing.assert_array_equal(back.cube, scene.cube)
    assert back.wavelengths is None
    assert back.provenance == {"file": "scene.npy", "format": "NumPy .npy", "array": "image"}


def test_mat5_is_what_matlab_users_expect(tmp_path):
    scene = make_scene(wavelengths=(500, 510, 520, 530))
    write_scene(scene, tmp_path / "scene.mat")
    stored = scipy.io.loadmat(tmp_path / "scene.mat")
    np.testing.assert_array_equal(stored["cube"], np.moveaxis(scene.cube, 0, -1))
    assert stored["wavelengths"].ravel().tolist() == [500, 510, 520, 530]


def test_mat73_is_laid_out_as_matlab_does(tmp_path):
    scene = make_scene(wavelengths=(500, 510, 520, 530))
    path = tmp_path / "scene.mat"
    write_scene(scene, path, mat_version="7.3")
    start = path.read_bytes()[:512]
    assert start.startswith(b"MATLAB 7.3 MAT-file")
    assert start[124:128] == b"\x00\x02IM"
    with h5py.File(path) as file:
        assert file["cube"].shape == (4, 5, 6)  # height × width × bands, columns first
        assert file["cube"].attrs["MATLAB_class"] == b"single"
        assert file["wavelengths"].shape == (4, 1)
        assert file["crsdun"].attrs["MATLAB_class"] == b"char"


def test_mat_grows_to_73_only_where_v5_is_too_small(tmp_path, monkeypatch):
    write_scene(make_scene(), tmp_path / "small.mat")
    assert read_arrays(tmp_path / "small.mat").format == "MATLAB v5"
    small = [replace(format, largest=100) if format.name == "MATLAB v5" else format for format in table.FORMATS]
    monkeypatch.setattr(table, "FORMATS", small)
    write_scene(make_scene(), tmp_path / "large.mat")
    assert read_arrays(tmp_path / "large.mat").format == "MATLAB v7.3"


def test_a_mat73_by_matlab_comes_back_in_its_axis_order(tmp_path):
    path = tmp_path / "matlab.mat"
    cube = np.random.default_rng(0).random((7, 6, 3))
    with h5py.File(path, "w", userblock_size=512) as file:
        file["img"] = cube.T
        file["img"].attrs["MATLAB_class"] = np.bytes_("double")
        file["open"] = (cube[..., 0] > 0.5).T.astype(np.uint8)
        file["open"].attrs["MATLAB_class"] = np.bytes_("logical")
        file["nothing"] = np.zeros(2, np.uint64)
        file["nothing"].attrs["MATLAB_class"] = np.bytes_("double")
        file["nothing"].attrs["MATLAB_empty"] = np.uint8(1)
        file["#refs#/a"] = np.zeros(3)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    file = read_arrays(path)
    assert list(file.arrays) == ["img", "open"]
    assert file.arrays["open"].dtype == bool
    np.testing.assert_array_equal(file.arrays["img"], cube)
    np.testing.assert_array_equal(read_scene(path).cube, np.moveaxis(cube, -1, 0).astype(np.float32))


def test_formats_are_recognised_by_content(tmp_path):
    write_scene(make_scene(name="x"), tmp_path / "scene.h5")
    (tmp_path / "scene.h5").rename(tmp_path / "scene.mat")
    assert read_arrays(tmp_path / "scene.mat").format == "HDF5"
    assert read_scene(tmp_path / "scene.mat").name == "x"


def test_nested_hdf5(tmp_path):
    with h5py.File(tmp_path / "nested.h5", "w") as file:
        file["day/hsi"] = np.ones((8, 9, 3), ">f4")
        file["day/note"] = "sunny"
    file = read_arrays(tmp_path / "nested.h5")
    assert file.arrays["day/hsi"].dtype.isnative
    assert read_scene(tmp_path / "nested.h5", key="day/hsi").cube.shape == (3, 8, 9)


def test_other_things_in_a_mat_are_left_alone(tmp_path):
    odd = {"img": np.ones((5, 6, 2)), "about": {"a": 1}, "cells": np.array([1, "x"], object), "text": "hello"}
    scipy.io.savemat(tmp_path / "odd.mat", odd)
    assert list(read_arrays(tmp_path / "odd.mat").arrays) == ["img", "about/a", "cells/1"]


# -- ENVI ------------------------------------------------------------------------------------------------------


def write_envi(folder, wavelengths=None, units=None, more="", dtype=np.float32, code=4):
    cube = (np.arange(5 * 4 * 3) / (64 if code == 4 else 1)).reshape(5, 4, 3).astype(dtype)  # lines, samples, bands
    np.moveaxis(cube, -1, 0).tofile(folder / "flight.img")
    lines = ["ENVI", "samples = 4", "lines = 5", "bands = 3", "header offset = 0", f"data type = {code}"]
    lines += ["interleave = bsq", "byte order = 0", more]
    if wavelengths:
        lines.append(f"Wavelength = {{{wavelengths}}}")
    if units:
        lines.append(f"wavelength units = {units}")
    (folder / "flight.hdr").write_text("\n".join(lines))
    return cube


@pytest.mark.parametrize(
    ("values", "units", "expected"),
    [
        ("400, 500.5, 600", "Nanometers", (400, 500.5, 600)),
        ("400, 500, 600", None, (400, 500, 600)),
        ("0.4, 0.5, 0.6", "Unknown", (400, 500, 600)),
        ("0.4, 0.5, 0.6", "Micrometers", (400, 500, 600)),
        ("1, 2, 3", "Index", None),
        (None, None, None),
    ],
)
def test_envi_wavelengths_and_units(tmp_path, values, units, expected):
    cube = write_envi(tmp_path, values, units)
    for name in ("flight.hdr", "flight.img"):
        scene = read_scene(tmp_path / name)
        assert scene.wavelengths == expected
        np.testing.assert_array_equal(scene.cube, np.moveaxis(cube, -1, 0))


@pytest.mark.parametrize(("values", "units"), [("30, 40, 50", None), ("400, 500, 600", "furlong")])
def test_envi_wavelengths_of_unknown_unit_are_refused_unless_given(tmp_path, values, units):
    write_envi(tmp_path, values, units)
    with pytest.raises(InputError, match="wavelengths in nm with wavelengths"):
        read_scene(tmp_path / "flight.hdr")
    assert read_scene(tmp_path / "flight.hdr", wavelengths=(1, 2, 3)).wavelengths == (1, 2, 3)


def test_envi_scale_factor(tmp_path):
    cube = write_envi(tmp_path, more="reflectance scale factor = 100", dtype=np.int16, code=2)
    scene = read_scene(tmp_path / "flight.hdr")
    np.testing.assert_allclose(scene.cube, np.moveaxis(cube, -1, 0) / 100, rtol=1e-6)
    assert scene.provenance["divided_by"] == 100


def test_envi_without_its_data(tmp_path):
    write_envi(tmp_path)
    (tmp_path / "flight.img").unlink()
    with pytest.raises(InputError, match="ENVI but cannot be read"):
        read_arrays(tmp_path / "flight.hdr")


# -- pictures --------------------------------------------------------------------------------------------------


def test_tiff_by_others(tmp_path):
    pages = np.random.default_rng(0).integers(0, 65535, (9, 4, 6), dtype=np.uint16)
    notes = json.dumps({"wavelengths": [0.4 + band / 100 for band in range(9)], "wavelength_units": "um"})
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", description=notes, metadata=None)
    scene = read_scene(tmp_path / "a.tif")  # bands are pages, although there are more of them than columns
    np.testing.assert_allclose(scene.cube, pages / 65535, rtol=1e-6)
    assert scene.wavelengths == tuple(400.0 + 10 * band for band in range(9))


def test_png_of_each_mode(tmp_path):
    counts = np.array([[0, 300], [65535, 4]], np.uint16)
    Image.fromarray(counts).save(tmp_path / "grey16.png")
    np.testing.assert_array_equal(read_arrays(tmp_path / "grey16.png").arrays["image"], counts)
    colours = np.zeros((4, 5, 4), np.uint8)
    colours[..., 1] = 255
    Image.fromarray(colours).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_scene(tmp_path / "rgba.png").cube[:, 0, 0], [0, 1, 0])
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "palette.png")
    file = read_arrays(tmp_path / "palette.png")
    np.testing.assert_array_equal(file.arrays["image"], [[0, 1], [2, 1]])
    assert file.metadata["palette"][1] == [128, 0, 0]


# -- what cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("text.mat", b"just some words\nand more", "begins with b'just some words"),
        ("empty.npz", b"", "is empty"),
        ("short.mat", b"MATLAB 5.0 MAT-file", "MATLAB v5 but cannot be read"),
        ("short.npy", b"\x93NUMPY\x01\x00", "NumPy .npy but cannot be read"),
        ("short.png", b"\x89PNG\r\n\x1a\n", "PNG but cannot be read"),
        ("short.tif", b"II*\0\x08\0\0\0", "TIFF but cannot be read"),
        ("short.h5", b"\x89HDF\r\n\x1a\n", "HDF5 but cannot be read"),
        ("weights.npy", pickle.dumps([1, 2]), "a Python pickle, which crsdun never opens"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected.replace(".", r"\.")) as caught:
        read_arrays(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_arrays(tmp_path / "nowhere.mat")
    with pytest.raises(InputError, match="is a folder without a picture for each band; name a file"):
        read_arrays(tmp_path)


def test_wavelengths_that_are_not_numbers(tmp_path):
    notes = json.dumps({"wavelengths": ["red", "green"]})
    tifffile.imwrite(tmp_path / "odd.tif", np.ones((2, 5, 6), np.uint8), description=notes, metadata=None)
    with pytest.raises(InputError, match=r"TIFF but cannot be read.*'red'"):
        read_arrays(tmp_path / "odd.tif")


def test_a_file_without_numbers(tmp_path):
    np.savez(tmp_path / "words.npz", words=np.array(["a", "b"]))
    with pytest.raises(InputError, match="no array of real numbers"):
        read_arrays(tmp_path / "words.npz")


# -- writing ---------------------------------------------------------------------------------------------------


def test_envi_data_of_another_header_is_kept_too(tmp_path):
    (tmp_path / "scene.img").write_text("precious")
    with pytest.raises(InputError, match=r"scene\.img exists already"):
        write_scene(make_scene(), tmp_path / "scene.hdr")
    assert [part.name for part in tmp_path.iterdir()] == ["scene.img"]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        write_scene(make_scene(), tmp_path / "nowhere" / "scene.npz")
    with pytest.raises(InputError, match=r"the suffix '\.jpg' is none of \.mat"):
        write_scene(make_scene(), tmp_path / "scene.jpg")
    with pytest.raises(InputError, match=r"expected 5 or 7\.3"):
        write_scene(make_scene(), tmp_path / "scene.mat", mat_version="6")
    with pytest.raises(InputError, match=r"a \.png holds counts"):
        write_scene(make_scene(), tmp_path / "scene.png")
    assert list(tmp_path.iterdir()) == []


def test_importing_is_light():
    code = (
        "import sys, crsdun.scenes; print([m for m in ('torch','h5py','scipy','spectral','PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["wavelength_um", "lam_um", "wvl", "WL_nm", "lambda_nm", "bands_nm"])
def test_wavelengths_under_the_names_of_the_field(tmp_path, name):
    listed = np.array([450.0, 550.0, 650.0])
    stored = listed / 1000 if name.endswith("_um") else listed
    np.savez(tmp_path / "cube.npz", **{"cube": np.ones((3, 8, 9)), name: stored})
    file = read_arrays(tmp_path / "cube.npz")
    assert file.wavelengths == (450, 550, 650)
    assert list(file.arrays) == ["cube"]
