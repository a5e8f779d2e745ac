"""How what is made below shows itself in a notebook, without knowing those above who can draw it.

The door of the package tells once who draws (``show_with``); what inherits from ``Shown`` asks when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_drawn: Callable[[Any], str] | None = None


def show_with(draw: Callable[[Any], str]) -> None:
    """What makes HTML of a ``Shown``."""
    global _drawn
    _drawn = draw


class Shown:
    """What a notebook shows as a picture instead of a line of text."""

    def _repr_html_(self) -> str | None:
        """What IPython asks for; None leaves it at the text."""
        return None if _drawn is None else _drawn(self)
