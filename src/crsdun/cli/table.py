"""``crsdun table``: several systems under one budget, or all methods that need no training."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.cluster import check_cluster, cluster_options, joined
from crsdun.cli.options import Commands, command, device_from
from crsdun.cli.printing import notify, print_json
from crsdun.cli.train import is_first_process, observing

SOLVERS = "solvers"  # in place of a file


def add(commands: Commands) -> None:
    """The command and its options."""
    table = command(
        commands,
        "table",
        run,
        "Train and evaluate several systems under one budget, or compare the methods that need no training; an "
        "interrupted table is resumed.",
    )
    table.add_argument(
        "config",
        help="solvers (every method that needs no training, such as lr-tv and gap-tv, and the shipped weights), or a "
        ".yaml file such as configs/table_main_small.yaml",
    )
    table.add_argument(
        "change", nargs="*", metavar="key=value", help="change a setting, such as steps=200, scenes=5 or minutes=60"
    )
    table.add_argument(
        "--rows", metavar="A,B", help="only these rows, such as lr-tv,gap-tv (default: all; what is done is kept)"
    )
    cluster_options(table)


def run(options: argparse.Namespace) -> int:
    from crsdun.experiments import solver_table, tables
    from crsdun.methods import keep_freed_memory

    check_cluster(options)
    keep_freed_memory()
    made: tables.Table | solver_table.SolverTable
    if options.config == SOLVERS:
        settings = solver_table.load_solver_table(options.change)
        out = settings.out
        with joined(options) as crew, observing(solver_table.TITLE) as observer:
            made = solver_table.make_solver_table(settings, options.rows, observer, device_from("auto"), crew)
        text = solver_table.as_markdown(made)
    else:
        table, configs = tables.load_table(Path(options.config), options.change)
        out = table.out
        selected = {name: configs[name] for name in tables.chosen(configs, options.rows)}
        with joined(options) as crew, observing(table.title) as observer:
            made = tables.make_table(table, selected, observer=observer, crew=crew)
        text = tables.as_markdown(made)
    if is_first_process():
        if options.json:
            print_json({"out": out, **made.plain()})
        elif made.rows:
            print(text)
        if made.stopped:
            notify(f"{out}: stopped; the same command goes on")
    if made.stopped == "signal":
        return 130
    return 1 if any(row.failure for row in made.rows) else 0
