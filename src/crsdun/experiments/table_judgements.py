"""More questions to rows that have learnt: other cameras, equal time, differences, curves, pictures."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, Comparison, Evaluation, compare
from crsdun.evaluation.evaluator import figure_of
from crsdun.evaluation.tables import latex, markdown
from crsdun.experiments.table_config import TableConfig, folder_name
from crsdun.experiments.table_files import Table, filled, notes, over_seeds, write, write_files
from crsdun.experiments.table_rows import RowMaker, Sets, Task, evaluation_name, evaluation_of_row
from crsdun.machine import processor
from crsdun.provenance import threads
from crsdun.storage import write_json
from crsdun.training.config import TrainConfig
from crsdun.training.distributed import join
from crsdun.training.loop import WEIGHTS, RunObserver, TrainingRun, weights_at

Configs = dict[str, TrainConfig | None]
ROUNDS = 5  # in which the steps of all rows are timed in turn


@dataclass(frozen=True)
class Learnt:
    """The weights of a row with one seed.

    Attributes:
        task: the row, the seed and the steps done.
        folder: of the row with this seed.
        weights: their file, or the name of a solver.
    """

    task: Task
    folder: Path
    weights: str


class LearntTable:
    """The rows of a table as far as all of them have come, and what judges them."""

    def __init__(self, table: TableConfig, configs: Configs, sets: Sets | None, observer: RunObserver | None):
        self.table, self.configs, self.sets = table, configs, sets
        self.observer = observer or RunObserver()
        with join() as processes:
            self.maker = RowMaker(table, sets, self.observer, processes)
        self.steps = self.last_whole_stage()

    @property
    def trained(self) -> dict[str, TrainConfig]:
        """The rows that learn."""
        return {name: config for name, config in self.configs.items() if config is not None}

    @property
    def seeds(self) -> list[int]:
        """Those with which every row has done the steps."""
        return [seed for seed in self.table.seeds or (self.table.seed,) if self.all_have(seed, self.steps)]

    def last_whole_stage(self) -> int:
        """Steps that every row has done with at least the first seed."""
        first = (self.table.seeds or (self.table.seed,))[0]
        done = [steps for steps in self.table.stage_steps if self.all_have(first, steps)]
        if not done:
            raise InputError(
                f"{self.table.out} has no stage that every row has done",
                "make the table first, or set <rows> to some that have learnt",
            )
        return max(done)

    def all_have(self, seed: int, steps: int) -> bool:
        return all(self.file(name, seed, steps).exists() for name in self.trained)

    def file(self, name: str, seed: int, steps: int) -> Path:
        """The weights of a row after so many steps."""
        folder = Task(name, seed, steps, self.configs[name]).folder(self.table)
        return folder / (weights_at(steps) if self.table.stages > 1 or steps != self.table.steps else WEIGHTS)

    def learnt(self, name: str, steps: int | None = None) -> list[Learnt]:
        """A row with every seed, after so many steps; once where nothing is trained."""
        config, steps = self.configs[name], self.steps if steps is None else steps
        if config is None:
            task = Task(name, None, 0, None)
            return [Learnt(task, task.folder(self.table), str(self.table.rows[name].weights))]
        tasks = [Task(name, seed, steps, config) for seed in self.seeds]
        return [Learnt(task, task.folder(self.table), str(self.file(name, task.seed or 0, steps))) for task in tasks]

    def evaluations(self, name: str, condition: str | None = None, steps: int | None = None) -> list[Evaluation]:
        """The evaluation of a row with every seed, made where it does not exist yet."""
        made = []
        for each in self.learnt(name, steps):
            folder = each.folder / evaluation_name(self.table, each.task.steps)
            if condition is not None:
                folder = each.folder / "conditions" / folder_name(condition)
            self.observer.notify(f"{each.task.words(self.table)}{f' behind {condition}' if condition else ''}")
            folder.parent.mkdir(parents=True, exist_ok=True)
            made.append(self.maker.evaluate(name, each.weights, folder, condition))
        return made


# -- other cameras ---------------------------------------------------------------------------------------------


def judge_conditions(
    table: TableConfig, configs: Configs, sets: Sets | None = None, observer: RunObserver | None = None
) -> list[dict[str, Any]]:
    """Every row behind the table's camera and under each of its conditions, written to ``conditions/``.

    Returns:
        One flat row for each row of the table and condition: ``system``, ``condition``, ``seeds`` and the figures,
        means over the seeds.

    Raises:
        InputError: the table has no conditions, or has not been made.
    """
    if not table.conditions:
        raise InputError("this table has no conditions", "add conditions to its file")
    learnt = LearntTable(table, configs, sets, observer)
    names = [name for name in configs if not table.rows[name].camera]  # a bound has a camera of its own
    rows: list[dict[str, Any]] = []
    cells = [["system", "as it learnt", *table.conditions]]
    for name in names:
        line = [name]
        for condition in (None, *table.conditions):
            each = learnt.evaluations(name, condition)
            figures = means(each)
            rows.append({"system": name, "condition": condition or "", "seeds": len(each), **figures})
            line.append(" / ".join(FIGURES[key].number(figures.get(key)) for key in ("psnr_db", "miou")))
        cells.append(line)
        words = f"PSNR (dB) / mIoU (%) after {learnt.steps} steps, seeds {', '.join(map(str, learnt.seeds))}."
        text = f"**{table.title}: other cameras**\n\n" + markdown(cells, words)
        folder = Path(table.out) / "conditions"
        write_files(folder, text, latex(cells, words), {"title": table.title, "words": words, "rows": rows}, rows)
    return rows


def means(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """The figures of several seeds; None where any has none."""
    result: dict[str, float | None] = {}
    for name in evaluations[0].figures:
        values = [each.figures.get(name) for each in evaluations]
        known = [value for value in values if value is not None]
        result[name] = mean(known) if len(known) == len(values) else None
    return result


# -- differences -----------------------------------------------------------------------------------------------


def differences(
    table: TableConfig,
    configs: Configs,
    reference: str,
    sets: Sets | None = None,
    observer: RunObserver | None = None,
) -> dict[str, list[Comparison]]:
    """Each row against a reference row, paired over the scenes and over the seeds, written to ``differences/``.

    Rows behind a camera of their own are left out.

    Raises:
        InputError: there is no such row, or the table has not been made.
    """
    if reference not in configs:
        raise InputError(f"this table has no row {reference!r}", f"its rows are {', '.join(configs)}")
    learnt = LearntTable(table, configs, sets, observer)
    against = learnt.evaluations(reference)
    found = {
        name: compare(against, learnt.evaluations(name))
        for name in configs
        if name != reference and not table.rows[name].camera
    }
    shown = ("psnr_db", "sam_deg", "miou", "accuracy")
    cells = [["system", *(FIGURES[figure].label for figure in shown)]]
    for name, comparisons in found.items():
        of = {each.figure: each for each in comparisons}
        cells.append([name, *(in_words(of[figure]) if figure in of else "–" for figure in shown)])
    words = (
        f"Each row minus {reference} after {learnt.steps} steps, with the 95 % interval of a bootstrap over the "
        f"scenes and the seeds {', '.join(map(str, learnt.seeds))}; bold where it excludes 0."
    )
    flat = [
        {"system": name, "figure": each.figure, "reference": each.a, "value": each.b}
        | {"difference": each.difference, "low": each.low, "high": each.high}
        for name, comparisons in found.items()
        for each in comparisons
    ]
    write_files(
        Path(table.out) / "differences",
        f"**{table.title}: differences**\n\n" + markdown(cells, words),
        latex(cells, words),
        {"title": table.title, "words": words, "rows": flat},
        flat,
    )
    return found


def in_words(each: Comparison) -> str:
    """A difference with its interval, bold where it is clear."""
    number = FIGURES[each.figure].number
    signed = [("+" if value > 0 else "") + number(value) for value in (each.difference, each.low, each.high)]
    text = f"{signed[0]} ({signed[1]} to {signed[2]})"
    return f"**{text}**" if each.clear else text


# -- equal time ------------------------------------------------------------------------------------------------


def equal_time(
    table: TableConfig, configs: Configs, sets: Sets | None = None, observer: RunObserver | None = None
) -> Table:
    """The table if every row had learnt for as long as the fastest one, written to ``equal_time/``.

    A step of each row is timed, all in turn on one processor; a row is judged with the weights it had at the last
    validation before the time was over.

    Raises:
        InputError: the table has not been made, or keeps too few weights on the way.
    """
    learnt = LearntTable(table, configs, sets, observer)
    seconds = step_seconds(table, learnt.trained, sets)
    budget = learnt.steps * min(seconds.values())
    rows, evaluation = [], None
    for name, config in configs.items():
        steps = learnt.steps
        if config is not None:
            every = config.validation.every
            steps = min(int(budget / seconds[name]) // every * every, learnt.steps)
            if steps == 0 or not all(learnt.file(name, seed, steps).exists() for seed in learnt.seeds):
                raise InputError(
                    f"{name} keeps no weights after {steps} steps, its share of {budget:.0f} seconds",
                    "set train.validation.every lower and train.validation.keep to true",
                )
        each = learnt.learnt(name, steps)
        judged = learnt.evaluations(name, steps=steps)
        row = learnt.maker.row(each[0].task)
        made = [filled(row, one.weights, config, found) for one, found in zip(each, judged, strict=True)]
        rows.append(replace(over_seeds(made), steps={"all": steps} if config else {}))
        evaluation = evaluation or judged[0]
    assert evaluation is not None
    text = notes(table, rows, evaluation, learnt.steps).splitlines()
    taken = ", ".join(f"{row.name} {row.steps['all']}" for row in rows if row.steps)
    text[1 if table.note else 0] = (
        f"Budget of every trained row: {budget:.0f} s of one core, in steps of {table.sampling.batch} crops: {taken}."
    )
    made_table = Table(f"{table.title}: equal time", rows, "\n".join(text))
    write(made_table, Path(table.out) / "equal_time")
    return made_table


def step_seconds(table: TableConfig, trained: dict[str, TrainConfig], sets: Sets | None = None) -> dict[str, float]:
    """Seconds that a step of each row takes, the median of ``ROUNDS`` in which all rows take one in turn.

    Kept in ``step_seconds.json`` of the table's folder.
    """
    path = Path(table.out) / "step_seconds.json"
    known = json.loads(path.read_text())["seconds"] if path.exists() else {}
    if set(trained) <= set(known):
        return {name: known[name] for name in trained}
    folder = Path(tempfile.mkdtemp())
    try:
        times: dict[str, list[float]] = {name: [] for name in trained}
        with join() as processes:
            runs = {}
            for name, config in trained.items():
                config = replace(config, out=str(folder), sampling=replace(config.sampling, workers=0))
                runs[name] = TrainingRun(config, sets and sets[:2], RunObserver(notify=lambda line: None), processes)
            streams = {name: run.batches.stream(0, ROUNDS + 1) for name, run in runs.items()}
            for number in range(ROUNDS + 1):
                for name, run in runs.items():
                    began = time.perf_counter()
                    run.learner.learn(next(streams[name]).to(processes.device))
                    if number > 0:  # the first one also prepares
                        times[name].append(time.perf_counter() - began)
    finally:
        shutil.rmtree(folder)
    seconds = {name: median(each) for name, each in times.items()}
    record = {"seconds": seconds, "rounds": ROUNDS, "processor": processor(), "threads": threads()}
    write_json(path, record)
    return seconds


# -- curves ----------------------------------------------------------------------------------------------------


def curves(table: TableConfig, configs: Configs, sets: Sets | None = None) -> list[dict[str, Any]]:
    """PSNR and mIoU of every row at each of its validations so far, against samples and seconds, means over seeds.

    Returns:
        Rows with ``system``, ``step``, ``samples``, ``seconds`` (of one core, as ``step_seconds``), ``psnr_db`` where
        the cube is learnt, and ``miou``; also written to ``curves.csv``, and drawn in ``curves.png``.
    """
    from crsdun.evaluation.tables import write_csv
    from crsdun.viewing.table_curves import draw_curves

    trained = {name: config for name, config in configs.items() if config is not None}
    seconds = step_seconds(table, trained, sets)
    rows: list[dict[str, Any]] = []
    for name, config in trained.items():
        found: dict[int, list[dict[str, str]]] = {}
        for seed in table.seeds or (table.seed,):
            path = Task(name, seed, 0, config).folder(table) / "validation.csv"
            if path.exists():
                with path.open(newline="") as file:
                    for line in csv.DictReader(file):
                        found.setdefault(int(line["step"]), []).append(line)
        for step, lines in sorted(found.items()):
            row = {"system": name, "step": step, "samples": step * table.sampling.batch}
            row |= {"seconds": step * seconds[name], "seeds": len(lines)}
            figures = ("miou",) if config.loss.cube == "none" else ("psnr_db", "miou")  # what it learns
            row |= {key: mean(float(line[key]) for line in lines) for key in figures if lines[0].get(key)}
            rows.append(row)
    if not rows:
        raise InputError(f"no row of {table.out} has been validated yet", "make the table first")
    write_csv(Path(table.out) / "curves.csv", rows)
    draw_curves(rows, Path(table.out) / "curves.png")
    return rows


# -- pictures --------------------------------------------------------------------------------------------------


def pictures(
    table: TableConfig, configs: Configs, count: int, sets: Sets | None = None, observer: RunObserver | None = None
) -> list[Path]:
    """Scenes of the split as every row sees them, with the first seed; written to ``pictures/``.

    Args:
        count: of scenes, evenly spread over the split.

    Raises:
        InputError: the table has not been made, or the split does not have so many scenes.
    """
    from crsdun.viewing.system_sheet import SystemCell, system_sheet

    learnt = LearntTable(table, configs, sets, observer)
    scenes, device = learnt.maker.scenes, learnt.maker.processes.device
    judged = min(table.scenes or len(scenes), len(scenes))
    if not 1 <= count <= judged:
        raise InputError(f"{count} pictures of {judged} scenes cannot be drawn", f"ask for 1 to {judged}")
    paths, exposure = [], table.camera.exposure()
    for index in ((2 * place + 1) * judged // (2 * count) for place in range(count)):
        cells = []
        for name in configs:
            evaluation, weights = learnt.evaluations(name)[0], learnt.learnt(name)[0].weights
            run = evaluation_of_row(table, name, weights, None, scenes, device)
            _, estimate = run.seen(index, evaluation)
            row = evaluation.scenes[index]
            words = [f"{FIGURES['psnr_db'].number(row['psnr_db'])} dB"]
            if "accuracy" in row:
                words.append(f"{FIGURES['accuracy'].number(figure_of(row, 'accuracy'))} % right")
            cells.append(SystemCell(name, ", ".join(words), estimate))
        scene, name = scenes[index], scenes.names[index]
        frame = exposure.measure(scene.cube, exposure.camera(scene), seed=name)
        paths.append(Path(table.out) / "pictures" / f"{folder_name(name)}.png")
        system_sheet(scene, frame.numpy(), cells, paths[-1])
    return paths
