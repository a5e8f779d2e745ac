"""The dock that decodes, in the real napari: what it computes, what it says, and how it ends."""

import numpy as np
import pytest
import torch

import crsdun
from crsdun.interop.napari.decoding import AUTOMATIC, FILE, Decoding, Job
from crsdun.interop.napari.wording import CONTROLS, FIELDS, READING
from crsdun.optics import CassiCamera, nbk7_wavelengths
from crsdun.runtime import Preparation
from crsdun.scenes import write_arrays, write_measurement
from crsdun.viewing.app.wording import CONTROLS as OF_THE_EXPLORER
from tests.interop.napari.conftest import settle, wait
from tests.interop.napari.made import made_measurement, made_scene


@pytest.fixture
def decode(dock):
    return dock("Decode")


@pytest.fixture
def measured(viewer, tmp_path):
    """The layer of a measurement that our reader has opened."""
    write_measurement(made_measurement(), tmp_path / "y.npz")
    return viewer.open(tmp_path / "y.npz", plugin="crsdun")[0]


def run(decode, method, **typed):
    """Decode as a person does; returns the layers that came of it, by name."""
    before = list(decode.viewer.layers)
    decode.method.value = method
    for name, text in typed.items():
        decode.fields[name].value = text
    decode.decode.native.click()
    wait(lambda: decode.decode.enabled)
    return {layer.name: layer for layer in decode.viewer.layers if layer not in before}


def test_weights_give_cube_picture_classes_and_confidence(measured, decode):
    assert decode.measurement.value == measured
    layers = run(decode, "crsdun_tiny")
    expected = crsdun.reconstruct(made_measurement(), method="crsdun_tiny")
    assert list(layers) == [f"{what} (crsdun_tiny): patch" for what in ("cube", "picture", "classes", "confidence")]
    cube, _, classes, _ = layers.values()
    assert np.array_equal(cube.data, expected.scene.cube)
    assert np.array_equal(classes.data, expected.classes)
    assert cube.metadata["record"]["measurement"]["name"] == "patch"
    assert decode.says.value.startswith("crsdun_tiny in ")
    assert f"data residual {expected.metrics['data_residual']:.2%}" in decode.says.value
    assert decode.measurement.value == measured


def test_a_solver_decodes_any_layer_with_a_mask_and_wavelengths_that_are_typed(viewer, decode, tmp_path):
    measurement = made_measurement(6)
    np.save(tmp_path / "mask.npy", measurement.mask)
    viewer.add_image(measurement.frame.astype(np.float64), name="from elsewhere")
    layers = run(decode, "lr-tv", mask=tmp_path / "mask.npy", step="2", wavelengths="nbk7:6", iterations="3")
    expected = crsdun.reconstruct(
        measurement.frame, measurement.mask, crsdun.solvers.create_solver("lr-tv", iterations=3),
        wavelengths=nbk7_wavelengths(6), step=2,
    )  # fmt: skip
    cube = layers["cube (lr-tv): from elsewhere"]
    assert np.array_equal(cube.data, expected.scene.cube)
    assert cube.metadata["wavelengths_nm"] == nbk7_wavelengths(6)
    assert cube.metadata["record"]["settings"]["iterations"] == 3


def test_a_camera_file_takes_the_place_of_a_mask(viewer, decode, tmp_path):
    measurement = made_measurement(6)
    camera = CassiCamera(measurement.mask, wavelengths=nbk7_wavelengths(6))
    camera.save(tmp_path / "camera.npz")
    viewer.add_image(measurement.frame, name="y")
    layers = run(decode, "gap-tv", camera=tmp_path / "camera.npz", iterations="2")
    assert layers["cube (gap-tv): y"].metadata["wavelengths_nm"] == nbk7_wavelengths(6)
    np.save(tmp_path / "mask.npy", measurement.mask)
    decode.fields["mask"].value = tmp_path / "mask.npy"
    assert run(decode, "gap-tv") == {}
    assert decode.says.value == "a camera file already says the mask; omit the field 'Mask file', or the field " + (
        "'Camera file'"
    )


def test_the_slider_chooses_one_of_several_exposures(viewer, decode, tmp_path):
    measurement = made_measurement(6)
    frames = np.stack([measurement.frame, 0.5 * measurement.frame])
    write_arrays(tmp_path / "meas.mat", {"meas": frames, "mask": measurement.mask}, {})
    viewer.open(tmp_path / "meas.mat", plugin="crsdun")
    viewer.dims.set_point(0, 1)
    (cube, *_) = run(decode, "gap-tv", wavelengths="nbk7:6", iterations="2").values()
    assert cube.metadata["record"]["measurement"]["frame"] == 2
    expected = Preparation(wavelengths=nbk7_wavelengths(6)).open(tmp_path / "meas.mat")[1].frame
    assert np.array_equal(expected, frames[1])
    assert cube.name == "cube (gap-tv): meas_2"


def test_what_fits_is_chosen_and_said(measured, decode):
    run(decode, AUTOMATIC)
    assert "fits this camera" in decode.says.value


