"""``crsdun evaluate``: how good a network or a solver is on a data set."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import console, progress_bar
from crsdun.cli.reconstruct import device_from
from crsdun.cli.simulate import whole_number

if TYPE_CHECKING:
    import numpy as np

    from crsdun.evaluation import Evaluation, SceneResult, Setup
    from crsdun.viewing.evaluation_figures import ContactSheetRow


def add(commands: Commands) -> None:
    """The command and its options."""
    evaluate = command(commands, "evaluate", run, "Judge a network or a solver on a split of a data set.")
    evaluate.add_argument(
        "weights",
        help="a trained network (the name of shipped weights, .safetensors, .onnx, .xml), or gap-tv or admm-tv",
    )
    evaluate.add_argument("data", help="produce, indian-pines, a folder of a data set, or its .yaml")
    evaluate.add_argument("--split", default="test", help="train, validation or test (default: test)")
    evaluate.add_argument(
        "--protocol",
        default="crsdun",
        help="of PSNR and SSIM: crsdun (the paper's, default), mst (8 bit, mean of bands) or float (mean of bands)",
    )
    evaluate.add_argument("--first", type=int, metavar="N", help="only the first N scenes")
    evaluate.add_argument("--cubes-only", action="store_true", help="judge no classes")
    evaluate.add_argument("--mask", default="random:0", help="file of the mask, or random:SEED (default: random:0)")
    evaluate.add_argument("--mask-key", help="name of the mask in its file")
    evaluate.add_argument("--step", type=float, help="dispersion, pixels per band (default: the weights' own, or 2)")
    evaluate.add_argument("--photons", type=float, help="Poisson shot noise: photons where y = 1")
    evaluate.add_argument("--read-noise", type=float, default=0.0, help="standard deviation of the read-out noise")
    evaluate.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    evaluate.add_argument("--iterations", type=int, help="of gap-tv and admm-tv")
    evaluate.add_argument("--device", default="auto", help="cpu, cuda, mps (default: a GPU if there is one)")
    evaluate.add_argument("--out", type=Path, required=True, help="folder for tables and pictures")
    overwrite_option(evaluate)


def run(options: argparse.Namespace) -> None:
    from crsdun import runtime
    from crsdun.evaluation import evaluate, evaluate_scene, write_tables
    from crsdun.methods.memory import keep_freed_memory
    from crsdun.networks import Network, find_weights
    from crsdun.provenance import sha256_of
    from crsdun.scenes.catalog import open_set
    from crsdun.solvers import SOLVERS
    from crsdun.storage import RECORD, atomic_folder, check_folder, write_json, write_text
    from crsdun.viewing.evaluation_figures import confusion_picture, contact_sheet
    from crsdun.viewing.evaluation_page import evaluation_page
    from crsdun.viewing.pages import PAGE

    check_folder(options.out, options.overwrite)
    scenes = open_set(options.data, options.split)
    device = device_from(options.device)
    weights = None if options.weights in SOLVERS else options.weights
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    name, method = runtime.open_method(weights, options.weights, device, step=options.step, **settings)
    keep_freed_memory()
    step = method.card.step if options.step is None and isinstance(method, Network) else options.step
    setup = setup_from(options, step=2 if step is None else step)

    with progress_bar(name) as progress:
        evaluation = evaluate(
            method,
            scenes,
            setup,
            options.protocol,
            name=name,
            device=device,
            first=options.first,
            cubes_only=options.cubes_only,
            progress=progress,
        )
    if weights is not None:
        file = find_weights(weights)
        origin = {"file": file.name, "sha256": sha256_of(file)}
        evaluation = replace(evaluation, record={**evaluation.record, "weights": origin})

    with atomic_folder(options.out, options.overwrite) as folder:
        write_tables(evaluation, folder)
        write_json(folder / RECORD, evaluation.record)
        if evaluation.confusion:
            confusion_picture(evaluation.confusion, scenes.class_names or (), folder / "confusion.png")
        # Their estimates were not kept: all scenes at once would not fit into memory.
        rows = [
            sheet_row(title, index, evaluation, evaluate_scene(method, scenes, index, setup, device))
            for title, index in worst_median_best(evaluation).items()
        ]
        contact_sheet(rows, folder / "contact_sheet.png")
        write_text(folder / PAGE, evaluation_page([folder], [options.out.name]))
    if options.json:
        print(json.dumps({"out": str(options.out), "method": name, **evaluation.figures}))
    else:
        print_evaluation(evaluation, options.out)


def setup_from(options: argparse.Namespace, step: float) -> Setup:
    """The camera that the options describe."""
    from crsdun.evaluation import Setup
    from crsdun.optics import SensorNoise
    from crsdun.scenes import read_mask

    mask: np.ndarray | None = None
    kind, _, seed = options.mask.partition(":")
    if kind != "random":
        mask = read_mask(options.mask, options.mask_key)
    return Setup(
        mask=mask,
        mask_seed=whole_number(seed or "0", "--mask random:SEED") if mask is None else 0,
        step=step,
        noise=SensorNoise(photons=options.photons, read_sigma=options.read_noise),
        noise_seed=options.seed,
    )


def worst_median_best(evaluation: Evaluation) -> dict[str, int]:
    """The places in the split of these scenes by PSNR; of fewer than three scenes all there are."""
    order = sorted(range(len(evaluation.scenes)), key=lambda index: evaluation.scenes[index]["psnr_db"])
    if len(order) < 3:
        return dict(zip(("worst", "best"), order, strict=False))
    return {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}


def sheet_row(title: str, index: int, evaluation: Evaluation, trial: SceneResult) -> ContactSheetRow:
    from crsdun.evaluation import FIGURES
    from crsdun.scenes import Scene
    from crsdun.viewing.evaluation_figures import ContactSheetRow

    row = evaluation.scenes[index]
    words = [figure.words(row[name]) for name, figure in FIGURES.items() if name in row]
    estimate = Scene(
        trial.estimate.cube[0].float().cpu().numpy(),
        wavelengths=trial.scene.wavelengths,
        classes=trial.estimate.classes[0].cpu().numpy() if evaluation.confusion else None,
    )
    return ContactSheetRow(f"{title}: {trial.name}", "   ".join(words), trial.scene, trial.frame.numpy(), estimate)


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
