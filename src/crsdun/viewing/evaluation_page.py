"""The report of evaluations and of training runs: tables, confusions, scenes and curves, several side by side."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, Evaluation, compare, read_evaluation
from crsdun.evaluation.evaluator import ClassRow, SceneRow, by_psnr, figure_of
from crsdun.evaluation.metrics import authenticity_pairs
from crsdun.evaluation.tables import FILE, caption, shown
from crsdun.training.run_log import RECORD as RUN
from crsdun.training.run_log import RunRecord, read_record
from crsdun.viewing.colour import css_colour
from crsdun.viewing.pages import Tile, command_line, figure_tiles, file_url, render
from crsdun.viewing.palette import class_colours

EXTREMES = 5  # best and worst scenes that stand first
MAX_CURVE_POINTS = 1500
# Columns of log.csv and validation.csv that are worth a chart, in this order: title, logarithmic.
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
CLASS_SCORES = {"iou": "IoU", "f1": "F1", "precision": "precision", "recall": "recall"}

Curve = tuple[list[int], list[float | None]]


@dataclass(frozen=True)
class RunReport:
    """A folder of ``crsdun train``.

    Attributes:
        title: what to call it.
        record: its ``run.json``.
        curves: the steps and values of each column, None where a value is missing or not finite; columns of
            ``validation.csv`` that the log has too are called ``validation …``.
        picture: of the last validation, as a URL; or None.
    """

    title: str
    record: RunRecord
    curves: dict[str, Curve]
    picture: str | None

    @property
    def steps_done(self) -> int:
        return max((steps[-1] for steps, _ in self.curves.values() if steps), default=0)


class Row(NamedTuple):
    """A row of a table: cells as the page shows them, and the colour of a class."""

    name: str
    cells: list[Any]
    colour: str = ""


class Table(NamedTuple):
    headers: list[str]
    rows: list[Row]


class ConfusionCell(NamedTuple):
    """Pixels taken for a class, of how many true pixels of the row, and whether they are of the right kind."""

    estimated: str
    pixels: int
    total: int
    framed: bool

    @property
    def share(self) -> float:
        return self.pixels / self.total if self.total else 0.0


@dataclass(frozen=True)
class EvaluationReport:
    """A folder of ``crsdun evaluate``, in the parts that its section of the page shows."""

    title: str
    evaluation: Evaluation
    caption: str
    tiles: list[Tile]
    stages: Table | None
    classes: Table | None
    confusion: list[Row]
    best: Table
    worst: Table | None
    scenes: Table | None
    seconds: float
    contact_sheet: str | None
    command: str

    @property
    def has_pairs(self) -> bool:
        """Whether there are classes of real and fake, which are framed in the confusion matrix."""
        return any(cell.framed for row in self.confusion for cell in row.cells)


class ComparedValue(NamedTuple):
    """One figure of one evaluation, and its difference to the first one with an interval."""

    text: str
    best: bool
    difference: str = ""


@dataclass(frozen=True)
class SideBySide:
    """The metrics, and the IoU of each class, of every evaluation; the cells are ``ComparedValue``."""

    metrics: Table
    classes: Table | None
    notes: list[str]


@dataclass(frozen=True)
class Line:
    name: str
    x: list[int]
    y: list[float | None]


@dataclass(frozen=True)
class Chart:
    """Lines over ``label``, as the page's script draws them."""

    title: str
    label: str
    lines: list[Line]
    logarithmic: bool = False


def evaluation_page(folders: Sequence[str | Path], titles: Sequence[str] | None = None) -> str:
    """One page for folders of ``crsdun evaluate`` and ``crsdun train``, a whole HTML file.

    Args:
        titles: what to call the folders; None takes the ends of their paths that differ.

    Raises:
        InputError: a folder is neither, or broken.
    """
    evaluations: list[EvaluationReport] = []
    runs: list[RunReport] = []
    for title, folder in zip(titles or _distinct_ends(folders), map(Path, folders), strict=True):
        if (folder / FILE).is_file():
            evaluations.append(read_evaluation_report(folder, title))
        else:
            runs.append(read_run_report(folder, title))
    scene_charts, training_charts = _scene_charts(evaluations), _training_charts(runs)
    names = [each.evaluation.method for each in evaluations] or [
        run.record["config"]["network"]["name"] for run in runs
    ]
    counts = (len(evaluations), "evaluation"), (len(runs), "training run")
    return render(
        "evaluation",
        {"charts": [asdict(chart) for chart in (*scene_charts, *training_charts)]},
        heading=", ".join(dict.fromkeys(names)),
        contents=" and ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count),
        side_by_side=_side_by_side(evaluations) if len(evaluations) > 1 else None,
        evaluations=evaluations,
        runs=runs,
        scene_charts=scene_charts,
        training_charts=training_charts,
    )


