"""``crsdun calibrate``: from frames to a camera file, and from that to cubes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from crsdun.cli import main
from crsdun.optics import CameraFile, read_camera, write_camera
from crsdun.scenes import Scene, read_scene, write_arrays, write_scene
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


def test_one_picture_has_the_dispersion_that_wavelengths_red_first_tell(inside, capsys):
    mask = np.random.default_rng(0).integers(0, 2, (24, 20))
    Image.fromarray((DARK + 500 * mask).astype(np.uint16)).save("mask.tif")
    for dispersed in ("--step=2", "--offsets=0,2,4,6,8", "--offsets=0:0,0:2,0:4,0:6,0:8"):
        options = ["mask.tif", "--dark", str(DARK), dispersed, "--overwrite", *OUT]
        assert main(["calibrate", *options, "--wavelengths", "650-450:5"]) == 0
        stored = read_camera("calibrated/camera.npz")
        assert stored.wavelengths == (450, 500, 550, 600, 650)
        assert [right for _, right in stored.offsets] == [8, 6, 4, 2, 0]
    write_arrays(
        "told.npz", {"mask": DARK + 500.0 * mask}, {"wavelengths": [650, 550, 450], "wavelength_units": "nm"}
    )
    assert main(["calibrate", "told.npz", "--dark", str(DARK), "--offsets", "0,2,4", "--overwrite", *OUT]) == 0
    stored = read_camera("calibrated/camera.npz")
    assert (stored.wavelengths, stored.offsets) == ((450, 550, 650), ((0, 4), (0, 2), (0, 0)))


# -- frames and whites of the bands, however they are kept ---------------------------------------------------------

NANOMETRES, TRANSMISSION, LIGHT = (450, 490, 530, 570, 610, 650), np.linspace(1, 0.8, 6), np.linspace(1, 0.5, 6)


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Frames (6,64,74) of a mask that lets through less in red, and of the lamp, which is then dimmer."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frames = np.full((6, 64, 74), 20.0)
    mask = rng.random((64, 64)) < 0.5
    for band in range(6):
        frames[band, :, 2 * band : 2 * band + 64] += 3000 * LIGHT[band] * TRANSMISSION[band] * mask
    whites = np.broadcast_to(20 + 3000 * LIGHT[:, None, None], frames.shape)
    return [(each + rng.normal(0, 2, each.shape)).astype(np.float32) for each in (frames, whites)]


def calibrated(*options: str) -> CameraFile:
    assert main(["calibrate", *options, "--dark", "20", "--overwrite", *OUT]) == 0
    return read_camera("calibrated/camera.npz")


def check_transmission(stored: CameraFile) -> None:
    levels = np.percentile(stored.mask, 75, axis=(1, 2))
    assert levels == pytest.approx(TRANSMISSION, abs=0.01)
    assert [right for _, right in stored.offsets] == pytest.approx([0, 2, 4, 6, 8, 10])
    assert stored.wavelengths == NANOMETRES
    assert stored.measured["warnings"] == []


def files(folder: str, name: str, frames: np.ndarray, numbers=NANOMETRES) -> str:
    Path(folder).mkdir(exist_ok=True)
    for frame, number in zip(frames, numbers, strict=True):
        np.save(Path(folder) / f"{name.format(number)}.npy", frame)
    return folder


def test_whites_belong_to_the_frames_of_their_wavelength(session, capsys):
    frames, whites = session
    masks, lamp = files("masks", "mask_{}nm", frames), files("lamp", "white_{}nm", whites)
    check_transmission(calibrated(masks, "--band-whites", lamp))
    np.save("down.npy", whites[::-1])
    np.save("frames.npy", frames[::-1])
    wavelengths = ["--wavelengths", "650-450:6"]
    check_transmission(calibrated("frames.npy", *wavelengths, "--band-whites", "down.npy"))
    check_transmission(calibrated("frames.npy", *wavelengths, "--band-whites", lamp))
    check_transmission(calibrated(masks, *wavelengths, "--band-whites", lamp))
    other = files("other", "white_{}nm", whites, [number + 300 for number in NANOMETRES])
    told = refuse(capsys, "calibrate", masks, "--band-whites", other, "--out", "c")
    assert "the white frames are of 750, 790 … 950 nm, and those of the mask of 450, 490 … 650 nm" in told


def test_whites_have_a_key_of_their_own(session, capsys):
    frames, whites = (np.moveaxis(each, 0, -1) for each in session)
    beside = {"wavelengths": np.array(NANOMETRES, float), "exposure_time": np.array([[0.05]])}
    savemat("session.mat", {"frames": frames, "whites": whites, **beside})
    savemat("lamp.mat", {"lamp": whites, "gain": np.array([[1.0]])})
    savemat("unclear.mat", {"lamp": whites, "frames": frames})
    check_transmission(calibrated("session.mat", "--key", "frames", "--band-whites", "session.mat"))
    check_transmission(calibrated("session.mat", "--key", "frames", "--band-whites", "lamp.mat"))
    check_transmission(calibrated("session.mat", "--band-whites", "unclear.mat", "--band-whites-key", "lamp"))
    common = ["calibrate", "session.mat", "--out", "c"]
    assert "choose it with --band-whites-key" in refuse(capsys, *common, "--band-whites", "unclear.mat")
    assert "set --band-whites too" in refuse(capsys, *common, "--band-whites-key", "lamp")
    told = refuse(capsys, *common, "--band-whites", "session.mat", "--band-whites-key", "frames")
    assert "the white frames of the bands are those of the mask" in told


def test_files_that_names_do_not_tell_apart(session, capsys):
    frames = session[0]
    masks = files("masks", "fwhm10nm_{}nm", frames)
    options = ["--step", "2", "--wavelengths", "450-650:6"]
    assert len(calibrated(masks, *options).measured["residuals"]) == 6
    laser = files("laser", "laser532nm_{}", frames, range(6))
    assert len(calibrated(laser, *options).measured["residuals"]) == 6
    assert "all 6 files have 532 nm in their names" in refuse(capsys, "calibrate", laser, *options[:2], "--out", "c")
    both = files(files("both", "{}nm_mask", frames), "{}nm_dark", np.full_like(frames, 20))
    told = refuse(capsys, "calibrate", both, "--out", "c")
    assert "450nm_dark.npy is called a dark frame, and 450nm_mask.npy is not" in told
    assert "with --dark, --white or --band-whites if it is not the mask" in told
    again = files(files("again", "{}nm_a", frames), "{}nm_b", frames)
    calibrated(again)
    assert "each frame is the mean of 2 files of one wavelength" in capsys.readouterr().err


def test_axes_of_a_stack(session, capsys):
    np.save("middle.npy", np.moveaxis(session[0], 0, 1))
    np.save("lamp.npy", np.moveaxis(session[1], 0, 1))
    told = refuse(capsys, "calibrate", "middle.npy", "--out", "c")
    assert "set --axes to hcw for 6 bands of 64×74" in told
    calibrated("middle.npy", "--axes", "hcw")
    wavelengths = ["--wavelengths", "450-650:6"]
    check_transmission(calibrated("middle.npy", "--axes", "hcw", *wavelengths, "--band-whites", "lamp.npy"))


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
