"""A frame larger than memory on its way into a folder: decoded tile by tile, and written as it goes.

Every finished strip of rows lies in the store and has a line in ``rows.jsonl``. So a job that was interrupted goes on
with the strip after the last, by the same method in the same tiles, and what it becomes is the same. What a
reconstruction says of its cube is here the sum over strips, or comes from the rows in the middle, as the trial of the
mask does for every frame.

Legend: C bands · H, W scene.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from crsdun.classifiers import SpectralClassifier
from crsdun.classifiers.smoothing import REACH
from crsdun.errors import InputError
from crsdun.methods import Method, Tiles, return_freed_memory, run_method
from crsdun.methods.doubt import DoubtByRows
from crsdun.methods.run import check_level, data_residual, unexplained_share
from crsdun.methods.run_by_rows import EstimateRows, run_by_rows, tiles_by_rows
from crsdun.methods.tiles import TileFits, mean_move
from crsdun.methods.verdict import (
    TRIAL_PIXELS,
    TRIAL_ROWS,
    Verdict,
    against_solver,
    doubt_mask,
    judge_figures,
    trial_rows,
)
from crsdun.optics import CassiCamera, Fit
from crsdun.runtime.large_frame import LargeFrame, Survey
from crsdun.runtime.pipeline import Pipeline
from crsdun.runtime.reconstruction import DEFAULT_SOLVER, choose_weights, record_of
from crsdun.runtime.result_files import METRICS
from crsdun.runtime.scale_doubts import describe_hot, describe_saturation
from crsdun.scenes import SceneOutline, SceneRows
from crsdun.scenes.formats.table import STORE
from crsdun.scenes.scene_rows import CLASSES, CUBE
from crsdun.storage import RECORD, refusal, write_json, write_text
from crsdun.typed import parse_json, typed

ROWS = "rows.jsonl"
# Rows whose doubt is found at once.
DOUBT_ROWS = 16
# Rows that a classifier sees at once, besides those around them.
CLASSIFIED_ROWS = 64
# A trial has at least so many rows.
FEWEST_ROWS = 16
# Strips with less than this part of the light of an average one say nothing of how well a frame is explained.
DARK = 0.1
# Bytes for each voxel that decoding a frame whole takes at least: the cube in the method, as an estimate and as a
# scene, and what judging, drawing and writing copy of it.
WHOLE = 32
# Of LR-TV, whose memory for a frame is known by measurement (``networks.start.SOLVER_BYTES``).
WHOLE_SOLVER = 100


class StripLine(TypedDict):
    """A line of ``rows.jsonl``."""

    top: int
    bottom: int
    unexplained: float
    light: float
    low: float
    high: float
    seconds: float
    fit: list[float] | None
    moved: list[float] | None


class Begun(TypedDict):
    """How the rows of a store are decoded, as its provenance says."""

    method: str
    tiles: Tiles


@dataclass(frozen=True)
class _Ran:
    """What a record says of a run."""

    camera: CassiCamera
    seconds: float
    tiles: Tiles


def is_large(size: tuple[int, int, int], method: Method | None, available: int | None) -> bool:
    """Whether a frame of a scene of this size, (C,H,W), is better decoded by rows, because memory would not suffice.

    Args:
        method: None where it is not chosen yet.
        available: bytes; None where unknown.
    """
    if available is None or (method is not None and not method.tileable):
        return False
    each = WHOLE if method is not None and method.peak_bytes(1, 1) is not None else WHOLE_SOLVER
    return each * math.prod(size) > available


class LargeRun:
    """One large frame on its way into a folder.

    Args:
        pipeline: how it is decoded. Its settings for truth, repeats and a refined camera need the whole frame, and
            are refused.
        frame: that is decoded.
        survey: of the frame.
        folder: for the results; what an interrupted run has left there is gone on with.

    Attributes:
        method, tiles: that decode.
        store: what is finished of the scene.
        kept: rows that were finished by an earlier run, and are not decoded again.
        metrics, record: as of ``Reconstruction``, once it is finished; and ``worst_residual`` with ``worst_rows``, of
            the strip that is explained worst.

    Raises:
        InputError: the settings need the whole frame, or frame, camera and method do not fit together.
    """

    def __init__(self, pipeline: Pipeline, frame: LargeFrame, survey: Survey, folder: Path):
        _check(pipeline)
        if survey.full is not None:
            pipeline.note(describe_saturation(*survey.full))
            frame = frame.below(survey.full[0])
        if survey.hot is None:
            frame = frame.of_points()
        for line in describe_hot(survey.hot or 0):
            pipeline.note(line)
        self.pipeline, self.frame, self.survey, self.folder = pipeline, frame, survey, folder
        self._trials: dict[str, Verdict] = {}  # by the name of the method
        self.sample = frame.sample()
        pipeline.tell(self.sample)
        self.size = frame.size
        self._begun, self.lines = self._earlier()
        self.kept = self.lines[-1]["bottom"] if self.lines else 0
        self.method = pipeline.method or self._chosen()
        self.sample.check_scale(self.method)
        if self.method.needs_scale:
            check_level(survey.high, survey.white)
        self.camera = self.method.fit(self.sample.camera).ascending()
        self.tiles = self._tiles_of(self.method)
        pipeline.options.check(self.method)
        self._check_memory()
        if pipeline.classes is not None:
            pipeline.classes.check_bands(self.size[0], self.camera.wavelengths, self.name)
        self.store = SceneRows(folder / STORE, "r+") if self.lines else self._new_store()
        self.metrics: dict[str, Any] = {}
        self.record: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Of the measurement."""
        return self.frame.name

    @property
    def segments(self) -> bool:
        """Whether the class map is that of the method."""
        return self.method.class_count > 0 and self.pipeline.classes is None

    @property
    def warning(self) -> str | None:
        """Why the scene should not be believed; None if it may be."""
        return self.metrics.get("warning")

    # -- decoding --------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[int]:
        """Decode what is not finished; yields the number of rows that are.

        Raises:
            InputError: as ``run_by_rows``, or the disk refuses.
        """
        start, height = self._resumed(), self.size[1]
        options = replace(self.pipeline.options, tiles=self.tiles)
        doubts = DoubtByRows(self.method.card, self.camera.wavelengths, options.coverage, start)
        if start == height:
            return
        for strip in run_by_rows(self.method, self.frame.rows, height, self.tiles, options, start):
            rows = {CUBE: strip.cube.cpu().numpy()}
            try:
                if self.segments and strip.logits is not None:
                    rows[CLASSES] = strip.logits.argmax(0).cpu().numpy()
                    self._write_doubt(doubts, strip)
                self.store.write(strip.top, rows)
                line = _line_of(strip, rows[CUBE])
                with (self.folder / ROWS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, allow_nan=False) + "\n")
            except (OSError, RuntimeError) as error:
                raise refusal(self.store.path, error) from error
            self.lines.append(line)
            done = strip.bottom
            del strip, rows
            return_freed_memory()  # or what was needed between two tiles would add to what the next one needs
            yield done

    def _write_doubt(self, doubts: DoubtByRows, strip: EstimateRows) -> None:
        """Write how far the classes of a strip can be believed, a few rows at a time, which takes little memory."""
        count = strip.cube.shape[1]
        for first in range(0, count, DOUBT_ROWS):
            rows = slice(first, first + DOUBT_ROWS)
            assert strip.logits is not None
            is_last = strip.is_last and rows.stop >= count
            top, doubt = doubts.add(strip.cube[:, rows], strip.logits[:, rows], is_last)
            maps = {"confidence": doubt.confidence, "doubt": doubt.doubt}
            self.store.write(top, {name: each for name, each in maps.items() if each is not None})

    def finish(self) -> None:
        """Judge the whole, and write ``metrics.json`` and ``record.json``, and the classes of a classifier."""
        classifier = self.pipeline.classes
        if classifier is not None:
            self._classify(classifier)
        self.metrics = self._figures()
        ran = _Ran(self.camera, sum(line["seconds"] for line in self.lines), self.tiles)
        record = record_of(ran, self.method, self.sample, self.pipeline.options)
        record["camera"]["mask"] = list(self.frame.mask_shape)
        record["camera"]["mask_moved_pixels"] = tuple(self.metrics.get("mask_moved", (0.0, 0.0)))
        record |= {} if classifier is None else {"classes": classifier.summary()}
        self.record = {**record, "by_rows": {"store": STORE, "strips": len(self.lines), "rows_resumed": self.kept}}
        write_json(self.folder / METRICS, self.metrics)
        write_json(self.folder / RECORD, self.record)

    def note(self, **facts: Any) -> None:
        """Add facts to ``record.json``."""
        self.record |= facts
        write_json(self.folder / RECORD, self.record)

    # -- before ----------------------------------------------------------------------------------------------------

    def _chosen(self) -> Method:
        """Shipped weights that fit, if what they give of the rows in the middle can be believed, or the solver."""
        name, reason = choose_weights(self.sample)
        self.pipeline.note(reason)
        method = self.pipeline.open(name, self.pipeline.engine, self.sample.camera.step)
        if self._begun is not None:  # whether they give way was found out before
            if self._begun["method"] != method.name:
                self.pipeline.note(f"{DEFAULT_SOLVER} has decoded the finished rows, and goes on")
                return self.pipeline.open(None)
            return method
        if name is None:
            return method
        if method.needs_scale:
            check_level(self.survey.high, self.survey.white)
        verdict = self._trial(method)
        if verdict.doubt is None:
            return method
        self.pipeline.note(f"{verdict.doubt}; {DEFAULT_SOLVER} decodes instead")
        return self.pipeline.open(None)

    def _new_store(self) -> SceneRows:
        """An empty store, cut so that every strip fills whole chunks."""
        card, height, classifier = self.method.card, self.size[1], self.pipeline.classes
        maps: tuple[str, ...] = ()
        names: tuple[str, ...] | None = None
        if classifier is not None:
            maps, names = (CLASSES,), classifier.class_names
        elif self.segments:
            maps = (CLASSES, "confidence", *(("doubt",) if card.calibration is not None else ()))
            names = card.class_names
        rows = min(self.tiles.rows, height)
        stride = rows if rows == height else rows - (self.tiles.overlap or 0)
        name = self.sample.measurement.name
        made = {"method": self.method.name, "tiles": asdict(self.tiles), "measurement": name}  # as ``Begun``
        outline = SceneOutline(self.size, self.camera.wavelengths, maps, names, self.name, made, stride)
        try:
            (self.folder / ROWS).unlink(missing_ok=True)
            return SceneRows.create(self.folder / STORE, outline)
        except OSError as error:
            raise refusal(self.folder / STORE, error) from error

    def _earlier(self) -> tuple[Begun | None, list[StripLine]]:
        """How an interrupted run has begun, and the lines that it has left, without gaps; a torn one is none."""
        lines: list[StripLine] = []
        try:
            for text in (self.folder / ROWS).read_text(encoding="utf-8").splitlines():
                line = parse_json(StripLine, text, ROWS, "decode again")
                if line["top"] != (lines[-1]["bottom"] if lines else 0):
                    break
                lines.append(line)
        except (InputError, OSError, ValueError):
            pass
        try:
            store = SceneRows(self.folder / STORE) if lines else None
            if store is not None and store.size == self.size:
                return typed(Begun, store.provenance, "it"), lines
        except (InputError, OSError, ValueError):
            pass
        return None, []

    def _check_memory(self) -> None:
        """Raise an InputError if an interrupted run has begun with tiles for which there is not enough memory now."""
        memory, (_, height, width) = self.pipeline.options.memory, self.size
        needed = self.method.peak_bytes(self.tiles.rows, width)
        if self._begun is None or not self.tiles.automatic or self.kept == height:
            return
        if needed is None or memory is None or needed <= memory:
            return
        if tiles_by_rows(self.method, height, width, memory).rows < self.tiles.rows:
            raise InputError(
                f"the finished rows were decoded in tiles of {self.tiles.rows} rows, which need "
                f"{needed / 1e9:.3g} GB of memory, more than the {memory / 1e9:.3g} GB available now",
                "free some, or begin again in smaller tiles with <overwrite>",
            )

    def _resumed(self) -> int:
        """The row to go on from: the top of a strip, so much above what is missing that its doubt can be told."""
        if self.kept < self.size[1] and self.segments:
            while self.lines and self.lines[-1]["top"] > self.kept - 2 * DoubtByRows.CONTEXT:
                self.lines.pop()
            if self.lines:  # which is decoded again
                self.lines.pop()
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        write_text(self.folder / ROWS, text)
        self.kept = self.lines[-1]["bottom"] if self.lines else 0
        return self.kept

    # -- after -----------------------------------------------------------------------------------------------------

    def _classify(self, classifier: SpectralClassifier) -> None:
        """Write the class map of a classifier, with the rows around each part that its smoothing hears.

        What is usual in the scene comes from the rows of the sample.
        """
        height, store = self.size[1], self.store
        usual = classifier.usual(store.rows(*rows) for rows in self.frame.sample_rows)
        for top, bottom in self.frame.blocks(store.chunk_rows * max(1, round(CLASSIFIED_ROWS / store.chunk_rows))):
            first, last = max(top - REACH, 0), min(bottom + REACH, height)
            classes = classifier.classify(store.rows(first, last), usual).classes
            assert classes is not None
            try:
                store.write(top, {CLASSES: classes[top - first : bottom - first]})
            except (OSError, RuntimeError) as error:
                raise refusal(store.path, error) from error

    def _figures(self) -> dict[str, Any]:
        lines, options = self.lines, self.pipeline.options
        fits = TileFits()
        for line in lines:
            if line["fit"] is not None:
                held_out, noise, rank = line["fit"]
                fits.add([Fit(held_out, noise, int(rank))], [line["light"]])
        known = fits.all[0] if fits.all else None
        residual = _residual(lines)
        span = min(line["low"] for line in lines), max(line["high"] for line in lines)
        verdict = judge_figures(self.method, residual, known, span) or self._judged_by_trial()
        warning = verdict.doubt
        if warning is None and not self.method.needs_scale:
            warning = doubt_mask(*self.frame.rows(*self._trial_rows), options)
        average = sum(line["light"] for line in lines) / self.size[1]
        lit = [line for line in lines if line["light"] >= DARK * average * (line["bottom"] - line["top"])]
        worst = max(lit, key=lambda line: _residual([line]))
        moves = [(line["moved"][0], line["moved"][1]) for line in lines if line["moved"] is not None]
        moved = mean_move(moves) if moves else (0.0, 0.0)
        figures: dict[str, Any] = {
            "data_residual": residual, "worst_residual": _residual([worst]),
            "worst_rows": [worst["top"], worst["bottom"]], "fit": verdict.fit, "held_out_residual": verdict.held_out,
            "noise": verdict.noise, "warning": warning, "mask_moved": list(moved) if any(moved) else None,
        }  # fmt: skip
        if self.segments:
            figures["calibrated"] = self.method.card.calibration is not None
        if figures.get("calibrated"):
            figures |= {"coverage": options.coverage, "unknown": self._unknown_share(options.coverage)}
        return {name: value for name, value in figures.items() if value is not None}

    @property
    def _trial_rows(self) -> tuple[int, int]:
        """The rows in the middle that stand for all, few enough that a solver needs little memory for them."""
        return trial_rows(self.frame.height, min(TRIAL_ROWS, max(TRIAL_PIXELS // self.size[2], FEWEST_ROWS)))

    def _trial(self, method: Method) -> Verdict:
        """The verdict on the middle of what a method makes of a tile in the middle."""
        if method.name not in self._trials:
            options = replace(self.pipeline.options, tiles=None)
            top, bottom = trial_rows(self.frame.height, self._tiles_of(method).rows)
            run = run_method(method, *self.frame.rows(top, bottom), options)
            first, last = self._trial_rows
            rows = slice(max(first, top) - top, min(last, bottom) - top)
            camera, cube = run.camera.crop(rows.start, 0, rows.stop - rows.start, self.size[2]), run.estimate.cube[0]
            y = self.frame.rows(top + rows.start, top + rows.stop)[0].to(options.device)
            residual = data_residual(y, cube[:, rows], camera)
            verdict = judge_figures(method, residual, None, (float(cube.min()), float(cube.max())))
            self._trials[method.name] = verdict or against_solver(method, residual, y, camera, options)
        return self._trials[method.name]

    def _tiles_of(self, method: Method) -> Tiles:
        if self._begun is not None and self._begun["method"] == method.name:
            return self._begun["tiles"]
        _, height, width = self.size
        options = self.pipeline.options
        return options.tiles or tiles_by_rows(method, height, width, options.memory)

    def _judged_by_trial(self) -> Verdict:
        """The verdict where the residual of all rows is too large to go without a comparison."""
        verdict = self._trial(self.method)
        return Verdict("partly") if verdict.fit == "fits" else verdict

    def _unknown_share(self, coverage: float) -> float:
        blocks = self.frame.blocks(self.store.chunk_rows)
        unknown = sum(int((self.store.read("doubt", top, bottom) > coverage).sum()) for top, bottom in blocks)
        return unknown / (self.size[1] * self.size[2])


def _check(pipeline: Pipeline) -> None:
    """Raise an InputError if settings need the whole frame."""
    given = {
        "truth": pipeline.truth is not None,
        "repeats": bool(pipeline.options.repeats),
        "refine_camera": pipeline.refine,
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise InputError(
            f"{name.replace('_', ' ')} needs the whole frame, and this one is decoded by rows", f"omit <{name}>"
        )


def _line_of(strip: EstimateRows, cube: np.ndarray) -> StripLine:
    fit, moved = strip.fit, strip.moved
    return {
        "top": strip.top,
        "bottom": strip.bottom,
        "unexplained": strip.unexplained,
        "light": strip.light,
        "low": float(cube.min()),
        "high": float(cube.max()),
        "seconds": round(strip.seconds, 3),
        "fit": None if fit is None else [fit.held_out, fit.noise, float(fit.rank)],
        "moved": None if moved is None else list(moved),
    }


def _residual(lines: list[StripLine]) -> float:
    """‖y − A x‖ / ‖y‖ of these strips together."""
    unexplained, light = (math.sqrt(sum(line[key] for line in lines)) for key in ("unexplained", "light"))
    return unexplained_share(unexplained, light)
