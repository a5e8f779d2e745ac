"""The options that several commands share, and what becomes of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from crsdun.cli.printing import error_line, notify
from crsdun.errors import InputError
from crsdun.optics import parse_wavelengths

if TYPE_CHECKING:
    from crsdun.methods import Method, RunOptions
    from crsdun.optics import Exposure
    from crsdun.runtime import Pipeline

Commands = Any  # what ``add_subparsers`` returns has no public type


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message:
            message += "; write a value that begins with a minus sign with =, as in --offsets=-4,-2,0"
        print(f"crsdun: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], help: str
) -> argparse.ArgumentParser:
    """A new command, carried out by ``run``."""
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
    device_option(command)


def exposure_options(command: argparse.ArgumentParser) -> None:
    """How a scene is measured by a simulated camera."""
    command.add_argument("--mask", default="random:0", help="file of the mask, or random:SEED (default: random:0)")
    command.add_argument("--mask-key", help="name of the mask in its file")
    command.add_argument("--photons", type=float, help="Poisson shot noise: photons where y = 1")
    command.add_argument("--read-noise", type=float, default=0.0, help="standard deviation of the read-out noise")
    command.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")


def device_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="cpu, cuda, mps (default: a GPU if there is one)")


def overwrite_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace results that exist")


def wavelengths(text: str) -> tuple[float, ...]:
    try:
        return parse_wavelengths(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error_line(error)) from error


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(",", " ").split())


def frame_or_level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return Path(text)


# -- from options to the package's own objects --------------------------------------------------------------------


def exposure_from(options: argparse.Namespace, step: float | None, **noise: Any) -> Exposure:
    """The exposure that ``exposure_options`` describe, with more settings of its noise."""
    from crsdun.optics import Exposure, SensorNoise
    from crsdun.scenes import parse_mask

    return Exposure(
        parse_mask(options.mask, options.mask_key),
        step=2 if step is None else step,
        noise=SensorNoise(photons=options.photons, read_sigma=options.read_noise, **noise),
        seed=options.seed,
    )


def pipeline_from(
    options: argparse.Namespace, method: Method | None, run_options: RunOptions, engine: str | None = None
) -> Pipeline:
    """What reads measurements as the ``measurement_options`` say, and decodes them."""
    from crsdun.runtime import Pipeline, Preparation
    from crsdun.scenes import read_mask

    given = ("key", "bands", "wavelengths", "step", "offsets", "bits", "exposure", "truth_key")
    preparation = Preparation(
        mask=None if options.mask is None else read_mask(options.mask, options.mask_key),
        dark=frame_from(options.dark),
        white=frame_from(options.white),
        **{name: getattr(options, name) for name in given},
    )
    return Pipeline(method, preparation, options.truth, run_options, engine, notify)


def frame_from(value: Any) -> Any:
    """A calibration frame from its file, or the level itself."""
    from crsdun.scenes import read_measurement

    return read_measurement(value).frame if isinstance(value, Path) else value


def device_from(name: str) -> str:
    """The device to compute on; ``auto`` takes a GPU if there is one.

    Raises:
        InputError: it cannot be used here.
    """
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
    raise InputError(f"the device {name!r} cannot be used here", "set <device> to cpu")
