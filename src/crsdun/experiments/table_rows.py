"""A row of a table with one seed: trained as far as a stage goes, then judged."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from crsdun.cluster import Crew
from crsdun.errors import InputError
from crsdun.evaluation import PUBLISHED, Evaluation, EvaluationOptions, read_evaluation, write_tables
from crsdun.evaluation.evaluator import JudgedScene, described_data
from crsdun.evaluation.tables import FILE
from crsdun.experiments.evaluation_folder import EvaluationRun
from crsdun.experiments.table_config import TableConfig, folder_name
from crsdun.experiments.table_files import TableRow, filled
from crsdun.machine import best_device
from crsdun.provenance import fingerprint
from crsdun.runtime import open_method
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet
from crsdun.training.config import TrainConfig
from crsdun.training.distributed import Processes
from crsdun.training.loop import WEIGHTS, RunObserver, open_sets, train, weights_at
from crsdun.training.origin import Origin, files_of

TableSets = tuple[SceneSet, SceneSet, SceneSet]  # to learn from, to validate on, and to judge by


@dataclass(frozen=True)
class Task:
    """A row with one seed, at the end of a stage.

    Attributes:
        name: of the row.
        seed: None where nothing is trained, which is the same for every seed and every stage.
        steps: of training done by then; 0 where nothing is trained.
        config: of the whole training, or None.
    """

    name: str
    seed: int | None
    steps: int
    config: TrainConfig | None

    def folder(self, table: TableConfig) -> Path:
        """Of the row, with this seed."""
        folder = Path(table.out) / folder_name(self.name)
        return folder / f"seed_{self.seed}" if table.seeds and len(table.seeds) > 1 and self.config else folder

    def run(self, table: TableConfig) -> TrainConfig:
        """The training run that does its steps."""
        assert self.config is not None
        assert self.seed is not None
        return replace(self.config, steps=self.steps, seed=self.seed, out=str(self.folder(table)))

    def weights(self, table: TableConfig) -> Path:
        """The file of weights after its steps."""
        whole = table.stages == 1 and self.steps == table.steps
        return self.folder(table) / (WEIGHTS if whole else weights_at(self.steps))

    def evaluation(self, table: TableConfig) -> Path:
        """The folder of its evaluation."""
        whole = self.config is None or self.weights(table).name == WEIGHTS
        return self.folder(table) / ("evaluation" if whole else f"evaluation_{self.steps}")

    def words(self, table: TableConfig) -> str:
        """Which one it is, as the table says it."""
        seed = f", seed {self.seed}" if table.seeds and len(table.seeds) > 1 and self.config else ""
        return f"{self.name}{seed}" + (f", {self.steps} steps" if table.stages > 1 and self.config else "")


@dataclass(frozen=True)
class Made:
    """What has become of a task.

    Attributes:
        task: that it was.
        row: with its figures, or why there are none.
        evaluation: None where there are none.
        stopped: why its training stopped before the end (``time`` or ``signal``); then it has not been made.
    """

    task: Task
    row: TableRow
    evaluation: Evaluation | None = None
    stopped: str | None = None


class RowMaker:
    """What makes rows, in one process or its part of several."""

    def __init__(
        self,
        table: TableConfig,
        sets: TableSets | None,
        observer: RunObserver,
        processes: Processes,
        crew: Crew | None = None,
    ):
        self.table, self.sets, self.observer, self.processes, self.crew = table, sets, observer, processes, crew
        self.notify = observer.notify if processes.rank == 0 else lambda line: None
        self.device = processes.device
        self.deadline = time.monotonic() + 60 * (table.minutes or math.inf)
        self.scenes = sets[2] if sets else open_set(table.data.source, table.split)

    def made(self, task: Task) -> Made:
        """Train as far as the task goes, unless that is done, and judge what came out."""
        row = self.row(task)
        try:
            if task.config is not None:
                stopped = self.train(task)
                if stopped:
                    return Made(task, row, stopped=stopped)
            weights = self.weights(task)
            evaluation = self.evaluate(task.name, weights, task.evaluation(self.table))
            return self.filled(task, evaluation)
        except Exception as failure:  # whatever it is, the other rows are not affected
            row = replace(row, failure=in_one_line(failure))
            self.notify(f"{task.name} failed: {row.failure}")
            return Made(task, row)

    def on_record(self, task: Task) -> Made | None:
        """A task that has been made under this budget; None if it has not."""
        try:
            if task.config is not None and not self.has_learnt(task):
                return None
            run = evaluation_of_row(self.table, task.name, self.weights(task), None, self.scenes, self.device)
            earlier = earlier_evaluation(run, task.evaluation(self.table), self.notify)
            return None if earlier is None else self.filled(task, earlier)
        except Exception as failure:
            self.notify(f"{task.words(self.table)} is left out: {in_one_line(failure)}")
            return None

    def filled(self, task: Task, evaluation: Evaluation) -> Made:
        """What has become of a task whose weights are judged."""
        config = task.config and task.run(self.table)
        return Made(task, filled(self.row(task), self.weights(task), config, evaluation), evaluation)

    def weights(self, task: Task) -> str:
        """What is judged: the file of weights, or the name of weights that exist or of a solver."""
        return str(task.weights(self.table) if task.config else self.table.rows[task.name].weights)

    def row(self, task: Task) -> TableRow:
        """A row without figures."""
        system = task.config.network.name if task.config else str(self.table.rows[task.name].weights)
        return TableRow(task.name, system, published=PUBLISHED.get(system))

    def train(self, task: Task) -> str | None:
        """Train as far as a task goes, unless that is done; returns why it stopped before, or None."""
        if self.table.stages > 1 and self.has_learnt(task):  # the run may be at a later stage
            return None
        left = None if self.table.minutes is None else max((self.deadline - time.monotonic()) / 60, 1e-9)
        config = replace(task.run(self.table), minutes=left)
        return train(config, self.sets and self.sets[:2], self.observer).stopped

    def has_learnt(self, task: Task) -> bool:
        """Whether there are weights after the steps of a task.

        Raises:
            InputError: there are, but they have learnt something else (``Origin.check``).
        """
        path = task.weights(self.table)
        if not path.exists():
            return False
        origin, steps = Origin.of_weights(path)
        origin.check(self.origin(task))
        return steps == task.steps

    def origin(self, task: Task) -> Origin:
        """What the run of a task learns from."""
        config = task.run(self.table)
        return Origin(config, self.data, files_of(config))

    @cached_property
    def data(self) -> dict[str, str]:
        """Fingerprints of all scenes that rows learn from, read once for all rows."""
        scenes, validation, others = open_sets(self.table.data, self.sets and self.sets[:2])
        return {each.name: fingerprint(each.hashes()) for each in (scenes, validation, *(one for one, _ in others))}

    def evaluate(self, name: str, weights: str, folder: Path, condition: str | None = None) -> Evaluation:
        """The evaluation of a row's weights behind its camera, or under a condition; the folder keeps it."""
        row = (self.table, name, weights, condition)
        run = evaluation_of_row(*row, self.scenes, self.device)
        earlier = earlier_evaluation(run, folder, self.notify)
        if earlier is not None:
            return earlier
        judges = None if self.crew is None else self.crew.work(partial(judge_of_row, *row)).results
        evaluation = replace(run.evaluate(judges=judges), method=name)
        if self.processes.rank == 0:
            write_evaluation(evaluation, folder)
        return evaluation


