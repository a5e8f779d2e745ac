"""The options by which a command is shared by many machines, and the crew that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crsdun.cli.printing import notify
from crsdun.errors import InputError

if TYPE_CHECKING:
    from crsdun.cluster import Crew

RAY = "ray"


def cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--on",
        metavar="ray[:ADDRESS]",
        help="share the work among processes on this machine (ray), or among the machines of a Ray cluster "
        "(ray:10.0.0.1:6379, or ray:auto for the one running here); --threads applies per process",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of worker processes (default: one per GPU, or per core if there is no GPU)",
    )


def check_cluster(options: argparse.Namespace) -> None:
    """Raise an InputError if the options ask for something else than Ray, or for workers without it."""
    if options.on is None:
        if options.workers is not None:
            raise InputError("there is nothing that workers would share", "set <on> to ray too, or omit <workers>")
        return
    engine, colon, address = options.on.partition(":")
    if engine != RAY or (colon and not address):
        raise InputError(f"work cannot be shared on {options.on!r}", "set <on> to ray, or to ray:ADDRESS")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"there can be no {options.workers} workers", "set <workers> to 1 or more")


@contextmanager
def joined(options: argparse.Namespace) -> Iterator[Crew | None]:
    """The crew that the options ask for; None if this process does the work itself.

    Raises:
        InputError: as ``cluster.connected``.
    """
    if options.on is None:
        yield None
        return
    from crsdun.cluster import Staff, connected

    gpus = getattr(options, "device", "auto") not in ("cpu", "mps")
    staff = Staff(options.workers, options.threads or 1, gpus, options.memory)
    with connected(options.on.partition(":")[2] or None, staff, notify) as crew:
        yield crew
