"""Measurements behind the camera of a camera file."""

import numpy as np
import pytest
import torch

from crsdun import reconstruct
from crsdun.errors import InputError
from crsdun.optics import CameraFile, CassiCamera, Exposure, random_mask, write_camera
from crsdun.runtime import Pipeline, Preparation, PreparedMeasurement
from crsdun.runtime.preparation import filled
from crsdun.scenes import Measurement
from crsdun.scenes.produce import ProduceSet
from crsdun.solvers import Deviation, Refinement
from crsdun.solvers.self_calibration import NO_DEVIATION

MASK = random_mask(16, 12)
OFFSETS = ((0.0, 0.0), (0.0, 1.5), (0.0, 2.0))
SIZE = (16, 14)


def stored(**more) -> CameraFile:
    return CameraFile(MASK, OFFSETS, (450.0, 500.0, 550.0), **more)


def test_its_camera_takes_the_place_of_all_that_is_known_of_one():
    measurement = Measurement(np.ones(SIZE), (1.0, 2.0), random_mask(9, 9), 7)
    camera = Preparation(camera_file=stored()).prepare(measurement).camera
    assert camera.offsets == (0, 1.5, 2)
    assert camera.wavelengths == (450, 500, 550)
    assert np.array_equal(camera.mask, MASK)
    with pytest.raises(InputError, match="is 15 columns wide"):
        Preparation(camera_file=stored()).prepare(Measurement(np.ones((16, 15))))
    for name, value in (("mask", MASK), ("step", 2.0), ("bands", 3), ("wavelengths", (1.0, 2.0, 3.0))):
        with pytest.raises(InputError, match=f"omit {name}"):
            Preparation(camera_file=stored(), **{name: value})


def test_its_dark_and_white_are_for_counts():
    camera_file = stored(dark=np.full(SIZE, 100, np.float32), white=np.full(SIZE, 1100, np.float32))
    counts = Measurement(np.full(SIZE, 600, np.uint16))
    prepared = Preparation(camera_file=camera_file).prepare(counts)
    assert prepared.measurement.frame == pytest.approx(3 * 0.5)
    assert not prepared.counts
    assert Preparation(camera_file=camera_file, dark=500.0).prepare(counts).measurement.frame == pytest.approx(0.5)
    with_bits = Preparation(camera_file=camera_file, bits=12).prepare(counts)  # which are no other white
    assert with_bits.measurement.frame == pytest.approx(1.5)
    doubles = Measurement(np.full(SIZE, 600.0))  # as MATLAB stores counts
    assert Preparation(camera_file=camera_file).prepare(doubles).measurement.frame == pytest.approx(1.5)
    scaled = Measurement(np.full(SIZE, 1.5))
    assert Preparation(camera_file=camera_file).prepare(scaled).measurement.frame == pytest.approx(1.5)
    averages = Measurement(np.full(SIZE, 600.5))
    prepared = Preparation(camera_file=camera_file).prepare(averages)
    assert prepared.measurement.frame == pytest.approx(600.5)
    (told,) = prepared.measurement.provenance["doubts"]
    assert "goes up to 600.5, where a white scene gives" in told
    assert "white of the camera file belong to counts and were not applied" in told
    assert Preparation(camera_file=camera_file, bits=12).prepare(averages).measurement.frame == pytest.approx(1.5015)
    only_dark = stored(dark=np.full(SIZE, 100, np.float32))
    prepared = Preparation(camera_file=only_dark).prepare(counts)
    assert prepared.measurement.frame == pytest.approx(500)
    assert prepared.counts
    again = Preparation(camera_file=only_dark).prepare(prepared.measurement)
    assert again.measurement.frame == pytest.approx(500), "the dark is subtracted once"


def test_bad_pixels_take_what_is_around_them():
    valid = np.ones(SIZE, bool)
    valid[0, 0] = valid[5, 5:8] = False
    frame = np.arange(16.0)[:, None] + np.zeros(SIZE)
    broken = np.where(valid, frame, 1e6)
    dark = np.where(valid, 0, 1e6).astype(np.float32)
    prepared = Preparation(camera_file=stored(valid=valid, dark=dark)).prepare(Measurement(broken.astype(np.int64)))
    assert prepared.measurement.frame[5, 5:8] == pytest.approx([5, 5, 5], abs=0.5)
    assert prepared.measurement.frame[valid] == pytest.approx(frame[valid])
    assert prepared.measurement.provenance["bad_pixels_filled"] == 4


def test_filling_goes_on_until_everything_is_filled():
    valid = np.zeros((9, 9), bool)
    valid[4, 4] = True
    assert np.array_equal(filled(np.where(valid, 7, 0), valid), np.full((9, 9), 7))
    assert filled(np.zeros((3, 3)), np.zeros((3, 3), bool)).tolist() == np.zeros((3, 3)).tolist()


def test_refined_behind_a_tilted_prism_with_bad_pixels_of_each_frame():
    """As ``--camera --refine-camera`` of several exposures, of which each has saturated pixels of its own."""
    produce = ProduceSet("validation")[0]
    cube = produce.cube[::4, 60:108, 60:124]
    told = CassiCamera(random_mask(48, 64), offsets=[(0.7 * band, 4.0 * band) for band in range(7)])
    moved = Exposure(calibrated=told, moved=(1.0, -0.5))
    y = moved.measure(cube, told).numpy()
    frames = []
    for row in (10, 30):
        frame = y.copy()
        frame[row, 20:25] = 50
        frames.append(Measurement(frame, name=f"y{row}"))
    stored = CameraFile(told.mask.numpy(), told.offsets)
    notes = []
    pipeline = Pipeline(preparation=Preparation(camera_file=stored, saturated=40), refine=True, notify=notes.append)
    results = [pipeline.refined(pipeline.preparation.prepare(each)) for each in frames]
    assert len(pipeline.refinements) == 1, "the second frame is of the same camera"
    assert notes[0].startswith("camera refined: mask moved by +1.0")
    for row, result in zip((10, 30), results, strict=True):
        (validity,) = result.camera.parts
        assert (validity.values == 0).nonzero().tolist() == [[row, column] for column in range(20, 25)]
        assert result.camera.moved[0] == pytest.approx(1, abs=0.1)
        assert result.measurement.provenance["refined_camera"]["down"]["found"] == pytest.approx(1, abs=0.1)
    assert torch.equal(results[0].camera.mask, results[1].camera.mask)


def test_pixels_that_lack_light_are_known_on_the_wider_detector():
    told = CassiCamera(random_mask(16, 12), 3)
    wider = CassiCamera(random_mask(16, 12), 3, step=2.2)
    valid = np.ones(told.measurement_shape, bool)
    valid[3, 4] = False
    prepared = PreparedMeasurement(Measurement(np.ones(valid.shape), valid=valid), told)
    found = Refinement(wider, told, Deviation(dispersion=1.1), NO_DEVIATION, 0.0, 1.0, 0.5)
    result = prepared.refined(found)
    assert result.measurement.frame.shape == wider.measurement_shape == (16, 17)
    assert (~result.measurement.valid).sum() == 1 + 16
    assert not result.measurement.valid[3, 4]


def test_in_one_call(tmp_path):
    write_camera(stored(), tmp_path / "camera.npz")
    result = reconstruct(np.ones(SIZE), camera_file=tmp_path / "camera.npz", method="gap-tv")
    assert result.scene.wavelengths == (450, 500, 550)