def evaluation_of_row(
    table: TableConfig, name: str, weights: str, condition: str | None, scenes: SceneSet, device: str | torch.device
) -> EvaluationRun:
    """The evaluation of a row's weights as the table says."""
    return EvaluationRun(
        open_method(weights, device),
        scenes,
        table.exposure(condition) if condition else table.camera_of(name).exposure(),
        EvaluationOptions(table.protocol, device, table.scenes),
        weights,
    )


def judge_of_row(table: TableConfig, name: str, weights: str, condition: str | None) -> Callable[[int], JudgedScene]:
    """What a worker does for each scene of a row."""
    scenes = open_set(table.data.source, table.split)
    return evaluation_of_row(table, name, weights, condition, scenes, best_device()).judge


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
        {name: each for name, each in earlier.data.items() if name != "name"},  # of the folder or the .yaml
        earlier.protocol,
        earlier.camera,
        [row["name"] for row in earlier.scenes],
    )
    wanted = (
        run.origin,
        json.loads(json.dumps(run.method.settings)),
        {name: each for name, each in described_data(run.scenes).items() if name != "name"},
        run.options.protocol,
        run.exposure.described(),
        list(run.scenes.names[: run.options.first]),
    )
    return earlier if made_of == wanted else None


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write the tables of an evaluation into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(evaluation, folder)
