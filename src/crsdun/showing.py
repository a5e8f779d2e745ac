"""How what is made below shows itself: in one line, and in a notebook, without knowing those above who can draw it.

The door of the package tells once who draws (``show_with``); what inherits from ``Shown`` asks when it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

_drawn: Callable[[Any], str] | None = None


def show_with(draw: Callable[[Any], str]) -> None:
    """What makes HTML of a ``Shown``."""
    global _drawn
    _drawn = draw


class Outlined:
    """What holds arrays and is printed in one line, without them; for dataclasses with ``repr=False``."""

    def _outline(self) -> Iterable[str]:
        """What the line says, in parts; empty ones are left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(filter(None, self._outline()))})"


def size_in_words(shape: Sequence[int]) -> str:
    """The size of a cube, (C,H,W)."""
    bands, height, width = shape
    return f"{bands} band{'' if bands == 1 else 's'} of {height}×{width}"


def spectrum_in_words(wavelengths: Sequence[float] | None) -> str:
    """The range of wavelengths in nm; empty where they are unknown."""
    return "" if not wavelengths else f"{min(wavelengths):g}–{max(wavelengths):g} nm"


class Shown(Outlined):
    """What a notebook shows as a picture instead of a line of text."""

    def _repr_html_(self) -> str | None:
        """What IPython asks for; None leaves it at the text."""
        return None if _drawn is None else _drawn(self)
