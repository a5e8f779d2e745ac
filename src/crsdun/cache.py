"""What is dear to make but can be made again: files kept under a key, until others need their place."""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from crsdun.errors import InputError
from crsdun.provenance import sha256_of
from crsdun.storage import atomic_file

CACHE_BYTES = 2 << 30  # that each folder of the cache may have


def cache_folder(name: str) -> Path | None:
    """The folder ``name`` for what is dear to make but can be made again; None where none can be had.

    It lies in ``$CRSDUN_CACHE``, or else in the folder ``crsdun`` where the system keeps such files for each user.
    With an empty ``CRSDUN_CACHE`` nothing is kept.
    """
    given = os.environ.get("CRSDUN_CACHE")
    if given == "":
        return None
    try:
        folder = (_system_cache() / "crsdun" if given is None else Path(given).expanduser()) / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if os.access(folder, os.W_OK | os.X_OK) else None
    except (OSError, RuntimeError, ValueError):  # no home, no permission, a file in its place, a null character
        return None


def _system_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def find_cached(folder: Path, key: str) -> Path | None:
    """The file that ``keep_cached`` kept under a key, if it is still there and whole; a damaged one is deleted."""
    for path in folder.glob(f"{key}-*"):
        with suppress(OSError):  # another program has deleted it
            if path.stem == f"{key}-{sha256_of(path)}":
                os.utime(path)  # the time of its last use
                return path
            path.unlink()
    return None


def keep_cached(path: Path, folder: Path, key: str) -> None:
    """Copy a file into a folder of the cache under a key, and delete what was not used for longest there.

    ``key`` is made of hexadecimal digits. Where the copy cannot be written, nothing is kept.
    """
    with suppress(InputError), atomic_file(folder / f"{key}-{sha256_of(path)}{path.suffix}") as part:
        shutil.copyfile(path, part)
    kept = []
    for file in folder.glob("*-*"):
        if re.fullmatch(r"[0-9a-f]+-[0-9a-f]{64}\.\w+", file.name):  # the user's own files may lie here too
            with suppress(OSError):
                facts = file.stat()
                kept.append((facts.st_mtime_ns, facts.st_size, file))
    total = 0
    for _, size, file in sorted(kept, reverse=True):
        total += size
        if total > CACHE_BYTES:
            with suppress(OSError):
                file.unlink()
