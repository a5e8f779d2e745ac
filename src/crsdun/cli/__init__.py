"""The command line: parses, calls, prints. One file for each command.

Exit codes: 0 done · 1 some of many measurements, or rows of a table, failed (one line each) · 2 an input cannot be
used, or crsdun failed (one line says why and what to do) · 130 interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crsdun.budget import limited_to
from crsdun.cli import (
    app,
    bench,
    calibrate,
    classes,
    compare,
    cost,
    data,
    demo,
    evaluate,
    explain,
    export,
    figure,
    info,
    push,
    reconstruct,
    report,
    serve,
    simulate,
    spectra,
    table,
    train,
)
from crsdun.cli.options import CHANGE, KEYS, Parser
from crsdun.cli.printing import error_line, notify, one_line_each
from crsdun.provenance import made_by
from crsdun.threads import computing_with
from crsdun.version import __version__

COMMANDS = (
    reconstruct,
    classes,
    simulate,
    calibrate,
    train,
    evaluate,
    compare,
    table,
    report,
    figure,
    spectra,
    cost,
    explain,
    export,
    push,
    data,
    info,
    app,
    serve,
    bench,
    demo,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    options = argparse.Namespace(traceback=False)
    try:
        with one_line_each(), terminable():
            parser().parse_args(arguments, options)
            with (
                made_by(["crsdun", *arguments] if arguments is not None else sys.argv),
                limited_to(options.memory),
                computing_with(options.threads),
            ):
                return options.run(options) or 0
    except KeyboardInterrupt:
        notify("interrupted; no incomplete results were left behind")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whatever was reading our output is gone
        return 0
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        notify(error_line(error, KEYS if hasattr(options, CHANGE) else ()))
        return 2


@contextmanager
def terminable() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP end a command like Ctrl-C, which removes its temporary files."""

    def interrupt(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if in_main_thread and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def parser() -> argparse.ArgumentParser:
    """The parser with every command and option."""
    top = Parser(
        prog="crsdun",
        description="Snapshot spectral imaging (CASSI): a cube and a class map from one coded exposure.",
    )
    top.add_argument("--version", action="version", version=f"crsdun {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for each in COMMANDS:
        each.add(commands)
    return top
