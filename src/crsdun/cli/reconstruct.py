"""``crsdun reconstruct``: measurements into cubes (and classes)."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import (
    Commands,
    command,
    device_from,
    measurement_options,
    overwrite_option,
    pipeline_from,
    solver_options,
    solver_settings,
)
from crsdun.cli.printing import error_line, notify, print_result, progress_bar, result_line, summary
from crsdun.cli.sequence import check_sequence, run_sequence, sequence_options
from crsdun.errors import InputError
from crsdun.storage import check_file, check_folder

if TYPE_CHECKING:
    from crsdun.methods import RunOptions
    from crsdun.runtime import Batch, Item, Pipeline, PreparedMeasurement, Reconstruction

AUTO = "auto"  # weights that fit, or a solver


def add(commands: Commands) -> None:
    """The command and its options."""
    reconstruct = command(commands, "reconstruct", run, "Reconstruct cubes (and class maps) from measurements.")
    reconstruct.add_argument(
        "measurement",
        type=Path,
        nargs="+",
        help="file of the exposure (.mat .npy .npz .h5 .hdr .tif .png), or several: files, folders, patterns like "
        "'*.npz'",
    )
    method = reconstruct.add_mutually_exclusive_group()
    method.add_argument(
        "--weights",
        type=Path,
        help="a trained network: name of shipped weights, .safetensors, hf://owner/name, or exported .onnx or .xml "
        "(default: shipped weights that fit the camera and explain the frame, or else lr-tv)",
    )
    method.add_argument(
        "--method",
        default=AUTO,
        help="a method without training: lr-tv, pnp, deep-prior, gap-tv, admm-tv, or one from a plugin (default: "
        "auto, which takes shipped weights that fit the camera and explain the frame, or else lr-tv)",
    )
    solver_options(reconstruct)
    reconstruct.add_argument(
        "--checkpoint", help="file (.safetensors) in which deep-prior keeps its state, to go on from it another time"
    )
    measurement_options(reconstruct)
    reconstruct.add_argument(
        "--refine-camera",
        action="store_true",
        help="first find from the exposure how mask, dispersion and dark level deviate from what is told; of several "
        "exposures, from the first one",
    )
    reconstruct.add_argument(
        "--engine",
        choices=("torch", "onnxruntime", "openvino"),
        help="library that runs the network (default: torch; for an exported file, the one it was exported for)",
    )
    reconstruct.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="number format of a network's products (default: float32; the others are faster only on processors that "
        "support them)",
    )
    reconstruct.add_argument(
        "--tile",
        type=int,
        metavar="ROWS",
        help="cut the frame into tiles of this many rows for a network; a multiple of 32 needs no padding (default: "
        "the whole frame, if there is enough memory)",
    )
    reconstruct.add_argument(
        "--overlap",
        type=int,
        metavar="ROWS",
        help="rows that neighbouring tiles share and blend (default: 32, or half of a smaller tile)",
    )
    reconstruct.add_argument(
        "--coverage",
        type=float,
        help="where weights are calibrated: share of the pixels of familiar scenes that keep their class; others, "
        "with more doubt, are unknown (default: 0.95)",
    )
    reconstruct.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        default=0,
        help="decode N times again, each time without other detector pixels, to estimate the error of each voxel; 4 "
        "are enough (default: 0)",
    )
    reconstruct.add_argument(
        "--classes", type=Path, help="a classifier that crsdun classes made: gives the class map (docs/classes.md)"
    )
    reconstruct.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for the results; with several measurements, one in it for each",
    )
    overwrite_option(reconstruct)
    sequence_options(reconstruct)


def run(options: argparse.Namespace) -> int:
    from crsdun import runtime
    from crsdun.classifiers import load_classifier
    from crsdun.methods import keep_freed_memory
    from crsdun.solvers import SOLVERS

    many = runtime.find_measurements(options.measurement, (options.camera, options.mask, options.dark, options.white))
    if many is not None and not options.sequence:
        check_places(options)
    check_sequence(options)
    keep_freed_memory()
    run_options = run_options_from(options)
    settings = solver_settings(options)
    method = None
    chosen = None if options.method == AUTO else options.method
    if chosen:
        SOLVERS.find(chosen)  # raises an InputError that names those there are
    if options.weights or chosen or settings:
        name = options.weights or chosen or runtime.DEFAULT_SOLVER
        first = runtime.first_use(name, options.engine, options.step) if options.weights else None
        if first:
            notify(first)
        with progress_bar("exporting") if first else nullcontext() as progress:
            method = runtime.open_method(name, run_options.device, options.engine, options.step, progress, **settings)
    pipeline = pipeline_from(options, method, run_options, options.engine)
    if options.classes is not None:
        pipeline.classes = load_classifier(options.classes)
    pipeline.refine = options.refine_camera
    if options.sequence:
        files = many or {file.stem: file for file in options.measurement}
        return run_sequence(options, pipeline, runtime.Batch(files, pipeline.preparation.open, options.frame))
    if many is not None:
        return run_batch(options, pipeline, runtime.Batch(many, pipeline.preparation.open, options.frame))
    (file,) = options.measurement
    exposures = pipeline.preparation.open(file)
    if len(exposures) == 1 or options.frame is not None:
        return run_one(options, pipeline, runtime.Item(file.stem, file, exposures, (options.frame or 1) - 1))
    check_places(options)
    if options.out.is_dir():  # otherwise it is made
        check_file(options.out / sheet_name(file.stem), options.overwrite)
    return run_batch(options, pipeline, runtime.Batch({file.stem: file}, lambda _: exposures))


def check_places(options: argparse.Namespace) -> None:
    """Raise an InputError if results or truths of many measurements cannot lie where the options say."""
    from crsdun import runtime

    runtime.check_parent(options.out)
    runtime.check_truth_folder(options.truth)


def run_one(options: argparse.Namespace, pipeline: Pipeline, item: Item) -> int:
    """Reconstruct one exposure into the folder for the results."""
    from crsdun.viewing.result_folder import write_results

    check_folder(options.out, options.overwrite)
    with progress_bar("refining the camera") if options.refine_camera else nullcontext() as progress:
        prepared = pipeline.read_item(item, progress)
    with progress_bar("decoding") as progress:
        result = pipeline.decode(prepared, progress)
    lines = f"{result_line(result, options.out)}\nlook at {options.out / 'report.html'}"
    write_results(result, options.out, options.overwrite)
    print_result(summary(result, options.out), lines, options.json)
    return 0


def run_batch(options: argparse.Namespace, pipeline: Pipeline, batch: Batch) -> int:
    """Reconstruct each exposure into a folder of its own, and draw a sheet over those of one file."""
    from crsdun import runtime
    from crsdun.provenance import command as command_line
    from crsdun.viewing.result_folder import FrameSheet, write_results

    sheets: dict[tuple[Path, str], FrameSheet] = {}

    made_by = command_line()

    def read(item: Item) -> tuple[PreparedMeasurement | Reconstruction, Item]:
        out = options.out / item.name
        prepared = pipeline.read_item(item)
        # A job that was interrupted goes on when it is run again.
        before = None if options.overwrite else runtime.finished_before(out, prepared, made_by)
        if before is None:
            check_folder(out, options.overwrite)
        return before or prepared, item

    def decode(read: tuple[PreparedMeasurement | Reconstruction, Item]) -> tuple[Reconstruction, Item, bool]:
        prepared, item = read
        if isinstance(prepared, runtime.Reconstruction):
            return prepared, item, False
        return pipeline.decode(prepared), item, True

    def write(decoded: tuple[Reconstruction, Item, bool]) -> tuple[dict[str, Any], str]:
        result, item, is_new = decoded
        out = options.out / item.name
        printed = summary(result, out), result_line(result, out) if is_new else f"{out}: finished before"
        if is_new:
            write_results(result, out, options.overwrite)
        if item.stack is not None:
            sheet = sheets.setdefault((item.file, sheet_name(item.stack)), FrameSheet(item.count))
            sheet.add(item.index, result)
        return printed

    outcomes: dict[tuple[Path, str], Any] = {}
    with progress_bar("decoding") as progress:
        for item, outcome in runtime.stream(batch, read, decode, write):
            outcomes[item.file, item.name] = outcome
            if progress is not None:
                progress(len(outcomes), batch.total)
    drawn = []
    for (file, name), sheet in sheets.items():
        try:
            sheet.write(options.out / name, options.overwrite)
        except InputError as error:
            outcomes[file, name] = error
        else:
            drawn.append(options.out / name)
    return print_outcomes(outcomes, drawn, options.json)


def sheet_name(stack: str) -> str:
    """The name of the sheet over the exposures of one file."""
    return f"{stack}.png"


def run_options_from(options: argparse.Namespace) -> RunOptions:
    """How the method is run."""
    from crsdun.methods import RunOptions, Tiles

    if options.overlap is not None and options.tile is None:
        raise InputError("only tiles overlap", "set <tile> too, or omit <overlap>")
    tiles = None if options.tile is None else Tiles(options.tile, options.overlap)
    given = {} if options.coverage is None else {"coverage": options.coverage}
    return RunOptions(device_from(options.device), options.precision, tiles, repeats=options.repeats, **given)


def print_outcomes(outcomes: dict[tuple[Path, str], Any], sheets: list[Path], as_json: bool) -> int:
    """Print the result of each (file, name), and failures on standard error; returns the exit code."""
    results, failed, lines = [], [], []
    for (file, name), outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed.append({"name": name, "file": str(file), "reason": error_line(outcome)})
        else:
            results.append({"name": name, "file": str(file), **outcome[0]})
            lines.append(outcome[1])
    lines.append(f"{len(results)} of {len(outcomes)} measurements reconstructed")
    lines += [f"look at {sheet}" for sheet in sheets]
    values = {"results": results, "failed": failed, "sheets": [str(sheet) for sheet in sheets]}
    print_result(values, "\n".join(lines), as_json)
    for failure in failed:
        notify(f"{failure['file']}: {failure['reason']}")
    return 1 if failed else 0
