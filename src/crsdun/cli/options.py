"""The options that several commands share, and what they are turned into."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from crsdun.cli.printing import error_line, notify, option
from crsdun.errors import InputError
from crsdun.machine import best_device, check_device
from crsdun.optics import parse_wavelengths
from crsdun.remote import Place, place
from crsdun.storage import local_copy

if TYPE_CHECKING:
    from crsdun.methods import Method, RunOptions
    from crsdun.optics import CassiCamera, Exposure
    from crsdun.runtime import Pipeline, Preparation
    from crsdun.scenes import Scene

Commands = Any  # what ``add_subparsers`` returns has no public type

MOST_THREADS = 1024

# What the registries hold under these names, which are not imported for a mere --help.
SOLVER_NAMES = "lr-tv, pnp, deep-prior, gap-tv, admm-tv"
DATA_NAMES = "produce, indian-pines, patchwork, produce-wild"


CHANGE, CHANGED = "change", re.compile(r"[\w.]+=")
KEYS = ("out",)  # settings that commands with changes take among these, and others as an option


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, and takes changes of settings (``change_option``) before and after options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which takes only the words up to the next option for an argument with several words."""
        found, rest = super().parse_known_args(args, namespace)
        if hasattr(found, CHANGE):
            more = [word for word in rest if CHANGED.match(word)]
            found.change, rest = [*found.change, *more], [word for word in rest if word not in more]
        return found, rest

    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message:
            message += "; a value that begins with a minus sign needs an =, as in --offsets=-4,-2,0"
        notify(f"{message}; see {self.prog} --help")
        raise SystemExit(2)


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], help: str
) -> argparse.ArgumentParser:
    """A new command, carried out by ``run``."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    made.set_defaults(run=run)
    made.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    made.add_argument("--traceback", action="store_true", help="after an error, also print where in crsdun it arose")
    made.add_argument(
        "--memory",
        type=gigabytes,
        metavar="GB",
        help="memory limit for any one file or setting (default: a quarter of what is available)",
    )
    made.add_argument("--threads", type=thread_count, metavar="N", help="number of threads (default: one per core)")
    return made


def change_option(command: argparse.ArgumentParser, such_as: str) -> None:
    """Settings of a file that are changed, wherever they stand."""
    command.add_argument(CHANGE, nargs="*", metavar="key=value", help=f"change a setting, such as {such_as}")


def camera_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--step", type=float, help="dispersion in pixels per band; negative shifts to the left (default: 2)"
    )
    command.add_argument(
        "--wavelengths",
        type=wavelengths,
        help="wavelengths of the camera's bands in nm: 450,460,… | 400-700:31 | nbk7 | kaist, or with a "
        "unit: 0.4-0.7:31um",
    )


def solver_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--iterations", type=int, help="number of iterations of a method without weights")
    command.add_argument(
        "--effort",
        choices=("normal", "high"),
        help="high: a better cube in more time, for methods without weights that offer it (default: normal)",
    )
    command.add_argument("--minutes", type=float, help="time limit per exposure, for deep-prior")


def solver_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a method without weights that were given."""
    names = ("iterations", "effort", "minutes", "checkpoint")
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def array_options(command: argparse.ArgumentParser, array: str, more: str = "") -> None:
    """How a stored cube is read where its file leaves that open."""
    command.add_argument(
        "--axes",
        help=f"axes of {array} in its file, if they are ambiguous: hwc (height, width, bands), chw or hcw{more}",
    )
    command.add_argument(
        "--divisor",
        type=float,
        help=f"divide the stored numbers of {array} by this, such as 10000 or 4095, after any gain the file states",
    )


def scene_options(command: argparse.ArgumentParser) -> None:
    """A scene that exists, estimated or stored; ``scenes_from`` reads it."""
    command.add_argument("scene", type=Path, help="a folder of crsdun reconstruct, or a file with a cube")
    command.add_argument("--key", help="name of the cube in its file")
    command.add_argument("--wavelengths", type=wavelengths, help="wavelengths of the cube's bands, as in reconstruct")
    array_options(command, "the cube")


def scenes_from(options: argparse.Namespace) -> tuple[Scene, Scene | None]:
    """The scene of ``scene_options``, and the true one: of a folder of results, or itself where it has classes."""
    from crsdun.runtime import read_results
    from crsdun.scenes import read_scene
    from crsdun.scenes.formats import is_result_folder

    if is_result_folder(options.scene):
        result = read_results(options.scene)
        return result.scene, result.truth
    given = {"key": options.key, "wavelengths": options.wavelengths, "axes": options.axes, "divisor": options.divisor}
    scene = read_scene(options.scene, **given)
    return scene, scene if scene.classes is not None else None


