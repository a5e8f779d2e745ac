"""The files of an evaluation."""

import csv
import json
import re

import pytest

import crsdun
from crsdun.errors import InputError
from crsdun.evaluation import evaluate, read_evaluation, write_tables
from crsdun.evaluation.tables import latex, markdown
from crsdun.solvers import GapTv, LrTv
from tests.evaluation.scenes import NAMES, PaintedSet


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    network = crsdun.create("crsdun_2stg", bands=8, classes=5, width=8)
    network.name = "50 % of a_network"
    evaluation = evaluate(network, PaintedSet())
    write_tables(evaluation, folder)
    return evaluation, folder


def test_json_comes_back(written):
    evaluation, folder = written
    for path in (folder, folder / "evaluation.json"):
        read = read_evaluation(path)
        assert read.stages == evaluation.stages
        assert read.scenes == evaluation.scenes
        assert read.confusion == evaluation.confusion
    lines = (folder / "evaluation.json").read_text().splitlines()
    assert sum('"name": "scene' in line for line in lines) == 3  # a line for each scene


def test_tables_hold_every_scene_and_class(written):
    evaluation, folder = written
    with (folder / "scenes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["psnr_db"]) for row in rows] == [row["psnr_db"] for row in evaluation.scenes]
    assert "confusion" not in rows[0]
    with (folder / "classes.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(NAMES)


def test_rows_for_a_page_and_a_paper(written):
    evaluation, folder = written
    psnr, miou = f"{evaluation.figures['psnr_db']:.2f}", f"{100 * evaluation.figures['miou']:.2f}"
    lines = (folder / "table.md").read_text().splitlines()
    assert len({len(line) for line in lines[:4]}) == 1  # readable as it is, too
    header, _, first, last = (re.sub(" +", " ", line) for line in lines[:4])
    assert header.startswith("| method | PSNR (dB) | SSIM | SAM (°) | RMSE | mIoU (%) |")
    assert first.startswith("| 50 % of a_network, stage 1 |")
    assert f" {psnr} " in last
    assert f" {miou} " in last
    paper = (folder / "table.tex").read_text().splitlines()
    assert paper[-1].startswith(rf"50 \% of a\_network & {psnr} & ")
    assert paper[-1].endswith(r" \\")
    assert {line.count("&") for line in paper if "&" in line} == {header.count("|") - 2}
    assert "mask random:0, step 2, noise: none; protocol crsdun" in paper[0]


def test_what_pixels_held_out_told_is_in_json_and_csv(tmp_path):
    evaluation = evaluate(LrTv(iterations=40), PaintedSet(2))
    write_tables(evaluation, tmp_path)
    assert read_evaluation(tmp_path).scenes == evaluation.scenes
    with (tmp_path / "scenes.csv").open() as file:
        assert [float(row["held_out"]) for row in csv.DictReader(file)] == [
            row["held_out"] for row in evaluation.scenes
        ]


def test_without_classes_there_is_no_table_of_them(tmp_path):
    write_tables(evaluate(GapTv(iterations=1), PaintedSet(1)), tmp_path)
    assert not (tmp_path / "classes.csv").exists()
    assert "mIoU" not in (tmp_path / "table.md").read_text()


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InputError, match="crsdun evaluate makes one"):
        read_evaluation(tmp_path)
    for values, words in (({"a": 1}, "there is no key a"), ({}, "lacks method")):
        (tmp_path / "other.json").write_text(json.dumps(values))
        with pytest.raises(InputError, match=words):
            read_evaluation(tmp_path / "other.json")
    (tmp_path / "other.json").write_text("[1, 2")
    with pytest.raises(InputError, match="does not hold JSON"):
        read_evaluation(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("method", None),
        ("protocol", "none"),
        ("data", []),
        ("data.name", 5),
        ("data.class_names", ["one"]),
        ("camera.noise", "much"),
        ("stages", []),
        ("stages.0.psnr_db", "high"),
        ("classes.1.class", 10**9),
        ("classes.0.iou", [1]),
        ("confusion", [[1, 2]]),
        ("confusion.0.0", float("nan")),
        ("scenes", {}),
        ("scenes.0.seconds", None),
        ("scenes.0.confusion", [[99, 0, 1]]),
        ("record.command", 7),
        ("record", None),
    ],
)
def test_an_edited_evaluation_is_refused_by_the_key(written, tmp_path, path, value):
    values = json.loads((written[1] / "evaluation.json").read_text())
    *places, last = (int(part) if part.isdigit() else part for part in path.split("."))
    inner = values
    for place in places:
        inner = inner[place]
    inner[last] = value
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="damaged or edited") as refused:
        read_evaluation(tmp_path)
    said = str(refused.value).replace(str(tmp_path), "")
    assert (f"there is no protocol {value!r}" if path == "protocol" else path.split(".")[0]) in said


def test_cells_are_their_letters_in_markdown_and_in_latex():
    rows = [["system", "PSNR"], ["A|B", "**-1.14 (-1.57 to -0.30)**"], ["θ, λᶜᵉ, H₂, 10⁻⁴ µ", r"{x}^2 ~ 5 % \ σ"]]
    assert r"| A\|B " in markdown(rows, "note")
    assert latex(rows, "note").splitlines()[3:] == [
        r"A|B & \textbf{-1.14 (-1.57 to -0.30)} \\",
        r"$\theta$, $\lambda$$^{c}$$^{e}$, H$_{2}$, 10$^{-}$$^{4}$ $\mu$ & "
        r"\{x\}\textasciicircum{}2 \textasciitilde{} 5 \% \textbackslash{} $\sigma$ \\",
    ]
