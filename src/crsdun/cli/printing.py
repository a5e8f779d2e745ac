"""What several commands print, for a person or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crsdun.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from crsdun.runtime import Reconstruction


def reason(error: Exception) -> str:
    """Why something failed, in one line, with the options of the command line where it names settings."""
    if isinstance(error, InputError):
        return error.worded(option)
    return "there is not enough memory for this size" if isinstance(error, MemoryError) else str(error)


# Settings whose option takes a value that is worth naming.
VALUES = {"bits": "N", "mask": "FILE", "weights": "FILE", "tile": "ROWS", "overlap": "ROWS", "truth": "DIR"}


def option(setting: str) -> str:
    """A setting of the package as its option, such as ``mask_key`` as ``--mask-key``."""
    value = VALUES.get(setting)
    return f"--{setting.replace('_', '-')}" + (f" {value}" if value else "")


def tell(facts: dict[str, Any], words: str, as_json: bool) -> None:
    """The result for a machine or for a person."""
    print(json.dumps(facts) if as_json else words)


def report(result: Reconstruction, out: Path, as_json: bool) -> None:
    """Where the results are and how good they are."""
    facts, words = told(result, out)
    tell(facts, f"{words}\nlook at {out / 'report.html'}", as_json)


def told(result: Reconstruction, out: Path) -> tuple[dict[str, Any], str]:
    """The figures of one reconstruction and where it is, for a machine and, in one line, for a person."""
    metrics, record = result.metrics, result.record
    height, width = result.scene.cube.shape[1:]
    words = (
        f"{out}: {result.scene.bands} bands of {height}×{width} by {record['method']} in {record['seconds']:.1f} s, "
        f"data residual {metrics['data_residual']:.2%}"
    )
    if "psnr_db" in metrics:
        ssim = "" if metrics["ssim"] is None else f", SSIM {metrics['ssim']:.3f}"
        words += f"; PSNR {metrics['psnr_db']:.2f} dB{ssim}, SAM {metrics['sam_deg']:.2f}° ({metrics['protocol']})"
    if metrics.get("miou_present") is not None:
        words += f", mIoU of the classes present {metrics['miou_present']:.3f}"
    return {"out": str(out), "method": record["method"], "seconds": record["seconds"], **metrics}, words


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the time left on standard error; nothing when that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def console() -> Console:
    """Standard output, with room for a table where it is no terminal."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(soft_wrap=True, highlight=False, width=None if terminal else 120)
