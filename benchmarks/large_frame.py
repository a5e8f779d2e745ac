"""The peak of memory of a frame that is decoded by rows, against that of its method for one tile (docs/large.md).

python benchmarks/large_frame.py --weights crsdun_tiny
python benchmarks/large_frame.py --method lr-tv --iterations 100

A frame of 8192 × 2048 pixels of 28 bands is made in a store of Zarr, with its mask. One fresh process decodes a tile
of it in memory, another all of it into a folder, with its pictures; each prints the peak of its resident memory. With
``--stop-after ROWS`` decoding ends after that many rows, where all would take too long: the frame, what is read of
it, the store and the pictures have their full size, and rows that were not decoded hold no data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK = 64


def make_frame(path: Path, height: int, width: int, bands: int) -> None:
    """A scene of waves behind a random mask, written by rows with its wavelengths."""
    import torch
    import zarr

    from crsdun.optics import CassiCamera, nbk7_wavelengths

    wavelengths = nbk7_wavelengths() if bands == len(nbk7_wavelengths()) else np.linspace(450, 650, bands)
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes={"crsdun": {"wavelength_units": "Nanometers"}})
    span = CassiCamera(np.ones((1, 1)), wavelengths=wavelengths).span
    options = {"chunks": (BLOCK, width + span), "dtype": "float32", "dimension_names": ("y", "x")}
    frame = group.create_array("measurement", shape=(height, width + span), **options)
    mask = group.create_array("mask", shape=(height, width), **{**options, "chunks": (BLOCK, width)})
    group.create_array("wavelengths", data=np.asarray(wavelengths))
    generator, columns = np.random.default_rng(0), torch.arange(width)
    phases = torch.arange(bands)[:, None, None] / 5
    for top in range(0, height, BLOCK):
        rows = torch.arange(top, min(top + BLOCK, height))[:, None]
        cube = 0.5 + 0.4 * torch.sin(rows / 19 + columns / 27 + phases) * torch.cos(columns / 40)
        camera = CassiCamera(generator.random((len(rows), width)) < 0.5, wavelengths=wavelengths)
        frame[top : top + len(rows)] = camera.forward(cube).numpy()
        mask[top : top + len(rows)] = camera.mask.numpy()


def opened(options: argparse.Namespace):
    from crsdun.methods import keep_freed_memory
    from crsdun.runtime import open_method

    keep_freed_memory()
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    return open_method(options.weights or options.method, **settings)


def decode_tile(options: argparse.Namespace) -> dict[str, float]:
    """One tile in memory: what the method itself needs."""
    from crsdun.methods import run_method
    from crsdun.runtime import Preparation, open_large

    method = opened(options)
    frame = open_large(options.frame, Preparation())
    y, camera = frame.rows(0, options.tile)
    run = run_method(method, y, camera)
    return {"rows": run.estimate.cube.shape[-2]}


def decode_frame(options: argparse.Namespace) -> dict[str, float]:
    """All of it, or as much as the options allow, as ``crsdun reconstruct --large`` does."""
    from crsdun.methods import SMALL_BLOCK, RunOptions, Tiles, keep_freed_memory, return_freed_memory
    from crsdun.runtime import LargeRun, Pipeline, Preparation, open_large

    pipeline = Pipeline(opened(options), options=RunOptions(tiles=Tiles(options.tile, options.overlap)))
    keep_freed_memory(SMALL_BLOCK)
    frame = open_large(options.frame, Preparation())
    survey, done, peaks = frame.survey(), 0, {"after the survey": peak()}
    with tempfile.TemporaryDirectory(dir=options.frame.parent) as folder:
        run = LargeRun(pipeline, frame, survey, Path(folder))
        for done in run.run():
            if options.stop_after and done >= options.stop_after:
                break
        peaks["after decoding"] = peak()
        run.finish()
        return_freed_memory()
        from crsdun.viewing.large_folder import draw_large  # whose libraries take memory, not before

        draw_large(run, Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return {"rows": done, "written_mb": size / 1e6, "residual": run.metrics["data_residual"], **peaks}


def peak() -> float:
    """Of this process's resident memory so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) / 1e6


def in_a_fresh_process(part: str, frame: Path) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--frame", str(frame)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights")
    parser.add_argument("--method", default="lr-tv")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--bands", type=int, default=28)
    parser.add_argument("--tile", type=int, default=64)
    parser.add_argument("--overlap", type=int)
    parser.add_argument("--stop-after", type=int, metavar="ROWS")
    parser.add_argument("--folder", type=Path, help="where the frame and the results lie (default: a temporary one)")
    parser.add_argument("--part", choices=("tile", "frame"), help=argparse.SUPPRESS)
    parser.add_argument("--frame", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        found = decode_tile(options) if options.part == "tile" else decode_frame(options)
        print(json.dumps({**found, "peak": peak(), "cpu_seconds": time.process_time()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        frame = Path(folder) / "frame.zarr"
        make_frame(frame, options.rows, options.width, options.bands)
        tile, whole = (in_a_fresh_process(part, frame) for part in ("tile", "frame"))
    name = options.weights or f"{options.method}, {options.iterations or 'all'} iterations"
    print(f"{name}: frame of {options.rows}×{options.width}, {options.bands} bands, tiles of {options.tile} rows")
    print(f"{whole['rows']} rows decoded, {whole['written_mb']:.0f} MB written, residual {whole['residual']:.2%}")
    print(f"peak for one tile {tile['peak']:.0f} MB ({tile['cpu_seconds']:.0f} s of a core)")
    stages = ", ".join(f"{whole[stage]:.0f} {stage}" for stage in ("after the survey", "after decoding"))
    print(f"peak for the frame {whole['peak']:.0f} MB: {stages} ({whole['cpu_seconds']:.0f} s of a core)")
    print(f"above the method: {whole['peak'] - tile['peak']:.0f} MB")


if __name__ == "__main__":
    main()
