"""Pictures and figures of docs/produce.md: writes docs/images/produce_*.png and prints the tables.

python benchmarks/produce_figures.py
"""

from collections.abc import Iterator
from pathlib import Path

import colour
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from produce_pairs import angle, lab
from scipy.ndimage import label as connected

from crsdun.scenes.produce import CLASS_NAMES, ProduceSet, dataset, rendering, shapes
from crsdun.scenes.produce.exact_arithmetic import SceneRng
from crsdun.scenes.produce.spectra import ILLUMINANTS, KINDS, pairs
from crsdun.viewing import Panel, class_picture, comparison, cube_to_srgb, false_colour, save_png
from crsdun.viewing.sheet import STYLE

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PAINTINGS = 200  # of each kind, under each lamp
WAVELENGTHS = pairs()["wavelengths"]


def shelf(fake: bool) -> np.ndarray:
    """One object of each kind beside the other under CIE A, real or fake, all else equal: (C,H,W) reflectance."""
    light, gleam = rendering.lamps(SceneRng("shelf light"))
    cells = []
    for number in range(len(KINDS)):
        surface = shapes.KINDS[KINDS[number]](SceneRng(f"shelf {number}"), 0.95).trimmed()
        height, width = surface.cover.shape
        cell = np.broadcast_to(0.95 * pairs()["paper"][:, None, None], (len(WAVELENGTHS), 96, 96)).copy()
        top, left = (96 - height) // 2, (96 - width) // 2
        placed = rendering.PlacedObject(1 + 2 * number + fake, surface, top, left)
        rows, columns = placed.window
        part = cell[:, rows, columns]
        part += surface.cover * (
            rendering.painted(SceneRng(f"shelf {number}"), placed, 0, light, gleam).radiance() - part
        )
        cells.append(cell)
    return np.concatenate(cells, axis=2)


