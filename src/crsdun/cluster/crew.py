"""Workers on a Ray cluster: each makes its own copy of the work once, and takes one item after the other.

Results come in the order of the items, while only a few items per worker are on their way: a long stream is never in
memory. An item whose worker is lost goes to another one. A place that becomes free, or a machine that joins, gets a
worker.

These are actors of Ray's core. Each keeps the device and the weights it started with, and none waits for the node of
another; results are files, so there are no tables to hand on, which is what Ray Data is for.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from typing import Any

from crsdun.budget import limited_to
from crsdun.errors import InputError
from crsdun.provenance import command, made_by
from crsdun.version import __version__

# What a worker is made to do: called once by each, it returns what is called for each item.
Maker = Callable[[], Callable[[Any], Any]]

HANDED = 2  # items that a worker has at most: one that it works on, and the next one
AHEAD = 4  # items per worker from the first that has not come back to the last that has been taken
LOSSES = 3  # workers that may die of an item, until the item is given up
LOOK_S = 1.0  # between looks at who is there
PATIENCE_S = 60.0  # without any worker, until that is said


@dataclass(frozen=True)
class Staff:
    """How many workers, and what each needs.

    Attributes:
        count: None takes as many as there are GPUs, or without GPUs as there are cores for.
        threads: that each computes with, on as many cores.
        gpus: whether they may use GPUs; if there are fewer than workers, these share them.
        memory: bytes that one file may need, as for ``budget.limited_to``.
    """

    count: int | None = None
    threads: int = 1
    gpus: bool = True
    memory: int | None = None


@dataclass(eq=False)
class _Stream:
    """A stream of items.

    Attributes:
        finished: what has come back, item and outcome by their numbers.
        again: what is to be done again.
        end: why its work cannot be made.
    """

    finished: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    again: deque[_Task] = field(default_factory=deque)
    end: Exception | None = None


@dataclass(eq=False)
class _Task:
    """An item of a stream.

    Attributes:
        stream, number, item: which one.
        is_suspect: whether a worker was lost that had it. It is then done by a worker that has nothing else, since of
            several items nobody knows which one a worker died of: what it had finished may be lost with it.
        losses: how many workers have died that had nothing else.
    """

    stream: _Stream
    number: int
    item: Any
    is_suspect: bool = False
    losses: int = 0


@dataclass(eq=False)
class _Worker:
    """An actor, as this process sees it.

    Attributes:
        actor: of Ray.
        greeting: the reference to what it says once it runs.
        is_there: whether it has said it.
        tasks: handed to it, in order.
        culprit: what it had when it was lost, if that was one item alone.
    """

    actor: Any
    greeting: Any
    is_there: bool = False
    tasks: deque[_Task] = field(default_factory=deque)
    is_lost: bool = False
    culprit: _Task | None = None


class Crew:
    """The workers that ``connected`` has hired."""

    def __init__(self, ray: Any, staff: Staff, notify: Callable[[str], None]):
        self.ray, self.staff, self.notify = ray, staff, notify
        if not self._places():
            raise InputError(
                f"no machine of the cluster has {staff.threads} cores for a worker", "set <threads> to fewer"
            )
        options: dict[str, Any] = {"num_cpus": staff.threads, "max_restarts": 0, "max_task_retries": 0}
        if gpus := self._gpus():
            options["num_gpus"] = 1 / ceil((staff.count or gpus) / gpus)
        self._hand = ray.remote(**options)(_Hand)
        self.workers: list[_Worker] = []
        self.running: dict[Any, tuple[_Task, _Worker]] = {}  # by the reference to what will come back
        self._numbers = count()
        self._looked = self._alone_since = time.monotonic()
        self._unstarted = 0  # workers in a row that have died before they were there
        self._hire(self._wanted())

    def work(self, maker: Maker) -> Work:
        """What the workers are to do; ``maker`` must be something that can be pickled."""
        return Work(self, next(self._numbers), self.ray.put(maker))

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self.workers:
            with suppress(Exception):
                self.ray.kill(worker.actor)
        self.workers = []

    # -- who is there ----------------------------------------------------------------------------------------------

    def _places(self) -> int:
        """The workers that the cluster has cores for."""
        nodes = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
        return sum(int(each // self.staff.threads) for each in nodes)

    def _gpus(self) -> int:
        """Those of the cluster, if they may be used."""
        return int(self.ray.cluster_resources().get("GPU", 0)) if self.staff.gpus else 0

    def _wanted(self) -> int:
        """How many workers there should be."""
        return self.staff.count or self._gpus() or self._places()

    def _hire(self, number: int) -> None:
        """Ask for more workers; where there is no place yet, they come when there is one."""
        for _ in range(number):
            actor = self._hand.remote(os.getcwd(), self.staff.threads, self.staff.memory, command())
            self.workers.append(_Worker(actor, actor.greeting.remote()))

    def _look(self) -> None:
        """Give workers to nodes that have joined, and say so if there are none for long."""
        now = time.monotonic()
        if any(worker.is_there for worker in self.workers):
            self._alone_since = now
        elif now - self._alone_since > PATIENCE_S:
            self.notify("no workers yet; waiting for a machine of the cluster with room for one")
            self._alone_since = now + 1e9  # said once
        if now - self._looked > LOOK_S:
            self._looked = now
            self._hire(max(0, self._wanted() - len(self.workers)))

    def _lose(self, worker: _Worker) -> None:
        """A worker is gone, or cannot be reached: it is ended, and another one asked for."""
        if worker.is_lost:
            return
        worker.is_lost = True
        worker.culprit = worker.tasks[0] if len(worker.tasks) == 1 else None
        self.workers.remove(worker)
        with suppress(Exception):
            self.ray.kill(worker.actor)
        self.notify("a worker was lost; another one takes its place and repeats its unfinished work")
        self._hire(1)

    def free(self, idle: bool) -> _Worker | None:
        """The worker with the least to do, if it can take more; or one that has nothing to do."""
        there = [
            worker
            for worker in self.workers
            if worker.is_there
            and len(worker.tasks) < (1 if idle else HANDED)
            and not any(task.is_suspect for task in worker.tasks)
        ]
        return min(there, key=lambda worker: len(worker.tasks), default=None)

    # -- what they do ----------------------------------------------------------------------------------------------

    def hand(self, task: _Task, worker: _Worker, work: Work) -> None:
        """Give a task to a worker."""
        worker.tasks.append(task)
        self.running[worker.actor.do.remote(work.number, [work.maker], task.item)] = task, worker

    def attend(self) -> None:
        """Wait for a moment, and take what has come back, of whatever stream.

        Raises:
            InputError: a worker has another version, or several in a row do not start.
        """
        greetings = {worker.greeting: worker for worker in self.workers if not worker.is_there}
        expected = [*self.running, *greetings]
        come, _ = self.ray.wait(expected, timeout=LOOK_S)
        if come:
            come, _ = self.ray.wait(expected, num_returns=len(expected), timeout=0)
        for reference in come:
            if reference in greetings:
                self._welcome(greetings[reference])
            else:
                self._take(reference)
        self._look()

    def _welcome(self, worker: _Worker) -> None:
        try:
            version = self.ray.get(worker.greeting)
        except _lost(self.ray) as error:
            self._unstarted += 1
            if self._unstarted >= LOSSES:
                reason = str(error).strip().splitlines()[-1]  # below the traceback of another process
                raise InputError(
                    f"no worker could be started: {reason}", "is crsdun installed on every machine of the cluster?"
                ) from error
            self._lose(worker)
            return
        self._unstarted = 0
        if version != __version__:
            raise InputError(
                f"a worker has crsdun {version}, and this machine {__version__}", "install the same on all machines"
            )
        worker.is_there = True

    def _take(self, reference: Any) -> None:
        """What has become of a task; if its worker was lost, it is done again, unless workers die of it."""
        task, worker = self.running.pop(reference)
        try:
            outcome, is_fatal = self._outcome(reference)
        except _lost(self.ray):
            self._lose(worker)
            task.is_suspect = True
            task.losses += task is worker.culprit
            if task.losses < LOSSES:
                task.stream.again.append(task)
                return
            outcome = InputError(f"{task.losses} workers died on it", "is there enough memory for each of them?")
            is_fatal = False
        finally:
            worker.tasks.remove(task)
        if is_fatal:
            task.stream.end = outcome
        task.stream.finished[task.number] = task.item, outcome

    def _outcome(self, reference: Any) -> tuple[Any, bool]:
        """What a worker returned, or the exception that it raised; and whether that ends the work."""
        try:
            value, failure, is_fatal = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # what it returned cannot be sent
            return error.cause if isinstance(error.cause, Exception) else error, False
        return value if failure is None else failure, is_fatal


@dataclass
class Work:
    """Work that a crew shares.

    Attributes:
        crew: that does it.
        number: of the work.
        maker: reference to its ``Maker``.
    """

    crew: Crew
    number: int
    maker: Any

    def map(self, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Each item with what a worker returned for it, or the exception that it raised, in order.

        May be called again while what an earlier call returned is still being iterated over.

        Raises:
            Exception: the work cannot be made, for the reason that it says.
        """
        crew, stream, coming = self.crew, _Stream(), iter(items)
        first, taken, is_over = 0, 0, False
        while not (is_over and first == taken):
            while (worker := crew.free(idle=bool(stream.again))) is not None:
                if stream.again:
                    crew.hand(stream.again.popleft(), worker, self)
                    continue
                if is_over or taken - first >= AHEAD * len(crew.workers):
                    break
                item = next(coming, _END)
                if item is _END:
                    is_over = True
                    break
                crew.hand(_Task(stream, taken, item), worker, self)
                taken += 1
            if not (is_over and first == taken):
                crew.attend()
            if stream.end is not None:
                raise stream.end
            while first in stream.finished:
                yield stream.finished.pop(first)
                first += 1

    def results(self, items: Iterable[Any]) -> Iterator[Any]:
        """What workers returned for each item, in order.

        Raises:
            Exception: the first of those that they raised, or as ``map``.
        """
        for _, outcome in self.map(items):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome


_END = object()


def _lost(ray: Any) -> tuple[type[Exception], ...]:
    """The errors that say that a worker, or its node, is no longer there, perhaps killed for want of memory."""
    names = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError", "OutOfMemoryError")
    return tuple(getattr(ray.exceptions, name) for name in names)


class _Hand:
    """What runs on the cluster: one process that works on one item at a time."""

    def __init__(self, folder: str, threads: int, memory: int | None, command: list[str]):
        with suppress(OSError):  # a folder that is not there matters only to paths that begin in it
            os.chdir(folder)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self.memory, self.command = memory, command
        self.number: int | None = None
        self.work: Callable[[Any], Any] | None = None

    def greeting(self) -> str:
        return __version__

    def do(self, number: int, maker: list[Any], item: Any) -> tuple[Any, Exception | None, bool]:
        """The result of an item, its failure, and whether that ends the work."""
        import ray

        with made_by(self.command), limited_to(self.memory):
            if number != self.number:
                self.work, self.number = None, None  # the memory of the work before is free first
                try:
                    self.work, self.number = ray.get(maker[0])(), number
                except Exception as failure:
                    return None, failure, True
            assert self.work is not None
            try:
                return self.work(item), None, False
            except Exception as failure:
                return None, failure, False
