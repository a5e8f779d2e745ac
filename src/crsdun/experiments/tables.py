"""Several systems under one budget: trained one after the other by the same loop, evaluated by the same protocol.

The budget (data, camera, crops, steps, seed) belongs to the table, and no row can change it. Samples are a function
of seed and step alone, so every row is trained on the same crops, behind the same masks, in the same order.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Literal

import torch

from crsdun.cluster import Crew
from crsdun.errors import InputError
from crsdun.evaluation import (
    FIGURES,
    PUBLISHED,
    Evaluation,
    EvaluationOptions,
    Published,
    evaluate,
    get_protocol,
    multiply_adds,
    parameters,
    read_evaluation,
    write_tables,
)
from crsdun.evaluation.evaluator import JudgedScene, Judges
from crsdun.evaluation.tables import FILE, caption, latex, markdown, write_csv
from crsdun.experiments.evaluation_folder import EvaluationRun, weights_file
from crsdun.networks import load
from crsdun.provenance import fingerprint
from crsdun.runtime import open_method
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet
from crsdun.solvers import SOLVERS
from crsdun.storage import refusal, write_json, write_text
from crsdun.training.config import CameraConfig, DataConfig, SamplingConfig, TrainConfig, config_from, load_values
from crsdun.training.distributed import Processes, join
from crsdun.training.loop import RunObserver, TrainingResult, train
from crsdun.training.phases import phases_of

Sets = tuple[SceneSet, SceneSet, SceneSet]

BUDGET = ("data", "camera", "sampling", "steps", "seed")


@dataclass(frozen=True)
class RowConfig:
    """One system of a table.

    Attributes:
        config: file of a training configuration, relative to the table's file; the table's budget replaces its own.
        train: keys of a training configuration for this row alone, such as ``network``.
        weights: existing weights, or a solver such as ``gap-tv``: nothing is trained.
    """

    config: str | None = None
    train: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class TableConfig:
    """A table of systems.

    Attributes:
        title: of the table.
        rows: systems by their names in the table, in its order.
        out: folder of the table; each row has a folder in it, which is that of its training run.
        data, camera, sampling, steps, seed: the budget of every row, as in a training configuration.
        seeds: train every row once with each of them, all rows with the first one first; the figures are means.
            Null for ``seed`` alone.
        train: further keys of a training configuration, the same for every row.
        note: what a reader needs to know, printed under the table.
        split: that the rows are evaluated on.
        scenes: evaluate on this many, the first of the split; null for all.
        protocol: of PSNR and SSIM.
        minutes: stop cleanly after this time; the same command then resumes the table. Null for no limit.
    """

    title: str
    rows: dict[str, RowConfig]
    out: str
    data: DataConfig
    steps: int
    camera: CameraConfig = field(default_factory=CameraConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0
    seeds: tuple[int, ...] | None = None
    train: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    split: Literal["validation", "test"] = "test"
    scenes: int | None = None
    protocol: str = "crsdun"
    minutes: float | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a table needs at least one row", "see configs/table_main_small.yaml")
        for where, changes in (
            ("train", self.train),
            *((f"rows.{name}.train", row.train) for name, row in self.rows.items()),
        ):
            for key in (*BUDGET, "out", "minutes"):
                if key in changes:
                    raise InputError(f"{where}.{key} is for the whole table", f"set {key} at the top of the file")
        folders = [folder_name(name) for name in self.rows]
        for name, folder in zip(self.rows, folders, strict=True):
            if not folder or folders.count(folder) > 1:
                raise InputError(
                    f"the row {name!r} needs a name that differs from all others in its letters or digits"
                )
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise InputError(f"seeds must be one or more different ones, or null, not {self.seeds}")
        if self.scenes is not None and self.scenes < 1:
            raise InputError(f"scenes must be 1 or more, or null, not {self.scenes}")
        if self.minutes is not None and self.minutes <= 0:
            raise InputError(f"minutes must be positive, or null, not {self.minutes}")
        get_protocol(self.protocol)


@dataclass(frozen=True)
class TableRow:
    """One system of a table, evaluated.

    Attributes:
        name: in the table.
        system: name of its network in the zoo, or its weights.
        steps: of training, of each of its parts; empty if nothing was trained.
        figures: over the scenes, as ``Evaluation.figures``; means over the seeds.
        spread: standard deviation of each figure over the seeds; empty for a single one.
        seeds: how many.
        parameters, multiply_adds: the latter of one scene of 256×256; None for a solver.
        seconds: for one scene, median.
        training_hours: None if nothing was trained.
        published: what the paper prints of the system.
        failure: why there are no figures.
    """

    name: str
    system: str
    steps: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    seeds: int = 1
    parameters: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None
    training_hours: float | None = None
    published: Published | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Table:
    """A table, as far as it is complete.

    Attributes:
        title: over it.
        rows: that are done, including failed ones.
        notes: under it, what the numbers are.
        stopped: why it stopped before the last row (``time`` or ``signal``), or None.
    """

    title: str
    rows: list[TableRow]
    notes: str
    stopped: str | None = None

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [asdict(row) for row in self.rows]
        return {"title": self.title, "rows": rows, "words": self.notes, "stopped": self.stopped}


# -- reading the configuration ---------------------------------------------------------------------------------


def load_table(path: str | Path, overrides: Sequence[str] = ()) -> tuple[TableConfig, dict[str, TrainConfig | None]]:
    """A table and how each of its rows is trained, None for existing weights; arguments as ``load_config``.

    Raises:
        InputError: as ``load_config``, or a row is invalid.
    """
    path = Path(path)
    table = config_from(load_values(path, overrides), TableConfig)
    return table, {name: row_config(table, name, path.parent) for name in table.rows}


def row_config(table: TableConfig, name: str, folder: Path) -> TrainConfig | None:
    """How a row is trained: its file, overridden by the table's ``train``, then by its own, then by the budget."""
    row = table.rows[name]
    if row.weights is not None:
        if row.config is not None or row.train:
            raise InputError(f"rows.{name} has weights, so nothing is trained", "omit its config and train")
        return None
    values = load_values(folder / row.config) if row.config else {}
    for above in (table.train, row.train, {key: value for key, value in asdict(table).items() if key in BUDGET}):
        values = merged(values, above)
    try:
        return config_from({**values, "out": str(Path(table.out) / folder_name(name))})
    except InputError as error:
        raise InputError(f"rows.{name}: {error.message}", error.remedy) from error


def merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Nested values with overrides; a network is replaced as a whole."""
    result = dict(values)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict) and key != "network"
        result[key] = merged(result[key], value) if nested else value
    return result


def folder_name(name: str) -> str:
    """``SSR-6stg + Seg`` → ``ssr_6stg_seg``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


# -- making the table ------------------------------------------------------------------------------------------


def make_table(
    table: TableConfig,
    configs: dict[str, TrainConfig | None],
    sets: Sets | None = None,
    observer: RunObserver | None = None,
    crew: Crew | None = None,
) -> Table:
    """Train and evaluate row by row, or resume an interrupted table; its files are written after every row.

    Args:
        table, configs: as ``load_table`` returns them.
        sets: training, validation and test scenes, in place of ``table.data``.
        observer: follows the runs.
        crew: that evaluates, on scenes of ``table.data``; None evaluates here.

    Raises:
        InputError: the scenes for the evaluation cannot be read, or the folder cannot be written to; an error in a
            single row is its ``failure``.
    """
    with join() as processes:
        return TableRun(table, sets, observer or RunObserver(), processes, crew).run(configs)


class TableRun:
    """One process's part of making a table."""

    def __init__(
        self,
        table: TableConfig,
        sets: Sets | None,
        observer: RunObserver,
        processes: Processes,
        crew: Crew | None = None,
    ):
        self.table, self.sets, self.observer, self.processes, self.crew = table, sets, observer, processes, crew
        self.notify = observer.notify if processes.rank == 0 else lambda line: None
        self.out = Path(table.out)
        self.deadline = time.monotonic() + 60 * (table.minutes or math.inf)
        self.scenes = sets[2] if sets else open_set(table.data.source, table.split)

    def run(self, configs: dict[str, TrainConfig | None]) -> Table:
        """All rows, or those up to the time limit or a signal."""
        made = Table(self.table.title, [], "")
        seeds = self.table.seeds or (self.table.seed,)
        done: dict[str, list[TableRow]] = {}
        for place, seed in enumerate(seeds):
            # What is not trained is the same for every seed.
            rows = {name: config for name, config in configs.items() if config is not None or place == 0}
            for number, (name, config) in enumerate(rows.items(), 1):
                which = f", seed {seed}" if len(seeds) > 1 else ""
                self.notify(f"row {number} of {len(rows)}{which}: {name}")
                weights = self.table.rows[name].weights
                system = config.network.name if config else str(weights)
                row, evaluation = TableRow(name, system, published=PUBLISHED.get(system)), None
                try:
                    folder = self.out / folder_name(name)
                    if config is not None:
                        folder = folder / f"seed_{seed}" if len(seeds) > 1 else folder
                        config = replace(config, seed=seed, out=str(folder))
                        result = self.train(config)
                        if result.weights is None:
                            return replace(made, stopped=result.stopped)
                        weights = str(result.weights)
                    evaluation = self.evaluate(name, str(weights), folder / "evaluation")
                    row = filled(row, str(weights), config, evaluation)
                except Exception as failure:  # whatever it is, the other rows are not affected
                    row = replace(row, failure=in_one_line(failure))
                    self.notify(f"{name} failed: {row.failure}")
                done.setdefault(name, []).append(row)
                made = replace(made, rows=[over_seeds(rows) for rows in done.values()])
                if evaluation is not None:
                    made = replace(made, notes=notes(self.table, made.rows, evaluation))
                if self.processes.rank == 0:
                    write(made, self.out)
        return made

    def train(self, config: TrainConfig) -> TrainingResult:
        """Train a row, or resume it, within the time that is left."""
        left = None if self.table.minutes is None else max((self.deadline - time.monotonic()) / 60, 1e-9)
        return train(replace(config, minutes=left), self.sets and self.sets[:2], self.observer)

    def evaluate(self, name: str, weights: str, folder: Path) -> Evaluation:
        """The evaluation of a row's weights, which the folder keeps."""
        run = evaluation_of_row(self.table, weights, self.scenes, self.processes.device)
        earlier = earlier_evaluation(run, folder, self.notify)
        if earlier is not None:
            return earlier
        crew, maker = self.crew, partial(judge_of_row, self.table, weights)
        evaluation = replace(evaluate_run(run, None if crew is None else crew.work(maker).results), method=name)
        if self.processes.rank == 0:
            write_evaluation(evaluation, folder)
        return evaluation


