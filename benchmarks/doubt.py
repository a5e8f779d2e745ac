"""How far doubt can be trusted: calibrated weights on scenes like those they learnt from, and on others.

    python benchmarks/doubt.py crsdun_tiny --produce produce23 --first 10
    python benchmarks/doubt.py runs/crsdun_small/calibrated.safetensors --produce produce23 --repeats 4
    python benchmarks/doubt.py lr-tv --produce produce23 --iterations 100 --repeats 4 --first 1

Weights are calibrated by ``crsdun evaluate WEIGHTS DATA --calibrate FILE``. ``--repeats`` also measures the expected
errors of voxels, by the probability that one of the tenth with the largest errors is expected to be worse than
another one.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from crsdun.evaluation import evaluate_scene
from crsdun.evaluation.metrics import doubt_figures, doubt_histogram
from crsdun.evaluation.score import Score
from crsdun.methods import RunOptions
from crsdun.methods.doubt import COVERAGE
from crsdun.methods.repeats import expected_error
from crsdun.optics import Exposure, SensorNoise
from crsdun.runtime import open_method
from crsdun.scenes import open_set

LARGE = 0.9  # errors above this quantile of a scene's are large


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", help="calibrated weights, or a method without classes for its expected errors")
    parser.add_argument("--produce", default="produce", help="folder of crsdun data make produce")
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--iterations", type=int, help="of a method without weights")
    options = parser.parse_args()
    settings = {} if options.iterations is None else {"iterations": options.iterations}
    method = open_method(options.method, **settings)
    step = method.card.step or 2
    rows: dict[str, dict] = {} if method.card.calibration is None else class_table(method, options, step)
    if options.repeats:
        rows["voxels"] = errors(method, options, step)
    print(json.dumps(rows))


def class_table(method, options: argparse.Namespace, step: float) -> dict[str, dict]:
    """The figures of class maps, printed as a table."""
    print("| scenes | accuracy | ECE | ECE without temperature | AUROC | known | accuracy where known |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rows = {}
    for name, data, exposure in (
        ("produce", options.produce, Exposure(step=step)),
        ("500 photons", options.produce, Exposure(step=step, noise=SensorNoise(photons=500))),
        ("mask one pixel off", options.produce, Exposure(step=step, moved=(0, 1))),
        ("patchwork", "patchwork", Exposure(step=step)),
        ("Indian Pines", "indian-pines", Exposure(step=step)),
    ):
        rows[name] = row = judged(method, data, exposure, options.first)
        cells = ["–" if value is None else f"{value:.3f}" for value in row.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return rows


def judged(method, data: str, exposure: Exposure, first: int) -> dict[str, float | None]:
    """Figures of the first test scenes; of scenes with other classes only the share that is known."""
    scenes, card = open_set(data, "test"), method.card
    same = scenes.class_names == card.class_names
    before, after = Score(classes=method.class_count), Score(classes=method.class_count, coverage=COVERAGE)
    known = []
    for index in range(min(first, len(scenes))):
        result = evaluate_scene(method, scenes, index, exposure)
        found = result.run.doubt(card)
        known.append((~found.unknown).ravel())
        if same:
            cube, truth = result.run.estimate.cube[0], torch.from_numpy(result.scene.cube)
            theta, classes = result.run.estimate.logits[-1][0], torch.from_numpy(result.scene.classes)
            before.update(cube, truth, theta, classes)
            after.update(cube, truth, theta / card.calibration.temperature, classes, torch.from_numpy(found.doubt))
    names = ("accuracy", "calibration_error", "doubt_auroc", "accuracy_known")
    figures = after.compute()[0] if same else {}
    accuracy, error, auroc, accuracy_known = (figures.get(name) for name in names)
    raw = before.compute()[0]["calibration_error"] if same else None
    return {
        "accuracy": accuracy,
        "ece": error,
        "ece_before": raw,
        "auroc": auroc,
        "known": float(np.concatenate(known).mean()),
        "accuracy_known": accuracy_known,
    }


def errors(method, options: argparse.Namespace, step: float) -> dict[str, float]:
    """How expected errors compare with true ones, over the voxels of scenes."""
    scenes, how = open_set(options.produce, "test"), RunOptions(repeats=options.repeats)
    aurocs, ratios = [], []
    for index in range(min(options.first, len(scenes))):
        result = evaluate_scene(method, scenes, index, Exposure(step=step))
        expected = expected_error(result.run, method, result.frame, how)
        true = (result.run.estimate.cube[0] - torch.from_numpy(result.scene.cube)).abs().flatten(1)
        large = (true > np.quantile(true.numpy(), LARGE)).long()
        ranks = (expected.flatten().argsort().argsort() / expected.numel()).view(true.shape)
        aurocs.append(doubt_figures(doubt_histogram(ranks, large, torch.zeros_like(large)))["doubt_auroc"])
        ratios.append(float(expected.square().mean().sqrt() / true.square().mean().sqrt()))
    found = {"auroc": float(np.mean(aurocs)), "expected_over_true": float(np.mean(ratios))}
    print(f"voxels: AUROC {found['auroc']:.3f}; expected RMS over true RMS {found['expected_over_true']:.2f}")
    return found


if __name__ == "__main__":
    main()
