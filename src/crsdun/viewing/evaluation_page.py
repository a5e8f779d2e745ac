"""The report of evaluations and of training runs: tables, confusions, scenes and curves, several side by side."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, Evaluation, compare, read_evaluation
from crsdun.evaluation.metrics import authenticity_pairs
from crsdun.evaluation.tables import FILE, caption, shown
from crsdun.training.run_log import RECORD as RUN
from crsdun.viewing.pages import command_line, file_url, hexadecimal, render
from crsdun.viewing.palette import class_colours

EXTREMES = 5  # best and worst scenes that stand first
MOST_PLACES = 1500  # of a curve
# Columns of log.csv and validation.csv that are worth a picture, in this order: title, logarithmic.
CURVES = {
    "loss": ("training loss", True),
    "validation loss": ("validation loss", True),
    "psnr_db": ("validation PSNR (dB)", False),
    "ssim": ("validation SSIM", False),
    "sam_deg": ("validation SAM (°)", False),
    "rmse": ("validation RMSE", False),
    "miou": ("validation mIoU", False),
    "accuracy": ("validation accuracy", False),
    "mse": ("cube loss by stage", True),
    "ce": ("class loss by stage", True),
    "gradient_norm": ("norm of the gradient", True),
    "rate": ("learning rate", False),
}
CLASS_SCORES = ("iou", "f1", "precision", "recall")


@dataclass(frozen=True)
class RunReport:
    """A folder of ``crsdun train``.

    Attributes:
        record: its ``run.json``.
        curves: of each column its steps and values, None where a value is missing or not finite; those of
            ``validation.csv`` that the log has too are called ``validation …``.
        picture: of the last validation, as a URL; or None.
    """

    record: dict[str, Any]
    curves: dict[str, tuple[list[int], list[float | None]]]
    picture: str | None


def read_run_report(folder: str | Path) -> RunReport:
    """A run, finished or not.

    Raises:
        InputError: the folder holds none, or a file of it is broken.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
        record["sittings"][-1]["started"], record["config"]["network"]["name"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{folder} holds no whole {RUN} of crsdun train ({error})", "give the folder of a run"
        ) from error
    curves = _columns(folder / "log.csv")
    for name, curve in _columns(folder / "validation.csv").items():
        curves[f"validation {name}" if name in curves else name] = curve
    return RunReport(record, curves, file_url(folder / "validation.png", 900))


def evaluation_page(folders: Sequence[str | Path], titles: Sequence[str] | None = None) -> str:
    """One page for folders of ``crsdun evaluate`` and ``crsdun train``, a whole HTML file.

    Args:
        titles: what to call the folders; None takes the ends of their paths that tell them apart.

    Raises:
        InputError: a folder is neither, or broken.
    """
    evaluations: list[tuple[str, Evaluation, dict[str, Any]]] = []
    runs: list[tuple[str, RunReport]] = []
    for title, folder in zip(titles or _titles(folders), map(Path, folders), strict=True):
        if (folder / FILE).is_file():
            evaluation = read_evaluation(folder)
            evaluations.append((title, evaluation, _section(title, folder, evaluation)))
        else:
            runs.append((title, read_run_report(folder)))
    titles = [title for title, _, _ in evaluations]
    judged = [evaluation for _, evaluation, _ in evaluations]
    data = {"charts": [*_scene_chart(titles, judged), *_curve_charts(runs)]}
    return render(
        "evaluation",
        data,
        heading=_heading(judged, runs),
        side=_side_by_side(titles, judged) if len(judged) > 1 else None,
        evaluations=[section for _, _, section in evaluations],
        runs=[_run_section(*each) for each in runs],
        charts=data["charts"],
    )


