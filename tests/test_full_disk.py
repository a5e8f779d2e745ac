"""A disk that fills up while a command writes: one line, and nothing left behind."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import crsdun
from crsdun.cli import main

ROOT = Path(__file__).parents[1]
MOUNT = 'mount -t tmpfs -o size=$SIZE none "$PWD" && cd "$PWD"'
UNSHARE = ["unshare", "--mount", "--map-root-user", "sh", "-c"]


@pytest.fixture(scope="module")
def can_mount(tmp_path_factory):
    """Whether this account may have a small disk of its own."""
    if shutil.which("unshare") is None:
        return False
    folder = tmp_path_factory.mktemp("trial")
    return (
        subprocess.run([*UNSHARE, MOUNT], cwd=folder, env={**os.environ, "SIZE": "64k"}, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    np.savez(folder / "scene.npz", cube=rng.random((5, 128, 128)), wavelengths=np.linspace(450, 650, 5))
    np.savez(folder / "y.npz", y=rng.random((64, 72)), mask=rng.integers(2, size=(64, 64)).astype(float))
    torch.manual_seed(0)
    crsdun.save(crsdun.create("crsdun_1stg", 5, 2, width=4), folder / "w.safetensors")
    command = ["reconstruct", folder / "y.npz", "--iterations", "1", "--out", folder / "result"]
    assert main(list(map(str, command))) == 0
    return folder


@pytest.fixture
def fill(tmp_path, inputs, can_mount):
    """Runs a command in a folder on a disk of some kilobytes: what it printed, and what it left there."""

    def fill(kilobytes, *arguments):
        command = [sys.executable, "-m", "crsdun", *(str(each).replace("INPUTS", str(inputs)) for each in arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SIZE": f"{kilobytes}k"}
        script = '"$@"; code=$?; ls -A; exit $code'
        if can_mount:
            command, limit = [*UNSHARE, f"{MOUNT} && {{ {script}; }}", "sh", *command], None
        else:  # no file may be larger
            command = ["sh", "-c", script, "sh", *command]

            def limit():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes, 1024 * kilobytes))

        settings = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120}
        done = subprocess.run(command, preexec_fn=limit, check=False, **settings)
        assert done.returncode == 2, done.stderr
        assert done.stdout == "", "something was left behind"
        assert done.stderr.count("\n") == 1, done.stderr
        assert ("no space is left there" if can_mount else "could not write") in done.stderr

    return fill


@pytest.mark.parametrize(
    ("kilobytes", "arguments"),
    [
        (2000, ["data", "make", "produce", "--out", "new/set"]),
        (64, ["export", "INPUTS/w.safetensors", "--format", "torch", "--out", "w.pt2"]),
        (64, ["reconstruct", "INPUTS/y.npz", "--iterations", "1", "--out", "new/result"]),
        (64, ["simulate", "INPUTS/scene.npz", "--out", "new.h5"]),
        (64, ["simulate", "INPUTS/scene.npz", "--out", "new.npz"]),
        (64, ["simulate", "INPUTS/scene.npz", "--out", "new.mat"]),
        (64, ["simulate", "INPUTS/scene.npz", "--out", "new.tif"]),
        (64, ["figure", "INPUTS/result", "--out", "new"]),
    ],
)
def test_nothing_is_left_behind(fill, kilobytes, arguments):
    fill(kilobytes, *arguments)
