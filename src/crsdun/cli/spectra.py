"""``crsdun spectra``: spectra of a result or a scene as a table."""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

from crsdun.cli.options import Commands, command, overwrite_option, scene_options, scenes_from
from crsdun.cli.printing import notify, option, print_json
from crsdun.errors import InputError

PIXEL = re.compile(r"(-?\d+(?:\.\d*)?),(-?\d+(?:\.\d*)?)")


def add(commands: Commands) -> None:
    """The command and its options."""
    spectra = command(commands, "spectra", run, "Print spectra at points or in boxes of a result or a scene as CSV.")
    scene_options(spectra)
    spectra.add_argument(
        "--at",
        type=pixel,
        action="append",
        default=[],
        metavar="X,Y",
        help="a pixel, x to the right and y down, counted from 0; may be repeated",
    )
    spectra.add_argument(
        "--box",
        type=int,
        nargs=4,
        action="append",
        default=[],
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"),
        help="a part of the scene, for its mean and standard deviation; may be repeated",
    )
    spectra.add_argument("--out", type=Path, help="file of the table (default: standard output)")
    overwrite_option(spectra)


def run(options: argparse.Namespace) -> None:
    from crsdun.scenes import Box, spectra_csv, spectra_in
    from crsdun.storage import check_file, write_text

    boxes = [*(Box(row, column, 1, 1) for column, row in options.at), *(Box(*box) for box in options.box)]
    boxes = list(dict.fromkeys(boxes))
    if not boxes:
        raise InputError(
            "no place is given", "name a pixel with --at X,Y, or a part with --box TOP LEFT HEIGHT WIDTH"
        )
    if options.out is not None:
        check_file(options.out, options.overwrite)
    scene, _ = scenes_from(options)
    table = spectra_csv(scene, boxes)
    if scene.wavelengths is None:
        notify(f"the wavelengths are unknown, so the bands are numbered; {option('wavelengths')} tells them")
    if options.out is not None:
        write_text(options.out, table, options.overwrite)
    if options.json:
        spectra = [
            {**box._asdict(), "mean": mean.tolist(), "standard_deviation": deviation.tolist()}
            for box, mean, deviation in spectra_in(scene, boxes)
        ]
        out: dict[str, Any] = {} if options.out is None else {"out": str(options.out)}
        print_json({**out, "wavelengths_nm": scene.wavelengths, "spectra": spectra})
    elif options.out is None:
        sys.stdout.write(table)
    else:
        print(f"{options.out}: {len(boxes)} spectr{'um' if len(boxes) == 1 else 'a'} of {scene.bands} bands")


def pixel(text: str) -> tuple[int, int]:
    """The column and the row of a pixel from x,y: pixel 4 lies from 4 to 5, and both 4 and 4.5 name it."""
    found = PIXEL.fullmatch(text.replace(" ", ""))
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel: expected x,y such as 120,45")
    x, y = (math.floor(float(part)) for part in found.groups())
    return x, y
