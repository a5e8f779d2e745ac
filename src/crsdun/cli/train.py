"""``crsdun train``: a network from a data set and a configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, change_option, command
from crsdun.cli.printing import notify, print_result, progress_bar

if TYPE_CHECKING:
    from crsdun.training import RunObserver


def add(commands: Commands) -> None:
    """The command and its options."""
    train = command(commands, "train", run, "Train a network, or resume a run that was interrupted.")
    train.add_argument("config", type=Path, help="a .yaml file such as those in configs/")
    change_option(train, "optimiser.rate=1e-3 or minutes=60")
    train.add_argument("--show", action="store_true", help="print the complete configuration and exit")


def run(options: argparse.Namespace) -> int:
    from crsdun.training.config import load_config, plain

    config = load_config(options.config, options.change)
    if options.show:
        import yaml

        print(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), end="")
        return 0

    from crsdun.methods import keep_freed_memory
    from crsdun.training import train

    keep_freed_memory()
    with observing(config.network.name) as observer:
        result = train(config, observer=observer)
    if is_first_process():
        values = {
            "out": config.out,
            "step": result.step,
            "steps": config.steps,
            "stopped": result.stopped,
            "weights": result.weights and str(result.weights),
            **result.figures,
        }
        if result.weights:
            line = f"{result.weights}: {config.network.name} after {result.step} steps"
        else:
            line = f"{config.out}: stopped after step {result.step} of {config.steps}; the same command resumes it"
        print_result(values, line, options.json)
    return 130 if result.stopped == "signal" else 0


def is_first_process() -> bool:
    """Whether this process prints: of several that ``torchrun`` started, only the first one does."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def observing(title: str) -> Iterator[RunObserver | None]:
    """What follows a run on the terminal: a progress bar, lines and pictures; nothing except in the first process."""
    if not is_first_process():
        yield None
        return
    from crsdun.experiments.validation_picture import validation_picture
    from crsdun.training import RunObserver

    with progress_bar(title) as progress:
        yield RunObserver(progress, notify, validation_picture)
