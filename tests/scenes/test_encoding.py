"""What a file states about its numbers holds for every array in it: cube, exposure and mask."""

import json
import sys

import h5py
import numpy as np
import pytest
import tifffile

from crsdun.cli import main
from crsdun.errors import InputError, InputWarning
from crsdun.runtime import Pipeline, Preparation
from crsdun.scenes import (
    UNLABELLED,
    describe,
    open_set,
    read_arrays,
    read_class_map,
    read_mask,
    read_measurement,
    read_scene,
    read_stored_mask,
)
from crsdun.scenes.labels import classes_of, read_codes
from crsdun.solvers import GapTv

H, W, C = 6, 8, 4
FRAME = np.random.default_rng(0).random((H, W + 2 * (C - 1)))
MASK = np.random.default_rng(1).random((H, W))
MASK[0, 0] = 1


def write_hdf5(path, stored, name, **attributes):
    with h5py.File(path, "w") as file:
        file[name] = stored
        file[name].attrs.update(attributes)
    return path


def write_envi(path, stored, *more):
    stored.astype(np.int16).tofile(path.with_suffix(".img"))
    rows, columns = stored.shape
    header = ["ENVI", f"samples = {columns}", f"lines = {rows}", "bands = 1", "data type = 2", "interleave = bsq"]
    path.write_text("\n".join([*header, *more]))
    return path


def write_tiff(path, stored, scale, no_data="-1"):
    items = f'<GDALMetadata><Item name="SCALE" sample="0" role="scale">{scale}</Item></GDALMetadata>'
    tags = [(42112, "s", 0, items, True), (42113, "s", 0, no_data, True)]
    tifffile.imwrite(path, stored, photometric="minisblack", metadata=None, extratags=tags)
    return path


def write_each(folder, values, name, missing=()):
    """The values in 1/10 000 in each format that can state its encoding, without data where ``missing``."""
    stored = np.round(values * 10000).astype(np.int16)
    for row, column in missing:
        stored[row, column] = -1
    return [
        write_hdf5(folder / f"{name}.h5", stored, name, scale_factor=1e-4, _FillValue=np.int16(-1)),
        write_hdf5(folder / f"{name}-range.h5", stored, name, scale_factor=1e-4, valid_range=[0, 10000]),
        write_envi(folder / f"{name}.hdr", stored, "data gain values = {0.0001}", "data ignore value = -1"),
        write_envi(
            folder / f"{name}-factor.hdr", stored, "reflectance scale factor = 10000", "data ignore value = -1"
        ),
        write_tiff(folder / f"{name}.tif", stored, 1e-4),
    ]


def test_exposures(tmp_path):
    for path in write_each(tmp_path, FRAME, "meas"):
        measurement = read_measurement(path)
        np.testing.assert_allclose(measurement.frame, FRAME, atol=6e-5)
        assert {"gain", "divided_by"} & measurement.provenance.keys()
    for path in write_each(tmp_path, FRAME, "meas", missing=[(1, 2), (3, 4)]):
        with pytest.raises(InputError, match="holds 2 NaN or infinite values, the first at row 1, column 2"):
            read_measurement(path)


def test_counts_of_a_file_that_states_nothing_stay_counts(tmp_path):
    path = write_hdf5(tmp_path / "meas.h5", np.full((H, W), 7, np.uint16), "meas", _FillValue=np.uint16(9))
    assert read_measurement(path).frame.dtype == np.uint16


def test_masks(tmp_path):
    for path in write_each(tmp_path, MASK, "mask"):
        np.testing.assert_allclose(read_mask(path), MASK, atol=6e-5)


def test_masks_of_each_band_and_beside_an_exposure(tmp_path):
    masks = np.stack([MASK * (band + 1) / C for band in range(C)])
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file["meas"] = FRAME
        file["mask"] = np.round(masks * 200).astype(np.uint8)
        file["mask"].attrs["scale_factor"] = 0.005
    np.testing.assert_allclose(read_measurement(tmp_path / "both.h5").mask, masks, atol=3e-3)
    np.testing.assert_allclose(read_mask(tmp_path / "both.h5"), masks, atol=3e-3)


