"""Many measurements at once: finding their files, and streaming them."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.scenes.formats import SUFFIXES
from crsdun.scenes.formats.pictures import is_scene_folder, pictures_in
from crsdun.storage import RECORD


def find_measurements(given: Sequence[str | Path], other: Iterable[Any] = ()) -> dict[str, Path] | None:
    """The measurements given by files, folders and patterns, each with the name of its results.

    A folder stands for every readable file directly in it, a pattern with * ? [ for the files that it matches. The
    name is the file's stem, or its full name if two stems are equal.

    Args:
        other: files among the measurements that are none, such as the mask; what is not a path is ignored.

    Returns:
        name → file, sorted within a folder or pattern; None if a single plain file is given.

    Raises:
        InputError: a folder or pattern yields nothing, or two files have the same full name.
    """
    if len(given) == 1 and not Path(given[0]).is_dir() and not _is_pattern(given[0]):
        return None
    skipped = {path.resolve() for path in other if isinstance(path, Path)}
    found: dict[Path, Path] = {}  # each file once, however it was given
    for path in map(Path, given):
        if path.is_dir():
            files = readable(path)
        elif _is_pattern(path):
            files = sorted(file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file())
        else:
            found[path.resolve()] = path
            continue
        files = [file for file in files if file.resolve() not in skipped]
        if not files:
            raise InputError(f"{path} holds no measurement", f"expected files such as {', '.join(SUFFIXES)}")
        found |= {file.resolve(): file for file in files}

    stems, names = (Counter(getattr(file, part) for file in found.values()) for part in ("stem", "name"))
    for name, count in names.items():
        if count > 1:
            raise InputError(f"{count} measurements are called {name}, and so would be their results", "rename them")
    return {file.name if stems[file.stem] > 1 else file.stem: file for file in found.values()}


def readable(folder: Path) -> list[Path]:
    """The files directly in a folder whose suffix we read, ENVI by its header, sorted; hidden ones are none."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def check_truth_folder(truth: Path | None) -> None:
    """Raise an InputError if the truth of many measurements is not a folder."""
    if truth is not None and not truth.is_dir():
        raise InputError(f"{truth} is not a folder", "set <truth> to a folder with one file for each measurement")


def find_truth(measurement: Path, truth: Path) -> Path:
    """The file of the truth: ``truth`` itself, or what has the measurement's stem in that folder.

    That may be a folder with a picture for each band, and so may ``truth`` itself.

    Raises:
        InputError: the folder has none or several.
    """
    if not truth.is_dir():
        return truth
    folders = (folder for folder in sorted(truth.iterdir()) if is_scene_folder(folder))
    files = [file for file in (*readable(truth), *folders) if file.stem == measurement.stem]
    files = [file for file in files if not file.samefile(measurement)]
    if not files and pictures_in(truth):
        return truth
    if len(files) != 1:
        names = " and ".join(file.name for file in files) or f"no {measurement.stem}.*"
        raise InputError(f"{truth} holds {names}", f"expected one file with the truth of {measurement.name}")
    return files[0]


def check_parent(out: Path) -> None:
    """Raise an InputError if ``out`` cannot contain result folders: it is a file, or a result folder itself."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", "choose another <out>")
    if (out / RECORD).exists():
        raise InputError(f"{out} holds the results of one measurement", "choose another <out> for those of many")


def stream(
    items: Sequence[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any], Any],
    write: Callable[[Any], Any],
) -> Iterator[tuple[Any, Any]]:
    """``write(compute(read(item)))`` for every item; a failure takes the place of the result.

    While one item is computed, the next is read and the previous result is written; nothing else is in memory. Only
    an interruption ends the stream, once the current write is complete.

    Yields:
        (item, what ``write`` returned, or the exception that one of the three raised), in order.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(read, items[0]) if items else None
        behind: tuple[Any, Future] | None = None
        for following, item in enumerate(items, 1):
            assert ahead is not None
            prepared, ahead = _outcome(ahead), None
            if following < len(items):
                ahead = reader.submit(read, items[following])
            if not isinstance(prepared, Exception):
                try:
                    prepared = compute(prepared)
                except Exception as failure:  # whatever it is, the other items are not affected
                    prepared = failure
            if behind is not None:
                yield behind[0], _outcome(behind[1])
            behind = item, writer.submit(_unless_failed, write, prepared)
            del prepared
        if behind is not None:
            yield behind[0], _outcome(behind[1])


def _outcome(future: Future) -> Any:
    """The result of a thread, or its failure."""
    try:
        return future.result()
    except Exception as failure:
        return failure


def _unless_failed(write: Callable[[Any], Any], result: Any) -> Any:
    return result if isinstance(result, Exception) else write(result)


def _is_pattern(path: str | Path) -> bool:
    return glob.has_magic(str(path)) and not Path(path).exists()
