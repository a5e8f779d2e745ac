"""Several systems under one budget: trained by the same loop, evaluated by the same protocol.

The budget (data, camera, crops, steps, seed) belongs to the table, and no row can change it. Samples are a function
of seed and step alone, so every row is trained on the same crops, behind the same masks, in the same order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from crsdun.cluster import Crew
from crsdun.errors import InputError
from crsdun.evaluation import Evaluation
from crsdun.experiments.table_config import TableConfig
from crsdun.experiments.table_files import Table, TableRow, budget_of_steps, notes, over_seeds, write
from crsdun.experiments.table_jobs import at_once
from crsdun.experiments.table_rows import Made, RowMaker, TableSets, Task
from crsdun.storage import check_no_file
from crsdun.training.config import TrainConfig
from crsdun.training.distributed import join
from crsdun.training.loop import RunObserver


def tasks_of(table: TableConfig, configs: dict[str, TrainConfig | None]) -> list[Task]:
    """Everything to be done, in its order: what needs no training, then stage by stage, seed by seed, row by row."""
    trained = {name: config for name, config in configs.items() if config is not None}
    return [
        *(Task(name, None, 0, None) for name in configs if name not in trained),
        *(
            Task(name, seed, steps, config)
            for steps in table.stage_steps
            for seed in table.seeds or (table.seed,)
            for name, config in trained.items()
        ),
    ]


def make_table(
    table: TableConfig,
    configs: dict[str, TrainConfig | None],
    sets: TableSets | None = None,
    observer: RunObserver | None = None,
    crew: Crew | None = None,
    rows: Collection[str] | None = None,
) -> Table:
    """Train and evaluate row by row, or resume an interrupted table; its files are written after every row.

    With several stages, the table of each is in ``at_N_steps``, and the one in ``out`` is that of the last stage that
    every row has come to.

    Args:
        table, configs: as ``load_table`` returns them.
        sets: training, validation and test scenes, in place of ``table.data``.
        observer: follows the runs.
        crew: that evaluates, on scenes of ``table.data``; None evaluates here.
        rows: make these alone; the table also has the others as far as they were made under its budget. None for all.

    Raises:
        InputError: the scenes for the evaluation cannot be read, or the folder cannot be written to; an error in a
            single row is its ``failure``.
    """
    check_no_file(Path(table.out))
    observer = observer or RunObserver()
    every = tasks_of(table, configs)
    tasks = [task for task in every if rows is None or task.name in rows]
    with join() as processes:
        if table.jobs > 1 and processes.count > 1:
            raise InputError("rows of several jobs cannot share several processes", "set jobs to 1, or omit torchrun")
        if table.jobs > 1 and crew is not None:
            raise InputError("rows of several jobs are judged where they are trained", "set jobs to 1, or omit <on>")
        maker = RowMaker(table, sets, observer, processes, crew)
        on_record = [made for task in every if task not in tasks and (made := maker.on_record(task))]
        known = {each.task.name for each in on_record}
        so_far = TablesSoFar(table, [name for name in configs if rows is None or name in rows or name in known])
        for made in on_record:
            so_far.add(made)
        in_turn = map(maker.made, announced(tasks, maker))
        for made in at_once(table, tasks, observer, sets) if table.jobs > 1 else in_turn:
            if made.stopped:
                return replace(so_far.table(), stopped=made.stopped)
            so_far.add(made)
            if processes.rank == 0:
                so_far.write()
    return so_far.table()


def announced(tasks: list[Task], maker: RowMaker) -> Iterator[Task]:
    """The tasks, each named before it begins."""
    for number, task in enumerate(tasks, 1):
        maker.notify(f"row {number} of {len(tasks)}: {task.words(maker.table)}")
        yield task


class TablesSoFar:
    """The tables of all stages, as far as they are made."""

    def __init__(self, table: TableConfig, names: list[str]):
        self.config, self.names = table, names
        # Steps → row → one for each seed; what needs no training is at 0 steps.
        self.rows: dict[int, dict[str, list[TableRow]]] = defaultdict(lambda: defaultdict(list))
        self.evaluations: dict[int, Evaluation] = {}

    def add(self, made: Made) -> None:
        """One more row of one of them."""
        self.rows[made.task.steps][made.task.name].append(made.row)
        is_bound = bool(self.config.rows[made.task.name].camera)  # which says nothing of how the others are judged
        if made.evaluation is not None and not (is_bound and made.task.steps in self.evaluations):
            self.evaluations[made.task.steps] = made.evaluation

    def table(self) -> Table:
        """That of the last stage that every row has come to, or else of the first."""
        stages = self.config.stage_steps
        whole = [steps for steps in stages if len(self.at(steps)) == len(self.names)]
        return self.table_at(max(whole, default=stages[0]))

    def at(self, steps: int) -> dict[str, list[TableRow]]:
        """The rows at the end of a stage, in the order of the table."""
        both = {**self.rows[0], **self.rows[steps]}
        return {name: both[name] for name in self.names if name in both}

    def table_at(self, steps: int) -> Table:
        """That of a stage."""
        made = Table(self.config.title, [over_seeds(rows) for rows in self.at(steps).values()], "")
        evaluation = self.evaluations.get(steps) or self.evaluations.get(0)
        budget = budget_of_steps(self.config, made.rows, steps)
        return replace(made, notes=notes(self.config, budget, evaluation)) if evaluation else made

    def write(self) -> None:
        """Write all of them."""
        out = Path(self.config.out)
        write(self.table(), out)
        if self.config.stages > 1:
            for steps in self.config.stage_steps:
                if self.rows[steps]:
                    write(self.table_at(steps), out / f"at_{steps}_steps")
