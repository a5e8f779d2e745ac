"""What another package registers, by its name on the command line."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

import crsdun
from crsdun.cli import main
from crsdun.networks import Network
from crsdun.networks.network import ReconstructionConfig
from crsdun.networks.zoo import KINDS, NAMES
from crsdun.optics import Estimate
from crsdun.scenes import write_scene
from crsdun.solvers import SOLVERS, Solver
from crsdun.training.losses import CUBE_LOSSES
from tests.evaluation.scenes import NAMES as CLASS_NAMES
from tests.evaluation.scenes import PaintedSet

DATA = {
    "cubes": "{name}.npz",
    "labels_key": "classes",
    "classes": list(CLASS_NAMES),
    "unlabelled": -1,
    "splits": {"train": ["scene 0"], "validation": ["scene 1"], "test": ["scene 2"]},
}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Inside a folder with a data set of three scenes and a configuration."""
    monkeypatch.chdir(tmp_path)
    scenes = PaintedSet(3)
    for index, name in enumerate(scenes.names):
        write_scene(scenes[index], f"{name}.npz")
    Path("data.yaml").write_text(yaml.safe_dump(DATA))
    write_config()


def write_config(**sections):
    config = {
        "data": {"source": "data.yaml"},
        "network": {"name": "crsdun_1stg", "settings": {"width": 2}},
        "sampling": {"crop": [32, 48], "batch": 1},
        "steps": 2,
        "log_every": 1,
        "out": "run",
    }
    Path("train.yaml").write_text(yaml.safe_dump({**config, **sections}))


def test_a_loss_trains_from_yaml(capsys):
    seen = []

    def mean_absolute_error(errors):
        seen.append(len(errors.cubes))
        return errors.share * torch.stack([(x - errors.truth).abs().mean() for x in errors.cubes])

    write_config(loss={"cube": "mae", "cross_entropy_weight": 0.0})
    assert main(["train", "train.yaml"]) == 2
    known = "mse, rmse, l1, charbonnier, l1+sam, tempered, none"
    assert f"loss.cube must be one of {known}, not 'mae'" in capsys.readouterr().err
    crsdun.register_loss("mae", mean_absolute_error)
    try:
        assert main(["train", "train.yaml"]) == 0
    finally:
        CUBE_LOSSES.unregister("mae")
    assert set(seen) == {1}
    header, *rows = (line.split(",") for line in Path("run/log.csv").read_text().splitlines())
    assert len(rows) == 2
    loss, mse = (float(rows[0][header.index(name)]) for name in ("loss", "mse_1"))
    assert mse < loss**0.5
    assert loss != mse


def test_a_solver_reconstructs_and_is_evaluated():
    @dataclass(frozen=True)
    class BackProjection(Solver):
        scale: float = 1.0

        def __call__(self, measurement, camera, progress=None):
            return Estimate([self.scale * camera.adjoint(measurement / camera.diagonal.clamp(min=1))])

    crsdun.register_solver("back-projection", BackProjection)
    try:
        assert main(["simulate", "scene 2.npz", "--out", "y.npz"]) == 0
        assert main(["reconstruct", "y.npz", "--method", "back-projection", "--out", "result"]) == 0
        assert main(["evaluate", "back-projection", "data.yaml", "--out", "evaluation"]) == 0
    finally:
        SOLVERS.unregister("back-projection")
    record = json.loads(Path("result/record.json").read_text())
    assert (record["method"], record["settings"]) == ("back-projection", {"scale": 1.0})
    assert json.loads(Path("evaluation/evaluation.json").read_text())["method"] == "back-projection"


def test_a_network_trains_and_reconstructs():
    @dataclass(frozen=True)
    class SharpenerConfig(ReconstructionConfig):
        bands: int
        width: int = 4

    class Sharpener(Network):
        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Conv2d(config.bands, config.bands, 3, padding=1)

        def forward(self, measurement, camera):
            z = camera.adjoint(measurement / camera.diagonal.clamp(min=1))
            return Estimate([z + self.layer(z)])

    crsdun.register_network("sharpener", SharpenerConfig, Sharpener)
    try:
        write_config(network={"name": "sharpener", "settings": {"width": 3}})
        assert main(["train", "train.yaml"]) == 0
        assert main(["simulate", "scene 2.npz", "--out", "y.npz"]) == 0
        assert main(["reconstruct", "y.npz", "--weights", "run/weights.safetensors", "--out", "result"]) == 0
    finally:
        KINDS.unregister("sharpener")
        NAMES.unregister("sharpener")
    assert json.loads(Path("result/record.json").read_text())["settings"]["width"] == 3


def test_a_data_set_is_evaluated():
    from crsdun.scenes.catalog import DATASETS, register_dataset

    register_dataset("painted", lambda split: PaintedSet(2))
    try:
        assert main(["evaluate", "gap-tv", "painted", "--iterations", "2", "--out", "evaluation"]) == 0
    finally:
        DATASETS.unregister("painted")
    assert len(json.loads(Path("evaluation/evaluation.json").read_text())["scenes"]) == 2
