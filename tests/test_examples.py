"""Every example runs."""

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


def test_every_example_is_run_here():
    source = Path(__file__).read_text()
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))
