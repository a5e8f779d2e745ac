"""A folder with one picture for each band is a scene wherever a file of a cube is opened, without guessing."""

import hashlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.runtime import Preparation
from crsdun.runtime.batch import check_truth_folder, find_truth
from crsdun.scenes import describe, open_arrays, open_set, read_mask, read_measurement, read_scene
from crsdun.scenes.dataset_check import check_set
from tests.viewing.explorer import Client, running

C, H, W = 11, 10, 12
CUBE = np.random.default_rng(0).integers(0, 65536, (C, H, W)).astype(np.uint16)


def write_bands(folder, cube=CUBE, name="balloons_ms_{:02d}.png", numbers=None):
    """One picture for each band, written last to first."""
    folder.mkdir(parents=True, exist_ok=True)
    for band, number in reversed(list(enumerate(numbers or range(1, len(cube) + 1)))):
        path = folder / name.format(number)
        tifffile.imwrite(path, cube[band]) if path.suffix == ".tif" else Image.fromarray(cube[band]).save(path)
    return folder


def test_the_layout_of_cave(tmp_path):
    folder = write_bands(tmp_path / "balloons_ms")
    (folder / "balloons_RGB.bmp").write_bytes(b"BM")  # as distributed, with a thumbnail
    (folder / "Thumbs.db").write_bytes(b"x")
    scene = read_scene(folder)
    np.testing.assert_allclose(scene.cube, CUBE / 65535, rtol=1e-6)
    assert (scene.name, scene.wavelengths) == ("balloons_ms", None)
    assert scene.provenance["format"] == "PNG, one picture for each band"
    wavelengths = tuple(400.0 + 30 * band for band in range(C))
    assert read_scene(folder, wavelengths=wavelengths).wavelengths == wavelengths


@pytest.mark.parametrize("name", ["b{}.png", "b{:03d}.tif", "{}.png", "2021-11-03_{}.tiff"])
def test_the_order_is_that_of_the_numbers(tmp_path, name):
    write_bands(tmp_path / "s", name=name)
    np.testing.assert_allclose(read_scene(tmp_path / "s").cube, CUBE / 65535, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_the_bit_depth_is_scaled_to_its_full_range(tmp_path, dtype, white):
    cube = (CUBE / 65535 * white).astype(dtype)
    scene = read_scene(write_bands(tmp_path / "s", cube, "b_{}.tif"))
    np.testing.assert_allclose(scene.cube, cube / np.float32(white), rtol=1e-6)


def test_wavelengths_only_where_the_names_state_them(tmp_path):
    numbers = [400, 405.5, 700, *range(710, 710 + C - 3)]
    scene = read_scene(write_bands(tmp_path / "nm", name="x_{}nm.png", numbers=numbers))
    assert scene.wavelengths == tuple(numbers)
    np.testing.assert_allclose(scene.cube, CUBE / 65535, rtol=1e-6)
    assert read_scene(write_bands(tmp_path / "no", name="x_{}.png", numbers=range(400, 620, 20))).wavelengths is None


def test_shades_of_grey_however_they_were_stored(tmp_path):
    cube = (CUBE >> 8).astype(np.uint8)
    (tmp_path / "s").mkdir()
    for band, picture in enumerate(cube):
        Image.fromarray(picture).convert("RGBA" if band % 2 else "RGB").save(tmp_path / "s" / f"w_{band}.png")
    np.testing.assert_allclose(read_scene(tmp_path / "s").cube, cube / 255, rtol=1e-6)


def spoil(folder, how):
    picture = np.zeros((H, W), np.uint16)
    if how == "size":
        Image.fromarray(picture[:-1]).save(folder / "balloons_ms_03.png")
    elif how == "type":
        Image.fromarray(picture.astype(np.uint8)).save(folder / "balloons_ms_03.png")
    elif how == "colour":
        colours = np.dstack([picture, picture + 9, picture]).astype(np.uint8)
        Image.fromarray(colours).save(folder / "balloons_ms_03.png")
    elif how == "pages":
        for file in folder.iterdir():
            file.unlink()
        for band in range(3):
            tifffile.imwrite(folder / f"a_{band}.tif", CUBE, photometric="minisblack")
    elif how == "missing":
        (folder / "balloons_ms_03.png").unlink()
    elif how == "twice":
        Image.fromarray(picture).save(folder / "balloons_ms_3.png")
    elif how == "another":
        Image.fromarray(picture).save(folder / "rgb.png")
    elif how == "cube":
        np.save(folder / "truth.npy", CUBE)
    elif how == "kinds":
        tifffile.imwrite(folder / "balloons_ms_12.tif", picture)
    elif how == "alone":
        for file in sorted(folder.iterdir())[1:]:
            file.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("size", r"_03\.png has 9×12 pixels but balloons_ms_01\.png 10×12; bands of one scene"),
        ("type", r"_03\.png \(uint8\) and balloons_ms_01\.png \(uint16\) store their values differently"),
        ("colour", r"_03\.png is a colour picture"),
        ("pages", r"a_0\.tif holds image \(11, 10, 12\), not the picture of one band"),
        ("missing", r"balloons_ms_02\.png and next balloons_ms_04\.png, but other numbers follow each other by 1"),
        ("twice", r"holds one band twice: balloons_ms_03\.png and balloons_ms_3\.png"),
        ("another", r"it also holds rgb\.png; move what is no band elsewhere"),
        ("cube", r"it also holds truth\.npy"),
        ("kinds", r"bands of different kinds"),
        ("alone", r"is a folder without a picture for each band; name a file, or a folder"),
    ],
)
def test_what_is_not_one_scene_is_refused_with_the_reason(tmp_path, how, message):
    folder = write_bands(tmp_path / "s")
    spoil(folder, how)
    with pytest.raises(InputError, match=message):
        read_scene(folder)


