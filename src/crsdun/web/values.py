"""Values out of an HTTP request, by name and type."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from reprlib import repr as brief  # of whatever arrived, in a short message
from typing import Any, TypeVar

from crsdun.errors import InputError

MOST_STEP = 64  # pixels per band
LARGEST_WHOLE = 2.0**53  # beyond it, JavaScript's numbers are not exact
Default = TypeVar("Default", float, int, None)


def parse_json(text: bytes | str) -> Any:
    """Raises an InputError where it is not JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON") from error


class Values:
    """The values of a request by name and type; what is missing, null or empty has its default.

    Every method raises an InputError for a value of another type or outside its range.
    """

    def __init__(self, values: Any):
        if not isinstance(values, Mapping):
            raise InputError("the request is not a JSON object")
        self._values = {name: value for name, value in values.items() if value is not None and value != ""}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise InputError(f"{_label(name)} must be text, not {brief(value)}")
        return value

    def flag(self, name: str) -> bool:
        """JSON's true and false; in a query, 1 and 0."""
        value = self._values.get(name, False)
        if value not in (True, False, "1", "0"):
            raise InputError(f"{_label(name)} must be true or false, not {brief(value)}")
        return value in (True, "1")

    def number(
        self, name: str, default: Default, low: float = -math.inf, high: float = math.inf, whole: bool = False
    ) -> float | Default:
        value = self._values.get(name)
        if value is None:
            return default
        kind = "whole number" if whole else "number"
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or (whole and not number.is_integer()):
            raise InputError(f"{_label(name)} must be a {kind}, not {brief(value)}")
        if not low <= number <= high:
            raise InputError(f"{_label(name)} must lie between {low:g} and {high:g}")
        return number

    def whole(self, name: str, default: Default, low: float = -math.inf, high: float = math.inf) -> int | Default:
        number = self.number(name, default, max(low, -LARGEST_WHOLE), min(high, LARGEST_WHOLE), whole=True)
        return number if number is None else int(number)

    def values(self, name: str) -> Values | None:
        return Values(self._values[name]) if name in self else None

    def items(self, name: str) -> list[Any]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise InputError(f"{_label(name)} must be a list, not {brief(value)}")
        return value


def _label(name: str) -> str:
    return name.replace("_", " ")
