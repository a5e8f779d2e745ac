"""``crsdun data``: data sets checked and made."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import console, progress_bar

if TYPE_CHECKING:
    from crsdun.scenes.dataset_check import Check, SplitFacts


def add(commands: Commands) -> None:
    """The commands and their options."""
    data = commands.add_parser("data", help="Check a data set, or make one.", description="Check or make a data set.")
    verbs = data.add_subparsers(required=True, metavar="check|make")
    check = command(verbs, "check", run_check, "Look at every file of a data set: one table, and all that is wrong.")
    check.add_argument(
        "source",
        metavar="DATA",
        help="folder of FVgNET or written by data make, .yaml that describes your own, produce, indian-pines",
    )
    check.add_argument(
        "--manifest", type=Path, help="file of SHA-256 hashes: compared with if it exists, else written"
    )
    overwrite_option(check)
    make = verbs.add_parser("make", help="Make a data set.", description="Make a data set.")
    sets = make.add_subparsers(required=True, metavar="produce")
    produce = command(sets, "produce", run_make, "Produce-23, the open benchmark: train, validation and test scenes.")
    produce.add_argument("--out", type=Path, required=True, help="folder for the files")
    overwrite_option(produce)


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
        print(json.dumps(dataset_check.as_plain(check) | {"manifest": differences}))
    else:
        print_check(check)
        out = console()
        for what, names in differences.items():
            for name in names:
                out.print(f"{what} since {manifest}: {name}", markup=False)
        if manifest is not None:
            done = "compared with" if compared else "written to"
            out.print(f"{len(check.hashes)} hashes {done} {manifest}", markup=False)
    return 1 if check.problems or any(differences.values()) else 0


def run_make(options: argparse.Namespace) -> None:
    from crsdun.scenes.produce import make_produce

    with progress_bar("produce") as progress:
        facts = make_produce(options.out, options.overwrite, progress)
    if options.json:
        print(json.dumps(facts))
    else:
        print_made(facts)


def print_made(facts: dict[str, Any]) -> None:
    """What was written, and what others reached on it."""
    from rich.table import Table

    out = console()
    for name, file in facts["files"].items():
        size = f"{file['scenes']} scenes, {file['bytes'] / 1e6:.0f} MB"
        out.print(f"{Path(facts['out'], name)}: {size}, SHA-256 {file['sha256']}", markup=False)
    told = facts["references"]
    rows = told["references"]
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    table = Table(f"reference points, {told['split']} split", *measures)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[measure]:.4g}" if measure in row else "–" for measure in measures))
    out.print(table)


def print_check(check: Check) -> None:
    """What ``check_set`` found, for a person."""
    from rich.table import Table

    out = console()
    out.print(f"{check.name}: {check.layout}", markup=False)
    table = Table("")
    for split in check.splits:
        table.add_column(split, justify="right")
    splits = list(check.splits.values())
    for row, told in ROWS.items():
        cells = [told(facts) for facts in splits]
        if set(cells) != {"–"}:
            table.add_row(row, *cells)
    if check.class_names:
        table.add_section()
        for index, name in enumerate(check.class_names):
            table.add_row(f"{index} {name}, pixels", *(f"{facts.pixels[name]:,}" for facts in splits))
        table.add_row("unlabelled, pixels", *(f"{facts.unlabelled:,}" for facts in splits))
    out.print(table)
    for title, lines in (("note", check.notes), ("wrong", check.problems)):
        for line in lines:
            out.print(f"{title}: {line}", markup=False)
    found = len(check.problems)
    out.print("nothing is wrong" if not found else f"{found} {'thing is' if found == 1 else 'things are'} wrong")


def several(counts: Counter[str]) -> str:
    """``a`` if all are the same, else how many there are of each."""
    if len(counts) == 1:
        return next(iter(counts))
    return "\n".join(f"{count} × {what}" for what, count in counts.most_common()) or "–"


def value_range(facts: SplitFacts) -> str:
    if facts.values == facts.broken:
        return "–"
    return f"{facts.low:.4g} … {facts.high:.4g}"


ROWS = {
    "scenes": lambda facts: str(facts.scenes),
    "files": lambda facts: str(facts.files or "–"),
    "bands × rows × columns": lambda facts: several(facts.shapes),
    "stored as": lambda facts: several(facts.types),
    "values": value_range,
    "above 1": lambda facts: f"{facts.above_one / facts.values:.1%}" if facts.values else "–",
    "NaN or infinite": lambda facts: str(facts.broken),
    "label maps": lambda facts: several(facts.labels),
    "cubes lie": lambda facts: several(facts.orientations),
}
