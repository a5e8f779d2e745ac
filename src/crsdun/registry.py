"""Open tables: what the package knows by name, and what other packages add.

A package adds rows when it is imported. Modules that installed packages list under the entry point ``crsdun.plugins``
are imported automatically, when a name is first looked up that is not in a table, or when a table is first listed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TypeVar

from crsdun.errors import InputError

PLUGINS = "crsdun.plugins"
T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Rows by name, in the order in which they were registered.

    Args:
        what: kind of thing that is registered, for messages, such as ``solver``.
    """

    def __init__(self, what: str):
        self.what = what
        self._rows: dict[str, T] = {}
        self._elsewhere: Callable[[str], str] = lambda name: ""  # what a name means there; empty for nothing

    def register(self, name: str, row: T) -> T:
        """Add a row; registering an equal row again changes nothing.

        Raises:
            InputError: the name is taken, or is none.
        """
        self.check_free(name, row)
        return self.put(name, row)

    def put(self, name: str, row: T) -> T:
        """Add a row under a name that was found free, or whose rivals belong together with it."""
        self._rows[name] = row
        return row

    def check_free(self, name: str, row: T) -> None:
        """Raise an InputError if ``register`` would; for rows that belong together."""
        if not isinstance(name, str) or not name or name != name.strip():
            raise InputError(f"{name!r} is no name for a {self.what}", "expected text without spaces around it")
        if name in self._rows and self._rows[name] == row:
            return
        taken = self.what if name in self._rows else self._elsewhere(name)
        if taken:
            raise InputError(f"there is already a {taken} called {name!r}", "register it under another name")

    def reserve(self, elsewhere: Callable[[str], str]) -> None:
        """Refuse from now on names that mean something elsewhere, where users name both in one place.

        Args:
            elsewhere: says what a name means there, such as ``file of weights``; empty if nothing.
        """
        self._elsewhere = elsewhere

    def so_far(self) -> dict[str, T]:
        """The rows that are there without importing plugins, which ask for a table that is whole."""
        return dict(self._rows)

    def unregister(self, name: str) -> None:
        """Remove a row if it is there; for tests."""
        self._rows.pop(name, None)

    def find(self, name: str) -> T:
        """The row of this name.

        Raises:
            InputError: there is none; the message suggests the nearest name.
        """
        if name in self:
            return self._rows[name]
        raise unknown(self.what, name, tuple(self))

    def __contains__(self, name: object) -> bool:
        if name not in self._rows:
            load_plugins()
        return name in self._rows

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise KeyError(name)
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(tuple(self._rows))

    def __len__(self) -> int:
        load_plugins()
        return len(self._rows)


def unknown(what: str, name: str, names: Sequence[str]) -> InputError:
    """The error that nothing of this kind is called so, with the nearest of the ``names`` there are."""
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    return InputError(f"there is no {what} called {name!r}", f"{hint} {', '.join(names)}")


def load_plugins() -> None:
    """Import every installed plugin, once; a warning names those that fail."""
    global _loaded
    if _loaded:
        return
    _loaded = True  # before the loop: a plugin may look something up while it is imported
    for plugin in entry_points(group=PLUGINS):
        try:
            plugin.load()
        except Exception as error:  # whatever it was, crsdun works without the plugin
            warnings.warn(f"the plugin {plugin.name} ({plugin.value}) could not be loaded: {error}", stacklevel=2)


_loaded = False
