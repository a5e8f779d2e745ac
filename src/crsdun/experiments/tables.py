"""Several systems under one budget: trained one after the other by the same loop, judged by the same protocol.

The budget (data, camera, crops, steps, seed) is the table's and no row can change it. Samples are a function of seed
and step alone, so every row sees the same crops, behind the same masks, in the same order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from crsdun.errors import InputError
from crsdun.evaluation import (
    FIGURES,
    PUBLISHED,
    Evaluation,
    EvaluationOptions,
    Published,
    evaluate,
    get_protocol,
    multiply_adds,
    parameters,
    read_evaluation,
    write_tables,
)
from crsdun.evaluation.tables import FILE, caption, latex, markdown, write_csv
from crsdun.networks import load
from crsdun.provenance import fingerprint, sha256_of
from crsdun.runtime import open_method
from crsdun.scenes.catalog import open_set
from crsdun.scenes.scene_set import SceneSet
from crsdun.solvers import SOLVERS
from crsdun.storage import refusal, write_json, write_text
from crsdun.training.config import CameraConfig, DataConfig, SamplingConfig, TrainConfig, config_from, load_values
from crsdun.training.distributed import join
from crsdun.training.loop import RunObserver, train
from crsdun.training.phases import phases_of

if TYPE_CHECKING:
    import torch

Sets = tuple[SceneSet, SceneSet, SceneSet]

BUDGET = ("data", "camera", "sampling", "steps", "seed")


@dataclass(frozen=True)
class RowConfig:
    """One system of a table.

    Attributes:
        config: file of a training configuration, beside that of the table, whose budget gives way to the table's.
        train: keys of a training configuration that are this row's own, such as ``network``.
        weights: file of weights that exist, or ``gap-tv`` or ``admm-tv``: nothing is trained.
    """

    config: str | None = None
    train: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None


@dataclass(frozen=True)
class TableConfig:
    """A table of systems.

    Attributes:
        title: over the table.
        rows: systems by the names that the table gives them, in its order.
        out: folder of the table; each row has a folder in it, which is that of its training run.
        data, camera, sampling, steps, seed: the budget of every row, as in a training configuration.
        train: further keys of a training configuration, the same for every row.
        note: what a reader has to know, under the table.
        split: that the rows are judged on.
        scenes: how many of it, the first ones; null for all.
        protocol: of PSNR and SSIM.
        minutes: stop cleanly after so long; the same command goes on from there. Null for no limit.
    """

    title: str
    rows: dict[str, RowConfig]
    out: str
    data: DataConfig
    steps: int
    camera: CameraConfig = field(default_factory=CameraConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int = 0
    train: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    split: Literal["validation", "test"] = "test"
    scenes: int | None = None
    protocol: str = "crsdun"
    minutes: float | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a table has at least one row", "see configs/table_main_small.yaml")
        for where, changes in (("train", self.train), *((f"rows.{name}.train", row.train) for name, row in self)):
            for key in (*BUDGET, "out", "minutes"):
                if key in changes:
                    raise InputError(f"{where}.{key} is for the whole table: say {key} at its top")
        folders = [folder_name(name) for name in self.rows]
        for name, folder in zip(self.rows, folders, strict=True):
            if not folder or folders.count(folder) > 1:
                raise InputError(f"the row {name!r} needs a name whose letters and digits are no other row's")
        if self.scenes is not None and self.scenes < 1:
            raise InputError(f"scenes must be 1 or more, or null, not {self.scenes}")
        if self.minutes is not None and self.minutes <= 0:
            raise InputError(f"minutes must be positive, or null, not {self.minutes}")
        get_protocol(self.protocol)

    def __iter__(self) -> Any:
        return iter(self.rows.items())


@dataclass(frozen=True)
class TableRow:
    """One system of a table, judged.

    Attributes:
        name: in the table.
        system: name of its network in the zoo, or its weights.
        steps: that each of its parts learnt for; empty where nothing was trained.
        figures: over the scenes, as ``Evaluation.figures``.
        parameters, multiply_adds: the latter of one scene of 256×256; None for a solver.
        seconds: for one scene, the median.
        training_hours: None where nothing was trained.
        published: what the paper prints of the system.
        failure: why there are no figures.
    """

    name: str
    system: str
    steps: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)
    parameters: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None
    training_hours: float | None = None
    published: Published | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Table:
    """What a sitting has of a table.

    Attributes:
        title: over it.
        rows: that are done, failed ones too.
        words: under it, what the numbers are.
        stopped: why before the last row (``time`` or ``signal``), or None.
    """

    title: str
    rows: list[TableRow]
    words: str
    stopped: str | None = None


# -- what is to be done ----------------------------------------------------------------------------------------


def load_table(path: str | Path, overrides: Sequence[str] = ()) -> tuple[TableConfig, dict[str, TrainConfig | None]]:
    """A table and how each of its rows is trained, None for weights that exist; arguments as ``load_config``.

    Raises:
        InputError: as ``load_config``, or a row is none.
    """
    path = Path(path)
    table = config_from(load_values(path, overrides), TableConfig)
    return table, {name: row_config(table, name, path.parent) for name, row in table}


def row_config(table: TableConfig, name: str, folder: Path) -> TrainConfig | None:
    """How a row is trained: its file, the table's ``train``, its own, and the budget, each over the one before."""
    row = table.rows[name]
    if row.weights is not None:
        if row.config is not None or row.train:
            raise InputError(f"rows.{name} has weights, so nothing is trained: leave config and train away")
        return None
    values = load_values(folder / row.config) if row.config else {}
    for above in (table.train, row.train, {key: value for key, value in asdict(table).items() if key in BUDGET}):
        values = laid_over(values, above)
    try:
        return config_from({**values, "out": str(Path(table.out) / folder_name(name))})
    except InputError as error:
        raise InputError(f"rows.{name}: {error}") from error


