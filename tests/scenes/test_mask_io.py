"""Masks: the same transmissions from every type and every file, and nothing that is not a mask."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from crsdun.errors import InputError
from crsdun.optics.masks import RandomMask
from crsdun.scenes import Measurement, parse_mask, read_mask, read_measurement, write_measurement

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


def test_random_masks_are_parsed(tmp_path):
    assert parse_mask("random") == RandomMask(seed=0)
    assert parse_mask("random:7") == RandomMask(seed=7)
    assert parse_mask("open").of_size(2, 3).tolist() == [[1, 1, 1]] * 2
    assert str(parse_mask("open")) == "open"
    np.save(tmp_path / "mask.npy", np.eye(3))
    np.testing.assert_array_equal(parse_mask(tmp_path / "mask.npy"), np.eye(3))


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
