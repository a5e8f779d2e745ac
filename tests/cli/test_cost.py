"""``crsdun cost``: counts of any network beside published ones, and what running it takes."""

import json
from types import SimpleNamespace

import pytest

import crsdun
from crsdun.cli import main
from crsdun.evaluation import MAIN_TABLE, PUBLISHED


def cost(capsys, *arguments: str) -> list[dict]:
    assert main(["cost", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)["rows"]


def test_the_main_table_by_default(monkeypatch, capsys):
    counted = []

    def count(name, problem, measure):
        counted.append((name, problem[:5]))
        return SimpleNamespace(plain=dict)

    monkeypatch.setattr("crsdun.experiments.cost.network_cost", count)
    assert main(["cost", "--json"]) == 0
    assert counted == [(name, (28, 23, 256, 256, 2)) for name in MAIN_TABLE]


def test_ours_beside_published(capsys):
    (row,) = cost(capsys, "crsdun_3stg")
    assert (row["parameters"], row["multiply_adds"]) == (4_015_125, 59_291_015_552)
    assert row["published"]["parameters"] == 4.02e6
    assert row["difference_percent"] == pytest.approx({"parameters": -0.12, "multiply_adds": -0.33}, abs=0.01)
    assert "seconds" not in row


def test_units_of_another_repository_are_converted():
    told = PUBLISHED["ssr_9stg"]
    assert told.parameters == pytest.approx(5_427_093, rel=1e-3)
    assert told.multiply_adds == pytest.approx(84.74e9, rel=1e-3)


def test_another_setting_has_nothing_published(capsys):
    rows = cost(capsys, "crsdun_1stg", "gap_tv+seg", "--bands", "5", "--classes", "3", "--size", "40", "24")
    assert [row["published"] for row in rows] == [None, None]
    assert (rows[0]["bands"], rows[0]["classes"], rows[0]["height"], rows[0]["width"]) == (5, 3, 40, 24)
    single, double = cost(capsys, "ssr_1stg", "ssr_2stg", "--size", "32", "32")
    assert double["parameters"] - single["parameters"] == 602_833
    assert double["multiply_adds"] < 2 * single["multiply_adds"]


def test_weights_bring_their_bands_and_classes(tmp_path, capsys):
    network = crsdun.create("mstpp+seg", bands=4, classes=3, reconstruction={"bodies": 1}, segmenter={"stages": 1})
    crsdun.save(network, tmp_path / "w.safetensors")
    (row,) = cost(capsys, str(tmp_path / "w.safetensors"), "--size", "32", "32")
    assert (row["bands"], row["classes"]) == (4, 3)
    assert row["parameters"] == crsdun.evaluation.parameters(network)


def test_time_and_memory_are_measured_in_a_fresh_process(capsys):
    arguments = ("crsdun_1stg", "--bands", "4", "--classes", "3", "--size", "32", "32", "--measure")
    (row,) = cost(capsys, *arguments)
    assert 0 < row["fastest"] <= row["seconds"] <= row["slowest"]
    assert row["peak_mb"] is None or row["peak_mb"] > 1
    assert main(["cost", *arguments]) == 0
    assert "peak MB" in capsys.readouterr().out


def test_a_person_reads_a_table(capsys):
    assert main(["cost", "seg_1stg", "mstpp+seg"]) == 0
    words = capsys.readouterr().out
    assert "3,066,594 │ 3.07 │      3.10 │    -1.08 %" in words
    assert "256×256, 28 bands, 23 classes, step 2" in words
    assert "published: He et al., CVPR 2026" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unet"], "no network called 'unet'"),
        (["crsdun_3stg", "--size", "0", "32"], "--size takes whole numbers of at least 1, not 0 32"),
        (["crsdun_3stg", "--bands", "0"], "--bands takes whole numbers of at least 1"),
        (["missing.safetensors"], "there is no weights file missing.safetensors"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments, words, capsys):
    assert main(["cost", *arguments]) == 2
    assert words in capsys.readouterr().err
