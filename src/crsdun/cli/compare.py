"""``crsdun compare``: two evaluations on the same scenes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, print_result

if TYPE_CHECKING:
    from crsdun.evaluation import Comparison

# With fewer scenes, the intervals of a percentile bootstrap are clearly too narrow.
ENOUGH = 10


def add(commands: Commands) -> None:
    """The command and its options."""
    compare = command(
        commands, "compare", run, "Compare two evaluations: how much better is B than A, and how certain is that?"
    )
    compare.add_argument("a", type=Path, metavar="A", help="a folder of crsdun evaluate, or its evaluation.json")
    compare.add_argument("b", type=Path, metavar="B", help="another, on the same scenes")


def run(options: argparse.Namespace) -> None:
    from crsdun.evaluation import compare, read_evaluation

    a, b = read_evaluation(options.a), read_evaluation(options.b)
    comparisons = compare(a, b)
    if options.json:
        figures = {each.figure: asdict(each) for each in comparisons}
        print_result({"a": a.method, "b": b.method, "scenes": len(a.scenes), "figures": figures}, "", as_json=True)
        return
    from rich.table import Table

    from crsdun.evaluation import FIGURES
    from crsdun.evaluation.tables import caption

    table = Table("figure")
    for label in (f"A: {a.method}", f"B: {b.method}", "B − A", "95 % interval"):
        table.add_column(label, justify="right")
    table.add_column("verdict")
    for each in comparisons:
        figure = FIGURES[each.figure]
        interval = f"{figure.number(each.low, '+')} … {figure.number(each.high, '+')}"
        values = figure.number(each.a), figure.number(each.b), figure.number(each.difference, "+")
        table.add_row(figure.label, *values, interval, verdict(each))
    printed = console()
    printed.print(table)
    printed.print(f"{caption(b)}; paired bootstrap over scenes")
    if len(b.scenes) < ENOUGH:
        printed.print(f"the bootstrap interval of {len(b.scenes)} scenes is too narrow: compare on {ENOUGH} or more")


def verdict(each: Comparison) -> str:
    from crsdun.evaluation import FIGURES

    if not each.clear:
        return "no clear difference"
    return "B is better" if (each.difference > 0) == FIGURES[each.figure].higher_is_better else "A is better"
