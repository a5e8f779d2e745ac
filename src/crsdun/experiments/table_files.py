"""A table and its rows: the numbers of each, over the seeds, and the files they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from crsdun.evaluation import FIGURES, Evaluation, Published, multiply_adds, parameters
from crsdun.evaluation.tables import caption, latex, markdown, write_csv
from crsdun.experiments.table_config import TableConfig
from crsdun.networks import load
from crsdun.runtime.graph_export import is_exported
from crsdun.solvers import SOLVERS
from crsdun.storage import refusal, write_json, write_text
from crsdun.training.config import TrainConfig
from crsdun.training.phases import phases_of


@dataclass(frozen=True)
class TableRow:
    """One system of a table, evaluated.

    Attributes:
        name: in the table.
        system: name of its network in the zoo, or its weights.
        steps: of training, of each of its parts; empty if nothing was trained.
        figures: over the scenes, as ``Evaluation.figures``; means over the seeds.
        spread: standard deviation of each figure over the seeds; empty for a single one.
        seeds: how many.
        parameters, multiply_adds: the latter of one scene of 256×256; None for a solver or an exported network.
        seconds: for one scene, median.
        training_hours: None if nothing was trained.
        published: what the paper prints of the system.
        failure: why there are no figures.
    """

    name: str
    system: str
    steps: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    seeds: int = 1
    parameters: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None
    training_hours: float | None = None
    published: Published | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Table:
    """A table, as far as it is complete.

    Attributes:
        title: over it.
        rows: that are done, including failed ones.
        notes: under it, what the numbers are.
        stopped: why it stopped before the last row (``time`` or ``signal``), or None.
    """

    title: str
    rows: list[TableRow]
    notes: str
    stopped: str | None = None

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [asdict(row) for row in self.rows]
        return {"title": self.title, "rows": rows, "words": self.notes, "stopped": self.stopped}


# -- the numbers of a row ------------------------------------------------------------------------------------------


def filled(row: TableRow, weights: str, config: TrainConfig | None, evaluation: Evaluation) -> TableRow:
    """A row with all its numbers."""
    row = replace(
        row,
        figures={name: value for name, value in evaluation.figures.items() if name in FIGURES},
        seconds=median(scene["seconds"] for scene in evaluation.scenes),
    )
    if weights in SOLVERS or is_exported(weights):
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


def over_seeds(rows: Sequence[TableRow]) -> TableRow:
    """One row of those of all seeds; of a row that failed with one of them, why."""
    failed = next((row for row in rows if row.failure), None)
    if failed or len(rows) == 1:
        return failed or rows[0]
    values = {
        name: [value for row in rows if (value := row.figures.get(name)) is not None] for name in rows[0].figures
    }
    hours = [row.training_hours for row in rows if row.training_hours is not None]
    return replace(
        rows[0],
        figures={name: mean(each) if each else None for name, each in values.items()},
        spread={name: stdev(each) for name, each in values.items() if len(each) > 1},
        seeds=len(rows),
        seconds=median(row.seconds for row in rows if row.seconds is not None),
        training_hours=sum(hours) if hours else None,
    )


# -- writing it ------------------------------------------------------------------------------------------------


def notes(table: TableConfig, budget: str, evaluation: Evaluation) -> str:
    """What the numbers of a table are, line by line; ``budget`` is that of its rows in words."""
    lines = [
        table.note.strip(),
        f"Budget of every trained row: {budget}.",
        f"Judged on {caption(evaluation)}.",
        "M: parameters / 10⁶; G: multiply-adds / 10⁹ of one scene of 256×256; s: seconds for one scene, median.",
        "Published: He et al., CVPR 2026, on 50 scenes of FVgNET at full width; not measured here.",
    ]
    return "\n".join(line for line in lines if line)


def budget_of_steps(table: TableConfig, rows: Sequence[TableRow], steps: int) -> str:
    """The budget of a table after so many steps, in words."""
    height, width = table.sampling.crop
    shares = {f"{row.steps['reconstruction']} + {row.steps['segmenter']}": None for row in rows if len(row.steps) > 1}
    shared = f", shared between reconstruction + segmenter: {' or '.join(shares)}" if shares else ""
    budget = f"{steps} steps" if steps == table.steps else f"{steps} of {table.steps} steps, each"
    seeds = f"seed {table.seed}"
    if table.seeds is not None:
        trained = sorted({row.seeds for row in rows if row.steps})
        done = " to ".join(str(count) for count in dict.fromkeys((*trained[:1], *trained[-1:])))
        seeds = f"mean ± standard deviation over {done} of {len(table.seeds)} seeds"
    return f"{budget} of {table.sampling.batch} crops of {height}×{width}, {seeds}{shared}"


def cells(table: Table) -> list[list[str]]:
    """A header and the rows as text; with published figures if any row has them."""
    psnr, miou = FIGURES["psnr_db"], FIGURES["miou"]
    head = ["system", psnr.label, miou.label, "M", "G", "s"]
    with_published = any(row.published for row in table.rows)
    if with_published:
        head += [f"published {psnr.name}", miou.name, "M", "G"]
    lines = [head]
    for row in table.rows:
        line = [row.name, *_numbers(row.figures.get("psnr_db"), row.figures.get("miou"), row)]
        for place, figure in enumerate(("psnr_db", "miou"), 1):
            if figure in row.spread:
                line[place] += f" ± {FIGURES[figure].number(row.spread[figure])}"
        line.append("–" if row.seconds is None else f"{row.seconds:.2f}")
        if with_published:
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
    """The table with its title and notes."""
    lines = [*table.notes.splitlines(), *(f"{row.name} failed: {row.failure}" for row in table.rows if row.failure)]
    return f"**{table.title}**\n\n" + markdown(cells(table), "\n\n".join(lines))


def write(table: Table, folder: Path) -> None:
    """Write ``table.md``, ``table.tex``, ``table.csv`` and ``table.json``; in the last two, mIoU is a share of 1.

    Raises:
        InputError: the folder cannot be written to.
    """
    flat = [
        {"system": row.name, "network": row.system, **row.figures, "seeds": row.seeds}
        | {f"{name}_spread": value for name, value in row.spread.items()}
        | {key: getattr(row, key) for key in ("parameters", "multiply_adds", "seconds", "training_hours", "failure")}
        | {f"published_{key}": value for key, value in (asdict(row.published) if row.published else {}).items()}
        for row in table.rows
    ]
    comments = f"{table.title}\n{table.notes}".replace("\n", "\n% ")
    write_files(folder, as_markdown(table), latex(cells(table), comments), table.plain(), flat)


def write_files(
    folder: Path, markdown: str, latex: str, plain: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Write a table in all formats: ``table.md``, ``table.tex``, ``table.json`` and, from ``rows``, ``table.csv``.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error
    write_text(folder / "table.md", markdown)
    write_text(folder / "table.tex", latex)
    write_json(folder / "table.json", plain)
    write_csv(folder / "table.csv", rows)
