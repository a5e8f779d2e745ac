"""Every example runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crsdun.optics import random_mask

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / example, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_camera_and_network():
    pytest.importorskip("tensorly", reason="the example's scene comes with tensorly")
    printed = run("camera_and_network.py")
    assert "measurement (1, 145, 199)" in printed
    assert "cube (1, 28, 145, 145) classes (1, 145, 145)" in printed


def test_your_measurement(tmp_path):
    mask = random_mask(24, 24)
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "y.npy", np.pad(mask, ((0, 0), (0, 6))))
    assert "data_residual" in run("your_measurement.py", tmp_path / "y.npy", tmp_path / "mask.npy", tmp_path / "out")
    assert (tmp_path / "out" / "cube.hdr").is_file()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process for which the plugin is installed, without its dependencies."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLES / "plugin", source / "plugin")  # building leaves files behind
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source / "plugin"], check=True)
    path = os.pathsep.join([str(target), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), "OMP_NUM_THREADS": "1"}


def type_command(environment: dict[str, str], folder: Path, *words: object) -> str:
    command = [sys.executable, "-m", "crsdun", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_know_what_a_plugin_adds(installed, tmp_path):
    code = "import crsdun; print(crsdun.list_methods())"
    listed = subprocess.run([sys.executable, "-c", code], env=installed, capture_output=True, text=True, check=True)
    assert "back-projection" in listed.stdout
    assert "sharpener" in listed.stdout

    checked = type_command(installed, tmp_path, "data", "check", "stripes", "--json")
    assert json.loads(checked)["splits"]["test"]["scenes"] == 3
    judged = type_command(installed, tmp_path, "evaluate", "back-projection", "stripes", "--out", "judged", "--json")
    assert json.loads(judged)["method"] == "back-projection"

    (tmp_path / "training.yaml").write_text(
        "data: {source: stripes}\nnetwork: {name: sharpener}\nloss: {cube: smooth_l1}\nsteps: 3\nout: run\n"
        "sampling: {crop: [32, 32], batch: 2}\nvalidation: {every: 3}\n"
    )
    type_command(installed, tmp_path, "train", "training.yaml")
    trained = type_command(
        installed, tmp_path, "evaluate", "run/weights.safetensors", "stripes", "--out", "trained", "--json"
    )
    assert json.loads(trained)["psnr_db"] > 0


def test_without_the_plugin_its_names_are_unknown(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "crsdun", "evaluate", "back-projection", "produce", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "back-projection" in done.stderr


def test_every_example_is_run_here():
    source = Path(__file__).read_text()
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))