def laid_over(values: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested values with others over them; a network is never mixed from two."""
    merged = dict(values)
    for key, value in above.items():
        mixed = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "network"
        merged[key] = laid_over(merged[key], value) if mixed else value
    return merged


def folder_name(name: str) -> str:
    """``SSR-6stg + Seg`` → ``ssr_6stg_seg``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


# -- doing it --------------------------------------------------------------------------------------------------


def make_table(
    table: TableConfig,
    configs: dict[str, TrainConfig | None],
    sets: Sets | None = None,
    watch: RunObserver | None = None,
) -> Table:
    """Train and judge row by row, or go on with a table that was interrupted; its files are written after every row.

    Args:
        table, configs: as ``load_table`` gives them.
        sets: to learn from, to validate on and to judge on, in place of ``table.data``.
        watch: how to look on.

    Raises:
        InputError: the data to judge on cannot be read, or the folder cannot be written to; what is wrong with a
            single row is its ``failure``.
    """
    watch = watch or RunObserver()
    began = time.monotonic()
    with join() as processes:
        speaks = processes.rank == 0
        tell = watch.tell if speaks else lambda words: None
        scenes = sets[2] if sets else open_set(table.data.source, table.split)
        data = fingerprint(scenes.hashes())
        made = Table(table.title, [], "")
        for number, (name, config) in enumerate(configs.items(), 1):
            tell(f"row {number} of {len(configs)}: {name}")
            weights = table.rows[name].weights
            system = config.network.name if config else str(weights)
            row, evaluation = TableRow(name, system, published=PUBLISHED.get(system)), None
            try:
                if config is not None:
                    spent = (time.monotonic() - began) / 60
                    left = None if table.minutes is None else max(table.minutes - spent, 1e-9)
                    outcome = train(replace(config, minutes=left), sets and sets[:2], watch)
                    if outcome.weights is None:
                        return replace(made, stopped=outcome.stopped)
                    weights = str(outcome.weights)
                evaluation = judge(table, name, str(weights), scenes, data, processes.device, speaks)
                row = filled(row, str(weights), config, evaluation)
            except Exception as failure:  # whatever it is, the other rows are not to blame
                kind = "" if isinstance(failure, InputError) else f"{type(failure).__name__}: "
                row = replace(row, failure=kind + " ".join(str(failure).split()))
                tell(f"{name} failed: {row.failure}")
            made = replace(made, rows=[*made.rows, row])
            if evaluation is not None:
                made = replace(made, words=words(table, made.rows, evaluation))
            if speaks:
                write(made, Path(table.out))
    return made


def judge(
    table: TableConfig,
    name: str,
    weights: str,
    scenes: SceneSet,
    data: str,
    device: torch.device,
    writes: bool,
) -> Evaluation:
    """The evaluation of a row's weights, from its folder where they were judged the same way before."""
    folder = Path(table.out) / folder_name(name) / "evaluation"
    solver = weights in SOLVERS
    origin = {"solver": weights}
    if not solver:
        origin = {"file": Path(weights).name, "sha256": sha256_of(weights)}
    exposure, count = table.camera.exposure(), min(table.scenes or len(scenes), len(scenes))
    if (folder / FILE).exists():
        before = read_evaluation(folder)
        if (before.record.get("weights"), before.data["fingerprint"], before.protocol, before.camera) == (
            origin,
            data,
            table.protocol,
            exposure.described(),
        ) and len(before.scenes) == count:
            return before
    method = open_method(weights, device)
    evaluation = evaluate(method, scenes, exposure, EvaluationOptions(table.protocol, device, first=count))
    evaluation = replace(evaluation, method=name, record={**evaluation.record, "weights": origin})
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(evaluation, folder)
    return evaluation


def filled(row: TableRow, weights: str, config: TrainConfig | None, evaluation: Evaluation) -> TableRow:
    """A row with all its numbers."""
    row = replace(
        row,
        figures={name: value for name, value in evaluation.figures.items() if name in FIGURES},
        seconds=median(scene["seconds"] for scene in evaluation.scenes),
    )
    if weights in SOLVERS:
        return row
    network = load(weights)
    row = replace(
        row,
        parameters=parameters(network),
        multiply_adds=multiply_adds(network, step=evaluation.camera["step"]),
        training_hours=network.card.provenance.get("hours"),
    )
    if config is None:
        return row
    return replace(row, steps={phase.learns: phase.steps for phase in phases_of(config, network)})


# -- telling it ------------------------------------------------------------------------------------------------


def words(table: TableConfig, rows: Sequence[TableRow], evaluation: Evaluation) -> str:
    """What the numbers of a table are, line by line."""
    height, width = table.sampling.crop
    shares = {f"{row.steps['reconstruction']} + {row.steps['segmenter']}": None for row in rows if len(row.steps) > 1}
    shared = f", shared between reconstruction + segmenter: {' or '.join(shares)}" if shares else ""
    lines = [
        table.note,
        f"Budget of every trained row: {table.steps} steps of {table.sampling.batch} crops of {height}×{width}, seed "
        f"{table.seed}{shared}.",
        f"Judged on {caption(evaluation)}.",
        "M: parameters / 10⁶; G: multiply-adds / 10⁹ of one scene of 256×256; s: seconds for one scene, median.",
        "Published: He et al., CVPR 2026, on 50 scenes of FVgNET at full width; not measured here.",
    ]
    return "\n".join(line for line in lines if line)


def cells(table: Table) -> list[list[str]]:
    """A header and the rows, as they are printed; published figures where any row has them."""
    psnr, miou = FIGURES["psnr_db"], FIGURES["miou"]
    head = ["system", psnr.label, miou.label, "M", "G", "s"]
    told = any(row.published for row in table.rows)
    if told:
        head += [f"published {psnr.name}", miou.name, "M", "G"]
    lines = [head]
    for row in table.rows:
        line = [row.name, *_numbers(row.figures.get("psnr_db"), row.figures.get("miou"), row)]
        line.append("–" if row.seconds is None else f"{row.seconds:.2f}")
        if told:
            known = row.published
            line += _numbers(known.psnr_db, known.miou, known) if known else 4 * [""]
        lines.append(line)
    return lines


def _numbers(psnr: float | None, miou: float | None, counts: TableRow | Published) -> list[str]:
    """PSNR, mIoU, M and G."""
    millions, billions = (
        "–" if count is None else f"{count / unit:.2f}"
        for count, unit in ((counts.parameters, 1e6), (counts.multiply_adds, 1e9))
    )
    return [FIGURES["psnr_db"].number(psnr), FIGURES["miou"].number(miou), millions, billions]


def as_markdown(table: Table) -> str:
    """The table for a page, and for the eye."""
    lines = [*table.words.splitlines(), *(f"{row.name} failed: {row.failure}" for row in table.rows if row.failure)]
    return f"**{table.title}**\n\n" + markdown(cells(table), "\n\n".join(lines))


def write(table: Table, folder: Path) -> None:
    """``table.md``, ``table.tex``, ``table.csv`` and ``table.json``; in the last two mIoU is a share of 1.

    Raises:
        InputError: the folder cannot be written to.
    """
    flat = [
        {"system": row.name, "network": row.system, **row.figures}
        | {key: getattr(row, key) for key in ("parameters", "multiply_adds", "seconds", "training_hours", "failure")}
        | {f"published_{key}": value for key, value in (asdict(row.published) if row.published else {}).items()}
        for row in table.rows
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error
    comments = f"{table.title}\n{table.words}".replace("\n", "\n% ")
    write_text(folder / "table.md", as_markdown(table))
    write_text(folder / "table.tex", latex(cells(table), comments))
    write_json(folder / "table.json", asdict(table))
    write_csv(folder / "table.csv", flat)
