"""Every figure arrives at its path, of a plausible size, showing what it was given."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.optics import nbk7_wavelengths
from crsdun.viewing import (
    Panel,
    band_sheet,
    class_colours,
    class_map,
    class_picture,
    comparison,
    cube_to_srgb,
    measurement_picture,
    save_png,
    select_pixels,
    spectra,
)
from crsdun.viewing.display import band_picture, band_tint, error_map
from crsdun.viewing.palette import classes_present
from crsdun.viewing.sheet import Legend
from tests.viewing.reports import png_pixels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import colour

NBK7 = nbk7_wavelengths()


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    """Four quarters of different spectra under uneven light, (28, 40, 60)."""
    band = np.linspace(0, 1, 28)[:, None, None]
    quarters = [band, 1 - band, np.exp(-((band - 0.5) ** 2) / 0.02), 0.5 + 0 * band]
    top, bottom = (
        np.concatenate([np.tile(q, (1, 20, 30)) for q in pair], axis=2) for pair in (quarters[:2], quarters[2:])
    )
    return (np.concatenate([top, bottom], axis=1) * np.linspace(0.7, 1, 60)).astype(np.float32)


# -- the palette ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sight", "least"), [(None, 9), ("Deuteranomaly", 8), ("Protanomaly", 8)])
def test_24_classes_are_told_apart(sight, least):
    space = colour.RGB_COLOURSPACES["sRGB"]
    light = space.cctf_decoding(np.vstack([class_colours(24), class_picture(np.array([[-1]]))[0]]) / 255)
    if sight:
        light = np.clip(light @ np.asarray(colour.blindness.matrix_cvd_Machado2009(sight, 1.0)).T, 0, 1)
    labs = colour.XYZ_to_Lab(light @ space.matrix_RGB_to_XYZ.T, space.whitepoint)
    first, second = np.triu_indices(25, 1)
    assert colour.delta_E(labs[first], labs[second], method="CIE 2000").min() > least


def test_a_class_keeps_its_colour():
    np.testing.assert_array_equal(class_colours(5), class_colours(40)[:5])
    assert len(np.unique(class_colours(48), axis=0)) == 48
    assert class_colours(100).shape == (100, 3)
    assert class_colours(0).shape == (0, 3)


def test_class_picture():
    image = class_picture(np.array([[0, 3], [-1, 0]], dtype=np.int8))
    assert image[0, 1].tolist() == class_colours(4)[3].tolist()
    assert image[0, 0].tolist() == image[1, 1].tolist()
    assert np.ptp(image[1, 0].astype(int)) == 0
    for wrong in (np.zeros((2, 2)), np.zeros(3, dtype=int), np.array([[-2]])):
        with pytest.raises(InputError, match="class map"):
            class_picture(wrong)


def test_classes_present_in_several_maps():
    entries = classes_present([np.array([[2, -1]]), None, np.array([[0, 3]], dtype=np.uint8)], ("a", "b", "c"))
    assert [entry[:2] for entry in entries] == [(0, "a"), (2, "c"), (3, "class 3"), (-1, "unlabelled")]
    np.testing.assert_array_equal([entry.colour for entry in entries[:-1]], class_colours(4)[[0, 2, 3]])
    assert [entry.name for entry in classes_present([np.full((2, 2), -1)], None)] == ["unlabelled"]


def test_a_legend_breaks_its_lines():
    entries = classes_present([np.arange(9)[None]], [9 * "x"] * 9)
    one, some, narrow = (Legend(entries, width, 13) for width in (5000, 400, 1))
    assert [len(line) for line in one.lines] == [9]
    assert 2 < len(some.lines) < 9
    assert [len(line) for line in narrow.lines] == [1] * 9
    assert narrow.height == 9 * one.height
    assert Legend([], 100, 13).height == 0


# -- bands and errors ----------------------------------------------------------------------------------------


def test_a_band_between_black_and_white():
    band = np.array([[-1, 0, 0.5, 1, 2]])
    half = round(255 * 0.5 ** (1 / 1.6))
    assert band_picture(band, white=1).tolist() == [[0, 0, half, 255, 255]]
    assert band_picture(band, white=2, black=1).tolist() == [[0, 0, 0, 0, 255]]
    assert band_picture(band, white=0).tolist() == [[0, 0, half, 255, 255]]  # a black band with bright pixels
    tinted = band_picture(band, white=1, tint=np.array([1, 0.5, 0]))
    assert tinted[0, 3].tolist() == [255, 128, 0]
    assert band_tint(None, 3).tolist() == [1, 1, 1]


def test_the_error_map_is_the_rmse_over_bands():
    truth = np.zeros((2, 1, 2), dtype=np.float32)
    estimate = np.array([[[3, 0]], [[4, 1]]], dtype=np.float32)
    np.testing.assert_allclose(error_map(estimate, truth), np.sqrt([[12.5, 0.5]]), rtol=1e-6)


# -- the figures ---------------------------------------------------------------------------------------------


def test_save_png_keeps_every_pixel(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    save_png(image, tmp_path / "new" / "no_suffix")
    np.testing.assert_array_equal(png_pixels(tmp_path / "new" / "no_suffix"), image)
    with pytest.raises(InputError, match="uint8"):
        save_png(image / 255, tmp_path / "float.png")


def test_band_sheet_has_a_tinted_tile_for_each_band(cube, tmp_path):
    band_sheet(cube, NBK7, tmp_path / "bands.png")
    sheet = png_pixels(tmp_path / "bands.png")
    assert sheet.shape[1] > 1400
    rows = np.array_split(sheet, 4)
    assert rows[0][..., 2].mean() > 1.5 * rows[0][..., 1].mean()  # violet
    assert rows[2][..., 1].mean() > 1.5 * rows[2][..., 2].mean()  # green
    assert rows[3][..., 0].mean() > 1.5 * rows[3][..., 2].mean()  # red


def test_band_sheet_without_wavelengths_is_grey_and_chooses_from_many_bands(cube, tmp_path):
    band_sheet(np.tile(cube, (4, 1, 1)), None, tmp_path / "many.png")
    many = png_pixels(tmp_path / "many.png")
    band_sheet(cube[:2], None, tmp_path / "two.png")
    two = png_pixels(tmp_path / "two.png")
    assert many.shape[0] > 2 * two.shape[0]
    assert many.shape[1] > 3 * two.shape[1]
    band_sheet(cube, None, tmp_path / "all.png")
    assert png_pixels(tmp_path / "all.png").shape == many.shape
    assert np.ptp(two[60:170, 30:220], axis=-1).max() == 0


def test_class_map_is_drawn_pixel_by_pixel(tmp_path):
    classes = np.random.default_rng(0).integers(-1, 30, (16, 10))
    class_map(classes, [f"fruit {label}" for label in range(30)], tmp_path / "classes.png")
    sheet = png_pixels(tmp_path / "classes.png")
    factor, margin = 40, 24
    drawn = sheet[margin : margin + 16 * factor, margin : margin + 10 * factor]
    np.testing.assert_array_equal(drawn, class_picture(classes).repeat(factor, 0).repeat(factor, 1))
    legend = sheet[:, margin + 10 * factor + 1 :].reshape(-1, 3)
    swatches = {tuple(colour) for colour in class_colours(30)[np.unique(classes[classes >= 0])]}
    assert swatches <= {tuple(pixel) for pixel in np.unique(legend, axis=0)}


def test_class_map_without_names_or_without_labels(tmp_path):
    class_map(np.full((5, 5), -1), None, tmp_path / "none.png")
    class_map(np.zeros((900, 3), dtype=np.uint8), None, tmp_path / "thin.png")
    assert png_pixels(tmp_path / "thin.png").shape[0] == 900 + 48
    with pytest.raises(InputError, match="name every class"):
        class_map(np.array([[2]]), ["a", "b"], tmp_path / "short.png")


def test_comparison(cube, tmp_path):
    scene = cube_to_srgb(cube, NBK7)
    panels = [
        ("Scene", scene),
        ("Measurement", measurement_picture(cube.sum(0))),
        Panel("GAP-TV with a title far too long for it, and $x", scene, "31.2 dB"),
        Panel("Error", np.abs(cube[3] - cube[4])),
        Panel("Nothing wrong", np.zeros((40, 60))),
    ]
    comparison(panels, tmp_path / "row.png")
    comparison(panels, tmp_path / "rows.png", columns=2)
    row, rows = png_pixels(tmp_path / "row.png"), png_pixels(tmp_path / "rows.png")
    assert row.shape[1] > 2 * rows.shape[1]
    assert rows.shape[0] > 2.5 * row.shape[0]
    # the scene is shown in exactly its pixels, 8 times as large
    np.testing.assert_array_equal(row[24 + 32 : 24 + 32 + 320, 24 : 24 + 480], scene.repeat(8, 0).repeat(8, 1))
    with pytest.raises(InputError, match="at least one"):
        comparison([], tmp_path / "nothing.png")
    with pytest.raises(InputError, match="'Cube' has shape"):
        comparison([("Cube", cube)], tmp_path / "cube.png")


@pytest.mark.parametrize("wavelengths", [NBK7, NBK7[::-1], None], ids=["nm", "descending", "unknown"])
def test_spectra(cube, tmp_path, wavelengths):
    cubes = {"truth": cube, "GAP-TV": cube * 0.9 + 0.05, "flat $": np.full_like(cube, 0.5)}
    points = select_pixels(cube)
    spectra(cubes, wavelengths, points, tmp_path / "spectra.png", cube_to_srgb(cube, NBK7))
    figure = png_pixels(tmp_path / "spectra.png")
    assert figure.shape[0] > 500
    assert figure.shape[1] > 1000
    for line in ((213, 94, 0), (0, 114, 178)):  # the two estimates' colours
        assert (np.abs(figure - line).max(-1) < 20).sum() > 100


def test_spectra_refuse_what_does_not_fit(cube, tmp_path):
    image = cube_to_srgb(cube, NBK7)
    with pytest.raises(InputError, match="row 40, column 3 lies outside"):
        spectra({"truth": cube}, NBK7, [(40, 3)], tmp_path / "x.png", image)
    with pytest.raises(InputError, match="one shape"):
        spectra({"truth": cube, "crop": cube[:, 1:]}, NBK7, [(1, 1)], tmp_path / "x.png", image)
    with pytest.raises(InputError, match="28 bands but 3"):
        spectra({"truth": cube}, (1, 2, 3), [(1, 1)], tmp_path / "x.png", image)


def test_a_figure_can_be_a_pdf(cube, tmp_path):
    band_sheet(cube[:3], NBK7[:3], tmp_path / "bands.pdf")
    assert (tmp_path / "bands.pdf").read_bytes().startswith(b"%PDF")


def test_an_all_zero_cube_is_drawn(tmp_path):
    zero = np.zeros((3, 8, 8))
    band_sheet(zero, (450, 550, 650), tmp_path / "zero.png")
    spectra(
        {"truth": zero, "estimate": zero},
        None,
        select_pixels(zero),
        tmp_path / "s.png",
        class_picture(zero[0].astype(int)),
    )
    assert (tmp_path / "zero.png").stat().st_size > 500
    png_pixels(tmp_path / "s.png")


# -- the points ----------------------------------------------------------------------------------------------


def test_points_find_each_material_once_and_again(cube):
    points = select_pixels(cube)
    assert points == select_pixels(cube)
    assert len({(row >= 20, column >= 30) for row, column in points}) == 4


def test_points_find_the_one_small_thing_that_differs():
    scene = np.full((10, 80, 80), 0.5)
    scene[:5, 44:60, 20:36] = 0.1
    assert any(44 <= row < 60 and 20 <= column < 36 for row, column in select_pixels(scene, 2))


@pytest.mark.parametrize("shape", [(28, 3, 4), (1, 64, 64), (5, 200, 6)])
def test_points_of_a_flat_or_tiny_scene_are_distinct(shape):
    for value in (0.0, 1.0):
        points = select_pixels(np.full(shape, value), 6)
        assert len(set(points)) == 6
    assert select_pixels(np.ones((2, 1, 2)), 5) in ([(0, 0), (0, 1)], [(0, 1), (0, 0)])
    with pytest.raises(InputError, match="at least one"):
        select_pixels(np.ones(shape), 0)


# -- the import ----------------------------------------------------------------------------------------------


def test_importing_viewing_loads_nothing_heavy():
    heavy = {"matplotlib", "colour", "torch", "scipy", "PIL"}
    check = f"import sys, crsdun.viewing; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
