"""Two processes of batch 2 do what one of batch 4 does, started as a person starts them."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crsdun.errors import InputError
from crsdun.networks import create
from crsdun.training import RunObserver, train
from crsdun.training.distributed import Processes, SynchronisedBatchNorm, synchronise_batch_norm
from tests.training.several import BEYOND, LEARNING
from tests.training.small import small_config, small_sets

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of one process and of two."""
    folder = tmp_path_factory.mktemp("several")
    command = [*TORCHRUN, "-m", "tests.training.several", str(folder / "two"), str(folder / "two_beyond")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for name, sections in (("one", LEARNING), ("one_beyond", BEYOND)):
        train(small_config(folder / name, **sections), small_sets(), RunObserver(notify=lambda line: None))
    return folder / "one", folder / "two"


@pytest.mark.parametrize("file", ["log.csv", "validation.csv"])
def test_losses_gradients_and_validations_are_the_same(runs, file):
    one, two = (list(csv.DictReader((run / file).read_text().splitlines())) for run in runs)
    assert len(one) == len(two) == (5 if file == "log.csv" else 2)
    for expected, found in zip(one, two, strict=True):
        for name in expected.keys() - {"seconds", "hours"}:
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-5), name


def test_losses_beyond_the_paper_and_muon_do_the_same_too(runs):
    logs = [(run.parent / f"{run.name}_beyond" / "log.csv").read_text() for run in runs]
    one, two = (list(csv.DictReader(log.splitlines())) for log in logs)
    assert len(one) == len(two) == 5
    for expected, found in zip(one, two, strict=True):
        for name in ("loss", "mse_2", "ce_1", "ce_2"):
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-4), name


def test_the_weights_and_running_statistics_are_the_same(runs):
    one, two = (load_file(run / "weights.safetensors") for run in runs)
    assert one.keys() == two.keys()
    assert any("running_var" in name for name in one)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=2e-4)  # Adam magnifies the last digits


def test_one_process_goes_on_with_a_run_of_two(runs, tmp_path):
    said = []
    outcome = train(small_config(runs[1], **LEARNING), small_sets(), RunObserver(notify=said.append))
    assert outcome.weights == runs[1] / "weights.safetensors"
    assert "has done all its steps" in said[0]


def test_only_the_batch_norms_change_and_their_state_does_not():
    network = create("crsdun_2stg", 5, 4, width=4)
    before = network.state_dict()
    synchronise_batch_norm(network)
    kinds = [type(module) for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(kinds) == 6
    assert set(kinds) == {SynchronisedBatchNorm}
    assert network.state_dict().keys() == before.keys()


def test_batch_norms_of_ones_own_networks_change_too_or_are_refused():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    synchronise_batch_norm(network)
    assert type(network[1]) is SynchronisedBatchNorm
    for other in (nn.BatchNorm1d(2), nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2, momentum=None)):
        with pytest.raises(InputError, match=r"^0 of this network .* does not share its statistics among processes"):
            synchronise_batch_norm(nn.Sequential(other))


def test_a_batch_is_shared_evenly_or_not_at_all():
    processes = Processes(1, 2, torch.device("cpu"))
    assert processes.slots(6) == range(3, 6)
    with pytest.raises(InputError, match=r"sampling\.batch=5 cannot be shared evenly by 2 processes"):
        processes.slots(5)