def _distinct_ends(folders: Sequence[str | Path]) -> list[str]:
    """The shortest ends of the paths that differ."""
    parts = [Path(folder).resolve().parts for folder in folders]
    length = 1
    while len({each[-length:] for each in parts}) < len(set(parts)):
        length += 1
    return ["/".join(each[-length:]) for each in parts]


# -- evaluations -----------------------------------------------------------------------------------------------


def read_evaluation_report(folder: Path, title: str) -> EvaluationReport:
    """An evaluation in a folder.

    Raises:
        InputError: the folder holds none, or it is not complete.
    """
    evaluation = read_evaluation(folder)
    try:
        return _evaluation_report(folder, title, evaluation)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{folder / FILE} is incomplete ({error!r})", "evaluate again") from error


def _evaluation_report(folder: Path, title: str, evaluation: Evaluation) -> EvaluationReport:
    names, last = shown(evaluation), len(evaluation.stages)
    stages = []
    for number, figures in enumerate(evaluation.stages, start=1):
        cells = [FIGURES[name].number(figures.get(name)) for name in names]
        stages.append(Row("answer" if number == last else f"stage {number}", cells))
    order = [evaluation.scenes[place] for place in reversed(by_psnr(evaluation.scenes))]
    columns = [name for name in FIGURES if any(name in row for row in order)]
    few = len(order) <= 2 * EXTREMES
    return EvaluationReport(
        title=title,
        evaluation=evaluation,
        caption=caption(evaluation),
        tiles=figure_tiles(evaluation.figures, names),
        stages=Table(["", *(FIGURES[name].label for name in names)], stages) if last > 1 else None,
        classes=_class_table(evaluation) if evaluation.classes else None,
        confusion=_confusion_rows(evaluation),
        best=_scene_table(order if few else order[:EXTREMES], columns),
        worst=None if few else _scene_table(order[: -EXTREMES - 1 : -1], columns),
        scenes=None if few else _scene_table(evaluation.scenes, columns),
        seconds=median(row["seconds"] for row in evaluation.scenes),
        contact_sheet=file_url(folder / "contact_sheet.png"),
        command=command_line(evaluation.record["command"]),
    )


def _scene_table(scenes: Sequence[SceneRow], columns: Sequence[str]) -> Table:
    rows = []
    for scene in scenes:
        cells = [FIGURES[name].number(figure_of(scene, name)) for name in columns]
        name = scene["name"] + (" (do not rely on it)" if "warning" in scene else "")
        rows.append(Row(name, [*cells, f"{100 * scene['data_residual']:.2f}", f"{scene['seconds']:.2f}"]))
    return Table(["scene", *(FIGURES[name].label for name in columns), "data residual (%)", "seconds"], rows)


def _class_table(evaluation: Evaluation) -> Table:
    rows = []
    for row in evaluation.classes:
        scores = [_percentage(figure_of(row, name) if row["pixels"] else None) for name in CLASS_SCORES]
        rows.append(Row(row["name"], [f"{int(row['pixels']):,}", *scores], _colour(row)))
    return Table(["class", "pixels", *(f"{label} (%)" for label in CLASS_SCORES.values())], rows)


