"""Layers whose data was cropped, turned or edited in napari after crsdun had loaded them."""

import csv
import io

import h5py
import numpy as np
import pytest

from crsdun.interop.napari.decoding import measurement_of
from crsdun.interop.napari.layers import add_to, measurement_layer, scene_layers
from crsdun.interop.napari.picking import spectra_table, visible_cubes
from crsdun.interop.napari.reading import read
from tests.interop.napari.made import made_measurement, made_scene

components = pytest.importorskip("napari.components")


def table(viewer):
    return list(csv.DictReader(io.StringIO(spectra_table(visible_cubes(viewer), [(3, 30)]))))


@pytest.mark.parametrize("edit", [lambda frame: np.maximum(frame - 0.3, 0), lambda frame: frame[::-1]])
def test_what_is_shown_is_decoded(edit):
    loaded = made_measurement()
    (layer,) = add_to(components.ViewerModel(), [measurement_layer(loaded)])
    assert measurement_of(layer, (0, 0)) is loaded
    layer.data = layer.data.copy()  # as napari duplicates a layer
    assert measurement_of(layer, (0, 0)) is loaded
    layer.data = edit(loaded.frame)
    edited = measurement_of(layer, (0, 0))
    np.testing.assert_array_equal(edited.frame, layer.data)
    np.testing.assert_array_equal(edited.mask, loaded.mask)
    assert (edited.step, edited.wavelengths) == (loaded.step, loaded.wavelengths)
    assert edited.provenance == {**loaded.provenance, "layer": layer.name}


def test_of_an_edited_stack_the_shown_frame_is_decoded(tmp_path):
    frames = np.random.default_rng(0).integers(0, 4000, (3, 12, 20)).astype("uint16")
    np.savez(tmp_path / "y.npz", meas_real=frames)
    (layer,) = add_to(components.ViewerModel(), read(str(tmp_path / "y.npz")))
    np.testing.assert_array_equal(measurement_of(layer, (1, 0, 0)).frame, frames[1])
    layer.data = np.asarray(layer.data)[1:] // 2
    np.testing.assert_array_equal(measurement_of(layer, (1, 0, 0)).frame, frames[2] // 2)


def test_an_edited_frame_of_a_stack_means_what_its_file_says(tmp_path):
    frames = np.random.default_rng(0).integers(0, 4000, (3, 12, 20)).astype("uint16")
    valid = np.ones((12, 20), np.uint8)
    valid[3, 4] = 0
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["measurement"], file["valid"] = frames, valid
        file["measurement"].attrs["scale_factor"] = 0.001
    (layer,) = add_to(components.ViewerModel(), read(str(tmp_path / "y.h5")))
    layer.data = np.asarray(layer.data)[1:] // 2
    edited = measurement_of(layer, (1, 0, 0))
    np.testing.assert_allclose(edited.frame, frames[2] // 2 * 0.001, rtol=1e-6)
    np.testing.assert_array_equal(edited.valid, valid)
    assert edited.provenance["file"] == "y.h5"
    assert edited.provenance["frame"] == 2
    layer.data = layer.data[:, 2:]
    assert measurement_of(layer, (1, 0, 0)).valid is None


@pytest.mark.parametrize("part", [slice(2, 5), slice(None, None, -1)])
def test_bands_of_a_cropped_or_turned_cube_are_numbered(part):
    scene, viewer = made_scene(), components.ViewerModel()
    cube = add_to(viewer, scene_layers(scene))[0]
    assert [float(row["wavelength_nm"]) for row in table(viewer)] == pytest.approx(scene.wavelengths, abs=1e-3)
    cube.data = cube.data[part]
    rows = table(viewer)
    assert {row["wavelength_nm"] for row in rows} == {""}
    assert [float(row["mean"]) for row in rows] == pytest.approx(scene.cube[part, 3, 30])
    cube.data = cube.data[0]
    assert visible_cubes(viewer) == [], "a single band is no cube"
