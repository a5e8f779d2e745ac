"""A scene in a store that is written and read by rows."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import UNLABELLED, SceneOutline, SceneRows, open_scene_rows, read_scene, write_arrays
from crsdun.scenes.scene_rows import CHUNK

CUBE = np.random.default_rng(0).random((3, 10, 6), dtype=np.float32)
CLASSES = np.arange(60).reshape(10, 6) % 2


def made(path, **changes) -> SceneRows:
    outline = {"size": CUBE.shape, "wavelengths": (450.0, 550.5, 650.0), "maps": ("classes",), "rows": 4}
    outline |= {"class_names": ("leaf", "stone"), "name": "strip", "provenance": {"method": "made"}}
    return SceneRows.create(path, SceneOutline(**outline | changes))


def test_what_is_written_by_rows_is_read_as_one_scene(tmp_path):
    store = made(tmp_path / "scene.zarr")
    for top in (4, 0, 8):  # in any order
        rows = slice(top, top + 4)
        store.write(top, {"cube": CUBE[:, rows], "classes": CLASSES[rows]})
    scene = read_scene(tmp_path / "scene.zarr")
    assert np.array_equal(scene.cube, CUBE)
    assert np.array_equal(scene.classes, CLASSES)
    assert (scene.wavelengths, scene.class_names, scene.name) == ((450.0, 550.5, 650.0), ("leaf", "stone"), "strip")
    assert scene.provenance == {"method": "made"}
    part = open_scene_rows(tmp_path / "scene.zarr").rows(3, 7)
    assert np.array_equal(part.cube, CUBE[:, 3:7])
    assert np.array_equal(part.classes, CLASSES[3:7])
    assert (part.wavelengths, part.class_names, part.name) == (scene.wavelengths, scene.class_names, "strip")


def test_what_was_not_written_holds_no_data(tmp_path):
    store = made(tmp_path / "scene.zarr")
    store.write(0, {"cube": CUBE[:, :4], "classes": CLASSES[:4]})
    rest = open_scene_rows(tmp_path / "scene.zarr").rows(4, 10)
    assert np.isnan(rest.cube).all()
    assert (rest.classes == UNLABELLED).all()


def test_other_programs_find_the_axes_of_ome_zarr(tmp_path):
    import zarr

    made(tmp_path / "scene.zarr")
    group = zarr.open_group(tmp_path / "scene.zarr", mode="r")
    described = group.attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in described["axes"]] == ["c", "y", "x"]
    assert described["datasets"][0]["path"] == "cube"
    assert [channel["label"] for channel in group.attrs["ome"]["omero"]["channels"]] == [
        "450 nm",
        "550.5 nm",
        "650 nm",
    ]
    assert group["cube"].metadata.dimension_names == ("c", "y", "x")


@pytest.mark.parametrize(("rows", "chunk"), [(4, 4), (1, 1), (10, 10), (64, 8)])
def test_chunks_are_whole_parts_of_what_is_written_at_a_time(rows, chunk):
    assert SceneOutline(CUBE.shape, rows=rows).chunk_rows == chunk
    large = SceneOutline((28, 8192, 2048), rows=96)
    assert large.chunk_rows == 32
    assert 4 * 28 * 2048 * large.chunk_rows <= CHUNK


def test_what_is_no_scene_is_refused(tmp_path):
    write_arrays(tmp_path / "y.zarr", {"measurement": CUBE[0]}, {})
    with pytest.raises(InputError, match=r"no cube .* to read by rows but measurement"):
        open_scene_rows(tmp_path / "y.zarr")
