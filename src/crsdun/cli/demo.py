"""``crsdun demo``: the shipped weights on two scenes, beside GAP-TV and the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import print_result, progress_bar, result_line, summary


def add(commands: Commands) -> None:
    """The command and its options."""
    demo = command(
        commands, "demo", run, "Run the shipped weights on two simulated scenes, with pictures, beside GAP-TV."
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    overwrite_option(demo)


def run(options: argparse.Namespace) -> None:
    from crsdun.experiments.demo import write_demo
    from crsdun.methods import keep_freed_memory

    keep_freed_memory()
    results = {
        options.out / name: result
        for name, result in write_demo(options.out, options.overwrite, progress_bar).items()
    }
    lines = [
        *(result_line(result, out) for out, result in results.items()),
        f"look at {options.out / 'overview.png'}",
    ]
    values = {"results": [summary(result, out) for out, result in results.items()]}
    print_result(values, "\n".join(lines), options.json)
