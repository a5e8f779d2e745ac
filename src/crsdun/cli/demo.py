"""``crsdun demo``: a real scene there and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import progress_bar, report
from crsdun.optics import nbk7_wavelengths, random_mask


def add(commands: Commands) -> None:
    """The command and its options."""
    demo = command(
        commands, "demo", run, "A real scene through a simulated camera and back, with pictures and metrics."
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    overwrite_option(demo)


def run(options: argparse.Namespace) -> None:
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
