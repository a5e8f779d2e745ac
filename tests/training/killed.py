"""Kills runs with SIGKILL whenever they touch the disk, starts each again, and leaves what they became.

``python -m tests.training.killed FOLDER`` makes FOLDER/whole, never interrupted, and FOLDER/1, 2, …, one for each
such moment. It is a program of its own, since a process may be copied (fork) only before PyTorch has computed
gradients in it.
"""

import resource
import signal
import sys
from pathlib import Path

import torch
import torchmetrics.functional.image  # noqa: F401 (every copy of this process will need it)

from crsdun.training import RunObserver, train
from tests import killing
from tests.training.small import small_config, small_sets

LEARNING = {
    "sampling": {"crop": [32, 32], "batch": 1, "mosaic": 0.5, "workers": 1},
    "loss": {"balance": "uncertainty"},
    "ema": 0.9,
    "steps": 3,
    "validation": {"every": 2, "scenes": 1},
    "log_every": 2,
}
HALF_WRITTEN = "half-written"
HALF_A_CHECKPOINT = 400_000  # bytes


def sit(folder: Path, kill_at: int | str | None = None) -> tuple[int, int]:
    """As ``killing.sit``, of a run."""

    def learn() -> int:
        if kill_at == HALF_WRITTEN:
            # The system kills a process that writes past this size.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (HALF_A_CHECKPOINT, HALF_A_CHECKPOINT))
        train(small_config(folder, **LEARNING), small_sets(), RunObserver(notify=lambda line: None))
        return 0

    at = kill_at if isinstance(kill_at, int) else None
    return killing.sit(learn, lambda path: path.startswith(str(folder)), at)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # loads what every copy of this process will need
    status, moments = sit(folder / "whole")
    assert status == 0
    for kill_at in (*range(1, moments + 1), HALF_WRITTEN):
        status, _ = sit(folder / str(kill_at), kill_at)
        assert status in (signal.SIGKILL, signal.SIGXFSZ), (kill_at, status)
        status, _ = sit(folder / str(kill_at))
        assert status == 0, (kill_at, status)
    print(moments)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
