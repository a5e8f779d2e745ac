"""``crsdun bench``: how fast and how small networks are here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, progress_bar


def add(commands: Commands) -> None:
    """The command and its options."""
    bench = command(commands, "bench", run, "Time, memory and efficiency of the networks on this machine.")
    bench.add_argument("--quick", action="store_true", help="two small cases instead of all")
    bench.add_argument("--engines", action="store_true", help="other engines too (exporting for them takes minutes)")
    bench.add_argument("--repetitions", type=int, default=5, help="of each case, interleaved (default: 5)")
    bench.add_argument("--out", type=Path, help="write the figures to this JSON file too")


def run(options: argparse.Namespace) -> None:
    from crsdun.experiments.bench import CASES, ENGINE_CASES, QUICK_CASES, benchmark
    from crsdun.storage import write_json

    cases = (QUICK_CASES if options.quick else CASES) + (ENGINE_CASES if options.engines else ())
    with progress_bar("bench") as progress:
        figures = benchmark(cases, options.repetitions, progress)
    if options.out is not None:
        write_json(options.out, figures)
    if options.json:
        print(json.dumps(figures))
    else:
        print_figures(figures)


def print_figures(figures: dict[str, Any]) -> None:
    """The table of ``benchmark``."""
    from rich.table import Table

    table = Table("case", "seconds", "fastest–slowest", "peak MB", "above the model", "efficiency")
    for row in figures["rows"]:
        peaks = ["–" if row[key] is None else f"{row[key]:.0f}" for key in ("peak_mb", "peak_above_model_mb")]
        spread = f"{row['fastest']:.2f}–{row['slowest']:.2f}"
        table.add_row(row["case"], f"{row['seconds']:.2f}", spread, *peaks, f"{row['efficiency']:.2f}")
    out = console()
    out.print(table)
    for case, ratios in figures["scaling"].items():
        words = ", ".join(f"{what.replace('_', ' ')} {ratio:.2f}" for what, ratio in ratios.items())
        out.print(f"{case}, for each pixel relative to 256×256: {words}", markup=False)
    out.print(
        f"R = {figures['rate_gflops_before']:.0f} GFLOP/s before, {figures['rate_gflops_after']:.0f} after; "
        f"{figures['threads']} threads; crsdun {figures['crsdun']}, torch {figures['torch']}"
    )
