"""The command line: parses, calls, prints. One file for each command.

Exit codes: 0 done · 1 some of many measurements, or rows of a table, failed (one line each) · 2 something given
cannot be used (one line says what and the remedy) · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys

from crsdun.cli import (
    app,
    bench,
    compare,
    cost,
    data,
    demo,
    evaluate,
    explain,
    export,
    figure,
    info,
    reconstruct,
    report,
    simulate,
    table,
    train,
)
from crsdun.cli.options import Parser
from crsdun.cli.printing import error_line, notify
from crsdun.errors import InputError
from crsdun.provenance import made_by
from crsdun.version import __version__

COMMANDS = (
    reconstruct,
    simulate,
    train,
    evaluate,
    compare,
    table,
    report,
    figure,
    cost,
    explain,
    export,
    data,
    info,
    app,
    bench,
    demo,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    options = parser().parse_args(arguments)
    try:
        with made_by(["crsdun", *arguments] if arguments is not None else sys.argv):
            return options.run(options) or 0
    except (InputError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # the reader of our output is gone: there is nobody left to notify
            return 0
        notify(error_line(error))
        return 2
    except KeyboardInterrupt:
        notify("interrupted; nothing is half-written")
        return 130


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = Parser(
        prog="crsdun",
        description="Snapshot spectral imaging (CASSI): a hyperspectral cube and classes from one coded exposure.",
    )
    top.add_argument("--version", action="version", version=f"crsdun {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for each in COMMANDS:
        each.add(commands)
    return top
