"""``crsdun table`` as a person types it, and its weights in the other commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from crsdun.cli import main
from crsdun.optics import random_mask
from crsdun.scenes import write_scene
from tests.evaluation.scenes import NAMES, PaintedSet

DATA = {
    "cubes": "{name}.npz",
    "labels_key": "classes",
    "classes": list(NAMES),
    "unlabelled": -1,
    "splits": {"train": ["scene 0"], "validation": ["scene 1"], "test": ["scene 2"]},
}
NARROW = {"reconstruction": {"width": 4}, "segmenter": {"stages": 1, "width": 4}}
TABLE = {
    "title": "Two systems",
    "data": {"source": "data.yaml"},
    "sampling": {"crop": [32, 48], "batch": 1},
    "steps": 2,
    "train": {"validation": {"criterion": "miou"}},
    "rows": {
        "SSR-1stg + Seg": {
            "train": {"network": {"name": "ssr_1stg+seg", "settings": NARROW}, "two_stage": {"order": "frozen"}}
        },
        "GAP-TV": {"weights": "gap-tv"},
    },
    "out": "table",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli_table")
    scenes = PaintedSet(3)
    for index, name in enumerate(scenes.names):
        write_scene(scenes[index], folder / f"{name}.npz")
    (folder / "data.yaml").write_text(yaml.safe_dump(DATA))
    (folder / "table.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_table_is_printed_as_markdown_and_goes_on(capsys):
    assert main(["table", "table.yaml", "minutes=1e-9"]) == 0
    printed = capsys.readouterr()
    assert "| GAP-TV " in printed.out
    assert "SSR" not in printed.out
    assert "crsdun: table: stopped; the same command resumes it" in printed.err

    assert main(["table", "table.yaml"]) == 0
    printed = capsys.readouterr()
    assert printed.out == Path("table/table.md").read_text() + "\n"
    assert "| GAP-TV " in printed.out
    assert "crsdun: table/ssr_1stg_seg goes on from step 1 of 2" in printed.err

    assert main(["table", "table.yaml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in facts["rows"]] == ["SSR-1stg + Seg", "GAP-TV"]
    assert facts["out"] == "table"


def test_a_row_that_fails_ends_with_code_1_and_the_others_are_there(capsys):
    broken = "rows.Broken={train: {network: {name: unet}}}"
    assert main(["table", "table.yaml", broken, "out=broken"]) == 1
    printed = capsys.readouterr()
    assert "crsdun: Broken failed: there is no network called 'unet'" in printed.err
    assert "Broken failed: there is no network called 'unet'" in printed.out
    assert "| GAP-TV " in printed.out


def test_the_rows_of_a_table_can_be_chosen(capsys):
    assert main(["table", "table.yaml", "out=chosen", "--rows", "GAP-TV", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["GAP-TV"]
    assert not Path("chosen/ssr_1stg_seg").exists()
    assert main(["table", "table.yaml", "out=chosen", "--rows", "GAP-TV,ADMM-TV"]) == 2
    assert "this table has no row 'ADMM-TV'; set --rows to some of SSR-1stg + Seg; GAP-TV" in capsys.readouterr().err


def test_rows_that_are_made_stay_in_the_table(capsys):
    system = "SSR-1stg + Seg"
    assert main(["table", "table.yaml", "out=added", "--rows", "GAP-TV"]) == 0
    assert main(["table", "table.yaml", "out=added", "--rows", system, "--json"]) == 0
    names = [row["name"] for row in json.loads(Path("added/table.json").read_text())["rows"]]
    assert names == [system, "GAP-TV"]
    capsys.readouterr()
    assert main(["table", "table.yaml", "out=added", "--rows", system, "--pictures", "1"]) == 0
    assert "look at added/some_rows/ssr_1stg_seg/pictures/" in capsys.readouterr().out
    assert list(Path("added/some_rows/ssr_1stg_seg/pictures").glob("*.png"))
    assert not Path("added/pictures").exists()


def test_solvers_stand_beside_each_other(capsys):
    words = ["table", "solvers", "data=[data.yaml]", "scenes=[]", "noise=[{photons: 500}]", "out=solvers"]
    assert main([*words, "--rows", "gap-tv,lr-tv"]) == 0
    assert capsys.readouterr().out == Path("solvers/table.md").read_text() + "\n"
    assert main([*words, "--rows", "gap-tv", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sorted((row["scenes"], row["noise"], row["method"]) for row in facts["rows"]) == [
        ("data.yaml (1)", "500 photons", "gap-tv"),
        ("data.yaml (1)", "500 photons", "lr-tv"),  # is made already
    ]
    assert main(["table", "solvers", "nosie=[]"]) == 2
    assert "no key nosie; did you mean noise" in capsys.readouterr().err
    assert main(["table", "solvers", "out=nothing", "--rows", "lrtv"]) == 2
    assert "no row 'lrtv'" in capsys.readouterr().err
    assert not Path("nothing").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("stesp=3", "no key stesp; did you mean steps"),
        ("out=data.yaml", "data.yaml is a file, not a folder; choose another out\n"),
        ("data.source=nowhere", "nowhere is not a data set"),
        ("rows.GAP-TV.train.seed=2", "rows.GAP-TV.train.seed is for the whole table"),
    ],
)
def test_what_cannot_be_used_ends_with_code_2_and_one_line(capsys, change, words):
    assert main(["table", "table.yaml", "out=nothing", change]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not Path("nothing").exists()


def test_the_joined_weights_are_taken_by_evaluate_and_reconstruct(capsys):
    assert main(["table", "table.yaml"]) == 0
    weights = "table/ssr_1stg_seg/weights.safetensors"
    capsys.readouterr()
    assert main(["evaluate", weights, "data.yaml", "--out", "evaluated", "--json"]) == 0
    row = json.loads(Path("table/table.json").read_text())["rows"][0]
    assert json.loads(capsys.readouterr().out)["psnr_db"] == row["figures"]["psnr_db"]
    assert main(["compare", "table/gap_tv/evaluation", "evaluated"]) == 2  # a single scene
    assert "single scene" in capsys.readouterr().err

    np.save("mask.npy", random_mask(32, 48, seed=0))
    assert main(["simulate", "scene 2.npz", "--mask", "mask.npy", "--out", "y.npz"]) == 0
    assert main(["reconstruct", "y.npz", "--mask", "mask.npy", "--weights", weights, "--out", "result"]) == 0
    assert np.load("result/classes.npy").shape == (32, 48)