def evaluation_of_row(table: TableConfig, weights: str, scenes: SceneSet, device: Any) -> EvaluationRun:
    """The evaluation of weights as the table says."""
    return EvaluationRun(
        open_method(weights, device),
        scenes,
        table.camera.exposure(),
        EvaluationOptions(table.protocol, device, table.scenes),
        weights,
    )


def judge_of_row(table: TableConfig, weights: str) -> Callable[[int], JudgedScene]:
    """What a worker does for each scene of a row."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return evaluation_of_row(table, weights, open_set(table.data.source, table.split), device).judge


def chosen(rows: Collection[str], names: str | None) -> list[str]:
    """The rows of a table, in its order: all, or those named in a list separated by commas.

    Raises:
        InputError: there is no such row.
    """
    if names is None:
        return list(rows)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in rows:
            raise InputError(f"this table has no row {name!r}", f"set <rows> to some of {', '.join(rows)}")
    return [name for name in rows if name in wanted]


def in_one_line(failure: Exception) -> str:
    """Why a row has no figures."""
    kind = "" if isinstance(failure, InputError) else f"{type(failure).__name__}: "
    return kind + " ".join(str(failure).split())


# -- evaluations that are made once ----------------------------------------------------------------------------


def earlier_evaluation(run: EvaluationRun, folder: Path, notify: Callable[[str], None]) -> Evaluation | None:
    """The evaluation that a folder holds of the same method, scenes, exposure and options; None if there is none."""
    if not (folder / FILE).exists():
        return None
    try:
        earlier = read_evaluation(folder)
    except InputError as error:
        notify(f"{error.message}; evaluated again")
        return None
    made_of = (
        earlier.record.get("weights"),
        earlier.record.get("settings"),
        earlier.data["fingerprint"],
        earlier.protocol,
        earlier.camera,
        len(earlier.scenes),
    )
    wanted = (
        origin(run),
        json.loads(json.dumps(run.method.settings)),
        fingerprint(run.scenes.hashes()),
        run.options.protocol,
        run.exposure.described(),
        min(run.options.first or len(run.scenes), len(run.scenes)),
    )
    return earlier if made_of == wanted else None


def evaluate_run(run: EvaluationRun, judges: Judges | None = None) -> Evaluation:
    """The evaluation, with the file of the weights or the name of the solver in its record; as ``evaluate``."""
    evaluation = evaluate(run.method, run.scenes, run.exposure, run.options, judges=judges)
    return replace(evaluation, record={**evaluation.record, "weights": origin(run)})


def origin(run: EvaluationRun) -> dict[str, Any]:
    """What a method was opened from."""
    return weights_file(run.weights) or {"solver": run.weights}


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write the tables of an evaluation into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(evaluation, folder)


# -- the numbers of a row --------------------------------------------------------------------------------------


def filled(row: TableRow, weights: str, config: TrainConfig | None, evaluation: Evaluation) -> TableRow:
    """A row with all its numbers."""
    row = replace(
        row,
        figures={name: value for name, value in evaluation.figures.items() if name in FIGURES},
        seconds=median(scene["seconds"] for scene in evaluation.scenes),
    )
    if weights in SOLVERS:
        return row
    network = load(weights)
    row = replace(
        row,
        parameters=parameters(network),
        multiply_adds=multiply_adds(network, step=evaluation.camera["step"]),
        training_hours=network.card.provenance.get("hours"),
    )
    if config is None:
        return row
    return replace(row, steps={phase.learns: phase.steps for phase in phases_of(config, network)})


def over_seeds(rows: Sequence[TableRow]) -> TableRow:
    """One row of those of all seeds; of a row that failed with one of them, why."""
    failed = next((row for row in rows if row.failure), None)
    if failed or len(rows) == 1:
        return failed or rows[0]
    values = {
        name: [value for row in rows if (value := row.figures.get(name)) is not None] for name in rows[0].figures
    }
    hours = [row.training_hours for row in rows if row.training_hours is not None]
    return replace(
        rows[0],
        figures={name: mean(each) if each else None for name, each in values.items()},
        spread={name: stdev(each) for name, each in values.items() if len(each) > 1},
        seeds=len(rows),
        seconds=median(row.seconds for row in rows if row.seconds is not None),
        training_hours=sum(hours) if hours else None,
    )


# -- writing it ------------------------------------------------------------------------------------------------


def notes(table: TableConfig, rows: Sequence[TableRow], evaluation: Evaluation) -> str:
    """What the numbers of a table are, line by line."""
    height, width = table.sampling.crop
    shares = {f"{row.steps['reconstruction']} + {row.steps['segmenter']}": None for row in rows if len(row.steps) > 1}
    shared = f", shared between reconstruction + segmenter: {' or '.join(shares)}" if shares else ""
    seeds = f"seed {table.seed}"
    if table.seeds is not None:
        trained = sorted({row.seeds for row in rows if row.steps})
        done = " to ".join(str(count) for count in dict.fromkeys((*trained[:1], *trained[-1:])))
        seeds = f"mean ± standard deviation over {done} of {len(table.seeds)} seeds"
    lines = [
        table.note,
        f"Budget of every trained row: {table.steps} steps of {table.sampling.batch} crops of {height}×{width}, "
        f"{seeds}{shared}.",
        f"Judged on {caption(evaluation)}.",
        "M: parameters / 10⁶; G: multiply-adds / 10⁹ of one scene of 256×256; s: seconds for one scene, median.",
        "Published: He et al., CVPR 2026, on 50 scenes of FVgNET at full width; not measured here.",
    ]
    return "\n".join(line for line in lines if line)


def cells(table: Table) -> list[list[str]]:
    """A header and the rows as text; with published figures if any row has them."""
    psnr, miou = FIGURES["psnr_db"], FIGURES["miou"]
    head = ["system", psnr.label, miou.label, "M", "G", "s"]
    with_published = any(row.published for row in table.rows)
    if with_published:
        head += [f"published {psnr.name}", miou.name, "M", "G"]
    lines = [head]
    for row in table.rows:
        line = [row.name, *_numbers(row.figures.get("psnr_db"), row.figures.get("miou"), row)]
        for place, figure in enumerate(("psnr_db", "miou"), 1):
            if figure in row.spread:
                line[place] += f" ± {FIGURES[figure].number(row.spread[figure])}"
        line.append("–" if row.seconds is None else f"{row.seconds:.2f}")
        if with_published:
            known = row.published
            line += _numbers(known.psnr_db, known.miou, known) if known else 4 * [""]
        lines.append(line)
    return lines


def _numbers(psnr: float | None, miou: float | None, counts: TableRow | Published) -> list[str]:
    """PSNR, mIoU, M and G."""
    millions, billions = (
        "–" if count is None else f"{count / unit:.2f}"
        for count, unit in ((counts.parameters, 1e6), (counts.multiply_adds, 1e9))
    )
    return [FIGURES["psnr_db"].number(psnr), FIGURES["miou"].number(miou), millions, billions]


def as_markdown(table: Table) -> str:
    """The table with its title and notes."""
    lines = [*table.notes.splitlines(), *(f"{row.name} failed: {row.failure}" for row in table.rows if row.failure)]
    return f"**{table.title}**\n\n" + markdown(cells(table), "\n\n".join(lines))


def write(table: Table, folder: Path) -> None:
    """Write ``table.md``, ``table.tex``, ``table.csv`` and ``table.json``; in the last two, mIoU is a share of 1.

    Raises:
        InputError: the folder cannot be written to.
    """
    flat = [
        {"system": row.name, "network": row.system, **row.figures, "seeds": row.seeds}
        | {f"{name}_spread": value for name, value in row.spread.items()}
        | {key: getattr(row, key) for key in ("parameters", "multiply_adds", "seconds", "training_hours", "failure")}
        | {f"published_{key}": value for key, value in (asdict(row.published) if row.published else {}).items()}
        for row in table.rows
    ]
    comments = f"{table.title}\n{table.notes}".replace("\n", "\n% ")
    write_files(folder, as_markdown(table), latex(cells(table), comments), table.plain(), flat)


def write_files(
    folder: Path, markdown: str, latex: str, plain: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Write a table in all formats: ``table.md``, ``table.tex``, ``table.json`` and, from ``rows``, ``table.csv``.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error
    write_text(folder / "table.md", markdown)
    write_text(folder / "table.tex", latex)
    write_json(folder / "table.json", plain)
    write_csv(folder / "table.csv", rows)
