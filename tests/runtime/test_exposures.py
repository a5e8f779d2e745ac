"""Stacks of exposures, (T,H,W) in one file: told from cubes, read frame by frame, decoded like many files."""

import json
import os
from argparse import Namespace
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from crsdun.cli import main
from crsdun.cli.options import frame_from
from crsdun.errors import InputError
from crsdun.optics import Exposure, random_mask
from crsdun.runtime import Preparation, read_results, simulate
from crsdun.scenes import Scene, describe, open_exposures, read_measurement, read_scene, write_arrays, write_scene
from crsdun.scenes.formats.array_file import LazyArray
from crsdun.viewing import save_png

BANDS, H, W, T = 4, 24, 20, 3
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0)
MASK = random_mask(H, W, seed=1)


def scene(frame: int) -> Scene:
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band / 3 + frame) for band in range(BANDS)])
    return Scene(cube, wavelengths=WAVELENGTHS)


STACK = np.stack([simulate(scene(frame), Exposure(MASK)).frame for frame in range(T)])  # (T,H,Wm)


def write_stack(path: Path, name: str = "meas") -> Path:
    """The stack in the format of the suffix, laid out as usual there."""
    kind = path.name.partition(".")[2]
    if kind == "npy":
        np.save(path, STACK)
    elif kind == "npz":
        np.savez(path, **{name: STACK})
    elif kind == "mat":
        scipy.io.savemat(path, {name: np.moveaxis(STACK, 0, -1)})
    elif kind == "first.mat":
        scipy.io.savemat(path, {name: STACK})
    elif kind == "v73.mat":
        write_arrays(path, {name: STACK}, {}, mat_version="7.3")
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file[f"run/{name}"] = STACK
    elif kind == "imagej.tif":
        tifffile.imwrite(path, STACK, imagej=True)
    elif kind == "pages.tif":
        with tifffile.TiffWriter(path) as file:
            for frame in STACK:
                file.write(frame, contiguous=False)
    elif kind == "tif":
        tifffile.imwrite(path, STACK, photometric="minisblack")
    elif kind == "hdr":
        write_arrays(path, {name: STACK}, {})
    return path


KINDS = ("npy", "npz", "mat", "first.mat", "v73.mat", "h5", "tif", "pages.tif", "imagej.tif", "hdr")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", MASK)
    return tmp_path


# -- which array, which axis -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["meas", "data"])
def test_every_format(files, kind, name):
    exposures = Preparation(mask=MASK).open(write_stack(files / f"s.{kind}", name))
    assert len(exposures) == T
    for frame, exposure in enumerate(exposures):
        np.testing.assert_array_equal(exposure.frame, STACK[frame])
        assert exposure.provenance["frame"] == frame + 1
        assert exposure.provenance["frames"] == T
    assert [exposure.name.rpartition("_")[2] for exposure in exposures] == ["1", "2", "3"]


@pytest.mark.parametrize(("kind", "stays"), [("npy", np.memmap), ("hdr", np.memmap), ("h5", LazyArray)])
def test_frames_stay_in_the_file_until_they_are_read(files, kind, stays):
    assert isinstance(open_exposures(write_stack(files / f"s.{kind}"), mask_size=(H, W)).frames, stays)


def test_more_exposures_than_rows(files):
    many = np.concatenate([STACK] * 20)
    for name, stack in (("first", many), ("last", np.moveaxis(many, 0, -1))):
        np.savez(f"{name}.npz", y=stack, mask=MASK)
        exposures = open_exposures(f"{name}.npz")
        assert len(exposures) == 60
        np.testing.assert_array_equal(exposures[59].frame, STACK[2])
        assert exposures[59].name == f"{name}_60"


def test_masks_of_each_band_beside_a_stack(files):
    masks = np.stack([MASK * (band + 1) / BANDS for band in range(BANDS)])
    np.savez("both.npz", y=STACK, mask=masks)
    exposure = Preparation().open("both.npz")[1]
    np.testing.assert_array_equal(exposure.frame, STACK[1])
    np.testing.assert_allclose(exposure.mask, masks)


@pytest.mark.parametrize("shape", [(1, H, W + 6), (H, W + 6, 1)])
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_one_exposure_with_a_third_axis(files, shape, suffix):
    path = files / f"one{suffix}"
    if suffix == ".npy":
        np.save(path, STACK[0].reshape(shape))
    else:
        with h5py.File(path, "w") as file:
            file["meas"] = STACK[0].reshape(shape)
    measurement = read_measurement(path)
    np.testing.assert_array_equal(measurement.frame, STACK[0])
    assert "frame" not in measurement.provenance


