"""``crsdun reconstruct --large`` from the command line: a folder, an interruption, and what is refused."""

import json

import numpy as np
import pytest

from crsdun.classifiers import Marks, fit_classifier, save_classifier
from crsdun.cli import main
from crsdun.optics import CassiCamera, random_mask
from crsdun.runtime import LargeRun
from crsdun.scenes import Scene, open_scene_rows, write_arrays
from tests.listing import visible

H, W, WAVELENGTHS = 48, 20, (450.0, 520.0, 580.0, 650.0)
WAVES = "450,520,580,650"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    camera = CassiCamera(random_mask(H, W, seed=1), wavelengths=WAVELENGTHS)
    rows, columns = np.mgrid[:H, :W]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 9 + columns / 7 + band / 3) for band in range(4)]).astype(np.float32)
    from torch import from_numpy

    np.save("y.npy", camera.forward(from_numpy(cube)).numpy())
    np.save("mask.npy", camera.mask.numpy())
    np.save("tile.npy", camera.mask.numpy()[:7, :5])
    return tmp_path


def command(*more: str, measurement: str = "y.npy") -> list[str]:
    method = ["--method", "lr-tv", "--iterations", "5", "--wavelengths", WAVES]
    return ["reconstruct", measurement, "--mask", "mask.npy", *method, "--out", "out", *more]


LARGE = ("--large", "--tile", "16", "--overlap", "4")


def test_a_folder_with_the_cube_in_a_store_and_pictures(here, capsys):
    assert main(command(*LARGE, "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["method"] == "lr-tv"
    assert {"data_residual", "worst_residual", "worst_rows", "fit", "noise"} <= printed.keys()
    assert set(visible(here / "out")) == {
        "bands.png", "cube.zarr", "metrics.json", "overview.png", "picture.png", "record.json", "report.html",
        "rows.jsonl", "spectra.png",
    }  # fmt: skip
    scene = open_scene_rows(here / "out" / "cube.zarr").rows(0, H)
    assert (scene.cube.shape, scene.wavelengths) == ((4, H, W), WAVELENGTHS)
    assert np.isfinite(scene.cube).all()
    record = json.loads((here / "out" / "record.json").read_text())
    assert record["tiles"] == {"rows": 16, "overlap": 4, "automatic": False}
    assert record["camera"]["mask"] == [H, W]
    assert main(command(*LARGE)) == 2  # it is there already


def test_an_interrupted_job_is_no_result_and_goes_on(here, capsys, monkeypatch):
    run = LargeRun.run

    def interrupted(self):
        for done in run(self):
            yield done
            raise KeyboardInterrupt

    monkeypatch.setattr(LargeRun, "run", interrupted)
    assert main(command(*LARGE)) == 130
    assert not (here / "out").exists()
    assert "the finished rows are in out.unfinished" in capsys.readouterr().err
    monkeypatch.setattr(LargeRun, "run", run)
    assert main([*command(*LARGE), "--json"]) == 2  # another command
    assert "unfinished results of another command" in capsys.readouterr().err
    assert main(command(*LARGE)) == 0
    assert "12 rows of them finished before" in capsys.readouterr().out
    assert not (here / "out.unfinished").exists()


def test_an_interrupted_job_does_not_go_on_with_a_classifier_that_was_made_again(here, capsys, monkeypatch):
    """Its map would have the names of the one before."""
    cube = np.random.default_rng(0).random((4, 8, 8), np.float32)
    for names in (("dark", "light"), ("leaf", "fruit")):
        marks = Marks.of_labels(np.arange(64).reshape(8, 8) % 2, names)
        save_classifier(fit_classifier(Scene(cube, WAVELENGTHS), marks, "lda"), "c.safetensors", overwrite=True)
        if names[0] == "dark":
            with monkeypatch.context() as patch:
                patch.setattr(LargeRun, "finish", interrupt)
                assert main(command(*LARGE, "--classes", "c.safetensors")) == 130
            capsys.readouterr()
    assert main(command(*LARGE, "--classes", "c.safetensors")) == 2
    assert "of another command, or of other files" in capsys.readouterr().err
    assert main(command(*LARGE, "--classes", "c.safetensors", "--overwrite")) == 0
    assert open_scene_rows(here / "out" / "cube.zarr").class_names == ("background", "leaf", "fruit")


def interrupt(run: LargeRun) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("measurement", ["y.npy", "y.hdr"])
def test_a_frame_that_memory_would_not_suffice_for_is_large_by_itself(here, capsys, monkeypatch, measurement):
    from crsdun import methods, runtime
    from crsdun.cli import large

    write_arrays("y.hdr", {"measurement": np.load("y.npy")}, {})
    monkeypatch.setattr(large, "SMALL_FILE", 2000)
    assert (here / "y.hdr").stat().st_size < 2000 < (here / "y.img").stat().st_size
    monkeypatch.setattr(runtime, "is_large", lambda size, method, available: size == (4, H, W))
    assert main(command("--tile", "16", measurement=measurement)) == 0
    out = capsys.readouterr()
    assert f"there is not enough memory for 4 bands of {H}×{W} pixels at once" in out.err
    assert "cube: cube.zarr in out" in out.out
    assert methods.available_memory() is not None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--repeat-mask",), "only the mask of a large frame may repeat; set --large too, or omit --repeat-mask"),
        (("--large", "--sequence"), "large frames are decoded one at a time"),
        (
            ("--large", "--truth", "y.npy"),
            "truth needs the whole frame, and this one is decoded by rows; omit --truth",
        ),
        (("--large", "--refine-camera"), "refine camera needs the whole frame"),
        (("--large", "--mask", "tile.npy"), "48 rows but the mask has 7"),
    ],
)
def test_what_cannot_be_is_said(here, capsys, more, message):
    assert main(command(*more)) == 2
    assert message in capsys.readouterr().err
    assert not list(here.glob("out*"))


def test_a_small_mask_may_repeat(here, capsys):
    assert main(command(*LARGE, "--mask", "tile.npy", "--repeat-mask")) == 0
    assert json.loads((here / "out" / "record.json").read_text())["camera"]["mask"] == [H, W]
