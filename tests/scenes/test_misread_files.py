"""Files that were once read as something other than their author meant: read right, or refused with the remedy."""

import struct
import zlib
from importlib.util import find_spec

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import tifffile
from PIL import Image

from crsdun.errors import InputError
from crsdun.optics import normalise_frame
from crsdun.scenes import (
    Measurement,
    Scene,
    open_mask,
    open_set,
    read_arrays,
    read_frame,
    read_mask,
    read_measurement,
    read_scene,
    write_measurement,
    write_scene,
)
from crsdun.scenes.dataset_check import check_set

CUBE = np.random.default_rng(0).random((4, 12, 16)).astype(np.float32)  # (C,H,W)
CODE = (np.random.default_rng(1).random((6, 8)) < 0.5).astype(np.float64)
CODE[0, :2] = 0, 1
GREY = np.random.default_rng(2).random((6, 8))
GREY[0, 0] = 1


# -- masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("open_value", [1, 100, 255])
def test_the_values_of_a_mask_give_its_scale(tmp_path, dtype, open_value):
    mask = (CODE * open_value).astype(dtype)
    np.savez(tmp_path / "both.npz", meas=np.ones((6, 14)), mask=mask)
    np.save(tmp_path / "mask.npy", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npy"), CODE)
    measurement = read_measurement(tmp_path / "both.npz")
    np.testing.assert_array_equal(measurement.mask, CODE)
    assert measurement.provenance.get("mask_divided_by", 1) == open_value


def test_a_mask_of_12_bits_in_16(tmp_path):
    Image.fromarray(np.round(GREY * 4095).astype(np.uint16)).save(tmp_path / "mask.png")
    np.testing.assert_allclose(read_mask(tmp_path / "mask.png"), GREY, atol=2e-4)


def test_transmissions_above_1_are_refused(tmp_path):
    np.save(tmp_path / "mask.npy", GREY * 100)
    with pytest.raises(InputError, match="transmissions up to 100, but 1 is open; divide it by 100"):
        read_mask(tmp_path / "mask.npy")


def test_every_page_of_a_mask_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "mask.tif") as file:
        for band in CUBE:
            file.write(band, contiguous=False)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), CUBE)


# -- what a file states about its numbers ----------------------------------------------------------------------


def write_envi(folder, cube, code, *more, name="e.hdr", encoding="utf-8", byte_order=True):
    cube.tofile(folder / "e.img")
    bands, lines, samples = cube.shape
    header = ["ENVI", f"samples = {samples}", f"lines = {lines}", f"bands = {bands}", f"data type = {code}"]
    header += ["interleave = bsq", *(["byte order = 0"] if byte_order else []), *more]
    (folder / name).write_text("\n".join(header), encoding=encoding)
    return folder / name


def test_envi_gain_offset_and_bad_bands(tmp_path):
    counts = np.arange(4 * 12 * 16, dtype=np.int16).reshape(4, 12, 16)
    more = [
        "data gain values = {1e-4, 2e-4, 3e-4, 4e-4}",
        "data offset values = {0, 0, 0.1, 0.1}",
        "bbl = {1, 0, 1, 1}",
    ]
    scene = read_scene(write_envi(tmp_path, counts, 2, *more, "wavelength = {400, 500, 600, 700}"))
    expected = counts * np.reshape([1e-4, 2e-4, 3e-4, 4e-4], (4, 1, 1)) + np.reshape([0.0, 0, 0.1, 0.1], (4, 1, 1))
    np.testing.assert_allclose(scene.cube, expected[[0, 2, 3]], rtol=1e-6)
    assert scene.wavelengths == (400, 600, 700)
    assert scene.provenance["bad_bands"] == [1]
    assert scene.provenance["gain"] == [1e-4, 2e-4, 3e-4, 4e-4]


@pytest.mark.parametrize("stated", [True, False])
def test_no_data_is_not_light(tmp_path, stated):
    cube = CUBE.copy()
    cube[:, 0, :3] = -9999
    path = write_envi(tmp_path, cube, 4, *(["data ignore value = -9999"] if stated else []))
    if not stated:
        with pytest.raises(InputError, match="12 values down to -9999, which look like no data"):
            read_scene(path)
        return
    scene = read_scene(path)
    assert scene.missing == 12
    assert np.isnan(scene.cube[:, 0, :3]).all()
    np.testing.assert_array_equal(scene.cube[:, 1:], CUBE[:, 1:])
    assert scene.provenance["no_data"] == [-9999]


