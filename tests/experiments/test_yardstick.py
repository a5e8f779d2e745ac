"""``crsdun bench --against plain``: both networks in one run, and what is made of their times."""

import json
from math import isfinite

import pytest
import torch

from crsdun.cli import main
from crsdun.cli.bench import side_by_side_text
from crsdun.evaluation import ProblemSize
from crsdun.experiments import yardstick
from crsdun.experiments.bench import STATUS, Case, Rounds, RunCost

PLAN = yardstick.Plan(
    (Case("crsdun_1stg", 32), Case("crsdun_1stg", 32, 2, training=True, width=64)),
    ("gap-tv", "lr-tv"),
    ProblemSize(height=32, width=32),
)
SIZES = ["infer crsdun_1stg 1×32×32", "train crsdun_1stg 2×32×64"]


@pytest.fixture(scope="module")
def measured():
    return yardstick.side_by_side("plain", PLAN, repetitions=1)


def test_every_case_is_measured_with_both_networks(measured):
    figures = measured.plain()
    assert [(row["case"], row["threads"]) for row in figures["rows"]] == [(size, 1) for size in SIZES]
    for row in figures["rows"]:
        assert row["time_ratio"] == pytest.approx(row["theirs"]["seconds"] / row["ours"]["seconds"])
        assert 0 < row["ours"]["efficiency"] < 2
        if STATUS.exists():
            assert row["ours"]["peak_mb"] > 5
            assert row["memory_ratio"] == row["theirs"]["peak_mb"] / row["ours"]["peak_mb"]
    inference, training = (row["ours"]["multiply_adds"] for row in figures["rows"])
    assert training == pytest.approx(3 * 2 * 2 * inference, rel=0.05)


def test_iterations_of_solvers_are_measured_by_the_plain_camera(measured):
    assert [row.solver for row in measured.solvers] == ["gap-tv", "lr-tv"]
    gap, lr = measured.solvers
    assert gap.iterations == 100
    assert 40 < lr.iterations <= 250
    for row in measured.solvers:
        assert row.ratio == pytest.approx(row.milliseconds / row.camera_milliseconds)
        assert 0 < row.fastest <= row.milliseconds <= row.slowest
        assert isfinite(row.ratio)


def test_both_networks_have_the_same_weights():
    plain = yardstick.open_yardstick("plain")
    ours = yardstick.create("crsdun_tiny", 28, 15)
    theirs = plain.like(ours).state_dict()
    assert all(torch.equal(theirs[name], weights) for name, weights in ours.state_dict().items())


def test_the_rows_are_those_of_their_times_with_one_thread_and_with_all(monkeypatch):
    """Times that say which run they are of: 10 · threads + place, and twice that in the second repetition."""
    measured_with = []

    def costs_apart(prepares, done):
        assert [prepare.args[1] for prepare in prepares] == ["plain", None] * 2
        measured_with.append(torch.get_num_threads())
        return [RunCost(100.0 * place, 50.0, 1.0) for place in range(1, 5)]

    def interleaved(runs, repetitions, done):
        measured_with.append(torch.get_num_threads())
        firsts = [10 * torch.get_num_threads() + place for place in range(len(runs))]
        for run in runs[5:]:
            run.iterations = 100
        return Rounds([[first, 2 * first] for first in firsts], 100, 300)

    monkeypatch.setattr(yardstick, "costs_apart", costs_apart)
    monkeypatch.setattr(yardstick, "interleaved", interleaved)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        measured = yardstick.side_by_side("plain", PLAN, repetitions=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert measured_with == [1, 3, 1, 3]
    assert measured.rates == {1: (100, 300), 3: (100, 300)}
    assert [row.threads for row in measured.networks] == [1, 1, 3, 3]
    assert [row.time_ratio for row in measured.networks] == [10 / 11, 12 / 13, 30 / 31, 32 / 33]
    assert [row.memory_ratio for row in measured.networks] == [1 / 2, 3 / 4] * 2
    assert [row.ours.timing.seconds for row in measured.networks] == [1.5 * each for each in (11, 13, 31, 33)]
    row = measured.networks[0].ours
    assert row.efficiency == pytest.approx(2 * row.multiply_adds / (1.5 * 11 * 200e9))
    assert [(row.solver, row.threads) for row in measured.solvers] == [
        ("gap-tv", 1), ("lr-tv", 1), ("gap-tv", 3), ("lr-tv", 3),
    ]  # fmt: skip
    assert measured.solvers[1].milliseconds == pytest.approx(1000 * 1.5 * 16 / 100)
    assert measured.solvers[1].camera_milliseconds == pytest.approx(1000 * 1.5 * 14 / 20)
    assert measured.solvers[1].ratio == pytest.approx((16 / 100) / (14 / 20))


def test_the_command_prints_markdown_and_writes_json(measured, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(yardstick, "side_by_side", lambda *given: asked.append(given) or measured)
    out = tmp_path / "f.json"
    assert main(["bench", "--against", "plain", "--quick", "--repetitions", "2", "--out", str(out)]) == 0
    assert asked == [("plain", yardstick.QUICK, 2, None)]
    words = capsys.readouterr().out
    assert words == f"{side_by_side_text(measured)}\n"
    lines = words.splitlines()
    assert lines[0].startswith("| case ")
    assert [line.split(" |")[0].strip("| ") for line in lines[2:4]] == SIZES
    assert "relative to plain A and Aᵀ" in words
    assert "1 thread: R = " in words
    assert measured.plain()["processor"] in words
    assert json.loads(out.read_text()) == measured.plain()


def test_without_the_repository_there_is_nothing_to_measure_against(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(yardstick, "BENCHMARKS", tmp_path / "benchmarks")
    assert main(["bench", "--against", "plain"]) == 2
    line = capsys.readouterr().err
    assert "there is no benchmarks/plain.py beside this crsdun" in line
    assert "clone it" in line


@pytest.mark.parametrize("name", ["nowhere", "memory", "", "../README", "a\nb"])
def test_only_a_file_with_a_network_is_a_yardstick(name, capsys):
    assert main(["bench", "--against", name]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "against plain" in line


def test_engines_are_not_measured_against_it(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--against", "plain", "--engines"])
    assert "not allowed with" in capsys.readouterr().err
