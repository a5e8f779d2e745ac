"""What several commands print, for a person or as JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.budget import explained
from crsdun.errors import InputWarning, worded
from crsdun.remote import Place
from crsdun.showing import size_in_words
from crsdun.storage import unfinished
from crsdun.typed import finite

if TYPE_CHECKING:
    from rich.console import Console

    from crsdun.runtime import Reconstruction

# Settings whose value is worth naming in a remedy.
VALUES = {
    "bits": "N",
    "checkpoint": "FILE",
    "mask": "FILE",
    "memory": "GB",
    "overlap": "ROWS",
    "tile": "ROWS",
    "truth": "DIR",
    "weights": "FILE",
}

LONGEST_LINE = 1000  # letters of a message
LINES_S = 60.0  # between lines of progress
PACKAGE = Path(__file__).parents[1]


def error_line(error: Exception, keys: Container[str] = ()) -> str:
    """Why something failed, in one line, with options in place of the settings that the error names.

    Args:
        keys: settings that the command takes as ``key=value`` instead.
    """
    told = explained(error)
    if told:
        line = told.worded(lambda setting: setting if setting in keys else option(setting))
    else:
        line = (
            f"{type(error).__name__}: {error}; this is a fault of crsdun, not yours: please report it with what the "
            f"same command prints with {option('traceback')}"
        )
    return one_line(line)


def one_line(text: str) -> str:
    """A text without line breaks and control characters, and of bounded length."""
    text = " ".join(text.split())
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]} … {text[-LONGEST_LINE // 2 :]}"


def option(setting: str) -> str:
    """The option for a setting of the package: ``--mask-key`` for ``mask_key``."""
    value = VALUES.get(setting)
    return f"--{setting.replace('_', '-')}" + (f" {value}" if value else "")


def notify(line: str) -> None:
    """Print a line that is not a result on standard error."""
    with suppress(OSError):  # of a terminal that has been closed
        print(f"crsdun: {one_line(line)}", file=sys.stderr, flush=True)


@contextmanager
def one_line_each() -> Iterator[None]:
    """Inside the block no library writes to the terminal, and no letter that it lacks ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.NullHandler()  # in place of Python's own, which prints warnings
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
    """Those of crsdun itself as a line; those of libraries are for their developers."""
    if Path(filename).is_relative_to(PACKAGE):
        notify(message.worded(option) if isinstance(message, InputWarning) else str(message))


def left_unfinished(out: Path, what: str) -> int:
    """Say, after an interruption, where the finished part of what ``lasting_folder`` makes lies; the exit code.

    Raises:
        KeyboardInterrupt: nothing is finished.
    """
    left = unfinished(out)
    if not left.exists():
        raise KeyboardInterrupt
    notify(f"interrupted; the finished {what} are in {left}, and the same command resumes from there")
    return 130


def print_result(values: dict[str, Any], lines: str, as_json: bool) -> None:
    """Print a result for a program or for a person."""
    if as_json:
        print_json(values)
    else:
        print(lines)


def print_json(values: dict[str, Any]) -> None:
    """Print a result for a program: JSON on one line, with null for numbers that are not finite."""
    print(json.dumps(finite(values), allow_nan=False))


def summary(result: Reconstruction, out: Place) -> dict[str, Any]:
    """The metrics of a reconstruction and its folder, for a program."""
    from crsdun.runtime.preparation import REFINED

    record = result.record
    found = record["measurement"].get(REFINED)
    refined = {} if found is None else {REFINED: found}
    return {
        "out": str(out), "method": record["method"], "seconds": record["seconds"], **refined, **result.metrics
    }  # fmt: skip


def result_line(result: Reconstruction, out: Place) -> str:
    """The same in one line for a person."""
    from crsdun.methods.verdict import describe_move

    metrics, record = result.metrics, result.record
    size = size_in_words(result.scene.cube.shape)
    line = f"{out}: {size} by {record['method']} in {record['seconds']:.1f} s, {fit_words(metrics)}"
    formats = {"psnr_db": "PSNR {:.2f} dB", "ssim": "SSIM {:.3f}", "sam_deg": "SAM {:.2f}°"}
    if move := describe_move(metrics):
        line += f"; {move}"
    figures = [text.format(metrics[name]) for name, text in formats.items() if metrics.get(name) is not None]
    if figures:
        line += f"; {', '.join(figures)} ({metrics['protocol']})"
    if metrics.get("miou_present") is not None:
        line += f", mIoU of the classes present {metrics['miou_present']:.3f}"
    if "voxels_without_data" in metrics:
        line += f"; {metrics['voxels_without_data']} voxels of the truth hold no data and count nowhere"
    line += unknown_words(metrics)
    if "class_note" in metrics:
        line += f"; {metrics['class_note']}"
    return line + warning_line(result)


def fit_words(metrics: Mapping[str, Any]) -> str:
    """How well an estimate explains its measurement."""
    from crsdun.methods.verdict import describe_fit

    noise = f", noise {metrics['noise']:.2%}" if "noise" in metrics else ""
    fit = f": {describe_fit(metrics)}" if "fit" in metrics else ""
    return f"data residual {metrics['data_residual']:.2%}{noise}{fit}"


def unknown_words(metrics: Mapping[str, Any]) -> str:
    """How many pixels have no class, as a part of a line; empty where all have one."""
    if "unknown" not in metrics:
        return ""
    return f"; {metrics['unknown']:.1%} of the pixels are unknown, at a coverage of {metrics['coverage']:.1%}"


def warning_line(result: Reconstruction) -> str:
    """What follows the line of a result that should not be believed; empty where it may be."""
    from crsdun.runtime.preparation import REFINED

    words = warning_words(result.warning, REFINED in result.record["measurement"])
    return f"\n{words}" if words else ""


def warning_words(warning: str | None, refined: bool, among: str = "") -> str:
    """That a result should not be believed, and what may mend it; empty where it may be believed.

    Args:
        refined: whether the camera has been refined, which then is no remedy.
        among: of which results that is said, where there are several.
    """
    from crsdun.methods.verdict import remedy_of

    if warning is None:
        return ""
    remedy = "" if refined else worded(remedy_of(warning), option)
    return "; ".join(filter(None, (f"WARNING: do not rely on this result: {warning}{among}", remedy)))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar with the time left on standard error; nothing if that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def progress_lines(title: str, every: float = LINES_S) -> Callable[[int, int], None]:
    """In place of a bar, where nobody watches but something keeps what is printed: a line now and then."""
    said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= every and done < total:
            said = time.monotonic()
            notify(f"{title}: {done} of {total}")

    return tell


def console() -> Console:
    """Standard output, wide enough for a table even if it is not a terminal, where a text means its letters alone."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(soft_wrap=True, markup=False, emoji=False, highlight=False, width=None if terminal else 120)
