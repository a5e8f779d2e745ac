"""``crsdun evaluate``: how good a method is on a data set."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from crsdun.cli.options import (
    Commands,
    command,
    device_from,
    device_option,
    exposure_from,
    exposure_options,
    overwrite_option,
)
from crsdun.cli.printing import console, progress_bar

if TYPE_CHECKING:
    from crsdun.evaluation import Evaluation, SceneResult
    from crsdun.optics import ModelCard
    from crsdun.viewing.evaluation_figures import ContactSheetRow


def add(commands: Commands) -> None:
    """The command and its options."""
    evaluate = command(commands, "evaluate", run, "Judge a network or a solver on a split of a data set.")
    evaluate.add_argument(
        "weights",
        help="a trained network (the name of shipped weights, .safetensors, .onnx, .xml), gap-tv, admm-tv, or a "
        "plugin's method",
    )
    evaluate.add_argument(
        "data", help="produce, indian-pines, a plugin's data set, a folder, or a .yaml that describes one"
    )
    evaluate.add_argument("--split", default="test", help="train, validation or test (default: test)")
    evaluate.add_argument(
        "--protocol",
        default="crsdun",
        help="of PSNR and SSIM: crsdun (the paper's, default), mst (8 bit, mean of bands) or float (mean of bands)",
    )
    evaluate.add_argument("--first", type=int, metavar="N", help="only the first N scenes")
    evaluate.add_argument("--cubes-only", action="store_true", help="judge no classes")
    evaluate.add_argument("--step", type=float, help="dispersion, pixels per band (default: the weights' own, or 2)")
    exposure_options(evaluate)
    evaluate.add_argument("--iterations", type=int, help="of a method without weights")
    device_option(evaluate)
    evaluate.add_argument("--out", type=Path, required=True, help="folder for tables and pictures")
    overwrite_option(evaluate)


def run(options: argparse.Namespace) -> None:
    from crsdun import runtime
    from crsdun.evaluation import EvaluationOptions, evaluate, evaluate_scene, write_tables
    from crsdun.methods import keep_freed_memory
    from crsdun.networks import find_weights
    from crsdun.provenance import sha256_of
    from crsdun.scenes import open_set
    from crsdun.storage import RECORD, atomic_folder, check_folder, write_json, write_text
    from crsdun.viewing.evaluation_figures import confusion_picture, contact_sheet
    from crsdun.viewing.evaluation_page import evaluation_page
    from crsdun.viewing.pages import PAGE

    check_folder(options.out, options.overwrite)
    scenes = open_set(options.data, options.split)
    device = device_from(options.device)
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    method = runtime.open_method(options.weights, device, step=options.step, **settings)
    keep_freed_memory()
    exposure = exposure_from(options, method.card.step if options.step is None else options.step)
    with progress_bar(method.name) as progress:
        chosen = EvaluationOptions(options.protocol, device, options.first, options.cubes_only)
        evaluation = evaluate(method, scenes, exposure, chosen, progress)
    file = find_weights(options.weights)
    if file.is_file():
        origin = {"file": file.name, "sha256": sha256_of(file)}
        evaluation = replace(evaluation, record={**evaluation.record, "weights": origin})

    with atomic_folder(options.out, options.overwrite) as folder:
        write_tables(evaluation, folder)
        write_json(folder / RECORD, evaluation.record)
        if evaluation.confusion:
            confusion_picture(evaluation.confusion, scenes.class_names or (), folder / "confusion.png")
        # Their estimates were not kept: all scenes at once would not fit into memory.
        rows = [
            sheet_row(title, index, evaluation, evaluate_scene(method, scenes, index, exposure, device), method.card)
            for title, index in worst_median_best(evaluation).items()
        ]
        contact_sheet(rows, folder / "contact_sheet.png")
        write_text(folder / PAGE, evaluation_page([folder], [options.out.name]))
    if options.json:
        print(json.dumps({"out": str(options.out), "method": evaluation.method, **evaluation.figures}))
    else:
        print_evaluation(evaluation, options.out)


def worst_median_best(evaluation: Evaluation) -> dict[str, int]:
    """The places in the split of these scenes by PSNR; of fewer than three scenes all there are."""
    order = sorted(range(len(evaluation.scenes)), key=lambda index: evaluation.scenes[index]["psnr_db"])
    if len(order) < 3:
        return dict(zip(("worst", "best"), order, strict=False))
    return {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}


def sheet_row(
    title: str, index: int, evaluation: Evaluation, result: SceneResult, card: ModelCard
) -> ContactSheetRow:
    """A row of the contact sheet."""
    from crsdun.evaluation import FIGURES
    from crsdun.viewing.evaluation_figures import ContactSheetRow

    row = evaluation.scenes[index]
    figures = "   ".join(figure.text(row[name]) for name, figure in FIGURES.items() if name in row)
    estimate = result.run.scene(result.name, card)
    if not evaluation.confusion:
        estimate = replace(estimate, classes=None)
    return ContactSheetRow(f"{title}: {result.name}", figures, result.scene, result.frame.numpy(), estimate)


def print_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Figures below each other, stages beside each other; then what the numbers are."""
    from rich.table import Table

    from crsdun.evaluation.tables import FIGURES, caption, shown

    table = Table(evaluation.method)
    for number in range(1, len(evaluation.stages)):
        table.add_column(f"stage {number}", justify="right")
    table.add_column("answer", justify="right")
    for name in shown(evaluation):
        table.add_row(FIGURES[name].label, *(FIGURES[name].number(stage.get(name)) for stage in evaluation.stages))
    printed = console()
    printed.print(table)
    printed.print(f"{caption(evaluation)}; {median(row['seconds'] for row in evaluation.scenes):.2f} s a scene")
    printed.print(f"look at {out / 'report.html'}")
