"""``crsdun simulate``: a known scene through a simulated camera."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import (
    Commands,
    array_options,
    camera_from,
    camera_options,
    command,
    exposure_from,
    exposure_options,
    overwrite_option,
)
from crsdun.cli.printing import notify, print_result
from crsdun.errors import InputError
from crsdun.optics import nbk7_wavelengths
from crsdun.optics.geometry import dispersion_in_words

if TYPE_CHECKING:
    from crsdun.optics import CassiCamera
    from crsdun.scenes import Scene

# Files that hold the frame of a measurement alone (``write_measurement``).
WITHOUT_MASK = (".npy", ".hdr", ".png")


def add(commands: Commands) -> None:
    """The command and its options."""
    simulate = command(commands, "simulate", run, "Measure a known scene with a simulated camera.")
    simulate.add_argument(
        "scene",
        help="file of the scene, folder with one PNG or TIFF for each band (CAVE), folder of crsdun reconstruct, "
        "indian-pines (28 bands, nbk7), or a scene of a data set's test split, such as produce:0",
    )
    simulate.add_argument("--key", help="name of the cube in its file")
    array_options(simulate, "the cube")
    camera_options(simulate)
    exposure_options(simulate)
    simulate.add_argument(
        "--binomial-bits", type=int, help="binomial shot noise, as used in the literature, with this bit depth"
    )
    simulate.add_argument("--bits", type=int, help="quantise the measurement to this bit depth")
    simulate.add_argument("--out", type=Path, required=True, help="file of the measurement: .npz .mat .h5 .tif")
    overwrite_option(simulate)


def run(options: argparse.Namespace) -> None:
    from crsdun.runtime import simulate
    from crsdun.runtime.simulation import scene_for
    from crsdun.scenes import write_measurement
    from crsdun.storage import check_file

    calibrated = camera_from(options)
    exposure = exposure_from(
        options, options.step, calibrated, binomial_bits=options.binomial_bits, bits=options.bits
    )
    scene = scene_from(options, calibrated)
    if calibrated is not None:
        scene = scene_for(calibrated, scene)
    if scene.wavelengths is None:
        notify(
            f"{scene.name} states no wavelengths, which weights and true colours need: give them with --wavelengths, "
            f"such as 400-700:{scene.bands}"
        )
    measurement, camera = simulate(scene, exposure), exposure.camera(scene)
    decoding = None  # the camera file that decodes it, where a mask does not
    if calibrated is not None and measurement.mask is None:
        decoding = options.camera
        if (camera.height, camera.width) != (calibrated.height, calibrated.width):
            decoding = options.out.with_name(f"{options.out.stem}_camera.npz")
            check_file(decoding, options.overwrite)
    write_measurement(measurement, options.out, options.overwrite)
    if decoding not in (None, options.camera):
        camera.save(decoding, options.overwrite)
    rows, columns = measurement.frame.shape
    low, high = float(measurement.frame.min()), float(measurement.frame.max())
    values = {
        "out": str(options.out),
        "shape": [rows, columns],
        "bands": scene.bands,
        "step": camera.step,
        "min": low,
        "max": high,
    }
    if decoding is not None:
        values["camera"] = str(decoding)
    if scene.missing:
        values |= {"voxels_without_data": scene.missing, "incomplete_pixels": measurement.incomplete}
    dispersed = dispersion_in_words(camera.down_and_right)
    kind = options.out.suffix.lower()
    if decoding is not None:
        to_decode = f"to be decoded with --camera {decoding}"
    else:
        to_decode = (
            f"without its mask, which a {kind} does not hold" if kind in WITHOUT_MASK else "stored with its mask"
        )
    line = (
        f"{options.out}: {rows}×{columns}, {scene.bands} bands of {scene.name}, {dispersed}, values {low:.3g} to "
        f"{high:.3g}, {to_decode}"
    )
    if scene.missing:
        line += (
            f"; {scene.missing} of {scene.cube.size} voxels hold no data and send no light, which "
            f"{measurement.incomplete} of {rows * columns} pixels lack"
        )
    print_result(values, line, options.json)


def scene_from(options: argparse.Namespace, camera: CassiCamera | None = None) -> Scene:
    """A scene by file or name, resampled to the wavelengths given; a file without wavelengths has these already.

    Args:
        camera: a calibrated one, whose bands are other than those of the scene.
    """
    from crsdun.scenes import indian_pines, read_scene
    from crsdun.scenes.catalog import DATASETS

    wavelengths: tuple[float, ...] | None = options.wavelengths
    if options.scene == "indian-pines":
        for name in ("key", "axes", "divisor"):
            if getattr(options, name) is not None:
                raise InputError("Indian Pines is no file whose cube had to be found", f"omit <{name}>")
        return indian_pines(wavelengths or (camera and camera.wavelengths) or nbk7_wavelengths())
    name, _, number = options.scene.partition(":")
    read: Callable[..., Scene] = partial(
        read_scene, options.scene, options.key, axes=options.axes, divisor=options.divisor
    )
    if name in DATASETS:
        read = partial(scene_of_set, name, number)
    if wavelengths is None:
        return read()
    try:
        scene = read()
    except InputError:  # which the wavelengths may settle: an unknown unit, or an unclear axis
        return read(wavelengths=wavelengths)
    if scene.wavelengths is None:
        return read(wavelengths=wavelengths)
    if camera is not None:
        raise InputError(f"{scene.name!r} states its wavelengths, and the camera has its own", "omit <wavelengths>")
    return scene.resampled(wavelengths)


def scene_of_set(name: str, number: str, wavelengths: tuple[float, ...] | None = None) -> Scene:
    """A scene of the test split of a data set, counted from 0; ``wavelengths`` where the set states none."""
    from crsdun.scenes import open_set

    scenes = open_set(name, "test")
    if number not in map(str, range(len(scenes))):
        raise InputError(
            f"{name} is a data set with {len(scenes)} test scenes", f"name one, {name}:0 to {name}:{len(scenes) - 1}"
        )
    scene = scenes[int(number)]
    return scene if wavelengths is None else replace(scene, wavelengths=wavelengths)
