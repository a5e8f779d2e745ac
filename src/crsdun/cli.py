"""The command line: parses, calls, prints.

Exit codes: 0 done · 1 some of many measurements failed (one line each) · 2 something given cannot be used (one line
says what and the remedy) · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from crsdun import __version__
from crsdun.optics import InputError, UnitError, fitting_cameras, nbk7_wavelengths, parse_wavelengths, random_mask

if TYPE_CHECKING:
    from rich.console import Console

    from crsdun.runtime import Reconstruction
    from crsdun.scenes import Scene

Progress = Callable[[int, int], None]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (InputError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # whoever read our output has gone: nothing to say
            return 0
        print(f"crsdun: {_reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("crsdun: interrupted; nothing is half-written", file=sys.stderr)
        return 130


def _reason(error: Exception) -> str:
    return "the memory does not suffice for this size" if isinstance(error, MemoryError) else str(error)


# -- what can be typed -----------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message:
            message += "; a value that begins with a minus is written with =, as in --offsets=-4,-2,0"
        print(f"crsdun: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = _Parser(
        prog="crsdun",
        description="Snapshot spectral imaging (CASSI): a hyperspectral cube and classes from one coded exposure.",
    )
    top.add_argument("--version", action="version", version=f"crsdun {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="print one JSON object instead of words")
        return made

    reconstruct = command("reconstruct", run_reconstruct, "Decode measurements into cubes (and classes).")
    reconstruct.add_argument(
        "measurement",
        type=Path,
        nargs="+",
        help="file of the exposure: .mat .npy .npz .h5 .hdr .tif .png; or many: files, folders, patterns as '*.npz'",
    )
    reconstruct.add_argument("--key", help="name of the exposure in its file, where there are several arrays")
    reconstruct.add_argument("--mask", type=Path, help="coded aperture (default: stored with the exposure)")
    reconstruct.add_argument("--mask-key", help="name of the mask in its file")
    method = reconstruct.add_mutually_exclusive_group()
    method.add_argument("--weights", type=Path, help="a trained network: .safetensors, or exported .onnx .xml")
    method.add_argument("--method", default="admm-tv", help="without weights: admm-tv (default) or gap-tv")
    reconstruct.add_argument("--iterations", type=int, help="of the method without weights")
    _camera_options(reconstruct)
    reconstruct.add_argument("--bands", type=int, help="number of bands (default: from the two widths)")
    reconstruct.add_argument("--offsets", type=_numbers, help="displacement of each band in pixels (0,2,4,…)")
    reconstruct.add_argument("--dark", type=_frame_or_level, help="dark frame (file) or level, in counts")
    reconstruct.add_argument("--white", type=_frame_or_level, help="white reference without the mask, file or level")
    reconstruct.add_argument("--bits", type=int, help="bit depth of raw counts, where there is no white reference")
    reconstruct.add_argument("--exposure", type=float, help="exposure time relative to the white reference's")
    reconstruct.add_argument("--truth", type=Path, help="file of the true scene, for metrics; of many: their folder")
    reconstruct.add_argument("--truth-key", help="name of the true cube in its file")
    reconstruct.add_argument("--device", default="auto", help="cpu, cuda, mps (default: a GPU if there is one)")
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
    _overwrite_option(reconstruct)

    simulate = command("simulate", run_simulate, "Measure a known scene with a simulated camera.")
    simulate.add_argument("scene", help="file of the scene, or indian-pines (28 bands, nbk7)")
    simulate.add_argument("--key", help="name of the cube in its file")
    simulate.add_argument("--mask", default="random", help="file of the mask, or random, or random:SEED")
    simulate.add_argument("--mask-key", help="name of the mask in its file")
    _camera_options(simulate)
    simulate.add_argument("--photons", type=float, help="Poisson shot noise: photons where y = 1")
    simulate.add_argument("--binomial-bits", type=int, help="the field's binomial shot noise with this bit depth")
    simulate.add_argument("--read-noise", type=float, default=0.0, help="standard deviation of the read-out noise")
    simulate.add_argument("--bits", type=int, help="quantise to this bit depth")
    simulate.add_argument("--seed", type=int, default=0, help="of the noise")
    simulate.add_argument("--out", type=Path, required=True, help="file of the measurement: .npz .mat .h5 .tif")
    _overwrite_option(simulate)

    export = command("export", run_export, "Write a trained network as a file that other engines compute.")
    export.add_argument("weights", type=Path, help="a trained network (.safetensors)")
    export.add_argument("--format", choices=("onnx", "openvino", "torch"), required=True, help="of the file")
    export.add_argument("--step", type=float, help="dispersion it is for (default: that of its training, or 2)")
    export.add_argument("--out", type=Path, required=True, help="file: .onnx, .xml (openvino) or .pt2 (torch)")
    _overwrite_option(export)

    info = command("info", run_info, "What is in a file: arrays, ranges, wavelengths, cameras that would fit.")
    info.add_argument("file", type=Path)

    bench = command("bench", run_bench, "Time, memory and efficiency of the networks on this machine.")
    bench.add_argument("--quick", action="store_true", help="two small cases instead of all")
    bench.add_argument("--repetitions", type=int, default=5, help="of each case, interleaved (default: 5)")
    bench.add_argument("--out", type=Path, help="write the figures to this JSON file too")

    demo = command("demo", run_demo, "A real scene through a simulated camera and back, with pictures and metrics.")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    _overwrite_option(demo)
    return top


def _camera_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--step", type=float, help="dispersion, pixels per band; negative to the left (default: 2)")
    command.add_argument(
        "--wavelengths",
        type=_wavelengths,
        help="of the camera's bands: 450,460,… | 400-700:31 | nbk7 | kaist (nm)",
    )


def _overwrite_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace results that exist")


def _wavelengths(text: str) -> tuple[float, ...]:
    try:
        return parse_wavelengths(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(",", " ").split())


def _frame_or_level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return Path(text)


# -- what each command does ------------------------------------------------------------------------------------


def run_reconstruct(options: argparse.Namespace) -> int:
    from crsdun import runtime
    from crsdun.scenes import read_mask, read_measurement, read_scene
    from crsdun.viewing.results import write_results

    many = runtime.find_measurements(options.measurement, (options.mask, options.dark, options.white))
    if many is not None:
        runtime.check_parent(options.out)
        if options.truth is not None and not options.truth.is_dir():
            raise InputError(f"{options.truth} is no folder; give --truth DIR with one file for each measurement")
    if options.overlap is not None and options.tile is None:
        raise InputError("an --overlap is that of tiles; give --tile ROWS too")
    tiles = None if options.tile is None else runtime.Tiles(options.tile, options.overlap)
    runtime.keep_freed_memory()
    mask = None if options.mask is None else read_mask(options.mask, options.mask_key)
    calibration = {
        "dark": _frame(options.dark),
        "white": _frame(options.white),
        "bit_depth": options.bits,
        "exposure": options.exposure,
    }
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    device = _device(options.device)
    name, method = runtime.method_from(
        options.weights, options.method, device, options.engine, options.step, **settings
    )
    runtime.check_method(name, method, tiles, options.precision, device)
    memory = runtime.available_memory(device)
    notes: set[str] = set()

    def read(item: tuple[Path, Path]) -> dict[str, Any]:
        file, out = item
        runtime.check_folder(out, options.overwrite)
        measurement = read_measurement(file, options.key, options.wavelengths)
        camera = runtime.camera_for(
            measurement, mask, options.bands, options.wavelengths, options.step, options.offsets
        )
        measurement = runtime.on_scale(measurement, camera.bands, **calibration)
        truth = options.truth and read_scene(runtime.truth_of(file, options.truth), options.truth_key)
        return {"measurement": measurement, "camera": camera, "truth": truth, "out": out}

    def decode(given: dict[str, Any], progress: Progress | None = None) -> tuple[Reconstruction, Path]:
        out, camera = given.pop("out"), given["camera"]
        cut = tiles or runtime.automatic_tiles(method, camera, memory)
        if cut and cut.automatic:
            note = (
                f"crsdun: the memory does not suffice for {camera.height}×{camera.width} pixels at once: tiles of "
                f"{cut.rows} rows, overlapping by {cut.overlap} (choose with --tile)"
            )
            if note not in notes:  # once for many frames of the same size
                print(note, file=sys.stderr)
            notes.add(note)
        settings = {"device": device, "progress": progress, "tiles": cut, "precision": options.precision}
        return runtime.reconstruct(method=method, name=name, **given, **settings), out

    def write(decoded: tuple[Reconstruction, Path]) -> tuple[dict[str, Any], str]:
        write_results(*decoded, options.overwrite)
        return told(*decoded)

    if many is None:
        given = read((options.measurement[0], options.out))
        with progress_bar(name) as progress:
            decoded = decode(given, progress)
        write(decoded)
        report(*decoded, options.json)
        return 0

    outcomes = {}
    with progress_bar(name) as progress:
        items = [(file, options.out / each) for each, file in many.items()]
        for (file, out), outcome in runtime.stream(items, read, decode, write):
            outcomes[file, out.name] = outcome
            if progress is not None:
                progress(len(outcomes), len(items))
    return report_many(outcomes, options.json)


def run_simulate(options: argparse.Namespace) -> None:
    from crsdun.optics import SensorNoise
    from crsdun.runtime import simulate
    from crsdun.scenes import read_mask, write_measurement

    scene = _scene(options.scene, options.key, options.wavelengths)
    name, _, seed = options.mask.partition(":")
    if name == "random":
        height, width = scene.cube.shape[1:]
        mask = random_mask(height, width, seed=_whole(seed or "0", "--mask random:SEED"))
    else:
        mask = read_mask(options.mask, options.mask_key)
    noise = SensorNoise(
        photons=options.photons,
        binomial_bits=options.binomial_bits,
        read_sigma=options.read_noise,
        bits=options.bits,
    )
    step = 2 if options.step is None else options.step
    measurement = simulate(scene, mask, step, None if noise == SensorNoise() else noise, options.seed)
    write_measurement(measurement, options.out, options.overwrite)
    rows, columns = measurement.frame.shape
    low, high = float(measurement.frame.min()), float(measurement.frame.max())
    facts = {
        "out": str(options.out),
        "shape": [rows, columns],
        "bands": scene.bands,
        "step": step,
        "min": low,
        "max": high,
    }
    words = (
        f"{options.out}: {rows}×{columns}, {scene.bands} bands of {scene.name} at step {step:g}, "
        f"values {low:.3g} to {high:.3g}, the mask beside it"
    )
    tell(facts, words, options.json)


def run_export(options: argparse.Namespace) -> None:
    from crsdun.networks import load
    from crsdun.runtime import export

    exported = export(load(options.weights), options.out, options.format, options.step, options.overwrite)["export"]
    words = (
        f"{options.out}: {options.weights.name} for {options.format}, step {exported['step']:g}, scenes from "
        f"{exported['smallest']}×{exported['smallest']} on"
    )
    tell({"out": str(options.out), **exported}, words, options.json)


def run_info(options: argparse.Namespace) -> None:
    from crsdun.scenes import describe

    described = describe(options.file)
    arrays = described.get("arrays", [])
    scene_width = next((array["shape"][-1] for array in arrays if array["looks_like"] == "mask"), None)
    for array in arrays:
        if array["looks_like"] == "measurement":
            # Without its mask, a scene as wide as it is high.
            fits = fitting_cameras(scene_width or array["shape"][0], array["shape"][1])
            array["fitting_cameras"] = [{"bands": bands, "step": step} for bands, step in fits]
    if options.json:
        print(json.dumps(described))
    else:
        print_info(described)


def run_demo(options: argparse.Namespace) -> None:
    from crsdun.runtime import camera_for, check_folder, method_from, reconstruct, simulate
    from crsdun.scenes import indian_pines
    from crsdun.viewing.results import write_results

    check_folder(options.out, options.overwrite)
    scene = indian_pines(nbk7_wavelengths())
    measurement = simulate(scene, random_mask(scene.cube.shape[1], scene.cube.shape[2]))
    camera = camera_for(measurement)
    name, method = method_from(method="gap-tv")
    with progress_bar(name) as progress:
        result = reconstruct(measurement, camera, method, name, truth=scene, progress=progress)
    write_results(result, options.out, options.overwrite)
    report(result, options.out, options.json)


def run_bench(options: argparse.Namespace) -> None:
    from crsdun.bench import CASES, QUICK_CASES, benchmark

    with progress_bar("bench") as progress:
        figures = benchmark(QUICK_CASES if options.quick else CASES, options.repetitions, progress)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    if options.json:
        print(json.dumps(figures))
    else:
        print_figures(figures)


# -- what a command line names ---------------------------------------------------------------------------------


def _scene(text: str, key: str | None, wavelengths: tuple[float, ...] | None) -> Scene:
    """A scene by file or name, on the wavelengths asked for (those of its bands where the file tells none)."""
    from crsdun.scenes import indian_pines, read_scene

    if text == "indian-pines":
        return indian_pines(wavelengths or nbk7_wavelengths())
    if wavelengths is None:
        return read_scene(text, key)
    try:
        scene = read_scene(text, key)
    except UnitError:
        return read_scene(text, key, wavelengths)
    return read_scene(text, key, wavelengths) if scene.wavelengths is None else scene.resampled(wavelengths)


def _frame(value: Any) -> Any:
    """A calibration frame from its file, or the level itself."""
    from crsdun.scenes import read_measurement

    return read_measurement(value).frame if isinstance(value, Path) else value


def _whole(text: str, what: str) -> int:
    if not text.isdigit():
        raise InputError(f"{what} takes a whole number, not {text!r}")
    return int(text)


def _device(name: str) -> str:
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
    raise InputError(f"the device {name!r} cannot be used here; try --device cpu")


# -- what is printed -------------------------------------------------------------------------------------------


def tell(facts: dict[str, Any], words: str, as_json: bool) -> None:
    """The result for a machine or for a person."""
    print(json.dumps(facts) if as_json else words)


def report(result: Reconstruction, out: Path, as_json: bool) -> None:
    """Where the results are and how good they are."""
    facts, words = told(result, out)
    tell(facts, f"{words}\nlook at {out / 'overview.png'}", as_json)


def report_many(outcomes: dict[tuple[Path, str], Any], as_json: bool) -> int:
    """What became of each (file, name): as ``told``, or why it failed, on standard error; returns the exit code."""
    results, failed, lines, reasons = [], [], [], []
    for (file, name), outcome in outcomes.items():
        if isinstance(outcome, Exception):
            failed.append({"name": name, "file": str(file), "reason": _reason(outcome)})
            reasons.append(f"crsdun: {file}: {_reason(outcome)}")
        else:
            results.append({"name": name, "file": str(file), **outcome[0]})
            lines.append(outcome[1])
    lines.append(f"{len(results)} of {len(outcomes)} measurements reconstructed")
    tell({"results": results, "failed": failed}, "\n".join(lines), as_json)
    for reason in reasons:
        print(reason, file=sys.stderr)
    return 1 if failed else 0


def told(result: Reconstruction, out: Path) -> tuple[dict[str, Any], str]:
    """The figures of one reconstruction and where it is, for a machine and, in one line, for a person."""
    metrics, record = result.metrics, result.record
    height, width = result.scene.cube.shape[1:]
    words = (
        f"{out}: {result.scene.bands} bands of {height}×{width} by {record['method']} in {record['seconds']:.1f} s, "
        f"data residual {metrics['data_residual']:.2%}"
    )
    if "psnr_db" in metrics:
        ssim = "" if metrics["ssim"] is None else f", SSIM {metrics['ssim']:.3f}"
        words += f"; PSNR {metrics['psnr_db']:.2f} dB{ssim}, SAM {metrics['sam_deg']:.2f}° ({metrics['protocol']})"
    if "miou" in metrics:
        words += f", mIoU {metrics['miou']:.3f}"
    return {"out": str(out), "method": record["method"], "seconds": record["seconds"], **metrics}, words


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the time left on standard error; nothing when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _console() -> Console:
    """Standard output, with room for a table where it is no terminal."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(soft_wrap=True, highlight=False, width=None if terminal else 120)


