"""A folder of results that is either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crsdun.errors import InputError

RECORD = "record.json"  # how the results were made; also what marks a folder as ours


def check_folder(out: str | Path, overwrite: bool = False) -> Path:
    """The folder ``out`` as a path, if results may go there.

    Raises:
        InputError: it holds results and ``overwrite`` is off, it holds something else, or nothing can be written
            there.
    """
    out = Path(out).resolve()
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; choose another --out")
        if out.is_dir() and any(out.iterdir()):
            if not (out / RECORD).is_file():
                raise InputError(
                    f"{out} holds no {RECORD}, so it was not made by crsdun and is not overwritten; "
                    "choose another --out"
                )
            if not overwrite:
                raise InputError(f"{out} exists already; choose another --out or give --overwrite")
        parent = next(folder for folder in out.parents if folder.exists())
    except OSError as error:
        raise _refused(out, error) from error
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"{parent} is no folder that can be written to; choose another --out")
    return out


def _refused(out: Path, error: OSError) -> InputError:
    if error.errno == errno.ENOSPC:
        return InputError(f"could not write {out}: no space is left there; free some or choose another --out")
    return InputError(f"could not write {out}: {error.strerror or error}; choose another --out")


@contextmanager
def new_folder(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A hidden folder beside ``out`` to write into; it becomes ``out`` by rename when the block ends well.

    Nothing is left behind when it does not.

    Raises:
        InputError: as ``check_folder``, or the disk refuses (no space, no permission).
    """
    out = check_folder(out, overwrite)
    # Hidden names that are no longer than any file's may be.
    partial = out.with_name(f".{out.name[:100]}.{os.getpid()}.partial")
    replaced = out.with_name(f".{out.name[:100]}.{os.getpid()}.replaced")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
    except (OSError, InputError) as error:
        # Whoever wrote into the folder may have put the disk's refusal into words that name the hidden folder.
        refusal = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refusal, OSError):
            raise
        raise _refused(out, refusal) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        shutil.rmtree(replaced, ignore_errors=True)
