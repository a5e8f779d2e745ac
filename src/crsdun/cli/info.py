"""``crsdun info``: what is in a file."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console, option, print_json, result_line
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.scenes import FileDescription

MOST_NUMBERS = 8  # of a list in one line
MOST_LETTERS = 400  # of a text, such as an array that is packed into one


def add(commands: Commands) -> None:
    """The command and its options."""
    info = command(
        commands,
        "info",
        run,
        "Show what a file holds: arrays, ranges, wavelengths, fitting cameras; for weights, what they take and know.",
    )
    info.add_argument(
        "file",
        type=Path,
        help="a file, a folder with one picture for each band, a folder of crsdun reconstruct, or weights by name or "
        "as hf://owner/name",
    )


def run(options: argparse.Namespace) -> None:
    from crsdun.scenes import WeightsDescription, describe
    from crsdun.scenes.formats import is_result_folder

    file = options.file
    if not file.exists():  # PyTorch is slow to import
        from crsdun.networks import find_weights

        file = find_weights(file)
    description = describe(file)
    if options.json:
        print_json(description.to_json())
        return
    out = console()
    if is_result_folder(file):
        print_result_folder(file)
    out.print(f"{description.path}: {description.format}")
    metadata = description.metadata
    if isinstance(description, WeightsDescription):
        out.print(f"weights: {description.parameters:,} values in {description.tensors} tensors")
        from crsdun.networks.checkpoint import HEADER

        if HEADER in metadata:
            print_network(file)
            metadata = {name: value for name, value in metadata.items() if name != HEADER}
    else:
        print_arrays(description)
    if metadata.get("kind") == "camera":
        print_camera(file)
    if metadata:
        out.print(json.dumps(shortened(metadata), indent=2, ensure_ascii=False))


def print_result_folder(folder: Path) -> None:
    """What ``crsdun reconstruct`` said of its result."""
    from crsdun.runtime import read_results
    from crsdun.scenes.formats.table import STORE

    if (folder / STORE).exists():
        console().print(f"{folder}: a folder of crsdun reconstruct, whose frame was decoded by rows")
        return
    console().print(f"{result_line(read_results(folder), folder)}\nlook at {folder / 'report.html'}")


def print_network(file: Path) -> None:
    """What weights of a network say of themselves, and how good they were."""
    from rich.table import Table

    from crsdun.evaluation import FIGURES, parameters
    from crsdun.networks import load, read_header
    from crsdun.runtime.sharing import facts, judgements

    header, count = read_header(file), None
    with suppress(InputError):  # of a package that is not installed here
        count = parameters(load(file))
    rows = facts(header, count)
    for each in judgements(header, (), file):
        figures = ", ".join(FIGURES[name].text(value) for name, value in each.figures.items())
        rows.append([each.data, f"{figures}: {each.how}"])
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    out = console()
    out.print(table)
    out.print(f"the recipe of its training, its versions and its calibration: {option('json')}")


def print_camera(file: Path) -> None:
    """What a camera file holds, and what its calibration doubted; raises an InputError where it cannot be used."""
    from crsdun.optics import read_camera

    stored = read_camera(file)
    for line in [
        f"camera: {stored.outline}",
        *stored.described()[1:],
        *(f"WARNING: {each}" for each in stored.doubts),
    ]:
        console().print(line)


def shortened(value: Any) -> Any:
    """A JSON value without the middle of very long texts."""
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        return f"{value[:20]}… ({len(value)} letters)"
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    return [shortened(each) for each in value] if isinstance(value, list) else value


def print_arrays(file: FileDescription) -> None:
    """The arrays of a file as a table, the cameras that would fit, and the wavelengths."""
    from rich.table import Table

    out = console()
    table = Table("array", "shape", "type", "min", "max", "mean", "NaN/inf", "looks like")
    for array in file.arrays:
        numbers = ["–" if value is None else f"{value:.4g}" for value in (array.min, array.max, array.mean)]
        shape, not_finite = "×".join(map(str, array.shape)), str(array.nan + array.inf)
        table.add_row(array.key, shape, array.dtype, *numbers, not_finite, array.looks_like)
    out.print(table)
    for array in file.arrays:
        if array.encoding:
            out.print(f"{array.key}, stated by the file and applied: {stated(array.encoding)}")
    for array in file.arrays:
        cameras = file.fitting_cameras(array)[:6] if array.looks_like == "measurement" else []
        if cameras:
            scene = "behind its mask" if file.first("mask") else "if the scene is square"
            fits = ", ".join(f"{bands} bands at step {step}" for bands, step in cameras)
            out.print(f"{array.key}, {scene}: {fits}")
    if file.choices:
        settings = " ".join(f"{option(name)} {key}" for name, key in file.choices.items())
        out.print(f"names do not tell which array is which; if these are right, decode it with {settings}")
    for note in file.label_notes:
        out.print(note)
    for array in file.arrays:
        if array.floor is not None:
            told = f"unlit pixels of {array.key} read about {array.floor:.3g}: subtract that with {option('dark')}"
            out.print(told)
    if file.wavelength_problem:
        out.print(f"wavelengths: {file.wavelength_problem}")
    elif file.wavelengths:
        first, last = file.wavelengths[0], file.wavelengths[-1]
        out.print(f"wavelengths: {len(file.wavelengths)}, from {first:g} to {last:g} nm")
    elif file.first("cube") or file.first("measurement"):
        such_as = "" if file.bands is None else f", such as 400-700:{file.bands}"
        out.print(f"wavelengths: not stated; give them with {option('wavelengths')}{such_as}")


def stated(encoding: dict[str, Any]) -> str:
    """What a file states about the numbers of an array, in one line; long lists only by their ends."""
    parts = []
    for name, value in encoding.items():
        values = value if isinstance(value, list) else [value]
        numbers = [
            "any" if each is None else f"{each:.9g}" if isinstance(each, float) else str(each) for each in values
        ]
        numbers = numbers[:1] if len(set(numbers)) == 1 else numbers
        if len(numbers) > MOST_NUMBERS:
            numbers = [numbers[0], "…", numbers[-1], f"({len(numbers)} of them)"]
        parts.append(f"{name.replace('_', ' ')} {' '.join(numbers)}")
    return ", ".join(parts)
