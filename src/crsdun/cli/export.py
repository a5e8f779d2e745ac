"""``crsdun export``: a trained network for other engines."""

from __future__ import annotations

import argparse
from pathlib import Path

from crsdun.cli.options import Commands, command, overwrite_option
from crsdun.cli.printing import print_result, progress_bar


def add(commands: Commands) -> None:
    """The command and its options."""
    export = command(commands, "export", run, "Export a trained network to a file that other engines run.")
    export.add_argument(
        "weights", type=Path, help="a trained network (.safetensors, hf://owner/name), or the name of shipped weights"
    )
    export.add_argument("--format", choices=("onnx", "openvino", "torch"), required=True, help="format of the file")
    export.add_argument("--step", type=float, help="dispersion to export for (default: that of its training, or 2)")
    export.add_argument("--out", type=Path, required=True, help="file: .onnx, .xml (openvino) or .pt2 (torch)")
    overwrite_option(export)


def run(options: argparse.Namespace) -> None:
    from crsdun.networks import load
    from crsdun.runtime import export

    network = load(options.weights)
    with progress_bar("exporting") as progress:
        exported = export(network, options.out, options.format, options.step, options.overwrite, progress)
    line = (
        f"{options.out}: {options.weights.name} for {options.format}, step {exported['step']:g}, scenes of at least "
        f"{exported['smallest']}×{exported['smallest']}"
    )
    print_result({"out": str(options.out), **exported}, line, options.json)
