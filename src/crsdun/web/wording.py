"""Error messages for somebody elsewhere: no folders of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from crsdun.budget import explained

ABSOLUTE_PATH = re.compile(r"(?<![\w.~-])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+")


def plain_message(error: Exception, control: Callable[[str], str], folders: Iterable[Path] = ()) -> str:
    """One line about an error, without the directories of the paths in it.

    Args:
        control: what a setting that a remedy names is called there (``errors.worded``).
        folders: where the files of who asks lie; other paths are recognised only up to their first space.
    """
    told = explained(error)
    text = told.worded(control) if told else ": ".join(filter(None, (type(error).__name__, str(error))))
    return without_folders(text, folders)


def without_folders(text: str, folders: Iterable[Path] = ()) -> str:
    """A text without the directories of the paths in it; arguments as for ``plain_message``."""
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    return ABSOLUTE_PATH.sub("", text)
