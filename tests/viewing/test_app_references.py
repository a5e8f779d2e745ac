"""Reference spectra in the explorer, which weights fit and why, and exports for other engines."""

import io
import json
import time

import numpy as np
import pytest
from spectral.io.envi import SpectralLibrary

import crsdun
from crsdun import runtime
from crsdun.optics import Exposure, random_mask
from crsdun.runtime.graph_export import export_apart
from crsdun.scenes.produce import ProduceSet
from crsdun.viewing.app.requests import MOST_REFERENCES
from tests.viewing.explorer import Client, running
from tests.viewing.test_app import BANDS, WAVELENGTHS, given

__all__ = ["given"]

TABLE = b"Wavelength (um),leaf,soil\n0.30,0.01,0.02\n0.45,0.05,0.10\n0.50,,0.15\n0.55,0.15,0.20\n1.20,0.5,0.6\n"


@pytest.fixture(scope="module")
def link(given):
    with running([given / "y.npz", given / "truth.npz", given / "fresh.safetensors"]) as link:
        yield link


@pytest.fixture
def visitor(link):
    return Client(link)


def array(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


# -- reference spectra -----------------------------------------------------------------------------------------


def test_the_spectra_of_a_table_are_drawn_at_their_own_wavelengths(visitor):
    told = visitor.put("field.csv", TABLE)
    assert (told["problem"], told["spectra"], told["arrays"]) == ("", ["leaf", "soil"], [])
    assert told["wavelengths"] == [5, 300.0, 1200.0]
    state = visitor.state()
    assert state["libraries"] == ["field.csv"]
    assert "field.csv" not in json.dumps(state["suggested"])
    choices = [{"file": "field.csv", "index": index} for index in (1, 0)]
    soil, leaf = visitor.post("/api/references", references=choices)
    assert soil == {"name": "soil", "wavelengths": [450.0, 500.0, 550.0], "values": [0.1, 0.15, 0.2]}
    assert leaf["values"] == [0.05, None, 0.15], "a gap stays a gap"


@pytest.mark.parametrize("first", ["usgs.hdr", "usgs.sli"])
def test_an_envi_library_comes_as_two_files_in_any_order(visitor, tmp_path, first):
    header = {"wavelength": [450.0, 550.0, 650.0], "wavelength units": "Nanometers", "spectra names": ["a", "b"]}
    values = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    SpectralLibrary(values, header).save(str(tmp_path / "usgs"))
    second = {"usgs.hdr": "usgs.sli", "usgs.sli": "usgs.hdr"}[first]
    assert visitor.put(first, (tmp_path / first).read_bytes())["problem"]
    assert visitor.put(second, (tmp_path / second).read_bytes())["spectra"] == ["a", "b"]
    state = visitor.state()
    assert state["libraries"] == ["usgs.hdr"]
    assert [file["problem"] for file in state["files"] if file["name"].startswith("usgs")] == ["", ""]
    (b,) = visitor.post("/api/references", references=[{"file": "usgs.hdr", "index": 1}])
    np.testing.assert_allclose(b["values"], values[1])


def test_the_table_that_the_explorer_saves_can_be_drawn_again(visitor):
    points = [
        {"name": "a, box", "top": 2, "left": 3, "height": 4, "width": 5},
        {"name": "pixel", "top": 1, "left": 1},
    ]
    told = visitor.put("spectra.csv", visitor.text("/api/spectra.csv", points=points).encode())
    assert told["spectra"] == ["a, box, truth", "pixel, truth"]
    box, _ = visitor.post("/api/spectra", points=points)
    (drawn,) = visitor.post("/api/references", references=[{"file": "spectra.csv", "index": 0}])
    np.testing.assert_allclose(drawn["values"], box["truth"]["mean"], rtol=1e-6)
    assert tuple(drawn["wavelengths"]) == WAVELENGTHS


def test_references_that_cannot_be_drawn_are_refused(visitor):
    assert "where a number is expected" in visitor.put("bad.csv", b"nm,a\n450,x\n")["problem"]
    visitor.put("far.csv", b"nm,a\n1000,0.1\n2000,0.2\n")
    visitor.put("near.csv", b"nm,a\n450,0.1\n500,0.2\n")
    for choice, words in (
        ({"file": "bad.csv", "index": 0}, "no spectra of 'bad.csv'"),
        ({"file": "../near.csv", "index": 0}, "no spectra of"),
        ({"file": "near.csv", "index": 1}, "only 1 spectra"),
        ({"file": "near.csv", "index": -1}, "index must lie"),
        ({"file": "near.csv", "index": "x"}, "index must be a whole number"),
        ({"file": 5}, "file must be text"),
        ("near.csv", "not a JSON object"),
        ({"file": "far.csv", "index": 0}, "(1000 to 2000 nm) where the scene is (450 to 700 nm)"),
    ):
        assert words in visitor.refused("POST", "/api/references", json.dumps({"references": [choice]}))
    many = [{"file": "near.csv"}] * (MOST_REFERENCES + 1)
    assert "too many" in visitor.refused("POST", "/api/references", json.dumps({"references": many}))
    visitor.put("cube.npy", array(np.random.default_rng(0).random((30, 40, 5), np.float32)))
    visitor.post("/api/open", truth={"file": "cube.npy"})
    body = json.dumps({"references": [{"file": "near.csv"}]})
    assert "wavelengths of the scene are not known; set the wavelengths" in visitor.refused(
        "POST", "/api/references", body
    )


def test_a_file_named_on_the_command_line_is_a_library_too(given, tmp_path):
    (tmp_path / "field.csv").write_bytes(TABLE)
    with running([given / "y.npz", given / "truth.npz", tmp_path / "field.csv"]) as link:
        visitor = Client(link)
        assert visitor.state()["libraries"] == ["field.csv"]
        assert visitor.state()["scene"]["bands"] == BANDS
        visitor.post("/api/forget")
        assert visitor.state()["libraries"] == ["field.csv"]
    with running([tmp_path / "field.csv"]) as link:
        state = Client(link).state()
        assert (state["problem"], state["scene"]["name"]) == ("", "test_000"), "a sample to draw it beside"


# -- which weights fit -----------------------------------------------------------------------------------------


def test_shipped_weights_fit_where_the_wavelengths_that_are_typed_do(visitor):
    truth = ProduceSet("test")[0].cropped(96, 96, 64, 64)
    frame = runtime.simulate(truth, Exposure(random_mask(64, 64))).frame
    visitor.put("frame.npy", array(frame))
    visitor.put("mask.npy", array(random_mask(64, 64)))
    roles = {"measurement": {"file": "frame.npy", "key": "image"}, "mask": {"file": "mask.npy", "key": "image"}}
    before = visitor.state()
    assert set(before["fits_of_weights"].values()) == {"these weights are for 28 bands but the camera has 6"}
    for typed, words in (
        ({}, "the wavelengths of the bands are not known"),
        ({"wavelengths": "350-700:28"}, "for any bands from 400 to 730 nm, but the camera has one at 388.889 nm"),
        ({"wavelengths": "kaist"}, None),
        ({"wavelengths": "nbk7"}, None),
        ({"wavelengths": "nbk7", "step": "1", "bands": "28"}, "refused"),
        ({"wavelengths": "nbk"}, "refused"),
    ):
        if words == "refused":
            assert visitor.refused("POST", "/api/fit", json.dumps({**roles, **typed}))
            continue
        reason = visitor.post("/api/fit", **roles, **typed)["crsdun_tiny"]
        assert (reason is None) if words is None else (words in reason), reason
    assert visitor.state()["version"] == before["version"], "nothing was opened"
    visitor.post("/api/open", **roles, wavelengths="nbk7")
    assert visitor.state()["fits_of_weights"] == {"crsdun_small": None, "crsdun_tiny": None}
    request = visitor.state()["scene"]["request"]
    assert request["arrays"] == roles
    assert len(request["wavelengths"]) == 28, "a reload shows what is open"
    visitor.post("/api/simulate", scene="produce-0", size=64, method="gap-tv", iterations="1")
    assert visitor.wait()["state"] == "done"
    assert not visitor.state()["scene"]["request"]


def test_the_page_and_the_command_line_agree_on_what_fits():
    truth = ProduceSet("test")[0].cropped(96, 96, 64, 64)
    fits = runtime.Preparation().prepare(runtime.simulate(truth, Exposure(random_mask(64, 64))))
    assert runtime.fit_of_weights(fits) == {"crsdun_small": None, "crsdun_tiny": None}
    assert runtime.choose_weights(fits)[0] == "crsdun_small"
    dark = runtime.Preparation().prepare(runtime.simulate(truth, Exposure(random_mask(64, 64, 0.05))))
    for reason in runtime.fit_of_weights(dark).values():
        assert reason in runtime.choose_weights(dark)[1]
        assert "of the mask is open" in reason


# -- engines ---------------------------------------------------------------------------------------------------


def test_the_export_for_an_engine_shows_progress_and_can_be_cancelled(visitor):
    pytest.importorskip("onnxruntime")
    visitor.post("/api/decode", method="fresh", engine="onnxruntime")
    while True:
        job = json.loads(visitor.get("/api/job"))["job"]
        assert job["state"] in ("waiting", "running"), job
        if job["done"]:  # the network was read, so the process is there and at work
            break
        time.sleep(0.05)
    assert job["step"] == "exporting the weights for onnxruntime, once: this takes up to a minute per stage"
    assert (job["done"], job["total"]) == (1, 4)
    visitor.post("/api/cancel")
    cancelled = time.monotonic()
    assert visitor.wait()["state"] == "cancelled"
    assert time.monotonic() - cancelled < 10
    assert [layer["name"] for layer in visitor.state()["scene"]["layers"]] == ["truth"]
    visitor.post("/api/decode", method="gap-tv", iterations="1")
    assert visitor.wait()["state"] == "done", "the next computation is not in its way"


def test_an_export_apart_tells_what_went_wrong(tmp_path):
    pytest.importorskip("onnxscript")
    network = crsdun.create("crsdun_1stg", BANDS, 2, width=4)
    crsdun.save(network, tmp_path / "fresh.safetensors", step=2)
    told = []
    with pytest.raises(crsdun.InputError, match="for a dispersion of 2 pixels per band"):
        export_apart(
            tmp_path / "fresh.safetensors", tmp_path / "fresh.onnx", "onnx", 1, lambda *done: told.append(done)
        )
    assert told[0] == (0, 4)
