"""``crsdun reconstruct``: measurements into cubes (and classes)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.cluster import check_cluster, cluster_options, joined
from crsdun.cli.large import large_frame, large_options, run_large
from crsdun.cli.options import (
    SOLVER_NAMES,
    Commands,
    command,
    device_from,
    measurement_options,
    overwrite_option,
    pipeline_from,
    preparation_from,
    solver_options,
    solver_settings,
)
from crsdun.cli.printing import (
    error_line,
    notify,
    option,
    print_result,
    progress_bar,
    progress_lines,
    result_line,
    summary,
    warning_line,
)
from crsdun.cli.sequence import check_sequence, run_sequence, sequence_options
from crsdun.errors import InputError
from crsdun.remote import Place, Remote, place
from crsdun.storage import check_file, check_folder, remove_leftovers

if TYPE_CHECKING:
    from crsdun.methods import Method, RunOptions
    from crsdun.runtime import Item, Pipeline, Preparation, Reconstruction
    from crsdun.runtime.batch import Frame
    from crsdun.viewing.frame_work import Answer, FrameWork

AUTO = "auto"  # weights that fit, or a solver


def add(commands: Commands) -> None:
    """The command and its options."""
    reconstruct = command(commands, "reconstruct", run, "Reconstruct cubes (and class maps) from measurements.")
    reconstruct.add_argument(
        "measurement",
        type=place,
        nargs="+",
        help="file of the exposure (.mat .npy .npz .h5 .hdr .tif .png), or several: files, folders, patterns like "
        "'*.npz', also at addresses like s3://bucket/frames",
    )
    how = reconstruct.add_mutually_exclusive_group()
    how.add_argument(
        "--weights",
        type=Path,
        help="a trained network: name of shipped weights, .safetensors, hf://owner/name, or exported .onnx or .xml "
        "(default: shipped weights that fit the camera and explain the frame, or else lr-tv)",
    )
    how.add_argument(
        "--method",
        dest="weights",
        metavar="METHOD",
        type=method,
        help=f"a method without training: {SOLVER_NAMES}, or one from a plugin; or weights, as for --weights; auto "
        "chooses, as without either",
    )
    solver_options(reconstruct)
    reconstruct.add_argument(
        "--checkpoint", help="file (.safetensors) in which deep-prior keeps its state, so that it can be resumed"
    )
    measurement_options(reconstruct)
    reconstruct.add_argument(
        "--refine-camera",
        action="store_true",
        help="first estimate from the exposure itself (of several, the first) how far mask, dispersion and dark "
        "level are off, and correct them",
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
        help="number format of the network's arithmetic (default: float32; the others are faster only on processors "
        "that support them)",
    )
    reconstruct.add_argument(
        "--tile",
        type=int,
        metavar="ROWS",
        help="cut the frame into tiles of this many rows for a network or lr-tv; a multiple of 32 needs no padding "
        "(default: the whole frame, if there is enough memory)",
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
        help="for calibrated weights: the share of pixels of familiar scenes that keep their class; more doubtful "
        "pixels become unknown (default: 0.95)",
    )
    reconstruct.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        default=0,
        help="decode N more times, each time withholding other detector pixels, to estimate the error of each voxel; "
        "4 is enough (default: 0)",
    )
    reconstruct.add_argument(
        "--classes",
        type=Path,
        help="a classifier made by crsdun classes, which gives the class map (docs/classes.md)",
    )
    reconstruct.add_argument(
        "--out",
        type=place,
        required=True,
        help="folder for the results, here or at an address; several measurements get a subfolder each",
    )
    overwrite_option(reconstruct)
    cluster_options(reconstruct)
    large_options(reconstruct)
    sequence_options(reconstruct)


def method(text: str) -> Path | None:
    """A method by its name, or the file of its weights; None leaves the choice."""
    return None if text == AUTO else Path(text)


def run(options: argparse.Namespace) -> int:
    from crsdun import runtime

    check_cluster(options)
    many = runtime.find_measurements(options.measurement, (options.camera, options.mask, options.dark, options.white))
    if options.on is not None:
        check_shareable(options)
        many = many or {file.stem: file for file in options.measurement}
    if many is not None and not options.sequence:
        check_places(options)
    check_sequence(options)
    preparation, method, how = preparation_from(options), *method_of(options)
    check_coverage(options, method)
    if large := large_frame(options, preparation, method, how, is_one=many is None and not options.sequence):
        pipeline = runtime.Pipeline(method, preparation, options.truth, how, options.engine, notify, option)
        return run_large(options, pipeline, large)
    pipeline = pipeline_with(options, preparation, method, how)
    if options.sequence:
        files = many or {file.stem: file for file in options.measurement}
        return run_sequence(options, pipeline, runtime.Batch(files, pipeline.preparation.open, options.frame))
    if many is not None:
        return run_batch(options, work_of(options, pipeline, many))
    (file,) = options.measurement
    exposures = pipeline.preparation.open(file)
    if len(exposures) == 1 or options.frame is not None:
        index = 0 if options.frame is None else options.frame - 1
        return run_one(options, pipeline, runtime.Item(file.stem, file, exposures, index))
    check_places(options)
    if isinstance(options.out, Remote) or options.out.is_dir():  # otherwise it is made
        from crsdun.viewing.result_folder import is_frame_sheet

        sheet = options.out / sheet_name(file.stem)
        check_file(sheet, options.overwrite or is_frame_sheet(sheet))
    work = work_of(options, pipeline, {file.stem: file})
    work.batch.open = lambda _: exposures
    return run_batch(options, work)


def method_of(options: argparse.Namespace) -> tuple[Method | None, RunOptions]:
    """The method that the options name, None where they leave the choice, and how it is run."""
    from crsdun import runtime
    from crsdun.methods import keep_freed_memory
    from crsdun.solvers import SOLVERS

    keep_freed_memory()
    run_options = run_options_from(options)
    settings = solver_settings(options)
    method = None
    if options.weights or settings:
        name = str(options.weights or runtime.DEFAULT_SOLVER)
        first = None if name in SOLVERS else runtime.first_use(name, options.engine, options.step)
        if first:
            notify(first)
        with progress_bar("exporting") if first else nullcontext() as progress:
            method = runtime.open_method(name, run_options.device, options.engine, options.step, progress, **settings)
    return method, run_options


def pipeline_of(options: argparse.Namespace) -> Pipeline:
    """The pipeline that the options describe, with its method and its classifier."""
    return pipeline_with(options, preparation_from(options), *method_of(options))


def pipeline_with(
    options: argparse.Namespace, preparation: Preparation, method: Method | None, how: RunOptions
) -> Pipeline:
    """The same from what the options have been asked for before."""
    from crsdun.classifiers import load_classifier
    from crsdun.runtime import deciding_files

    pipeline = pipeline_from(options, method, how, options.engine, preparation)
    if options.classes is not None:
        pipeline.classes = load_classifier(options.classes)
    pipeline.refine = options.refine_camera
    pipeline.files = deciding_files(options.weights, options.classes)
    return pipeline


def work_of(options: argparse.Namespace, pipeline: Pipeline, files: Mapping[str, Place]) -> FrameWork:
    """The work on each exposure of these files."""
    from crsdun.runtime import Batch
    from crsdun.viewing.frame_work import FrameWork

    batch = Batch(files, pipeline.preparation.open, options.frame)
    return FrameWork(pipeline, batch, options.out, described, options.overwrite)


def answering(options: argparse.Namespace) -> Callable[[Frame], Answer]:
    """What a worker on another machine does for each frame, made there from the same options."""
    return work_of(options, pipeline_of(options), {}).answer


def described(result: Reconstruction, out: Place, is_new: bool) -> tuple[dict[str, Any], str]:
    """What is told of a result, for a program and for a person."""
    line = result_line(result, out) if is_new else f"{out}: finished before{warning_line(result)}"
    return summary(result, out), line


def check_coverage(options: argparse.Namespace, method: Method | None) -> None:
    """Raise an InputError if no doubt can be compared with the coverage that is asked for."""
    if options.coverage is None:
        return
    if options.classes is not None:
        raise InputError("of the classes of a classifier no doubt is known", "omit <coverage>, or <classes>")
    if method is not None and method.card.calibration is None:
        raise InputError(
            f"{method.name} gives no classes whose doubt is calibrated", "omit <coverage>, or use calibrated weights"
        )


def check_places(options: argparse.Namespace) -> None:
    """Raise an InputError if results or truths of many measurements cannot lie where the options say."""
    from crsdun import runtime

    runtime.check_parent(options.out)
    runtime.check_truth_folder(options.truth)


def check_shareable(options: argparse.Namespace) -> None:
    """Raise an InputError if several machines cannot share the work, since one frame decides on others."""
    if options.sequence:
        raise InputError("the frames of a sequence depend on each other", "omit <on>, or <sequence>")
    if options.refine_camera:
        raise InputError("the camera of several exposures is refined from the first one, on one machine", "omit <on>")
    if options.checkpoint is not None:
        raise InputError("a checkpoint belongs to a single frame", "omit <on>, or <checkpoint>")


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


def run_batch(options: argparse.Namespace, work: FrameWork) -> int:
    """Reconstruct each exposure into a folder of its own, and draw a sheet over those of one file."""
    from crsdun.viewing.frame_work import write_sheet

    outcomes: dict[tuple[Place, str], Any] = {}
    stacks: dict[tuple[Place, str], list[Frame]] = {}
    with joined(options) as crew, progress_bar("decoding") as progress:
        if crew is None:
            told = work.here()
        else:
            told = work.elsewhere(crew.work(partial(answering, options)).map)
            progress = progress or progress_lines("decoding")
        for frame, outcome in told:
            outcomes[frame.file, frame.name] = outcome
            if frame.stack is not None and not isinstance(outcome, Exception):
                stacks.setdefault((frame.file, sheet_name(frame.stack)), []).append(frame)
            if progress is not None:
                progress(len(outcomes), work.batch.total)
    if options.on is not None and isinstance(options.out, Path):
        remove_leftovers(options.out)  # of workers that died
    drawn = []
    for (file, name), frames in stacks.items():
        try:
            drawn.append(write_sheet(options.out, name, frames, options.overwrite))
        except InputError as error:
            outcomes[file, name] = error
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


def print_outcomes(outcomes: dict[tuple[Place, str], Any], sheets: list[Place], as_json: bool) -> int:
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