def test_as_many_exposures_as_bands_could_be_a_cube(files):
    stack = np.concatenate([STACK, STACK[:1]])
    np.save("plain.npy", stack)
    with pytest.raises(
        InputError,
        match=r"image \(4, 24, 26\); it looks like a cube; .* if these are 4 exposures of 24×26, set axes to thw",
    ):
        Preparation(mask=MASK).open("plain.npy")
    assert len(Preparation(mask=MASK, axes="thw").open("plain.npy")) == BANDS
    np.savez("named.npz", meas=stack)  # the name says what it is
    assert len(Preparation(mask=MASK).open("named.npz")) == BANDS


@pytest.mark.parametrize("last", [True, False])
def test_a_cube_is_no_stack(files, last):
    cube = scene(0).cube
    np.save("cube.npy", np.moveaxis(cube, 0, -1) if last else cube)
    with pytest.raises(InputError, match="it looks like a cube; crsdun simulate makes a measurement of it"):
        Preparation(mask=MASK).open("cube.npy")
    with pytest.raises(InputError, match="it looks like a cube"):
        read_measurement("cube.npy")
    np.savez("named.npz", img=cube)
    with pytest.raises(InputError, match="it looks like a cube"):
        Preparation(mask=MASK).open("named.npz")


def test_an_unclear_axis_is_named_with_both_readings(files):
    np.savez("s.npz", meas=np.zeros((10, 12, 14)))
    message = (
        r"which axis counts the exposures; set mask, or set axes to thw for 10 of 12×14, or to hwt for 14 of 10×12"
    )
    with pytest.raises(InputError, match=message):
        open_exposures("s.npz")
    assert len(open_exposures("s.npz", axes="hwt")) == 14
    assert len(open_exposures("s.npz", mask_size=(12, 9))) == 10
    with pytest.raises(InputError, match="does not name three axes; set axes to thw"):
        open_exposures("s.npz", axes="hwc")


def test_info_calls_them_exposures(files):
    np.savez("s.npz", meas=STACK, cube=STACK)
    assert [array.looks_like for array in describe("s.npz").arrays] == ["exposures", "cube"]


# -- one of them -----------------------------------------------------------------------------------------------


def test_one_is_chosen_by_its_number(files, capsys):
    path = write_stack(files / "s.npz")
    np.testing.assert_array_equal(Preparation(mask=MASK, frame=2).read(path).measurement.frame, STACK[1])
    with pytest.raises(InputError, match="holds 3 exposures; choose one of 1 to 3 with frame"):
        read_measurement(path)
    for frame in (0, 4, -1):
        with pytest.raises(InputError, match=f"has no frame {frame}; expected 1 to 3"):
            Preparation(mask=MASK, frame=frame).read(path)
    command = ["reconstruct", "s.npz", "--mask", "mask.npy", "--iterations", "2", "--frame", "2", "--out", "out"]
    assert main(command) == 0
    result = read_results("out")
    np.testing.assert_array_equal(result.measurement.frame, STACK[1])
    assert result.record["measurement"]["frame"] == 2
    np.save("single.npy", STACK[0])
    assert main([*command[:1], "single.npy", *command[2:7], "2", "--out", "none"]) == 2
    assert "single.npy has no frame 2; omit --frame" in capsys.readouterr().err


def test_dark_frames_are_averaged(files):
    darks = np.stack([np.full((H, W + 6), level, np.uint16) for level in (10, 20, 40)])
    np.save("darks.npy", darks)

    def dark(value):
        return frame_from(Namespace(dark=value), "dark")

    np.testing.assert_allclose(dark(Path("darks.npy")), 70 / 3)
    np.save("dark.npy", darks[0])
    assert dark(Path("dark.npy")).dtype == np.uint16
    assert dark(5.0) == 5.0


# -- all of them -----------------------------------------------------------------------------------------------

ALL = (
    "reconstruct",
    "s.npy",
    "--mask",
    "mask.npy",
    "--wavelengths",
    "450-600:4",
    "--iterations",
    "10",
    "--out",
    "out",
)


