"""Spectra by a click, in the real napari."""

import csv
import io

import numpy as np
import pytest

from crsdun.interop.napari.layers import add_to, scene_layers
from crsdun.optics import nbk7_wavelengths
from crsdun.scenes import Outline, Scene
from crsdun.scenes.series import SERIES
from tests.interop.napari.conftest import settle
from tests.interop.napari.made import BANDS, H, W, made_scene


@pytest.fixture
def shown(viewer):
    """A scene whose layers are shown."""
    scene = made_scene()
    add_to(viewer, scene_layers(scene))
    viewer.reset_view()
    settle()
    return scene


@pytest.fixture
def spectra(dock):
    return dock("Spectra")


def drawn(spectra):
    """The spectra in the plot, by their labels."""
    lines = spectra.figure.axes[0].lines
    return {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in lines if line is not spectra.band}


def press(viewer, move=0):
    """Press and release the mouse in the middle of the canvas, moved meanwhile by some pixels to the right."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    canvas = viewer.window._qt_viewer.canvas.native
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    if move:
        QTest.mouseMove(canvas, middle + QPoint(move // 2, 0))
        settle()
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(move, 0))
    settle()


def test_a_click_draws_the_spectrum_of_the_pixel_under_it(viewer, shown, spectra):
    assert spectra.says.text().startswith("Click a pixel")
    selected = viewer.layers.selection.active
    press(viewer)
    ((row, column),) = spectra.places
    assert abs(row - H / 2) <= 1
    assert abs(column - W / 2) <= 1
    ((label, (nm, values)),) = drawn(spectra).items()
    assert label == "1 · cube: patch"
    assert np.array_equal(nm, nbk7_wavelengths())
    assert np.array_equal(values, shown.cube[:, int(row), int(column)])
    assert spectra.says.text() == f"1: row {row:g}, column {column:g}"
    assert viewer.layers.selection.active == selected


def test_a_drag_is_no_click(viewer, shown, spectra):
    press(viewer, move=80)
    assert len(spectra.places) == 0
    assert drawn(spectra) == {}


def test_several_pixels_and_cubes_are_compared(viewer, shown, spectra):
    other = Scene(shown.cube / 2, shown.wavelengths, name="half")
    add_to(viewer, scene_layers(other, "lr-tv"))
    spectra.add((3.2, 4.4))
    spectra.add((20, 30))
    lines = drawn(spectra)
    assert list(lines) == [
        "1 · cube (lr-tv): half", "1 · cube: patch", "2 · cube (lr-tv): half", "2 · cube: patch",
    ]  # fmt: skip
    assert np.array_equal(lines["1 · cube: patch"][1], shown.cube[:, 3, 4])
    assert np.array_equal(lines["2 · cube (lr-tv): half"][1], other.cube[:, 20, 30])
    viewer.layers["cube (lr-tv): half"].visible = False
    assert list(drawn(spectra)) == ["1 · cube: patch", "2 · cube: patch"]
    spectra.points.selected_data = {0}
    spectra.points.remove_selected()  # as napari's own tool does
    assert np.array_equal(drawn(spectra)["1 · cube: patch"][1], shown.cube[:, 20, 30])
    spectra.clear()
    assert drawn(spectra) == {}
    assert spectra.points is None


def test_the_table_is_the_one_of_the_explorer(viewer, shown, spectra, tmp_path):
    add_to(viewer, scene_layers(Scene(shown.cube[::2], shown.wavelengths[::2], name="coarse")))
    spectra.add((3, 4))
    spectra.add((20, 30))
    spectra.save(tmp_path / "spectra.csv")
    assert spectra.says.text() == f"Saved {tmp_path / 'spectra.csv'}"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "spectra.csv").read_text())))
    assert len(rows) == 2 * (BANDS + BANDS // 2)
    (row,) = (
        each for each in rows if (each["cube"], each["point"], each["band"]) == ("cube: patch", "2", str(BANDS))
    )
    assert (row["top"], row["left"], row["pixels"]) == ("20", "30", "1")
    assert float(row["wavelength_nm"]) == pytest.approx(730, abs=1e-3)
    assert float(row["mean"]) == pytest.approx(shown.cube[-1, 20, 30], rel=1e-6)


def test_what_cannot_be_saved_is_said(viewer, shown, spectra, tmp_path):
    spectra.save(tmp_path / "spectra.csv")
    assert spectra.says.text() == "there is nothing to save; click a pixel first"
    spectra.add((3, 4))
    spectra.save(tmp_path / "nowhere" / "spectra.csv")
    assert "there is no folder" in spectra.says.text()


def test_places_without_a_cube_are_refused(viewer, shown, spectra):
    spectra.add((3, W + 1))
    assert spectra.says.text() == "There is no visible cube here: open one, or decode a measurement."
    viewer.dims.ndisplay = 3
    spectra.add((3, 4))
    assert spectra.says.text() == "Show rows and columns in 2-D to choose pixels."
    viewer.dims.ndisplay = 2
    assert spectra.points is None


def test_the_band_of_the_slider_is_marked_in_nm(viewer, shown, spectra):
    spectra.add((3, 4))
    viewer.dims.set_point(0, 9)
    known = nbk7_wavelengths()[9]
    assert spectra.figure.axes[0].get_title() == f"band 10 of {BANDS}: {known:.0f} nm"
    assert list(spectra.band.get_xdata()) == [known, known]


def test_bands_without_wavelengths_are_numbered(viewer, spectra):
    cube = made_scene().cube
    add_to(viewer, scene_layers(Scene(cube, name="unknown")))
    spectra.add((3, 4))
    ((_, (bands, values)),) = drawn(spectra).items()
    assert list(bands) == list(range(1, BANDS + 1))
    assert np.array_equal(values, cube[:, 3, 4])
    add_to(viewer, scene_layers(made_scene()))
    assert list(drawn(spectra)) == ["1 · cube: patch"]
    assert spectra.says.text() == "Without wavelengths, and not drawn: cube: unknown"


def test_of_a_series_the_time_of_the_slider_counts(viewer, spectra, tmp_path):
    scenes = [Scene(made_scene().cube * shade, nbk7_wavelengths()) for shade in (0.5, 1.0)]
    writer = SERIES["h5"](tmp_path / "frames.h5")
    writer.create(Outline(2, 10.0, scenes[0], "frames"))
    for index, scene in enumerate(scenes):
        writer.write(index, scene)
    viewer.open(tmp_path / "frames.h5", plugin="crsdun")
    spectra.add((3, 4))
    viewer.dims.set_point(0, 0)
    assert np.array_equal(drawn(spectra)["1 · cubes: frames"][1], scenes[0].cube[:, 3, 4])
    viewer.dims.set_point(0, 1)
    assert np.array_equal(drawn(spectra)["1 · cubes: frames"][1], scenes[1].cube[:, 3, 4])


def test_one_band_is_a_dot_and_gaps_are_gaps(viewer, spectra):
    cube = made_scene().cube[-1:].copy()
    cube[0, 3, 4] = np.nan
    add_to(viewer, scene_layers(Scene(cube, (730.0,), name="one")))
    spectra.add((3, 4))
    spectra.add((20, 30))
    spectra.canvas.draw()
    assert np.isnan(drawn(spectra)["1 · cube: one"][1]).all()
    assert list(drawn(spectra)["2 · cube: one"][1]) == [cube[0, 20, 30]]


def test_a_dock_that_is_closed_hears_no_more_clicks(viewer, dock, shown, spectra):
    spectra.add((3, 4))
    assert spectra._pressed in viewer.mouse_drag_callbacks
    viewer.window.remove_dock_widget(spectra)
    settle()
    assert spectra._pressed not in viewer.mouse_drag_callbacks
    again = dock("Spectra")
    assert list(drawn(again)) == ["1 · cube: patch"]
    again.points.add((20.0, 30.0))
    assert list(drawn(again)) == ["1 · cube: patch", "2 · cube: patch"]
    assert list(drawn(spectra)) == ["1 · cube: patch"]


def test_another_tool_keeps_its_clicks(viewer, shown, spectra):
    viewer.layers.selection.active = viewer.layers["classes: patch"]
    viewer.layers["classes: patch"].visible = True
    viewer.layers["classes: patch"].mode = "paint"
    press(viewer)
    assert len(spectra.places) == 0
