"""``crsdun info``: what is in a file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from crsdun.cli.options import Commands, command
from crsdun.cli.printing import console


def add(commands: Commands) -> None:
    """The command and its options."""
    info = command(commands, "info", run, "What is in a file: arrays, ranges, wavelengths, cameras that would fit.")
    info.add_argument("file", type=Path, help="or the name of shipped weights")


def run(options: argparse.Namespace) -> None:
    from crsdun.scenes import describe

    file = options.file
    if not file.exists():  # PyTorch is slow to import
        from crsdun.networks import find_weights

        file = find_weights(file)
    described = describe(file)
    if options.json:
        print(json.dumps(described))
    else:
        print_info(described)


def print_info(described: dict[str, Any]) -> None:
    """What ``describe`` found, for a person."""
    from rich.table import Table

    out = console()
    out.print(f"{described['path']}: {described['format']}", markup=False)
    if described.get("looks_like") == "weights":
        out.print(f"weights: {described['parameters']:,} values in {described['tensors']} tensors")
    else:
        table = Table("array", "shape", "type", "min", "max", "mean", "NaN/inf", "looks like")
        for array in described["arrays"]:
            numbers = ["–" if array[name] is None else f"{array[name]:.4g}" for name in ("min", "max", "mean")]
            shape, broken = "×".join(map(str, array["shape"])), str(array["nan"] + array["inf"])
            table.add_row(array["key"], shape, array["dtype"], *numbers, broken, array["looks_like"])
        out.print(table)
        for array in described["arrays"]:
            fits = array.get("fitting_cameras", [])[:6]
            if fits:
                masked = any(other["looks_like"] == "mask" for other in described["arrays"])
                words = ", ".join(f"{fit['bands']} bands at step {fit['step']}" for fit in fits)
                scene = "behind its mask" if masked else "if the scene is square"
                out.print(f"{array['key']}, {scene}: {words}", markup=False)
        told = described["wavelengths"]
        if told and "problem" in told:
            out.print(f"wavelengths: {told['problem']}", markup=False)
        elif told:
            out.print(f"wavelengths: {told['number']}, from {told['first']:g} to {told['last']:g} nm")
    if described["metadata"]:
        out.print(json.dumps(described["metadata"], indent=2, ensure_ascii=False), markup=False)
