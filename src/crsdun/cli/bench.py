"""``crsdun bench``: how fast and how small networks are on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, print_json, progress_bar

if TYPE_CHECKING:
    from crsdun.experiments.bench import Benchmark


def add(commands: Commands) -> None:
    """The command and its options."""
    bench = command(commands, "bench", run, "Measure time, memory and efficiency of the networks on this machine.")
    bench.add_argument("--quick", action="store_true", help="measure two small cases instead of all")
    bench.add_argument(
        "--engines", action="store_true", help="also measure other engines (exporting for them takes minutes)"
    )
    bench.add_argument("--repetitions", type=int, default=5, help="number of repetitions of each case (default: 5)")
    bench.add_argument("--out", type=Path, help="also write the figures to this JSON file")


def run(options: argparse.Namespace) -> None:
    from crsdun.experiments.bench import CASES, ENGINE_CASES, QUICK_CASES, benchmark
    from crsdun.storage import write_json

    cases = (QUICK_CASES if options.quick else CASES) + (ENGINE_CASES if options.engines else ())
    with progress_bar("bench") as progress:
        measured = benchmark(cases, options.repetitions, progress)
    if options.out is not None:
        write_json(options.out, measured.plain())
    if options.json:
        print_json(measured.plain())
    else:
        print_benchmark(measured)


def print_benchmark(measured: Benchmark) -> None:
    """A row for each case; then how the costs grow with the size, and the machine's own rate."""
    from rich.table import Table

    table = Table("case", "seconds", "fastest–slowest", "peak MB", "above the model", "efficiency")
    for row in measured.rows:
        timing = row.timing
        peaks = ["–" if peak is None else f"{peak:.0f}" for peak in (timing.peak_mb, row.peak_above_model_mb)]
        spread = f"{timing.fastest:.2f}–{timing.slowest:.2f}"
        table.add_row(row.case.name, f"{timing.seconds:.2f}", spread, *peaks, f"{row.efficiency:.2f}")
    out = console()
    out.print(table)
    values = measured.plain()
    for case, ratios in values["scaling"].items():
        growth = ", ".join(f"{what.replace('_', ' ')} {ratio:.2f}" for what, ratio in ratios.items())
        out.print(f"{case}, per pixel relative to 256×256: {growth}", markup=False)
    out.print(
        f"R = {measured.rate_before:.0f} GFLOP/s before, {measured.rate_after:.0f} after; "
        f"{values['threads']} threads; crsdun {values['crsdun']}, torch {values['torch']}"
    )