@pytest.mark.parametrize("stated", ["3.402823e+38", "3.40282e+38", "3.4028234663852886e+38"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_no_data_is_told_in_few_digits(tmp_path, sign, stated):
    cube = CUBE.copy()
    cube[:, 0, :3] = float(f"{sign}3.4028234663852886e+38")
    scene = read_scene(write_envi(tmp_path, cube, 4, f"data ignore value = {sign}{stated}"))
    assert scene.missing == 12
    np.testing.assert_array_equal(scene.cube[:, 1:], CUBE[:, 1:])


def test_no_data_beyond_the_type_gives_no_warning(tmp_path):
    assert read_scene(write_envi(tmp_path, CUBE, 4, "data ignore value = 1.7976931348623157e+308")).missing == 0


@pytest.mark.parametrize("suffix", [".npz", ".hdr", ".mat", ".h5", ".tif"])
def test_our_own_cubes_in_counts_are_light(tmp_path, suffix):
    counts = (CUBE - 0.5) * 4000
    write_scene(Scene(counts), tmp_path / f"cube{suffix}")
    np.testing.assert_array_equal(read_scene(tmp_path / f"cube{suffix}").cube, counts)


def test_envi_gains_to_reflectance_go_before_those_to_radiance(tmp_path):
    counts = np.full((4, 12, 16), 20000, np.uint16)
    more = ["data gain values = {2,2,2,2,}", "data offset values = {3,3,3,3}", "wavelength = {400, 500, 600, 700,}"]
    more += ["data reflectance gain values = {5e-5,5e-5,5e-5,4e-5}"]
    cube = read_scene(write_envi(tmp_path, counts, 12, *more)).cube
    np.testing.assert_allclose(cube[:, 0, 0], (1, 1, 1, 0.8), rtol=1e-6)
    cube = read_scene(
        write_envi(tmp_path, counts, 12, *more, "data reflectance offset values = {-.1,-.1,-.1,-.1}")
    ).cube
    np.testing.assert_allclose(cube[:, 0, 0], (0.9, 0.9, 0.9, 0.7), rtol=1e-6)


def test_a_comma_behind_the_last_item_of_an_envi_list(tmp_path):
    more = ["wavelength = {400, 500, 600, 700,}", "class names = {soil, leaf, }"]
    file = read_arrays(write_envi(tmp_path, CUBE, 4, *more))
    assert (file.wavelengths, file.metadata["class_names"]) == ((400, 500, 600, 700), ["soil", "leaf"])


def test_hdf5_attributes(tmp_path):
    stored = np.round(CUBE * 10000).astype(np.int16)
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = stored
        file["cube"].attrs.update({"scale_factor": 2e-4, "add_offset": -0.5, "_FillValue": np.int16(-1)})
    np.testing.assert_allclose(read_scene(tmp_path / "cube.h5").cube, 2 * CUBE - 0.5, atol=2e-4)
    with h5py.File(tmp_path / "cube.h5", "r+") as file:
        file["cube"][0, 0, 0] = -1
    assert np.argwhere(np.isnan(read_scene(tmp_path / "cube.h5").cube)).tolist() == [[0, 0, 0]]


def test_gdal_tags(tmp_path):
    items = "".join(f'<Item name="SCALE" sample="{band}" role="scale">0.0001</Item>' for band in range(4))
    tags = [(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True), (42113, "s", 0, "-32768", True)]
    counts = np.round(CUBE * 10000).astype(np.int16)
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None, "extratags": tags}
    tifffile.imwrite(tmp_path / "a.tif", counts, **options)
    np.testing.assert_allclose(read_scene(tmp_path / "a.tif").cube, CUBE, atol=1e-4)
    counts[0, 0, 0] = -32768
    tifffile.imwrite(tmp_path / "b.tif", counts, **options)
    assert np.argwhere(np.isnan(read_scene(tmp_path / "b.tif").cube)).tolist() == [[0, 0, 0]]


def test_gdal_states_a_scale_or_an_offset_of_some_samples(tmp_path):
    items = '<Item name="SCALE" sample="0" role="scale">0.5</Item>'
    items += "".join(f'<Item name="OFFSET" sample="{band}" role="offset">0.1</Item>' for band in (1, 3))
    tags = [(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)]
    cube = np.broadcast_to(np.reshape([0.8, 0.4, 0.4, 0.4], (4, 1, 1)), CUBE.shape).astype(np.float32)
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None, "extratags": tags}
    tifffile.imwrite(tmp_path / "a.tif", cube, **options)
    np.testing.assert_allclose(read_scene(tmp_path / "a.tif").cube[:, 0, 0], (0.4, 0.5, 0.4, 0.5), rtol=1e-6)


