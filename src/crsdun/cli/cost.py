"""``crsdun cost``: what networks cost, beside what is published of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, print_json, progress_bar
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.evaluation import ProblemSize
    from crsdun.experiments.cost import NetworkCost


def add(commands: Commands) -> None:
    """The command and its options."""
    cost = command(commands, "cost", run, "Count parameters and multiply-adds of networks, beside published figures.")
    cost.add_argument(
        "networks",
        nargs="*",
        metavar="NAME",
        help="such as crsdun_3stg or ssr_9stg+seg, or a file of weights (default: the paper's main table)",
    )
    cost.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="size of the scene (default: 256 256)")
    cost.add_argument("--bands", type=int, help="number of bands, for networks by name (default: 28)")
    cost.add_argument(
        "--classes", type=int, help="number of classes with background, for networks by name (default: 23)"
    )
    cost.add_argument("--step", type=float, help="dispersion in pixels per band (default: 2)")
    cost.add_argument(
        "--measure", action="store_true", help="also measure time and memory: runs each network 4 times"
    )


def run(options: argparse.Namespace) -> None:
    from crsdun.evaluation import MAIN_TABLE
    from crsdun.experiments.cost import network_cost

    problem = problem_from(options)
    names = options.networks or MAIN_TABLE
    costs = []
    with progress_bar("cost") as progress:
        for done, name in enumerate(names, start=1):
            costs.append(network_cost(name, problem, options.measure))
            if progress is not None:
                progress(done, len(names))
    if options.json:
        print_json({"rows": [each.plain() for each in costs]})
    else:
        print_costs(costs)


def problem_from(options: argparse.Namespace) -> ProblemSize:
    """What to count for, the published problem where no option changes it."""
    from crsdun.evaluation import ProblemSize

    for name in ("size", "bands", "classes"):
        value = getattr(options, name)
        numbers = value if isinstance(value, list) else [value]
        if any(number is not None and number < 1 for number in numbers):
            raise InputError(f"--{name} takes whole numbers of at least 1, not {' '.join(map(str, numbers))}")
    height, width = options.size or (None, None)
    given = {
        "bands": options.bands,
        "classes": options.classes,
        "height": height,
        "width": width,
        "step": options.step,
    }
    return ProblemSize(**{name: value for name, value in given.items() if value is not None})


def print_costs(costs: list[NetworkCost]) -> None:
    """Counts, published ones and the difference; then what was measured."""
    from rich.table import Table

    from crsdun.experiments.cost import COUNTS

    table = Table("network")
    measured = costs[0].timing is not None
    heads = ("parameters", "M", "published", "difference", "G", "published", "difference")
    for head in (*heads, *(("seconds", "peak MB") if measured else ())):
        table.add_column(head, justify="right")
    for cost in costs:
        cells = [f"{cost.parameters:,}"]
        for count, unit in zip(COUNTS, (1e6, 1e9), strict=True):
            cells.append(f"{getattr(cost, count) / unit:.2f}")
            if cost.published is None:
                cells += ["–", "–"]
            else:
                cells += [f"{getattr(cost.published, count) / unit:.2f}", f"{cost.difference(count):+.2f} %"]
        if cost.timing is not None:
            peak = cost.timing.peak_mb
            cells += [f"{cost.timing.seconds:.2f}", "–" if peak is None else f"{peak:.0f}"]
        table.add_row(cost.network, *cells)
    out = console()
    out.print(table)
    problem = costs[0].problem
    same = len({(cost.problem.bands, cost.problem.classes) for cost in costs}) == 1
    kind = f"{problem.bands} bands, {problem.classes} classes" if same else "each with its bands and classes"
    out.print(
        f"G: multiply-adds of one scene of {problem.height}×{problem.width}, {kind}, step {problem.step:g}, as the "
        "field counts them, / 10⁹; M: parameters / 10⁶"
    )
    for source in dict.fromkeys(cost.published.source for cost in costs if cost.published):
        out.print(f"published: {source}")
    if measured:
        out.print("seconds: median of three; peak: memory of a fresh process above the imported library")
