"""The card of shipped weights, from the folder of their training and from evaluations:

    python benchmarks/model_card.py runs/crsdun_tiny_produce tiny gap-tv --also tiny-photons tiny-grey

``tiny`` and ``gap-tv`` are folders of ``crsdun evaluate``, the first of the weights and the second of the baseline;
those after ``--also`` are of the same weights behind another camera. Copies the weights into the package, writes the
card (.md) and the log of the training (.csv) beside them, and the training curve into docs/images.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from crsdun.evaluation import Evaluation, multiply_adds, read_evaluation
from crsdun.evaluation.tables import FIGURES, caption, shown
from crsdun.networks import load, pretrained_weights
from crsdun.networks.pretrained import FOLDER

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "evaluation", "baseline"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    parser.add_argument("--name", default="crsdun_tiny")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    name = options.name
    shutil.copy(options.run / "weights.safetensors", FOLDER / f"{name}.safetensors")
    shutil.copy(options.run / "log.csv", FOLDER / f"{name}.csv")
    validations = rows_of(options.run / "validation.csv")
    draw_curve(rows_of(options.run / "log.csv"), validations, ROOT / "docs/images" / f"{name}_training.png")
    evaluations = [read_evaluation(each) for each in (options.evaluation, options.baseline, *options.also)]
    (FOLDER / f"{name}.md").write_text(card(name, options.run, validations, *evaluations), encoding="utf-8")
    print(f"wrote {FOLDER / name}.md")


def card(
    name: str,
    run: Path,
    validations: list[dict[str, float]],
    judged: Evaluation,
    baseline: Evaluation,
    *others: Evaluation,
) -> str:
    network = load(pretrained_weights()[name])
    record, provenance = json.loads((run / "run.json").read_text()), network.card.provenance
    recipe, hardware = record["config"], record["sittings"][-1]["hardware"]
    sampling, optimiser, loss = recipe["sampling"], recipe["optimiser"], recipe["loss"]
    height, width = sampling["crop"]
    wavelengths, classes = network.card.wavelengths, judged.classes[1:]
    assert wavelengths is not None
    gained = judged.figures["psnr_db"] - baseline.figures["psnr_db"]
    dispersion = f"{network.card.step:g} pixels per band"
    return f"""# {name}

A small joint network for {network.config.bands} bands from {wavelengths[0]:g} to {
        wavelengths[-1]:g} nm at a dispersion
of {dispersion}: cube and class map from one exposure, with the {network.config.classes} classes of Produce-23.

| | |
|---|---|
| network | CRSDUN, {network.config.stages} stages, width {network.config.width} |
| parameters | {sum(each.numel() for each in network.parameters()):,} |
| multiply-adds at 256×256 | {multiply_adds(network, 256, 256) / 1e9:.2f} G |
| licence | Apache-2.0, as the package; learnt from Produce-23, whose spectra NOTICE names |

## Training

| | |
|---|---|
| data | {recipe["data"]["source"].split("/")[-1]} (Produce-23), split {recipe["data"]["train"]}; chosen on \
{recipe["data"]["validation"]}, judged once on test |
| camera | mask {recipe["camera"]["mask"]} (binary, half open), a random part of it in every step; no noise |
| samples | {recipe["steps"]} steps of {sampling["batch"]} crops of {height}×{width}, flips {sampling["flips"]} |
| optimiser | {optimiser["name"]}, rate {optimiser["rate"]:g}, warm-up {optimiser["warm_up"]}, {
        optimiser["schedule"]
    }, \
clipped at {optimiser["clip"]:g} |
| loss | λˢ {loss["stage_decay"]:g}, λᶜᵉ {loss["class_weight"]:g} |
| time | {provenance["hours"]:.2f} h in {len(record["sittings"])} sittings on {
        hardware["cores"]
    } shared cores, no GPU |
| seed | {record["seed"]} |
| configuration | `configs/{name}_produce.yaml` |

![Loss and validation over the steps](../../../../docs/images/{name}_training.png)

Validation on {recipe["validation"]["scenes"]} scenes while it learnt (the whole log is `{name}.csv`):

{
        table(
            ["step", "PSNR (dB)", "mIoU (%)"],
            [[f"{row['step']:.0f}", f"{row['psnr_db']:.2f}", f"{100 * row['miou']:.1f}"] for row in validations],
        )
    }

## Test

`crsdun evaluate {name} produce --out tiny` judges them anew, with `--mask random:1` or `--photons 500` behind another
camera; `crsdun evaluate gap-tv produce --out gap-tv` is the yardstick.

{caption(judged)}:

{metrics_table([baseline, judged])}

That is {gained:+.2f} dB against {
        baseline.method
    }. *Kind* is the share of pixels on produce that are taken for the right
kind, real or fake; *real or fake* the share of those for which that is right too (guessing gives about 50 %).

| class | pixels | IoU (%) | precision (%) | recall (%) |
|---|---:|---:|---:|---:|
{chr(10).join(class_row(row) for row in classes)}

## Another camera

The same scenes and weights; the first row is the camera above.

{camera_table([judged, *others])}

## Limits

- Learnt from rendered scenes. It knows white paper, eleven kinds of produce and two lamps; on anything else the class
  map means nothing, and the cube is a guess from what spectra of produce look like.
- The dispersion has to be {dispersion}, the bands those above (5 nm of tolerance).
- It learnt behind binary, half open masks without noise: see above what other cameras cost.
- Trained for a couple of hours on two cores: the curve was still rising.
"""


def metrics_table(evaluations: list[Evaluation]) -> str:
    names = shown(evaluations[-1])
    cells = [[each.method, *(FIGURES[name].number(each.figures.get(name)) for name in names)] for each in evaluations]
    return table(["method", *(FIGURES[name].label for name in names)], cells)


def camera_table(evaluations: list[Evaluation]) -> str:
    names = ("psnr_db", "ssim", "sam_deg", "miou", "authenticity_accuracy")
    cells = []
    for each in evaluations:
        noise = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in each.camera["noise"].items())
        figures = [FIGURES[name].number(each.figures.get(name)) for name in names]
        cells.append([str(each.camera["mask"]), noise or "none", *figures])
    return table(["mask", "noise", *(FIGURES[name].label for name in names)], cells)


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