def _titles(folders: Sequence[str | Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(folder).resolve().parts for folder in folders]
    length = 1
    while len({each[-length:] for each in parts}) < len(set(parts)):
        length += 1
    return ["/".join(each[-length:]) for each in parts]


def _heading(judged: Sequence[Evaluation], runs: Sequence[tuple[str, RunReport]]) -> tuple[str, str]:
    names = [each.method for each in judged] or [run.record["config"]["network"]["name"] for _, run in runs]
    title = ", ".join(dict.fromkeys(names))
    kinds = [(len(judged), "evaluation"), (len(runs), "training run")]
    counted = [f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in kinds if count]
    return title, " and ".join(counted)


# -- evaluations -----------------------------------------------------------------------------------------------


def _section(title: str, folder: Path, evaluation: Evaluation) -> dict[str, Any]:
    try:
        return _told(title, folder, evaluation)
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / FILE} is not whole ({error!r})", "evaluate again") from error


def _told(title: str, folder: Path, evaluation: Evaluation) -> dict[str, Any]:
    names, last = shown(evaluation), len(evaluation.stages)
    stages = [
        {
            "name": "answer" if number == last else f"stage {number}",
            "cells": [FIGURES[name].number(figures.get(name)) for name in names],
        }
        for number, figures in enumerate(evaluation.stages, start=1)
    ]
    order = sorted(evaluation.scenes, key=lambda row: row["psnr_db"], reverse=True)
    columns = [name for name in FIGURES if any(name in row for row in order)]
    few = len(order) <= 2 * EXTREMES
    return {
        "title": title,
        "method": evaluation.method,
        "caption": caption(evaluation),
        "tiles": [
            (FIGURES[name].name, FIGURES[name].number(evaluation.figures[name]), FIGURES[name].unit.strip())
            for name in names
            if evaluation.figures[name] is not None
        ],
        "headers": [FIGURES[name].label for name in names],
        "stages": stages if last > 1 else [],
        "classes": _class_table(evaluation),
        "confusion": _confusion(evaluation),
        "scene_headers": [*(FIGURES[name].label for name in columns), "data residual (%)", "seconds"],
        "best": [_scene_row(row, columns) for row in (order if few else order[:EXTREMES])],
        "worst": [] if few else [_scene_row(row, columns) for row in reversed(order[-EXTREMES:])],
        "all": [] if few else [_scene_row(row, columns) for row in evaluation.scenes],
        "seconds": median(row["seconds"] for row in evaluation.scenes),
        "sheet": file_url(folder / "contact_sheet.png"),
        "command": command_line(evaluation.record["command"]),
        "record": evaluation.record,
        "fingerprint": evaluation.data["fingerprint"],
    }


