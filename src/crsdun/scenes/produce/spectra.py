"""The spectra of Produce-23: measured reflectances, and the pairs of real and fake that were fitted to them.

``measured.csv`` holds reflectances of Vrhel, Gershon and Iwan (1994), ``pairs.npz`` what benchmarks/produce_pairs.py
made of them: for each kind two tones (such as the skin of a banana and its brown spots), for each tone four recipes
of six variants, and for each variant its real spectrum and its fake under either illuminant. All fakes of a recipe
consist of the same materials.

The colour of a mixture is the mixture of the colours: when variants are mixed with the same weights, real and fake
keep the same colour. So any object may be painted with mixtures from its recipe.

Source: Vrhel, Gershon, Iwan, "Measurement and analysis of object reflectance spectra", Color Research and Application
19 (1994) 4–9, as distributed with Psychtoolbox-3 (Expat licence), see NOTICE.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np

KINDS = ("banana", "apple", "kiwi", "peach", "pear", "lemon", "carrot", "cucumber", "cabbage", "lettuce", "corn")
CLASS_NAMES = ("background", *(f"{honesty} {kind}" for kind in KINDS for honesty in ("real", "fake")))

# Under which a fake has the colour of its original: CIE A (halogen and other filament lamps), CIE LED-B3 (white LED).
ILLUMINANTS = ("A", "LED-B3")

# Two samples of this name were measured: the number of the column distinguishes them.
DOUBLE = ("light blue towel",)

# Reflectance 1 in pairs.npz.
PAIRS_ONE = 1 << 16


@cache
def measured(artificial: bool | None = None) -> dict[str, np.ndarray]:
    """Measured reflectances by name: (171,), 390–730 nm every 2 nm.

    Args:
        artificial: only materials that are (True) or are not (False) artificial; None for all.
    """
    text = files(__package__).joinpath("measured.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))[1:]
    chosen = [row for row in rows if artificial is None or int(row[2]) == artificial]
    return {row[0] + f" #{row[1]}" * (row[0] in DOUBLE): np.array(row[3:], dtype=float) / 10_000 for row in chosen}


@cache
def pairs() -> dict[str, np.ndarray]:
    """The fitted pairs, reflectances as float64 that are exact multiples of 2⁻¹⁶.

    Returns:
        ``real`` (kinds, tones, recipes, variants, C) · ``fake`` (illuminants, kinds, tones, recipes, variants, C)
        · ``paper`` (C,) · ``wavelengths`` (C,) in nm.
    """
    with files(__package__).joinpath("pairs.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        spectra = {name: stored[name] / PAIRS_ONE for name in ("real", "fake", "paper")}
        return {**spectra, "wavelengths": stored["wavelengths"]}