def measurement_options(command: argparse.ArgumentParser) -> None:
    """How a measurement is read: its camera, its scale, its truth."""
    command.add_argument("--key", help="name of the exposure in its file, if the file holds several arrays")
    command.add_argument(
        "--frame", type=int, help="which exposure of a file that holds several, counted from 1 (default: all)"
    )
    command.add_argument(
        "--camera",
        type=place,
        metavar="FILE",
        help="camera file of crsdun calibrate (.npz), instead of --mask, --bands, --wavelengths, --step and "
        "--offsets; its dark and white are applied to raw counts",
    )
    camera_and_scale_options(command)
    command.add_argument(
        "--truth", type=Path, help="file of the true scene, to compute metrics; for several measurements, a folder"
    )
    command.add_argument("--truth-key", help="name of the true cube in its file")
    array_options(command, "the true cube", "; thw or hwt for a stack of exposures")
    command.add_argument(
        "--unlabelled", type=int, metavar="LABEL", help="label that marks unlabelled pixels of the truth, often 0"
    )
    device_option(command)


def camera_and_scale_options(command: argparse.ArgumentParser) -> None:
    """The camera of a measurement, and what its counts mean."""
    command.add_argument("--mask", type=place, help="file of the coded aperture (default: stored with the exposure)")
    command.add_argument("--mask-key", help="name of the mask in its file, or in that of the exposure")
    camera_options(command)
    command.add_argument(
        "--bands", type=int, help="number of bands (default: from the widths of measurement and mask)"
    )
    command.add_argument(
        "--offsets",
        type=offsets,
        help="displacement of each band in pixels: to the right 0,2,4,… | down and right 0:0,2:0,4:0,…",
    )
    command.add_argument(
        "--dark", type=frame_or_level, help="dark frame (a file) or dark level (a number), in counts"
    )
    command.add_argument("--white", type=frame_or_level, help="white reference without the mask: a file or a level")
    command.add_argument("--bits", type=int, help="bit depth of raw counts, if there is no white reference")
    command.add_argument("--exposure", type=float, help="exposure time relative to that of the white reference")


def exposure_options(command: argparse.ArgumentParser) -> None:
    """How a scene is measured by a simulated camera."""
    command.add_argument("--mask", help="file of the mask, or random:SEED (default: random:0)")
    command.add_argument("--mask-key", help="name of the mask in its file")
    command.add_argument(
        "--camera",
        type=Path,
        metavar="FILE",
        help="camera file of crsdun calibrate (.npz), instead of --mask and --step; scenes are resampled to its "
        "wavelengths, and smaller ones fall on its upper left part",
    )
    command.add_argument(
        "--mask-shift",
        type=numbers,
        metavar="DOWN,RIGHT",
        help="pixels by which the mask has moved since it was calibrated, unknown to the method (default: 0,0)",
    )
    command.add_argument("--photons", type=float, help="Poisson shot noise: number of photons at y = 1")
    command.add_argument(
        "--read-noise", type=float, default=0.0, help="standard deviation of the read-out noise (default: 0)"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")


def device_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="cpu, cuda or mps (default: a GPU if there is one)")


def overwrite_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace existing results")


def wavelengths(text: str) -> tuple[float, ...]:
    try:
        return parse_wavelengths(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error_line(error)) from error


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(",", " ").split())


