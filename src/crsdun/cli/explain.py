"""``crsdun explain``: what a network does inside with one measurement."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, measurement_options, overwrite_option
from crsdun.cli.printing import console
from crsdun.cli.reconstruct import device_from, pipeline_from

if TYPE_CHECKING:
    from crsdun.runtime import Explanation, RegionAttention

FIGURES = {
    "data_residual": ("residual", "{:.2%}"),
    "psnr_to_answer_db": ("PSNR against the answer", "{:.2f} dB"),
    "same_class_as_answer": ("class as in the answer", "{:.1%}"),
    "psnr_db": ("PSNR", "{:.2f} dB"),
    "miou": ("mIoU", "{:.3f}"),
}
CHOSEN = 3  # pixels, where nobody asks about one


def add(commands: Commands) -> None:
    """The command and its options."""
    explain = command(commands, "explain", run, "Where a network looks, and how its estimate grows stage by stage.")
    explain.add_argument("measurement", type=Path, help="file of the exposure: .mat .npy .npz .h5 .hdr .tif .png")
    explain.add_argument(
        "--weights", type=Path, required=True, help="a trained network: the name of shipped weights, or .safetensors"
    )
    explain.add_argument(
        "--pixel",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("ROW", "COLUMN"),
        help=f"where does the network look for this pixel? May be repeated (default: {CHOSEN} different ones)",
    )
    explain.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="where does it look for the pixels of this class, on average? May be repeated",
    )
    measurement_options(explain)
    explain.add_argument("--out", type=Path, required=True, help="folder for pictures and explanation.json")
    overwrite_option(explain)


def run(options: argparse.Namespace) -> None:
    from crsdun import runtime
    from crsdun.methods.memory import keep_freed_memory
    from crsdun.storage import RECORD, atomic_folder, check_folder, write_json
    from crsdun.viewing import select_pixels
    from crsdun.viewing.explanation_figures import attention_sheet, stage_sheet

    check_folder(options.out, options.overwrite)
    keep_freed_memory()
    device = device_from(options.device)
    name, network = options.weights.name, runtime.open_engine(options.weights, device=device)
    given = pipeline_from(options, None, device=device).read(options.measurement)
    explanation = runtime.explain(given.measurement, given.camera, network, name, given.truth, device)

    asked: list[RegionAttention] = []
    if explanation.blocks:
        pixels = options.pixel
        if not pixels and not options.classes:
            pixels = select_pixels(explanation.answer.cube, CHOSEN)
        asked += [explanation.pixel(row, column) for row, column in pixels]
        asked += [explanation.of_class(each) for each in options.classes]
    told = facts(explanation, asked)
    with atomic_folder(options.out, options.overwrite) as folder:
        stage_sheet(explanation, folder / "stages.png")
        for looks in asked:
            attention_sheet(explanation, looks, folder / picture_name(looks))
        write_json(folder / RECORD, explanation.record)
        write_json(folder / "explanation.json", told)
    if options.json:
        print(json.dumps({"out": str(options.out), "method": name, **told}))
    else:
        print_explanation(explanation, ["stages.png", *map(picture_name, asked)], options.out)


def picture_name(looks: RegionAttention) -> str:
    return re.sub(r"\W+", "_", looks.title) + ".png"


def facts(explanation: Explanation, asked: list[RegionAttention]) -> dict[str, Any]:
    """The stages' figures and, for each question, those of every block, as plain values without the maps."""
    told = ("stage", "branch", "node", "block", "tokens", "own_class")
    return {
        "stages": [stage.figures for stage in explanation.stages],
        "looks": {
            looks.title: [{name: getattr(look, name) for name in told} for look in looks.blocks] for looks in asked
        },
    }


def print_explanation(explanation: Explanation, pictures: list[str], out: Path) -> None:
    """Stages beside each other; then where the pictures are."""
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
    if not explanation.blocks:
        printed.print("this network has no cross-aggregation: there is nothing to show of where it looks")
    for each in pictures:
        printed.print(f"look at {out / each}", markup=False)