def test_a_folder_around_the_folder_is_said(tmp_path):
    inner = write_bands(tmp_path / "balloons_ms" / "balloons_ms")
    with pytest.raises(InputError, match=f"one PNG or TIFF for each band, such as {inner}"):
        read_scene(inner.parent)


# -- wherever a cube is opened ---------------------------------------------------------------------------------


def test_commands_take_it_for_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_bands(tmp_path / "cave")
    assert main(["simulate", "cave", "--out", "plain.npz"]) == 0
    assert "cave states no wavelengths" in (line := capsys.readouterr().err)
    assert "--wavelengths, such as 400-700:11" in line
    assert main(["info", "cave"]) == 0
    assert "11×10×12" in (words := capsys.readouterr().out)
    assert "wavelengths: not stated; give them with --wavelengths" in words
    assert main(["simulate", "cave", "--wavelengths", "400-700:11", "--out", "y.npz"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["reconstruct", "y.npz", "--iterations", "2", "--truth", "cave", "--out", "result"]) == 0
    assert "PSNR" in capsys.readouterr().out
    truth = read_scene("result/truth.npz")
    np.testing.assert_array_equal(truth.cube, read_scene("cave").cube)
    assert truth.wavelengths == tuple(np.linspace(400, 700, C))


def test_truths_of_many(tmp_path):
    for name in ("a", "b"):
        write_bands(tmp_path / "truths" / name)
        np.save(tmp_path / f"{name}.npy", CUBE[0])
    found = find_truth(tmp_path / "b.npy", tmp_path / "truths")
    assert found == tmp_path / "truths" / "b"
    assert find_truth(tmp_path / "c.npy", tmp_path / "truths" / "a") == tmp_path / "truths" / "a"
    assert Preparation().read_truth(found).bands == C
    check_truth_folder(tmp_path / "truths")
    with pytest.raises(InputError, match="a is one scene; set truth to a folder with one file for each measurement"):
        check_truth_folder(tmp_path / "truths" / "a")


def test_masks_of_each_band(tmp_path):
    mask = (CUBE > 30000).astype(np.uint8) * 255
    np.testing.assert_array_equal(read_mask(write_bands(tmp_path / "mask", mask)), mask // 255)


def test_a_data_set_of_such_folders(tmp_path):
    for name, cube in (("balloons", CUBE), ("beads", CUBE[:, ::-1])):
        write_bands(tmp_path / f"{name}_ms" / f"{name}_ms", cube, name=name + "_ms_{:02d}.png")
    text = "cubes: '{name}_ms/{name}_ms'\nsplits: {train: [balloons], test: [beads]}\n"
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(InputError, match="no wavelengths; give wavelengths, such as 400-700:31, or bands in"):
        open_set(tmp_path / "d.yaml", "test")
    (tmp_path / "d.yaml").write_text(f"{text}wavelengths: 400-700:11\n")
    part = open_set(tmp_path / "d.yaml", "train").crop(0, 2, 3, 4, 5)
    np.testing.assert_allclose(part.cube, CUBE[:, 2:6, 3:8] / 65535, rtol=1e-6)
    check = check_set(tmp_path / "d.yaml")
    assert not check.problems
    band = tmp_path / "beads_ms" / "beads_ms" / "beads_ms_01.png"
    assert check.hashes["beads_ms/beads_ms/beads_ms_01.png"] == hashlib.sha256(band.read_bytes()).hexdigest()
    assert len(check.hashes) == 2 * C + 1
    band.unlink()
    Image.fromarray(CUBE[0][:4]).save(band)
    assert any("pixels but beads_ms_01.png 4×12" in line for line in check_set(tmp_path / "d.yaml").problems)


def test_the_explorer_opens_it(tmp_path):
    folder = write_bands(tmp_path / "cave")
    with running([folder]) as link:
        state = Client(link).state()
    assert [state["scene"][name] for name in ("name", "bands", "height", "width")] == ["cave", C, H, W]


def test_its_description(tmp_path):
    file = describe(write_bands(tmp_path / "cave"))
    assert [(array.shape, array.dtype, array.looks_like) for array in file.arrays] == [((C, H, W), "uint16", "cube")]


# -- what the channels of a picture mean -----------------------------------------------------------------------

SHADES = np.random.default_rng(3).integers(0, 256, (6, 8)).astype(np.uint8)
SHADES[0, :2] = 0, 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_picture_means_the_same_in_each_format(tmp_path, suffix, mode):
    Image.fromarray(SHADES).convert(mode).save(tmp_path / f"grey{suffix}")
    np.testing.assert_array_equal(read_measurement(tmp_path / f"grey{suffix}").frame, SHADES)
    np.testing.assert_allclose(read_mask(tmp_path / f"grey{suffix}"), SHADES / np.float32(255))


def reversed_palette(path, indices):
    """A picture whose index 255 is black."""
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([255 - index // 3 for index in range(768)])
    picture.save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_indices_of_a_palette_are_no_light(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    reversed_palette(path, 255 - SHADES)
    np.testing.assert_array_equal(read_measurement(path).frame, SHADES)
    picture = Image.fromarray(SHADES).convert("P")
    picture.putpalette([255, 0, 0] + [0, 0, 255] * 255)
    picture.save(path)
    with pytest.raises(InputError, match="colour picture; save it in shades of grey"):
        read_mask(path)


def test_pages_of_a_palette_are_a_cube_of_light(tmp_path):
    ramp = np.arange(256, dtype=np.uint16)[::-1] * 257
    with tifffile.TiffWriter(tmp_path / "cube.tif") as file:
        for page in CUBE[:3] >> 8:
            file.write(255 - page.astype(np.uint8), photometric="palette", colormap=np.stack([ramp] * 3))
    np.testing.assert_allclose(read_scene(tmp_path / "cube.tif").cube, (CUBE[:3] >> 8) / 255, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_white_may_be_stored_as_0(tmp_path, dtype):
    stored = SHADES <= 127 if dtype is bool else (SHADES <= 127).astype(dtype) * np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "white.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(tmp_path / "white.tif"), SHADES > 127)
    tifffile.imwrite(tmp_path / "white.tif", stored.astype(np.float32), photometric="miniswhite")
    with pytest.raises(InputError, match="stores white as 0 in float32 numbers; save it with black as 0"):
        read_mask(tmp_path / "white.tif")


def test_a_large_picture_with_white_as_0_is_not_left_in_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("crsdun.scenes.formats.array_file.LARGE_PICTURE", 10)
    tifffile.imwrite(tmp_path / "a.tif", SHADES, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "b.tif", 255 - SHADES, photometric="miniswhite", metadata=None)
    files = [open_arrays(tmp_path / name) for name in ("a.tif", "b.tif")]
    assert [isinstance(file.arrays["image"], np.memmap) for file in files] == [True, False]
    for file in files:
        np.testing.assert_array_equal(file.arrays["image"], SHADES)


def test_transparency_is_no_band_but_other_samples_are(tmp_path):
    bands = np.moveaxis(CUBE[:4], 0, -1)
    for kind, count in (("unassalpha", 3), ("assocalpha", 3), ("unspecified", 4)):
        tifffile.imwrite(tmp_path / "rgb.tif", bands, photometric="rgb", extrasamples=[kind], metadata=None)
        np.testing.assert_allclose(read_scene(tmp_path / "rgb.tif").cube, CUBE[:count] / 65535, rtol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, orientation):
    """As Pillow turns a PNG that states the same orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(SHADES).save(tmp_path / "a.png", exif=exif)
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", SHADES, photometric="minisblack", metadata=None, extratags=tag)
    with Image.open(tmp_path / "a.png") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_measurement(tmp_path / "a.tif").frame, expected)
