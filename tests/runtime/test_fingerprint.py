"""What decides on a result: whatever changes must change its fingerprint."""

from dataclasses import replace

import numpy as np
import pytest

from crsdun.optics import CassiCamera, Validity, random_mask
from crsdun.runtime import PreparedMeasurement, deciding_files
from crsdun.runtime.fingerprint import fingerprint_of
from crsdun.scenes import Measurement, Scene

H, W, C = 6, 5, 3
CAMERA = CassiCamera(random_mask(H, W), wavelengths=(450, 500, 550))
CUBE = np.full((C, H, W), 0.5, np.float32)
TRUTH = Scene(CUBE, (450, 500, 550), classes=np.zeros((H, W), int), class_names=("soil", "leaf"))
FRAME = np.ones((H, W + 4), np.float32)
PREPARED = PreparedMeasurement(Measurement(FRAME), CAMERA, TRUTH)


@pytest.mark.parametrize(
    "changed",
    [
        replace(PREPARED, measurement=Measurement(2 * FRAME)),
        replace(PREPARED, camera=CAMERA.with_mask(1 - CAMERA.mask)),
        replace(PREPARED, camera=CassiCamera(CAMERA.mask, wavelengths=(450, 500, 560))),
        replace(PREPARED, camera=CassiCamera(CAMERA.mask, wavelengths=CAMERA.wavelengths, step=-2)),
        replace(PREPARED, camera=CAMERA.through(Validity(np.eye(H, W + 4) == 0))),
        replace(PREPARED, truth=None),
        replace(PREPARED, truth=replace(TRUTH, cube=2 * CUBE)),
        replace(PREPARED, truth=replace(TRUTH, classes=np.ones((H, W), int))),
        replace(PREPARED, truth=replace(TRUTH, class_names=("soil", "rock"))),
        replace(PREPARED, truth=replace(TRUTH, wavelengths=(450, 500, 560))),
    ],
)
def test_whatever_changes_counts(changed):
    assert fingerprint_of(changed, {}) != fingerprint_of(PREPARED, {})


def test_the_same_is_the_same():
    again = replace(PREPARED, measurement=Measurement(FRAME.copy()), truth=replace(TRUTH, cube=CUBE.copy()))
    assert fingerprint_of(again, {"weights": []}) == fingerprint_of(PREPARED, {"weights": []})


def test_files_count_by_what_they_hold(tmp_path):
    weights, values, classes = (tmp_path / name for name in ("net.xml", "net.bin", "classes.safetensors"))
    for file in (weights, values, classes):
        file.write_text("before")
    before = deciding_files(weights, classes)
    for file in (weights, values, classes):
        file.write_text("now")
        now = deciding_files(weights, classes)
        assert fingerprint_of(PREPARED, now) != fingerprint_of(PREPARED, before)
        before = now
    assert deciding_files(weights, classes) == before
    assert [each["file"] for each in deciding_files(None, None)["weights"]] == [
        "crsdun_small.safetensors", "crsdun_tiny.safetensors"
    ]  # fmt: skip
