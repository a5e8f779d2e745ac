"""Many measurements at once: finding their files, and streaming them."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crsdun import remote
from crsdun.errors import InputError
from crsdun.remote import Place, Remote, as_numbered, natural_order
from crsdun.scenes import Exposures, Measurement
from crsdun.scenes.formats import SUFFIXES, is_result_folder
from crsdun.scenes.formats.envi import without_data
from crsdun.scenes.formats.pictures import is_scene_folder, pictures_in
from crsdun.scenes.formats.zarr_store import is_zarr
from crsdun.storage import RECORD, local_copy


def find_measurements(given: Sequence[str | Place], other: Iterable[Any] = ()) -> dict[str, Place] | None:
    """The measurements given by files, folders and patterns, each with the name of its results.

    A folder stands for every readable file directly in it, a pattern with * ? [ for the files that it matches. The
    name is the file's stem, or its full name if two stems are equal. What is elsewhere (``remote``) is always many.
    An ENVI header and its data are one file.

    Args:
        other: files among the measurements that are none, such as the mask; what is not a path is ignored.

    Returns:
        name → file, in natural order within a folder or pattern, or if given in alphabetical order (``as_numbered``);
        None if a single plain file is given.

    Raises:
        InputError: a folder or pattern yields nothing, or two files have the same full name.
    """
    paths = as_numbered([each if isinstance(each, Remote) else Path(each) for each in given])
    if len(paths) == 1 and isinstance(paths[0], Path) and not _is_folder(paths[0]) and not _is_pattern(paths[0]):
        return None
    skipped = {path.resolve() for path in other if isinstance(path, Place)}
    found: dict[Place, Place] = {}  # each file once, however it was given
    for path in paths:
        files: Sequence[Place]
        if _is_pattern(path):
            files = matching(path)
        elif _is_folder(path):
            files = readable(path)
        else:
            found[path.resolve()] = path
            continue
        files = [file for file in files if file.resolve() not in skipped]
        if not files:
            raise InputError(f"{path} holds no measurement", f"expected files such as {', '.join(SUFFIXES)}")
        found |= {file.resolve(): file for file in files}
    found = {path: found[path] for path in without_data([*found])}

    stems, names = (Counter(getattr(file, part) for file in found.values()) for part in ("stem", "name"))
    for name, count in names.items():
        if count > 1:
            raise InputError(f"{count} measurements are called {name}, and so would be their results", "rename them")
    return {file.name if stems[file.stem] > 1 else file.stem: file for file in found.values()}


def readable(folder: Place) -> list[Place]:
    """The files directly in a folder whose suffix we read, ENVI by its header, in natural order.

    Hidden ones are none.
    """
    files: list[Place] = [*(remote.listed(folder) if isinstance(folder, Remote) else _files(folder.iterdir()))]
    files = [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    return sorted(files, key=natural_order)


def matching(pattern: Place) -> list[Place]:
    """The files that a pattern with * ? [ matches, in natural order."""
    if isinstance(pattern, Remote):
        return sorted(remote.listed(pattern), key=natural_order)
    folder = next(each for each in pattern.parents if each.exists())  # is called so, and no pattern
    found = glob.glob(str(pattern.relative_to(folder)), root_dir=folder, recursive=True)
    return sorted(_files(folder / each for each in found), key=natural_order)


@dataclass(frozen=True)
class Frame:
    """Which exposure of many, in words that can be sent to another machine.

    Attributes:
        name: of its results.
        file: that holds it.
        index: of this one, from 0.
        count: how many exposures the file holds.
        stack: name of the results of all exposures of the file; None where one is taken.
    """

    name: str
    file: Place
    index: int = 0
    count: int = 1
    stack: str | None = None


@dataclass(frozen=True)
class Item:
    """One exposure of many.

    Attributes:
        name: of its results.
        file: that holds it.
        exposures: of that file, or why it could not be opened.
        index: of this one, from 0.
        stack: name of the results of all exposures of the file; None where it holds one.
    """

    name: str
    file: Place
    exposures: Exposures | Exception
    index: int = 0
    stack: str | None = None

    @property
    def count(self) -> int:
        """How many exposures the file holds."""
        return 1 if isinstance(self.exposures, Exception) else len(self.exposures)

    @property
    def frame(self) -> Frame:
        """Which one, without what was opened."""
        return Frame(self.name, self.file, self.index, self.count, self.stack)

    @property
    def truth(self) -> str:
        """The stem that the file of its truth has."""
        return self.file.stem if self.stack is None else self.name

    def read(self) -> Measurement:
        """
        Raises:
            Exception: why the file could not be opened.
            InputError: as ``Exposures.one``.
        """
        if isinstance(self.exposures, Exception):
            raise self.exposures
        return self.exposures.one(self.index + 1)


@dataclass
class Batch:
    """The exposures of many files, opened one after the other as they are iterated over.

    Each must be read before the next one is asked for: of what is elsewhere, the copy goes with its file.

    Attributes:
        files: by the name of their results.
        open: a file → its exposures.
        frame: number of the exposure that is taken of each file, from 1; None takes all.
        total: how many exposures there are, as far as is known.
    """

    files: Mapping[str, Place]
    open: Callable[[Path], Exposures]
    frame: int | None = None

    def __post_init__(self) -> None:
        self.total = len(self.files)

    def __iter__(self) -> Iterator[Item]:
        for name, file in self.files.items():
            for item in self.of(name, file):
                if item.stack is not None and item.index == 0:
                    self.total += item.count - 1
                yield item

    def of(self, name: str, file: Place) -> Generator[Item, None, None]:
        """Those of one file; a file that cannot be opened counts as one."""
        with ExitStack() as opened:
            try:
                exposures = self.open(opened.enter_context(local_copy(file)))
            except Exception as error:  # the other files are not affected
                yield Item(name, file, error)
                return
            if self.frame is not None or len(exposures) == 1:
                yield Item(name, file, exposures, 0 if self.frame is None else self.frame - 1)
                return
            for index in range(len(exposures)):
                yield Item(exposures.name_of(index, name), file, exposures, index, name)


def check_truth_folder(truth: Path | None) -> None:
    """Raise an InputError if the truth of many measurements is not a folder."""
    if truth is not None and (not _is_folder(truth) or _is_scene(truth)):
        what = "one scene" if truth.is_dir() else "not a folder"
        raise InputError(f"{truth} is {what}", "set <truth> to a folder with one file for each measurement")


def find_truth(measurement: Place, truth: Path, stem: str | None = None) -> Path:
    """The file of the truth: ``truth`` itself, or what has the measurement's stem, or ``stem``, in that folder.

    That may be a folder with a picture for each band or one of results, and so may ``truth`` itself.

    Raises:
        InputError: the folder has none or several.
    """
    if not _is_folder(truth) or is_result_folder(truth):
        return truth
    stem = stem or measurement.stem
    files = [Path(file) for file in readable(truth) if file.stem == stem]
    files += [truth / stem] if _is_scene(truth / stem) else []
    if isinstance(measurement, Path):
        files = [file for file in files if not file.samefile(measurement)]
    if not files and pictures_in(truth):
        return truth
    if len(files) != 1:
        of = measurement.name if stem == measurement.stem else stem
        names = " and ".join(file.name for file in files) or f"no {stem}.*"
        raise InputError(f"{truth} holds {names}", f"expected one file with the truth of {of}")
    return files[0]


def check_parent(out: Place) -> None:
    """Raise an InputError if ``out`` cannot contain result folders: it is a file, or a result folder itself."""
    if isinstance(out, Path) and out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", "choose another <out>")
    if _exists(out / RECORD):
        raise InputError(f"{out} holds the results of one measurement", "choose another <out> for those of many")


def stream(
    items: Iterable[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any], Any],
    write: Callable[[Any], Any],
) -> Iterator[tuple[Any, Any]]:
    """``write(compute(read(item)))`` for every item; a failure takes the place of the result.

    While one item is computed, the next is taken and read and the previous result is written; nothing else is in
    memory. Only an interruption ends the stream, once the current write is complete.

    Yields:
        (item, what ``write`` returned, or the exception that one of the three raised), in order.
    """
    waiting = iter(items)

    def advance() -> tuple[Any, Any]:
        item = next(waiting, _END)
        return item, None if item is _END else _attempt(read, item)

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(advance)
        behind: tuple[Any, Future] | None = None
        while (following := ahead.result())[0] is not _END:
            item, prepared = following
            del following
            ahead = reader.submit(advance)
            prepared = _attempt(compute, prepared)
            if behind is not None:
                yield behind[0], behind[1].result()
            behind = item, writer.submit(_attempt, write, prepared)
            del prepared
        if behind is not None:
            yield behind[0], behind[1].result()


_END = object()


def _attempt(step: Callable[[Any], Any], value: Any) -> Any:
    """The result of a step, or the failure of it or of the step before; whatever it is, the others go on."""
    if isinstance(value, Exception):
        return value
    try:
        return step(value)
    except Exception as failure:
        return failure


def _is_folder(path: Place) -> bool:
    """Whether a path stands for the files in it; a store of Zarr is a file here."""
    if isinstance(path, Remote):
        return path.suffix.lower() not in SUFFIXES and remote.is_folder(path)
    return path.is_dir() and not is_zarr(path)


def _is_scene(folder: Path) -> bool:
    """Whether a folder is a single scene: a picture for each band, or results."""
    return is_scene_folder(folder) or is_result_folder(folder)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of the paths that are files, or stores of Zarr."""
    return (path for path in paths if path.is_file() or is_zarr(path))


def _is_pattern(path: Place) -> bool:
    return glob.has_magic(str(path)) and not _exists(path)


def _exists(path: Place) -> bool:
    return remote.exists(path) if isinstance(path, Remote) else path.exists()
