"""``crsdun reconstruct``: measurements into cubes (and classes)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, device_from, measurement_options, overwrite_option, pipeline_from
from crsdun.cli.printing import error_line, notify, print_result, progress_bar, result_line, summary
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.methods import RunOptions
    from crsdun.runtime import PreparedMeasurement, Reconstruction


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
        help="a trained network: name of shipped weights, .safetensors, or exported .onnx or .xml (default: shipped "
        "weights that fit the camera, or else admm-tv)",
    )
    method.add_argument("--method", help="a method without weights: admm-tv, gap-tv, or one from a plugin")
    reconstruct.add_argument("--iterations", type=int, help="number of iterations of a method without weights")
    measurement_options(reconstruct)
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
        "--out",
        type=Path,
        required=True,
        help="folder for the results; with several measurements, one in it for each",
    )
    overwrite_option(reconstruct)


def run(options: argparse.Namespace) -> int:
    from crsdun import runtime
    from crsdun.methods import keep_freed_memory
    from crsdun.provenance import command as command_line
    from crsdun.solvers import SOLVERS
    from crsdun.storage import check_folder
    from crsdun.viewing.result_folder import write_results

    many = runtime.find_measurements(options.measurement, (options.mask, options.dark, options.white))
    if many is not None:
        runtime.check_parent(options.out)
        runtime.check_truth_folder(options.truth)
    keep_freed_memory()
    run_options = run_options_from(options)
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    method = None
    if options.method:
        SOLVERS.find(options.method)  # raises an InputError that names those there are
    if options.weights or options.method or settings:
        name = options.weights or options.method or runtime.DEFAULT_SOLVER
        method = runtime.open_method(name, run_options.device, options.engine, options.step, **settings)
    pipeline = pipeline_from(options, method, run_options, options.engine)
    if many is None:
        check_folder(options.out, options.overwrite)
        prepared = pipeline.read(options.measurement[0])
        with progress_bar("decoding") as progress:
            result = pipeline.decode(prepared, progress)
        lines = f"{result_line(result, options.out)}\nlook at {options.out / 'report.html'}"
        write_results(result, options.out, options.overwrite)
        print_result(summary(result, options.out), lines, options.json)
        return 0

    made_by = command_line()

    def read(item: tuple[Path, Path]) -> tuple[PreparedMeasurement | Reconstruction, Path]:
        file, out = item
        prepared = pipeline.read(file)
        # A job that was interrupted goes on when it is run again.
        before = None if options.overwrite else runtime.finished_before(out, prepared, made_by)
        if before is None:
            check_folder(out, options.overwrite)
        return before or prepared, out

    def decode(item: tuple[PreparedMeasurement | Reconstruction, Path]) -> tuple[Reconstruction, Path, bool]:
        prepared, out = item
        if isinstance(prepared, runtime.Reconstruction):
            return prepared, out, False
        return pipeline.decode(prepared), out, True

    def write(item: tuple[Reconstruction, Path, bool]) -> tuple[dict[str, Any], str]:
        result, out, is_new = item
        printed = summary(result, out), result_line(result, out) if is_new else f"{out}: finished before"
        if is_new:
            write_results(result, out, options.overwrite)
        return printed

    outcomes = {}
    with progress_bar("decoding") as progress:
        items = [(file, options.out / name) for name, file in many.items()]
        for (file, out), outcome in runtime.stream(items, read, decode, write):
            outcomes[file, out.name] = outcome
            if progress is not None:
                progress(len(outcomes), len(items))
    return print_outcomes(outcomes, options.json)


def run_options_from(options: argparse.Namespace) -> RunOptions:
    """How the method is run."""
    from crsdun.methods import RunOptions, Tiles

    if options.overlap is not None and options.tile is None:
        raise InputError("only tiles overlap", "set <tile> too, or omit <overlap>")
    tiles = None if options.tile is None else Tiles(options.tile, options.overlap)
    return RunOptions(device_from(options.device), options.precision, tiles)


def print_outcomes(outcomes: dict[tuple[Path, str], Any], as_json: bool) -> int:
    """Print the result of each (file, name), and failures on standard error; returns the exit code."""
    results, failed, lines = [], [], []
    for (file, name), outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed.append({"name": name, "file": str(file), "reason": error_line(outcome)})
        else:
            results.append({"name": name, "file": str(file), **outcome[0]})
            lines.append(outcome[1])
    lines.append(f"{len(results)} of {len(outcomes)} measurements reconstructed")
    print_result({"results": results, "failed": failed}, "\n".join(lines), as_json)
    for failure in failed:
        notify(f"{failure['file']}: {failure['reason']}")
    return 1 if failed else 0