def _scene_row(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    cells = [FIGURES[name].number(row.get(name)) for name in columns]
    return {"name": row["name"], "cells": [*cells, f"{100 * row['data_residual']:.2f}", f"{row['seconds']:.2f}"]}


def _class_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    colours = class_colours(len(evaluation.classes))
    return [
        {
            "name": row["name"],
            "colour": hexadecimal(colours[row["class"]]),
            "pixels": f"{int(row['pixels']):,}",
            "scores": [f"{100 * row[name]:.1f}" if row["pixels"] else "–" for name in CLASS_SCORES],
            "iou": row["iou"] if row["pixels"] else None,
        }
        for row in evaluation.classes
    ]


def _confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    """Rows of (percentage of the true pixels, strength of its colour 0..1, pixels, whether in a pair's frame)."""
    if not evaluation.confusion:
        return None
    names = [row["name"] for row in evaluation.classes]
    partner = dict(authenticity_pairs(names))
    partner |= {fake: real for real, fake in partner.items()}
    rows = []
    for true, line in enumerate(evaluation.confusion):
        total = sum(line)
        cells = []
        for estimated, pixels in enumerate(line):
            share = pixels / total if total else 0.0
            framed = true in partner and estimated in (true, partner[true])
            cells.append({"share": share, "pixels": pixels, "framed": framed, "of": names[estimated]})
        rows.append({"name": names[true], "cells": cells, "total": total})
    return {"names": names, "rows": rows, "pairs": bool(partner)}


def _side_by_side(titles: Sequence[str], judged: Sequence[Evaluation]) -> dict[str, Any]:
    """A row for each figure and for each class, a column for each evaluation, the best one marked."""
    names = [name for name in FIGURES if any(name in shown(each) for each in judged)]
    differences, notes = [], []
    for title, each in zip(titles[1:], judged[1:], strict=True):
        try:
            found = {comparison.figure: comparison for comparison in compare(judged[0], each)}
        except InputError as error:
            found = {}
            notes.append(f"{title} has no differences: {error}")
        differences.append(found)
    figures = []
    for name in names:
        figure = FIGURES[name]
        values = [each.figures.get(name) for each in judged]
        known = [value for value in values if value is not None]
        best = (max if figure.higher_is_better else min)(known, default=None)
        marked = best if len(known) > 1 else None
        cells = [{"words": figure.number(value), "best": value is not None and value == marked} for value in values]
        for cell, found in zip(cells[1:], differences, strict=True):
            if name in found:
                one = found[name]
                signed = [figure.number(value, "+") for value in (one.difference, one.low, one.high)]
                cell["difference"] = "{} [{}, {}]".format(*signed)
        figures.append({"name": figure.label, "cells": cells})
    same = all(each.classes and each.data["class_names"] == judged[0].data["class_names"] for each in judged)
    classes = []
    for rows in zip(*(_class_table(each) for each in judged), strict=True) if same else ():
        values = [row["iou"] for row in rows]
        known = [value for value in values if value is not None]
        cells = [
            {
                "words": "–" if value is None else f"{100 * value:.1f}",
                "best": value is not None and value == max(known),
            }
            for value in values
        ]
        classes.append({"name": rows[0]["name"], "colour": rows[0]["colour"], "cells": cells})
    methods = [f"{title}: {each.method}" for title, each in zip(titles, judged, strict=True)]
    return {"titles": methods, "figures": figures, "classes": classes, "notes": notes}


def _scene_chart(titles: Sequence[str], judged: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """PSNR scene by scene, in the order of the split."""
    longest = max((len(each.scenes) for each in judged), default=0)
    if longest < 2:
        return []
    lines = [
        {"name": title, "x": list(range(1, len(each.scenes) + 1)), "y": [row["psnr_db"] for row in each.scenes]}
        for title, each in zip(titles, judged, strict=True)
    ]
    return [{"title": "PSNR of every scene (dB)", "label": "scene", "lines": lines, "logarithmic": False}]


# -- runs ------------------------------------------------------------------------------------------------------


def _columns(path: Path) -> dict[str, tuple[list[int], list[float | None]]]:
    """The columns of a table of steps; none where there is no file. A row that is being written is left out."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if None not in row.values()]
        steps = [int(row["step"]) for row in rows]
        names = [name for name in (rows[0] if rows else ()) if name != "step"]
        return {name: (steps, [_finite(row[name]) for row in rows]) for name in names}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(
            f"{path} is no table of a run ({error})", "give the folder as crsdun train left it"
        ) from error


def _finite(text: str) -> float | None:
    value = float(text or "nan")
    return value if math.isfinite(value) else None


def _curve_charts(runs: Sequence[tuple[str, RunReport]]) -> list[dict[str, Any]]:
    """A chart for each figure, with a line for each run (and stage)."""
    charts = []
    for column, (title, logarithmic) in CURVES.items():
        lines = []
        for name, run in runs:
            by_stage = {key: curve for key, curve in run.curves.items() if key.rpartition("_")[0] == column}
            for key, (steps, values) in ({column: run.curves[column]} if column in run.curves else by_stage).items():
                if all(value is None for value in values):
                    continue
                stage = "" if key == column else f"stage {key.rpartition('_')[2]}"
                words = ", ".join(part for part in (name if len(runs) > 1 else "", stage) if part) or name
                every = -(-len(steps) // MOST_PLACES)
                lines.append({"name": words, "x": steps[::every], "y": values[::every]})
        if lines:
            charts.append({"title": title, "label": "step", "lines": lines, "logarithmic": logarithmic})
    return charts


def _run_section(title: str, run: RunReport) -> dict[str, Any]:
    config, sittings = run.record["config"], run.record["sittings"]
    done = max((steps[-1] for steps, _ in run.curves.values() if steps), default=0)
    return {
        "title": title,
        "network": config["network"]["name"],
        "done": done,
        "steps": config.get("steps"),
        "parameters": run.record.get("network", {}).get("parameters"),
        "config": config,
        "sittings": sittings,
        "picture": run.picture,
    }
