"""From the files of a request to the file of its answer; runs in a process of its own."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import also_limited_to, check_budget, is_out_of_memory, limited_to
from crsdun.errors import InputError
from crsdun.machine import cores
from crsdun.methods import Method, RunOptions, available_memory, keep_freed_memory
from crsdun.methods.tiles import USABLE
from crsdun.optics import CassiCamera
from crsdun.runtime import Pipeline, Preparation, PreparedMeasurement, Reconstruction, decode_batch, open_method
from crsdun.scenes import Measurement, read_stored_mask
from crsdun.service.config import AUTO, ServiceConfig
from crsdun.service.results import check_classes, figures_of, write_answer
from crsdun.service.settings import KINDS, RAW_TYPES, Settings
from crsdun.service.wording import control, in_json
from crsdun.threads import computing_with
from crsdun.web.uploads import UNPACKED

MEASUREMENT, MASK = "measurement", "mask"  # folders of a request, with one file each
UNEXPECTED = "an unexpected error, which is no fault of the request; the service has printed it where it was started"


class Withdrawn(Exception):
    """Raised where a request has been withdrawn: its folder is gone."""


class Late(Exception):
    """Raised where the time of a request is over."""


@dataclass(frozen=True)
class Job:
    """A request to decode.

    Attributes:
        folder: with its files; what it is answered is written there, and without it there is nobody to answer.
        product, kind: of the answer.
        deadline: when its time is over, as ``time.monotonic``, which all processes of a machine share.
    """

    folder: Path
    settings: Settings
    product: str
    kind: str
    deadline: float

    def check(self) -> None:
        """Raise ``Withdrawn`` or ``Late`` where there is no sense in going on."""
        if not self.folder.exists():
            raise Withdrawn
        if time.monotonic() > self.deadline:
            raise Late

    def file(self, part: str) -> Path | None:
        """The file of a part of the request."""
        return next(iter((self.folder / part).glob("*")), None)


@dataclass(frozen=True)
class Answer:
    """What a job is answered with.

    Attributes:
        status: of HTTP.
        error: in place of a file, as JSON.
        file: its name in the folder of the job.
        name: what it is called where it is saved.
        kind: its media type.
        figures: what is known of the result besides.
        seconds, batch: its share of the time, and how many measurements were decoded at once.
    """

    status: int
    error: dict[str, str] = field(default_factory=dict)
    file: str = ""
    name: str = ""
    kind: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    batch: int = 1


@dataclass(frozen=True)
class Read:
    """A job whose files have been read; ``notes`` says what of them was not used."""

    job: Job
    prepared: PreparedMeasurement
    notes: tuple[str, ...] = ()


class Decoder:
    """Reads measurements, decodes them by one method, and writes the answers.

    Args:
        config: of the service.
        device: to compute on, such as ``cuda:0``.

    Raises:
        InputError: the method cannot be opened, or not run on this device.
    """

    def __init__(self, config: ServiceConfig, device: str):
        self.config = config
        keep_freed_memory()
        shared = cores() // config.lanes or 1
        self.always = ExitStack()  # as long as the process lives
        self.always.enter_context(computing_with(config.threads or (None if config.lanes == 1 else shared)))
        self.always.enter_context(limited_to(config.memory))
        self.options = RunOptions(device, memory=available_memory(device))
        self.method: Method | None = None
        if config.method != AUTO:
            self.method = open_method(config.method, device, **config.settings)
            self.options.check(self.method)
        self.opened: dict[str | None, Method] = {}
        import_module("crsdun.evaluation.score")  # seconds that the first request need not wait

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, job: Job) -> Read | Answer:
        """The measurement of a job, or why there is none."""
        try:
            job.check()
            if self.method is not None:
                check_classes(bool(self.method.class_count), job.product, self.method.name)
            with also_limited_to(self.config.limit * UNPACKED, "limit"), np.errstate(all="ignore"):
                return self._read(job)
        except Exception as error:
            return refused(error, job)

    def _read(self, job: Job) -> Read:
        settings, file = job.settings, job.file(MEASUREMENT)
        assert file is not None
        preparation = self._preparation(job)
        if settings.dtype is None:
            measurement = preparation.open(file).one(preparation.frame)
        else:
            measurement = raw_frame(file, settings.dtype, preparation)
        prepared = preparation.prepare(measurement)
        known = job.file(MASK) is None and (preparation.mask is not None or preparation.camera_file is not None)
        return Read(job, prepared, unused(measurement, prepared.camera) if known else ())

    def _preparation(self, job: Job) -> Preparation:
        """How the measurement of a job is read: by a camera of the service, by its own mask, or as its file says."""
        cameras, settings, mask = self.config.cameras, job.settings, job.file(MASK)
        chosen = settings.camera
        if chosen is not None:
            if chosen not in cameras:
                known = f"there are {', '.join(cameras)}" if cameras else "the service was started without any"
                raise InputError(f"there is no camera {chosen!r}", known)
            if mask is not None:
                raise InputError(f"camera {chosen!r} has a mask", "leave out the camera, or the part mask")
            return settings.prepared(cameras[chosen])
        if mask is not None:
            return replace(settings.prepared(self.config.preparation), **read_stored_mask(mask)._asdict())
        return settings.prepared(next(iter(cameras.values())) if len(cameras) == 1 else self.config.preparation)

    # -- decoding ---------------------------------------------------------------------------------------------------

    def together(self, first: Read, other: Read, count: int) -> bool:
        """Whether ``other`` may be decoded at once with ``first`` and others, ``count`` in all."""
        method = self.method
        if method is None or not method.batches or not first.prepared.is_like(other.prepared):
            return False
        camera, memory = first.prepared.camera, self.options.memory
        needed = method.peak_bytes(camera.height, camera.width)
        return needed is None or memory is None or count * needed <= USABLE * memory

    def decode(self, reads: Sequence[Read]) -> list[Answer]:
        """The answers to jobs whose measurements are decoded at once."""

        def progress(done: int, total: int) -> None:
            for index, read in enumerate(reads):
                try:
                    read.job.check()
                    return  # somebody waits
                except (Withdrawn, Late):
                    if index == len(reads) - 1:
                        raise

        try:
            if len(reads) == 1:
                return [self._answered(reads[0], 1, *self._decoded(reads[0].prepared, progress))]
            assert self.method is not None
            several = [read.prepared for read in reads]
            results = decode_batch(several, self.method, self.options, progress)
            notes = [self._notes(prepared) for prepared in several]
            return [
                self._answered(*each) for each in zip(reads, [len(reads)] * len(reads), results, notes, strict=True)
            ]
        except Exception as error:
            if len(reads) == 1:
                return [refused(error, reads[0].job)]
            return [answer for read in reads for answer in self.decode([read])]  # so that each has its own error

    def _decoded(self, prepared: PreparedMeasurement, progress: Any) -> tuple[Reconstruction, list[str]]:
        """The result for one measurement, and what was decided automatically."""
        pipeline, notes = self._pipeline()
        with np.errstate(all="ignore"):
            return pipeline.decode(prepared, progress), notes

    def _notes(self, prepared: PreparedMeasurement) -> list[str]:
        """What there is to say of a measurement before it is decoded."""
        pipeline, notes = self._pipeline()
        pipeline.tell(prepared)
        return notes

    def _pipeline(self) -> tuple[Pipeline, list[str]]:
        """A pipeline for one request, and the lines that it will note."""
        notes: list[str] = []
        pipeline = Pipeline(self.method, options=self.options, notify=notes.append, control=control)
        pipeline.opened = self.opened
        return pipeline, notes

    def _answered(self, read: Read, batch: int, result: Reconstruction, notes: list[str]) -> Answer:
        job = read.job
        file = f"answer.{job.kind}"
        try:
            job.check()
            notes = [*read.notes, *notes]
            write_answer(result, notes, job.product, job.kind, job.folder / file)
        except Exception as error:
            return refused(error, job)
        name = f"{result.measurement.name}_{job.product}.{job.kind}"
        seconds = float(result.record["seconds"])
        return Answer(200, {}, file, name, KINDS[job.kind], figures_of(result, notes), seconds=seconds, batch=batch)


def unused(measurement: Measurement, camera: CassiCamera) -> tuple[str, ...]:
    """In a line, what a file says of its own camera where that of the service, which is used instead, differs."""
    pairs = {
        "mask": (measurement.mask, camera.mask.cpu().numpy()),
        "wavelengths": (measurement.wavelengths, camera.wavelengths),
        "step": (measurement.step, camera.step),
    }
    names = [name for name, (own, taken) in pairs.items() if own is not None and not _alike(own, taken)]
    if not names:
        return ()
    return (
        f"the camera of the service was used, not what the file says of its own ({', '.join(names)}): to use that, "
        f"send the file in a form, as the part {MASK} too",
    )


def _alike(one: Any, other: Any) -> bool:
    return other is not None and np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-4, atol=1e-6)


def raw_frame(file: Path, dtype: str, preparation: Preparation) -> Measurement:
    """The measurement whose bare pixels are all that a file holds.

    Raises:
        InputError: the size of a frame is not known, or the file has another one.
    """
    height, width = preparation.detector_shape()
    kind = np.dtype(RAW_TYPES[dtype])
    expected, size = height * width * kind.itemsize, file.stat().st_size
    if size != expected:
        raise InputError(
            f"the body has {size} bytes, where a frame of {height}×{width} pixels of {dtype} has {expected}",
            "send exactly the pixels of one frame, or a file without <dtype>",
        )
    check_budget(expected, "the frame")
    frame = np.fromfile(file, kind).reshape(height, width).astype(kind.newbyteorder("="))
    return Measurement(frame, provenance={"format": "bare pixels", "dtype": dtype})


def refused(error: Exception, job: Job) -> Answer:
    """The answer to a job that cannot be done; what is our own fault is printed where the service was started."""
    if isinstance(error, Withdrawn) or not job.folder.exists():
        return Answer(499, {"error": "the request was withdrawn"})
    if isinstance(error, Late):
        return Answer(504, {"error": "decoding took longer than a request may take here"})
    told = in_json(error, [job.folder / MEASUREMENT, job.folder / MASK, job.folder], job.settings.said)
    if isinstance(error, InputError):
        return Answer(400, told)
    if is_out_of_memory(error):
        return Answer(413, told)
    traceback.print_exception(error, file=sys.stderr)
    return Answer(500, {"error": UNEXPECTED})
