"""``crsdun report``: a page for the browser, of results, evaluations and training runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import print_result
from crsdun.errors import InputError


def add(commands: Commands) -> None:
    """The command and its options."""
    report = command(
        commands, "report", run, "Make a page for the browser from folders of reconstruct, evaluate and train."
    )
    report.add_argument(
        "folders",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="each folder of results gets its own page; evaluations and runs share one, side by side",
    )
    report.add_argument(
        "--out", type=Path, help="file of the page (default: report.html in DIR, or in this folder for several)"
    )
    overwrite_option(report)


def run(options: argparse.Namespace) -> None:
    from crsdun.runtime import read_results
    from crsdun.storage import write_text
    from crsdun.viewing.evaluation_page import evaluation_page
    from crsdun.viewing.pages import PAGE
    from crsdun.viewing.result_page import result_page

    kinds = {folder: kind_of(folder) for folder in options.folders}
    results = [folder for folder, kind in kinds.items() if kind == "results"]
    others = [folder for folder, kind in kinds.items() if kind != "results"]
    if options.out is not None and len(results) + bool(others) > 1:
        raise InputError(
            "--out is one file, but each folder of results gets a page", "omit <out>, or name fewer folders"
        )
    made = []
    for folder in results:
        out = options.out or folder / PAGE
        write_text(out, result_page(read_results(folder)), options.overwrite or options.out is None)
        made.append(out)
    if others:
        out = options.out or (others[0] / PAGE if len(others) == 1 else Path(PAGE))
        in_place = options.out is None and len(others) == 1
        write_text(out, evaluation_page(others), options.overwrite or in_place)
        made.append(out)
    print_result({"pages": [str(out) for out in made]}, "\n".join(f"look at {out}" for out in made), options.json)


def kind_of(folder: Path) -> str:
    """What a folder holds: ``results``, ``evaluation`` or ``run``."""
    from crsdun.evaluation.tables import FILE
    from crsdun.runtime import METRICS
    from crsdun.training.run_log import RECORD as RUN

    for kind, name in (("evaluation", FILE), ("run", RUN), ("results", METRICS)):
        if (folder / name).is_file():
            return kind
    what = "holds nothing to report on" if folder.is_dir() else "is not a folder"
    raise InputError(
        f"{folder} {what}", f"give a folder of crsdun reconstruct ({METRICS}), evaluate ({FILE}) or train ({RUN})"
    )
