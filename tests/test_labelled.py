"""Scenes, measurements and estimates as data sets of xarray: the same values under their names, also from a file."""

import sys

import h5py
import numpy as np
import pytest
import torch
import xarray

import crsdun
from crsdun.errors import InputError
from crsdun.optics import Estimate, random_mask
from crsdun.scenes import Measurement, Scene, describe, read_scene
from crsdun.scenes.scene_io import read_class_map

NM = (450.0, 500.0, 600.0)
CUBE = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
CLASSES = np.arange(20).reshape(4, 5) % 3 - 1
SCENE = Scene(CUBE, NM, CLASSES, ("background", "real apple"), "tree", {"file": "tree.mat", "divided_by": 4095})


def test_a_scene_keeps_everything():
    found = SCENE.to_xarray()
    assert found.cube.dims == ("y", "x", "wavelength")
    assert found.sizes == {"y": 4, "x": 5, "wavelength": 3}
    assert found.wavelength.values.tolist() == [*NM]
    assert found.wavelength.attrs["units"] == "nm"
    np.testing.assert_array_equal(found.cube.sel(wavelength=510, method="nearest"), CUBE[1])
    np.testing.assert_array_equal(found.cube.sel(x=2, y=3), CUBE[:, 3, 2])
    np.testing.assert_array_equal(found.classes, CLASSES)
    assert found.classes.attrs["flag_meanings"] == "background real_apple"
    assert found.attrs == {"name": "tree", "provenance": '{"file": "tree.mat", "divided_by": 4095}'}
    assert np.shares_memory(found.cube.values, SCENE.cube)
    apples = found.cube.where(found.classes == 1).mean(("y", "x"))
    np.testing.assert_allclose(apples, CUBE[:, CLASSES == 1].mean(1), rtol=1e-6)


def test_it_can_be_stored(tmp_path):
    SCENE.to_xarray().to_netcdf(tmp_path / "scene.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "scene.nc", engine="scipy") as stored:
        xarray.testing.assert_allclose(stored.load(), SCENE.to_xarray())
        assert stored.attrs["name"] == "tree"


def test_what_was_stored_as_zarr_is_a_scene_again(tmp_path):
    pytest.importorskip("zarr")
    SCENE.to_xarray().to_zarr(tmp_path / "scene.zarr", consolidated=False)
    scene = read_scene(tmp_path / "scene.zarr")
    np.testing.assert_allclose(scene.cube, CUBE)
    np.testing.assert_array_equal(scene.classes, CLASSES)
    assert (scene.wavelengths, scene.class_names) == (NM, SCENE.class_names)
    _, names = read_class_map(tmp_path / "scene.zarr")
    assert names == SCENE.class_names
    assert describe(tmp_path / "scene.zarr").label_notes[0] == "labels stand for 0 background, 1 real apple"


@pytest.mark.parametrize(
    ("values", "meanings", "names"),
    [
        ([2, 0, 1], "fruit soil_and_stone leaf", ("soil and stone", "leaf", "fruit")),
        ([1, 2, 4], "cloud shadow snow", None),
        ([0, 1], "soil leaf fruit", None),
        ("none", "soil", None),
    ],
)
def test_flags_that_number_classes_name_them(tmp_path, values, meanings, names):
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        file["cube"], file["classes"], file["quality"] = CUBE, np.abs(CLASSES), CLASSES
        file["classes"].attrs.update({"flag_values": values, "flag_meanings": meanings})
        file["quality"].attrs.update({"flag_values": [0, 1], "flag_meanings": "good bad"})
    assert read_scene(tmp_path / "scene.h5", wavelengths=NM).class_names == names


def test_unknown_wavelengths_are_no_coordinates():
    found = Scene(CUBE).to_xarray()
    assert found.cube.dims == ("y", "x", "wavelength")
    assert set(found.coords) == {"y", "x"}
    assert set(found.data_vars) == {"cube"}


def test_a_measurement_keeps_its_camera():
    frame, mask = np.arange(36, dtype=np.uint16).reshape(4, 9), np.ones((4, 5), np.float32)
    found = Measurement(frame, NM, mask, 2, "shot").to_xarray()
    assert (found.frame.dims, found.frame.dtype) == (("y", "x"), np.uint16)
    assert found.mask.dims == ("scene_y", "scene_x")
    assert (found.attrs["step"], found.attrs["wavelengths_nm"]) == (2, "[450.0, 500.0, 600.0]")
    per_band = Measurement(frame, NM, np.stack([mask, 2 * mask, 3 * mask]), valid=frame > 3).to_xarray()
    assert per_band.mask.sel(wavelength=600).max() == 3
    assert int(per_band.valid.sum()) == 32
    assert "step" not in per_band.attrs


def test_an_estimate_has_the_wavelengths_of_its_camera():
    red_first = NM[::-1]
    camera = crsdun.CassiCamera(random_mask(4, 5), wavelengths=red_first)
    y = camera.forward(torch.rand(2, 3, 4, 5))
    for method in ("gap-tv", "lr-tv"):
        estimate = crsdun.solvers.create_solver(method, iterations=1)(y, camera)
        found = estimate.to_xarray()
        assert found.cube.dims == ("batch", "y", "x", "wavelength")
        assert found.wavelength.values.tolist() == [*red_first]
        np.testing.assert_array_equal(found.cube.sel(wavelength=600), estimate.cube[:, 0])
    network = crsdun.create("crsdun_1stg", bands=3, classes=2, width=4).train()
    estimate = network(y, camera)
    found = estimate.to_xarray()
    assert found.wavelength.values.tolist() == [*red_first]
    np.testing.assert_array_equal(found.classes, estimate.classes)


def test_the_safe_run_tells_the_wavelengths_of_what_it_sorted():
    camera = crsdun.CassiCamera(random_mask(4, 5), wavelengths=NM[::-1])
    y = camera.forward(torch.rand(3, 4, 5))
    run = crsdun.methods.run_method(crsdun.solvers.GapTv(iterations=1), y, camera)
    assert run.estimate.wavelengths == run.wavelengths == NM
    unknown = crsdun.CassiCamera(random_mask(4, 5), bands=3)
    assert crsdun.methods.run_method(crsdun.solvers.GapTv(iterations=1), y, unknown).wavelengths is None


def test_where_nobody_has_told_the_wavelengths_there_are_none():
    assert set(Estimate([torch.zeros(1, 3, 4, 5)]).to_xarray().coords) == {"y", "x"}


def test_without_xarray_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"xarray is not installed .*; pip install 'crsdun\[xarray\]'"):
        SCENE.to_xarray()
