"""``crsdun explain``: what a network does inside with one measurement."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import (
    Commands,
    command,
    device_from,
    measurement_options,
    overwrite_option,
    pipeline_from,
)
from crsdun.cli.printing import console, print_json

if TYPE_CHECKING:
    from crsdun.runtime import Explanation, RegionAttention

FIGURES = {
    "data_residual": ("residual", "{:.2%}"),
    "psnr_to_answer_db": ("PSNR against the answer", "{:.2f} dB"),
    "same_class_as_answer": ("class as in the answer", "{:.1%}"),
    "psnr_db": ("PSNR", "{:.2f} dB"),
    "miou": ("mIoU", "{:.3f}"),
}
PIXELS = 3  # selected automatically if none is given


def add(commands: Commands) -> None:
    """The command and its options."""
    explain = command(
        commands, "explain", run, "Show where a network looks, and how its estimate improves stage by stage."
    )
    explain.add_argument("measurement", type=Path, help="file of the exposure: .mat .npy .npz .h5 .hdr .tif .png")
    explain.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="a trained network: name of shipped weights, .safetensors, or hf://owner/name",
    )
    explain.add_argument(
        "--pixel",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("ROW", "COLUMN"),
        help=f"show where the network looks for this pixel; may be repeated (default: {PIXELS} different ones)",
    )
    explain.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="show where it looks for the pixels of this class, on average; may be repeated",
    )
    measurement_options(explain)
    explain.add_argument("--out", type=Path, required=True, help="folder for pictures and explanation.json")
    overwrite_option(explain)


def run(options: argparse.Namespace) -> None:
    from crsdun import runtime
    from crsdun.methods import RunOptions, keep_freed_memory
    from crsdun.storage import RECORD, atomic_folder, check_folder, write_json
    from crsdun.viewing import select_pixels
    from crsdun.viewing.explanation_figures import attention_sheet, stage_sheet

    check_folder(options.out, options.overwrite)
    keep_freed_memory()
    run_options = RunOptions(device_from(options.device))
    network = runtime.open_method(options.weights, run_options.device)
    pipeline = pipeline_from(options, network, run_options)
    prepared = pipeline.read(options.measurement)
    pipeline.tell(prepared)
    explanation = runtime.explain(prepared, network, run_options)

    regions: list[RegionAttention] = []
    if explanation.blocks:
        pixels = options.pixel
        if not pixels and not options.classes:
            pixels = select_pixels(explanation.answer.cube, PIXELS)
        regions += [explanation.pixel(row, column) for row, column in pixels]
        regions += [explanation.of_class(each) for each in options.classes]
    figures = plain_figures(explanation, regions)
    with atomic_folder(options.out, options.overwrite) as folder:
        stage_sheet(explanation, folder / "stages.png")
        for region in regions:
            attention_sheet(explanation, region, folder / picture_name(region))
        write_json(folder / RECORD, explanation.result.record)
        write_json(folder / "explanation.json", figures)
    if options.json:
        print_json({"out": str(options.out), "method": network.name, **figures})
    else:
        print_explanation(explanation, ["stages.png", *map(picture_name, regions)], options.out)


def picture_name(region: RegionAttention) -> str:
    return re.sub(r"\W+", "_", region.title) + ".png"


def plain_figures(explanation: Explanation, regions: list[RegionAttention]) -> dict[str, Any]:
    """The figures of the result, its stages and every block for each region, as plain JSON without the maps."""
    names = ("stage", "branch", "node", "block", "tokens", "own_class")
    return {
        "metrics": explanation.result.metrics,
        "stages": [stage.figures for stage in explanation.stages],
        "looks": {
            region.title: [{name: getattr(maps, name) for name in names} for maps in region.blocks]
            for region in regions
        },
    }


def print_explanation(explanation: Explanation, pictures: list[str], out: Path) -> None:
    """A column for each stage; then the files of the pictures."""
    from rich.table import Table

    table = Table("")
    for k in range(1, len(explanation.stages) + 1):
        table.add_column(f"stage {k}", justify="right")
    for name, (label, form) in FIGURES.items():
        values = [stage.figures.get(name) for stage in explanation.stages]
        if any(value is not None for value in values):
            table.add_row(label, *("–" if value is None else form.format(value) for value in values))
    printed = console()
    printed.print(table)
    result = explanation.result
    if "class_note" in result.metrics:
        printed.print(result.metrics["class_note"])
    if result.warning is not None:
        printed.print(f"WARNING: do not rely on this result: {result.warning}")
    if not explanation.blocks:
        printed.print("this network has no cross-aggregation, so where it looks cannot be shown")
    for each in pictures:
        printed.print(f"look at {out / each}")
