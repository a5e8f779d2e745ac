"""``crsdun spectra``: from results and scenes, to a program or a file; pixels are named as everywhere."""

import csv
import io
import json
import sys

import numpy as np
import pytest

from crsdun.classifiers import read_points
from crsdun.cli import main
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import read_results, simulate
from crsdun.scenes import Scene, write_measurement, write_scene

NM = (450.0, 500.0, 550.0, 600.0)


@pytest.fixture(autouse=True)
def scene(tmp_path, monkeypatch) -> Scene:
    monkeypatch.chdir(tmp_path)
    scene = Scene(np.random.default_rng(0).random((4, 20, 24)), NM)
    write_scene(scene, "scene.npz")
    return scene


def run(*arguments) -> int:
    return main(["spectra", *map(str, arguments)])


def printed(capsys) -> dict[str, list[float]]:
    """The columns of the table by their names."""
    header, *lines = csv.reader(io.StringIO(capsys.readouterr().out))
    return {name: [float(line[column]) for line in lines] for column, name in enumerate(header)}


def test_spectra_of_a_scene(scene, capsys):
    assert run("scene.npz", "--at", "3,5", "--at", "10,2", "--box", 0, 1, 2, 3) == 0
    table = printed(capsys)
    assert [*table] == ["wavelength_nm", "x3_y5", "x10_y2", "x1-3_y0-1", "x1-3_y0-1_sd"]
    assert table["wavelength_nm"] == [*NM]
    np.testing.assert_allclose(table["x3_y5"], scene.cube[:, 5, 3], rtol=1e-6)
    np.testing.assert_allclose(table["x1-3_y0-1"], scene.cube[:, :2, 1:4].mean((1, 2)), rtol=1e-6)


def test_spectra_of_a_result(scene, capsys):
    write_measurement(simulate(scene, Exposure(random_mask(20, 24))), "y.npz")
    assert main(["reconstruct", "y.npz", "--method", "gap-tv", "--iterations", "2", "--out", "result"]) == 0
    capsys.readouterr()
    assert run("result", "--at", "3,5", "--out", "spectra.csv") == 0
    assert capsys.readouterr().out == "spectra.csv: 1 spectrum of 4 bands\n"
    written = np.loadtxt("spectra.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(written[:, 1], read_results("result").scene.cube[:, 5, 3], rtol=1e-6)
    assert run("result", "--at", "3,5", "--out", "spectra.csv") == 2
    assert "spectra.csv exists already" in capsys.readouterr().err
    assert run("result", "--at", "3,5", "--out", "spectra.csv", "--overwrite") == 0


def test_a_pixel_is_named_as_in_a_table_of_points(tmp_path, capsys):
    for x, y in (("3", "5"), ("3.9", "5.0"), ("3.5", "5.999")):
        (tmp_path / "points.csv").write_text(f"x,y,class\n{x},{y},leaf\n20,18,fruit")
        ((row, column), *_) = np.argwhere(read_points("points.csv", 20, 24).marked)
        assert run("scene.npz", "--at", f"{x},{y}") == 0
        assert [*printed(capsys)][1] == f"x{column}_y{row}"


def test_for_a_program(scene, capsys):
    assert run("scene.npz", "--at", "3,5", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["wavelengths_nm"] == [*NM]
    (spectrum,) = found["spectra"]
    assert (spectrum["top"], spectrum["left"], spectrum["height"], spectrum["width"]) == (5, 3, 1, 1)
    np.testing.assert_allclose(spectrum["mean"], scene.cube[:, 5, 3], rtol=1e-6)


def test_unknown_wavelengths_are_told(capsys):
    np.savez("plain.npz", cube=np.zeros((4, 20, 24)))
    assert run("plain.npz", "--axes", "chw", "--at", "0,0") == 0
    told = capsys.readouterr()
    assert told.out.startswith("band,x0_y0\n1,0\n")
    assert "--wavelengths tells them" in told.err
    assert run("plain.npz", "--axes", "chw", "--at", "0,0", "--wavelengths", "450-600:4") == 0
    assert [*printed(capsys)] == ["wavelength_nm", "x0_y0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no place is given; name a pixel with --at X,Y"),
        (("--at", "24,0"), "x24_y0 is no part of the scene of 24 columns (x) and 20 rows (y); count both from 0"),
        (("--at=-0.5,0"), "x-1_y0 is no part"),
        (("--at", "5"), "'5' is no pixel: expected x,y such as 120,45"),
        (("--at", "nan,1"), "'nan,1' is no pixel"),
        (("--box", "0", "0", "21", "1"), "x0_y0-20 is no part"),
    ],
)
def test_what_is_no_place_is_refused(arguments, message, capsys):
    arguments = (arguments,) if isinstance(arguments, str) else arguments
    try:
        code = run("scene.npz", *arguments)
    except SystemExit as end:  # of argparse
        code = end.code
    told = capsys.readouterr()
    assert code == 2
    assert told.out == ""
    assert message in told.err


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Zarr 3 takes Python 3.11")
def test_a_store_of_zarr_is_a_scene(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cube = np.random.default_rng(0).random((3, 8, 9), dtype=np.float32)
    write_scene(Scene(cube, wavelengths=(450, 500, 550)), "cube.zarr")
    assert main(["spectra", "cube.zarr", "--at", "2,1"]) == 0
    table = np.loadtxt(capsys.readouterr().out.splitlines()[1:], delimiter=",")
    np.testing.assert_allclose(table, np.stack([(450, 500, 550), cube[:, 1, 2]], 1), rtol=1e-6)
    (tmp_path / "points.csv").write_text("row,column,class\n1,2,a\n3,4,b\n")
    assert main(["classes", "cube.zarr", "--points", "points.csv", "--out", "c.safetensors"]) == 0