def test_no_data_in_a_class_map_is_unlabelled(tmp_path):
    """By itself, beside a cube and in a data set, where it may not be a class as well."""
    labels = np.array([[0, 1, 255], [2, 255, 0]])
    known = np.where(labels == 255, UNLABELLED, labels)
    gaps, far = np.where(labels == 255, np.nan, labels), np.where(labels == 255, -3e38, labels).astype(np.float32)
    paths = [
        write_hdf5(tmp_path / "a.h5", labels.astype(np.uint8), "gt", _FillValue=np.uint8(255)),
        write_hdf5(tmp_path / "b.h5", labels.astype(np.int16), "gt", valid_range=[0, 2]),
        write_hdf5(tmp_path / "c.h5", gaps, "gt", _FillValue=np.nan),
        write_hdf5(tmp_path / "d.h5", far, "gt", _FillValue=np.float32(-3e38)),
        write_envi(tmp_path / "a.hdr", labels, "data ignore value = 255"),
        write_tiff(tmp_path / "a.tif", labels.astype(np.uint8), 1, "255"),
    ]
    codes = {(value,): value for value in range(3)}
    for path in paths:
        np.testing.assert_array_equal(read_class_map(path)[0], known)
        stored, stated = read_codes(path, codes, class_names="abc")
        np.testing.assert_array_equal(classes_of(stored, stated, path), known)
    with pytest.raises(
        InputError, match=r"a\.h5 states that 255 is no data but the data set calls it 'd'; set unlab"
    ):
        read_codes(paths[0], codes | {(255,): 3}, class_names="abcd")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["cube"] = np.ones((2, 3, 1))
    np.testing.assert_array_equal(read_scene(tmp_path / "a.h5").classes, known)


def test_a_gain_for_every_band_needs_every_band(tmp_path):
    path = write_envi(tmp_path / "a.hdr", MASK * 100, "data gain values = {1, 2, 3}")
    with pytest.raises(InputError, match="states 3 gains or offsets for 1 bands; correct them in its header"):
        read_measurement(path)
    with pytest.raises(InputError, match="3 gains or offsets"):
        read_mask(path)


def test_a_divisor_of_the_user_takes_the_place_of_that_of_the_file(tmp_path):
    stored = np.round(np.stack([MASK] * 3) * 10000).astype(np.int16)
    header = ["ENVI", f"samples = {W}", f"lines = {H}", "bands = 3", "data type = 2", "interleave = bsq"]
    stored.tofile(tmp_path / "c.img")
    (tmp_path / "c.hdr").write_text("\n".join([*header, "reflectance scale factor = 10000"]))
    scene = read_scene(tmp_path / "c.hdr")
    np.testing.assert_allclose(scene.cube, stored / 10000, rtol=1e-6)
    assert scene.provenance["divided_by"] == 10000
    scene = read_scene(tmp_path / "c.hdr", divisor=5000)
    np.testing.assert_allclose(scene.cube, stored / 5000, rtol=1e-6)
    assert scene.provenance["divided_by"] == 5000


def test_a_divisor_on_top_of_a_gain_is_doubted_where_it_leaves_no_light(tmp_path):
    stored = np.round(np.stack([MASK] * 3) * 10000).astype(np.int16)
    path = write_hdf5(tmp_path / "c.h5", stored, "cube", scale_factor=1e-4)
    words = r"c\.h5 states a gain, after which hardly any value divided by 10000 exceeds 0\.01; omit divisor"
    with pytest.warns(InputWarning, match=words):
        assert read_scene(path, axes="chw", divisor=10000).cube.max() < 1e-3
    index = tmp_path / "set.yaml"
    index.write_text("cubes: '{name}.h5'\naxes: chw\nbands: 3\ndivisor: 10000\nsplits: {test: [c]}\n")
    with pytest.warns(InputWarning, match=f"{words} in a"):
        open_set(index, "test")
    with h5py.File(path, "a") as file:
        file["cube"].attrs["scale_factor"] = 0.01  # percent
    np.testing.assert_allclose(read_scene(path, axes="chw", divisor=100).cube, stored / 10000, rtol=1e-6)


