"""A sequence: frames decoded one after the other, each knowing the one before, into one series of cubes.

Every finished frame lies in the series and has a line in ``frames.jsonl``. So a job that was interrupted goes on, and
what it becomes is the same: a line also holds a fingerprint of its frame and of all before it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.methods import Before
from crsdun.methods.sequence import check_smoothing
from crsdun.runtime.batch import Batch, Item, stream
from crsdun.runtime.pipeline import INPUTS, Pipeline
from crsdun.runtime.preparation import PreparedMeasurement
from crsdun.runtime.reconstruction import Reconstruction
from crsdun.runtime.result_files import FRAMES, METRICS
from crsdun.scenes import UNLABELLED, Exposures, Outline, Scene, Series, open_series
from crsdun.scenes.series import SERIES
from crsdun.storage import RECORD, local_copy, refusal, write_json, write_text


@dataclass(frozen=True)
class SequenceOptions:
    """How a sequence is decoded.

    Attributes:
        frames_per_second: how fast the frames follow each other; it changes no cube.
        series: suffix of the file of the cubes, ``h5`` or ``zarr``.
        warm, smoothing: as in ``methods.Before``.

    Raises:
        InputError: a value is out of range.
    """

    frames_per_second: float = 10.0
    series: str = "h5"
    warm: bool = True
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.frames_per_second < math.inf:
            raise InputError(f"{self.frames_per_second:g} frames per second are not possible", "set <fps> to 10")
        if self.series not in SERIES:
            raise InputError(f"there is no series {self.series!r}", f"expected {' or '.join(SERIES)}")
        check_smoothing(self.smoothing)


def open_frames(batch: Batch) -> tuple[Batch, int]:
    """The frames of a sequence and their number: one stack, or files with one exposure each.

    Raises:
        InputError: there is only one frame.
    """
    if len(batch.files) == 1:
        (file,) = batch.files.values()
        with local_copy(file) as copy:
            count = len(batch.open(copy))
        if count == 1:
            raise InputError(f"{file} holds one frame, which is no sequence", "omit <sequence>")
        if batch.frame is not None:
            raise InputError("one frame of a stack is no sequence", "omit <frame>, or <sequence>")
        return batch, count

    def open_one(file: Path) -> Exposures:
        exposures = batch.open(file)
        if len(exposures) > 1 and batch.frame is None:
            raise InputError(
                f"{file} holds {len(exposures)} exposures among files of a sequence",
                "a sequence is one such stack, or files with one exposure each",
            )
        return exposures

    return replace(batch, open=open_one), len(batch.files)


class SequenceRun:
    """One sequence on its way into a folder.

    Args:
        pipeline: that reads and decodes its frames.
        folder: for the results; what an interrupted run has left there is gone on with.
        name: of the sequence.
        count: of its frames.
        options: how it is decoded.

    Attributes:
        lines: what ``frames.jsonl`` says of each finished frame, by its index.
        failures: why the others have none, by their index; in the series they are NaN.
        kept: how many were finished by an earlier run.

    Raises:
        InputError: errors are to be estimated, which a series of cubes does not hold.
    """

    def __init__(self, pipeline: Pipeline, folder: Path, name: str, count: int, options: SequenceOptions):
        if pipeline.options.repeats:
            raise InputError("errors are estimated for single frames, not in a sequence", "omit <repeats>")
        self.pipeline, self.folder, self.name, self.count, self.options = pipeline, folder, name, count, options
        self.lines: dict[int, dict[str, Any]] = {}
        self.failures: dict[int, tuple[str, Exception]] = {}
        self.kept = 0
        self.path = folder / f"cubes.{options.series}"
        self._writer = SERIES[options.series](self.path)
        self._before: np.ndarray | int | None = None  # its cube, or the index under which the series has it
        self._refused: InputError | None = None
        self._fingerprint = ""  # of all frames so far
        self._earlier = self._read_earlier()
        self._like: Scene | None = open_series(self.path)[0] if self._earlier else None

    @property
    def series(self) -> Series:
        """The cubes."""
        return open_series(self.path)

    def run(self, items: Iterable[Item]) -> Iterator[int]:
        """Decode the frames; yields the index of each that is finished or has failed.

        Raises:
            InputError: the disk refuses, which no other frame would mend.
        """
        for (index, item), outcome in stream(enumerate(items), self._read, self._decode, self._write):
            if self._refused is not None:
                raise self._refused
            if isinstance(outcome, Exception):
                self.failures[index] = item.name, outcome
            yield index

    def finish(self, **record: Any) -> None:
        """Write what is known of all frames, and complete ``record.json`` with ``record``.

        Raises:
            InputError: no frame could be decoded.
        """
        if not self.lines or self._like is None:
            name, failure = self.failures[min(self.failures)]
            if isinstance(failure, InputError):
                raise InputError(f"no frame could be decoded; of {name}: {failure.message}", failure.remedy)
            raise failure
        for index in self.failures:
            cube, classes = np.full_like(self._like.cube, np.nan), self._like.classes
            if classes is not None:
                classes = np.full_like(classes, UNLABELLED)
            self._writer.write(index, Scene(cube, self._like.wavelengths, classes, self._like.class_names))
        failed = {
            index: {"frame": index + 1, "name": name, "failed": str(failure)}
            for index, (name, failure) in self.failures.items()
        }
        lines = {**self.lines, **failed}
        write_text(self.folder / FRAMES, "".join(_line(lines[index]) for index in sorted(lines)))
        write_json(self.folder / METRICS, self.summary)
        stored = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        write_json(self.folder / RECORD, {**stored, **record})

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, and the mean of every figure over the frames that have it."""
        metrics = [line["metrics"] for line in self.lines.values()]
        figures: dict[str, list[float]] = {}
        for each in metrics:
            for name, value in each.items():
                if isinstance(value, float) and math.isfinite(value):
                    figures.setdefault(name, []).append(value)
        return {
            "frames": self.count,
            "failed": len(self.failures),
            "warnings": sum("warning" in each for each in metrics),
            "frames_per_second": self.options.frames_per_second,
            "seconds": round(sum(line["seconds"] for line in self.lines.values()), 3),
            "mean": {name: float(np.mean(values)) for name, values in figures.items()},
        }

    def _read(self, numbered: tuple[int, Item]) -> tuple[int, Item, PreparedMeasurement]:
        index, item = numbered
        return index, item, self.pipeline.read_item(item)

    def _decode(self, read: tuple[int, Item, PreparedMeasurement]) -> tuple[dict[str, Any], Reconstruction | None]:
        index, item, prepared = read
        fingerprint = hashlib.sha256(
            f"{self._fingerprint} {self.pipeline.fingerprint(prepared)}".encode()
        ).hexdigest()
        earlier = self._earlier.get(index)
        if earlier is not None and earlier["fingerprint"] == fingerprint:
            self._before, self._fingerprint = index, fingerprint
            return earlier, None
        if isinstance(self._before, int):
            self._before = self.series[self._before].cube
        before = None
        if self._before is not None:
            before = Before(self._before, self.options.warm, self.options.smoothing)
        self.pipeline.options = replace(self.pipeline.options, before=before)
        result = self.pipeline.decode(prepared)
        self._before, self._fingerprint = result.scene.cube, fingerprint
        line = {
            "frame": index + 1,
            "name": item.name,
            "method": result.record["method"],
            "seconds": result.record["seconds"],
            "metrics": result.metrics,
            "fingerprint": fingerprint,
        }
        return line, result

    def _write(self, decoded: tuple[dict[str, Any], Reconstruction | None]) -> None:
        line, result = decoded
        index = line["frame"] - 1
        if result is None:
            self.kept += 1
        else:
            try:
                if not self.lines:  # of an earlier run no frame is kept, since each follows from those before
                    self._begin(result)
                self._writer.write(index, result.known_scene)
                with (self.folder / FRAMES).open("a", encoding="utf-8") as file:
                    file.write(_line(line))
            except (OSError, RuntimeError) as error:  # libraries report a full disk as either
                self._refused = refusal(self.path, error)
                raise self._refused from error
        self.lines[index] = line

    def _begin(self, result: Reconstruction) -> None:
        """Make the series, like the first frame."""
        record = {
            key: value
            for key, value in result.record.items()
            if key not in ("measurement", "truth", "seconds", INPUTS)
        }
        how = {
            "frames": self.count,
            "frames_per_second": self.options.frames_per_second,
            "warm_start": self.options.warm,
            "smoothing": self.options.smoothing,
        }
        made = {"method": record["method"], "made_by": record["made_by"], "sequence": how}
        rate = self.options.frames_per_second
        self._writer.create(Outline(self.count, rate, result.scene, self.name, made))
        (self.folder / FRAMES).unlink(missing_ok=True)
        write_json(self.folder / RECORD, {**record, "sequence": how})
        self._like = result.scene

    def _read_earlier(self) -> dict[int, dict[str, Any]]:
        """The lines that an earlier run left of its frames; a torn one is none."""
        earlier = {}
        try:
            if len(open_series(self.path)) != self.count or not (self.folder / RECORD).exists():
                return {}
            for text in (self.folder / FRAMES).read_text(encoding="utf-8").splitlines():
                line = json.loads(text)
                if "fingerprint" in line:
                    earlier[line["frame"] - 1] = line
        except (InputError, OSError, ValueError):
            pass
        return earlier


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"