@pytest.mark.parametrize(
    ("method", "typed", "problem"),
    [
        ("lr-tv", {"step": "two"}, "step must be a number, not 'two'"),
        ("lr-tv", {"wavelengths": "red"}, "cannot read the wavelengths 'red'"),
        ("lr-tv", {"bits": "99"}, "bits must lie between 1 and 32"),
        ("lr-tv", {"mask": "nowhere.npy"}, "nowhere.npy"),
        ("lr-tv", {"step": "1"}, "what would fit: 55 bands at step 1, 28 bands at step 2"),
        ("crsdun_tiny", {"iterations": "3"}, "iterations is a setting of the training-free methods, not of weights"),
        (AUTOMATIC, {"iterations": "3"}, "choose one, or omit the field 'Iterations'"),
        (FILE, {}, "no file of weights is named; set the field 'Weights file'"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_dock(measured, viewer, decode, method, typed, problem):
    assert run(decode, method, **typed) == {}
    assert problem in decode.says.value
    assert "<" not in decode.says.value
    assert "Traceback" not in decode.says.value
    assert decode.decode.enabled


def test_without_a_measurement_there_is_nothing_to_decode(viewer, decode):
    scene = made_scene()
    viewer.add_image(np.zeros((8, 8, 3), np.uint8), rgb=True)
    viewer.add_labels(scene.classes)
    assert decode.measurement.choices == ()
    assert run(decode, "lr-tv") == {}
    assert decode.says.value == "there is no measurement among the layers; open one first"
    viewer.add_image(np.ones((8, 12)), name="no mask")
    assert run(decode, "lr-tv") == {}
    assert decode.says.value == (
        "a measurement can only be decoded with its coded aperture; set the field 'Mask file'"
    )


def test_a_measurement_with_gaps_is_refused_before_a_thread_starts(viewer, decode):
    viewer.add_image(np.full((8, 12), np.nan), name="gaps", contrast_limits=(0, 1))
    assert run(decode, "lr-tv") == {}
    assert "holds 96 NaN or infinite values" in decode.says.value


def begin_long(decode):
    decode.method.value = "gap-tv"
    decode.fields["iterations"].value = "1000000"
    decode.decode.native.click()
    wait(lambda: decode.job.done > 0)


def test_a_decoding_that_is_cancelled_leaves_everything_as_it_was(measured, viewer, decode):
    begin_long(decode)
    wait(lambda: decode.bar.value > 0)
    assert decode.bar.max == 1_000_000
    assert decode.bar.visible
    decode.decode.native.click()  # which does nothing now
    decode.cancel.native.click()
    wait(lambda: decode.decode.enabled)
    assert decode.says.value == "Cancelled."
    assert list(viewer.layers) == [measured]
    assert not decode.bar.visible


def test_a_dock_that_is_closed_ends_its_decoding(measured, viewer, decode):
    begin_long(decode)
    job = decode.job
    viewer.window.remove_dock_widget(decode.native)
    wait(lambda: job.problem == "Cancelled.")
    settle()
    assert list(viewer.layers) == [measured]
    viewer.layers.selection.active = None  # to which nobody listens any more


def test_napari_does_not_wait_for_a_decoding_when_it_quits(measured, decode):
    from napari.qt.threading import WorkerBase

    begin_long(decode)
    WorkerBase.await_workers(600_000)
    assert decode.job.problem == "Cancelled."
    wait(lambda: decode.decode.enabled)


def test_a_fault_of_ours_is_no_traceback_either(measured, decode, monkeypatch, capsys):
    monkeypatch.setattr(Decoding, "of", lambda *_: 1 / 0)
    assert run(decode, "lr-tv") == {}
    assert decode.says.value.startswith("ZeroDivisionError: division by zero; this is a fault of crsdun")
    assert "Traceback" in capsys.readouterr().err


def test_memory_that_runs_out_is_no_fault_of_ours(monkeypatch):
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Decoding, "of", fail)
    job = Job(Decoding("lr-tv"), None)
    job.run()
    assert job.problem == "there is not enough memory for this size"


def test_there_is_a_word_for_every_setting():
    """The explorer's tests look for all settings that remedies name."""
    assert CONTROLS.keys() >= OF_THE_EXPLORER.keys() | FIELDS.keys()
    assert READING.keys() >= CONTROLS.keys()
    for name, (label, _) in FIELDS.items():
        assert CONTROLS[name] == f"the field {label!r}"


def test_weights_from_a_file(measured, decode, tmp_path):
    torch.manual_seed(0)
    network = crsdun.create("crsdun_1stg", bands=28, classes=3, width=4)
    crsdun.save(network, tmp_path / "mine.safetensors", wavelengths=nbk7_wavelengths(), class_names=("a", "b", "c"))
    assert not decode.weights.visible
    decode.method.value = FILE
    wait(lambda: decode.weights.visible)
    decode.weights.value = tmp_path / "mine.safetensors"
    layers = run(decode, FILE)
    assert next(iter(layers)).startswith("cube (")
    (classes,) = (layer for name, layer in layers.items() if name.startswith("classes"))
    assert list(classes.features["class"]) == ["unlabelled", "a", "b", "c"]