def _percentage(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _colour(row: ClassRow) -> str:
    return css_colour(class_colours(row["class"] + 1)[-1])


def _confusion_rows(evaluation: Evaluation) -> list[Row]:
    """Pairs of real and fake are framed: their pixels are of the right kind."""
    names = [row["name"] for row in evaluation.classes]
    partner = dict(authenticity_pairs(names))
    partner |= {fake: real for real, fake in partner.items()}
    rows = []
    for true, pixels in enumerate(evaluation.confusion):
        framed = (true, partner[true]) if true in partner else ()
        total = sum(pixels)
        cells = [ConfusionCell(names[k], count, total, k in framed) for k, count in enumerate(pixels)]
        rows.append(Row(names[true], cells))
    return rows


def _side_by_side(reports: Sequence[EvaluationReport]) -> SideBySide:
    """A row for each figure and for each class, a column for each evaluation; if all compare, the best is marked."""
    first, *others = reports
    differences: list[dict[str, str]] = [{}]
    notes = []
    for other in others:
        differences.append({})
        try:
            for each in compare(first.evaluation, other.evaluation):
                signed = (FIGURES[each.figure].number(value, "+") for value in (each.difference, each.low, each.high))
                differences[-1][each.figure] = "{} [{}, {}]".format(*signed)
        except InputError as error:
            notes.append(f"{other.title} cannot be compared with {first.title}: {error}")

    evaluations = [report.evaluation for report in reports]
    metrics = []
    for name, figure in FIGURES.items():
        if any(name in shown(each) for each in evaluations):
            values = [each.figures.get(name) for each in evaluations]
            known = [value for value in values if value is not None]
            best = (max if figure.higher_is_better else min)(known) if len(known) > 1 and not notes else None
            cells = [
                ComparedValue(figure.number(value), value is not None and value == best, compared.get(name, ""))
                for value, compared in zip(values, differences, strict=True)
            ]
            metrics.append(Row(figure.label, cells))

    class_names = first.evaluation.data["class_names"]
    same = all(each.classes and each.data["class_names"] == class_names for each in evaluations)
    classes = []
    for rows in zip(*(each.classes for each in evaluations), strict=True) if same else ():
        values = [row["iou"] if row["pixels"] else None for row in rows]
        best = None if notes else max((value for value in values if value is not None), default=None)
        cells = [ComparedValue(_percentage(value), value is not None and value == best) for value in values]
        classes.append(Row(rows[0]["name"], cells, _colour(rows[0])))
    titles = [f"{report.title}: {report.evaluation.method}" for report in reports]
    return SideBySide(
        Table(["metric", *titles], metrics), Table(["class", *titles], classes) if classes else None, notes
    )


def _scene_charts(reports: Sequence[EvaluationReport]) -> list[Chart]:
    """PSNR scene by scene, in the order of the split; none for a single scene."""
    if max((len(report.evaluation.scenes) for report in reports), default=0) < 2:
        return []
    lines = []
    for report in reports:
        psnr = [row["psnr_db"] for row in report.evaluation.scenes]
        lines.append(Line(report.title, list(range(1, len(psnr) + 1)), psnr))
    return [Chart("PSNR of every scene (dB)", "scene", lines)]


# -- runs ------------------------------------------------------------------------------------------------------


def read_run_report(folder: str | Path, title: str) -> RunReport:
    """A run, finished or not.

    Raises:
        InputError: the folder holds none, or a file of it is broken.
    """
    folder = Path(folder)
    try:
        record = read_record(folder)
    except OSError as error:
        raise InputError(
            f"{folder} holds no complete {RUN} of crsdun train ({error})", "give the folder of a run"
        ) from error
    curves = _curves(folder / "log.csv")
    for name, curve in _curves(folder / "validation.csv").items():
        curves[f"validation {name}" if name in curves else name] = curve
    return RunReport(title, record, curves, file_url(folder / "validation.png", 900))


def _curves(path: Path) -> dict[str, Curve]:
    """The columns of a table of steps; none where there is no file. An unfinished last row is ignored."""
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
            f"{path} is not a table of training steps ({error})", "give the folder as crsdun train left it"
        ) from error


def _finite(text: str) -> float | None:
    value = float(text or "nan")
    return value if math.isfinite(value) else None


def _training_charts(runs: Sequence[RunReport]) -> list[Chart]:
    """A chart for each figure, with a line for each run (and stage)."""
    charts = []
    for column, (title, logarithmic) in CURVES.items():
        lines = []
        for run in runs:
            by_stage = {key: curve for key, curve in run.curves.items() if key.rpartition("_")[0] == column}
            for key, (steps, values) in ({column: run.curves[column]} if column in run.curves else by_stage).items():
                if all(value is None for value in values):
                    continue
                stage = "" if key == column else f"stage {key.rpartition('_')[2]}"
                parts = [run.title if len(runs) > 1 else "", stage]
                every = -(-len(steps) // MAX_CURVE_POINTS)
                name = ", ".join(filter(None, parts)) or run.title
                lines.append(Line(name, steps[::every], values[::every]))
        if lines:
            charts.append(Chart(title, "step", lines, logarithmic))
    return charts
