"""``crsdun table``: several systems under one budget, or all methods that need no training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crsdun.cli.cluster import check_cluster, cluster_options, joined
from crsdun.cli.options import Commands, change_option, command, device_from
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
    change_option(table, "steps=200, scenes=5 or minutes=60")
    table.add_argument(
        "--rows",
        metavar="A,B",
        help="make or judge only these rows, such as lr-tv,gap-tv (default: all); rows that are made already stay in "
        "the table, and what is asked of some rows alone has a folder of its own",
    )
    more = table.add_mutually_exclusive_group()
    more.add_argument(
        "--conditions", action="store_true", help="evaluate the trained rows under the file's other conditions"
    )
    more.add_argument(
        "--differences",
        metavar="ROW",
        help="compare every row with this one, and say how certain the differences are",
    )
    more.add_argument(
        "--equal-time",
        action="store_true",
        help="evaluate the rows with the weights they had after equal training time",
    )
    more.add_argument("--curves", action="store_true", help="plot how the rows improved during training")
    more.add_argument("--pictures", type=int, metavar="N", help="draw N scenes as every row sees them")
    cluster_options(table)


def run(options: argparse.Namespace) -> int:
    from crsdun.experiments import solver_table, table_config, table_files, tables
    from crsdun.methods import keep_freed_memory

    check_cluster(options)
    keep_freed_memory()
    made: table_files.Table | solver_table.SolverTable
    if options.config == SOLVERS:
        settings = solver_table.load_solver_table(options.change)
        out = settings.out
        with joined(options) as crew, observing(solver_table.TITLE) as observer:
            made = solver_table.make_solver_table(settings, options.rows, observer, device_from("auto"), crew)
        text = solver_table.as_markdown(made)
    else:
        table, configs = table_config.load_table(Path(options.config), options.change)
        out = table.out
        rows = table_config.chosen(configs, options.rows)
        questions = options.conditions, options.differences, options.equal_time, options.curves
        if any(questions) or options.pictures is not None:
            judge(options, table, {name: configs[name] for name in rows})
            return 0
        with joined(options) as crew, observing(table.title) as observer:
            made = tables.make_table(table, configs, observer=observer, crew=crew, rows=rows)
        text = table_files.as_markdown(made)
    if is_first_process():
        if options.json:
            print_json({"out": out, **made.plain()})
        elif made.rows:
            print(text)
        if made.stopped:
            notify(f"{out}: stopped; the same command resumes it")
    if made.stopped == "signal":
        return 130
    return 1 if any(row.failure for row in made.rows) else 0


def judge(options: argparse.Namespace, table: Any, configs: dict[str, Any]) -> None:
    """Ask the rows of a table that is made one more question, and print the answer."""
    from crsdun.experiments import table_judgements as judgements

    with observing(table.title) as observer:
        learnt = judgements.LearntTable(table, configs, observer)
        if options.conditions:
            answer = judgements.judge_conditions(learnt)
        elif options.differences:
            answer = judgements.differences(learnt, options.differences)
        elif options.equal_time:
            answer = judgements.equal_time(learnt)
        elif options.pictures is not None:
            answer = judgements.pictures(learnt, options.pictures)
        else:
            answer = judgements.curves(learnt)
    if options.json:
        print_json({"out": str(learnt.out), "rows": answer.rows})
    else:
        print(answer.text)
