"""``crsdun report`` and ``crsdun figure`` as a person types them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crsdun.cli import main
from crsdun.evaluation import write_tables
from crsdun.scenes import write_scene
from crsdun.viewing import paper_figure
from crsdun.viewing.palette import class_picture
from crsdun.viewing.result_folder import write_results
from crsdun.viewing.sheet import Sheet
from tests.cli.test_cli import refuse
from tests.viewing.reports import check_self_contained, doubted, small_reconstruction
from tests.viewing.test_evaluation_page import evaluation, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    result = small_reconstruction()
    write_results(result, folder / "net")
    write_results(small_reconstruction(classes=False), folder / "gap")
    write_scene(result.truth, folder / "scene.npz")
    for name in ("a", "b"):
        (folder / name).mkdir()
        write_tables(evaluation(name), folder / name)
    write_run(folder / "run")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_result_gets_its_page_again(capsys):
    before = Path("net/report.html").read_bytes()
    os.remove("net/report.html")
    assert main(["report", "net"]) == 0
    assert capsys.readouterr().out == "look at net/report.html\n"
    assert Path("net/report.html").read_bytes() == before
    assert main(["report", "net", "gap", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pages": ["net/report.html", "gap/report.html"]}


def test_evaluations_and_runs_share_a_page(capsys):
    assert main(["report", "a"]) == 0
    assert Path("a/report.html").is_file()
    assert main(["report", "a", "b", "run", "--out", "all.html"]) == 0
    words = check_self_contained(Path("all.html").read_text(encoding="utf-8")).texts
    assert {"Side by side", "Training"} <= set(words)
    assert "allow it with --overwrite" in refuse(capsys, "report", "a", "b", "--out", "all.html")
    assert main(["report", "a", "b", "--out", "all.html", "--overwrite"]) == 0


def test_what_cannot_be_reported_on(capsys):
    assert "empty holds nothing to report on; give a folder of crsdun" in refuse(capsys, "report", "empty")
    assert "nowhere is not a folder" in refuse(capsys, "report", "net", "nowhere")
    assert "--out is one file" in refuse(capsys, "report", "net", "a", "--out", "x.html")


def test_a_figure_by_its_defaults(capsys):
    assert main(["figure", "net", "gap", "--titles", "ours", "GAP-TV", "--out", "plain"]) == 0
    assert capsys.readouterr().out == "look at plain.png and plain.pdf\n"
    assert "plain.png exists already" in refuse(capsys, "figure", "net", "--out", "plain.pdf")


def test_a_figure_shows_one_scene(capsys):
    result = small_reconstruction()
    assert result.truth is not None
    other = replace(result.truth, cube=result.truth.cube[:, ::-1].copy())
    write_results(replace(result, truth=other), Path("other"))
    words = refuse(capsys, "figure", "net", "other", "--titles", "a", "b", "--out", "both")
    assert "true scene" in words
    assert "choose results of one scene" in words


def test_a_figure_shows_which_classes_are_unknown(monkeypatch):
    texts = []
    monkeypatch.setattr(Sheet, "write", lambda sheet, x, middle, text, *style, **properties: texts.append(text))
    result = doubted(small_reconstruction())
    write_results(result, Path("doubted"))
    drawn = []
    monkeypatch.setattr(
        paper_figure, "class_picture", lambda classes: (drawn.append(classes), class_picture(classes))[1]
    )
    assert main(["figure", "doubted", "--out", "doubt"]) == 0
    assert "unknown" in texts
    np.testing.assert_array_equal(drawn[0], result.classes)
    assert (drawn[0] < 0).any()


def test_a_figure_as_it_was_asked_for():
    places = ["--box", "2", "3", "8", "6", "--pixel", "4", "5", "--pixel", "20", "11", "--bands", "480", "650"]
    assert main(["figure", "net", "--truth", "scene.npz", *places, "--out", "figures/v1.2"]) == 0
    assert sorted(os.listdir("figures")) == ["v1.2.pdf", "v1.2.png"]


def test_figures_that_cannot_be_meant(capsys):
    assert "crsdun reconstruct" in refuse(capsys, "figure", "a", "--out", "f")
    assert "as many different --titles" in refuse(capsys, "figure", "net", "gap", "--titles", "x", "--out", "f")
    assert "no band 900" in refuse(capsys, "figure", "net", "--bands", "900", "--out", "f")
    assert "outside the scene" in refuse(capsys, "figure", "net", "--pixel", "99", "0", "--out", "f")
