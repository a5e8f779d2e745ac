"""What a run writes down: CSV always, TensorBoard where it is installed, and the run record."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.storage import write_json, write_text

RECORD = "run.json"

LogRow = dict[str, float | int | None]


class RunLog:
    """The curves of a run, continued where the run is resumed.

    ``log.csv`` has the losses of steps, ``validation.csv`` the figures of validations, ``tensorboard/`` both, and
    pictures.

    Args:
        folder: of the run.
        step: number of steps done; rows about later ones are dropped.
    """

    def __init__(self, folder: Path, step: int):
        self.folder = folder
        for name in ("log.csv", "validation.csv"):
            _cut(folder / name, step)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def step(self, row: LogRow) -> None:
        """Figures of a step, ``row["step"]`` being the number of steps done."""
        self._add("log.csv", "training", row)

    def validation(self, row: LogRow, picture: np.ndarray | None) -> None:
        """Figures of a validation, and its first scene (H,W,3) uint8."""
        self._add("validation.csv", "validation", row)
        if picture is not None:
            from PIL import Image

            Image.fromarray(picture).save(self.folder / "validation.png")
            if self.board is not None:
                self.board.add_image("validation", picture, row["step"], dataformats="HWC")

    def close(self) -> None:
        if self.board is not None:
            self.board.close()

    def _add(self, name: str, group: str, row: LogRow) -> None:
        path = self.folder / name
        try:
            fresh = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                if fresh:
                    writer.writeheader()
                writer.writerow({key: _short(value) for key, value in row.items()})
        except OSError as error:
            raise InputError(
                f"could not write {path}: {error}", "free some space and give the same command again"
            ) from error
        if self.board is not None:
            for key, value in row.items():
                if key != "step" and value is not None:
                    self.board.add_scalar(f"{group}/{key}", value, row["step"])


def _cut(path: Path, step: int) -> None:
    """Drop the rows after a step, and an incomplete last row; delete the file if no row is left."""
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines(keepends=True) or [""]
    kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
    if not kept:
        path.unlink()
    elif kept != rows:
        write_text(path, header + "".join(kept))


def _short(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


# -- the run record ------------------------------------------------------------------------------------------


def write_record(folder: Path, record: dict[str, Any], session: dict[str, Any]) -> None:
    """Write ``run.json``: how the run was made, with one entry for each session.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = folder / RECORD
    earlier = json.loads(path.read_text())["sittings"] if path.exists() else []
    write_json(path, {**record, "sittings": [*earlier, session]})