# -- said ------------------------------------------------------------------------------------------------------


def test_info_shows_what_a_file_states(tmp_path, capsys):
    paths = write_each(tmp_path, FRAME, "meas")
    shown = []
    for path in paths:
        assert main(["info", str(path)]) == 0
        shown += [line for line in capsys.readouterr().out.splitlines() if "stated by the file" in line]
    assert shown == [
        "meas, stated by the file and applied: gain 0.0001, no data -1",
        "meas, stated by the file and applied: gain 0.0001, valid range 0 10000",
        "image, stated by the file and applied: gain 0.0001, no data -1",
        "image, stated by the file and applied: no data -1, divided by 10000",
        "image, stated by the file and applied: gain 0.0001, no data -1",
    ]
    assert main(["info", str(paths[0]), "--json"]) == 0
    (array,) = json.loads(capsys.readouterr().out)["arrays"]
    assert array["encoding"] == {"gain": [0.0001], "no_data": [-1.0]}
    assert array["max"] > 1  # as stored


def test_the_scale_of_a_mask_is_said_wherever_it_lies(tmp_path):
    np.save(tmp_path / "mask.npy", (MASK > 0.5) * 255.0)
    np.save(tmp_path / "y.npy", FRAME)
    np.savez(tmp_path / "both.npz", meas=FRAME, mask=(MASK > 0.5) * 255.0)
    mask, divisor, _ = read_stored_mask(tmp_path / "mask.npy")
    results = []
    for name, given in (("y.npy", {"mask": mask, "mask_divisor": divisor}), ("both.npz", {})):
        lines = []
        pipeline = Pipeline(GapTv(iterations=1), Preparation(**given), notify=lines.append)
        results.append(pipeline.decode(pipeline.read(tmp_path / name)))
        assert lines == ["the mask is read as transmission: its numbers divided by 255"]
        assert results[-1].record["measurement"]["mask_divided_by"] == 255
    np.testing.assert_array_equal(results[0].scene.cube, results[1].scene.cube)
    lines = []
    pipeline = Pipeline(GapTv(iterations=1), Preparation(mask=MASK), notify=lines.append)
    assert "mask_divided_by" not in pipeline.decode(pipeline.read(tmp_path / "both.npz")).record["measurement"]
    assert lines == []


def test_info_of_numbers_that_json_does_not_have(tmp_path, capsys):
    arrays = {
        "long": np.array([[1.5, 2.5], [3.5, 4.5]], np.longdouble),
        "beyond": np.full((2, 3), np.longdouble("1e4000")),
        "large": np.full((2, 3), 1.7e308),
        "half": np.ones((2, 3), np.float16),
        "unsigned": np.array([[2**63]], np.uint64),
        "complex": np.ones((2, 3), np.complex64),
    }
    np.savez(tmp_path / "odd.npz", **arrays, crsdun='{"provenance": {"a": NaN, "b": 1e400}}')
    assert main(["info", str(tmp_path / "odd.npz"), "--json"]) == 0

    def refuse(constant):
        raise AssertionError(constant)

    described = json.loads(capsys.readouterr().out, parse_constant=refuse)
    found = {array["key"]: array for array in described["arrays"]}
    assert "complex" not in found
    assert (found["long"]["min"], found["long"]["max"], found["long"]["mean"]) == (1.5, 4.5, 3.0)
    assert found["unsigned"]["max"] == 2**63
    assert found["large"]["mean"] is None
    assert described["metadata"]["provenance"] == {"a": "NaN", "b": "1e400"}
    assert describe(tmp_path / "odd.npz").arrays[0].dtype == str(np.dtype(np.longdouble))


