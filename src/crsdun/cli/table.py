"""``crsdun table``: several systems, trained and evaluated under one budget."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import notify, print_json
from crsdun.cli.train import is_first_process, observing


def add(commands: Commands) -> None:
    """The command and its options."""
    table = command(
        commands, "table", run, "Train and evaluate several systems under one budget, or resume an interrupted table."
    )
    table.add_argument("config", type=Path, help="a .yaml file such as configs/table_main_small.yaml")
    table.add_argument(
        "change", nargs="*", metavar="key=value", help="change a setting, such as steps=200, scenes=5 or minutes=60"
    )


def run(options: argparse.Namespace) -> int:
    from crsdun.experiments.tables import as_markdown, load_table, make_table
    from crsdun.methods import keep_freed_memory

    table, configs = load_table(options.config, options.change)
    keep_freed_memory()
    with observing(table.title) as observer:
        made = make_table(table, configs, observer=observer)
    if is_first_process():
        if options.json:
            print_json({"out": table.out, **made.plain()})
        elif made.rows:
            print(as_markdown(made))
        if made.stopped:
            notify(f"{table.out}: stopped; the same command goes on")
    if made.stopped == "signal":
        return 130
    return 1 if any(row.failure for row in made.rows) else 0
