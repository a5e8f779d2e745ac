"""``crsdun cost``: what networks cost, beside what is published of them."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, progress_bar
from crsdun.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crsdun.evaluation import ProblemSize
    from crsdun.networks import Network

COUNTS = ("parameters", "multiply_adds")


def add(commands: Commands) -> None:
    """The command and its options."""
    cost = command(commands, "cost", run, "Parameters, multiply-adds, time and memory of networks, beside published.")
    cost.add_argument(
        "networks",
        nargs="*",
        metavar="NAME",
        help="such as crsdun_3stg or ssr_9stg+seg, or a file of weights (default: the paper's main table)",
    )
    cost.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of the scene (default: 256 256)")
    cost.add_argument("--bands", type=int, help="of networks by name (default: 28)")
    cost.add_argument("--classes", type=int, help="of networks by name, background included (default: 23)")
    cost.add_argument("--step", type=float, help="dispersion, pixels per band (default: 2)")
    cost.add_argument("--measure", action="store_true", help="time and memory too: runs each network four times")


def run(options: argparse.Namespace) -> None:
    from crsdun.evaluation import MAIN_TABLE, ProblemSize

    for option, values in (
        ("--size", options.size or ()),
        ("--bands", (options.bands,)),
        ("--classes", (options.classes,)),
    ):
        if any(value is not None and value < 1 for value in values):
            raise InputError(f"{option} takes whole numbers of at least 1, not {' '.join(map(str, values))}")
    given = {name: getattr(options, name) for name in ("bands", "classes", "step")}
    given |= {} if options.size is None else {"height": options.size[0], "width": options.size[1]}
    setting = ProblemSize()._replace(**{name: value for name, value in given.items() if value is not None})
    names = options.networks or MAIN_TABLE
    rows = []
    with progress_bar("cost") as progress:
        for done, name in enumerate(names, start=1):
            rows.append(row(name, setting, options.measure))
            if progress is not None:
                progress(done, len(names))
    if options.json:
        print(json.dumps({"rows": rows}))
    else:
        print_rows(rows, setting)


def row(name: str, setting: ProblemSize, measured: bool) -> dict[str, Any]:
    """The costs of one network as plain values."""
    from crsdun.evaluation import multiply_adds, parameters, published

    open_network, setting = opener(name, setting)
    network = open_network()
    counts = parameters(network), multiply_adds(network, setting.height, setting.width, setting.step)
    found: dict[str, Any] = {"network": name, **setting._asdict(), **dict(zip(COUNTS, counts, strict=True))}
    known = published(name, setting)
    printed = known is not None and known.parameters is not None
    found["published"] = {each: getattr(known, each) for each in (*COUNTS, "source")} if printed else None
    if printed:
        found["difference_percent"] = {each: 100 * (found[each] / found["published"][each] - 1) for each in COUNTS}
    if measured:
        from crsdun.experiments.bench import measure

        found |= measure(open_network, setting)
    return found


def opener(name: str, setting: ProblemSize) -> tuple[Callable[[], Network], ProblemSize]:
    """What makes a network of the zoo, or that of a weights file, and the setting with its bands and classes."""
    from crsdun.networks import create, load, read_header

    if not name.endswith(".safetensors"):
        return partial(create, name, setting.bands, setting.classes), setting
    config = read_header(name).config
    config = config.get("segmenter", config)
    counts = {each: config[each] for each in ("bands", "classes") if each in config}
    return partial(load, name), setting._replace(**counts)


def print_rows(rows: list[dict[str, Any]], setting: ProblemSize) -> None:
    """Counts, published ones and the difference; then what was measured."""
    from rich.table import Table

    table = Table("network")
    measured = "seconds" in rows[0]
    heads = ("parameters", "M", "published", "difference", "G", "published", "difference")
    for head in (*heads, *(("seconds", "peak MB") if measured else ())):
        table.add_column(head, justify="right")
    for each in rows:
        cells = [f"{each['parameters']:,}"]
        for what, unit in zip(COUNTS, (1e6, 1e9), strict=True):
            cells.append(f"{each[what] / unit:.2f}")
            if each["published"] is None:
                cells += ["–", "–"]
            else:
                cells += [f"{each['published'][what] / unit:.2f}", f"{each['difference_percent'][what]:+.2f} %"]
        if measured:
            cells += [f"{each['seconds']:.2f}", "–" if each["peak_mb"] is None else f"{each['peak_mb']:.0f}"]
        table.add_row(each["network"], *cells)
    out = console()
    out.print(table)
    kinds = dict.fromkeys((each["bands"], each["classes"]) for each in rows)
    kind = "{} bands, {} classes".format(*next(iter(kinds))) if len(kinds) == 1 else "each with its bands and classes"
    out.print(
        f"G: multiply-adds of one scene of {setting.height}×{setting.width}, {kind}, step {setting.step:g}, as the "
        "field counts them, / 10⁹; M: parameters / 10⁶"
    )
    for source in dict.fromkeys(each["published"]["source"] for each in rows if each["published"]):
        out.print(f"published: {source}", markup=False)
    if measured:
        out.print("seconds: median of three; peak: memory of a fresh process above the imported library")