def offsets(text: str) -> tuple[float, ...] | tuple[tuple[float, float], ...]:
    """Displacements to the right, or where any is a pair such as 2:0, all of them down and right."""
    parts = [tuple(map(float, part.split(":"))) for part in text.replace(",", " ").split()]
    if all(len(part) == 1 for part in parts):
        return tuple(part[0] for part in parts)
    if any(len(part) != 2 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither numbers (0,2,4) nor pairs (0:0,2:0,4:0)")
    return tuple((part[0], part[1]) for part in parts)


def gigabytes(text: str) -> int:
    """Bytes."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of gigabytes")
    return int(value * 1e9)


def thread_count(text: str) -> int:
    if text not in map(str, range(1, MOST_THREADS + 1)):
        raise argparse.ArgumentTypeError(f"{text} is not a number of threads from 1 to {MOST_THREADS}")
    return int(text)


def frame_or_level(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return place(text)


def refuse_without(options: argparse.Namespace, needed: str, *names: str) -> None:
    """Raise an InputError if one of the options ``names`` is given, which say more of ``needed``, but that is not."""
    for name in names:
        if getattr(options, needed) is None and getattr(options, name) is not None:
            what, of = (each.replace("_", " ") for each in (name, needed))
            raise InputError(
                f"{what} is a setting of the {of}, which was not given", f"set <{needed}> too, or omit <{name}>"
            )


# -- from options to the objects of the package -------------------------------------------------------------------


def camera_from(options: argparse.Namespace) -> CassiCamera | None:
    """The camera in the file that the ``exposure_options`` name, in place of a mask and a step."""
    from crsdun.optics import CassiCamera, read_camera

    if options.camera is None:
        return None
    for name in ("mask", "mask_key", "step"):
        if getattr(options, name) is not None:
            raise InputError(
                f"a camera file already says the {name.replace('_', ' ')}", f"omit <{name}>, or <camera>"
            )
    return CassiCamera.load(read_camera(options.camera))


def exposure_from(
    options: argparse.Namespace, step: float | None, camera: CassiCamera | None, **noise: Any
) -> Exposure:
    """The exposure that the ``exposure_options`` describe.

    Args:
        step: where there is no camera.
        camera: that of ``camera_from``.
        noise: further settings of the noise.
    """
    from crsdun.optics import Exposure, RandomMask, SensorNoise
    from crsdun.scenes import parse_mask

    moved = options.mask_shift or (0.0, 0.0)
    if len(moved) != 2:
        raise InputError(
            f"a mask moves by two numbers of pixels, down and right, not {len(moved)}", "set <mask_shift> to 0,0.5"
        )
    detector: dict[str, Any] = {
        "noise": SensorNoise(photons=options.photons, read_sigma=options.read_noise, **noise),
        "seed": options.seed,
        "moved": (moved[0], moved[1]),
    }
    if camera is not None:
        return Exposure(calibrated=camera, **detector)
    mask, bands = parse_mask("random:0" if options.mask is None else options.mask, options.mask_key)
    if options.mask_key is not None and isinstance(mask, RandomMask):
        raise InputError("a random mask has no arrays", "name its file with <mask>, or omit <mask_key>")
    return Exposure(mask, step=2 if step is None else step, mask_wavelengths=bands, **detector)


def pipeline_from(
    options: argparse.Namespace,
    method: Method | None,
    run_options: RunOptions,
    engine: str | None = None,
    preparation: Preparation | None = None,
) -> Pipeline:
    """The pipeline that reads measurements as the ``measurement_options`` say, and decodes them.

    Args:
        preparation: what ``preparation_from`` has found, if it was asked before.
    """
    from crsdun.runtime import Pipeline

    preparation = with_mask(preparation or preparation_from(options), options)
    return Pipeline(method, preparation, options.truth, run_options, engine, notify, option)


def preparation_from(options: argparse.Namespace) -> Preparation:
    """How measurements are read and prepared as the ``measurement_options`` say, but for their mask."""
    from crsdun.optics import read_camera
    from crsdun.scenes.array_roles import are_of_exposures

    refuse_without(options, "truth", "truth_key", "divisor", "unlabelled")
    if not (are_of_exposures(options.axes) or options.mask or options.mask_key):  # which may be one for each band
        refuse_without(options, "truth", "axes")
    camera_file = None
    if options.camera is not None:
        with local_copy(options.camera) as file:
            camera_file = read_camera(file)
    names = ("key", "frame", "truth_key", "axes", "divisor", "unlabelled")
    return scaled_as(options, camera_file=camera_file, **{name: getattr(options, name) for name in names})


def scaled_as(options: argparse.Namespace, **more: Any) -> Preparation:
    """What the ``camera_and_scale_options`` say, but for the mask, and ``more`` of ``Preparation``."""
    from crsdun.runtime import Preparation

    names = ("mask_key", "bands", "wavelengths", "step", "offsets", "bits", "exposure")
    return Preparation(
        dark=frame_from(options, "dark"),
        white=frame_from(options, "white"),
        **{name: getattr(options, name) for name in names},
        **more,
    )


def with_mask(preparation: Preparation, options: argparse.Namespace) -> Preparation:
    """The same with the mask of the ``camera_and_scale_options``, if there is one."""
    from crsdun.scenes import read_stored_mask

    if options.mask is None:
        return preparation
    with local_copy(options.mask) as file:
        mask = read_stored_mask(file, options.mask_key, mask_axes(options))
    return replace(preparation, mask_key=None, **mask._asdict())


def mask_axes(options: argparse.Namespace) -> str | None:
    """The axes of a mask for each band; ``axes`` may be those of a stack of exposures."""
    from crsdun.scenes.array_roles import are_of_exposures

    axes: str | None = getattr(options, "axes", None)
    return None if are_of_exposures(axes) else axes


def frame_from(options: argparse.Namespace, kind: str) -> Any:
    """The calibration frame that the option ``kind`` names, the mean of a stack of them, or the level as it is."""
    from crsdun.scenes import read_frame

    value = getattr(options, kind)
    if not isinstance(value, Place):
        return value
    with local_copy(value) as file:
        return read_frame(file, kind, getattr(options, "key", None))


def device_from(name: str) -> str:
    """The device to compute on; ``auto`` selects a GPU if there is one.

    Raises:
        InputError: it cannot be used on this machine.
    """
    if name == "auto":
        return best_device()
    check_device(name)
    return name
