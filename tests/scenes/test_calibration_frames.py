"""Frames of a calibration from whatever they were saved in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from crsdun.errors import InputError
from crsdun.scenes import read_band_frames, read_band_whites, read_frame, write_arrays

WAVELENGTHS, COMMA = (450.0, 500.0, 612.5), (450.5, 451.5, 452.5)


@pytest.fixture
def frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(0).integers(0, 4000, (3, 9, 14)).astype(np.uint16)


def save(frame: np.ndarray, name: str) -> str:
    Image.fromarray(frame).save(name)
    return name


def saved(frame: np.ndarray, name: str) -> str:
    np.save(f"{name}.npy", frame)
    return f"{name}.npy"


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


def test_an_envi_pair_is_one_frame(frames, tmp_path):
    for number, frame in zip((1, 2, 10), frames, strict=True):
        write_arrays(f"mask_{number}.hdr", {"frame": frame}, {})
    check(read_band_frames(sorted(path.name for path in tmp_path.iterdir())), frames, None)


def test_stacks(frames):
    write_arrays("stack.npz", {"frames": frames}, {"wavelengths": WAVELENGTHS, "wavelength_units": "nm"})
    check(read_band_frames(["stack.npz"]), frames)
    np.save("plain.npy", np.moveaxis(frames, 0, -1))
    check(read_band_frames(["plain.npy"], WAVELENGTHS), frames)
    check(read_band_frames(["plain.npy"]), frames, None)
    assert read_band_frames(["plain.npy"]).names == ("frame 1", "frame 2", "frame 3")
    check(read_band_frames(["plain.npy"], WAVELENGTHS[::-1]), frames[::-1])
    write_arrays("stack.zarr", {"frames": frames}, {"wavelengths": WAVELENGTHS, "wavelength_units": "nm"})
    check(read_band_frames(["stack.zarr"]), frames)


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
    with pytest.raises(InputError, match=r"more\.tif has no wavelength in its name, and others have"):
        read_band_frames([*good, save(frames[0], "more.tif")])
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


# -- names of files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["fwhm10nm_{}nm", "{}nm_fwhm10nm", "{}nm_bw 0.5 nm", "lamp850nm_{}nm", "run2.{}nm", "2024.05.30.{}nm", "{}.00nm"],
)
def test_of_several_numbers_in_names_the_one_that_changes_is_the_wavelength(frames, name):
    for keep in (saved, lambda frame, name: save(frame, f"{name}.tif")):
        (folder := Path(keep.__name__)).mkdir()
        for frame, value in zip(frames[::-1], (650, 500, 450), strict=True):
            keep(frame, folder / name.format(value))
        check(read_band_frames([folder]), frames, (450.0, 500.0, 650.0))


def test_a_decimal_comma_in_names(frames):
    check(read_band_frames([saved(frame, f"m_{450 + k},5nm") for k, frame in enumerate(frames)]), frames, COMMA)


def test_names_that_do_not_tell_wavelengths_apart(frames):
    laser = [saved(frames[k], f"laser532nm_{k}") for k in range(3)]
    with pytest.raises(InputError, match=r"all 3 files have 532 nm in their names; .* or give wavelengths in"):
        read_band_frames(laser)
    check(read_band_frames(laser, WAVELENGTHS), frames)
    with pytest.raises(InputError, match="all 3 files have 532 nm"):
        read_band_frames(laser, (450, 500, 550, 600))
    with pytest.raises(InputError, match=r"several numbers of nm, as in b_500nm_120nm\.npy"):
        read_band_frames([saved(frames[0], "a_450nm_110nm"), saved(frames[1], "b_500nm_120nm")])
    with pytest.raises(InputError, match="several numbers of nm"):
        read_band_frames([saved(frames[0], "a_450nm_110nm"), saved(frames[1], "b_500nm")])


def test_files_are_numbered_as_people_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(0).integers(0, 4000, (12, 9, 14)).astype(np.uint16)
    wavelengths = tuple(450.0 + 20 * band for band in range(12))
    for name in ("mask_{}.npy", "mask_{}_50ms.npy", "mask_{}_50ms.tif", "mask_{}.tif"):
        (folder := tmp_path / name.replace("{}", "")).mkdir()
        for k, frame in enumerate(frames, 1):
            path = folder / name.format(k)
            np.save(path, frame) if path.suffix == ".npy" else save(frame, path)
        check(read_band_frames([folder], wavelengths), frames, wavelengths)
        check(read_band_frames(sorted(folder.iterdir()), wavelengths), frames, wavelengths)  # of a pattern
    chosen = [tmp_path / "mask_.npy" / f"mask_{k}.npy" for k in (12, *range(1, 12))]
    check(read_band_frames(chosen, wavelengths), np.roll(frames, 1, 0), wavelengths)


@pytest.mark.parametrize("other", ["450nm_dark", "dark_450nm", "450nm_white", "Flat_450nm", "dark", "450nm_dark_2"])
def test_dark_and_white_frames_are_no_exposures_of_the_mask(frames, other):
    (folder := Path("folder")).mkdir()
    for k, value in enumerate((450, 500, 650)):
        np.save(folder / f"{value}nm_mask.npy", frames[k])
    check(read_band_frames([folder]), frames, (450.0, 500.0, 650.0))
    np.save(folder / f"{other}.npy", frames[0])
    with pytest.raises(InputError, match=rf"{other}\.npy is called a (dark|white) frame, and .* is not; give each"):
        read_band_frames([folder])
    with pytest.raises(InputError, match="give each kind of frames by itself"):
        read_band_whites([folder], read_band_frames([folder / f"{v}nm_mask.npy" for v in (450, 500, 650)]))


def test_how_many_files_were_averaged(frames):
    twice = [saved(frames[0], f"{k}_500nm") for k in "ab"]
    assert read_band_frames([*twice, saved(frames[1], "c_450nm")]).files == (1, 2)
    (folder := Path("folder")).mkdir()
    for name, frame in (("450nm_1", frames[0]), ("450nm_2", frames[0] + 2), ("500nm_1", frames[1])):
        save(frame, folder / f"{name}.tif")
    read = read_band_frames([folder])
    check(read, [frames[0] + 1.0, frames[1]], (450.0, 500.0))
    assert read.files == (2, 1)


def test_wavelengths_that_contradict_the_files(frames):
    files = [saved(frames[k], f"m_{WAVELENGTHS[k]:g}nm") for k in range(3)]
    check(read_band_frames(files, WAVELENGTHS[::-1]), frames)
    exact = (452.1, 498.7, 612.9)
    check(read_band_frames(files, exact), frames, exact)
    write_arrays("stack.npz", {"frames": frames}, {"wavelengths": WAVELENGTHS, "wavelength_units": "nm"})
    for given in ([*files], ["stack.npz"]):
        with pytest.raises(InputError, match=r"are of 450, 500, 612\.5 nm by their files, and of 750, 800, "):
            read_band_frames(given, [value + 300 for value in WAVELENGTHS])
        with pytest.raises(InputError, match="by their files"):
            read_band_frames(given, (450, 453, 612.5))
    with pytest.raises(InputError, match="two bands have the same wavelength"):
        read_band_frames(files[:1], (450, 450))


# -- arrays in a file ----------------------------------------------------------------------------------------------


def test_dark_white_and_numbers_beside_the_frames_are_no_frames(frames):
    beside = {"exposure_time": np.array([[0.05]]), "angles": np.arange(3.0)[None]}
    savemat("session.mat", {"I": np.moveaxis(frames, 0, -1), "dark": frames[0], "whites": frames, **beside})
    check(read_band_frames(["session.mat"]), frames, None)
    each = []
    for k in range(3):
        savemat(f"{WAVELENGTHS[k]:g}nm.mat", {"I": frames[k], "gain": np.array([[2.0]]), "dark": frames[0]})
        each.append(f"{WAVELENGTHS[k]:g}nm.mat")
    check(read_band_frames(each), frames)


def test_axes(frames):
    np.save("stack.npy", frames.transpose(1, 0, 2))
    with pytest.raises(InputError, match="set axes to hcw for 3 bands of 9×14, to chw for 9 bands of 3×14"):
        read_band_frames(["stack.npy"])
    check(read_band_frames(["stack.npy"], axes="hcw"), frames, None)
    check(read_band_frames(["stack.npy"], WAVELENGTHS), frames)


# -- white frames of the bands -------------------------------------------------------------------------------------


def test_whites_are_paired_by_their_wavelengths(frames):
    of = read_band_frames([saved(frames[k], f"m_{WAVELENGTHS[k]:g}nm") for k in range(3)])
    whites = frames + np.uint16(5000)
    files = [saved(whites[k], f"{'bca'[k]}_white_{WAVELENGTHS[k]:.0f}nm") for k in (2, 0, 1)]
    assert np.array_equal(read_band_whites(files, of), whites)
    write_arrays("down.npz", {"x": whites[::-1]}, {"wavelengths": WAVELENGTHS[::-1], "wavelength_units": "nm"})
    assert np.array_equal(read_band_whites(["down.npz"], of), whites)
    other = [saved(whites[k], f"white_{750 + 50 * k}nm") for k in range(3)]
    with pytest.raises(InputError, match=r"the white frames are of 750, 800, 850 nm, and those of the mask of 450, "):
        read_band_whites(other, of)
    with pytest.raises(InputError, match="there are 2 white frames for 3 bands"):
        read_band_whites(files[:2], of)
    np.save("plain.npy", frames)
    with pytest.raises(InputError, match="tell their wavelengths and those of the mask do not; give wavelengths"):
        read_band_whites(files, read_band_frames(["plain.npy"]))


def test_whites_without_wavelengths_have_the_order_of_the_frames(frames):
    whites = frames + np.uint16(5000)
    np.save("frames.npy", frames[::-1])
    np.save("whites.npy", whites[::-1])
    red_first = WAVELENGTHS[::-1]
    assert np.array_equal(read_band_whites(["whites.npy"], read_band_frames(["frames.npy"], red_first)), whites)
    assert np.array_equal(read_band_whites(["whites.npy"], read_band_frames(["frames.npy"])), whites[::-1])
    named = [saved(frames[k], f"m_{WAVELENGTHS[k]:g}nm") for k in range(3)]
    assert np.array_equal(read_band_whites(["whites.npy"], read_band_frames(named)), whites[::-1])
    assert np.array_equal(read_band_whites(["whites.npy"], read_band_frames(named[::-1], red_first)), whites)
    for of in (read_band_frames(named[::-1]), read_band_frames(named, red_first)):
        with pytest.raises(InputError, match="the white frames of the bands do not tell their wavelengths"):
            read_band_whites(["whites.npy"], of)


def test_which_array_holds_the_whites(frames):
    whites = frames + np.uint16(5000)
    np.savez("session.npz", frames=frames, whites=whites, dark=frames[0])
    np.savez("other.npz", lamp=whites, dark=frames[0])
    of = read_band_frames(["session.npz"], WAVELENGTHS, "frames")
    for file in ("session.npz", "other.npz"):
        assert np.array_equal(read_band_whites([file], of), whites)
    np.savez("unclear.npz", a=frames, b=whites)
    with pytest.raises(InputError, match="choose it with key"):
        read_band_whites(["unclear.npz"], of)
    assert np.array_equal(read_band_whites(["unclear.npz"], of, "b"), whites)


# -- dark and white frames -----------------------------------------------------------------------------------------


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
