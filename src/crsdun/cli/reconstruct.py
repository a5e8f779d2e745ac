"""``crsdun reconstruct``: measurements into cubes (and classes)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command, measurement_options, overwrite_option
from crsdun.cli.printing import progress_bar, reason, report, tell, told
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.runtime import Pipeline, PreparedMeasurement, Reconstruction


def add(commands: Commands) -> None:
    """The command and its options."""
    reconstruct = command(commands, "reconstruct", run, "Decode measurements into cubes (and classes).")
    reconstruct.add_argument(
        "measurement",
        type=Path,
        nargs="+",
        help="file of the exposure: .mat .npy .npz .h5 .hdr .tif .png; or many: files, folders, patterns as '*.npz'",
    )
    method = reconstruct.add_mutually_exclusive_group()
    method.add_argument(
        "--weights",
        type=Path,
        help="a trained network: the name of shipped weights, .safetensors, or exported .onnx .xml (default: the "
        "shipped ones that fit the camera; if none do, admm-tv)",
    )
    method.add_argument("--method", help="without weights: admm-tv or gap-tv")
    reconstruct.add_argument("--iterations", type=int, help="of the method without weights")
    measurement_options(reconstruct)
    reconstruct.add_argument(
        "--engine",
        choices=("torch", "onnxruntime", "openvino"),
        help="what computes a network (default: torch; for an exported file, what it was exported for)",
    )
    reconstruct.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of a network's products (default: float32; fewer digits are faster only where the processor has them)",
    )
    reconstruct.add_argument(
        "--tile",
        type=int,
        metavar="ROWS",
        help="cut the frame for a network into tiles of so many rows, best a multiple of 32, which needs no padding "
        "(default: whole, unless the memory would not suffice)",
    )
    reconstruct.add_argument(
        "--overlap",
        type=int,
        metavar="ROWS",
        help="that neighbouring tiles share and are blended over (default: 32, or half a lower tile)",
    )
    reconstruct.add_argument(
        "--out", type=Path, required=True, help="folder for the results; of many: one in it for each"
    )
    overwrite_option(reconstruct)


def run(options: argparse.Namespace) -> int:
    from crsdun import runtime
    from crsdun.methods.memory import keep_freed_memory
    from crsdun.storage import check_folder
    from crsdun.viewing.result_folder import write_results

    many = runtime.find_measurements(options.measurement, (options.mask, options.dark, options.white))
    if many is not None:
        runtime.check_parent(options.out)
        runtime.check_truth_folder(options.truth)
    if options.overlap is not None and options.tile is None:
        raise InputError("an --overlap is that of tiles", "give --tile ROWS too")
    keep_freed_memory()
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    device = device_from(options.device)
    method = None
    if options.weights or options.method or settings:
        solver = options.method or runtime.DEFAULT_SOLVER
        method = runtime.open_method(options.weights, solver, device, options.engine, options.step, **settings)
    decoder = pipeline_from(
        options,
        method,
        engine=options.engine,
        device=device,
        tiles=None if options.tile is None else runtime.Tiles(options.tile, options.overlap),
        precision=options.precision,
    )
    if many is None:
        check_folder(options.out, options.overwrite)
        given = decoder.read(options.measurement[0])
        with progress_bar("decoding") as progress:
            decoded = decoder.decode(given, progress)
        write_results(decoded, options.out, options.overwrite)
        report(decoded, options.out, options.json)
        return 0

    def read(item: tuple[Path, Path]) -> tuple[PreparedMeasurement, Path]:
        file, out = item
        check_folder(out, options.overwrite)
        return decoder.read(file), out

    def decode(given: tuple[PreparedMeasurement, Path]) -> tuple[Reconstruction, Path]:
        return decoder.decode(given[0]), given[1]

    def write(decoded: tuple[Reconstruction, Path]) -> tuple[dict[str, Any], str]:
        write_results(*decoded, options.overwrite)
        return told(*decoded)

    outcomes = {}
    with progress_bar("decoding") as progress:
        items = [(file, options.out / each) for each, file in many.items()]
        for (file, out), outcome in runtime.stream(items, read, decode, write):
            outcomes[file, out.name] = outcome
            if progress is not None:
                progress(len(outcomes), len(items))
    return report_many(outcomes, options.json)


def pipeline_from(options: argparse.Namespace, method: Any, **settings: Any) -> Pipeline:
    """What reads measurements as the ``measurement_options`` say."""
    from crsdun.runtime import Pipeline
    from crsdun.scenes import read_mask

    return Pipeline(
        method,
        mask=None if options.mask is None else read_mask(options.mask, options.mask_key),
        key=options.key,
        camera={name: getattr(options, name) for name in ("bands", "wavelengths", "step", "offsets")},
        calibration={
            "dark": frame_from(options.dark),
            "white": frame_from(options.white),
            "bit_depth": options.bits,
            "exposure": options.exposure,
        },
        truth=options.truth,
        truth_key=options.truth_key,
        tell=lambda note: print(f"crsdun: {note}", file=sys.stderr),
        **settings,
    )


def frame_from(value: Any) -> Any:
    """A calibration frame from its file, or the level itself."""
    from crsdun.scenes import read_measurement

    return read_measurement(value).frame if isinstance(value, Path) else value


def device_from(name: str) -> str:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        if torch.zeros(1, device=name).item() == 0:
            return name
    except (RuntimeError, AssertionError, NotImplementedError):
        pass
    raise InputError(f"the device {name!r} cannot be used here", "try --device cpu")


def report_many(outcomes: dict[tuple[Path, str], Any], as_json: bool) -> int:
    """What became of each (file, name): as ``told``, or why it failed, on standard error; returns the exit code."""
    results, failed, lines, reasons = [], [], [], []
    for (file, name), outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed.append({"name": name, "file": str(file), "reason": reason(outcome)})
            reasons.append(f"crsdun: {file}: {reason(outcome)}")
        else:
            results.append({"name": name, "file": str(file), **outcome[0]})
            lines.append(outcome[1])
    lines.append(f"{len(results)} of {len(outcomes)} measurements reconstructed")
    tell({"results": results, "failed": failed}, "\n".join(lines), as_json)
    for line in reasons:
        print(line, file=sys.stderr)
    return 1 if failed else 0
