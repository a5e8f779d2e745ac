"""What version 0.1.0 left is what this one comes to: its losses at fixed seeds, and a run that it did not finish.

``stored/`` was made by crsdun 0.1.0 (commit a703ae5) with one thread from the sections below: the logs of two whole
runs, and in ``interrupted/`` the folder of the first one as it was left after step 4, in its first phase.
"""

import gzip
import shutil
from pathlib import Path

import pytest
import torch

from crsdun.training import RunObserver, train
from tests.training.small import figures, small_config, small_sets

STORED = Path(__file__).parent / "stored"
PHOTONS = {"noise": {"photons": 500.0, "read_sigma": 0.0}}
RUNS = {
    "two_stage": {
        "network": {
            "name": "rcump_1stg+seg",
            "settings": {"reconstruction": {"width": 1}, "segmenter": {"stages": 1, "width": 1}},
        },
        "camera": PHOTONS,
        "two_stage": {"order": "frozen"},
        "loss": {"cube": "rmse", "stage_weights": [1, 0.7]},
        "validation": {"every": 4, "criterion": "miou"},
        "steps": 12,
    },
    "joint": {"camera": PHOTONS, "ema": 0.9, "loss": {"balance": "uncertainty", "cross_entropy_weight": 0.01}},
}


def check_logs(run: Path, name: str) -> None:
    for what in ("log", "validation"):
        stored = figures(STORED / f"{name}_{what}.csv")
        made = figures(run / f"{what}.csv")
        assert [row.keys() for row in made] == [row.keys() for row in stored]
        for row, expected in zip(made, stored, strict=True):
            for key, value in expected.items():
                where = f"{what}, step {expected['step']}, {key}"
                assert (row[key] == "") == (value == ""), where
                assert float(row[key] or 0) == pytest.approx(float(value or 0), rel=1e-5), where


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", RUNS)
def test_the_losses_at_a_fixed_seed(tmp_path, name):
    train(small_config(tmp_path, **RUNS[name]), small_sets(), RunObserver(notify=lambda line: None))
    check_logs(tmp_path, name)


def test_an_interrupted_run_goes_on_and_ends_as_it_would_have(tmp_path):
    shutil.copytree(STORED / "interrupted", tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.safetensors"
    checkpoint.write_bytes(gzip.decompress(checkpoint.with_suffix(".safetensors.gz").read_bytes()))
    lines = []
    config = small_config(tmp_path / "run", **RUNS["two_stage"])
    result = train(config, small_sets(), RunObserver(notify=lines.append))
    assert lines[0].endswith("goes on from step 4 of 12")
    assert result.step == 12
    check_logs(tmp_path / "run", "two_stage")
