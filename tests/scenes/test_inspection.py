"""What a file holds: ranges, probable roles, wavelengths, cameras."""

import json
from pathlib import Path

import numpy as np
import pytest

from crsdun.budget import limited_to
from crsdun.errors import InputError
from crsdun.scenes import describe
from crsdun.scenes.inspection import cameras_that_fit

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tsa_real"


def numbered(*shape):
    """Every entry different from all others, in 0..1."""
    return (np.arange(np.prod(shape)) / np.prod(shape)).reshape(shape).astype(np.float32)


def test_describe(tmp_path):
    frame = numbered(6, 11)
    frame[1, 2], frame[1, 3] = np.nan, np.inf
    contents = {
        "img": numbered(6, 5, 3),
        "meas": frame,
        "mask": numbered(6, 5),
        "gt": np.zeros((6, 5), int),
        "plain": numbered(5, 7),
        "wavelengths": np.array([400, 500, 600]),
    }
    np.savez(tmp_path / "all.npz", **contents)
    file = describe(tmp_path / "all.npz")
    assert file.format == "NumPy .npz"
    assert file.wavelengths == (400, 500, 600)
    roles = {array.key: array.looks_like for array in file.arrays}
    assert roles == {"img": "cube", "meas": "measurement", "mask": "mask", "gt": "class map", "plain": "measurement"}
    meas = file.arrays[1]
    assert (meas.shape, meas.dtype, meas.nan, meas.inf) == ((6, 11), "float32", 1, 1)
    assert meas.min == 0
    assert meas.max == pytest.approx(65 / 66)
    assert meas.mean == pytest.approx(frame[np.isfinite(frame)].mean())
    assert file.fitting_cameras(meas) == [(7, 1), (4, 2), (3, 3), (2, 6)]
    plain = json.loads(json.dumps(file.to_json()))
    assert list(plain) == ["path", "format", "arrays", "wavelengths", "metadata", "label_notes"]
    assert plain["wavelengths"] == {"first": 400, "last": 600, "number": 3}
    assert plain["arrays"][1]["fitting_cameras"][1] == {"bands": 4, "step": 2}
    assert plain["arrays"][2] == {
        "key": "mask", "shape": [6, 5], "dtype": "float32", "min": 0, "max": pytest.approx(29 / 30),
        "mean": pytest.approx(14.5 / 30), "nan": 0, "inf": 0, "looks_like": "mask", "encoding": {}, "floor": None,
    }  # fmt: skip


def test_wavelengths_without_a_unit_are_a_problem(tmp_path):
    np.savez(tmp_path / "cube.npz", img=np.ones((6, 5, 3)), wavelengths=np.array([30, 40, 50]))
    file = describe(tmp_path / "cube.npz")
    assert file.wavelengths is None
    assert "30–50 without a unit" in file.to_json()["wavelengths"]["problem"]


@pytest.mark.parametrize(
    ("measurement", "mask", "cameras"),
    [
        ((6, 9), None, [(4, 1), (2, 3)]),
        ((6, 9, 1), (6, 5), [(5, 1), (3, 2), (2, 4)]),
        ((1, 6, 9), (3, 8, 7), [(2, 1)]),
    ],
)
def test_cameras_that_fit(measurement, mask, cameras):
    assert cameras_that_fit(measurement, mask) == cameras


def test_describe_weights(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "net.safetensors"
    save_file({"a": np.zeros((2, 3)), "b": np.zeros(5)}, path, metadata={"config": '{"bands": 28}', "note": "mine"})
    weights = describe(path)
    assert (weights.format, weights.tensors, weights.parameters) == ("safetensors", 2, 11)
    assert weights.to_json()["looks_like"] == "weights"
    assert weights.metadata == {"config": {"bands": 28}, "note": "mine"}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=r"not a complete \.safetensors file"):
        describe(path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real captures are not at {REAL}")
def test_a_real_capture():
    assert describe(REAL / "scene5.mat").arrays[0].looks_like == "measurement"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"a": {"shape": ["x" * 1000, 1_000_000]}}, "a.shape takes a whole number"),
        ({"a": {"shape": 5}}, "a.shape takes a list"),
        ({"a": {}}, "lacks a.shape"),
        ({"a": [1]}, "a takes keys with values"),
        ({"a": {"shape": [2**62] * 100}}, "more than 64 axes"),
        ({"__metadata__": {"x": 5}}, "x takes text"),
        ([1], "takes keys with values"),
    ],
)
def test_an_edited_header_of_weights_is_refused(tmp_path, header, words):
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(InputError, match=words):
        describe(tmp_path / "a.safetensors")


def test_a_long_header_of_weights_is_compared_with_the_budget(tmp_path):
    text = b"{" + b" " * 1000 + b"}"
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with limited_to(10_000), pytest.raises(InputError, match=r"the header of .* GB of memory"):
        describe(tmp_path / "a.safetensors")
