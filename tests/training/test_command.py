"""``crsdun train`` as a person types it, on scenes of the open benchmark."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from crsdun.cli import main
from crsdun.networks import load
from crsdun.training import load_config
from crsdun.training.config import config_from

TINY = Path(__file__).parents[2] / "configs" / "crsdun_tiny_produce.yaml"
CHANGES = [
    "network={name: crsdun_1stg, settings: {width: 4}}", "sampling.crop=[32, 32]", "sampling.batch=1",
    "optimiser.warm_up=0", "steps=2", "validation.scenes=1",
]  # fmt: skip


def test_a_network_from_nothing_but_a_command(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(TINY), *CHANGES, f"out={out}", "--json"]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert (facts["step"], facts["steps"], facts["stopped"]) == (2, 2, None)
    assert "crsdun: step 2 of 2: psnr_db" in printed.err
    card = load(facts["weights"]).card
    assert len(card.wavelengths) == 28
    assert card.class_names[0] == "background"

    # Truth above, estimate below; the scene on the left, its classes on the right.
    picture = np.asarray(Image.open(out / "validation.png"))
    assert picture.shape == (512, 512, 3)
    assert picture[:256].std() > 10

    assert main(["train", str(TINY), *CHANGES, f"out={out}"]) == 0
    assert capsys.readouterr().out == f"{out / 'weights.safetensors'}: crsdun_1stg after 2 steps\n"


def test_a_network_without_classes_gets_a_picture_without_them(tmp_path):
    out = tmp_path / "run"
    network = "network={name: ssr_1stg, settings: {width: 4}}"
    assert main(["train", str(TINY), *CHANGES, network, "validation.criterion=psnr", f"out={out}", "steps=1"]) == 0
    assert np.asarray(Image.open(out / "validation.png")).shape == (512, 256, 3)


def test_a_sitting_that_is_over_says_how_to_go_on(tmp_path, capsys):
    command = ["train", str(TINY), *CHANGES, f"out={tmp_path / 'run'}", "minutes=1e-9"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run'}: stopped after step 1 of 2; the same command resumes it\n"


def test_a_file_in_the_way_is_said_without_options_that_there_are_not(tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    assert main(["train", str(TINY), *CHANGES, f"out={tmp_path / 'run'}"]) == 2
    assert capsys.readouterr().err.endswith(
        f"crsdun: {tmp_path / 'run'} is a file, not a folder; choose another out\n"
    )
    assert (tmp_path / "run").read_text() == "mine"


def test_show_prints_the_whole_configuration(capsys):
    assert main(["train", str(TINY), "seed=3", "--show"]) == 0
    assert config_from(yaml.safe_load(capsys.readouterr().out)) == load_config(TINY, ["seed=3"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.rate=1", "did you mean optimiser"),
        ("data.source=nowhere", "nowhere"),
        ("network.settings.widht=3", "crsdun has no setting widht"),
        ("network.name=unet", "no network called 'unet'"),
        ("sampling.crop=[300, 300]", "choose a smaller sampling.crop"),
        ("camera.mask=no.npy", "no.npy"),
    ],
)
def test_what_cannot_be_used_ends_with_code_2_and_one_line(tmp_path, capsys, change, words):
    assert main(["train", str(TINY), f"out={tmp_path / 'run'}", change]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.startswith("crsdun: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()
