"""``crsdun simulate`` and ``crsdun evaluate`` behind the camera of a camera file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from crsdun.cli import main
from crsdun.optics import Blur, CassiCamera, Validity, random_mask
from crsdun.scenes import Scene, read_measurement, read_scene, write_scene
from tests.cli.test_cli import refuse
from tests.evaluation.scenes import PaintedSet

NM = (450.0, 520.0, 600.0, 650.0)
H, W = 24, 28


def tilted(height: int = H, width: int = W, wavelengths: tuple[float, ...] | None = NM) -> CassiCamera:
    offsets = [(0, 0), (0.5, 2.5), (1.25, 5), (2, 8)]
    camera = CassiCamera(random_mask(height, width), wavelengths=wavelengths, offsets=offsets)
    valid = np.ones(camera.measurement_shape, bool)
    valid[3, 4] = False
    return camera.through(Blur.gaussian(0.4), Validity(valid))


def scene(height: int = H, width: int = W, wavelengths: tuple[float, ...] | None = (440.0, 500.0, 700.0)) -> Scene:
    """A spectrum that is a straight line over the wavelengths in each pixel, so that resampling is exact."""
    rows, columns = np.mgrid[:height, :width] / 30
    nm = np.array(wavelengths or (1.0, 2.0, 3.0))[:, None, None]
    return Scene(0.2 + (nm / 1000) * (0.3 + 0.3 * np.sin(7 * rows) * np.cos(5 * columns)), wavelengths, name="lines")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tilted().save("tilted.npz")
    CassiCamera(random_mask(H, W, seed=1), wavelengths=NM, step=3).save("plain.npz")
    write_scene(scene(), "scene.npz")
    Path("scenes").mkdir()
    write_scene(scene(), "scenes/scene.npz")


def printed(capsys, *arguments: str) -> dict:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_scene_behind_a_tilted_blurred_camera_and_back(capsys):
    told = printed(capsys, "simulate", "scene.npz", "--camera", "tilted.npz", "--out", "y.npz")
    assert (told["camera"], told["bands"], told["step"]) == ("tilted.npz", 4, None)
    y = read_measurement("y.npz")
    cube = scene().resampled(NM).cube
    assert np.allclose(y.frame, tilted().forward(torch.from_numpy(cube)).numpy(), atol=1e-6)
    assert y.mask is y.step is None, "a mask alone would not decode it"
    assert y.provenance["calibrated_camera"]["parts"][0].startswith("blur 5×5, SHA-256")
    common = ["reconstruct", "y.npz", "--method", "lr-tv", "--truth", "scene.npz", "--out"]
    known = printed(capsys, *common, "known", "--camera", "tilted.npz")
    assert known["psnr_db"] > 30
    assert "set --mask" in refuse(capsys, *common, "unknown")
    assert main(["simulate", "scene.npz", "--camera", "tilted.npz", "--out", "again.npz"]) == 0
    assert "4 bands of lines, dispersed at 14.0° to the rows by 8.25 pixels in all" in (
        out := capsys.readouterr().out
    )
    assert "to be decoded with --camera tilted.npz" in out


def test_a_plain_camera_is_stored_with_the_measurement(capsys):
    told = printed(capsys, "simulate", "scene.npz", "--camera", "plain.npz", "--out", "y.npz")
    assert "camera" not in told
    y = read_measurement("y.npz")
    assert np.array_equal(y.mask, random_mask(H, W, seed=1))
    assert (y.step, y.wavelengths) == (3, NM)


def test_a_smaller_scene_comes_with_its_part_of_the_camera(capsys):
    write_scene(scene(20, 18), "small.npz")
    told = printed(capsys, "simulate", "small.npz", "--camera", "tilted.npz", "--out", "y.npz")
    assert told["camera"] == "y_camera.npz"
    part = CassiCamera.load("y_camera.npz")
    assert (part.height, part.width, part.offsets) == (20, 18, tilted().offsets)
    result = printed(capsys, "reconstruct", "y.npz", "--camera", "y_camera.npz", "--method", "lr-tv", "--truth",
                     "small.npz", "--out", "r")  # fmt: skip
    assert result["psnr_db"] > 30
    assert "y_camera.npz exists already" in refuse(
        capsys, "simulate", "small.npz", "--camera", "tilted.npz", "--out", "y.npz"
    )


def test_bands_that_are_taken_for_the_same(capsys):
    write_scene(scene(wavelengths=None), "three.npz")
    CassiCamera(random_mask(H, W), 3).save("without.npz")
    CassiCamera(random_mask(H, W), wavelengths=NM[:3]).save("with.npz")
    for name, known in (("without", None), ("with", NM[:3])):
        assert main(["simulate", "three.npz", "--camera", f"{name}.npz", "--out", f"y_{name}.npz"]) == 0
        assert read_measurement(f"y_{name}.npz").wavelengths == known
    assert main(["simulate", "scene.npz", "--camera", "without.npz", "--out", "y.npz"]) == 0
    assert read_measurement("y.npz").wavelengths == (440, 500, 700)
    told = ["simulate", "three.npz", "--wavelengths", "440,500,700", "--camera", "tilted.npz", "--out", "z.npz"]
    assert main(told) == 0
    direct = ["simulate", "scene.npz", "--camera", "tilted.npz", "--out", "direct.npz"]
    assert main(direct) == 0
    frames = [read_measurement(f"{name}.npz").frame.mean() for name in ("z", "direct")]
    assert frames[0] != frames[1], "other scenes"
    assert read_measurement("z.npz").wavelengths == NM


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("simulate scene.npz --camera tilted.npz --mask plain.npz --out z.npz", "says the mask; omit --mask"),
        ("simulate scene.npz --camera tilted.npz --step 2 --out z.npz", "already says the step; omit --step"),
        ("simulate scene.npz --camera tilted.npz --wavelengths 450,500,550 --out z.npz", "omit --wavelengths"),
        ("simulate scene.npz --camera scene.npz --out z.npz", "scene.npz was written by crsdun but holds no camera"),
        ("simulate nameless.npz --camera tilted.npz --out z.npz", "wavelengths of 'lines' are not known; give them"),
        (
            "simulate scene.npz --camera nameless_camera.npz --out z.npz",
            "wavelengths of the camera are not known; cal",
        ),
        ("simulate scene.npz --camera infrared.npz --out z.npz", "covers 440–700 nm, not 700–900 nm"),
        (
            "simulate scene.npz --camera small.npz --out z.npz",
            "the camera sees 10×12 pixels, and the scene has 24×28",
        ),
        ("simulate scene.npz --camera reversed.npz --out z.npz", "do not ascend by wavelength"),
        ("evaluate gap-tv set.yaml --camera tilted.npz --mask random:1 --out z", "already says the mask"),
        ("evaluate gap-tv set.yaml --camera tilted.npz --wavelengths nbk7 --out z", "already says the wavelengths"),
        (
            "evaluate gap-tv set.yaml --camera nameless_camera.npz --out z",
            "the wavelengths of the camera are not known",
        ),
        ("evaluate gap-tv set.yaml --camera small.npz --out z", "the camera sees 10×12 pixels"),
        ("evaluate crsdun_tiny set.yaml --camera tilted.npz --out z", "are for 28 bands but the camera has 4"),
    ],
)
def test_what_is_refused(capsys, arguments, message):
    write_scene(scene(wavelengths=None), "nameless.npz")
    tilted(wavelengths=None).save("nameless_camera.npz")
    CassiCamera(random_mask(H, W), wavelengths=(700, 750, 800, 900)).save("infrared.npz")
    CassiCamera(random_mask(10, 12), wavelengths=NM).save("small.npz")
    CassiCamera(random_mask(H, W), wavelengths=NM[::-1]).save("reversed.npz")
    Path("set.yaml").write_text(SET)
    assert message in refuse(capsys, *arguments.split())


SET = """
cubes: "scenes/{name}.npz"
splits: {test: [scene]}
"""


def test_an_evaluation_behind_a_camera(capsys):
    painted = PaintedSet(2)
    nm = np.linspace(440, 700, painted.bands)
    for index, name in enumerate(painted.names):
        cube = painted[index].cube
        write_scene(Scene(cube, tuple(nm), name=name), f"scenes/{name}.npz")
    Path("scenes/scene.npz").unlink()
    Path("set.yaml").write_text(SET.replace("[scene]", '["scene *"]'))
    tilted(*cube.shape[1:]).save("whole.npz")
    found = printed(capsys, "evaluate", "lr-tv", "set.yaml", "--camera", "whole.npz", "--out", "behind")
    assert found["psnr_db"] > 20
    evaluation = json.loads(Path("behind/evaluation.json").read_text())
    assert evaluation["data"]["wavelengths_nm"] == list(NM)
    assert evaluation["camera"]["offsets"][1] == [0.5, 2.5]
    assert [part.split()[0] for part in evaluation["camera"]["parts"]] == ["blur", "validity"]
    assert main(["evaluate", "gap-tv", "set.yaml", "--camera", "whole.npz", "--first", "1", "--out", "gap"]) == 0
    out = capsys.readouterr().out
    assert "dispersed at 14.0° to the rows" in out
    assert "behind it blur 5×5" in out
    assert "report.html" in os.listdir("gap")
    assert read_scene("scenes/scene 1.npz").bands == painted.bands
