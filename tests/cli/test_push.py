"""``crsdun push``, and every command that takes weights with an address on the hub."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.cli import main
from crsdun.scenes import Scene, write_measurement
from tests.networks.stand_in_hub import in_place_of_the_hub

ADDRESS = "hf://lab/orchard"

# huggingface_hub 2.4 sends large files in a way that its own HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    wavelengths = (450.0, 500.0, 550.0, 600.0)
    network = crsdun.create("crsdun_1stg", bands=4, classes=2, width=2)
    crsdun.save(network, "mine.safetensors", wavelengths=wavelengths, class_names=("leaf", "soil"), step=2)
    rows, columns = np.mgrid[:32, :32]
    cube = np.stack([0.5 + 0.4 * np.sin(rows / 6 + columns / 5 + band) for band in range(4)])
    write_measurement(
        crsdun.runtime.simulate(Scene(cube, wavelengths=wavelengths), crsdun.optics.Exposure()), "y.npz"
    )
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache") as made:
        yield made


def test_pushed_weights_serve_wherever_weights_do(hub, capsys):
    assert main(["push", "mine.safetensors", ADDRESS, "--license", "apache-2.0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"].startswith(f"{ADDRESS}@")
    assert "#sha256=" in told["address"]
    commit = hub.repositories["lab/orchard"].names["main"]
    for command in (
        f"info {told['address']}",
        f"reconstruct y.npz --weights {told['address']} --out result",
        f"explain y.npz --weights {ADDRESS} --pixel 3 4 --out explained",
    ):
        assert main(command.split()) == 0, capsys.readouterr().err
    assert json.loads(Path("result/record.json").read_text())["method"] == f"orchard@{commit[:8]}"


def test_what_a_person_should_know_is_said(hub, capsys):
    assert main(["push", "mine.safetensors", ADDRESS, "--private"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"published: {ADDRESS}@")
    assert "the card names no licence, and so permits nobody to use the weights: --license names one" in captured.err
    assert hub.repositories["lab/orchard"].private
    assert main(["push", "mine.safetensors", ADDRESS]) == 0
    assert "has a README.md, which stays as it is; --overwrite replaces it" in capsys.readouterr().err


def test_refusals_are_one_line_and_leave_nothing(hub, capsys):
    before = sorted(os.listdir())
    for command, message in (
        ("push mine.safetensors owner/name", "owner/name is no address of weights on the hub; write hf://owner/name"),
        ("push none.safetensors hf://a/b", "there is no weights file none.safetensors"),
        ("push mine.safetensors hf://a/b --license 'MIT!", "is no licence; write --license as the hub does"),
        ("push mine.safetensors hf://a/b --readme none.md", "none.md is no text that can be read"),
        ("push mine.safetensors hf://a/b --evaluation none", "there is no evaluation none"),
        (
            "reconstruct y.npz --weights hf://lab/nothing --out result",
            "there is no repository lab/nothing on the hub",
        ),
        ("info hf://lab/nothing", "there is no repository lab/nothing on the hub"),
    ):
        assert main(command.split()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert sorted(os.listdir()) == before


def test_the_explorer_and_engines_call_them_as_they_are_called(hub, tmp_path):
    from crsdun.cli.app import _local

    main(["push", "mine.safetensors", ADDRESS, "--license", "mit"])
    file = _local(Path(f"{ADDRESS}@main"), tmp_path)
    assert (file.name, file.read_bytes()) == ("orchard@main.safetensors", Path("mine.safetensors").read_bytes())
    assert _local(Path("y.npz"), tmp_path) == Path("y.npz")
    assert crsdun.runtime.open_method(ADDRESS).name == "orchard"
    assert crsdun.runtime.first_use(ADDRESS, None) is None
