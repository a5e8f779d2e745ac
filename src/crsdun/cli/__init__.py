"""The command line: parses, calls, prints. One file for each command.

Exit codes: 0 done · 1 some of many measurements, or rows of a table, failed (one line each) · 2 something given
cannot be used (one line says what and the remedy) · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys

from crsdun import __version__
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
from crsdun.cli.printing import reason
from crsdun.errors import InputError

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
        return options.run(options) or 0
    except (InputError, OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # whoever read our output has gone: nothing to say
            return 0
        print(f"crsdun: {reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("crsdun: interrupted; nothing is half-written", file=sys.stderr)
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
