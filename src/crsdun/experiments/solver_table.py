"""The methods that need no training beside each other: each on the same exposures, clean and noisy.

The rows are what is registered as a solver, at each of its efforts, and the shipped weights. Each is evaluated on
every set of scenes under every noise; what has been evaluated is kept, and not evaluated again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any, cast

import numpy as np
import torch

from crsdun.cluster import Crew
from crsdun.errors import InputError
from crsdun.evaluation import FIGURES, PROTOCOLS, Evaluation, EvaluationOptions, get_protocol
from crsdun.evaluation.evaluator import EvaluationRecord, JudgedScene, Judges, figure_of
from crsdun.evaluation.tables import FILE, latex, markdown
from crsdun.experiments.bench import RunCost, run_apart
from crsdun.experiments.evaluation_folder import EvaluationRun
from crsdun.experiments.table_config import chosen, folder_name
from crsdun.experiments.table_files import write_files
from crsdun.experiments.table_rows import earlier_evaluation, in_one_line, write_evaluation
from crsdun.methods import Method, run_method
from crsdun.networks import pretrained_weights
from crsdun.optics import CassiCamera, Exposure, SensorNoise
from crsdun.runtime import open_method
from crsdun.scenes import SceneSet, open_set, parse_mask
from crsdun.scenes.catalog import open_whole
from crsdun.solvers import SOLVERS
from crsdun.training.config import changed, config_from
from crsdun.training.loop import RunObserver

TITLE = "Methods without training"
COLUMNS = ("psnr_db", "ssim", "sam_deg")
WORDS = 3  # columns before those of numbers


@dataclass(frozen=True)
class SolverTableConfig:
    """What the methods are compared on.

    Attributes:
        data: data sets, as for ``open_set``, whose test split is used.
        first: of each, only so many scenes, from the beginning.
        scenes: single scenes, each a set of its own: files, or ``indian-pines`` for all of it.
        mask, step: of the camera, as in ``CameraConfig``.
        noise: of the detector; every method meets each of them.
        protocol: of PSNR and SSIM.
        out: folder of the table.
        minutes: stop after the row in which this time has passed; the same command then goes on. Null for no limit.
    """

    data: tuple[str, ...] = ("produce",)
    first: int = 10
    scenes: tuple[str, ...] = ("indian-pines",)
    mask: str = "random:0"
    step: float = 2
    noise: tuple[SensorNoise, ...] = (SensorNoise(), SensorNoise(photons=500), SensorNoise(read_sigma=0.1))
    protocol: str = "crsdun"
    out: str = "runs/table_solvers"
    minutes: float | None = None

    def __post_init__(self) -> None:
        if not (self.data or self.scenes) or not self.noise:
            raise InputError(
                "this table needs scenes and noise", "name at least one of data or scenes, and noise=[{}]"
            )
        if self.first < 1:
            raise InputError(f"first must be 1 or more, not {self.first}")
        if self.minutes is not None and self.minutes <= 0:
            raise InputError(f"minutes must be positive, or null, not {self.minutes}")
        get_protocol(self.protocol)


@dataclass(frozen=True)
class SolverRow:
    """One method on one set of scenes under one noise.

    Attributes:
        scenes: what they are called, and how many.
        noise: of the detector, in words.
        method: its name, with the effort unless that is normal, as in ``lr-tv:high``.
        figures: ``psnr_db``, ``ssim`` and ``sam_deg``, means over the scenes.
        data_residual: ‖y − A x‖ / ‖y‖, mean.
        held_out, noise_found: as ``optics.Fit``, means; None for a method that does not know them.
        seconds: for one scene, median.
        threads, processor: that took them; None where unknown.
        processor_seconds, peak_mb: as in ``EvaluationRecord``; None where unknown.
        doubtful: number of scenes whose estimates should not be believed (``methods.verdict``).
        failure: why there are no figures.
    """

    scenes: str
    noise: str
    method: str
    figures: dict[str, float | None] = field(default_factory=dict)
    data_residual: float | None = None
    held_out: float | None = None
    noise_found: float | None = None
    seconds: float | None = None
    threads: int | None = None
    processor: str | None = None
    processor_seconds: float | None = None
    peak_mb: float | None = None
    doubtful: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class SolverTable:
    """The table, as far as it is complete; attributes as ``Table``."""

    rows: list[SolverRow]
    notes: str
    stopped: str | None = None
    title: str = TITLE

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [asdict(row) for row in self.rows]
        return {"title": self.title, "rows": rows, "words": self.notes, "stopped": self.stopped}


def load_solver_table(overrides: Sequence[str] = ()) -> SolverTableConfig:
    """What the methods are compared on, with changes ``key=value`` as for ``load_config``, and its errors."""
    config: SolverTableConfig = config_from(changed({}, overrides), SolverTableConfig)
    return config


def methods() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every row by its name: name and settings for ``open_method``."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, solver in SOLVERS.items():
        for effort in solver.efforts:
            found[name if effort == "normal" else f"{name}:{effort}"] = (name, {"effort": effort})
    return found | {name: (name, {}) for name in pretrained_weights()}


# -- making it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """Scenes under one noise, which every method meets; ``label`` is what the scenes are called."""

    label: str
    scenes: SceneSet
    exposure: Exposure
    options: EvaluationOptions

    @property
    def noise(self) -> str:
        """In words."""
        return in_words(self.exposure.noise)

    def run(self, name: str, settings: dict[str, Any], device: str | None = None) -> EvaluationRun:
        """A method on these; ``device``: None takes that of the evaluation."""
        method = open_method(name, device or self.options.device, **settings)
        return EvaluationRun(method, self.scenes, self.exposure, self.options, name)

    def judge(self, name: str, settings: dict[str, Any]) -> Callable[[int], JudgedScene]:
        """What a worker does for each scene."""
        return self.run(name, settings).judge


def make_solver_table(
    config: SolverTableConfig,
    rows: str | None = None,
    observer: RunObserver | None = None,
    device: str = "cpu",
    crew: Crew | None = None,
) -> SolverTable:
    """Evaluate the methods, or go on where an earlier call was interrupted; files are written after every row.

    Args:
        rows: evaluate these alone, names in ``methods()`` separated by commas; the table also has what is known
            of the others. None for all.
        observer: follows the rows.
        device: where to compute.
        crew: that evaluates; None evaluates here. What a scene costs is measured here in any case.

    Raises:
        InputError: there is no such row, scenes cannot be read, or the folder cannot be written to; an error of a
            method is the ``failure`` of its row.
    """
    known, out, observer = methods(), Path(config.out), observer or RunObserver()
    wanted = chosen(known, rows)
    cases = [
        (row, trial)
        for row, trial in product(known, trials(config, device))
        if row in wanted or (folder_of(out, trial, row) / FILE).exists()
    ]
    deadline = time.monotonic() + 60 * (config.minutes or math.inf)
    table = SolverTable([], "")
    for done, (row, trial) in enumerate(cases, 1):
        name, settings = known[row]
        made, earlier = SolverRow(trial.label, trial.noise, row), None
        try:
            run = trial.run(name, settings)
            unfit = does_not_fit(run)
            if unfit is not None:
                observer.notify(f"{row} is left out for {trial.label}: {unfit}")
                continue
            folder = folder_of(out, trial, row)
            earlier = earlier_evaluation(run, folder, observer.notify)
            if earlier is None and row not in wanted:
                continue
            judges = None if crew is None else crew.work(partial(trial.judge, name, settings)).results
            if earlier is None:
                cost = cost_of(trial.run(name, settings, device="cpu"))
                made = filled(made, evaluated(run, cost, row, folder, judges))
            else:
                made = filled(made, earlier)
        except Exception as failure:  # whatever it is, the other rows are not affected
            if row not in wanted:
                continue
            made = replace(made, failure=in_one_line(failure))
            observer.notify(f"{row} failed on {trial.label}, noise {trial.noise}: {made.failure}")
        rows_so_far = [*table.rows, made]
        table = replace(table, rows=rows_so_far, notes=notes(config, rows_so_far))
        write(table, out)
        if observer.progress is not None:
            observer.progress(done, len(cases))
        if earlier is None and done < len(cases) and time.monotonic() > deadline:
            return replace(table, stopped="time")
    return table


def folder_of(out: Path, trial: Trial, row: str) -> Path:
    """Where the evaluation of a method lies."""
    return out / folder_name(f"{trial.label} {trial.noise}") / folder_name(row)


def trials(config: SolverTableConfig, device: str) -> list[Trial]:
    """Every set of scenes under every noise."""
    mask, wavelengths = parse_mask(config.mask)
    exposure = Exposure(mask, config.step, mask_wavelengths=wavelengths)
    exposures = [replace(exposure, noise=noise) for noise in config.noise]
    options = EvaluationOptions(config.protocol, device, config.first, cubes_only=True)
    sets: dict[str, SceneSet] = {}
    for source in config.data:
        scenes = open_set(source, "test")
        sets[f"{source} ({min(config.first, len(scenes))})"] = scenes
    sets |= {source: open_whole(source) for source in config.scenes}
    return [Trial(label, scenes, exposure, options) for label, scenes in sets.items() for exposure in exposures]


def does_not_fit(run: EvaluationRun) -> str | None:
    """Why a method does not take these scenes; None if it does."""
    try:
        run.method.fit(run.exposure.camera_of_size(1, 1, run.scenes.bands, run.scenes.wavelengths))
    except InputError as error:
        return error.message
    return None


def evaluated(run: EvaluationRun, cost: RunCost, row: str, folder: Path, judges: Judges | None = None) -> Evaluation:
    """The evaluation of a row with what it takes, written into its folder."""
    evaluation = run.evaluate(judges=judges)
    facts = {"peak_mb": cost.peak_above_ready_mb, "processor_seconds": cost.processor_seconds}
    record = cast(EvaluationRecord, {**evaluation.record, **facts})
    evaluation = replace(evaluation, method=row, record=record)
    write_evaluation(evaluation, folder)
    return evaluation


def cost_of(run: EvaluationRun) -> RunCost:
    """What a method, which is on the processor, takes for the first scene."""
    scene = run.scenes[0]
    camera = run.exposure.camera(scene)
    frame = run.exposure.measure(scene.cube, camera, seed=run.scenes.names[0]).numpy()
    return run_apart(partial(ready_to_run, run.method, frame, camera))


def ready_to_run(method: Method, frame: np.ndarray, camera: CassiCamera) -> Callable[[], Any]:
    """A function that decodes a frame (H,Wm)."""
    return partial(run_method, method, torch.from_numpy(frame), camera)


def filled(row: SolverRow, evaluation: Evaluation) -> SolverRow:
    """A row with all its numbers."""

    def mean(name: str) -> float | None:
        values = [figure_of(scene, name) for scene in evaluation.scenes]
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    return replace(
        row,
        figures={name: evaluation.figures.get(name) for name in COLUMNS},
        data_residual=mean("data_residual"),
        held_out=mean("held_out"),
        noise_found=mean("noise"),
        seconds=median(scene["seconds"] for scene in evaluation.scenes),
        threads=evaluation.record.get("threads"),
        processor=evaluation.record.get("processor"),
        processor_seconds=evaluation.record.get("processor_seconds"),
        peak_mb=evaluation.record.get("peak_mb"),
        doubtful=len(evaluation.doubtful),
    )


# -- writing it ------------------------------------------------------------------------------------------------


def in_words(noise: SensorNoise) -> str:
    """The noise of a detector, such as ``500 photons``; ``none`` without any."""
    usual = noise.binomial_bits is None or noise.quantum_efficiency == SensorNoise.quantum_efficiency
    parts = {
        "{:g} photons": noise.photons,
        "binomial, {} bits": noise.binomial_bits,
        "quantum efficiency {:g}": None if usual else noise.quantum_efficiency,
        "σ = {:g}": noise.read_sigma or None,
        "{} bits": noise.bits,
    }
    return ", ".join(text.format(value) for text, value in parts.items() if value is not None) or "none"


def notes(config: SolverTableConfig, rows: Sequence[SolverRow]) -> str:
    """What the numbers of these rows are, line by line."""
    machines = dict.fromkeys(machine_of(row) for row in rows if row.seconds is not None)
    computed = f"on {' or '.join(machines)}, " if machines else ""
    return "\n".join(
        (
            f"Means over the scenes (their number in brackets); mask {config.mask}, step {config.step:g}; protocol "
            f"{config.protocol}: {PROTOCOLS[config.protocol].description}.",
            "Held out: root mean square difference of detector pixels that the method has not used; noise found: "
            "what it takes for the noise. Both are relative to the root mean square of the exposure.",
            f"s: seconds for one scene, median, {computed}beside whatever else was running; CPU s: processor "
            "seconds of all threads for the first scene; MB: peak of memory for it, above what the "
            "process holds before.",
        )
    )


def machine_of(row: SolverRow) -> str:
    """What took the seconds of a row, as far as it is known."""
    count = "unknown threads" if row.threads is None else f"{row.threads} thread{'s' if row.threads != 1 else ''}"
    return count if row.processor is None else f"{count} of {row.processor}"


def cells(table: SolverTable) -> list[list[str]]:
    """A header and the rows as text: by scenes, then by noise, then in the order of the methods."""
    head = ["scenes", "noise", "method", *(FIGURES[name].label for name in COLUMNS)]
    lines = [[*head, "held out (%)", "noise found (%)", "s", "CPU s", "MB"]]
    conditions = dict.fromkeys((row.scenes, row.noise) for row in table.rows)
    for row in (row for condition in conditions for row in table.rows if (row.scenes, row.noise) == condition):
        figures = [FIGURES[name].number(row.figures.get(name)) for name in COLUMNS]
        known = [None if value is None else 100 * value for value in (row.held_out, row.noise_found)]
        costs = (row.seconds, row.processor_seconds, row.peak_mb)
        texts = ("{:.2f}", "{:.2f}", "{:.1f}", "{:.1f}", "{:.0f}")
        numbers = [
            "–" if value is None else text.format(value) for text, value in zip(texts, (*known, *costs), strict=True)
        ]
        lines.append([row.scenes, row.noise, row.method + "*" * (row.doubtful > 0), *figures, *numbers])
    return lines


def as_markdown(table: SolverTable) -> str:
    """The table with its title and notes; what should not be believed has a *."""
    doubtful = [
        f"* Do not rely on {row.doubtful} of these scenes: {row.method} on {row.scenes}, noise {row.noise}."
        for row in table.rows
        if row.doubtful
    ]
    failed = [
        f"{row.method} failed on {row.scenes}, noise {row.noise}: {row.failure}" for row in table.rows if row.failure
    ]
    return f"**{table.title}**\n\n" + markdown(
        cells(table), "\n\n".join([*table.notes.splitlines(), *doubtful, *failed]), WORDS
    )


def write(table: SolverTable, folder: Path) -> None:
    """Write the table as ``tables.write_files`` does; in JSON and CSV held out and noise are shares of 1.

    Raises:
        InputError: the folder cannot be written to.
    """
    flat = [
        {key: value for key, value in asdict(row).items() if key != "figures"} | row.figures for row in table.rows
    ]
    comments = f"{table.title}\n{table.notes}".replace("\n", "\n% ")
    write_files(folder, as_markdown(table), latex(cells(table), comments), table.plain(), flat)