def test_integers_without_their_scale(tmp_path):
    np.save(tmp_path / "cube.npy", np.round(np.moveaxis(CUBE, 0, -1) * 4095).astype(np.uint16))
    with pytest.raises(InputError, match="without their scale; set divisor: 10000 for"):
        read_scene(tmp_path / "cube.npy")
    np.testing.assert_allclose(read_scene(tmp_path / "cube.npy", divisor=4095).cube, CUBE, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_8_bits_in_16_are_without_their_scale_too(tmp_path, dtype):
    np.save(tmp_path / "cube.npy", np.round(np.moveaxis(CUBE, 0, -1) * 255).astype(dtype))
    with pytest.raises(
        InputError, match="without their scale; set divisor: 10000 for reflectances, 255 for counts of 8"
    ):
        read_scene(tmp_path / "cube.npy")


def test_complex_numbers_are_refused(tmp_path):
    np.save(tmp_path / "cube.npy", CUBE.astype(np.complex64))
    with pytest.raises(InputError, match="no array of real numbers; save its magnitude"):
        read_scene(tmp_path / "cube.npy")
    scipy.io.savemat(tmp_path / "cube.mat", {"img": 1j * np.moveaxis(CUBE, 0, -1)})
    with pytest.raises(InputError, match="no array of real numbers; save its magnitude"):
        read_scene(tmp_path / "cube.mat")


def test_a_unit_that_contradicts_its_values(tmp_path):
    more = ["wavelength = {0.4, 0.5, 0.6, 0.7}", "wavelength units = Nanometers"]
    with pytest.raises(InputError, match=r"wavelengths of 0\.4–0\.7 in nanometers: no camera's; correct the unit"):
        read_scene(write_envi(tmp_path, CUBE, 4, *more))
    more = ["wavelength = {400, 500, 600, 700}", "wavelength units = Micrometers"]
    with pytest.raises(InputError, match=r"wavelengths of 400–700 in micrometers: no camera's; correct the unit"):
        read_scene(write_envi(tmp_path, CUBE, 4, *more))


# -- axes ------------------------------------------------------------------------------------------------------


def test_a_label_map_beside_the_cube_reveals_its_axes(tmp_path):
    np.savez(tmp_path / "cube.npz", img=np.zeros((6, 20, 9)), gt=np.zeros((6, 20), int))
    assert read_scene(tmp_path / "cube.npz").cube.shape == (9, 6, 20)


def test_an_unclear_axis_can_be_given(tmp_path):
    scipy.io.savemat(tmp_path / "line.mat", {"img": np.zeros((20, 64, 28))})
    with pytest.raises(InputError, match="set axes to chw for 20 bands of 64×28, or to hwc for 28 bands of 20×64"):
        read_scene(tmp_path / "line.mat")
    for axes, shape in (("hwc", (28, 20, 64)), ("chw", (20, 64, 28)), ("hcw", (64, 20, 28))):
        assert read_scene(tmp_path / "line.mat", axes=axes).cube.shape == shape


def test_a_cube_with_bands_last_in_a_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "cube.tif", np.moveaxis(CUBE, 0, -1), photometric="minisblack")
    np.testing.assert_array_equal(read_scene(tmp_path / "cube.tif").cube, CUBE)


NAMES = {"C": "wavelength", "H": "y", "W": "x"}


