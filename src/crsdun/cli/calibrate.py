"""``crsdun calibrate``: a camera file from frames of its mask."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crsdun.cli.options import (
    Commands,
    command,
    frame_from,
    frame_or_level,
    offsets,
    overwrite_option,
    refuse_without,
    wavelengths,
)
from crsdun.cli.printing import notify, print_result
from crsdun.errors import InputError, renamed
from crsdun.optics.wavelengths import band_order

if TYPE_CHECKING:
    from crsdun.optics import Calibration
    from crsdun.scenes import BandFrames

CAMERA, PICTURE = "camera.npz", "calibration.png"


def add(commands: Commands) -> None:
    """The command and its options."""
    calibrate = command(commands, "calibrate", run, "Calibrate a camera from frames of its mask.")
    calibrate.add_argument(
        "frames",
        type=Path,
        nargs="+",
        help="the mask seen in one wavelength after another: a folder, a stack in one file, or one file for each, "
        "named like mask_450nm.tif; or a single picture of the mask, with --step or --offsets",
    )
    calibrate.add_argument("--key", help="name of the frames in their file, if it holds several arrays")
    calibrate.add_argument(
        "--axes", help="axes of a stack in its file, if they are ambiguous: chw (frames first), hwc or hcw"
    )
    calibrate.add_argument(
        "--wavelengths",
        type=wavelengths,
        help="band wavelengths in nm, in the order of the frames, if file names do not give them: 450,460,…",
    )
    calibrate.add_argument(
        "--dark", type=frame_or_level, help="dark frame, a stack of them, or a dark level, in counts"
    )
    calibrate.add_argument(
        "--white",
        type=Path,
        help="evenly lit frame without the mask, or a stack of them: corrects for uneven detector response",
    )
    calibrate.add_argument(
        "--band-whites",
        type=Path,
        nargs="+",
        metavar="FRAMES",
        help="frames without the mask, one for each band, named after their wavelengths or in the order of the other "
        "frames: correct for how bright each band was lit",
    )
    calibrate.add_argument("--band-whites-key", help="name of these in their file, if it holds several arrays")
    calibrate.add_argument("--step", type=float, help="dispersion in pixels per band, if it is known")
    calibrate.add_argument(
        "--offsets",
        type=offsets,
        help="displacement of each band in pixels, if it is known, in the order of --wavelengths, or else ascending: "
        "to the right 0,2,4,… | down and right 0:0,2:0,4:0,…",
    )
    calibrate.add_argument("--bands", type=int, help="number of bands, for one picture of the mask with --step")
    calibrate.add_argument(
        "--out", type=Path, required=True, help=f"folder for {CAMERA}, {PICTURE} and what was measured"
    )
    overwrite_option(calibrate)


def run(options: argparse.Namespace) -> None:
    from crsdun.optics import CalibrationFrames, calibrate, write_camera
    from crsdun.provenance import record
    from crsdun.scenes import read_band_frames, read_band_whites
    from crsdun.storage import RECORD, atomic_folder, check_folder, write_json
    from crsdun.viewing.calibration_figures import calibration_sheet

    check_folder(options.out, options.overwrite)
    refuse_without(options, "band_whites", "band_whites_key")
    read = read_band_frames(options.frames, options.wavelengths, options.key, options.axes)
    if max(read.files) > 1:
        fewest = "" if min(read.files) == max(read.files) else f"{min(read.files)} to "
        notify(f"each frame is the mean of {fewest}{max(read.files)} files of one wavelength")
    whites = None
    if options.band_whites is not None:
        with renamed("key", "band_whites_key"):
            whites = read_band_whites(options.band_whites, read, options.band_whites_key, options.axes)
    offsets = offsets_from(options, read)
    bands = len(read.frames) if offsets is None else len(offsets)
    taken = CalibrationFrames(
        read.frames,
        read.names,
        tuple(sorted(read.wavelengths)) if read.wavelengths and len(read.wavelengths) == bands else None,
        dark=frame_from(options, "dark"),
        white=frame_from(options, "white"),
        band_whites=whites,
    )
    made = record(
        frames=[path.name for path in options.frames],
        **{
            name: getattr(value, "name", value)
            for name in ("dark", "white")
            if (value := getattr(options, name)) is not None
        },
    )
    found = calibrate(taken, offsets, made)
    for warning in found.warnings:
        notify(f"WARNING: {warning}")
    with atomic_folder(options.out, options.overwrite) as folder:
        write_camera(found.file, folder / CAMERA)
        calibration_sheet(found, folder / PICTURE)
        write_json(folder / RECORD, {**made, "calibration": found.file.measured})
    print_result(values(found, options.out), lines(found, options.out), options.json)


def offsets_from(options: argparse.Namespace, read: BandFrames) -> list[tuple[float, float]] | None:
    """The displacements that were given, down and right, by ascending wavelength; None where they are to be found."""
    if options.step is not None and options.offsets is not None:
        raise InputError("the dispersion is either one step or a list of offsets, not both", "omit <step>")
    several = len(read.frames) if len(read.frames) > 1 else None
    counts = {
        "frames": several,
        "offsets": None if options.offsets is None else len(options.offsets),
        "wavelengths": None if options.wavelengths is None else len(options.wavelengths),
        "bands": options.bands,
    }
    given = {name: count for name, count in counts.items() if count is not None}
    if len(set(given.values())) > 1 or min(given.values(), default=1) < 1:
        listed = ", ".join(f"{name}: {count}" for name, count in given.items())
        raise InputError(f"a camera has one number of bands, but was given {listed}")
    if options.step is not None and not given:
        raise InputError("one picture of the mask does not tell the number of bands", "set <bands> or <wavelengths>")
    moves = options.offsets
    if options.step is not None:
        moves = [options.step * band for band in range(next(iter(given.values())))]
    if moves is None:
        return None
    told = options.wavelengths or read.wavelengths
    order = band_order(told) if told and len(told) == len(moves) else None
    pairs = [move if isinstance(move, tuple) else (0.0, move) for move in moves]
    return [pairs[band] for band in order or range(len(pairs))]


def values(found: Calibration, out: Path) -> dict[str, Any]:
    """What was found, for a program."""
    stored = found.file
    return {
        "out": str(out),
        "camera": str(out / CAMERA),
        "bands": len(stored.offsets),
        "wavelengths": stored.wavelengths,
        "offsets": [list(move) for move in stored.offsets],
        "mask": list(stored.mask.shape),
        "measured": stored.measured,
    }


def lines(found: Calibration, out: Path) -> str:
    """The same for a person."""
    stored, bad = found.file, found.file.measured["bad_pixels"]
    text = [f"{out / CAMERA}: {stored.outline}"]
    if found.curve is not None and found.curve.degree is not None:
        text.append(
            f"dispersion: a polynomial of degree {found.curve.degree} in {found.curve.of}; RMS deviation from the "
            f"curve {found.curve.rms:.3f} px ({found.curve.held_out:.3f} px held out)"
        )
    if len(found.frames) > 1:
        text.append(
            f"frames reproduced with {np.median(found.residuals):.1%} residual, the worst with "
            f"{found.residuals.max():.1%}; {bad} detector pixel{'' if bad == 1 else 's'} cannot be used"
        )
    text.append(f"look at {out / PICTURE}; decode with crsdun reconstruct FILE --camera {out / CAMERA} --out result")
    return "\n".join(text)
