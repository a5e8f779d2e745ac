"""The card of shipped weights, from the folder of their training and from evaluations:

    python benchmarks/model_card.py crsdun_small runs/crsdun_small small lr-tv --also small-* --beside lr-tv-*

``small`` and ``lr-tv`` are folders of ``crsdun evaluate``, the first of the weights and the second of the baseline;
those after ``--also`` are of the same weights behind other cameras, with other noise or on other scenes, and those
after ``--beside`` of the baseline there. Copies the weights into the package, writes card (.md) and log of the
training (.csv) beside them, and the training curve into docs/images.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing

from crsdun.evaluation import Evaluation, multiply_adds, read_evaluation
from crsdun.evaluation.tables import FIGURES, caption, shown
from crsdun.networks import load, pretrained_weights
from crsdun.networks.pretrained import FOLDER
from crsdun.optics import ClassCalibration
from crsdun.training.config import renamed

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    for name in ("run", "evaluation", "baseline"):
        parser.add_argument(name, type=Path)
    for name in ("--also", "--beside"):
        parser.add_argument(name, type=Path, nargs="*", default=[])
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    name = options.name
    shutil.copy(options.run / "weights.safetensors", FOLDER / f"{name}.safetensors")
    shutil.copy(options.run / "log.csv", FOLDER / f"{name}.csv")
    validations = rows_of(options.run / "validation.csv")
    draw_curve(rows_of(options.run / "log.csv"), validations, ROOT / "docs/images" / f"{name}_training.png")
    ours = [read_evaluation(each) for each in (options.evaluation, *options.also)]
    theirs = [read_evaluation(each) for each in (options.baseline, *options.beside)]
    (FOLDER / f"{name}.md").write_text(card(name, options.run, validations, ours, theirs), encoding="utf-8")
    print(f"wrote {FOLDER / name}.md")


def card(
    name: str,
    run: Path,
    validations: list[dict[str, float]],
    ours: list[Evaluation],
    theirs: list[Evaluation],
) -> str:
    network = load(pretrained_weights()[name])
    record, provenance = json.loads((run / "run.json").read_text()), network.card.provenance
    recipe = renamed(record["config"])
    sampling, optimiser, loss = recipe["sampling"], recipe["optimiser"], recipe["loss"]
    height, width = sampling["crop"]
    settings, wavelengths = network.config, network.card.wavelengths
    assert wavelengths is not None
    mix = [f"{share:.0%} {source}" for source, share in recipe["data"]["mix"].items()]
    data = ", ".join([f"{1 - sum(recipe['data']['mix'].values()):.0%} Produce-23", *mix])
    warm = settings.start == "lr-tv"
    begins = f"begins with {settings.start_iterations} iterations of LR-TV" if warm else "begins with its own guess"
    sittings = len(record["sittings"])
    hours = f"{provenance['hours']:.2f} h in {sittings} sittings on two cores, with other work beside it, no GPU"
    return f"""# {name}

A joint network for {settings.bands} bands behind any camera: cube and class map from one exposure, with the
{settings.classes} classes of Produce-23. It {
        begins
    }, takes any exposure, and looks for its mask up to two pixels from where it is told.

| | |
|---|---|
| network | CRSDUN, {settings.stages} stages, width {settings.base} |
| parameters | {sum(each.numel() for each in network.parameters()):,} |
| multiply-adds at 256×256 | {multiply_adds(network, 256, 256) / 1e9:.2f} G{", besides the solver" if warm else ""} |
| calibrated | {calibrated(network.card.calibration)} |
| licence | Apache-2.0, as the package; NOTICE names what it has learnt from |

## Training

| | |
|---|---|
| data | {data}; chosen on the validation split of Produce-23, judged once on its test split |
| camera | another one at each step: masks, dispersion, bands, noise and errors of the mask as in `configs/{
        name
    }.yaml` |
| samples | {recipe["steps"]} steps of {sampling["batch"]} crops of {height}×{width}, flips {sampling["flips"]} |
| optimiser | {steps_of(optimiser)}, warm-up {optimiser["warm_up"]}, {optimiser["schedule"]}, clipped at {
        optimiser["clip"]:g}; weights averaged with {recipe["ema"]:g} |
| loss | {loss["cube"]}, λˢ {loss["stage_decay"]:g}, λᶜᵉ {loss["cross_entropy_weight"]:g} |
| time | {hours} |
| seed | {record["seed"]} |
| configuration | `configs/{name}.yaml` |

![Loss and validation over the steps](../../../../docs/images/{name}_training.png)

Validation on {recipe["validation"]["scenes"]} scenes while it learnt (the whole log is `{name}.csv`):

{
        table(
            ["step", "PSNR (dB)", "mIoU (%)"],
            [[f"{row['step']:.0f}", f"{row['psnr_db']:.2f}", f"{100 * row['miou']:.1f}"] for row in validations],
        )
    }

## Test

`crsdun evaluate {name} produce --out judged` judges them anew, `crsdun evaluate {
        theirs[0].method
    } produce --out yardstick` the
yardstick.

{caption(ours[0])}:

{metrics_table([theirs[0], ours[0]])}