@pytest.mark.parametrize("kind", ["zarr", "labels", "scales"])
@pytest.mark.parametrize("axes", ["CHW", "CWH", "WHC", "HCW"])
def test_axes_count_by_their_names(tmp_path, kind, axes):
    stored, names = CUBE.transpose(["CHW".index(axis) for axis in axes]), [NAMES[axis] for axis in axes]
    frame = np.arange(40.0).reshape(4, 10)
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=3)
        group.create_array("cube", data=np.ascontiguousarray(stored), dimension_names=names)
        group.create_array("other", data=np.zeros((3, 4, 5)), dimension_names=("time", "y", "x"))
        group.create_array("meas", data=frame.T.copy(), dimension_names=("x", "y"))
    else:
        with h5py.File(tmp_path / "a", "w") as file:
            file["cube"], file["other"], file["meas"] = stored, np.zeros((3, 4, 5)), frame.T
            for array, of in (("cube", names), ("meas", ["x", "y"])):
                for place, (name, length) in enumerate(zip(of, file[array].shape, strict=True)):
                    if kind == "labels":
                        file[array].dims[place].label = name
                        continue
                    scale = file.create_dataset(f"{array}_axes/{name}", data=400.0 + np.arange(length))
                    scale.make_scale(name)
                    file[array].dims[place].attach_scale(scale)
    np.testing.assert_array_equal(read_scene(tmp_path / "a", "cube").cube, CUBE)
    np.testing.assert_array_equal(read_measurement(tmp_path / "a", "meas").frame, frame)


REFERENCE = h5py.special_dtype(ref=h5py.Reference)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIMENSION_LABELS", np.array([b"y", b"x", b"band"])),
        ("DIMENSION_LABELS", np.array([1, 2, 3])),
        ("DIMENSION_LABELS", np.array([b"y", b"x"])),
        ("DIMENSION_LABELS", "y"),
        ("DIMENSION_LIST", np.array([1, 2, 3])),
        ("DIMENSION_LIST", "y"),
        ("DIMENSION_LIST", None),
    ],
)
def test_names_of_axes_of_any_type_do_no_harm(tmp_path, name, value):
    """HDF5's own functions crash on some of these."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = np.moveaxis(CUBE, 0, -1)
        if value is None:
            file["cube"].attrs.create(name, file["cube"].ref, dtype=REFERENCE)
        else:
            file["cube"].attrs[name] = value
    np.testing.assert_array_equal(read_scene(tmp_path / "a.h5", axes="hwc").cube, CUBE)


def test_a_scale_that_is_gone_names_no_axis(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"], file["q"] = CUBE, np.arange(len(CUBE))
        file["q"].make_scale("band")
        file["cube"].dims[0].attach_scale(file["q"])
        del file["q"]
    np.testing.assert_array_equal(read_scene(tmp_path / "a.h5", axes="chw").cube, CUBE)


# -- counts ----------------------------------------------------------------------------------------------------


def test_counts_above_the_bit_depth():
    with pytest.raises(InputError, match="stored in the upper bits of 16; set bits to 16"):
        normalise_frame(np.array([[0, 16, 65520]], np.uint16), 1, bit_depth=12)
    with pytest.raises(InputError, match="counts up to 5001, more than 12 bits"):
        normalise_frame(np.array([[1, 5001]], np.uint16), 1, bit_depth=12)


def png(depth, kind, row):
    """A PNG of 4×1 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 1, depth, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_a_picture_of_2_bits_keeps_its_numbers(tmp_path):
    (tmp_path / "grey.png").write_bytes(png(2, 0, bytes([0b00011011])))
    assert read_arrays(tmp_path / "grey.png").arrays["image"].tolist() == [[0, 1, 2, 3]]
    (tmp_path / "colour.png").write_bytes(png(16, 2, bytes(24)))
    with pytest.raises(InputError, match="16 bits per channel in colour"):
        read_arrays(tmp_path / "colour.png")


def test_white_is_the_largest_number_of_the_bits_of_a_picture(tmp_path):
    for band in (1, 2, 3):
        (tmp_path / f"band_{band}.png").write_bytes(png(4, 0, b"\xf0\x5a"))
    np.testing.assert_allclose(read_scene(tmp_path).cube, np.broadcast_to(np.array([15, 0, 5, 10]) / 15, (3, 1, 4)))


