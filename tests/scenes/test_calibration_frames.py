"""Frames of a calibration from whatever they were saved in."""

import numpy as np
import pytest
from PIL import Image

from crsdun.errors import InputError
from crsdun.scenes import read_band_frames, read_frame, write_arrays

WAVELENGTHS = (450.0, 500.0, 612.5)


@pytest.fixture
def frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(0).integers(0, 4000, (3, 9, 14)).astype(np.uint16)


def save(frame: np.ndarray, name: str) -> str:
    Image.fromarray(frame).save(name)
    return name


def check(read, frames, wavelengths=WAVELENGTHS):
    assert np.array_equal(read.frames, frames)
    assert read.wavelengths == wavelengths


def test_a_folder_or_files_with_wavelengths_in_their_names(frames, tmp_path):
    order = (2, 0, 1)
    (tmp_path / "folder").mkdir()
    names = [save(frames[k], f"folder/mask_{WAVELENGTHS[k]:g}nm.tif") for k in order]
    check(read_band_frames(["folder"]), frames)
    check(read_band_frames(names), frames)
    assert read_band_frames(names).names == ("450 nm", "500 nm", "612.5 nm")
    assert read_band_frames(names).frames.dtype == np.uint16
    mixed = [np.save(f"folder/{k}_{WAVELENGTHS[k]:g} nm long.npy", frames[k]) for k in order]
    assert len(mixed) == 3  # twice each wavelength, once in another format: the mean
    check(read_band_frames(sorted(map(str, (tmp_path / "folder").iterdir()))), frames)


def test_stacks(frames):
    write_arrays("stack.npz", {"frames": frames}, {"wavelengths": WAVELENGTHS, "wavelength_units": "nm"})
    check(read_band_frames(["stack.npz"]), frames)
    np.save("plain.npy", np.moveaxis(frames, 0, -1))
    check(read_band_frames(["plain.npy"], WAVELENGTHS), frames)
    check(read_band_frames(["plain.npy"]), frames, None)
    assert read_band_frames(["plain.npy"]).names == ("frame 1", "frame 2", "frame 3")
    check(read_band_frames(["plain.npy"], WAVELENGTHS[::-1]), frames[::-1])


def test_exposures_of_one_band_are_averaged(frames):
    for k, name in enumerate(("a_450nm.npy", "b_500nm.npy")):
        np.save(name, np.stack([frames[k], frames[k] + 2]))
    read = read_band_frames(["a_450nm.npy", "b_500nm.npy"])
    check(read, frames[:2] + 1.0, WAVELENGTHS[:2])
    np.save("dark.npy", np.stack([frames[0], frames[0] + 2]))
    assert np.array_equal(read_frame("dark.npy"), frames[0] + 1.0)
    assert np.array_equal(read_frame(save(frames[1], "one.tif")), frames[1])


def test_one_picture(frames):
    check(read_band_frames([save(frames[0], "mask.tif")]), frames[:1], None)
    check(read_band_frames([save(frames[0], "mask_450nm.tif")]), frames[:1], (450.0,))


def test_what_is_refused(frames, tmp_path):
    good = [save(frames[k], f"m_{WAVELENGTHS[k]:g}nm.tif") for k in range(3)]
    with pytest.raises(InputError, match=r"dark\.tif has no wavelength in its name, and others have"):
        read_band_frames([*good, save(frames[0], "dark.tif")])
    with pytest.raises(InputError, match=r"m_700nm\.tif has 8×14 pixels but m_450nm\.tif 9×14"):
        read_band_frames([*good, save(frames[0, 1:], "m_700nm.tif")])
    with pytest.raises(InputError, match="there are 2 wavelengths for 3 frames"):
        read_band_frames(good, (450, 500))
    with pytest.raises(InputError, match="two bands have the same wavelength"):
        read_band_frames(good, (450, 500, 500))
    write_arrays("two.npz", {"a": frames, "b": frames}, {})
    with pytest.raises(InputError, match="choose it with key"):
        read_band_frames(["two.npz"])
    check(read_band_frames(["two.npz"], WAVELENGTHS, "b"), frames)
    with pytest.raises(InputError, match="no array 'c'"):
        read_band_frames(["two.npz"], key="c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no frames"):
        read_band_frames(["empty"])


def test_of_a_session_the_dark_and_the_white_are_those_called_so(frames):
    meas, dark, white = frames
    np.savez("session.npz", meas=meas, dark=dark, White_Reference=white, mask=meas[:, :9] > 2000)
    assert np.array_equal(read_frame("session.npz", "dark"), dark)
    assert np.array_equal(read_frame("session.npz", "white"), white)
    np.savez("references.npz", **{"camera/dark": np.stack([dark, dark + 2]), "flat": white})
    assert np.array_equal(read_frame("references.npz", "dark"), dark + 1.0)
    assert np.array_equal(read_frame("references.npz", "white"), white)
    np.savez("same_software.npz", meas=dark)  # which calls every exposure so
    assert np.array_equal(read_frame("same_software.npz", "dark"), dark)
    np.savez("half.npz", meas=meas, white=white)
    with pytest.raises(InputError, match=r"no array of half\.npz is called dark, .*; call the right array 'dark'"):
        read_frame("half.npz", "dark")
    np.savez("unknown.npz", meas=meas, dark_of_today=dark)
    with pytest.raises(InputError, match=r"called dark, and it holds meas .*, dark_of_today"):
        read_frame("unknown.npz", "dark")
    np.savez("level.npz", meas=meas, dark=64, white=np.array([[4000.0]]))
    assert read_frame("level.npz", "dark") == 64
    assert read_frame("level.npz", "white") == 4000


def test_of_several_groups_the_dark_is_that_of_the_exposure(frames):
    meas, one, other = frames
    np.savez("two.npz", **{"cam1/frame": meas, "cam1/dark": one, "cam2/frame": meas, "cam2/dark": other})
    assert np.array_equal(read_frame("two.npz", "dark", "cam1/frame"), one)
    assert np.array_equal(read_frame("two.npz", "dark", "cam2/frame"), other)
    with pytest.raises(
        InputError, match=r"several arrays: cam1/dark .*, cam2/dark .*; keep the dark frame in a file"
    ):
        read_frame("two.npz", "dark")
    np.savez("old.npz", frame=meas, dark=one, **{"old/dark": other})
    assert np.array_equal(read_frame("old.npz", "dark"), one)
