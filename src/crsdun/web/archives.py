"""Folders as one file that is sent."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from crsdun.storage import atomic_file


def pack(folder: Path) -> Path:
    """A .zip beside a folder, written whole or not at all; it unpacks into a folder of the same name.

    Raises:
        InputError: the disk refuses.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    with atomic_file(archive) as part:
        shutil.make_archive(str(part.with_suffix("")), "zip", folder.parent, folder.name)
    return archive


def plain_name(name: str) -> str:
    """A name for a file or a folder: letters, digits and hyphens only."""
    return re.sub(r"\W+", "-", name).strip("-") or "result"
