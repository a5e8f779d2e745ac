"""What is meant for the user, an error or a warning: what is wrong, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SETTING = re.compile(r"<(\w+)>")


def worded(text: str, control: Callable[[str], str]) -> str:
    """A text with ``control(name)`` in place of each setting that it names in angle brackets."""
    return SETTING.sub(lambda setting: control(setting[1]), text)


class Told(Exception):
    """One line, ``message; remedy``. A remedy names settings in angle brackets, as in ``set <bits>``: each front end
    puts its own control there (``worded``), and Python shows the bare name.

    Args:
        message: what was given and what is wrong with it.
        remedy: what to do about it; empty if the message already says it.
    """

    def __init__(self, message: str, remedy: str = ""):
        super().__init__(message, remedy)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        return self.worded(str)

    def worded(self, control: Callable[[str], str]) -> str:
        """The line, with ``control(name)`` in place of each setting that the remedy names."""
        return "; ".join(part for part in (self.message, worded(self.remedy, control)) if part)


class InputError(Told, ValueError):
    """An input cannot be used."""


class InputWarning(Told, UserWarning):
    """An input is used, but is probably not what it is taken for."""


@contextmanager
def renamed(setting: str, name: str) -> Iterator[None]:
    """Inside the block the remedies of errors call a setting ``name``, as the ``key`` of a true scene."""
    try:
        yield
    except InputError as error:
        remedy = error.remedy.replace(f"<{setting}>", f"<{name}>")
        raise type(error)(error.message, remedy) from error


class UnitError(InputError):
    """Wavelengths whose unit is unknown or missing; giving them in nm settles it."""
