"""``crsdun calibrate``: from frames to a camera file, and from that to cubes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crsdun.cli import main
from crsdun.optics import CameraFile, read_camera, write_camera
from crsdun.scenes import Scene, read_scene, write_scene
from crsdun.scenes.produce import ProduceSet
from tests.cli.test_cli import refuse
from tests.listing import visible
from tests.optics.simulated_calibration import DARK, simulated

BANDS, LEVEL = 8, 3000
OUT = ["--out", "calibrated"]


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A folder with frames for a calibration, a scene, and a measurement of it in counts; and what they came from."""
    folder = tmp_path_factory.mktemp("taken")
    made = simulated(BANDS, (72, 64), counts=LEVEL, bad=4)
    (folder / "frames").mkdir()
    for frame, name in zip(made.taken.frames, made.taken.names, strict=True):
        Image.fromarray(frame).save(folder / "frames" / f"mask_{name.replace(' ', '')}.tif")
    Image.fromarray(made.taken.dark).save(folder / "dark.tif")
    produce = ProduceSet("validation").crop(0, 40, 40, 72, 64)
    cube = produce.cube[np.linspace(2, 24, BANDS).round().astype(int)]
    write_scene(Scene(cube, wavelengths=made.taken.wavelengths), folder / "truth.npz")
    y = made.camera.forward(torch.from_numpy(cube)).numpy() / BANDS * LEVEL
    noise = 10 * np.random.default_rng(1).standard_normal(y.shape)
    counts = np.where(made.bad, 0, DARK + y + noise).clip(0).round().astype(np.uint16)
    Image.fromarray(counts).save(folder / "y.tif")
    true = CameraFile(made.camera.mask.numpy(), made.camera.down_and_right, made.taken.wavelengths)
    write_camera(replace(true, dark=made.taken.dark, valid=~made.bad), folder / "true.npz")
    return folder, made


@pytest.fixture
def inside(taken, monkeypatch, tmp_path):
    """Commands run in a copy of that folder."""
    for each in taken[0].iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
    return taken[1]


CALIBRATE = ["calibrate", "frames", "--dark", "dark.tif", *OUT]


def reconstruct(capsys, *options: str) -> dict:
    common = ["reconstruct", "y.tif", "--white", str(DARK + LEVEL), "--truth", "truth.npz", "--iterations", "60"]
    assert main([*common, *options, "--overwrite", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_from_frames_to_a_cube_as_good_as_with_the_true_camera(inside, capsys):
    assert main(CALIBRATE) == 0
    told = capsys.readouterr().out
    assert told.startswith("calibrated/camera.npz: 8 bands, a mask of 72×64 for each band, dispersed at ")
    assert "look at calibrated/calibration.png" in told
    assert visible("calibrated") == ["calibration.png", "camera.npz", "record.json"]
    stored = read_camera("calibrated/camera.npz")
    assert stored.provenance["command"][:2] == ["crsdun", "calibrate"]
    assert stored.provenance["dark"] == "dark.tif"
    assert np.abs(np.array(stored.offsets) - inside.camera.offsets).max() < 0.05
    assert stored.bad_pixels >= 7
    found = reconstruct(capsys, "--camera", "calibrated/camera.npz", "--out", "found")
    true = reconstruct(capsys, "--camera", "true.npz", "--out", "true")
    assert found["psnr_db"] > true["psnr_db"] - 0.3
    assert found["psnr_db"] > 24
    assert read_scene("found/cube.npz").wavelengths == pytest.approx(inside.taken.wavelengths)
    Path("points.csv").write_text("row,column,class\n5,5,background\n60,5,background\n30,30,thing\n40,40,thing\n")
    classes = ["classes", "found", "--points", "points.csv", "--kind", "lda", "--out", "classes.safetensors"]
    assert stored.mask.max() > 1.05, "some elements are brighter than open ones usually are"
    assert main(classes) == 0, "the folder of results is read again"
    provenance = json.loads(Path("found/record.json").read_text())["measurement"]
    assert provenance["bad_pixels_filled"] == stored.bad_pixels
    with Image.open("calibrated/calibration.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 30


def test_what_a_person_is_told_of_a_camera_file(inside, capsys):
    stored = read_camera("true.npz")
    write_camera(replace(stored, measured={"warnings": ["the dispersion is ambiguous"]}), "doubted.npz")
    assert main(["info", "doubted.npz"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "camera: 8 bands, a mask of 72×64 for each band, dispersed at 15.0° to the rows" in told
    assert "8 of which cannot be used" in told
    assert "knows its dark" in told
    assert "WARNING: the dispersion is ambiguous" in told


def test_what_a_program_reads(inside, capsys):
    assert main([*CALIBRATE, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["camera"] == "calibrated/camera.npz"
    assert printed["bands"] == len(printed["offsets"]) == len(printed["measured"]["residuals"]) == BANDS
    assert printed["measured"]["curve"]["of"] == "1/λ²"
    assert json.loads(Path("calibrated/record.json").read_text())["calibration"] == printed["measured"]


def test_one_picture_of_the_mask(inside, capsys):
    mask = np.random.default_rng(0).integers(0, 2, (24, 20))
    Image.fromarray((DARK + 500 * mask).astype(np.uint16)).save("mask.tif")
    options = ["mask.tif", "--dark", str(DARK), "--wavelengths", "450-650:5", "--step", "2", *OUT]
    assert main(["calibrate", *options]) == 0
    assert "5 bands, a mask of 24×20, dispersed along the rows by 2 pixels per band" in capsys.readouterr().out
    stored = read_camera("calibrated/camera.npz")
    assert np.array_equal(stored.mask, mask)
    assert stored.wavelengths == (450, 500, 550, 600, 650)
    assert "does not tell the number of bands" in refuse(capsys, "calibrate", "mask.tif", "--step", "2", "--out", "c")
    assert "set --step or --offsets" in refuse(capsys, "calibrate", "mask.tif", "--out", "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("calibrate frames --dark frames --out c", "one mask does not explain these frames"),
        ("calibrate frames --dark truth.npz --out c", "truth.npz"),
        ("calibrate frames --dark 99999 --out c", "were frames and --dark swapped"),
        ("calibrate frames --white dark.tif --dark 150 --out c", "were they swapped"),
        ("calibrate frames --wavelengths 450,500 --out c", "there are 2 wavelengths for 8 frames"),
        ("calibrate frames --step 2 --offsets 0,1 --out c", "not both"),
        ("calibrate frames --bands 5 --step 2 --out c", "frames: 8, bands: 5"),
        ("calibrate nowhere --out c", "there is no file nowhere"),
        ("calibrate frames --out frames", "will not overwrite it"),
        ("reconstruct y.tif --camera true.npz --mask true.npz --out r", "omit --mask"),
        ("reconstruct y.tif --camera truth.npz --out r", "truth.npz was written by crsdun but holds no camera"),
        ("reconstruct dark.tif --camera frames --out r", "frames is a folder; name the camera file in it"),
    ],
)
def test_what_is_refused(inside, capsys, arguments, message):
    assert message in refuse(capsys, *arguments.split())
