"""Series of scenes: what is written scene by scene comes back, in files that others read as well."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import zarr

from crsdun.errors import InputError
from crsdun.scenes import Outline, Scene, open_arrays, open_series, read_arrays, read_scene, write_scene
from crsdun.scenes.formats.array_file import LazyArray
from crsdun.scenes.formats.zarr_store import MARK
from crsdun.scenes.series import SERIES

C, H, W = 4, 6, 5
KINDS = pytest.mark.parametrize("kind", SERIES)


def make_scene(seed: int) -> Scene:
    random = np.random.default_rng(seed)
    return Scene(
        random.random((C, H, W), dtype=np.float32),
        wavelengths=(450.5, 500, 550, 600),
        classes=random.integers(-1, 2, (H, W)),
        class_names=("apple", "pear"),
    )


def write_series(folder, kind, count=3, left_out=(1,)):
    path = folder / f"cubes.{kind}"
    writer = SERIES[kind](path)
    writer.create(Outline(count, 12.5, make_scene(0), "walk", {"method": "gap-tv"}))
    for index in reversed(range(count)):
        if index not in left_out:
            writer.write(index, make_scene(index))
    return path


@KINDS
def test_what_is_written_in_any_order_is_read(tmp_path, kind):
    series = open_series(write_series(tmp_path, kind))
    assert (len(series), series.frames_per_second) == (3, 12.5)
    for index in (0, 2, -1):
        scene, expected = series[index], make_scene(index % 3)
        np.testing.assert_array_equal(scene.cube, expected.cube)
        np.testing.assert_array_equal(scene.classes, expected.classes)
        assert (scene.wavelengths, scene.class_names) == (expected.wavelengths, expected.class_names)
    assert series[2].name == "walk_3"
    assert series[2].provenance == {"method": "gap-tv", "frame": 3}
    with pytest.raises(IndexError):
        series[3]


@KINDS
def test_what_was_not_written_holds_no_data(tmp_path, kind):
    scene = open_series(write_series(tmp_path, kind))[1]
    assert scene.missing == scene.cube.size
    assert (scene.classes == -1).all()


@KINDS
def test_cubes_stay_in_the_file(tmp_path, kind):
    file = open_arrays(write_series(tmp_path, kind))
    assert isinstance(file.arrays["cubes"], LazyArray)
    assert isinstance(file.arrays["classes"], LazyArray)
    assert read_arrays(file.path).arrays["cubes"].shape == (3, C, H, W)


@KINDS
def test_a_series_is_no_scene(tmp_path, kind):
    with pytest.raises(InputError, match="holds a series of 3 scenes; read it with open_series"):
        read_scene(write_series(tmp_path, kind))


def test_a_scene_is_no_series(tmp_path):
    write_scene(make_scene(0), tmp_path / "one.h5")
    with pytest.raises(
        InputError, match=r"holds no series of scenes \(frames, bands, height, width\) but classes .* cube"
    ):
        open_series(tmp_path / "one.h5")


@KINDS
def test_without_wavelengths_and_classes(tmp_path, kind):
    scene = replace(make_scene(0), wavelengths=None, classes=None, class_names=None)
    writer = SERIES[kind](tmp_path / f"s.{kind}")
    writer.create(Outline(2, 10.0, scene, "plain"))
    writer.write(0, scene)
    back = open_series(writer.path)[0]
    np.testing.assert_array_equal(back.cube, scene.cube)
    assert (back.wavelengths, back.classes, back.class_names) == (None, None, None)


def test_hdf5_is_plain(tmp_path):
    with h5py.File(write_series(tmp_path, "h5"), "r") as file:
        np.testing.assert_array_equal(file["cubes"][2], make_scene(2).cube)
        np.testing.assert_allclose(file["time"], [0, 0.08, 0.16])
        np.testing.assert_allclose(file["wavelengths"], [450.5, 500, 550, 600])
        assert file["cubes"].chunks is None  # no index that could be damaged half-way


def test_zarr_says_what_its_axes_are(tmp_path):
    group = zarr.open_group(write_series(tmp_path, "zarr"), mode="r")
    np.testing.assert_array_equal(group["cubes"][2], make_scene(2).cube)
    assert group["cubes"].metadata.dimension_names == ("t", "c", "y", "x")
    assert group["cubes"].chunks == (1, C, H, W)
    image = group.attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in image["axes"]] == list("tcyx")
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.08, 1, 1, 1]
    assert group.attrs["ome"]["omero"]["channels"][0]["label"] == "450.5 nm"


def test_large_frames_have_chunks_of_some_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("crsdun.scenes.series.CHUNK", C * W * 4 * 2)
    path = write_series(tmp_path, "zarr")
    assert zarr.open_group(path, mode="r")["cubes"].chunks == (1, C, 2, W)
    np.testing.assert_array_equal(open_series(path)[2].cube, make_scene(2).cube)


# -- stores that someone else made ---------------------------------------------------------------------------------


def edit(path, **changes):
    said = json.loads((path / MARK).read_text()) | changes
    (path / MARK).write_text(json.dumps(said))


def test_a_store_that_leads_elsewhere_is_refused(tmp_path):
    path = write_series(tmp_path, "zarr")
    chunk = path / "cubes/c/2/0/0/0"
    (tmp_path / "elsewhere").write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(tmp_path / "elsewhere")
    series = open_series(path)
    with pytest.raises(InputError, match="lies elsewhere"):
        series[2]
    (path / "cubes").rename(tmp_path / "cubes")
    (path / "cubes").symlink_to(tmp_path / "cubes")
    with pytest.raises(InputError, match="lies elsewhere"):
        open_series(path)


def test_only_known_codecs_decode_chunks(tmp_path):
    path = write_series(tmp_path, "zarr")
    edit(path / "cubes", codecs=[{"name": "bytes"}, {"name": "numcodecs.delta"}])
    with pytest.raises(InputError, match=r"encoded by numcodecs\.delta"):
        open_series(path)


def test_a_chunk_beyond_the_memory_is_refused(tmp_path, monkeypatch):
    path = write_series(tmp_path, "zarr")
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, 100_000, 100_000, 1000]}}
    edit(path / "cubes", chunk_grid=grid)
    with pytest.raises(InputError, match=r"needs .* GB of memory, more than the"):
        open_series(path)


def test_a_damaged_chunk_is_named(tmp_path):
    path = write_series(tmp_path, "zarr")
    (path / "cubes/c/2/0/0/0").write_bytes(b"broken")
    with pytest.raises(InputError, match="begins like Zarr but cannot be read"):
        open_series(path)[2]


def test_a_plain_array_is_a_scene(tmp_path):
    cube = make_scene(0).cube
    zarr.create_array(tmp_path / "cube.zarr", data=cube, dimension_names=("c", "y", "x"))
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.zarr").cube, cube)
    zarr.create_array(tmp_path / "last.zarr", data=np.moveaxis(cube, 0, -1).copy(), dimension_names=("y", "x", "c"))
    np.testing.assert_array_equal(read_scene(tmp_path / "last.zarr").cube, cube)
