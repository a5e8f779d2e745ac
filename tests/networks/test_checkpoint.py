"""Weights files: whole, or refused in words."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import crsdun
from crsdun.budget import limited_to
from crsdun.errors import InputError, InputWarning
from crsdun.evaluation import parameters
from crsdun.networks import read_header
from crsdun.networks.network import fit_card
from crsdun.optics import ModelCard


@pytest.fixture
def network():
    return crsdun.create("crsdun_1stg", bands=3, classes=2, width=2)


def test_the_header_tells_everything_without_the_weights(network, tmp_path):
    path = tmp_path / "w.safetensors"
    crsdun.save(network, path, wavelengths=[450, 550, 650], provenance={"data": "Produce-23", "hours": 2.5})
    header = read_header(path)
    assert header.kind == "crsdun"
    assert header.config["width"] == 2
    assert header.card.wavelengths == (450, 550, 650)
    assert header.card.provenance == {"data": "Produce-23", "hours": 2.5}
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert not crsdun.load(path).training


def test_the_card_survives_being_loaded_and_saved(network, tmp_path):
    crsdun.save(network, tmp_path / "1", class_names=("leaf", "soil"), step=2)
    crsdun.save(crsdun.load(tmp_path / "1"), tmp_path / "2", step=1)
    card = crsdun.load(tmp_path / "2").card
    assert (card.class_names, card.step, card.wavelengths) == (("leaf", "soil"), 1, None)


def test_cards_that_do_not_fit_are_refused(network, tmp_path):
    with pytest.raises(InputError, match="3 wavelengths, not 2"):
        crsdun.save(network, tmp_path / "w", wavelengths=[450, 550])
    with pytest.raises(InputError, match="no field author"):
        crsdun.save(network, tmp_path / "w", author="me")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"class_names": [1, 2]}, "class_names takes text, not 1"),
        ({"class_names": "ab"}, "class_names takes a list of values, not 'ab'"),
        ({"step": "two"}, "step takes a number, not 'two'"),
        ({"wavelengths": [450, math.nan, 650]}, "wavelengths takes a number, not nan"),
        ({"provenance": {"a": [1, math.nan]}}, r"provenance\.a\.1 holds a number that is not finite"),
    ],
)
def test_what_could_not_be_read_back_is_not_saved(network, tmp_path, card, words):
    with pytest.raises(InputError, match=words):
        crsdun.save(network, tmp_path / "w", **card)
    assert not list(tmp_path.iterdir())


def test_a_card_may_hold_arrays(network, tmp_path):
    wavelengths = np.linspace(450, 650, 3, dtype=np.float32)
    crsdun.save(network, tmp_path / "w", wavelengths=wavelengths, step=np.float32(2), provenance={"a": np.eye(2)})
    card = crsdun.load(tmp_path / "w").card
    assert (card.wavelengths, card.step, card.provenance) == ((450, 550, 650), 2, {"a": [[1, 0], [0, 1]]})


def test_files_that_are_no_weights_are_refused(network, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="there is no weights file"):
        crsdun.load(path)
    crsdun.save(network, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        crsdun.load(path)
    path.write_text("weights")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        crsdun.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no description of a crsdun network"):
        crsdun.load(path)
    with pytest.raises(InputError, match="could not write"):
        crsdun.save(network, tmp_path / "missing" / "w")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "newer one than this"),
        ({"kind": "other"}, "no kind of network called 'other'"),
        ({"config": {"bands": 5, "classes": 2, "stages": 1}}, "do not fit the network"),
    ],
)
def test_headers_that_do_not_fit_are_refused(network, tmp_path, change, message):
    path = tmp_path / "w.safetensors"
    crsdun.save(network, path)
    header = json.loads(read_header(path).to_json()) | change
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"crsdun": json.dumps(header)})
    with pytest.raises(InputError, match=message):
        crsdun.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": 5},
        {"config": {"bands": 3}},
        {"config": {"bands": "three", "classes": 2}},
        {"config": {"bands": 10**9, "classes": 2}},
        {"config": {"bands": 3, "classes": 2, "stages": 9999999999}},
        {"config": {"bands": 3, "classes": 2, "lista": 5}},
        {"card": None},
        {"card": {"wavelengths": "blue"}},
        {"card": {"wavelengths": [400.0]}},
        {"card": {"step": []}},
        {"format": None},
        {"format": "1"},
        {"kind": 7},
        {"kind": "nothing"},
        {"version": None, "format": 99},
        {"export": 3},
    ],
)
def test_an_edited_header_is_refused(tmp_path, changes):
    path = tmp_path / "w.safetensors"
    crsdun.save(crsdun.create("crsdun_1stg", 3, 2, width=4), path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["crsdun"])
    header = {name: value for name, value in {**header, **changes}.items() if value is not None}
    save_file(load_file(path), path, metadata={"crsdun": json.dumps(header)})
    with pytest.raises(InputError, match=r"w\.safetensors was"):
        crsdun.load(path)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "null", "5", '"x"', "{", "9" * 5000])
def test_a_header_that_holds_something_else_is_refused(tmp_path, text):
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", metadata={"crsdun": text})
    with pytest.raises(InputError, match=r"w\.safetensors"):
        crsdun.load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["crsdun_2stg_warm", "ssr_2stg", "rcump_2stg", "mstpp", "rcump_1stg+seg"])
@pytest.mark.parametrize("bands", [1, 16])
def test_what_exceeds_the_budget_is_not_built(name, bands):
    """Whether its weights are counted depends on a bound that none exceeds."""
    size = 4 * parameters(crsdun.create(name, bands, classes=bands))
    with limited_to(size):
        crsdun.create(name, bands, classes=bands)
    with limited_to(size - 1), pytest.raises(InputError, match=rf"network \(bands {bands}, stages .*\) needs"):
        crsdun.create(name, bands, classes=bands)


def test_a_small_header_cannot_ask_for_much_memory(network, tmp_path):
    path = tmp_path / "w.safetensors"
    crsdun.save(network, path)
    header = json.loads(read_header(path).to_json())
    header["config"] |= {"bands": 10_000, "width": 10}
    save_file({}, path, metadata={"crsdun": json.dumps(header)})
    with limited_to(10**9), pytest.raises(InputError, match=r"needs 2\.82 GB of memory, more than the 1 GB"):
        crsdun.load(path)


def test_a_camera_that_the_card_does_not_fit_is_told_when_the_network_is_called():
    network = crsdun.create("crsdun_1stg", bands=4, classes=2, width=4)
    network.card = replace(network.card, wavelengths=(450, 500, 550, 600), step=2)
    other = crsdun.CassiCamera(torch.ones(8, 8), bands=4, step=3)
    y = torch.ones(1, *other.measurement_shape)
    network.eval()
    with pytest.warns(InputWarning, match="for a dispersion of 2 pixels per band, not 3; use weights"):
        estimate = network(y, other)
    with pytest.warns(InputWarning, match="nm apart"):
        network(y[..., :14], crsdun.CassiCamera(torch.ones(8, 8), wavelengths=(800, 900, 1000, 1100)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(y[..., :14], crsdun.CassiCamera(torch.ones(8, 8), bands=4))
        network.train()(y, other)  # which may well be learning the camera
    assert torch.isfinite(estimate.cube).all()


def test_a_single_band_has_no_step():
    card = ModelCard(step=2)
    camera = crsdun.CassiCamera(torch.ones(8, 8), bands=1, step=2)
    assert fit_card(camera, card, 1) is camera
    assert fit_card(camera, replace(card, step=None, steps=((1, 3),)), 1) is camera


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="'cuda:99' cannot be used on this machine; set device to cpu"):
        crsdun.load("crsdun_tiny", "cuda:99")
