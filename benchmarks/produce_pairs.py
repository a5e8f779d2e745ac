"""Fits the fakes of Produce-23: src/crsdun/scenes/produce/measured.csv → pairs.npz beside it, in some minutes.

python benchmarks/produce_pairs.py
python benchmarks/produce_pairs.py --extract sur_vrhel.mat     writes measured.csv first, from Psychtoolbox's file

A variant of a kind is a measured spectrum with a little of its neighbours, its pigment stronger or weaker (a power of
the reflectance), brighter or darker, and smoothly perturbed by a few per cent. Its fake under a lamp is a mixture of
the measured artificial materials, again with their pigments stronger or weaker, that has the variant's colour under
this lamp and lies as far from its spectrum as it can in a given direction: a linear program. A recipe is the
strengths of the materials and the direction.

The frozen scenes depend on pairs.npz, not on this script: it documents how the file was made, and another SciPy may
choose other mixtures. Another pairs.npz is another version of the benchmark.
"""

from __future__ import annotations

import argparse
import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import colour
import numpy as np
from scipy.io import loadmat
from scipy.optimize import linprog

from crsdun.optics import nbk7_wavelengths
from crsdun.scenes.produce import spectra
from crsdun.scenes.produce.spectra import ILLUMINANTS, KINDS, PAIRS_ONE

FOLDER = Path(spectra.__file__).parent
SEED = 23
RECIPES, VARIANTS, ATTEMPTS, REFINEMENTS = 4, 6, 200, 3
BANDS = np.array(nbk7_wavelengths())
MEASURED_AT = np.arange(390, 732, 2)  # nm

STRENGTHS = (0.7, 1.0, 1.5, 2.0, 2.5)  # of a material's pigment: exponents of its reflectance
BRIGHTEST = 0.95  # a fake reflects no more than this
# How far the colours of a pair may differ in each of L*, a*, b*: under their lamp, and in daylight (D65), so that
# pictures made for daylight reveal little. Of the latter the first is taken for which ENOUGH of the attempts succeed.
UNDER_THEIR_LAMP, IN_DAYLIGHT = 0.02, (0.5, 1.0, 2.0, 3.0)
ENOUGH = 0.25

# Two tones of each kind: measured spectra with weights, then the strength of the pigment.
TONES = {
    "banana": (({"banana yellow (just turned)": 1}, 1.0), ({"ribe brown banana": 1}, 1.0)),
    "apple": (
        ({"apple yellow delicious": 1, "pear": 0.15}, 1.0),
        ({"apple yellow delicious": 1, "peach skin -- red": 0.8}, 1.0),
    ),
    "kiwi": (({"kiwi outside": 1, "walnut": 0.15}, 1.0), ({"kiwi outside": 1}, 1.25)),
    "peach": (({"peach skin -- ywllow": 1, "peach skin -- red": 0.15}, 1.0), ({"peach skin -- red": 1}, 1.0)),
    "pear": (({"pear": 1, "apple yellow delicious": 0.15}, 1.0), ({"pear": 1, "walnut": 0.8}, 1.1)),
    "lemon": (({"lemon skin": 1, "apple yellow delicious": 0.1}, 0.95), ({"lemon skin": 1, "pear": 0.5}, 1.0)),
    "carrot": (({"carrot": 1, "Marigold -- Orange": 0.1}, 0.9), ({"Grass": 1, "Bush leaf": 0.5}, 1.0)),
    "cucumber": (({"cucumber": 1, "green pepper": 0.2}, 0.95), ({"cucumber": 1, "lettuce": 0.5}, 0.75)),
    "cabbage": (({"cabbage": 1, "lettuce": 0.15}, 1.0), ({"cabbage": 1}, 0.6)),
    "lettuce": (({"lettuce": 1, "cabbage": 0.15}, 0.95), ({"lettuce": 1, "cabbage": 0.5}, 0.65)),
    "corn": (({"corn (raw)": 1, "banana yellow (just turned)": 0.1}, 1.0), ({"corn husk": 1, "lettuce": 0.3}, 0.9)),
}
PAPER = "sugar (white)"  # the flattest white that was measured
FOOD = ("wheat bread", "wheat bread crust", "pancake")  # marked as artificial in the file


# -- what was measured ---------------------------------------------------------------------------------------