# -- attributes however they were written ----------------------------------------------------------------------

CUBE = np.random.default_rng(2).random((C, H, W))
WAVELENGTHS = np.array([450.0, 500, 550, 650])


def test_unsigned_numbers_in_signed_integers(tmp_path):
    """netCDF's ``_Unsigned``: read with and without their own no-data value, in memory and left in the file."""
    stored = np.round(CUBE * 60000).astype(np.uint16)
    stored[0, 0, 0] = 65535
    for name, array in (("cube", stored), ("meas", stored[0])):
        path = write_hdf5(
            tmp_path / f"{name}.h5", array.view(np.int16), name,
            _Unsigned="true", scale_factor=1 / 60000, _FillValue=np.int16(-1),
        )  # fmt: skip
        if name == "cube":
            scene = read_scene(path)
            assert np.isnan(scene.cube[0, 0, 0])
            np.testing.assert_allclose(scene.cube[1:], CUBE[1:], atol=2e-5)
        else:
            with pytest.raises(InputError, match="holds 1 NaN"):
                read_measurement(path)
    plain = write_hdf5(tmp_path / "plain.h5", stored[0].view(np.int16), "meas", _Unsigned="true")
    frame = read_measurement(plain).frame
    assert frame.dtype == np.uint16
    np.testing.assert_array_equal(frame, stored[0])


def test_wavelengths_have_an_encoding_too(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", CUBE, "cube")
    with h5py.File(path, "r+") as file:
        file["wavelength"] = (WAVELENGTHS * 10).astype(np.int16)
        file["wavelength"].attrs.update({"scale_factor": 0.1, "units": "nm"})
    assert read_scene(path).wavelengths == pytest.approx(WAVELENGTHS, abs=1e-9)


@pytest.mark.parametrize("unit", ["um", np.bytes_("um"), np.array(["um"], dtype=object), np.array([b"um"])])
def test_units_however_they_were_stored(tmp_path, unit):
    path = write_hdf5(tmp_path / "a.h5", CUBE, "cube")
    with h5py.File(path, "r+") as file:
        file["wavelength"] = WAVELENGTHS / 1000
        file["wavelength"].attrs["units"] = unit
    assert read_scene(path).wavelengths == pytest.approx(WAVELENGTHS)


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_range": "0, 10000"},
        {"valid_range": np.bytes_("0 10000")},
        {"_FillValue": "none"},
        {"missing_value": ""},
        {"scale_factor": "0.0001"},
        {"scale_factor": np.bytes_("1e-4")},
    ],
)
def test_odd_attributes_are_understood(tmp_path, attributes):
    stored = np.round(CUBE * 10000).astype(np.int16)
    path = write_hdf5(tmp_path / "a.h5", stored, "cube", **{"scale_factor": 1e-4, **attributes})
    np.testing.assert_allclose(read_scene(path).cube, CUBE, atol=6e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("_FillValue", "void"), ("valid_min", "low"), ("scale_factor", 0.0), ("add_offset", np.nan)]
)
def test_an_attribute_that_says_nothing_is_named(tmp_path, name, value):
    path = write_hdf5(tmp_path / "a.h5", np.ones((C, H, W), np.int16), "cube", **{name: value})
    with pytest.raises(InputError, match=rf"cube in .*a\.h5 states {name} .*not understood; correct or") as refused:
        read_scene(path)
    assert "damaged" not in str(refused.value)


def test_a_valid_range_of_the_values_themselves(tmp_path):
    stored = np.zeros((3, 6, 4), np.int16) + np.array([0, 500, 9500, 9600], np.int16)
    for limits in ({"valid_range": np.float32([0.05, 0.95])}, {"valid_min": 0.05, "valid_max": np.int16(9500)}):
        with h5py.File(tmp_path / "cube.h5", "w") as file:
            file["cube"] = stored
            file["cube"].attrs.update({"scale_factor": 1e-4, **limits})
        cube = read_scene(tmp_path / "cube.h5", axes="chw").cube
        np.testing.assert_allclose(cube[0, 0], (np.nan, 0.05, 0.95, np.nan), rtol=1e-6)


