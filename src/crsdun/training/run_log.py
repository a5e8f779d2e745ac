"""What a run writes down: CSV always, TensorBoard where it is installed, and the run record."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from crsdun.errors import InputError
from crsdun.storage import atomic_file, write_json
from crsdun.typed import read_json

RECORD = "run.json"

LogRow = dict[str, float | int | None]


class RunLog:
    """The curves of a run, continued where the run is resumed.

    ``log.csv`` has the losses of steps, ``validation.csv`` the figures of validations, ``tensorboard/`` both, and
    pictures.

    Args:
        folder: of the run.
        step: number of steps done; rows about later ones are dropped.
        notify: called with a line about rows that were damaged.
    """

    def __init__(self, folder: Path, step: int, notify: Callable[[str], None] = print):
        self.folder = folder
        for name in ("log.csv", "validation.csv"):
            _cut(folder / name, step, notify)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            with _writing(folder / "tensorboard"):
                self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def step(self, row: LogRow) -> None:
        """Figures of a step, ``row["step"]`` being the number of steps done."""
        self._add("log.csv", "training", row)

    def validation(self, row: LogRow, picture: np.ndarray | None) -> None:
        """Figures of a validation, and its first scene (H,W,3) uint8."""
        self._add("validation.csv", "validation", row)
        if picture is not None:
            from PIL import Image

            with atomic_file(self.folder / "validation.png") as part:
                Image.fromarray(picture).save(part)
            if self.board is not None:
                with _writing(self.folder / "tensorboard"):
                    self.board.add_image("validation", picture, row["step"], dataformats="HWC")

    def close(self) -> None:
        if self.board is not None:
            with _writing(self.folder / "tensorboard"):
                self.board.close()

    def _add(self, name: str, group: str, row: LogRow) -> None:
        path = self.folder / name
        with _writing(path):
            columns = _columns(path, row)
            with path.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerow({key: _short(value) for key, value in row.items()})
        if self.board is not None:
            with _writing(self.folder / "tensorboard"):
                for key, value in row.items():
                    if key != "step" and value is not None:
                        self.board.add_scalar(f"{group}/{key}", value, row["step"])


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Inside the block the system's errors say that ``path`` could not be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"could not write {path}: {error}", "free some space and give the same command again"
        ) from error


def _columns(path: Path, row: LogRow) -> list[str]:
    """The columns of a table, which afterwards exists and has those of the row.

    The parts of a network have figures of their own.
    """
    columns: list[str] = []
    if path.exists():
        with path.open(newline="") as file:
            columns = next(csv.reader(file), [])
    missing = [name for name in row if name not in columns]
    if missing:
        rows = []
        if columns:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        columns += missing
        with atomic_file(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    return columns


def _cut(path: Path, step: int, notify: Callable[[str], None]) -> None:
    """Drop the rows after a step, and damaged ones; delete the file if no row is left."""
    if not path.exists():
        return
    header, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
    steps = [_step(row, header) for row in rows]
    # The last row is incomplete if the process died while it was written.
    damaged = sum(number is None for number in steps[:-1])
    if damaged:
        notify(f"{damaged} damaged row{'s' if damaged > 1 else ''} of {path} dropped")
    kept = [row for row, number in zip(rows, steps, strict=True) if number is not None and number <= step]
    if not kept:
        path.unlink()
    elif kept != rows:
        with atomic_file(path) as part:
            part.write_bytes(header + b"".join(kept))


def _step(row: bytes, header: bytes) -> int | None:
    """The step of a row of a table; None if the row is damaged."""
    cells = row.split(b",")
    whole = row.endswith(b"\n") and row.count(b",") == header.count(b",") and header.startswith(b"step,")
    if not (whole and cells[0].isdigit() and len(cells[0]) < 20):
        return None
    try:
        [float(cell.strip() or "nan") for cell in cells[1:]]
    except ValueError:
        return None
    return int(cells[0])


def _short(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


# -- the run record ------------------------------------------------------------------------------------------


class Session(TypedDict):
    """One session of a run."""

    started: str
    from_step: int


class NetworkOfRun(TypedDict):
    name: str


class ConfigOfRun(TypedDict):
    """What is read of a configuration."""

    network: NetworkOfRun
    steps: int


class RunRecord(TypedDict):
    """How a run was made."""

    config: ConfigOfRun
    sittings: list[Session]


def read_record(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        OSError: there is none.
        InputError: it is damaged.
    """
    return read_json(RunRecord, folder / RECORD, "give the folder of a run as crsdun train left it")


def write_record(
    folder: Path, record: dict[str, Any], session: dict[str, Any], notify: Callable[[str], None] = print
) -> None:
    """Write ``run.json``: how the run was made, with one entry for each session.

    Args:
        notify: called with a line if the existing record is damaged, which loses the earlier sessions.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        earlier = list(read_record(folder)["sittings"])
    except FileNotFoundError:
        earlier = []
    except InputError as error:
        notify(f"{error.message}; it begins anew, without the earlier sessions")
        earlier = []
    write_json(folder / RECORD, {**record, "sittings": [*earlier, session]})
