"""A stack or a folder as one sequence: cubes, video, warm start, what fails, what is interrupted."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import zarr
from PIL import Image, ImageSequence

import crsdun
from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.methods.doubt import calibrated, seen
from crsdun.runtime import SequenceOptions, read_results
from crsdun.scenes import UNLABELLED, open_series
from crsdun.scenes.series import Hdf5Series
from crsdun.viewing.colour import NO_DATA
from tests.listing import visible
from tests.runtime.test_exposures import BANDS, MASK, STACK, H, T, W

COMMON = "--mask mask.npy --wavelengths 450,500,550,600 --method gap-tv --iterations 10"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", MASK)
    np.save("video.npy", STACK)
    return tmp_path


def reconstruct(what: str, more: str = "--sequence --out out") -> int:
    return main(["reconstruct", *what.split(), *COMMON.split(), *more.split()])


def lines(folder: str = "out") -> list[dict]:
    return [json.loads(line) for line in Path(folder, "frames.jsonl").read_text().splitlines()]


def cubes(path: str = "out/cubes.h5") -> np.ndarray:
    return np.stack([scene.cube for scene in open_series(path)])


def write_frames(folder: Path) -> None:
    """The frames as files whose names sort differently as text: frame1, frame2, frame10."""
    folder.mkdir()
    for number, frame in zip((1, 2, 10), STACK, strict=True):
        np.save(folder / f"frame{number}.npy", frame)


# -- what comes out ------------------------------------------------------------------------------------------------


def test_a_stack_becomes_cubes_and_a_video(files, capsys):
    assert reconstruct("video.npy", "--sequence --fps 12.5 --out out") == 0
    out = capsys.readouterr().out
    assert "3 of 3 frames" in out
    assert "0.24 s at 12.5 frames per second: out/video.gif" in out
    assert set(visible("out")) == {
        "cubes.h5", "video.gif", "frames.jsonl", "metrics.json", "record.json"
    }  # fmt: skip
    series = open_series("out/cubes.h5")
    assert (len(series), series.frames_per_second) == (T, 12.5)
    assert series[2].cube.shape == (BANDS, H, W)
    assert series[2].wavelengths == (450, 500, 550, 600)
    with Image.open("out/video.gif") as gif:
        shown = [each.info["duration"] for each in ImageSequence.Iterator(gif)]
        assert (gif.n_frames, gif.size, sum(shown)) == (T, (W, H), 240)
    metrics, record = (
        json.loads(Path("out/metrics.json").read_text()),
        json.loads(Path("out/record.json").read_text()),
    )
    assert (metrics["frames"], metrics["failed"], record["sequence"]["frames_per_second"]) == (T, 0, 12.5)
    assert metrics["mean"]["data_residual"] == pytest.approx(
        np.mean([x["metrics"]["data_residual"] for x in lines()])
    )
    assert record["video"].startswith("colour under D65")


def test_mp4_holds_every_frame(files):
    assert reconstruct("video.npy", "--sequence --fps 30 --video mp4 --out out") == 0
    with av.open("out/video.mp4") as film:
        stream = film.streams.video[0]
        assert (float(stream.average_rate), stream.width, stream.height) == (30, W, H)
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(pictures) == T
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5  # the scene moves


def test_cold_frames_are_those_of_a_batch(files):
    assert reconstruct("video.npy", "--sequence --cold --out out") == 0
    assert reconstruct("video.npy", "--out many") == 0
    many = np.stack([read_results(f"many/video_{frame + 1}").scene.cube for frame in range(T)])
    np.testing.assert_array_equal(cubes(), many)


def test_a_warm_start_changes_all_frames_but_the_first(files):
    reconstruct("video.npy", "--sequence --out warm")
    reconstruct("video.npy", "--sequence --cold --out cold")
    warm, cold = cubes("warm/cubes.h5"), cubes("cold/cubes.h5")
    np.testing.assert_array_equal(warm[0], cold[0])
    assert not np.array_equal(warm[1], cold[1])


def test_unknown_pixels_of_a_network_have_no_class(files):
    wavelengths, random = (450.0, 500.0, 550.0, 600.0), torch.Generator().manual_seed(0)
    network = crsdun.create("crsdun_1stg", bands=BANDS, classes=2, width=4)
    logits, cube = (torch.rand(count, 30, 30, generator=random) for count in (2, BANDS))
    pixels = [each.flatten(1).T for each in (logits, seen(cube, logits, wavelengths, wavelengths))]
    known = calibrated(*pixels, logits.argmax(0).flatten())
    crsdun.save(network, "w.safetensors", wavelengths=wavelengths, class_names=("a", "b"), calibration=known)
    command = "reconstruct video.npy --mask mask.npy --weights w.safetensors --sequence --out out"
    assert main(command.split()) == 0
    unknown = [(scene.classes == UNLABELLED).mean() for scene in open_series("out/cubes.h5")]
    assert unknown == pytest.approx([line["metrics"]["unknown"] for line in lines()])
    assert max(unknown) > 0


def test_zarr_holds_what_hdf5_holds(files):
    for kind in ("h5", "zarr"):
        assert reconstruct("video.npy", f"--sequence --series {kind} --out {kind}") == 0
    np.testing.assert_array_equal(cubes("zarr/cubes.zarr"), cubes("h5/cubes.h5"))


def test_a_stack_may_be_a_store_of_zarr(files):
    zarr.create_array("video.zarr", data=STACK)
    Path("stores").mkdir()
    shutil.copytree("video.zarr", "stores/video.zarr")
    reconstruct("video.npy", "--sequence --out plain")
    for given in ("video.zarr", "stores"):
        assert reconstruct(given, f"--sequence --out of-{given}") == 0
        np.testing.assert_array_equal(cubes(f"of-{given}/cubes.h5"), cubes("plain/cubes.h5"))


def test_files_follow_in_their_natural_order(files):
    write_frames(files / "frames")
    assert reconstruct("frames") == 0
    assert [line["name"] for line in lines()] == ["frame1", "frame2", "frame10"]
    reconstruct("video.npy", "--sequence --out stack")
    np.testing.assert_array_equal(cubes(), cubes("stack/cubes.h5"))


def test_all_frames_are_exposed_alike(files):
    np.save("video.npy", np.stack([STACK[0], 0.4 * STACK[0], STACK[0]]))
    assert reconstruct("video.npy", "--sequence --cold --out out") == 0
    with Image.open("out/video.gif") as gif:
        bright, dark, again = (np.asarray(each.convert("RGB"), float) for each in ImageSequence.Iterator(gif))
    assert 0.55 < dark.mean() / bright.mean() < 0.75  # 0.4 of the light is 0.66 in sRGB
    np.testing.assert_array_equal(bright, again)


# -- what fails ----------------------------------------------------------------------------------------------------


def test_a_bad_frame_is_named_and_leaves_a_gap(files, capsys):
    write_frames(files / "frames")
    Path("frames/frame2.npy").write_bytes(b"broken")
    assert reconstruct("frames") == 1
    printed = capsys.readouterr()
    assert "2 of 3 frames" in printed.out
    assert "frame2: " in printed.err
    assert "holds no data, and the video shows it grey" in printed.err
    assert [("failed" in line, line["name"]) for line in lines()] == [
        (False, "frame1"), (True, "frame2"), (False, "frame10")
    ]  # fmt: skip
    series = open_series("out/cubes.h5")
    assert [scene.missing > 0 for scene in series] == [False, True, False]
    with Image.open("out/video.gif") as gif:
        gif.seek(1)
        assert set(np.unique(np.asarray(gif.convert("RGB")))) == {NO_DATA}


def test_a_frame_of_another_size_is_a_bad_frame(files, capsys):
    write_frames(files / "frames")
    wide = np.load("mask.npy").shape[1] + 6
    np.savez("frames/frame2.npz", y=np.ones((H - 2, wide), "f4"), mask=MASK[2:])
    Path("frames/frame2.npy").unlink()
    for number, frame in ((1, STACK[0]), (10, STACK[2])):
        np.savez(f"frames/frame{number}.npz", y=frame, mask=MASK)
        Path(f"frames/frame{number}.npy").unlink()
    assert (
        main(["reconstruct", "frames", "--method", "gap-tv", "--iterations", "3", "--sequence", "--out", "out"]) == 1
    )
    assert "frames of one sequence have the same size" in capsys.readouterr().err


def test_a_sequence_without_any_good_frame_leaves_nothing(files, capsys):
    Path("frames").mkdir()
    for number in (1, 2):
        Path(f"frames/{number}.npy").write_bytes(b"broken")
    assert reconstruct("frames") == 2
    assert "no frame could be decoded; of 1: " in capsys.readouterr().err
    assert {each.name for each in files.iterdir()} == {"mask.npy", "video.npy", "frames"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--fps 5 --out out", "fps is a setting of sequences; set --sequence too, or omit --fps"),
        ("--sequence --fps 0 --out out", "0 frames per second are not possible"),
        ("--sequence --fps 60 --out out", "a GIF shows at most 50 frames per second, not 60; set --video to mp4"),
        ("--sequence --smooth 1 --out out", "the smoothing must be at least 0 and below 1, not 1"),
        ("--sequence --frame 1 --out out", "holds one frame, which is no sequence"),
        ("--sequence --repeats 2 --out out", "for single frames, not in a sequence; omit --repeats"),
    ],
)
def test_what_cannot_be_a_sequence_is_refused_at_once(files, capsys, more, message):
    np.save("one.npy", STACK[0])
    assert reconstruct("one.npy" if "--frame" in more else "video.npy", more) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("library", "more", "message"),
    [
        ("av", "--video mp4", "MP4 needs the package av, which is not installed; pip install 'crsdun[video]'"),
        ("zarr", "--series zarr", "Zarr needs the package zarr, which is not installed; pip install 'crsdun[zarr]'"),
    ],
)
def test_a_library_that_is_missing_is_named_before_anything_is_decoded(
    files, capsys, monkeypatch, library, more, message
):
    monkeypatch.setitem(sys.modules, library, None)
    assert reconstruct("video.npy", f"--sequence {more} --out out") == 2
    assert message in capsys.readouterr().err


def test_stacks_among_files_of_a_sequence_are_refused_one_by_one(files, capsys):
    write_frames(files / "frames")
    np.save("frames/frame3.npy", STACK)
    assert reconstruct("frames") == 1
    assert "holds 3 exposures among files of a sequence" in capsys.readouterr().err


def test_options_are_checked():
    with pytest.raises(InputError, match="no series 'avi'"):
        SequenceOptions(series="avi")


# -- what is interrupted -------------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_goes_on_to_the_same_cubes(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "tests.runtime.killed_sequence", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for kind in ("h5", "zarr"):
        assert int(json.loads(run.stdout)[kind]) > 8


def test_what_another_command_left_is_neither_used_nor_deleted(files, capsys):
    Path("out.unfinished").mkdir()
    Path("out.unfinished/job.json").write_text('{"command": ["another"]}')
    Path("out.unfinished/cubes.h5").write_text("precious")
    assert reconstruct("video.npy") == 2
    assert "out.unfinished holds the unfinished results of another command" in capsys.readouterr().err
    assert Path("out.unfinished/cubes.h5").read_text() == "precious"
    assert reconstruct("video.npy", "--sequence --overwrite --out out") == 0
    assert not Path("out.unfinished").exists()


def test_a_full_disk_ends_it_and_what_is_finished_stays(files, monkeypatch, capsys):
    write = Hdf5Series.write

    def full(self, index, scene):
        if index == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, index, scene)

    with monkeypatch.context() as patch:
        patch.setattr(Hdf5Series, "write", full)
        assert reconstruct("video.npy") == 2
    assert "cubes.h5: no space is left there" in capsys.readouterr().err
    assert reconstruct("video.npy") == 0
    assert "1 of them finished before" in capsys.readouterr().out
    reconstruct("video.npy", "--sequence --out fresh")
    np.testing.assert_array_equal(cubes(), cubes("fresh/cubes.h5"))


def test_frames_that_have_changed_since_are_decoded_again(files, monkeypatch, capsys):
    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("crsdun.viewing.video.write_video", fail)
        assert reconstruct("video.npy") == 130
    assert "the same command resumes from there" in capsys.readouterr().err
    np.save("video.npy", np.stack([STACK[0], STACK[2], STACK[1]]))
    assert reconstruct("video.npy") == 0
    assert "1 of them finished before" in capsys.readouterr().out
    reconstruct("video.npy", "--sequence --out fresh")
    np.testing.assert_array_equal(cubes(), cubes("fresh/cubes.h5"))
