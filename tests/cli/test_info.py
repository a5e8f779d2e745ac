"""``crsdun info`` and the commands that read folders of results: what they say of what they are given."""

import json

import numpy as np

from crsdun.cli import main
from crsdun.optics import CassiCamera, random_mask
from crsdun.optics.camera_file import CameraFile, write_camera


def test_the_frames_of_a_camera_file_are_no_measurements(tmp_path, capsys):
    camera = CassiCamera(random_mask(12, 10), wavelengths=(450, 500, 550))
    frame = np.full(camera.measurement_shape, 100, np.float32)
    stored = CameraFile(
        camera.mask.numpy(), camera.down_and_right, camera.wavelengths, dark=frame, white=30 * frame, valid=frame > 0
    )
    write_camera(stored, tmp_path / "camera.npz")
    assert main(["info", str(tmp_path / "camera.npz"), "--json"]) == 0
    found = {each["key"]: each["looks_like"] for each in json.loads(capsys.readouterr().out)["arrays"]}
    assert (found["mask"], found["dark"], found["white"]) == ("mask", "dark frame", "white frame")
    assert main(["info", str(tmp_path / "camera.npz")]) == 0
    told = capsys.readouterr().out
    assert "fit" not in told.partition("camera:")[0]
    assert "--dark" not in told


def test_what_has_to_be_typed_to_decode_a_file_is_said(tmp_path, capsys):
    mask = random_mask(16, 20)
    camera = CassiCamera(mask, bands=3)
    y = np.random.default_rng(0).random(camera.measurement_shape)
    np.savez(tmp_path / "unnamed.npz", g=y, T=mask, S=np.random.default_rng(0).random((16, 20, 3)))
    np.savez(tmp_path / "named.npz", y=y, mask=mask)
    assert main(["info", str(tmp_path / "unnamed.npz")]) == 0
    told = capsys.readouterr().out
    assert "decode it with --key g --mask-key T" in told
    assert "give them with --wavelengths, such as 400-700:3\n" in told
    decode = ["reconstruct", str(tmp_path / "unnamed.npz"), "--key", "g", "--mask-key", "T", "--iterations", "3"]
    assert main([*decode, "--method", "gap-tv", "--out", str(tmp_path / "out")]) == 0
    assert main(["info", str(tmp_path / "named.npz")]) == 0
    told = capsys.readouterr().out
    assert "--key" not in told
    assert "not stated; give them with --wavelengths, such as 400-700:3\n" in told


def test_a_folder_of_another_command_is_called_so(tmp_path, capsys):
    (tmp_path / "record.json").write_text("{}")  # of an evaluation, which has no metrics.json
    assert main(["figure", str(tmp_path), "--out", str(tmp_path / "figure")]) == 2
    assert "is not a complete folder of crsdun reconstruct" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "frames.jsonl").write_text("")
    assert main(["figure", str(tmp_path), "--out", str(tmp_path / "figure")]) == 2
    assert "holds a sequence, and one frame is needed" in capsys.readouterr().err
