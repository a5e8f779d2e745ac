"""``crsdun table``: several systems, trained and judged under one budget."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import progress_bar
from crsdun.cli.train import picture


def add(commands: Commands) -> None:
    """The command and its options."""
    table = command(commands, "table", run, "Train and judge several systems under one budget, or go on with that.")
    table.add_argument("config", type=Path, help="a .yaml such as configs/table_main_small.yaml")
    table.add_argument("change", nargs="*", metavar="key=value", help="such as steps=200, scenes=5 or minutes=60")


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from crsdun.experiments.tables import as_markdown, load_table, make_table
    from crsdun.methods.memory import keep_freed_memory
    from crsdun.training import RunObserver

    table, configs = load_table(options.config, options.change)
    keep_freed_memory()
    if os.environ.get("RANK", "0") != "0":  # torchrun started several, and the first one speaks for all
        made = make_table(table, configs)
    else:
        with progress_bar(table.title) as progress:
            watch = RunObserver(
                progress, lambda words: print(f"crsdun: {words}", file=sys.stderr, flush=True), picture
            )
            made = make_table(table, configs, watch=watch)
        if options.json:
            print(json.dumps({"out": table.out, **asdict(made)}))
        elif made.rows:
            print(as_markdown(made))
        if made.stopped:
            print(f"crsdun: {table.out}: stopped; the same command goes on", file=sys.stderr)
    if made.stopped == "signal":
        return 130
    return 1 if any(row.failure for row in made.rows) else 0