def paintings() -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Kind, lamp, and the spectra (PAINTINGS, C) of its objects, real and fake from the same random numbers."""
    for number, kind in enumerate(KINDS):
        for lamp, name in enumerate(ILLUMINANTS):
            both = [
                np.stack(
                    [
                        rendering.tones(SceneRng(f"{kind} {n}"), 1 + 2 * number + fake, lamp)[0]
                        for n in range(PAINTINGS)
                    ]
                )
                for fake in (0, 1)
            ]
            yield kind, name, *both


def sheet(columns: int, rows: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor=STYLE.paper)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8, colors=STYLE.faint)
    return figure, axes


IMAGES.mkdir(parents=True, exist_ok=True)
test = ProduceSet("test")

pictures = [cube_to_srgb(test[index].cube, WAVELENGTHS) for index in (1, 10, 18, 25)]
save_png(np.hstack(pictures), IMAGES / "produce_scenes.png")

scene, band = test[3], [int(np.abs(WAVELENGTHS - nm).argmin()) for nm in (703, 596, 440)]
told = "red, green, blue: 703, 597, 442 nm"
comparison(
    [
        Panel("for a colour camera", cube_to_srgb(scene.cube, WAVELENGTHS, scene.provenance["illuminant"])),
        Panel("three narrow bands", false_colour(scene.cube, band), told),
        Panel("classes", class_picture(scene.classes)),
    ],
    IMAGES / "produce_truth.png",
)
shelves = [cube_to_srgb(shelf(fake), WAVELENGTHS, "A", normalise=False) for fake in (False, True)]
save_png(np.vstack(shelves), IMAGES / "produce_shelf.png")

figure, axes = sheet(4, 3, 11, 6.6)
for place, (kind, axis) in enumerate(zip(KINDS, axes, strict=False)):
    axis.plot(WAVELENGTHS, pairs()["real"][place, 0, 0, 0], color=STYLE.truth, linewidth=2, label="real")
    for number, lamp in enumerate(ILLUMINANTS):
        for recipe in range(4):
            axis.plot(
                WAVELENGTHS,
                pairs()["fake"][number, place, 0, recipe, 0],
                color=STYLE.estimates[number],
                linewidth=0.9,
                label=f"fakes under {lamp}" if recipe == 0 else None,
            )
    axis.set_title(kind, fontsize=10, loc="left", color=STYLE.ink)
    axis.set_ylim(0)
axes[-1].set_axis_off()
axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False)
figure.supxlabel("wavelength, nm", fontsize=9)
figure.supylabel("reflectance", fontsize=9)
figure.savefig(IMAGES / "produce_spectra.png")

print("| kind | angle under A, ° | under LED-B3, ° | ΔE₀₀ under its lamp, at most | in daylight, median |")
print("|---|---|---|---|---|")
angles: list[np.ndarray] = []
parts: dict[str, list[np.ndarray]] = {"under the lamp": [], "in daylight": []}
line: list[str] = []
for kind, lamp, real, fake in paintings():
    wide = angle(real, fake)
    near, far = (colour.delta_E(lab(real, light), lab(fake, light), method="CIE 2000") for light in (lamp, "D65"))
    angles.append(wide)
    parts["under the lamp"].append(near)
    parts["in daylight"].append(far)
    line.append(f"{np.median(wide):.1f} ({wide.min():.1f}–{wide.max():.1f})")
    if lamp == ILLUMINANTS[-1]:
        near, far = (np.concatenate(parts[name][-2:]) for name in parts)
        print(f"| {kind} | {' | '.join(line)} | {near.max():.3f} | {np.median(far):.2f} |")
        line = []
whole = {name: np.concatenate(values) for name, values in parts.items()}
for name, values in {"angle": np.concatenate(angles), **whole}.items():
    print(name, "percentiles 0, 5, 50, 95, 100:", np.percentile(values, (0, 5, 50, 95, 100)).round(3))

eye = WAVELENGTHS <= 650  # where the eye sees most
real, fake = pairs()["real"], pairs()["fake"]
print("variants, angle up to 650 nm:", np.percentile(angle(real[..., eye], fake[..., eye]), (0, 50, 100)).round(1))
for nm in (678, 703, 730):
    band = int(np.abs(WAVELENGTHS - nm).argmin())
    print(f"variants whose fake reflects more at {nm} nm: {(fake > real)[..., band].mean():.0%}")

figure, axes = sheet(3, 1, 11, 2.8)
for axis, values, title in (
    (axes[0], whole["under the lamp"], "ΔE₀₀ under the lamp"),
    (axes[1], whole["in daylight"], "ΔE₀₀ in daylight (D65)"),
    (axes[2], np.concatenate(angles), "spectral angle, °"),
):
    axis.hist(values, bins=60, color=STYLE.estimates[1])
    axis.set_title(title, fontsize=10, loc="left", color=STYLE.ink)
    axis.set_yticks([])
    axis.set_xlim(0)
figure.savefig(IMAGES / "produce_metamers.png")

print("\n| class | " + " | ".join(dataset.SCENES) + " |\n|---|" + "---|" * len(dataset.SCENES))
counts = {split: np.zeros(len(CLASS_NAMES), dtype=int) for split in dataset.SCENES}
objects, brightest = [], 0.0
for split, count in counts.items():
    for scene in ProduceSet(split):
        count += np.bincount(scene.classes.ravel(), minlength=len(CLASS_NAMES))
        objects.append(connected(scene.classes > 0)[1])
        brightest = max(brightest, scene.cube.max())
for label, name in enumerate(CLASS_NAMES):
    shares = [f"{100 * count[label] / count.sum():.2f} %" for count in counts.values()]
    print(f"| {label} {name} | {' | '.join(shares)} |")
print(
    f"objects in a scene: {min(objects)}–{max(objects)}, median {np.median(objects):.0f}; brightest {brightest:.2f}"
)
