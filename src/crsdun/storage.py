"""The one way to write: a file or folder is either complete or absent.

Everything is written to a hidden folder beside its destination and moved into place once it is complete. Without
``overwrite`` the move itself fails if the destination exists, so two programs cannot both win. With it, a folder is
replaced only if it holds nothing but what was written with it.

Where the destination is elsewhere (``remote``), it is written here and sent once it is complete, a folder's record
last: without its record a folder there is nothing that counts, and is replaced.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, overload

from crsdun.budget import is_out_of_memory
from crsdun.errors import InputError
from crsdun.remote import Place, Remote, all_in, delete, exists, fetch, listed, send

RECORD = "record.json"  # how the results in a folder were made; also marks the folder as ours
LOCK = ".crsdun-lock"
JOB, UNFINISHED = "job.json", ".unfinished"  # what an unfinished folder is for, and the end of its name
HIDDEN = ".crsdun-"  # prefix of the names of incomplete files and folders
WRITTEN = f"{HIDDEN}files"  # lies in a folder of results and names all that was written into it
OF_THE_SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what computers put into folders unasked
CHUNKS = "c"  # where a store of Zarr keeps the pieces of an array
MOST_NAMED = 3
UNSENT = f"{HIDDEN}unsent"  # lies in a folder elsewhere until everything is there


# -- files -----------------------------------------------------------------------------------------------------


@contextmanager
def atomic_file(path: str | Place, overwrite: bool = True, companion: str | None = None) -> Iterator[Path]:
    """A temporary path with the same name, which becomes ``path`` when the block ends without an error.

    Args:
        overwrite: replace an existing file.
        companion: suffix of a second file that belongs to it, such as ``.img`` for ``.hdr``; it is moved first.

    Raises:
        InputError: the file exists and ``overwrite`` is off, its folder does not exist, or writing fails.
    """
    if isinstance(path, Remote):
        check_file(path, overwrite)
        with scratch_folder() as folder:
            part = folder / path.name
            yield part
            send(sorted(folder.iterdir(), key=lambda each: each == part), folder, path.parent)
        return
    path = Path(path)
    with atomic_files([path] if companion is None else [path.with_suffix(companion), path], overwrite) as parts:
        yield parts[-1]


@contextmanager
def atomic_files(paths: Sequence[Path], overwrite: bool = True) -> Iterator[list[Path]]:
    """As ``atomic_file``, for several files of one folder that appear together or not at all."""
    for path in paths:
        check_file(path, overwrite)
    main = paths[-1]
    try:
        with scratch_folder(main.parent) as folder:
            yield [folder / path.name for path in paths]
            if len(paths) > 1 and overwrite:
                main.unlink(missing_ok=True)  # never a new companion beside an old file
            _move(folder, paths, overwrite)
    except (OSError, RuntimeError) as error:  # libraries report a full disk as either
        if is_out_of_memory(error):
            raise
        raise refusal(main, error) from error


def check_file(path: str | Place, overwrite: bool = False) -> None:
    """Raise an InputError if a file may not be written: it exists already, is a folder, or has none to lie in."""
    if isinstance(path, Remote):
        if not overwrite and exists(path):
            raise InputError(f"{path} exists already", "choose another <out>, or allow it with <overwrite>")
        return
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"could not write {path}: there is no folder {path.parent}", "create it first")
    if path.is_dir() or not path.name:
        raise InputError(f"{path} is a folder", "choose another <out>")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device", "choose another <out>")
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
    """Write a file and return only when it has reached the disk.

    Args:
        keep: name to which an existing file is moved; None replaces it.

    Raises:
        OSError: writing fails; an existing file is untouched.
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


def make_room(path: Path, size: int) -> None:
    """Take as much of the disk for a file as it will need, creating it if necessary.

    For libraries that do not survive a disk that fills up while they write, HDF5 above all.

    Raises:
        OSError: there is not so much room.
    """
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


# -- folders ---------------------------------------------------------------------------------------------------