def extract(path: Path) -> None:
    """Write measured.csv: of Psychtoolbox's file all that is artificial, and the natural spectra named above."""
    file = loadmat(path, simplify_cells=True)
    natural = {PAPER, *(name for tones in TONES.values() for mixture, _ in tones for name in mixture)}
    with (FOLDER / "measured.csv").open("w", encoding="utf-8", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["reflectance in 1/10000", "column", "artificial", *(f"{nm} nm" for nm in MEASURED_AT)])
        for column, (facts, values) in enumerate(zip(file["labels_vrhel"], file["sur_vrhel"].T, strict=True), 1):
            name, artificial = facts["label"].strip(), not facts["nat"] and facts["label"].strip() not in FOOD
            if artificial or name in natural:
                table.writerow([name, column, int(artificial), *np.rint(10_000 * values).astype(int)])


def on_bands(values: np.ndarray) -> np.ndarray:
    """(…, 171) measured → (…, C) on the bands, linear between neighbours."""
    return np.apply_along_axis(lambda spectrum: np.interp(BANDS, MEASURED_AT, spectrum), -1, values)


# -- colour --------------------------------------------------------------------------------------------------


@cache
def observer(illuminant: str, wavelengths: tuple[float, ...] = tuple(BANDS)) -> np.ndarray:
    """(bands, 3): XYZ of a reflectance that is linear between its bands; white has Y = 1."""
    curves = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"]
    lamp = colour.SDS_ILLUMINANTS[illuminant]
    grid = np.arange(360, 781)
    seen = np.stack([np.interp(grid, curves.wavelengths, curve) for curve in curves.values.T], axis=1)
    seen *= np.interp(grid, lamp.wavelengths, lamp.values)[:, None]
    hats = np.stack([np.interp(grid, wavelengths, hat) for hat in np.eye(len(wavelengths))])
    return hats @ seen / seen[:, 1].sum()