def test_each_gets_its_results_in_order_and_all_a_sheet(files, capsys):
    write_stack(files / "s.npy")
    assert main([*ALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:T]] == ["out/s_1", "out/s_2", "out/s_3"]
    assert lines[T:] == ["3 of 3 measurements reconstructed", "look at out/s.png"]
    assert sorted(os.listdir("out")) == ["s.png", "s_1", "s_2", "s_3"]
    for frame in range(T):
        assert read_results(f"out/s_{frame + 1}").record["measurement"]["name"] == f"s_{frame + 1}"
        assert main([*ALL[:-1], f"alone{frame}", "--frame", str(frame + 1)]) == 0
        alone, one = (read_scene(f"{folder}/cube.npz").cube for folder in (f"alone{frame}", f"out/s_{frame + 1}"))
        np.testing.assert_array_equal(alone, one)
    with Image.open("out/s.png") as sheet:
        assert sheet.width > 3 * 240


def test_a_stack_is_run_again_to_mend_a_frame(files, capsys):
    broken = STACK.copy()
    broken[1, 3, 3] = np.nan
    np.save("s.npy", broken)
    assert main([*ALL]) == 1
    with Image.open("out/s.png") as sheet:
        width = sheet.width
    np.save("s.npy", STACK)
    capsys.readouterr()
    assert main([*ALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["finished before" in line for line in lines[:T]] == [True, False, True]
    with Image.open("out/s.png") as sheet:
        assert sheet.width > width
    save_png(np.zeros((4, 4), np.uint8), "out/s.png")  # a picture of someone else
    assert main([*ALL]) == 2
    assert "s.png exists already" in capsys.readouterr().err


def test_a_sheet_of_very_many_leaves_some_out(files):
    from crsdun.viewing.result_folder import MOST_FRAMES, FrameSheet

    write_stack(files / "s.npy")
    assert main([*ALL]) == 0
    result, sheet = read_results("out/s_1"), FrameSheet(1000)
    for index in range(1000):
        sheet.add(index, result)
    assert len(sheet.panels) == MOST_FRAMES
    assert {0, 999} <= sheet.panels.keys()


def test_every_frame_has_its_truth(files, capsys):
    write_stack(files / "s.npy")
    Path("truths").mkdir()
    for frame in range(T - 1):
        write_scene(scene(frame), f"truths/s_{frame + 1}.npz")
    assert main([*ALL, "--truth", "truths", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [result["name"] for result in printed["results"]] == ["s_1", "s_2"]
    assert min(result["psnr_db"] for result in printed["results"]) > 15
    assert printed["sheets"] == ["out/s.png"]
    (failure,) = printed["failed"]
    assert "truths holds no s_3.*; expected one file with the truth of s_3" in failure["reason"]
    assert main([*ALL[:-1], "other", "--truth", "truths/s_1.npz"]) == 2
    assert "is not a folder; set --truth DIR" in capsys.readouterr().err
    assert not Path("other").exists()


def test_what_is_wrong_with_all_is_said_once_and_nothing_is_written(files, capsys):
    write_stack(files / "s.npy")
    before = sorted(os.listdir())
    for change in (["--bands", "9"], ["--mask", "s.npy"], ["--frame", "7"], ["--truth", "mask.npy"]):
        assert main([*ALL[:4], "--iterations", "2", "--out", "out", *change]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert sorted(os.listdir()) == before
    Path("out").mkdir()
    Path("out/s.png").write_text("precious")
    assert main([*ALL]) == 2
    assert "s.png exists already" in capsys.readouterr().err
    assert os.listdir("out") == ["s.png"]
    assert main([*ALL, "--overwrite"]) == 0


def test_a_broken_frame_and_a_broken_file_do_not_stop_the_others(files, capsys):
    stack = STACK.copy()
    stack[1, 2, 3] = np.nan
    np.savez("s.npz", y=stack)
    np.save("single.npy", STACK[0])
    Path("broken.mat").write_text("not a measurement")
    assert main(["reconstruct", "s.npz", "broken.mat", "single.npy", *ALL[2:]]) == 1
    captured = capsys.readouterr()
    assert sorted(os.listdir("out")) == ["s.png", "s_1", "s_3", "single"]
    assert "3 of 5 measurements reconstructed" in captured.out
    assert "s.npz: the measurement 's_2' holds 1 NaN" in captured.err
    assert captured.err.count("\n") == 2


def test_one_frame_of_each_of_many_files(files):
    for name in ("a", "b"):
        np.savez(f"{name}.npz", y=STACK)
    assert main(["reconstruct", "a.npz", "b.npz", *ALL[2:], "--frame", "3"]) == 0
    assert sorted(os.listdir("out")) == ["a", "b"]
    np.testing.assert_array_equal(read_results("out/b").measurement.frame, STACK[2])
