"""Masks: the same transmissions from every type and every file, and nothing that is not a mask."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Exposure
from crsdun.optics.masks import RandomMask
from crsdun.runtime import Preparation, open_large
from crsdun.scenes import (
    Measurement,
    Scene,
    open_exposures,
    open_mask,
    parse_mask,
    read_mask,
    read_measurement,
    read_stored_mask,
    write_measurement,
    write_scene,
)

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tsa_real"
PER_BAND = np.arange(90).reshape(6, 5, 3).astype(np.float32) / 90


def test_masks_of_each_type(tmp_path):
    code = np.array([[0, 1, 1], [1, 0, 1]])
    np.save(tmp_path / "bool.npy", code.astype(bool))
    np.save(tmp_path / "int.npy", code)
    np.save(tmp_path / "byte.npy", (code * 255).astype(np.uint8))
    scipy.io.savemat(tmp_path / "logical.mat", {"mask": code.astype(bool)})
    Image.fromarray((code * 255).astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray((code * 255).astype(np.uint8)).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray((code * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((code * 255).astype(np.uint8)).convert("1").save(tmp_path / "bits.png")
    Image.fromarray((code * 255).astype(np.uint8)).convert("P").save(tmp_path / "palette.png")
    for path in tmp_path.iterdir():
        mask = read_mask(path)
        assert mask.dtype == np.float32
        np.testing.assert_array_equal(mask, code, err_msg=path.name)


def test_masks_per_band_and_their_neighbours(tmp_path):
    scipy.io.savemat(tmp_path / "mask.mat", {"mask": PER_BAND})
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.mat"), np.moveaxis(PER_BAND, -1, 0))
    scipy.io.savemat(tmp_path / "both.mat", {"mask_3d_shift": np.zeros((6, 9, 3)), "mask": np.zeros((6, 5))})
    assert read_mask(tmp_path / "both.mat").shape == (6, 5)
    scipy.io.savemat(tmp_path / "shifted.mat", {"mask_3d_shift": np.zeros((6, 9, 3))})
    with pytest.raises(InputError, match=r"no mask .* mask_3d_shift \(6, 9, 3\); .* give the mask itself"):
        read_mask(tmp_path / "shifted.mat")
    np.save(tmp_path / "four.npy", np.zeros((2, 2, 3, 4)))
    with pytest.raises(InputError, match=r"no mask .* image \(2, 2, 3, 4\)"):
        read_mask(tmp_path / "four.npy")
    np.save(tmp_path / "dice.npy", np.zeros((6, 6, 6)))
    with pytest.raises(InputError, match="which axis holds the bands"):
        read_mask(tmp_path / "dice.npy")


def test_a_coloured_mask(tmp_path):
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match="colour picture; save it in shades of grey"):
        read_mask(tmp_path / "red.png")


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool, np.float32])
def test_a_mask_beside_its_exposure_is_scaled_as_in_a_file_of_its_own(tmp_path, suffix, dtype):
    mask = np.random.default_rng(0).integers(0, 2, (6, 5)).astype(dtype)
    if dtype in (np.uint8, np.uint16):
        mask = mask * np.iinfo(dtype).max
    write = scipy.io.savemat if suffix == ".mat" else lambda path, arrays: np.savez(path, **arrays)
    write(tmp_path / f"both{suffix}", {"meas": np.ones((6, 9)), "mask": mask})
    write(tmp_path / f"mask{suffix}", {"mask": mask})
    beside = read_measurement(tmp_path / f"both{suffix}").mask
    np.testing.assert_array_equal(beside, read_mask(tmp_path / f"mask{suffix}"))
    np.testing.assert_array_equal(beside, mask > 0)
    np.testing.assert_array_equal(read_mask(tmp_path / f"both{suffix}"), beside)


def test_random_masks_are_parsed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open").mkdir()  # is no file of that name
    assert parse_mask("random") == (RandomMask(seed=0), None)
    assert parse_mask("random:7") == (RandomMask(seed=7), None)
    assert parse_mask("open")[0].of_size(2, 3).tolist() == [[1, 1, 1]] * 2
    assert str(parse_mask("open")[0]) == "open"
    np.save(tmp_path / "mask.npy", np.eye(3))
    np.testing.assert_array_equal(parse_mask(tmp_path / "mask.npy")[0], np.eye(3))


@pytest.mark.parametrize("text", ["random:²", "random:-1", "random:x", "random:1.5", "random: 1", "random:٣"])
def test_other_random_masks_are_refused(text):
    with pytest.raises(InputError, match="is not a random mask; write random:SEED"):
        parse_mask(text)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real captures are not at {REAL}")
def test_the_mask_of_the_real_camera():
    mask = read_mask(REAL / "mask.mat")
    assert mask.shape == (660, 660)
    assert 0 < mask.min() < mask.max() == 1


def test_a_calibrated_mask_comes_back_as_it_was_written(tmp_path):
    """Noise and vignetting take single elements above the level of open ones."""
    mask = np.array([[0, 1.0, 1.3], [0.9, 0, 1.0]], np.float32)
    write_measurement(Measurement(np.ones((2, 5)), mask=mask, step=2), tmp_path / "y.npz")
    assert np.array_equal(read_measurement(tmp_path / "y.npz").mask, mask)
    assert np.array_equal(read_mask(tmp_path / "y.npz"), mask)
    write_measurement(Measurement(np.ones((2, 5)), mask=255 * np.round(mask), step=2), tmp_path / "counts.npz")
    assert read_measurement(tmp_path / "counts.npz").mask.max() == 1, "whole numbers are still counts"
    np.savez(tmp_path / "foreign.npz", mask=mask)
    with pytest.raises(InputError, match=r"transmissions up to 1\.3, but 1 is open"):
        read_mask(tmp_path / "foreign.npz")


# -- the bands of a mask ---------------------------------------------------------------------------------------

WAVELENGTHS = (450.0, 500.0, 550.0)
BANDS = np.random.default_rng(1).random((3, 8, 10)).astype(np.float32)
SCENE = Scene(np.random.default_rng(2).random((3, 8, 10), dtype=np.float32), wavelengths=WAVELENGTHS)
LIKE_CAMERA = CassiCamera(BANDS, wavelengths=WAVELENGTHS)


@pytest.fixture
def calibrated(tmp_path):
    """Files of one mask: in the order of the scene, the other way round, nearly the same, and for other bands."""
    orders = {
        "ascending": (BANDS, WAVELENGTHS),
        "descending": (BANDS[::-1], WAVELENGTHS[::-1]),
        "measured": (BANDS[[1, 2, 0]], (501.2, 547.9, 450.4)),
        "others": (BANDS, (850, 900, 950)),
        "shifted": (BANDS, (475, 525, 575)),
    }
    for name, (mask, wavelengths) in orders.items():
        np.savez(tmp_path / f"{name}.npz", mask=mask, wavelengths=np.array(wavelengths, float))
    write_scene(SCENE, tmp_path / "scene.npz")
    np.save(tmp_path / "y.npy", LIKE_CAMERA.forward(torch.from_numpy(SCENE.cube)).numpy())
    return tmp_path


@pytest.mark.parametrize("order", ["ascending", "descending", "measured"])
def test_a_mask_for_each_band_is_in_the_order_of_the_camera(calibrated, order):
    mask, wavelengths = parse_mask(calibrated / f"{order}.npz")
    assert np.array_equal(Exposure(mask, mask_wavelengths=wavelengths).camera(SCENE).mask.numpy(), BANDS)
    stored = read_stored_mask(calibrated / f"{order}.npz")
    camera = Preparation(wavelengths=WAVELENGTHS, **stored._asdict()).read(calibrated / "y.npy").camera
    assert np.array_equal(camera.mask.numpy(), BANDS)
    red_first = Preparation(wavelengths=WAVELENGTHS[::-1], **stored._asdict()).read(calibrated / "y.npy").camera
    assert np.array_equal(red_first.mask.numpy(), BANDS[::-1])
    large = open_large(
        calibrated / "y.npy", Preparation(wavelengths=WAVELENGTHS), open_mask(calibrated / f"{order}.npz")
    )
    assert np.array_equal(large.rows(2, 6)[1].mask.numpy(), BANDS[:, 2:6])


@pytest.mark.parametrize("other", ["others", "shifted"])
def test_a_mask_for_other_bands_is_refused(calibrated, other):
    stored = read_stored_mask(calibrated / f"{other}.npz")
    words = r"calibrated for bands of .* nm, and the camera has 450–550 nm: they differ by up to .* nm; set mask to"
    with pytest.raises(InputError, match=words):
        Exposure(stored.mask, mask_wavelengths=stored.mask_wavelengths).camera(SCENE)
    with pytest.raises(InputError, match=words):
        Preparation(wavelengths=WAVELENGTHS, **stored._asdict()).read(calibrated / "y.npy")


def test_the_bands_of_a_mask_are_those_of_a_camera_of_which_nothing_else_is_told(calibrated):
    stored = read_stored_mask(calibrated / "descending.npz")
    camera = Preparation(**stored._asdict()).read(calibrated / "y.npy").camera
    assert camera.wavelengths == WAVELENGTHS[::-1]
    assert np.array_equal(camera.mask.numpy(), BANDS[::-1])


def test_commands_bring_the_bands_of_a_mask_in_order(calibrated, monkeypatch, capsys):
    monkeypatch.chdir(calibrated)
    (calibrated / "d.yaml").write_text("cubes: '{name}.npz'\nwavelengths: 450-550:3\nsplits: {test: [scene]}\n")
    frames, figures = [], []
    for order in ("ascending", "descending"):
        assert main(["simulate", "scene.npz", "--mask", f"{order}.npz", "--out", f"{order}_y.npz"]) == 0
        frames.append(read_measurement(f"{order}_y.npz").frame)
        told = ["--mask", f"{order}.npz", "--iterations", "3", "--out", order]
        assert main(["evaluate", "lr-tv", "d.yaml", *told]) == 0
        given = ["--wavelengths", "450-550:3", "--method", "lr-tv", "--overwrite", "--json"]
        capsys.readouterr()
        assert main(["reconstruct", "y.npy", "--truth", "scene.npz", *given, *told]) == 0
        figures.append(json.loads(capsys.readouterr().out)["psnr_db"])
    assert np.array_equal(*frames)
    assert figures[0] == figures[1]
    for command in (
        ["simulate", "scene.npz", "--out", "o.npz"],
        ["evaluate", "lr-tv", "d.yaml", "--out", "o"],
        ["reconstruct", "y.npy", "--wavelengths", "450-550:3", "--method", "lr-tv", "--out", "o"],
    ):
        assert main([*command, "--mask", "others.npz"]) == 2
        assert "the mask was calibrated for bands of 850–950 nm" in capsys.readouterr().err


def test_a_mask_beside_its_exposure_may_have_a_list_of_its_own(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/meas"], file["data/wavelengths"] = np.ones((8, 14)), WAVELENGTHS
        file["calibration/mask"], file["calibration/wavelengths"] = BANDS[::-1], WAVELENGTHS[::-1]
    np.testing.assert_array_equal(read_measurement(tmp_path / "a.h5").mask, BANDS)
    exposures = open_exposures(tmp_path / "a.h5", by_rows=True)
    assert exposures.mask_rows.wavelengths == WAVELENGTHS[::-1]
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["calibration/wavelengths"][:] = (850, 900, 950)
    with pytest.raises(InputError, match="calibrated for bands of 850–950 nm"):
        read_measurement(tmp_path / "a.h5")


def test_what_crsdun_wrote_is_a_mask_by_rows_as_well(tmp_path):
    mask = np.array([[0, 1.0, 1.3], [0.9, 0, 1.0]], np.float32)
    write_measurement(Measurement(np.ones((2, 5)), mask=mask, step=2), tmp_path / "y.npz")
    assert np.array_equal(open_mask(tmp_path / "y.npz").rows(0, 2), mask)
