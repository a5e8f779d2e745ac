"""The truth beside a measurement: its wavelengths, its scale, and a truth that is black everywhere."""

import io
import json
import os
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import crsdun
from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, decode, read_results, simulate
from crsdun.scenes import Scene, read_scene, write_measurement, write_scene
from crsdun.solvers import GapTv
from tests.viewing.reports import check_self_contained

BANDS, H, W = 5, 24, 20
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0)


def scene(**details) -> Scene:
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3) for band in range(BANDS)])
    return Scene(cube, **details)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Measurements with and without wavelengths, and the truth with and without."""
    monkeypatch.chdir(tmp_path)
    mask = random_mask(H, W, seed=1)
    for name, wavelengths in (("plain", None), ("known", WAVELENGTHS)):
        write_measurement(simulate(scene(wavelengths=wavelengths), Exposure(mask)), f"y_{name}.npz")
        write_scene(scene(wavelengths=wavelengths), f"truth_{name}.npz")
    return tmp_path


def reconstruct(measurement: str, truth: str, *more: str) -> int:
    command = (
        "reconstruct",
        measurement,
        "--method",
        "gap-tv",
        "--iterations",
        "5",
        "--truth",
        truth,
        "--out",
        "out",
    )
    return main([*command, "--overwrite", *more])


def refused(measurement: str, truth: str, *more: str) -> str:
    """The one line; nothing may have been written."""
    errors, before = io.StringIO(), sorted(os.listdir())
    with redirect_stderr(errors):
        assert reconstruct(measurement, truth, *more) == 2
    assert sorted(os.listdir()) == before
    assert errors.getvalue().count("\n") == 1
    return errors.getvalue()


# -- wavelengths -----------------------------------------------------------------------------------------------


def test_where_one_side_has_wavelengths_the_other_has_the_same(files):
    figures = []
    for measurement in ("y_plain.npz", "y_known.npz"):
        for truth in ("truth_plain.npz", "truth_known.npz"):
            assert reconstruct(measurement, truth) == 0
            figures.append(read_results("out").metrics)
    assert figures[0]["psnr_db"] > 20
    assert figures == [figures[0]] * 4


@dataclass(frozen=True)
class Counting(GapTv):
    """GAP-TV that counts how often it decodes."""

    calls: tuple = ()

    def __call__(self, *given, **more):
        COUNTED.append(1)
        return super().__call__(*given, **more)


COUNTED: list[int] = []


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        ((1000.0, 1100.0, 1200.0, 1300.0, 1400.0), "covers 1000–1400 nm, not 450–650 nm"),
        ((450.0, 460.0, 470.0, 480.0, 490.0), "covers 450–490 nm, not 450–650 nm"),
    ],
)
def test_wavelengths_of_the_truth_are_compared_before_decoding(files, wavelengths, message):
    prepared = Preparation().read("y_known.npz")
    write_scene(scene(wavelengths=wavelengths), "other.npz")
    COUNTED.clear()
    with pytest.raises(InputError, match=message):
        decode(Preparation().read("y_known.npz", "other.npz"), Counting(iterations=2))
    assert COUNTED == []
    decode(prepared, Counting(iterations=2))
    assert COUNTED
    assert message in refused("y_known.npz", "other.npz")


def test_another_number_of_bands_without_wavelengths_is_found_before_decoding(files):
    write_scene(Scene(scene().cube[:3]), "three.npz")
    assert "the truth has shape (3, 24, 20)" in refused("y_known.npz", "three.npz")


# -- a truth of zeros ------------------------------------------------------------------------------------------


def test_a_truth_of_zeros(files, capsys):
    write_scene(Scene(np.zeros((BANDS, H, W)), wavelengths=WAVELENGTHS), "zero.npz")
    assert reconstruct("y_known.npz", "zero.npz") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "; PSNR " in line
    assert line.endswith("(crsdun)")
    assert "SAM" not in line  # of black spectra there is no angle
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert metrics["sam_deg"] is None
    assert 0 < metrics["psnr_db"] < 20
    page = check_self_contained(Path("out/report.html").read_text(encoding="utf-8"))
    assert "PSNR" in page.texts
    assert "SAM" not in page.texts
    assert not {"None", "nan", "inf", "null"} & {text.strip().split(" ")[0] for text in page.texts}
    with Image.open("out/overview.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 5
    assert not read_scene("out/truth.npz").cube.any()
    assert main(["report", "out"]) == 0
    Path("d.yaml").write_text("cubes: '{name}.npz'\nsplits: {test: [zero]}\n")
    assert main(["evaluate", "gap-tv", "d.yaml", "--iterations", "2", "--out", "evaluation"]) == 0
    assert main(["reconstruct", "y_known.npz", "--out", "out", "--truth", "zero.npz", "--iterations", "2"]) == 2


# -- the scale that a file does not state ----------------------------------------------------------------------


@pytest.mark.parametrize(("white", "divisor"), [(4095, 4095), (10000, 10000), (16383, 65535)])
def test_the_divisor_that_the_message_names_works_wherever_it_is_said(files, white, divisor, capsys):
    counts = np.round(np.moveaxis(scene().cube, 0, -1) * white).astype(np.uint16)
    assert 255 < counts.max() < 2**14
    np.save("counts.npy", counts)
    assert "set --divisor: 10000 for reflectances" in (line := refused("y_known.npz", "counts.npy"))
    assert f"{divisor} for" in line
    expected = counts / np.float32(divisor)
    assert reconstruct("y_known.npz", "counts.npy", "--divisor", str(divisor)) == 0
    np.testing.assert_allclose(read_scene("out/truth.npz").cube, np.moveaxis(expected, -1, 0), rtol=1e-6)

    capsys.readouterr()
    assert main(["simulate", "counts.npy", "--out", "s.npz"]) == 2
    assert "--divisor" in capsys.readouterr().err
    assert main(["simulate", "counts.npy", "--divisor", str(divisor), "--out", "s.npz"]) == 0

    Path("d.yaml").write_text("cubes: 'count{name}.npy'\nbands: 5\nsplits: {test: [s]}\n")
    assert main(["data", "check", "d.yaml"]) == 1
    assert "set divisor in a .yaml of the data set: 10000" in capsys.readouterr().out
    Path("d.yaml").write_text(f"cubes: 'count{{name}}.npy'\nbands: 5\nsplits: {{test: [s]}}\ndivisor: {divisor}\n")
    assert main(["data", "check", "d.yaml"]) == 0

    assert main(["figure", "out", "--truth", "counts.npy", "--out", "figure"]) == 2
    assert "--divisor" in capsys.readouterr().err
    assert main(["figure", "out", "--truth", "counts.npy", "--divisor", str(divisor), "--out", "figure"]) == 0


# -- a sensor's file -------------------------------------------------------------------------------------------


def test_wavelengths_of_prisma_are_attributes_of_the_file_and_run_downwards(files):
    counts = np.round(np.moveaxis(scene().cube, 0, 1) * 65535).astype(np.uint16)[:, ::-1]  # rows, bands, columns
    with h5py.File("prisma.he5", "w") as file:
        file["HDFEOS/SWATHS/PRS/Data Fields/VNIR_Cube"] = counts
        file.attrs["List_Cw_Vnir"] = np.array(WAVELENGTHS[::-1])
    known = read_scene("prisma.he5")
    assert known.wavelengths == WAVELENGTHS
    np.testing.assert_allclose(known.cube, scene().cube, atol=2e-5)
    assert known.provenance["bands"] == "sorted by wavelength"
    assert main(["simulate", "prisma.he5", "--wavelengths", "500-600:3", "--out", "resampled.npz"]) == 0
    assert crsdun.scenes.read_measurement("resampled.npz").wavelengths == (500, 550, 600)
    with h5py.File("prisma.he5", "r+") as file:
        del file.attrs["List_Cw_Vnir"]
    given = ",".join(f"{each:g}" for each in WAVELENGTHS[::-1])
    assert main(["simulate", "prisma.he5", "--wavelengths", given, "--out", "given.npz"]) == 0
    assert crsdun.scenes.read_measurement("given.npz").wavelengths == WAVELENGTHS
