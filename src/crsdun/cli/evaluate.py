"""``crsdun evaluate``: how good a method is on a data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from crsdun.cli.cluster import check_cluster, cluster_options, joined
from crsdun.cli.options import (
    DATA_NAMES,
    SOLVER_NAMES,
    Commands,
    camera_from,
    command,
    device_from,
    device_option,
    exposure_from,
    exposure_options,
    overwrite_option,
    solver_options,
    solver_settings,
    wavelengths,
)
from crsdun.cli.printing import console, print_json, progress_bar, progress_lines
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.evaluation import Evaluation
    from crsdun.evaluation.evaluator import JudgedScene
    from crsdun.experiments.evaluation_folder import EvaluationRun
    from crsdun.networks import Network
    from crsdun.optics import ClassCalibration


def add(commands: Commands) -> None:
    """The command and its options."""
    evaluate = command(commands, "evaluate", run, "Evaluate a network or a solver on a split of a data set.")
    evaluate.add_argument(
        "weights",
        help="a trained network (name of shipped weights, .safetensors, .onnx, .xml, hf://owner/name), or a method "
        f"without training: {SOLVER_NAMES}, or one from a plugin",
    )
    evaluate.add_argument(
        "data", help=f"{DATA_NAMES}, a data set from a plugin, a folder, or a .yaml file that describes one"
    )
    evaluate.add_argument(
        "--split", help="train, validation or test (default: test; --calibrate requires validation)"
    )
    evaluate.add_argument(
        "--protocol",
        default="crsdun",
        help="how PSNR and SSIM are computed: crsdun (the paper's, default), mst (8 bit, mean over bands) or float "
        "(mean over bands)",
    )
    evaluate.add_argument("--first", type=int, metavar="N", help="evaluate only the first N scenes")
    evaluate.add_argument("--cubes-only", action="store_true", help="do not evaluate the classes")
    evaluate.add_argument(
        "--step", type=float, help="dispersion in pixels per band (default: that of the weights, or 2)"
    )
    evaluate.add_argument(
        "--wavelengths",
        type=wavelengths,
        help="resample the scenes to these bands first: a list in nm, a range and count (400-700:31), nbk7 or kaist",
    )
    exposure_options(evaluate)
    solver_options(evaluate)
    device_option(evaluate)
    evaluate.add_argument(
        "--calibrate",
        type=Path,
        metavar="FILE",
        help="first calibrate the confidences of the class map on these scenes, and write the calibrated weights to "
        "this file (.safetensors), which with --overwrite may be that of the weights themselves",
    )
    evaluate.add_argument("--out", type=Path, required=True, help="folder for tables and pictures")
    overwrite_option(evaluate)
    cluster_options(evaluate)


def run(options: argparse.Namespace) -> None:
    from crsdun.evaluation import calibrate
    from crsdun.networks import Network
    from crsdun.storage import check_folder

    check_cluster(options)
    check_folder(options.out, options.overwrite)
    if options.calibrate is not None:
        check_calibration(options)
    run = evaluation_of(options)
    if options.calibrate is not None:
        assert isinstance(run.method, Network)
        with progress_bar("calibrating") as progress:
            known = calibrate(run.method, run.scenes, run.exposure, run.options, progress)
        write_calibrated(run.method, known, options.calibrate)
        options.weights = str(options.calibrate)
        run = replace(run, weights=options.weights)
    with joined(options) as crew, progress_bar(run.method.name) as progress:
        judges = None
        if crew is not None:
            judges = crew.work(partial(judging, options)).results
            progress = progress or progress_lines(run.method.name)
        evaluation = run.evaluate(progress, judges)
    run.write(evaluation, options.out, options.overwrite)
    if options.json:
        print_json({"out": str(options.out), "method": evaluation.method, **evaluation.figures})
    else:
        print_evaluation(evaluation, options.out)


def evaluation_of(options: argparse.Namespace) -> EvaluationRun:
    """The evaluation that the options describe, with its method and its scenes."""
    from crsdun.evaluation import EvaluationOptions
    from crsdun.experiments.evaluation_folder import EvaluationRun
    from crsdun.methods import keep_freed_memory
    from crsdun.runtime import open_method
    from crsdun.runtime.simulation import scenes_for
    from crsdun.scenes import open_set

    scenes = open_set(options.data, options.split or ("test" if options.calibrate is None else "validation"))
    camera = camera_from(options)
    if options.wavelengths is not None:
        if camera is not None:
            raise InputError("a camera file already says the wavelengths", "omit <wavelengths>, or <camera>")
        scenes = scenes.on_grid(options.wavelengths)
    if camera is not None:
        scenes = scenes_for(camera, scenes)
    device = device_from(options.device)
    step = options.step if camera is None else camera.step
    method = open_method(options.weights, device, step=step, **solver_settings(options))
    keep_freed_memory()
    exposure = exposure_from(options, method.card.step if options.step is None else options.step, camera)
    how = EvaluationOptions(options.protocol, device, options.first, options.cubes_only)
    return EvaluationRun(method, scenes, exposure, how, options.weights)


def judging(options: argparse.Namespace) -> Callable[[int], JudgedScene]:
    """What a worker does for each scene, made there from the same options."""
    return evaluation_of(options).judge


def check_calibration(options: argparse.Namespace) -> None:
    """Raise an InputError unless the weights can be calibrated and written to where the options say."""
    from crsdun.networks import find_weights
    from crsdun.storage import check_file

    if options.calibrate.suffix != ".safetensors":
        raise InputError(f"calibrated weights go into a .safetensors file, not {options.calibrate}")
    if find_weights(options.weights).suffix != ".safetensors":
        raise InputError(
            f"{options.weights} is no file of weights (.safetensors), which alone can be calibrated",
            "calibrate the weights, then export them",
        )
    if options.cubes_only:
        raise InputError("without classes there is nothing to calibrate", "omit <cubes_only>")
    check_file(options.calibrate, options.overwrite)


def write_calibrated(network: Network, known: ClassCalibration, path: Path) -> None:
    """Give a network its calibration, and write it to a file."""
    from crsdun.networks import save

    save(network, path, calibration=known)
    network.card = replace(network.card, calibration=known)


def print_evaluation(evaluation: Evaluation, out: Path) -> None:
    """A row for each figure, a column for each stage; then what the numbers are."""
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
    if evaluation.doubtful:
        first = evaluation.doubtful[0]
        printed.print(
            f"WARNING: do not rely on {len(evaluation.doubtful)} of {len(evaluation.scenes)} scenes, such as "
            f"{first['name']}: {first['warning']}",
        )
    printed.print(f"look at {out / 'report.html'}")