@pytest.mark.skipif(find_spec("imagecodecs") is None, reason="imagecodecs (crsdun[tiff]) is not installed")
@pytest.mark.parametrize("bits", [4, 10, 12, 14])
def test_white_of_a_tiff_of_few_bits(tmp_path, bits):
    counts = np.round(CUBE / CUBE.max() * (2**bits - 1)).astype(np.uint8 if bits < 8 else np.uint16)
    tifffile.imwrite(tmp_path / "cube.tif", counts, bitspersample=bits, photometric="minisblack")
    np.testing.assert_allclose(read_scene(tmp_path / "cube.tif").cube, counts / (2**bits - 1), rtol=1e-6)


# -- data sets -------------------------------------------------------------------------------------------------


def test_a_file_with_its_bands_in_another_order_is_refused(tmp_path):
    for name, order in (("a", (400, 500, 600, 700)), ("b", (700, 600, 500, 400))):
        np.savez(tmp_path / f"{name}.npz", cube=CUBE, wavelengths=np.array(order, float))
    (tmp_path / "d.yaml").write_text("cubes: '{name}.npz'\nsplits: {test: ['*']}")
    assert open_set(tmp_path / "d.yaml", "test")[0].wavelengths == (400, 500, 600, 700)
    with pytest.raises(InputError, match=r"b\.npz has wavelengths of 700–400 nm"):
        open_set(tmp_path / "d.yaml", "test")[1]


def test_palettes_that_differ_between_files(tmp_path):
    for name, colours in (("a", [0, 0, 0, 255, 0, 0, 0, 255, 0]), ("b", [0, 0, 0, 0, 255, 0, 255, 0, 0])):
        np.save(tmp_path / f"{name}.npy", np.moveaxis(CUBE, 0, -1))
        labels = Image.fromarray((np.arange(12 * 16).reshape(12, 16) % 3).astype(np.uint8)).convert("P")
        labels.putpalette(colours)
        labels.save(tmp_path / f"{name}.png")
    text = "cubes: '{name}.npy'\nlabels: '{name}.png'\nbands: 4\nclasses: [x, y, z]\nsplits: {test: ['*']}"
    (tmp_path / "d.yaml").write_text(text)
    assert any("b.png shows 1 as the colour (0, 255, 0)" in line for line in check_set(tmp_path / "d.yaml").problems)
    with pytest.raises(InputError, match="may stand for other classes; give each class its colour"):
        open_set(tmp_path / "d.yaml", "test")[1]


# -- whole files that were called damaged ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "details",
    [
        {"byte_order": False},
        {"encoding": "utf-8-sig"},
        {"encoding": "latin-1", "more": ["description = {Größe}"]},
        {"name": "e.HDR"},
        {"more": ["wavelength = {400 nm, 500 nm, 600 nm, 700 nm}"]},
    ],
)
def test_headers_of_envi(tmp_path, details):
    path = write_envi(tmp_path, CUBE, 4, *details.pop("more", []), **details)
    for name in (path.name, "e.img"):
        scene = read_scene(tmp_path / name)
        np.testing.assert_array_equal(scene.cube, CUBE)
        assert scene.wavelengths in (None, (400, 500, 600, 700))


def test_matlab_structs_sparse_arrays_and_v4(tmp_path):
    last = np.moveaxis(CUBE, 0, -1)
    scipy.io.savemat(tmp_path / "s.mat", {"data": {"cube": last, "wavelengths": np.array([400.0, 500, 600, 700])}})
    scene = read_scene(tmp_path / "s.mat")
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.wavelengths == (400, 500, 600, 700)
    scipy.io.savemat(tmp_path / "sparse.mat", {"mask": scipy.sparse.csc_matrix(CODE)})
    scipy.io.savemat(tmp_path / "v4.mat", {"mask": CODE}, format="4")
    for name in ("sparse.mat", "v4.mat"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), CODE)


def test_a_level_in_a_struct(tmp_path):
    scipy.io.savemat(tmp_path / "s.mat", {"s": {"meas": 200 * np.ones((6, 14)), "dark": 100}})
    assert read_frame(tmp_path / "s.mat", "dark", "s/meas") == 100


