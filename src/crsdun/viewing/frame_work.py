"""One exposure of many, from its file to its folder of results: what every batch consists of, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from crsdun.errors import InputError
from crsdun.provenance import command
from crsdun.remote import Place
from crsdun.runtime import (
    Batch,
    Item,
    Pipeline,
    PreparedMeasurement,
    Reconstruction,
    finished_before,
    read_results,
    stream,
)
from crsdun.runtime.batch import Frame
from crsdun.scenes.measurement import name_of_exposure
from crsdun.storage import check_folder
from crsdun.viewing.result_folder import FrameSheet, write_results

# The frames that are to be computed → each with its answer, in order; an exception takes the place of an answer.
Crowd = Callable[[Iterable[Frame]], Iterator[tuple[Frame, Any]]]


@dataclass(frozen=True)
class Answer:
    """What became of a frame.

    Attributes:
        outcome: what ``FrameWork.describe`` said, or the exception that took its place.
        count: how many exposures its file holds, where these have to be asked for one by one; then nothing was done.
        notes: about what was decided automatically.
    """

    outcome: Any
    count: int = 1
    notes: tuple[str, ...] = ()


@dataclass
class FrameWork:
    """The work on each exposure of a batch: reading it, decoding it, and writing its folder of results.

    Attributes:
        pipeline: that reads and decodes.
        batch: the exposures.
        out: folder in which the folders of results lie.
        describe: the reconstruction, its folder, and whether it is new → what is told of it.
        overwrite: replace existing results; otherwise those of the same command count as done.
        made_by: that command.
    """

    pipeline: Pipeline
    batch: Batch
    out: Place
    describe: Callable[[Reconstruction, Place, bool], Any]
    overwrite: bool = False
    made_by: list[str] = field(default_factory=command)
    _held: tuple[Place, Item, Iterator[Item]] | None = field(default=None, init=False)

    # -- the three steps -------------------------------------------------------------------------------------------

    def read(self, item: Item) -> tuple[PreparedMeasurement | Reconstruction, Item]:
        """The measurement; or its results, where an earlier run of the same command has finished them.

        Raises:
            InputError: it cannot be read, or other results are in the way.
        """
        out, prepared = self.out / item.name, self.pipeline.read_item(item)
        before = None if self.overwrite else finished_before(out, self.pipeline.fingerprint(prepared), self.made_by)
        if before is None:
            check_folder(out, self.overwrite)
        return before or prepared, item

    def decode(self, read: tuple[PreparedMeasurement | Reconstruction, Item]) -> tuple[Reconstruction, Item, bool]:
        """The reconstruction, and whether it is new; errors as ``Pipeline.decode``."""
        prepared, item = read
        if isinstance(prepared, Reconstruction):
            return prepared, item, False
        return self.pipeline.decode(prepared), item, True

    def write(self, decoded: tuple[Reconstruction, Item, bool]) -> Any:
        """What is told of it, once its folder is complete; errors as ``write_results``."""
        result, item, is_new = decoded
        out = self.out / item.name
        told = self.describe(result, out, is_new)
        if is_new:
            write_results(result, out, self.overwrite)
        return told

    # -- all of them -----------------------------------------------------------------------------------------------

    def here(self) -> Iterator[tuple[Frame, Any]]:
        """Each frame with what is told of it, or the exception in its place, in order, computed by this process."""
        for item, outcome in stream(self.batch, self.read, self.decode, self.write):
            yield item.frame, outcome

    def elsewhere(self, crowd: Crowd) -> Iterator[tuple[Frame, Any]]:
        """The same, computed by processes each of which has work like this one and answers by ``answer``.

        A file is opened only by who decodes it: where it turns out to hold many exposures, these are asked for then.
        """
        for file, answer in crowd(Frame(name, file) for name, file in self.batch.files.items()):
            if isinstance(answer, Answer) and answer.count > 1:
                self.batch.total += answer.count - 1
                for frame, each in crowd(_frames(file, answer.count)):
                    yield frame, self._outcome(each)
            else:
                yield file, self._outcome(answer)

    def answer(self, frame: Frame) -> Answer:
        """The answer to one frame of ``elsewhere``."""
        notes: list[str] = []
        self.pipeline.notify = notes.append
        item = self._item(frame)
        if item.stack is not None and frame.stack is None:
            return Answer(None, item.count)
        try:
            outcome = self._done(item)
        except Exception as failure:
            outcome = failure
        return Answer(outcome, notes=tuple(notes))

    def _done(self, item: Item) -> Any:
        """What is told of an exposure once it is done, be it by a worker that was taken for lost and goes on."""
        decoded = self.decode(self.read(item))
        try:
            return self.write(decoded)
        except InputError:
            out = self.out / item.name
            inputs = self.pipeline.fingerprint(self.pipeline.read_item(item))
            before = finished_before(out, inputs, self.made_by)
            if before is None:
                raise
            return self.describe(before, out, False)

    def _item(self, frame: Frame) -> Item:
        """The exposure of a frame; the file of a stack stays open until another one is asked for."""
        held = self._held
        if held is None or held[0] != frame.file:
            held = self._held = None  # closes the file before, and its copy goes
            opened = self.batch.of(frame.stack or frame.name, frame.file)
            held = self._held = frame.file, next(opened), opened
        first = held[1]
        if frame.stack is not None:
            return Item(frame.name, frame.file, first.exposures, frame.index, frame.stack)
        return first

    def _outcome(self, answer: Any) -> Any:
        if not isinstance(answer, Answer):
            return answer
        for line in answer.notes:
            self.pipeline.note(line)
        return answer.outcome


def _frames(file: Frame, count: int) -> Iterator[Frame]:
    for index in range(count):
        yield Frame(name_of_exposure(file.name, index, count), file.file, index, count, file.name)


def write_sheet(out: Place, name: str, frames: Iterable[Frame], overwrite: bool = False) -> Place:
    """Draw one sheet over the results of the exposures of a file, ``NAME.png`` in ``out``.

    Raises:
        InputError: as ``FrameSheet.write``, or results are no longer there.
    """
    frames = list(frames)
    sheet = FrameSheet(frames[0].count)
    for frame in frames:
        if frame.index in sheet.shown:
            sheet.add(frame.index, read_results(out / frame.name))
    sheet.write(out / name, overwrite)
    return out / name
