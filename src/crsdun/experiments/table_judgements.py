"""More questions to rows that have learnt: other cameras, equal time, differences, curves, pictures."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, Comparison, Evaluation, compare
from crsdun.evaluation.evaluator import figure_of
from crsdun.evaluation.tables import latex, markdown
from crsdun.experiments.table_config import TableConfig, folder_name
from crsdun.experiments.table_files import Table, as_markdown, notes, over_seeds, write, write_files
from crsdun.experiments.table_rows import RowMaker, TableSets, Task, evaluation_of_row
from crsdun.machine import processor
from crsdun.provenance import fingerprint
from crsdun.storage import write_json
from crsdun.threads import computing_with
from crsdun.training.config import TrainConfig
from crsdun.training.distributed import join
from crsdun.training.loop import RunObserver, TrainingRun, kept_steps
from crsdun.training.origin import Origin

Configs = dict[str, TrainConfig | None]
STEP_SECONDS = "step_seconds.json"
ROUNDS = 5  # in which the steps of all rows are timed in turn


class Answer(NamedTuple):
    """What a question to a table is answered: rows for a program, which are plain values, and a text for a person."""

    rows: list[Any]
    text: str


class LearntTable:
    """The rows of a table as far as all of them have come, and what judges them.

    Args:
        configs: of the rows that are asked.
        observer: follows what is judged.
        sets: training, validation and test scenes, in place of ``table.data``.
    """

    def __init__(
        self, table: TableConfig, configs: Configs, observer: RunObserver | None = None, sets: TableSets | None = None
    ):
        self.table, self.configs = table, configs
        self.observer = observer or RunObserver()
        with join() as processes:
            self.maker = RowMaker(table, sets, self.observer, processes)

    @property
    def out(self) -> Path:
        """The folder for answers: that of the table, or one of their own in it if these are not all its rows."""
        out = Path(self.table.out)
        if len(self.configs) == len(self.table.rows):
            return out
        name = "+".join(map(folder_name, self.configs))
        short = f"{len(self.configs)}_{fingerprint(dict.fromkeys(self.configs, ''))[:12]}"
        return out / "some_rows" / (name if len(name) <= 100 else short)

    @property
    def trained(self) -> dict[str, TrainConfig]:
        """The rows that learn."""
        return {name: config for name, config in self.configs.items() if config is not None}

    @cached_property
    def seeds(self) -> list[int]:
        """Those with which every row has done the steps."""
        return [seed for seed in seeds_of(self.table) if self.all_have(seed, self.steps)]

    @cached_property
    def steps(self) -> int:
        """Steps that every row has done with at least the first seed.

        Raises:
            InputError: the table has not been made.
        """
        first, *_ = seeds_of(self.table)
        done = [steps for steps in self.table.stage_steps if self.all_have(first, steps)]
        if not done:
            steps = self.table.stage_steps[0]
            lacking = [name for name in self.trained if not self.maker.has_learnt(self.task(name, first, steps))]
            raise InputError(
                f"{' and '.join(lacking[:3])} of {self.table.out} {'has' if len(lacking) == 1 else 'have'} not done "
                f"{steps} steps",
                "make the table first, with these steps, or set <rows> to some that have learnt",
            )
        return max(done)

    def all_have(self, seed: int, steps: int) -> bool:
        return all(self.maker.has_learnt(self.task(name, seed, steps)) for name in self.trained)

    def task(self, name: str, seed: int | None, steps: int) -> Task:
        """A row with a seed after so many steps."""
        config = self.configs[name]
        return Task(name, None, 0, None) if config is None else Task(name, seed, steps, config)

    def tasks(self, name: str, steps: int | None = None) -> list[Task]:
        """A row with every seed, after so many steps; once where nothing is trained."""
        seeds = self.seeds if name in self.trained else [None]
        return [self.task(name, seed, self.steps if steps is None else steps) for seed in seeds]

    def evaluations(self, name: str, condition: str | None = None, steps: int | None = None) -> list[Evaluation]:
        """The evaluation of a row with every seed, made where it does not exist yet."""
        made = []
        for task in self.tasks(name, steps):
            folder = task.evaluation(self.table)
            if condition is not None:
                folder = task.folder(self.table) / "conditions" / folder_name(condition)
            self.observer.notify(f"{task.words(self.table)}{f' behind {condition}' if condition else ''}")
            folder.parent.mkdir(parents=True, exist_ok=True)
            made.append(self.maker.evaluate(name, self.maker.weights(task), folder, condition))
        return made

    def kept_steps(self, name: str) -> list[int]:
        """Steps after which the weights of a row exist with every seed, up to those that are done."""
        folder = self.task(name, self.seeds[0], self.steps).folder(self.table)
        return [
            steps
            for steps in {*kept_steps(folder), self.steps}
            if steps <= self.steps and all(self.maker.has_learnt(task) for task in self.tasks(name, steps))
        ]


def seeds_of(table: TableConfig) -> tuple[int, ...]:
    return table.seeds or (table.seed,)


# -- other cameras ---------------------------------------------------------------------------------------------


def judge_conditions(learnt: LearntTable) -> Answer:
    """Every row behind the table's camera and under each of its conditions, written to ``conditions/``.

    Returns:
        One flat row for each row of the table and condition: ``system``, ``condition``, ``seeds`` and the figures,
        means over the seeds.

    Raises:
        InputError: the table has no conditions, or has not been made.
    """
    table = learnt.table
    if not table.conditions:
        raise InputError("this table has no conditions", "add conditions to its file")
    names = [name for name in learnt.configs if not table.rows[name].camera]  # a bound has a camera of its own
    rows: list[dict[str, Any]] = []
    cells, text = [["system", "as it learnt", *table.conditions]], ""
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
        folder = learnt.out / "conditions"
        write_files(folder, text, latex(cells, words), {"title": table.title, "words": words, "rows": rows}, rows)
    return Answer(rows, text)


def means(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """The figures of several seeds; None where any has none."""
    result: dict[str, float | None] = {}
    for name in evaluations[0].figures:
        values = [each.figures.get(name) for each in evaluations]
        known = [value for value in values if value is not None]
        result[name] = mean(known) if len(known) == len(values) else None
    return result


# -- differences -----------------------------------------------------------------------------------------------


def differences(learnt: LearntTable, reference: str) -> Answer:
    """Each row against a reference row, paired over the scenes and over the seeds, written to ``differences/``.

    Rows behind a camera of their own are left out.

    Returns:
        A flat row for each row of the table and figure: ``system`` and the ``Comparison``.

    Raises:
        InputError: there is no such row, or the table has not been made.
    """
    table, configs = learnt.table, learnt.configs
    if reference not in table.rows:
        raise InputError(f"this table has no row {reference!r}", f"its rows are {'; '.join(table.rows)}")
    if reference not in configs:
        raise InputError(f"the row {reference!r} is not among those that were chosen", "add it to <rows>")
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
    text = f"**{table.title}: differences**\n\n" + markdown(cells, words)
    plain = {"title": table.title, "words": words, "rows": flat}
    write_files(learnt.out / "differences", text, latex(cells, words), plain, flat)
    return Answer([{"system": name, **asdict(each)} for name, several in found.items() for each in several], text)


def in_words(each: Comparison) -> str:
    """A difference with its interval, bold where it is clear."""
    number = FIGURES[each.figure].number
    signed = [("+" if value > 0 else "") + number(value) for value in (each.difference, each.low, each.high)]
    text = f"{signed[0]} ({signed[1]} to {signed[2]})"
    return f"**{text}**" if each.clear else text


# -- equal time ------------------------------------------------------------------------------------------------


def equal_time(learnt: LearntTable) -> Answer:
    """The table if every row had learnt for as long as the fastest one, written to ``equal_time/``.

    A step of each row is timed, all in turn on one processor; a row is judged with the weights it had at the last
    validation before the time was over.

    Raises:
        InputError: the table has not been made, keeps too few weights on the way, or nothing in it learns.
    """
    table, whole = learnt.table, learnt.steps
    if not learnt.trained:
        raise InputError("none of these rows learns, so they have no time in common", "set <rows> to some that learn")
    seconds = step_seconds(learnt.maker, learnt.trained, learnt.out)
    budget = whole * min(seconds.values())
    rows, evaluation = [], None
    for name, config in learnt.configs.items():
        steps = whole
        if config is not None:
            steps = last_validated(learnt, name, config, budget / seconds[name], budget)
        judged = learnt.evaluations(name, steps=steps)
        each = zip(learnt.tasks(name, steps), judged, strict=True)
        row = over_seeds([learnt.maker.filled(task, found).row for task, found in each])
        rows.append(replace(row, steps={"all": steps} if config else {}))
        evaluation = evaluation or judged[0]
    assert evaluation is not None
    taken = ", ".join(f"{row.name} {row.steps['all']}" for row in rows if row.steps)
    words = f"{in_seconds(budget)} of one core, in steps of {table.sampling.batch} crops: {taken}"
    made_table = Table(f"{table.title}: equal time", rows, notes(table, words, evaluation))
    write(made_table, learnt.out / "equal_time")
    return Answer(made_table.plain()["rows"], as_markdown(made_table))


def last_validated(learnt: LearntTable, name: str, config: TrainConfig, steps: float, budget: float) -> int:
    """Steps of a row at its last validation within a budget of seconds, which is that of ``steps`` of its steps."""
    within = int(steps * (1 + 1e-9))  # the fastest row has time for all its steps, whatever is rounded
    last = max((kept for kept in learnt.kept_steps(name) if kept <= within), default=0)
    every = config.validation.every
    if last < max(1, within // every * every):
        raise InputError(
            f"{name} keeps no weights of its last validation before step {within}, its share of {in_seconds(budget)}",
            "set train.validation.every lower and train.validation.keep to true",
        )
    return last


def in_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def step_seconds(maker: RowMaker, trained: dict[str, TrainConfig], out: Path) -> dict[str, float]:
    """Seconds that a step of each row takes on one core, the median of ``ROUNDS`` in which all rows take one in turn.

    Kept in ``step_seconds.json`` of the table's folder or, about some rows alone, of ``out``; rows that learn from
    something else by now are timed again.
    """
    seeds = seeds_of(maker.table)
    origins = {name: maker.origin(Task(name, seeds[0], config.steps, config)) for name, config in trained.items()}
    digests = {name: origin.digest() for name, origin in origins.items()}
    for path in (Path(maker.table.out) / STEP_SECONDS, out / STEP_SECONDS):
        known = json.loads(path.read_text()) if path.exists() else {}
        if digests.items() <= known.get("of", {}).items():
            return {name: known["seconds"][name] for name in trained}
    folder = Path(tempfile.mkdtemp())
    try:
        times: dict[str, list[float]] = {name: [] for name in trained}
        with join() as processes, computing_with(1):
            runs = {}
            for name, config in trained.items():
                config = replace(config, out=str(folder), sampling=replace(config.sampling, workers=0))
                observer = RunObserver(notify=lambda line: None)
                runs[name] = TrainingRun(config, maker.sets and maker.sets[:2], observer, processes)
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
    out.mkdir(parents=True, exist_ok=True)
    record = {"seconds": seconds, "of": digests, "rounds": ROUNDS, "processor": processor(), "threads": 1}
    write_json(out / STEP_SECONDS, record)
    return seconds


# -- curves ----------------------------------------------------------------------------------------------------


def curves(learnt: LearntTable) -> Answer:
    """PSNR and mIoU of every row at each of its validations so far, against samples and seconds, means over seeds.

    Returns:
        Rows with ``system``, ``step``, ``samples``, ``seconds`` (of one core, as ``step_seconds``), ``psnr_db`` where
        the cube is learnt, and ``miou``; also written to ``curves.csv``, and drawn in ``curves.png``.

    Raises:
        InputError: nothing has been validated yet, or a row has learnt something else (``Origin.check``).
    """
    from crsdun.evaluation.tables import write_csv
    from crsdun.viewing.table_curves import draw_curves

    table, trained, out = learnt.table, learnt.trained, learnt.out
    found = {name: validations(learnt.maker, name, config) for name, config in trained.items()}
    if not any(found.values()):
        raise InputError(f"no row of {table.out} has been validated yet", "make the table first")
    seconds = step_seconds(learnt.maker, trained, out)
    rows: list[dict[str, Any]] = []
    for name, config in trained.items():
        for step, lines in sorted(found[name].items()):
            row = {"system": name, "step": step, "samples": step * table.sampling.batch}
            row |= {"seconds": step * seconds[name], "seeds": len(lines)}
            figures = ("miou",) if config.loss.cube == "none" else ("psnr_db", "miou")  # what it learns
            row |= {key: mean(float(line[key]) for line in lines) for key in figures if lines[0].get(key)}
            rows.append(row)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "curves.csv", rows)
    draw_curves(rows, out / "curves.png")
    return Answer(rows, f"look at {out / 'curves.png'}")


def validations(maker: RowMaker, name: str, config: TrainConfig) -> dict[int, list[dict[str, str]]]:
    """The figures of each validation of a row, by step, one line for each seed; errors as ``Origin.check``."""
    found: dict[int, list[dict[str, str]]] = {}
    for seed in seeds_of(maker.table):
        task = Task(name, seed, config.steps, config)
        path = task.folder(maker.table) / "validation.csv"
        if path.exists():
            Origin.of_run(path.parent).check(maker.origin(task))
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    found.setdefault(int(line["step"]), []).append(line)
    return found


# -- pictures --------------------------------------------------------------------------------------------------


def pictures(learnt: LearntTable, count: int) -> Answer:
    """Scenes of the split as every row sees them, with the first seed; written to ``pictures/``.

    Args:
        count: of scenes, evenly spread over the split.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: the table has not been made, or the split does not have so many scenes.
    """
    from crsdun.viewing.system_sheet import SystemCell, system_sheet

    table, scenes, device = learnt.table, learnt.maker.scenes, learnt.maker.device
    judged = min(table.scenes or len(scenes), len(scenes))
    if not 1 <= count <= judged:
        raise InputError(f"{count} pictures of {judged} scenes cannot be drawn", f"ask for 1 to {judged}")
    paths, exposure = [], table.camera.exposure()
    for index in ((2 * place + 1) * judged // (2 * count) for place in range(count)):
        cells = []
        for name in learnt.configs:
            evaluation, weights = learnt.evaluations(name)[0], learnt.maker.weights(learnt.tasks(name)[0])
            run = evaluation_of_row(table, name, weights, None, scenes, device)
            _, estimate = run.seen(index, evaluation)
            row = evaluation.scenes[index]
            words = [f"{FIGURES['psnr_db'].number(row['psnr_db'])} dB"]
            if "accuracy" in row:
                words.append(f"{FIGURES['accuracy'].number(figure_of(row, 'accuracy'))} % right")
            cells.append(SystemCell(name, ", ".join(words), estimate))
        scene, name = scenes[index], scenes.names[index]
        frame = exposure.measure(scene.cube, exposure.camera(scene), seed=name)
        paths.append(learnt.out / "pictures" / f"{folder_name(name)}.png")
        system_sheet(scene, frame.numpy(), cells, paths[-1])
    return Answer([str(path) for path in paths], f"look at {' and '.join(map(str, paths))}")