def test_an_object_beside_the_cube_of_an_npz(tmp_path):
    np.savez(tmp_path / "cube.npz", cube=CUBE, about=np.array({"a": 1}, dtype=object))
    assert list(read_arrays(tmp_path / "cube.npz").arrays) == ["cube"]


# -- the data file of ENVI -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("front", "end"), [(512, 0), (0, 512)])
def test_a_data_file_that_is_larger_than_its_header_says(tmp_path, front, end):
    path = write_envi(tmp_path, CUBE, 4)
    data = (tmp_path / "e.img").read_bytes()
    (tmp_path / "e.img").write_bytes(b"\1" * front + data + b"\1" * end)
    for name in ("e.hdr", "e.img"):
        with pytest.raises(InputError, match=r"e\.img has 512 bytes more than .*e\.hdr .* offset = 512, if"):
            read_scene(tmp_path / name)
    path.write_text(path.read_text() + "\nheader offset = 512")
    if front:
        np.testing.assert_array_equal(read_scene(path).cube, CUBE)


def test_two_data_files_beside_a_header(tmp_path):
    path = write_envi(tmp_path, CUBE, 4)
    (tmp_path / "e.dat").write_text("notes")
    np.testing.assert_array_equal(read_scene(path).cube, CUBE)  # the size tells
    (CUBE / 2).tofile(tmp_path / "e.raw")
    with pytest.raises(InputError, match=r"of .*e\.hdr: e\.img, e\.dat, e\.raw; name the one that does"):
        read_scene(path)
    np.testing.assert_array_equal(read_scene(tmp_path / "e.img").cube, CUBE)
    np.testing.assert_array_equal(read_scene(tmp_path / "e.raw").cube, CUBE / 2)


# -- the scale of a mask ---------------------------------------------------------------------------------------


def test_a_mask_of_two_values_of_which_none_is_0(tmp_path):
    for low, high in ((1, 2), (10, 245)):
        np.save(tmp_path / "mask.npy", np.where(CODE > 0, high, low).astype(np.uint8))
        for read in (read_mask, lambda path: open_mask(path).rows(0, 6)):
            with pytest.raises(InputError, match=f"two values, {low} and {high}, neither of them 0; save it with 0"):
                read(tmp_path / "mask.npy")
    np.save(tmp_path / "mask.npy", np.full((6, 8), 255, np.uint8))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npy"), 1)  # all open
    np.save(tmp_path / "mask.npy", np.where(CODE > 0, 0.9, 0.1))
    np.testing.assert_allclose(read_mask(tmp_path / "mask.npy"), np.where(CODE > 0, 0.9, 0.1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(28, 32, 24), (32, 30, 28), (28, 30, 32)])
def test_an_axis_that_is_only_a_little_shorter_does_not_say_that_it_holds_the_bands(tmp_path, shape):
    np.save(tmp_path / "cube.npy", np.full(shape, 0.5, np.float32))
    with pytest.raises(InputError, match="does not reveal which axis holds the bands"):
        read_scene(tmp_path / "cube.npy")
    assert read_scene(tmp_path / "cube.npy", axes="chw").cube.shape == shape


def test_messages_list_a_few_of_very_many_arrays(tmp_path):
    np.savez(tmp_path / "many.npz", **{f"part_{number}": np.ones((2, 3)) for number in range(500)})
    for read, key in ((read_measurement, None), (read_measurement, "y"), (read_scene, None)):
        with pytest.raises(InputError, match=r"part_11 \(2, 3\) and 488 more") as refused:
            read(tmp_path / "many.npz", key)
        assert len(str(refused.value)) < 700


@pytest.mark.parametrize("suffix", [".hdr", ".npz", ".tif", ".npy"])
@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_a_frame_of_one_row_or_column_comes_back(tmp_path, suffix, shape):
    frame = np.arange(9, dtype=np.float32).reshape(shape)
    write_measurement(Measurement(frame), tmp_path / f"y{suffix}")
    np.testing.assert_array_equal(read_measurement(tmp_path / f"y{suffix}").frame, frame)
