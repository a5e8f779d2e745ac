"""``crsdun bench``: how fast and how small networks are on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import print_json, progress_bar

if TYPE_CHECKING:
    from crsdun.experiments.bench import Benchmark, Timing
    from crsdun.experiments.yardstick import SideBySide


def add(commands: Commands) -> None:
    """The command and its options."""
    bench = command(commands, "bench", run, "Measure time, memory and efficiency of the networks on this machine.")
    bench.add_argument("--quick", action="store_true", help="measure two small cases instead of all")
    what = bench.add_mutually_exclusive_group()
    what.add_argument(
        "--engines", action="store_true", help="also measure other engines (exporting for them takes minutes)"
    )
    what.add_argument(
        "--against",
        metavar="NAME",
        help="measure beside the network of benchmarks/NAME.py in a clone of the repository: plain, the same network "
        "as anyone would write it, with one thread and with all",
    )
    bench.add_argument("--repetitions", type=int, default=5, help="number of repetitions of each case (default: 5)")
    bench.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    overwrite_option(bench)


def run(options: argparse.Namespace) -> None:
    from crsdun.storage import check_file, write_json

    if options.out is not None:
        check_file(options.out, options.overwrite)
    measured: Benchmark | SideBySide
    with progress_bar("bench") as progress:
        if options.against is None:
            from crsdun.experiments.bench import CASES, ENGINE_CASES, QUICK_CASES, benchmark

            cases = (QUICK_CASES if options.quick else CASES) + (ENGINE_CASES if options.engines else ())
            measured = benchmark(cases, options.repetitions, progress)
            text = benchmark_text(measured)
        else:
            from crsdun.experiments.yardstick import FULL, QUICK, side_by_side

            plan = QUICK if options.quick else FULL
            measured = side_by_side(options.against, plan, options.repetitions, progress)
            text = side_by_side_text(measured)
    if options.out is not None:
        write_json(options.out, measured.plain())
    if options.json:
        print_json(measured.plain())
    else:
        print(text)


def benchmark_text(measured: Benchmark) -> str:
    """A row for each case; then how the costs grow with the size, and the machine's own rate."""
    from crsdun.evaluation.tables import markdown

    rows = [["case", "seconds", "fastest–slowest", "peak MB", "above the model", "efficiency"]]
    for row in measured.rows:
        peaks = [megabytes(peak) for peak in (row.timing.peak_mb, row.peak_above_model_mb)]
        rows.append([row.case.name, *seconds(row.timing), *peaks, f"{row.efficiency:.2f}"])
    values = measured.plain()
    notes = [
        f"{case}, per pixel relative to 256×256: "
        + ", ".join(f"{what.replace('_', ' ')} {ratio:.2f}" for what, ratio in ratios.items())
        for case, ratios in values["scaling"].items()
    ]
    rate = rate_text(measured.rate_before, measured.rate_after)
    notes.append(f"{rate}; {values['threads']} threads; {machine_text(values)}")
    return markdown(rows, "\n".join(notes)).rstrip()


def side_by_side_text(measured: SideBySide) -> str:
    """A row for each case and number of threads, and for each solver; then the machine's own rates."""
    from crsdun.evaluation.tables import markdown

    name = measured.against
    rows = [["case", "threads", f"{name}, s", "ours, s", "ratio", "efficiency", f"{name}, MB", "ours, MB", "ratio"]]
    for row in measured.networks:
        both = [row.theirs.timing, row.ours.timing]
        times = ["{} ({})".format(*seconds(timing)) for timing in both]
        memory = "–" if row.memory_ratio is None else f"{row.memory_ratio:.2f}"
        figures = [*times, f"{row.time_ratio:.2f}", f"{row.ours.efficiency:.2f}"]
        figures += [*(megabytes(timing.peak_mb) for timing in both), memory]
        rows.append([row.ours.case.name, str(row.threads), *figures])
    text = "\n".join(
        (
            f"s: median (fastest–slowest); ratio: {name} / ours, median of the repetitions; MB: peak of memory",
            *(
                f"{threads} thread{'s' if threads > 1 else ''}: {rate_text(*rates)}"
                for threads, rates in measured.rates.items()
            ),
            machine_text(measured.plain()),
        )
    )
    if measured.solvers:
        step = f"{name} A and Aᵀ"
        solvers = [["one iteration", "threads", "ms", "fastest–slowest", f"{step}, ms", f"relative to {step}"]]
        for each in measured.solvers:
            spread = f"{each.fastest:.2f}–{each.slowest:.2f}"
            figures = [f"{each.milliseconds:.2f}", spread, f"{each.camera_milliseconds:.2f}", f"{each.ratio:.2f}"]
            solvers.append([each.solver, str(each.threads), *figures])
        text = markdown(solvers, text)
    return markdown(rows, text).rstrip()


def seconds(timing: Timing) -> list[str]:
    """The median, and the spread."""
    return [f"{timing.seconds:.2f}", f"{timing.fastest:.2f}–{timing.slowest:.2f}"]


def megabytes(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def rate_text(before: float, after: float) -> str:
    return f"R = {before:.0f} GFLOP/s before, {after:.0f} after"


def machine_text(values: dict[str, Any]) -> str:
    kernels = "with kernels in C" if values["kernels"] else "without kernels in C"
    return f"crsdun {values['crsdun']} {kernels}, torch {values['torch']}; {values['processor']}"