def print_figures(figures: dict[str, Any]) -> None:
    """The table of ``benchmark``."""
    from rich.table import Table

    table = Table("case", "seconds", "fastest–slowest", "peak MB", "efficiency")
    for row in figures["rows"]:
        peak = "–" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
        spread = f"{row['fastest']:.2f}–{row['slowest']:.2f}"
        table.add_row(row["case"], f"{row['seconds']:.2f}", spread, peak, f"{row['efficiency']:.2f}")
    console = _console()
    console.print(table)
    console.print(
        f"R = {figures['rate_gflops_before']:.0f} GFLOP/s before, {figures['rate_gflops_after']:.0f} after; "
        f"{figures['threads']} threads; crsdun {figures['crsdun']}, torch {figures['torch']}"
    )


def print_info(described: dict[str, Any]) -> None:
    """What ``describe`` found, for a person."""
    from rich.table import Table

    console = _console()
    console.print(f"{described['path']}: {described['format']}", markup=False)
    if described.get("looks_like") == "weights":
        console.print(f"weights: {described['parameters']:,} values in {described['tensors']} tensors")
    else:
        table = Table("array", "shape", "type", "min", "max", "mean", "NaN/inf", "looks like")
        for array in described["arrays"]:
            numbers = ["–" if array[name] is None else f"{array[name]:.4g}" for name in ("min", "max", "mean")]
            shape, broken = "×".join(map(str, array["shape"])), str(array["nan"] + array["inf"])
            table.add_row(array["key"], shape, array["dtype"], *numbers, broken, array["looks_like"])
        console.print(table)
        for array in described["arrays"]:
            fits = array.get("fitting_cameras", [])[:6]
            if fits:
                masked = any(other["looks_like"] == "mask" for other in described["arrays"])
                words = ", ".join(f"{fit['bands']} bands at step {fit['step']}" for fit in fits)
                scene = "behind its mask" if masked else "if the scene is square"
                console.print(f"{array['key']}, {scene}: {words}", markup=False)
        told = described["wavelengths"]
        if told and "problem" in told:
            console.print(f"wavelengths: {told['problem']}", markup=False)
        elif told:
            console.print(f"wavelengths: {told['number']}, from {told['first']:g} to {told['last']:g} nm")
    if described["metadata"]:
        console.print(json.dumps(described["metadata"], indent=2, ensure_ascii=False), markup=False)
