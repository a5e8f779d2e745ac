"""``crsdun simulate``: a known scene through a simulated camera."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.cli.options import Commands, camera_options, command, overwrite_option
from crsdun.cli.printing import tell
from crsdun.errors import InputError, UnitError
from crsdun.optics import nbk7_wavelengths, random_mask

if TYPE_CHECKING:
    from crsdun.scenes import Scene


def add(commands: Commands) -> None:
    """The command and its options."""
    simulate = command(commands, "simulate", run, "Measure a known scene with a simulated camera.")
    simulate.add_argument("scene", help="file of the scene, or indian-pines (28 bands, nbk7)")
    simulate.add_argument("--key", help="name of the cube in its file")
    simulate.add_argument("--mask", default="random", help="file of the mask, or random, or random:SEED")
    simulate.add_argument("--mask-key", help="name of the mask in its file")
    camera_options(simulate)
    simulate.add_argument("--photons", type=float, help="Poisson shot noise: photons where y = 1")
    simulate.add_argument("--binomial-bits", type=int, help="the field's binomial shot noise with this bit depth")
    simulate.add_argument("--read-noise", type=float, default=0.0, help="standard deviation of the read-out noise")
    simulate.add_argument("--bits", type=int, help="quantise to this bit depth")
    simulate.add_argument("--seed", type=int, default=0, help="of the noise")
    simulate.add_argument("--out", type=Path, required=True, help="file of the measurement: .npz .mat .h5 .tif")
    overwrite_option(simulate)


def run(options: argparse.Namespace) -> None:
    from crsdun.optics import SensorNoise
    from crsdun.runtime import simulate
    from crsdun.scenes import read_mask, write_measurement

    scene = scene_from(options.scene, options.key, options.wavelengths)
    name, _, seed = options.mask.partition(":")
    if name == "random":
        height, width = scene.cube.shape[1:]
        mask = random_mask(height, width, seed=whole_number(seed or "0", "--mask random:SEED"))
    else:
        mask = read_mask(options.mask, options.mask_key)
    noise = SensorNoise(
        photons=options.photons,
        binomial_bits=options.binomial_bits,
        read_sigma=options.read_noise,
        bits=options.bits,
    )
    step = 2 if options.step is None else options.step
    measurement = simulate(scene, mask, step, None if noise == SensorNoise() else noise, options.seed)
    write_measurement(measurement, options.out, options.overwrite)
    rows, columns = measurement.frame.shape
    low, high = float(measurement.frame.min()), float(measurement.frame.max())
    facts = {
        "out": str(options.out),
        "shape": [rows, columns],
        "bands": scene.bands,
        "step": step,
        "min": low,
        "max": high,
    }
    words = (
        f"{options.out}: {rows}×{columns}, {scene.bands} bands of {scene.name} at step {step:g}, "
        f"values {low:.3g} to {high:.3g}, the mask beside it"
    )
    tell(facts, words, options.json)


def scene_from(text: str, key: str | None, wavelengths: tuple[float, ...] | None) -> Scene:
    """A scene by file or name, on the wavelengths asked for (those of its bands where the file tells none)."""
    from crsdun.scenes import indian_pines, read_scene

    if text == "indian-pines":
        return indian_pines(wavelengths or nbk7_wavelengths())
    if wavelengths is None:
        return read_scene(text, key)
    try:
        scene = read_scene(text, key)
    except UnitError:
        return read_scene(text, key, wavelengths)
    return read_scene(text, key, wavelengths) if scene.wavelengths is None else scene.resampled(wavelengths)


def whole_number(text: str, what: str) -> int:
    if not text.isdigit():
        raise InputError(f"{what} takes a whole number, not {text!r}")
    return int(text)