*Kind* is the share of pixels on produce that are taken for the right kind, real or fake; *real or fake* the share of
those for which that is right too (guessing gives about 50 %).

| class | pixels | IoU (%) | precision (%) | recall (%) |
|---|---:|---:|---:|---:|
{chr(10).join(class_row(row) for row in ours[0].classes[1:])}

## Other cameras, noise and scenes

With `--mask`, `--step`, `--wavelengths`, `--photons` and `--mask-shift` (other classes: `--cubes-only`), and how {
        theirs[0].method
    } does there. A mask
moved by half a pixel has less contrast, whoever decodes.

{camera_table(ours, theirs)}

## Limits

- It has learnt from rendered scenes. On real frames its cubes are no cleaner than those of `lr-tv` (docs/limits.md).
- Its classes are those of Produce-23. On anything else they mean nothing, and the pixels are called unknown.
- It takes 28 bands from 400 to 730 nm, 1 to 3 pixels apart along the rows; fewer wavelengths tell classes less well.
- It was trained for a few hours, and its curve was still rising.
"""


def steps_of(optimiser: dict[str, Any]) -> str:
    """The optimiser with its rates."""
    if optimiser["name"] == "muon":
        return f"Muon, rate {optimiser['muon_rate']:g}, and AdamW, rate {optimiser['rate']:g}"
    return f"{optimiser['name']}, rate {optimiser['rate']:g}"


def calibrated(known: ClassCalibration | None) -> str:
    """What was found about its doubt, in one line."""
    if known is None:
        return "no: its confidences are no probabilities"
    errors, made = known.made_from["calibration_error"], known.made_from
    return (
        f"temperature {known.temperature:.3g}, on {made['count']} scenes of {made['scenes']}: ECE "
        f"{errors['before']:.2%} before, {errors['after']:.2%} after"
    )


def metrics_table(evaluations: list[Evaluation]) -> str:
    names = shown(evaluations[-1])
    cells = [[each.method, *(FIGURES[name].number(each.figures.get(name)) for name in names)] for each in evaluations]
    return table(["method", *(FIGURES[name].label for name in names)], cells)


def camera_table(ours: list[Evaluation], theirs: list[Evaluation]) -> str:
    names = ("psnr_db", "sam_deg", "miou", "authenticity_accuracy")
    beside = {situation(each): each for each in theirs}
    cells = []
    for each in ours:
        figures = [FIGURES[name].number(each.figures.get(name)) for name in names]
        other = beside.get(situation(each))
        cells.append([*situation(each), *figures, "–" if other is None else f"{other.figures['psnr_db']:.2f}"])
    header = ["scenes", "camera", "noise", *(FIGURES[name].label for name in names), f"{theirs[0].method}: PSNR (dB)"]
    return table(header, cells)


def situation(judged: Evaluation) -> tuple[str, str, str]:
    """Scenes, camera and noise of an evaluation."""
    camera, grid = judged.camera, judged.data["wavelengths_nm"]
    noise = ", ".join(f"{value:g} {key.replace('_', ' ')}" for key, value in camera["noise"].items() if key != "seed")
    moved = " moved by {:g}, {:g} px".format(*camera["moved"]) if "moved" in camera else ""
    described = (
        f"{str(camera['mask']).partition(',')[0]}{moved}, step {camera['step']:g}, {grid[0]:.0f}–{grid[-1]:.0f} nm"
    )
    return f"{judged.data['name']} ({len(judged.scenes)})", described, noise or "none"


def class_row(row: dict[str, float | str]) -> str:
    shares = (f"{100 * float(row[what]):.1f}" for what in ("iou", "precision", "recall"))
    return f"| {row['name']} | {int(row['pixels']):,} | {' | '.join(shares)} |"


def table(header: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows))


def rows_of(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def draw_curve(log: list[dict[str, float]], validations: list[dict[str, float]], path: Path) -> None:
    drawing = Drawing(figsize=(10, 3.4), dpi=100, layout="constrained")
    left, right = drawing.subplots(1, 2)
    stages = max(int(key.split("_")[1]) for key in log[0] if key.startswith("mse_"))
    for key, label in ((f"mse_{stages}", "MSE"), (f"ce_{stages}", "cross-entropy")):
        values = [row[key] for row in log]
        smooth = [
            sum(values[max(i - 19, 0) : i + 1]) / len(values[max(i - 19, 0) : i + 1]) for i in range(len(values))
        ]
        left.semilogy([row["step"] for row in log], smooth, label=f"{label}, last stage")
    left.set(xlabel="step", title="Training (mean of 20 rows of the log)")
    left.legend(frameon=False)
    steps = [row["step"] for row in validations]
    right.plot(steps, [row["psnr_db"] for row in validations], "o-", color="#0072b2")
    right.set(xlabel="step", title="Validation")
    right.set_ylabel("PSNR (dB)", color="#0072b2")
    classes = right.twinx()
    classes.plot(steps, [100 * row["miou"] for row in validations], "s-", color="#d55e00")
    classes.set_ylabel("mIoU (%)", color="#d55e00")
    drawing.savefig(path)


if __name__ == "__main__":
    main()
