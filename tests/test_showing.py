"""What is printed of things that hold arrays: one line each, without them."""

import numpy as np
import torch

from crsdun.optics import CameraFile, Estimate
from crsdun.scenes import Measurement, Scene
from tests.viewing.reports import small_reconstruction

NM = (450.0, 550.0, 650.0)


def test_a_scene():
    cube = np.zeros((3, 40, 60), np.float32)
    assert repr(Scene(cube)) == "Scene('scene', 3 bands of 40×60)"
    labels = np.zeros((40, 60), int)
    assert repr(Scene(cube, NM, labels, ("leaf", "soil"), "field")) == (
        "Scene('field', 3 bands of 40×60, 450–650 nm, 2 classes)"
    )
    cube[:, 0, :4] = np.nan
    assert repr(Scene(cube, NM, labels)) == (
        "Scene('scene', 3 bands of 40×60, 450–650 nm, classes, 12 voxels without data)"
    )


def test_a_measurement():
    frame = np.zeros((40, 64), np.uint16)
    assert repr(Measurement(frame)) == "Measurement('measurement', 40×64 uint16)"
    assert repr(Measurement(1.0 * frame, NM, np.ones((40, 60)), 2, "shot")) == (
        "Measurement('shot', 40×64 float32, 3 bands, 450–650 nm, step 2, with its mask)"
    )


def test_an_estimate():
    cubes, logits = [torch.zeros(1, 3, 40, 60)] * 2, [torch.zeros(1, 5, 40, 60)]
    assert repr(Estimate(cubes[:1])) == "Estimate(3 bands of 40×60)"
    assert repr(Estimate(cubes, logits, wavelengths=NM)) == (
        "Estimate(3 bands of 40×60, 450–650 nm, 2 stages, 5 classes)"
    )
    assert repr(Estimate([torch.zeros(4, 1, 8, 9)])) == "Estimate(4 frames, 1 band of 8×9)"


def test_a_result_and_a_camera_file():
    result = small_reconstruction()
    assert repr(result).endswith("6 bands of 24×20 by gap-tv, data residual 12.50%)")
    result.metrics["warning"] = "it is not a scene"
    assert repr(result).endswith(", do not rely on it)")
    file = CameraFile(np.ones((4, 5), np.float32), ((0.0, 0.0), (0.0, 2.0)))
    assert repr(file) == f"CameraFile({file.outline})"
