"""What several commands take: one way to write it for all of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from crsdun.errors import InputError
from crsdun.optics import parse_wavelengths

Commands = Any  # what ``add_subparsers`` returns has no public type


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message:
            message += "; a value that begins with a minus is written with =, as in --offsets=-4,-2,0"
        print(f"crsdun: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], help: str
) -> argparse.ArgumentParser:
    """A new command that ``run`` does."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    made.set_defaults(run=run)
    made.add_argument("--json", action="store_true", help="print one JSON object instead of words")
    return made


def camera_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--step", type=float, help="dispersion, pixels per band; negative to the left (default: 2)")
    command.add_argument(
        "--wavelengths",
        type=wavelengths,
        help="of the camera's bands: 450,460,… | 400-700:31 | nbk7 | kaist (nm)",
    )


def measurement_options(command: argparse.ArgumentParser) -> None:
    """How a measurement is read: its camera, its scale, its truth."""
    command.add_argument("--key", help="name of the exposure in its file, where there are several arrays")
    command.add_argument("--mask", type=Path, help="coded aperture (default: stored with the exposure)")
    command.add_argument("--mask-key", help="name of the mask in its file")
    camera_options(command)
    command.add_argument("--bands", type=int, help="number of bands (default: from the two widths)")
    command.add_argument("--offsets", type=numbers, help="displacement of each band in pixels (0,2,4,…)")
    command.add_argument("--dark", type=frame_or_level, help="dark frame (file) or level, in counts")
    command.add_argument("--white", type=frame_or_level, help="white reference without the mask, file or level")
    command.add_argument("--bits", type=int, help="bit depth of raw counts, where there is no white reference")
    command.add_argument("--exposure", type=float, help="exposure time relative to the white reference's")
    command.add_argument("--truth", type=Path, help="file of the true scene, for metrics; of many: their folder")
    command.add_argument("--truth-key", help="name of the true cube in its file")
    command.add_argument("--device", default="auto", help="cpu, cuda, mps (default: a GPU if there is one)")


def overwrite_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace results that exist")


def wavelengths(text: str) -> tuple[float, ...]:
    try:
        return parse_wavelengths(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(",", " ").split())


def frame_or_level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return Path(text)
