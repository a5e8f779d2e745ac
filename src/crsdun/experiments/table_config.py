"""What a table is: its rows, the budget that they share, and how its file is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crsdun.errors import InputError
from crsdun.evaluation import get_protocol
from crsdun.optics import Exposure
from crsdun.training.config import (
    CameraConfig,
    DataConfig,
    SamplingConfig,
    TrainConfig,
    config_from,
    load_values,
    renamed,
)

BUDGET = ("data", "camera", "sampling", "steps", "seed")


@dataclass(frozen=True)
class RowConfig:
    """One system of a table.

    Attributes:
        config: file of a training configuration, relative to the table's file; the table's budget replaces its own.
        train: keys of a training configuration for this row alone, such as ``network``.
        weights: existing weights, or a solver such as ``gap-tv``: nothing is trained.
        camera: keys of the table's ``camera`` with other values, for a row that is a bound: ``{mask: open, step: 256,
            noise: {photons: null}}`` spreads the bands of a scene of 256 columns so far that the measurement is the
            clean cube.
    """

    config: str | None = None
    train: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    camera: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """How the camera differs from that of the table.

    Attributes:
        camera: keys of the table's ``camera`` with other values, such as ``noise``.
        moved: by how many pixels, down and right, the mask has moved since it was calibrated, as of ``Exposure``.
    """

    camera: dict[str, Any] = field(default_factory=dict)
    moved: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class TableConfig:
    """A table of systems.

    Attributes:
        title: of the table.
        rows: systems by their names in the table, in its order.
        out: folder of the table; each row has a folder in it, which is that of its training run.
        data, camera, sampling, steps, seed: the budget of every row, as in a training configuration.
        seeds: train every row once with each of them, all rows with the first one first; the figures are means.
            Null for ``seed`` alone.
        stages: of the steps: all rows and seeds do the first part of them before any does the second, so that an
            unfinished table is one of fewer steps. A stage's weights lie on the way to those of the next.
        conditions: cameras behind which trained rows are judged again (``judge_conditions``), by their names.
        jobs: rows that learn at the same time, each in a process of its own with its share of the processor's cores.
        train: further keys of a training configuration, the same for every row.
        note: what a reader needs to know, printed under the table.
        split: that the rows are evaluated on.
        scenes: evaluate on this many, the first of the split; null for all.
        protocol: of PSNR and SSIM.
        minutes: stop cleanly after this time; the same command then resumes the table. Null for no limit.
    """

    title: str
    rows: dict[str, RowConfig]
    out: str
    data: DataConfig
    steps: int
    camera: CameraConfig = field(default_factory=CameraConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0
    seeds: tuple[int, ...] | None = None
    stages: int = 1
    conditions: dict[str, Condition] = field(default_factory=dict)
    jobs: int = 1
    train: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    split: Literal["validation", "test"] = "test"
    scenes: int | None = None
    protocol: str = "crsdun"
    minutes: float | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a table needs at least one row", "see configs/table_main_small.yaml")
        for where, changes in (
            ("train", self.train),
            *((f"rows.{name}.train", row.train) for name, row in self.rows.items()),
        ):
            for key in (*BUDGET, "out", "minutes"):
                if key in changes:
                    raise InputError(f"{where}.{key} is for the whole table", f"set {key} at the top of the file")
        folders = [folder_name(name) for name in self.rows]
        for name, folder in zip(self.rows, folders, strict=True):
            if not folder or folders.count(folder) > 1:
                raise InputError(
                    f"the row {name!r} needs a name that differs from all others in its letters or digits"
                )
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) < len(self.seeds)):
            raise InputError(f"seeds must be one or more different ones, or null, not {self.seeds}")
        if self.scenes is not None and self.scenes < 1:
            raise InputError(f"scenes must be 1 or more, or null, not {self.scenes}")
        if not 1 <= self.stages <= self.steps:
            raise InputError(f"stages must be 1 to {self.steps}, the number of steps, not {self.stages}")
        if self.jobs < 1:
            raise InputError(f"jobs must be 1 or more, not {self.jobs}")
        if self.minutes is not None and self.minutes <= 0:
            raise InputError(f"minutes must be positive, or null, not {self.minutes}")
        get_protocol(self.protocol)
        for name in self.conditions:
            self.exposure(name)

    @property
    def stage_steps(self) -> list[int]:
        """Steps done at the end of each stage."""
        return [round(self.steps * stage / self.stages) for stage in range(1, self.stages + 1)]

    def camera_of(self, row: str) -> CameraConfig:
        """The camera behind which a row learns and is judged."""
        return config_from(merged(asdict(self.camera), self.rows[row].camera), CameraConfig)

    def exposure(self, condition: str) -> Exposure:
        """How scenes are measured under a condition."""
        changes = self.conditions[condition]
        camera = config_from(merged(asdict(self.camera), changes.camera), CameraConfig)
        return replace(camera.exposure(), moved=changes.moved)


def load_table(path: str | Path, overrides: Sequence[str] = ()) -> tuple[TableConfig, dict[str, TrainConfig | None]]:
    """A table and how each of its rows is trained, None for existing weights; arguments as ``load_config``.

    Raises:
        InputError: as ``load_config``, or a row is invalid.
    """
    path = Path(path)
    table = config_from(load_values(path, overrides), TableConfig)
    return table, {name: row_config(table, name, path.parent) for name in table.rows}


def row_config(table: TableConfig, name: str, folder: Path) -> TrainConfig | None:
    """How a row is trained: its file, overridden by the table's ``train``, then by its own, then by the budget."""
    row = table.rows[name]
    if row.weights is not None:
        if row.config is not None or row.train:
            raise InputError(f"rows.{name} has weights, so nothing is trained", "omit its config and train")
        return None
    values = load_values(folder / row.config) if row.config else {}
    for above in (table.train, row.train):
        values = merged(values, renamed(deepcopy(above)))
    values |= {key: value for key, value in asdict(table).items() if key in BUDGET}
    values = merged(values, {"camera": row.camera})
    if table.stages > 1:
        values = merged(values, {"validation": {"keep": True}})
    try:
        config = config_from({**values, "out": str(Path(table.out) / folder_name(name))})
    except InputError as error:
        raise InputError(f"rows.{name}: {error.message}", error.remedy) from error
    one_way = config.optimiser.schedule == "constant" and config.two_stage.order in ("joint", "detached")
    if table.stages > 1 and not one_way:
        raise InputError(
            f"rows.{name} learns something else in few steps than on the way to many, so it has no stages",
            "set its optimiser.schedule to constant and two_stage.order to joint or detached, or stages to 1",
        )
    return config


def merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Nested values with overrides; a network is replaced as a whole."""
    result = dict(values)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict) and key != "network"
        result[key] = merged(result[key], value) if nested else value
    return result


def folder_name(name: str) -> str:
    """``SSR-6stg + Seg`` → ``ssr_6stg_seg``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def chosen(rows: Collection[str], names: str | None) -> list[str]:
    """The rows of a table, in its order: all, or those named in a list separated by commas.

    Names may have commas of their own: of several readings the longest names are meant.

    Raises:
        InputError: there is no such row.
    """
    if names is None:
        return list(rows)

    def parts_of(text: str) -> tuple[str, ...]:  # whatever the spaces at its commas
        return tuple(part.strip() for part in text.split(","))

    known = {parts_of(name): name for name in rows}
    wanted, parts = set(), parts_of(names)
    while parts:
        readings = (parts[:count] for count in range(len(parts), 0, -1))
        name = next((known[reading] for reading in readings if reading in known), None)
        if name is None:
            raise InputError(f"this table has no row {parts[0]!r}", f"set <rows> to some of {'; '.join(rows)}")
        wanted.add(name)
        parts = parts[name.count(",") + 1 :]
    return [name for name in rows if name in wanted]
