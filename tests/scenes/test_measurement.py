"""Measurements: a frame keeps its camera, and what is not a measurement is refused with a hint."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from crsdun.errors import InputError
from crsdun.scenes import Measurement, open_exposures, read_measurement, write_measurement

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tsa_real"


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("per_band", [False, True])
@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5", ".tif"])
def test_a_measurement_comes_back_as_it_was(tmp_path, suffix, per_band, dtype):
    generator = np.random.default_rng(0)
    measurement = Measurement(
        (generator.random((5, 9)) * 1000).astype(dtype),
        wavelengths=(450.123456789, 500, 550),
        mask=generator.random((3, 5, 5) if per_band else (5, 5)),
        step=2,
        name="lab",
        provenance={"noise": {"read_sigma": 0.1}},
        counts=dtype is np.float32,  # which its numbers do not show
    )
    write_measurement(measurement, tmp_path / f"frame{suffix}")
    back = read_measurement(tmp_path / f"frame{suffix}")
    np.testing.assert_array_equal(back.frame, measurement.frame)
    assert back.frame.dtype == dtype
    np.testing.assert_array_equal(back.mask, measurement.mask)
    for name in ("wavelengths", "step", "name", "provenance", "counts"):
        assert getattr(back, name) == getattr(measurement, name)
    assert open_exposures(tmp_path / f"frame{suffix}").part(0, 1, 3).counts == measurement.counts


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint16), (".png", np.uint8), (".hdr", np.float32)])
def test_formats_of_one_array_keep_the_words(tmp_path, suffix, dtype):
    measurement = Measurement(np.arange(12).reshape(3, 4).astype(dtype), (450, 500), np.ones((3, 3)), 1, "lab")
    write_measurement(measurement, tmp_path / f"frame{suffix}")
    back = read_measurement(tmp_path / f"frame{suffix}")
    np.testing.assert_array_equal(back.frame, measurement.frame)
    assert back.frame.dtype == dtype
    assert (back.wavelengths, back.step, back.name, back.mask) == ((450, 500), 1, "lab", None)


def test_npy_keeps_the_frame_alone_and_png_refuses_fractions(tmp_path):
    measurement = Measurement(np.random.default_rng(0).random((3, 4)), step=1)
    write_measurement(measurement, tmp_path / "frame.npy")
    back = read_measurement(tmp_path / "frame.npy")
    np.testing.assert_array_equal(back.frame, measurement.frame)
    assert back.step is None
    with pytest.raises(InputError, match=r"holds counts, .* not .* of float32; choose \.npz"):
        write_measurement(measurement, tmp_path / "frame.png")


@pytest.mark.parametrize("shape", [(1, 4, 6), (4, 6, 1), (1, 4, 6, 1)])
def test_axes_of_length_one_are_taken_off(tmp_path, shape):
    np.savez(tmp_path / "frame.npz", y=np.ones(shape))
    assert read_measurement(tmp_path / "frame.npz").frame.shape == (4, 6)


def test_the_known_name_is_taken(tmp_path):
    scipy.io.savemat(
        tmp_path / "a.mat", {"dark": np.zeros((4, 6)), "meas_real": np.ones((4, 6)), "mask": np.ones((4, 4))}
    )
    measurement = read_measurement(tmp_path / "a.mat")
    assert measurement.frame.min() == 1
    assert measurement.mask.shape == (4, 4)
    origin = {"file": "a.mat", "format": "MATLAB v5", "array": "meas_real"}
    assert measurement.provenance == {**origin, "calibration_beside": {"dark": "dark"}}
    with pytest.raises(InputError, match=r"no array 'y'; it holds dark \(4, 6\), meas_real \(4, 6\), mask \(4, 4\)"):
        read_measurement(tmp_path / "a.mat", key="y")


def test_a_cube_is_no_measurement(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"img": np.ones((4, 6, 3))})
    with pytest.raises(InputError, match=r"img \(4, 6, 3\); it looks like a cube: crsdun simulate"):
        read_measurement(tmp_path / "a.mat")
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match="is a colour picture"):
        read_measurement(tmp_path / "red.png")


def test_a_grey_picture_saved_in_colour_is_a_measurement(tmp_path):
    counts = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(counts).convert("RGB").save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_measurement(tmp_path / "grey.png").frame, counts)


def test_dead_pixels_are_counted_and_placed(tmp_path):
    frame = np.ones((4, 6))
    frame[2, 5], frame[3, 0] = np.nan, np.inf
    np.save(tmp_path / "frame.npy", frame)
    with pytest.raises(
        InputError, match="'frame' holds 2 NaN or infinite values, the first at row 2, column 5; replace"
    ):
        read_measurement(tmp_path / "frame.npy")
    with pytest.raises(InputError, match="shape"):
        Measurement(np.ones((3, 4, 5)))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real captures are not at {REAL}")
def test_a_real_capture():
    measurement = read_measurement(REAL / "scene5.mat")
    assert measurement.frame.shape == (660, 714)
    assert measurement.frame.dtype == np.float32
    assert measurement.name == "scene5"


def test_frames_of_a_calibration_are_no_measurement(tmp_path):
    stack, dark = np.arange(48.0).reshape(2, 4, 6), np.ones((4, 6))
    np.savez(tmp_path / "stack.npz", meas=stack, dark=dark, white=dark)
    exposures = open_exposures(tmp_path / "stack.npz")
    assert [each.frame.tolist() for each in exposures] == stack.tolist()
    assert exposures[0].provenance["calibration_beside"] == {"dark": "dark", "white": "white"}
    np.savez(tmp_path / "unknown.npz", exposure=stack[0], background=dark, flat_field=dark)
    assert read_measurement(tmp_path / "unknown.npz").frame.tolist() == stack[0].tolist()
    np.savez(tmp_path / "dark.npz", dark=dark)
    with pytest.raises(InputError, match=r"no measurement .*; it holds dark \(4, 6\); choose one of these with key"):
        read_measurement(tmp_path / "dark.npz")
    assert read_measurement(tmp_path / "dark.npz", key="dark").frame.tolist() == dark.tolist()


def test_a_stack_called_measurement_goes_before_a_picture_without_a_known_name(tmp_path):
    stack, picture = np.arange(48.0).reshape(2, 4, 6), np.ones((4, 6))
    np.savez(tmp_path / "a.npz", meas=stack, overview=picture)
    assert len(open_exposures(tmp_path / "a.npz")) == 2
    np.savez(tmp_path / "b.npz", meas=stack, y=picture)  # two names of a measurement
    with pytest.raises(InputError, match=r"several arrays: y .*, meas .*; choose the measurement with key"):
        open_exposures(tmp_path / "b.npz")
    assert read_measurement(tmp_path / "b.npz", key="y").frame.tolist() == picture.tolist()
    np.savez(tmp_path / "c.npz", stack=stack, overview=picture)
    assert read_measurement(tmp_path / "c.npz").frame.tolist() == picture.tolist()


def test_of_two_names_of_a_measurement_none_is_guessed(tmp_path):
    np.savez(tmp_path / "a.npz", meas=np.ones((4, 6)), y=np.zeros((4, 6)))
    with pytest.raises(InputError, match=r"several arrays: meas \(4, 6\), y \(4, 6\); choose the measurement"):
        read_measurement(tmp_path / "a.npz")


def test_numbers_and_lists_are_no_pictures(tmp_path):
    frame = np.random.default_rng(0).random((4, 6))
    scipy.io.savemat(tmp_path / "a.mat", {"I": frame, "exposure_time": 20.0, "y": np.arange(6.0), "frame": 5.0})
    assert read_measurement(tmp_path / "a.mat").frame.tolist() == frame.astype(np.float32).tolist()


def test_whole_numbers_of_any_type_are_counts():
    counts = np.random.default_rng(0).integers(60, 4000, (40, 60))
    for dtype in (np.uint16, np.float64, np.float32, ">f8"):
        assert Measurement(counts.astype(dtype)).holds_counts
    filled = counts.astype(float)
    filled[5, 6] = 812.25  # a dead pixel
    assert Measurement(filled).holds_counts
    assert not Measurement(counts / 3).holds_counts
    assert not Measurement(np.floor(counts / 150)).holds_counts  # as large as those of a simulation
    assert not Measurement(filled, counts=False).holds_counts


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_rows_of_a_frame_hold_counts_where_the_frame_does(tmp_path, suffix):
    frame = np.full((200, 6), 4000.0)
    frame[:20] = 3
    path = tmp_path / f"y{suffix}"
    np.savez(path, y=frame) if suffix == ".npz" else np.save(path, frame)
    exposures = open_exposures(path)
    assert exposures[0].holds_counts
    assert exposures.part(0, 0, 10).holds_counts