@contextmanager
def atomic_folder(out: str | Place, overwrite: bool = False, mark: str = RECORD) -> Iterator[Path]:
    """A hidden folder to write into, which becomes ``out`` when the block ends without an error.

    After an error nothing is left behind.

    Args:
        mark: the file in it by which such folders are known.

    Raises:
        InputError: as ``check_folder``, or writing fails (no space, no permission).
    """
    if isinstance(out, Remote):
        check_folder(out, overwrite, mark)
        with scratch_folder() as hidden:
            part = hidden / out.name
            part.mkdir()
            yield part
            _note_files(part, mark)
            _send_folder(part, out, mark)
        return
    out = check_folder(out, overwrite, mark)
    was_there = out.exists()
    try:
        with made_folder(out.parent), scratch_folder(out.parent) as hidden:
            part, replaced = hidden / out.name, hidden / f"{HIDDEN}replaced"
            part.mkdir()
            yield part
            _note_files(part, mark)
            _put_in_place(part, out, replaced, was_there, mark if overwrite else None)
    except (OSError, InputError) as error:
        # A function that writes into the folder may have raised an InputError that names the hidden folder.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise refusal(out, cause) from error


def _send_folder(part: Path, out: Remote, mark: str) -> None:
    """Send a complete folder in place of what is there: first that it is on its way, last its mark."""
    unsent, mark_file = part / UNSENT, part / mark
    unsent.touch()
    send([unsent], part, out)
    for old in sorted(listed(out), key=lambda each: each.name != mark):
        if old.name != UNSENT:
            delete(old)
    files = sorted(file for file in part.rglob("*") if file.is_file() and file not in (unsent, mark_file))
    send([*files, mark_file], part, out)
    delete(out / UNSENT)


def _put_in_place(part: Path, out: Path, replaced: Path, was_there: bool, mark: str | None) -> None:
    """Make a complete folder ``out``; what it replaces, if there is a ``mark``, becomes ``replaced``."""
    claimed = False
    try:
        if mark is not None and out.exists():
            check_folder(out, True, mark)  # another program may have created it in the meantime
            out.rename(replaced)
        elif not was_there and os.name == "posix":  # where a folder may be moved onto an empty one
            out.mkdir()  # fails if another program has made it
            claimed = True
        part.rename(out)  # fails if another program has filled it
    except OSError:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        if claimed:
            with suppress(OSError):
                out.rmdir()
        raise


def unfinished(out: Path) -> Path:
    """What a ``lasting_folder`` is called until it is complete."""
    return out.with_name(f"{out.name}{UNFINISHED}")


@contextmanager
def lasting_folder(out: str | Path, job: dict[str, Any], overwrite: bool = False) -> Iterator[Path]:
    """As ``atomic_folder``, but what was written outlives an interruption, and the same job goes on with it.

    Until it is complete, the folder is called as ``unfinished`` says.

    Args:
        job: what decides on its contents, as plain JSON values.
        overwrite: replace ``out``, and the unfinished folder of another job.

    Raises:
        InputError: as there, or another job has left the unfinished folder, or is writing into it.
    """
    out = check_folder(out, overwrite)
    was_there, part = out.exists(), unfinished(out)
    with locked(part):
        left = _visible(part)
        if left and not _is_of(job, part / JOB):
            if not (overwrite and (part / JOB).is_file()):
                raise InputError(
                    f"{part} holds the unfinished results of another command, or of other files",
                    "run that one again, delete the folder, or choose another <out>",
                )
            for name in left:
                shutil.rmtree(part / name) if (part / name).is_dir() else (part / name).unlink()
        try:
            write_json(part / JOB, job)
            yield part
            (part / LOCK).unlink(missing_ok=True)
            _note_files(part, RECORD)
            with scratch_folder(out.parent) as hidden:
                _put_in_place(part, out, hidden / f"{HIDDEN}replaced", was_there, RECORD if overwrite else None)
            (out / JOB).unlink()
        except BaseException as error:
            if part.is_dir() and _visible(part) <= {JOB}:  # nothing worth keeping
                (part / JOB).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise refusal(out, error) from error
            raise


def _visible(folder: Path) -> set[str]:
    """What lies in a folder besides its lock and what a dead process had not completed."""
    return {each.name for each in folder.iterdir() if not each.name.startswith(HIDDEN)}


