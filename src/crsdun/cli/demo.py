"""``crsdun demo``: the shipped weights on two scenes, beside GAP-TV and the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import progress_bar, tell, told


def add(commands: Commands) -> None:
    """The command and its options."""
    demo = command(
        commands, "demo", run, "The shipped weights on two simulated scenes, with pictures and metrics beside GAP-TV."
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    overwrite_option(demo)


def run(options: argparse.Namespace) -> None:
    from crsdun.experiments.demo import write_demo
    from crsdun.methods.memory import keep_freed_memory

    keep_freed_memory()
    found = write_demo(options.out, options.overwrite, progress_bar)
    both = [told(result, options.out / name) for name, result in found.items()]
    lines = [*(words for _, words in both), f"look at {options.out / 'overview.png'}"]
    tell({"results": [facts for facts, _ in both]}, "\n".join(lines), options.json)
