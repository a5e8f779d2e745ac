"""``kill -9`` at any moment, then the same command again: bit-equal to a run that nobody disturbed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.killed import HALF_WRITTEN
from tests.training.small import figures

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.training.killed", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder, int(done.stdout)


def test_there_were_moments_in_every_part_of_a_run(runs):
    folder, moments = runs
    assert moments >= 12
    assert {path.name for path in folder.iterdir()} == {"whole", HALF_WRITTEN, *map(str, range(1, moments + 1))}


@pytest.mark.parametrize("file", ["weights.safetensors", "best.safetensors", "checkpoints/last.safetensors"])
def test_whenever_it_was_killed_the_run_ends_bit_equal(runs, file):
    folder, _ = runs
    expected = load_file(folder / "whole" / file)
    for run in folder.iterdir():
        found = load_file(run / file)
        assert found.keys() == expected.keys()
        differing = [name for name in expected if not torch.equal(found[name], expected[name])]
        assert not differing, (run.name, differing)


@pytest.mark.parametrize("file", ["log.csv", "validation.csv"])
def test_no_step_is_told_twice_and_none_is_missing(runs, file):
    folder, _ = runs
    expected = figures(folder / "whole" / file)
    assert [row["step"] for row in expected] == ["2", "3"]
    for run in folder.iterdir():
        assert figures(run / file) == expected, run.name