def test_a_valid_range_that_no_number_leaves_is_one_of_the_numbers(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = np.zeros((3, 6, 4), np.int16) + np.array([-999, 500, 9500, 9600], np.int16)
        file["cube"].attrs.update({"scale_factor": 1e-4, "valid_range": np.array([-100.0, 16000.0])})
    cube = read_scene(tmp_path / "cube.h5", axes="chw").cube
    np.testing.assert_allclose(cube[0, 0], (np.nan, 0.05, 0.95, 0.96), rtol=1e-6)


def test_a_dimension_of_netcdf_is_no_list_of_wavelengths(tmp_path):
    with h5py.File(tmp_path / "cube.nc", "w") as file:
        file["cube"] = np.zeros((4, 6, 9), np.float32)
        file["wavelength_nm"] = [400.0, 500, 600, 700]
        file["wavelength"] = np.zeros(4)
        file["wavelength"].make_scale(f"{'This is a netCDF dimension but not a netCDF variable.':<60}4")
        file["cube"].dims[0].attach_scale(file["wavelength"])
    file = read_arrays(tmp_path / "cube.nc")
    assert (list(file.arrays), file.wavelengths) == (["cube"], (400, 500, 600, 700))


def test_gdal_says_no_data_in_words(tmp_path):
    stored = np.round(MASK * 10000).astype(np.uint16)
    for word in ("none", "nan"):
        np.testing.assert_allclose(read_mask(write_tiff(tmp_path / "a.tif", stored, 1e-4, word)), MASK, atol=6e-5)
    with pytest.raises(InputError, match=r"a\.tif states GDAL_NODATA 'empty', which is not understood"):
        read_mask(write_tiff(tmp_path / "a.tif", stored, 1e-4, "empty"))


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Zarr 3 takes Python 3.11")
def test_zarr_as_xarray_writes_it(tmp_path):
    xarray = pytest.importorskip("xarray")
    cube, frame = CUBE.astype(np.float32), FRAME.copy()
    cube[0, 0, 0] = np.nan
    scene = xarray.Dataset(
        {"cube": (("wavelength", "y", "x"), cube), "meas": (("y", "u"), frame)},
        coords={"wavelength": ("wavelength", WAVELENGTHS / 1000, {"units": "um"})},
    )
    scene["cube"].encoding = {"dtype": "int16", "scale_factor": 1e-4, "add_offset": 0.5, "_FillValue": -32768}
    scene["wavelength"].encoding = {"dtype": "int32", "scale_factor": 1e-6, "_FillValue": -1}
    scene.to_zarr(tmp_path / "a.zarr", zarr_format=3)
    read = read_scene(tmp_path / "a.zarr")
    np.testing.assert_allclose(read.cube, cube, atol=6e-5)
    assert np.isnan(read.cube[0, 0, 0])
    assert read.wavelengths == pytest.approx(WAVELENGTHS)
    assert read.provenance["gain"] == [1e-4]
    # xarray states the NaN of floating-point numbers as base64.
    np.testing.assert_allclose(read_measurement(tmp_path / "a.zarr").frame, FRAME, rtol=1e-6)


def test_zarr_of_version_2_is_called_so(tmp_path, capsys):
    (tmp_path / "old.zarr").mkdir()
    (tmp_path / "old.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    words = r"old\.zarr is a Zarr store of version 2, and crsdun reads version 3; save it again with zarr_format=3"
    with pytest.raises(InputError, match=words):
        read_scene(tmp_path / "old.zarr")
    assert main(["spectra", str(tmp_path / "old.zarr"), "--at", "1,1"]) == 2
    assert "Zarr store of version 2" in capsys.readouterr().err
