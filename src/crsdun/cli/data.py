"""``crsdun data``: check data sets, and write those that are rendered to files."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import DATA_NAMES, Commands, command, overwrite_option
from crsdun.cli.printing import console, print_json, progress_bar

# Data sets without end, rendered as they are read, and what they are.
RENDERED = {
    "patchwork": "scenes of patchwork, of any kind and without labels,",
    "produce-wild": "scenes of produce-wild, the objects of Produce-23 anywhere,",
}

if TYPE_CHECKING:
    from crsdun.scenes.dataset_check import Check, SplitStatistics
    from crsdun.scenes.produce import ProduceFiles


def add(commands: Commands) -> None:
    """The commands and their options."""
    data = commands.add_parser("data", help="Check a data set, or make one.", description="Check or make a data set.")
    verbs = data.add_subparsers(required=True, metavar="check|make")
    check = command(
        verbs, "check", run_check, "Examine every file of a data set and report everything that is wrong."
    )
    check.add_argument(
        "source",
        metavar="DATA",
        help=f"{DATA_NAMES}, the name of a plugin's data set, a folder of FVgNET or "
        "of data make produce, or a .yaml that describes a folder of your own",
    )
    check.add_argument(
        "--manifest", type=Path, help="file of SHA-256 hashes: compared if it exists, otherwise written"
    )
    overwrite_option(check)
    make = verbs.add_parser("make", help="Make a data set.", description="Make a data set.")
    sets = make.add_subparsers(required=True, metavar="|".join(("produce", *RENDERED)))
    produce = command(sets, "produce", run_make, "Write all splits of Produce-23, the open benchmark, to files.")
    produce.add_argument("--out", type=Path, required=True, help="folder for the files")
    overwrite_option(produce)
    for name, what in RENDERED.items():
        rendered = command(sets, name, run_make_rendered, f"Write {what} to files, which a .yaml describes.")
        rendered.set_defaults(data=name)
        rendered.add_argument("--out", type=Path, required=True, help="folder for the files")
        rendered.add_argument(
            "--scenes", type=int, default=50, metavar="N", help="of each split, the first N (default: 50)"
        )
        rendered.add_argument("--split", help="only this one: train, validation or test (default: all)")
        overwrite_option(rendered)


def run_check(options: argparse.Namespace) -> int:
    from crsdun.scenes import dataset_check

    with progress_bar("check") as progress:
        check = dataset_check.check_set(options.source, progress)
    differences: dict[str, list[str]] = {}
    manifest = options.manifest
    compared = manifest is not None and manifest.exists() and not options.overwrite
    if compared:
        differences = dataset_check.compare_manifest(check.hashes, manifest)
    elif manifest is not None:
        dataset_check.write_manifest(check.hashes, manifest)
    if options.json:
        print_json(check.to_json() | {"manifest": differences})
    else:
        print_check(check)
        out = console()
        for change, names in differences.items():
            for name in names:
                out.print(f"{change} since {manifest}: {name}")
        if manifest is not None:
            action = "compared with" if compared else "written to"
            out.print(f"{len(check.hashes)} hashes {action} {manifest}")
    return 1 if check.problems or any(differences.values()) else 0


def run_make(options: argparse.Namespace) -> None:
    from crsdun.scenes.produce import make_produce

    with progress_bar("produce") as progress:
        written = make_produce(options.out, options.overwrite, progress)
    if options.json:
        print_json(written.to_json())
    else:
        print_written(written)


def run_make_rendered(options: argparse.Namespace) -> None:
    from crsdun.scenes import SPLITS, open_set
    from crsdun.scenes.set_files import write_set

    splits = SPLITS if options.split is None else (options.split,)
    sets = [open_set(options.data, split) for split in splits]
    with progress_bar(options.data) as progress:
        written = write_set(options.data, sets, options.out, options.scenes, options.overwrite, progress)
    if options.json:
        print_json(written.to_json())
    else:
        counts = ", ".join(f"{count} {split}" for split, count in written.scenes.items())
        console().print(f"{written.index}: {counts}, {written.bytes / 1e6:.0f} MB")


def print_written(written: ProduceFiles) -> None:
    """The files of Produce-23, and the published reference points."""
    from rich.table import Table

    out = console()
    for name, file in written.files.items():
        size = f"{file.scenes} scenes, {file.bytes / 1e6:.0f} MB"
        out.print(f"{written.out / name}: {size}, SHA-256 {file.sha256}")
    references = written.references["references"]
    metrics = list(dict.fromkeys(metric for row in references.values() for metric in row))
    table = Table(f"reference points, {written.references['split']} split", *metrics)
    for name, row in references.items():
        table.add_row(name, *(f"{row[metric]:.4g}" if metric in row else "–" for metric in metrics))
    out.print(table)


def print_check(check: Check) -> None:
    """The outcome of ``check_set`` as a table, and everything that is wrong."""
    from rich.table import Table

    out = console()
    out.print(f"{check.name}: {check.layout}")
    table = Table("")
    for split in check.splits:
        table.add_column(split, justify="right")
    splits = list(check.splits.values())
    for row, cell in ROWS.items():
        cells = [cell(statistics) for statistics in splits]
        if set(cells) != {"–"}:
            table.add_row(row, *cells)
    if check.class_names:
        table.add_section()
        for index, name in enumerate(check.class_names):
            table.add_row(f"{index} {name}, pixels", *(f"{statistics.pixels[name]:,}" for statistics in splits))
        table.add_row("unlabelled, pixels", *(f"{statistics.unlabelled:,}" for statistics in splits))
    out.print(table)
    for title, lines in (("note", check.notes), ("wrong", check.problems)):
        for line in lines:
            out.print(f"{title}: {line}")
    count = len(check.problems)
    out.print("nothing is wrong" if not count else f"{count} {'thing is' if count == 1 else 'things are'} wrong")


def counted(counts: Counter[str]) -> str:
    """``a`` if all are the same, else the count of each."""
    if len(counts) == 1:
        return next(iter(counts))
    return "\n".join(f"{count} × {value}" for value, count in counts.most_common()) or "–"


def value_range(statistics: SplitStatistics) -> str:
    if statistics.low > statistics.high:
        return "–"
    return f"{statistics.low:.4g} … {statistics.high:.4g}"


ROWS = {
    "scenes": lambda statistics: str(statistics.scenes),
    "files": lambda statistics: str(statistics.files or "–"),
    "bands × rows × columns": lambda statistics: counted(statistics.shapes),
    "stored as": lambda statistics: counted(statistics.types),
    "values": value_range,
    "above 1": lambda statistics: f"{statistics.above_one / statistics.values:.1%}" if statistics.values else "–",
    "without data": lambda statistics: str(statistics.missing),
    "label maps": lambda statistics: counted(statistics.labels),
    "orientation": lambda statistics: counted(statistics.orientations),
}
