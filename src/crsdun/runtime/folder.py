"""A folder of results that is either whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crsdun.optics import InputError

RECORD = "record.json"  # how the results were made; also what marks a folder as ours


def check_folder(out: str | Path, overwrite: bool = False) -> Path:
    """The folder ``out`` as a path, if results may go there.

    Raises:
        InputError: it exists and ``overwrite`` is off, or it is not a folder of results of ours.
    """
    out = Path(out).absolute()
    if out.is_dir() and not any(out.iterdir()):
        return out
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; choose another --out or give --overwrite")
    if out.exists() and not (out / RECORD).is_file():
        raise InputError(
            f"{out} exists and holds no {RECORD}, so it was not made by crsdun and is not overwritten; "
            "choose another --out or remove it yourself"
        )
    return out


@contextmanager
def new_folder(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A hidden folder beside ``out`` to write into; it becomes ``out`` by rename when the block ends well.

    Nothing is left behind when it does not.

    Raises:
        InputError: as ``check_folder``, or the disk refuses (no space, no permission).
    """
    out = check_folder(out, overwrite)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    replaced = out.with_name(f".{out.name}.{os.getpid()}.replaced")
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
        reason = "no space is left there" if refusal.errno == errno.ENOSPC else str(refusal.strerror or refusal)
        raise InputError(f"could not write {out}: {reason}; free some space or choose another --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if out.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        elif replaced.exists():
            replaced.rename(out)