def _is_of(job: dict[str, Any], file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(job)))
    except (OSError, ValueError):
        return False


@overload
def check_folder(out: str | Path, overwrite: bool = False, mark: str = RECORD) -> Path: ...


@overload
def check_folder(out: str | Place, overwrite: bool = False, mark: str = RECORD) -> Place: ...


def check_folder(out: str | Place, overwrite: bool = False, mark: str = RECORD) -> Place:
    """The absolute path of ``out``, if results may be written there.

    Raises:
        InputError: it contains results and ``overwrite`` is off, it contains anything else, or it cannot be
            written to.
    """
    if isinstance(out, Remote):
        return _check_remote_folder(out, overwrite, mark)
    try:
        out = Path(out).resolve()
        if out.is_symlink():
            raise InputError(f"{out} is a link to itself or to nothing", "choose another <out>")
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file", "choose another <out>")
        if out.is_dir() and any(out.iterdir()):
            if not (out / mark).is_file():
                raise InputError(
                    f"{out} contains no {mark}, so crsdun did not create it and will not overwrite it",
                    "choose another <out>",
                )
            if not overwrite:
                raise InputError(f"{out} exists already", "choose another <out>, or allow it with <overwrite>")
            _check_is_ours(out, mark)
        parent = next(folder for folder in out.parents if folder.exists())
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        raise refusal(out, error) from error
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"{parent} is not a folder that can be written to", "choose another <out>")
    return out


def _check_remote_folder(out: Remote, overwrite: bool, mark: str) -> Remote:
    """The same elsewhere, where a folder may be on its way from a process that has died."""
    if exists(out / mark):
        if not overwrite:
            raise InputError(f"{out} exists already", "choose another <out>, or allow it with <overwrite>")
        if not exists(out / UNSENT):
            with scratch_folder() as folder:
                note = fetch(out / WRITTEN, folder) if exists(out / WRITTEN) else folder / WRITTEN
                _check_noted(out, set(all_in(out)), note)
    elif exists(out) and not exists(out / UNSENT):
        raise InputError(
            f"{out} contains no {mark}, so crsdun did not create it and will not overwrite it", "choose another <out>"
        )
    return out


def _note_files(folder: Path, mark: str) -> None:
    """Note in a complete folder of results what lies in it, so that ``overwrite`` can tell it from what is added."""
    if mark == RECORD:
        names = sorted(_names_in(folder) - {JOB})
        (folder / WRITTEN).write_text("\n".join(names), encoding="utf-8", errors="surrogateescape")


def _check_is_ours(folder: Path, mark: str) -> None:
    """Raise an InputError if a folder that would be replaced holds anything that was not written with it."""
    if mark == RECORD:
        _check_noted(folder, _names_in(folder), folder / WRITTEN)
    else:
        _check_none_added(folder, {each.relative_to(folder).as_posix() for each in _besides_nodes(folder, mark)})


def _check_noted(folder: Place, names: set[str], note: Path) -> None:
    """The same by the names of all that lies in a folder, and the note in it."""
    if not note.is_file():
        raise InputError(
            f"{folder} does not say which of its files crsdun wrote, and others could be lost",
            "choose another <out>, or delete it yourself",
        )
    written = note.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    _check_none_added(folder, {name for name in names if not _is_passing(name)}.difference(written))


def _check_none_added(folder: Place, added: set[str]) -> None:
    top = sorted(name for name in added if name.rpartition("/")[0] not in added)
    if top:
        more = f" and {len(top) - MOST_NAMED} more" if len(top) > MOST_NAMED else ""
        raise InputError(
            f"{folder} also holds what crsdun did not write, and would be lost: {', '.join(top[:MOST_NAMED])}{more}",
            "move it elsewhere, or choose another <out>",
        )


def _names_in(folder: Path) -> set[str]:
    names = (each.relative_to(folder).as_posix() for each in folder.rglob("*"))
    return {name for name in names if not _is_passing(name)}


