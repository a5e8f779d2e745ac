"""``crsdun train``: a network from a data set and a configuration."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import print_result, progress_bar

if TYPE_CHECKING:
    import numpy as np

    from crsdun.scenes import Scene


def add(commands: Commands) -> None:
    """The command and its options."""
    train = command(commands, "train", run, "Train a network, or go on with a run that was interrupted.")
    train.add_argument("config", type=Path, help="a .yaml as in configs/")
    train.add_argument("change", nargs="*", metavar="key=value", help="such as optimiser.rate=1e-3 or minutes=60")
    train.add_argument("--show", action="store_true", help="print the configuration in full and stop")


def run(options: argparse.Namespace) -> int:
    from crsdun.training.config import load_config, plain

    config = load_config(options.config, options.change)
    if options.show:
        import yaml

        print(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), end="")
        return 0

    from crsdun.methods.memory import keep_freed_memory
    from crsdun.training import RunObserver, train

    keep_freed_memory()
    if os.environ.get("RANK", "0") != "0":  # torchrun started several, and the first one speaks for all
        return 130 if train(config).stopped == "signal" else 0
    with progress_bar(config.network.name) as progress:
        watch = RunObserver(progress, lambda words: print(f"crsdun: {words}", file=sys.stderr, flush=True), picture)
        outcome = train(config, watch=watch)
    facts = {
        "out": config.out,
        "step": outcome.step,
        "steps": config.steps,
        "stopped": outcome.stopped,
        "weights": outcome.weights and str(outcome.weights),
        **outcome.figures,
    }
    if outcome.weights:
        words = f"{outcome.weights}: {config.network.name} after {outcome.step} steps"
    else:
        words = f"{config.out}: stopped after step {outcome.step} of {config.steps}; the same command goes on"
    print_result(facts, words, options.json)
    return 130 if outcome.stopped == "signal" else 0


def picture(truth: Scene, estimate: Scene) -> np.ndarray:
    """Truth over estimate: the scene on the left, its classes on the right where both have some, (2H,2W,3) uint8."""
    import numpy as np

    from crsdun.viewing import class_picture, picture

    columns = [[picture(scene, like=truth)[0] for scene in (truth, estimate)]]
    if truth.classes is not None and estimate.classes is not None:
        columns.append([class_picture(truth.classes), class_picture(estimate.classes)])
    return np.hstack([np.vstack(column) for column in columns])
