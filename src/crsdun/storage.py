"""The one way to write: a file or a folder is whole, or it is not there.

Everything is written under a hidden name beside its goal and moved into place when it is complete. Without
``overwrite`` the move itself refuses what exists, so two programs cannot both win.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crsdun.errors import InputError

RECORD = "record.json"  # how the results in a folder were made; also what marks a folder as ours
HIDDEN = ".crsdun-"  # begins the names of what is not complete yet


# -- files -----------------------------------------------------------------------------------------------------


@contextmanager
def atomic_file(path: str | Path, overwrite: bool = True, companion: str | None = None) -> Iterator[Path]:
    """A place to write ``path`` at, of the same name; it becomes ``path`` when the block ends well.

    Args:
        overwrite: replace a file that exists.
        companion: suffix of a second file that belongs to it, such as ``.img`` of ``.hdr``; it is moved first.

    Raises:
        InputError: the file exists and is not to be overwritten, there is no such folder, or the disk refuses.
    """
    path = Path(path)
    goals = [path] if companion is None else [path.with_suffix(companion), path]
    for goal in goals:
        check_file(goal, overwrite)
    if not path.parent.is_dir():
        raise InputError(f"could not write {path}: there is no folder {path.parent}", "make it first")
    try:
        with tempfile.TemporaryDirectory(prefix=HIDDEN, dir=path.parent) as folder:
            yield Path(folder, path.name)
            if companion is not None and overwrite:
                path.unlink(missing_ok=True)  # never a new companion beside an old file
            for goal in goals:
                _move(Path(folder, goal.name), goal, overwrite)
    except (OSError, RuntimeError) as error:  # h5py reports a full disk as either
        raise refusal(path, error) from error


def check_file(path: str | Path, overwrite: bool = False) -> None:
    """Raise an InputError where a file may not be written: it exists already, or is a folder."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder", "choose another <out>")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already", "choose another <out>, or allow it with <overwrite>")


def write_text(path: str | Path, text: str, overwrite: bool = True) -> None:
    """A text file in UTF-8; errors as ``atomic_file``."""
    with atomic_file(path, overwrite) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, overwrite: bool = True) -> None:
    """A JSON file, indented and without NaN; errors as ``atomic_file``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", overwrite)


def write_bytes_durably(path: str | Path, data: bytes, keep: str | Path | None = None) -> None:
    """A file that is on the disk, not only on its way there, when this returns.

    Args:
        keep: what a file that exists is renamed to; None replaces it.

    Raises:
        OSError: the disk refuses; what was there is untouched.
    """
    path = Path(path)
    part = path.with_name(f"{HIDDEN}{path.name}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(part, path)
        _flush_names(path.parent)
    finally:
        part.unlink(missing_ok=True)


# -- folders ---------------------------------------------------------------------------------------------------


@contextmanager
def atomic_folder(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A hidden folder beside ``out`` to write into; it becomes ``out`` when the block ends well.

    Nothing is left behind when it does not.

    Raises:
        InputError: as ``check_folder``, or the disk refuses (no space, no permission).
    """
    out = check_folder(out, overwrite)
    # Hidden names that are no longer than any file's may be.
    part, replaced = (
        out.with_name(f"{HIDDEN}{out.name[:100]}.{os.getpid()}.{what}") for what in ("partial", "replaced")
    )
    try:
        part.mkdir(parents=True)
        yield part
        if overwrite and out.exists():
            out.rename(replaced)
        part.rename(out)  # refuses a folder that somebody has filled meanwhile
    except (OSError, InputError) as error:
        # Whoever wrote into the folder may have put the disk's refusal into words that name the hidden folder.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise refusal(out, cause) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        shutil.rmtree(replaced, ignore_errors=True)


def check_folder(out: str | Path, overwrite: bool = False) -> Path:
    """The folder ``out`` as an absolute path, if results may go there.

    Raises:
        InputError: it holds results and ``overwrite`` is off, it holds something else, or nothing can be written
            there.
    """
    out = Path(out).resolve()
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file", "choose another <out>")
        if out.is_dir() and any(out.iterdir()):
            if not (out / RECORD).is_file():
                raise InputError(
                    f"{out} holds no {RECORD}, so crsdun did not make it and will not overwrite it",
                    "choose another <out>",
                )
            if not overwrite:
                raise InputError(f"{out} exists already", "choose another <out>, or allow it with <overwrite>")
        parent = next(folder for folder in out.parents if folder.exists())
    except OSError as error:
        raise refusal(out, error) from error
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"{parent} is not a folder that can be written to", "choose another <out>")
    return out


# -- what the disk says ----------------------------------------------------------------------------------------


def refusal(path: str | Path, error: Exception) -> InputError:
    """What an operating system's refusal to write ``path`` means to a person."""
    code = getattr(error, "errno", None)
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
    if code == errno.ENOSPC:
        return InputError(f"could not write {path}: no space is left there", "free some, or choose another <out>")
    if code in (errno.EEXIST, errno.ENOTEMPTY):
        return InputError(
            f"could not write {path}: it has appeared in the meantime",
            "choose another <out>, or allow it with <overwrite>",
        )
    return InputError(
        f"could not write {path}: {reason}", "check the free space and the permissions, or choose another <out>"
    )


def _move(part: Path, goal: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(part, goal)
        return
    try:
        os.link(part, goal)  # unlike a rename, it fails where something stands
    except FileExistsError:
        raise
    except OSError:  # this file system knows no links
        os.rename(part, goal)


def _flush_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