def _is_passing(name: str) -> bool:
    """Whether something in a folder is nobody's work: notes and remains of this module, and files of the system."""
    parts = name.split("/")
    return parts[-1] in OF_THE_SYSTEM or any(part.startswith(HIDDEN) for part in parts)


def _besides_nodes(folder: Path, mark: str) -> Iterator[Path]:
    """What lies in a store whose groups and arrays are folders with a ``mark``, and is no part of them."""
    for each in folder.iterdir():
        if each.is_dir() and (each / mark).is_file():
            yield from _besides_nodes(each, mark)
        elif each.name not in (mark, CHUNKS) and not _is_passing(each.name):
            yield each


@contextmanager
def made_folder(folder: str | Path) -> Iterator[None]:
    """Make a folder, and those around it; if the block fails, what was made is removed unless it is in use.

    Raises:
        InputError: it cannot be made.
    """
    folder = Path(folder)
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error
    try:
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):
                each.rmdir()
        raise


@contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """Inside the block the file or folder on this machine: itself, or a copy of what is elsewhere.

    Raises:
        InputError: as ``remote.fetch``.
    """
    if isinstance(path, Remote):
        with scratch_folder() as folder:
            yield fetch(path, folder)
    else:
        yield path


# -- scratch folders -------------------------------------------------------------------------------------------


@contextmanager
def scratch_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """A hidden folder that exists inside the block; those that dead processes left beside it are removed first.

    Args:
        parent: where; None takes the system's folder for temporary files.
    """
    parent = Path(parent or tempfile.gettempdir())
    remove_leftovers(parent)
    prefix = f"{HIDDEN}{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_leftovers(parent: Path) -> None:
    """Remove the scratch folders in ``parent`` that dead processes of this machine have left."""
    for left in parent.glob(f"{HIDDEN}{_host()}-*"):
        process = left.name.removeprefix(f"{HIDDEN}{_host()}-").partition("-")[0]
        if process.isdecimal() and not is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether a process of this machine is alive."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to someone else
        return True
    return True


def _host() -> str:
    """This machine, or the container on it whose processes are numbered apart, since several may share a folder."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        numbers = ""
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()):08x}"


# -- locks -----------------------------------------------------------------------------------------------------


def check_no_file(folder: Path) -> None:
    """Raise an InputError if a file is where a folder is to be."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", "choose another <out>")


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Inside the block no other process can lock this folder, which is created where it is missing.

    The lock ends with the process that holds it, however that ends.

    Raises:
        InputError: another process holds it, or the folder cannot be written to.
    """
    folder = Path(folder)
    path = folder / LOCK
    check_no_file(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except (OSError, ValueError) as error:
        raise refusal(folder, error) from error
    try:
        if not (_take(descriptor) and path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())):
            holder = os.read(descriptor, 100).decode(errors="replace") or "another process"
            raise InputError(f"{holder} is writing into {folder}", "wait until it has ended, or choose another <out>")
        try:
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
            except OSError as error:
                raise refusal(folder, error) from error
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()  # if nothing was written into it
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    """Lock an open file, without waiting; where the system has no such locks, there is nothing to respect."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


# -- when writing fails ----------------------------------------------------------------------------------------


def refusal(path: str | Path, error: Exception) -> InputError:
    """The operating system's error on writing ``path``, in the user's terms."""
    # NumPy counts what was written, and keeps the system's error to itself.
    code = errno.ENOSPC if re.search(r"\d requested and \d+ written", str(error)) else getattr(error, "errno", None)
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


def _move(folder: Path, targets: Sequence[Path], overwrite: bool) -> None:
    """Move files that belong together from a folder to their targets; if one cannot be moved, none is left there."""
    for count, target in enumerate(targets):
        try:
            if overwrite:
                os.replace(folder / target.name, target)
            else:
                _move_to_free_name(folder / target.name, target)
        except OSError:
            for moved in targets[:count]:
                moved.unlink()
            raise


def _move_to_free_name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # unlike a rename, it fails if the target exists
    except FileExistsError:
        raise
    except OSError:  # this file system has no hard links
        target.touch(exist_ok=False)
        os.replace(part, target)


def _flush_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
