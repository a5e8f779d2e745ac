"""The yardstick: what it measures, and that its figures hang together."""

import json

import pytest
import torch

from crsdun.cli import main
from crsdun.experiments import bench

SMALL = (bench.Case("crsdun_1stg", 32), bench.Case("crsdun_1stg", 32, 2, training=True))


@pytest.fixture(scope="module")
def measured():
    return bench.benchmark(SMALL, repetitions=2)


@pytest.fixture(scope="module")
def figures(measured):
    return measured.plain()


def test_every_case_is_measured(figures):
    assert list(figures["rows"][0]) == [
        "case", "network", "height", "batch", "training", "engine", "width", "seconds", "fastest", "slowest",
        "peak_mb", "peak_above_model_mb", "multiply_adds", "efficiency",
    ]  # fmt: skip
    assert [row["case"] for row in figures["rows"]] == ["infer crsdun_1stg 1×32×32", "train crsdun_1stg 2×32×32"]
    for row in figures["rows"]:
        assert 0 < row["fastest"] <= row["seconds"] <= row["slowest"]
        assert row["peak_mb"] is None or row["peak_mb"] > 5
    assert figures["rate_gflops_before"] > 1


def test_a_training_step_counts_as_three_forwards(figures):
    inference, training = (row["multiply_adds"] for row in figures["rows"])
    assert training == 3 * 2 * inference


def test_efficiency_is_that_of_the_definition(figures):
    rate = (figures["rate_gflops_before"] + figures["rate_gflops_after"]) / 2
    for row in figures["rows"]:
        expected = 2 * row["multiply_adds"] / (row["seconds"] * rate * 1e9)
        assert row["efficiency"] == pytest.approx(expected)
        assert 0 < row["efficiency"] < 2


def test_a_case_says_its_size():
    wide = bench.Case("crsdun_tiny", 64, 2, training=True, width=128)
    assert wide.name == "train crsdun_tiny 2×64×128"
    square = bench.Case("crsdun_tiny", 64).plain()
    assert (square["height"], square["width"]) == (64, 64)


def test_a_fresh_process_computes_with_as_many_threads():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert bench._in_a_fresh_process(torch.get_num_threads) == threads
    finally:
        torch.set_num_threads(before)


def test_scaling_is_what_a_pixel_costs():
    def row(case, seconds, peak, products):
        return bench.BenchRow(case, bench.Timing.of([seconds], peak), peak, products, 1.0)

    rows = [
        row(bench.Case("a", 256), 1.0, 100.0, 10),
        row(bench.Case("a", 512), 5.0, 300.0, 50),
        row(bench.Case("b", 512), 9.0, 1.0, 50),
        row(bench.Case("a", 512, 4), 9.0, 1.0, 50),
        row(bench.Case("a", 256, width=512), 3.0, 200.0, 20),
    ]
    expected = {"multiply_adds": 1.25, "seconds": 1.25, "peak_mb": 0.75}
    wide = {"multiply_adds": 1.0, "seconds": 1.5, "peak_mb": 1.0}
    assert bench.scaling(rows) == {"infer a 1×512×512": expected, "infer a 1×256×512": wide}


def test_the_command_prints_a_table_and_writes_json(measured, figures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "benchmark", lambda cases, repetitions, progress: measured)
    assert main(["bench", "--quick", "--out", str(tmp_path / "f.json")]) == 0
    words = capsys.readouterr().out
    assert words.startswith("| case ")
    assert "\n| infer crsdun_1stg 1×32×32 |" in words
    assert "GFLOP/s before" in words
    assert figures["processor"] in words
    assert json.loads((tmp_path / "f.json").read_text()) == figures
