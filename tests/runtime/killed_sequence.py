"""Kills sequences with SIGKILL when they open or rename a file, starts each again, and compares what they became.

``python -m tests.runtime.killed_sequence FOLDER`` prints how many such moments there were for each format. It is a
program of its own, since a process is copied (fork) here.
"""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from crsdun.cli import main as crsdun
from crsdun.scenes import open_series
from tests import killing
from tests.runtime.test_exposures import MASK, STACK

EVERY = 3  # of the moments, so that it takes seconds
COMMAND = "reconstruct video.npy --mask mask.npy --method gap-tv --iterations 3 --smooth 0.3 --sequence --json"


def sit(kind: str, out: str, kill_at: int | None = None) -> tuple[int, int]:
    """As ``killing.sit``, of the command."""

    def decode() -> int:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return crsdun([*COMMAND.split(), "--series", kind, "--out", out])

    return killing.sit(decode, lambda path: f"{os.sep}{out}" in path, kill_at)


def main(folder: Path) -> None:
    os.chdir(folder)
    np.save("mask.npy", MASK)
    np.save("video.npy", STACK[:2])
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):
        for kind in ("h5", "zarr"):  # loads what every copy of this process will need
            assert crsdun([*COMMAND.split(), "--series", kind, "--out", f"{kind}-first"]) == 0
    counted = {}
    for kind in ("h5", "zarr"):
        status, moments = sit(kind, f"{kind}-whole")
        assert status == 0
        whole = np.stack([each.cube for each in open_series(f"{kind}-whole/cubes.{kind}")])
        for kill_at in range(1, moments + 1, EVERY):
            out = f"{kind}-{kill_at}"
            status, _ = sit(kind, out, kill_at)
            assert status == signal.SIGKILL, (kind, kill_at, status)
            status, _ = sit(kind, out)
            assert status == 0, (kind, kill_at, status)
            again = np.stack([each.cube for each in open_series(f"{out}/cubes.{kind}")])
            assert np.array_equal(again, whole), (kind, kill_at)
            assert not Path(f"{out}.unfinished").exists()
        counted[kind] = moments
    print(json.dumps(counted), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
