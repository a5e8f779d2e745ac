"""One of the processes of ``torchrun`` is killed: the others end with one line, and the run can go on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch.distributed as dist
import yaml

from crsdun.cli import main
from crsdun.errors import InputError
from crsdun.scenes import write_scene
from crsdun.training.distributed import join
from tests.training.small import CLASS_NAMES, SmallSet

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "crsdun"]
PATIENCE_S = 60


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenes = SmallSet("train", scenes=3)
    for index, name in enumerate(scenes.names):
        write_scene(scenes[index], f"{name}.npz")
    splits = dict(zip(("train", "validation", "test"), ([name] for name in scenes.names), strict=True))
    data = {"cubes": "{name}.npz", "labels_key": "classes", "classes": list(CLASS_NAMES), "unlabelled": -1}
    Path("set.yaml").write_text(yaml.safe_dump({**data, "splits": splits}))
    Path("train.yaml").write_text(
        "data: {source: set.yaml}\nnetwork: {name: crsdun_1stg, settings: {width: 4}}\nout: run\n"
        "sampling: {crop: [32, 32], batch: 2}\nsteps: 100000\ncheckpoint_every: 5\nvalidation: {every: 100000}\n"
    )
    return ["train", "train.yaml"]


def process_of(rank: int, parent: int) -> int:
    """The process of this rank among the children of ``torchrun``."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"there is no process of rank {rank}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows the rank of a process")
@pytest.mark.parametrize("rank", [0, 1])
def test_the_others_end_with_one_line_and_the_run_goes_on(config, capsys, rank):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with Path("err.txt").open("w") as errors:
        run = subprocess.Popen([*TORCHRUN, *config], env=environment, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        while not Path("run/checkpoints/last.safetensors").exists():
            assert run.poll() is None, Path("err.txt").read_text()
            time.sleep(0.05)
        os.kill(process_of(rank, run.pid), signal.SIGKILL)
        killed = time.monotonic()
        assert run.wait(PATIENCE_S) != 0
        print(f"ended after {time.monotonic() - killed:.1f} s")
    finally:
        run.kill()
    lines = [line for line in Path("err.txt").read_text().splitlines() if line.startswith("crsdun: ")]
    assert [line for line in lines if "crops of" not in line] == [
        "crsdun: another process of this run has ended; the same command goes on from the last checkpoint"
    ]
    # The same command, though with one process; it stops after a step.
    capsys.readouterr()
    assert main([*config, "minutes=1e-9"]) == 0
    assert "run goes on from step " in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["while it leaves the loop", "while it leaves the group"])
def test_the_signal_of_torchrun_does_not_hide_what_happened(monkeypatch, moment):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda backend: None)
    monkeypatch.setattr(dist, "destroy_process_group", interrupt if "group" in moment else lambda: None)
    with pytest.raises((InputError, KeyboardInterrupt)) as ended:
        lose_a_process(interrupt if "loop" in moment else lambda: None)
    assert "another process of this run has ended" in str(ended.value)


def test_an_interruption_alone_is_an_interruption(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(KeyboardInterrupt), join():
        interrupt()


def lose_a_process(on_leaving: Callable[[], None]) -> None:
    with join(), ExitStack() as loop:
        loop.callback(on_leaving)
        raise RuntimeError("Connection closed by peer [127.0.0.1]:29500")


def interrupt() -> None:
    raise KeyboardInterrupt