def lab(reflectance: np.ndarray, illuminant: str, wavelengths: tuple[float, ...] = tuple(BANDS)) -> np.ndarray:
    """CIELAB (…, 3) of reflectances (…, bands) under an illuminant, its white as white."""
    weights = observer(illuminant, wavelengths)
    white = weights.sum(axis=0)
    return colour.XYZ_to_Lab(reflectance @ weights, white[:2] / white.sum())


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spectral angle in degrees between (…, bands)."""
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


# -- variants and their fakes --------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """What the fakes of several variants have in common."""

    materials: np.ndarray  # (M, C)
    direction: np.ndarray  # (C,)
    in_daylight: float


def smooth(rng: np.random.Generator, knots: int) -> np.ndarray:
    """A random curve over the bands, (C,)."""
    return np.interp(np.arange(len(BANDS)), np.linspace(0, len(BANDS) - 1, knots), rng.normal(size=knots))


def base(mixture: dict[str, float], strength: float) -> np.ndarray:
    """A tone as measured, (C,)."""
    parts = sum(weight * on_bands(spectra.measured()[name]) for name, weight in mixture.items())
    return (parts / sum(mixture.values())) ** strength


def vary(rng: np.random.Generator, tone: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """A variant of a tone, (C,): up to a tenth of the other tone, strength ±15 %, brightness ±10 %, smoothly ±3 %."""
    share = rng.uniform(0, 0.1)
    mixed = ((1 - share) * tone + share * neighbour) ** rng.uniform(0.85, 1.15)
    return np.clip(mixed * rng.uniform(0.9, 1.1) * (1 + 0.03 * smooth(rng, 6)), 0.004, 0.9)


def fake(real: np.ndarray, recipe: Recipe, illuminant: str) -> np.ndarray | None:
    """The fake of a real spectrum, (C,), or None where the recipe cannot make this colour."""
    rows, bounds = [recipe.materials.T], [np.full(len(BANDS), BRIGHTEST)]
    for light, tolerance in ((illuminant, UNDER_THEIR_LAMP), ("D65", recipe.in_daylight)):
        step = 1e-5
        weights = observer(light)
        white, seen = weights.sum(axis=0), real @ weights
        slopes = colour.XYZ_to_Lab(seen + step * np.eye(3), white[:2] / white.sum()) - lab(real, light)
        change = (slopes / step).T @ weights.T  # of L*, a*, b* with each band
        rows += [change @ recipe.materials.T, -change @ recipe.materials.T]
        bounds += [change @ real + tolerance, tolerance - change @ real]
    found = linprog(-recipe.materials @ recipe.direction, np.vstack(rows), np.concatenate(bounds), method="highs")
    return found.x @ recipe.materials if found.status == 0 else None


def recipes(rng: np.random.Generator, tone: np.ndarray, materials: np.ndarray, illuminant: str) -> list[Recipe]:
    """The recipes of a tone: of the third with the widest angles to the real tone those that differ most."""
    for in_daylight in IN_DAYLIGHT:
        tried = []
        for _ in range(ATTEMPTS):
            strengths = rng.choice(STRENGTHS, size=(len(materials), 1))
            recipe = Recipe(materials**strengths, smooth(rng, 7) / (tone + 0.1), in_daylight)
            spectrum = fake(tone, recipe, illuminant)
            for _ in range(REFINEMENTS if spectrum is not None else 0):  # farther the way it went
                recipe = recipe._replace(direction=spectrum - tone * (tone @ spectrum) / (tone @ tone))
                spectrum = fake(tone, recipe, illuminant)
            if spectrum is not None:
                tried.append((angle(tone, spectrum), spectrum, recipe))
        if len(tried) >= ENOUGH * ATTEMPTS:
            break
    tried.sort(key=lambda each: -each[0])
    tried = tried[: max(RECIPES, len(tried) // 3)]
    chosen = [tried.pop(0)]
    while len(chosen) < RECIPES:
        apart = [min(angle(spectrum, other) for _, other, _ in chosen) for _, spectrum, _ in tried]
        chosen.append(tried.pop(int(np.argmax(apart))))
    return [recipe for _, _, recipe in chosen]


def variants(
    rng: np.random.Generator, tone: np.ndarray, neighbour: np.ndarray, materials: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Real (recipes, variants, C) and fake (illuminants, recipes, variants, C) spectra of a tone."""
    menus = [recipes(rng, tone, materials, illuminant) for illuminant in ILLUMINANTS]
    real = np.zeros((RECIPES, VARIANTS, len(BANDS)))
    fakes = np.zeros((len(ILLUMINANTS), *real.shape))
    for number, menu in enumerate(zip(*menus, strict=True)):
        count = 0
        while count < VARIANTS:
            variant = vary(rng, tone, neighbour)
            made = [fake(variant, recipe, lamp) for recipe, lamp in zip(menu, ILLUMINANTS, strict=True)]
            if all(spectrum is not None for spectrum in made):
                real[number, count], fakes[:, number, count] = variant, made
                count += 1
    return real, fakes


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the fakes of Produce-23.")
    parser.add_argument(
        "--extract", type=Path, metavar="sur_vrhel.mat", help="write measured.csv from this file first"
    )
    options = parser.parse_args()
    if options.extract:
        extract(options.extract)
    rng = np.random.default_rng(SEED)
    materials = np.stack([on_bands(values) for values in spectra.measured(artificial=True).values()])
    real, fakes = [], []
    for kind in KINDS:
        first, second = (base(*tone) for tone in TONES[kind])
        made = [variants(rng, first, second, materials), variants(rng, second, first, materials)]
        real.append([pair[0] for pair in made])
        fakes.append([pair[1] for pair in made])
        reals, angles = np.stack(real[-1]), []
        for number, lamp in enumerate(ILLUMINANTS):
            those = np.stack([pair[1][number] for pair in made])
            angles.append(f"{lamp} {np.percentile(angle(reals, those)[0], [0, 50, 100]).round(1)}")
            part = colour.delta_E(lab(reals, "D65"), lab(those, "D65"), method="CIE 2000")
            angles.append(f"D65 {part.mean():.2f}")
        print(f"{kind:9}", *angles, flush=True)
    stored = {
        "real": np.array(real),
        "fake": np.moveaxis(np.array(fakes), 2, 0),
        "paper": on_bands(spectra.measured()[PAPER]),
    }
    quantised = {name: np.rint(values * PAIRS_ONE).astype(np.uint16) for name, values in stored.items()}
    np.savez_compressed(FOLDER / "pairs.npz", wavelengths=BANDS, **quantised)


if __name__ == "__main__":
    main()
