"""Rows of a table that are made at the same time, each in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Any

import torch

from crsdun.errors import InputError
from crsdun.experiments.table_config import TableConfig
from crsdun.experiments.table_files import TableRow
from crsdun.experiments.table_rows import Made, RowMaker, TableSets, Task
from crsdun.methods import keep_freed_memory
from crsdun.training.distributed import join
from crsdun.training.loop import RunObserver, interruption

LOOK = 0.5  # seconds between two looks at whether to stop


def at_once(
    table: TableConfig, tasks: list[Task], observer: RunObserver, sets: TableSets | None = None
) -> Iterator[Made]:
    """All tasks, ``table.jobs`` at a time, as they are finished; a task begins when those before it have begun.

    A stage of a row begins when the row has done the stage before. Ctrl-C, SIGTERM and the end of this process let
    each row write its checkpoint first.
    """
    context = multiprocessing.get_context("spawn")
    stop, lines = context.Event(), context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // table.jobs)
    talk = threading.Thread(target=_pass_on, args=(lines, observer), daemon=True)
    talk.start()
    until = time.monotonic() + 60 * (table.minutes or math.inf)
    waiting, running = list(tasks), dict[Future[Made], Task]()
    with (
        interruption() as interrupted,
        ProcessPoolExecutor(table.jobs, context, _begin, (threads, stop, lines)) as pool,
    ):
        try:
            while waiting or running:
                while len(running) < table.jobs and (task := _next(waiting, running.values())):
                    waiting.remove(task)
                    observer.notify(f"{task.words(table)} begins; {len(waiting)} more to come")
                    left = None if table.minutes is None else max((until - time.monotonic()) / 60, 1e-9)
                    running[pool.submit(_made, replace(table, minutes=left), task, sets)] = task
                done, _ = wait(running, LOOK, FIRST_COMPLETED)
                if interrupted():
                    stop.set()
                    done, _ = wait(running)
                    waiting.clear()
                for future in done:
                    yield future.result()
                    del running[future]
        except BrokenProcessPool as error:
            if not interrupted():
                raise InputError(
                    "the process of a row was killed", "give the same command again to resume"
                ) from error
        finally:
            stop.set()
            lines.put(None)
            talk.join()
        if interrupted():
            yield Made(tasks[0], TableRow(tasks[0].name, ""), stopped="signal")


def _next(waiting: list[Task], running: Any) -> Task | None:
    """The next task whose row and seed is not being made."""
    busy = {(task.name, task.seed) for task in running}
    return next((task for task in waiting if (task.name, task.seed) not in busy), None)


# -- in the processes ------------------------------------------------------------------------------------------

_lines: SimpleQueue[str | None]


def _begin(threads: int, stop: Event, lines: SimpleQueue[str | None]) -> None:
    """Prepare a process: its threads, and a clean end when the table is stopped or its process is gone."""
    global _lines
    _lines = lines
    torch.set_num_threads(threads)
    keep_freed_memory()
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the process of the table, which passes it on

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        while not stop.wait(LOOK):
            if wait_for_any([parent.sentinel], 0):
                break
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _made(table: TableConfig, task: Task, sets: TableSets | None) -> Made:
    """A task, in a process of its own."""
    observer = RunObserver(notify=lambda line: _lines.put(f"{task.name}: {line}"))
    with join() as processes:
        return RowMaker(table, sets, observer, processes).made(task)


def _pass_on(lines: SimpleQueue[str | None], observer: RunObserver) -> None:
    """Say what the processes have to say."""
    while (line := lines.get()) is not None:
        observer.notify(line)
