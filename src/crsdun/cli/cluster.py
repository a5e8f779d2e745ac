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
        help="share the work among processes of this machine (ray), or among the machines of the Ray cluster at an "
        "address (ray:10.0.0.1:6379, or ray:auto for the one that runs here); --threads then is of each",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that share it (default: one for each GPU, or without any for each core)",
    )


@contextmanager
def joined(options: argparse.Namespace) -> Iterator[Crew | None]:
    """The crew that the options ask for; None if this process does the work itself.

    Raises:
        InputError: they ask for something else than Ray, or as ``cluster.connected``.
    """
    if options.on is None:
        if options.workers is not None:
            raise InputError("workers share what <on> shares", "set <on> to ray too, or omit <workers>")
        yield None
        return
    engine, _, address = options.on.partition(":")
    if engine != RAY:
        raise InputError(f"nothing is shared on {engine!r}", "set <on> to ray, or to ray:ADDRESS")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"there can be no {options.workers} workers", "set <workers> to 1 or more")
    from crsdun.cluster import Staff, connected

    gpus = getattr(options, "device", "auto") not in ("cpu", "mps")
    staff = Staff(options.workers, options.threads or 1, gpus, options.memory)
    with connected(address or None, staff, notify) as crew:
        yield crew
