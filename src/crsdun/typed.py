"""Plain values of YAML or JSON as typed objects: one strict builder for everything that is read back.

A kind of value is described by a dataclass, which is built, or by a ``TypedDict``, whose values stay a dictionary. A
message names the place of what is wrong by its dotted key, such as ``sampling.crop`` or ``stages.0.psnr_db``.
"""

from __future__ import annotations

import difflib
import errno
import json
import math
import os
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from crsdun.errors import InputError

LARGEST_INTEGER = 2**63 - 1


def typed(kind: Any, values: Any, whole: str, remedy: str = "") -> Any:
    """``values`` as ``kind``: a dataclass, a TypedDict, or any type that these consist of.

    Numbers may be written as text, as YAML 1.1 reads 1e-3. A dataclass refuses keys that it does not have; a
    TypedDict keeps them.

    Args:
        whole: what the values are, for the message about a missing key.
        remedy: for that message.

    Raises:
        InputError: a key is missing or unknown, or a value is of another type or not finite.
    """
    built = _Builder(kind, whole, remedy).build(kind, values, "")
    for key, what in _unwritable(values, ""):  # among what ``kind`` leaves open
        raise InputError(f"{key or whole} holds {what}", remedy)
    return built


def written(parse: Callable[[Any], Any], expected: str) -> dict[str, Any]:
    """The ``metadata`` of a field of a dataclass whose value may be written in ways of its own.

    Args:
        parse: the written value → that of the field; a TypeError, ValueError or LookupError refuses it. A field that
            has a default may be null as well.
        expected: what may be written, for messages.
    """
    return {"parse": parse, "expected": expected}


def read_json(kind: Any, path: Path, remedy: str) -> Any:
    """The value of a JSON file that crsdun wrote, as ``kind``.

    Raises:
        OSError: there is no such file, or it cannot be opened.
        InputError: it is not JSON, or as ``typed``; the message names the file.
    """
    if path.exists() and not path.is_file():
        raise IsADirectoryError(errno.EISDIR, "not a file", str(path))
    return parse_json(kind, path.read_bytes(), path, remedy)


def parse_json(kind: Any, text: str | bytes, path: str | os.PathLike, remedy: str) -> Any:
    """As ``read_json``, of the text that was stored in the file ``path``."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} does not hold JSON ({error or type(error).__name__})", remedy) from error
    try:
        return typed(kind, values, "it")
    except InputError as error:
        raise InputError(f"{path} was damaged or edited: {error.message}", remedy) from error


class FormatOnly(TypedDict):
    """What every format of a header has: it says whether the rest can be read."""

    format: int


def parse_versioned(kind: Any, newest: int, text: str | bytes, path: str | os.PathLike, remedy: str) -> Any:
    """As ``parse_json``, of a header whose ``format`` is at most ``newest``: that is looked at before anything else.

    Raises:
        InputError: a newer version of crsdun wrote it; or as ``parse_json``.
    """
    header = parse_json(FormatOnly, text, path, remedy)
    if header["format"] > newest:
        writer = f"crsdun {header['version']}" if "version" in header else "another crsdun"
        raise InputError(f"{path} was written by {writer}, a newer one than this", "upgrade crsdun")
    return parse_json(kind, text, path, remedy)


def finite(value: Any) -> Any:
    """A JSON value with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


class _Builder:
    """Builds values; ``root`` is the kind of the whole, whose keys are suggested in place of unknown ones."""

    def __init__(self, root: Any, whole: str, remedy: str):
        self.root, self.whole, self.remedy = root, whole, remedy

    def build(self, kind: Any, value: Any, key: str) -> Any:
        """``value`` as ``kind``; ``key`` is its place."""
        if is_dataclass(kind) or is_typeddict(kind):
            return self.section(kind, value, key)
        origin, arguments = get_origin(kind), get_args(kind)
        if kind is Any:
            return value
        if origin in (Union, types.UnionType):
            if value is None:
                return None
            *others, last = (argument for argument in arguments if argument is not type(None))
            for inner in others:
                with suppress(InputError):
                    return self.build(inner, value, key)
            return self.build(last, value, key)
        if origin is Literal:
            if value not in arguments:
                raise InputError(f"{key} is one of {', '.join(arguments)}, not {_short(value)}")
            return value
        if origin in (tuple, list):
            many = origin is list or arguments[-1] is Ellipsis
            if not isinstance(value, list | tuple) or not (many or len(value) == len(arguments)):
                count = "a list of values" if many else f"{len(arguments)} values"
                key = key or self.whole
                example = (
                    f", as in [{_EXAMPLES[arguments[0]]}]"
                    if arguments[0] in _EXAMPLES and (many or len(arguments) == 2)
                    else ""
                )
                raise InputError(f"{key} takes {count}{example}, not {_short(value)}")
            kinds = arguments[:1] * len(value) if many else arguments
            # Places within a list of sections are worth naming, those within a list of numbers are not.
            nested = [f"{key}.{place}" if isinstance(each, dict) else key for place, each in enumerate(value)]
            return origin(map(self.build, kinds, value, nested))
        if kind is float and not isinstance(value, bool):
            with suppress(TypeError, ValueError, OverflowError):
                number = float(value)  # YAML 1.1 reads 1e-3, which lacks a point, as text
                if math.isfinite(number):
                    return number
        elif origin is dict and (value is None or isinstance(value, dict)):
            inner = arguments[1]
            before = f"{key}." if key else ""
            return {str(name): self.build(inner, each, f"{before}{name}") for name, each in (value or {}).items()}
        elif kind is int and isinstance(value, int) and not isinstance(value, bool):
            if abs(value) <= LARGEST_INTEGER:
                return value
        elif (
            (kind is bool and isinstance(value, bool))
            or (kind is str and isinstance(value, str) and _is_unicode(value))
            or (origin or kind) not in _NAMES
        ):
            return value
        raise InputError(f"{key or self.whole} takes {_NAMES[origin or kind]}, not {_short(value)}")

    def section(self, kind: Any, value: Any, key: str) -> Any:
        """A dataclass or TypedDict from the keys and values of one section."""
        before = f"{key}." if key else ""
        hints, ways = _hints(kind), _ways(kind)
        if not isinstance(value, dict):
            raise InputError(f"{key or self.whole} takes keys with values ({', '.join(hints)}), not {_short(value)}")
        if is_typeddict(kind):
            required = kind.__required_keys__
        else:
            required = {each.name for each in fields(kind) if each.default is each.default_factory is MISSING}
            for name in value:
                if name not in hints:
                    key = f"{before}{name}"
                    raise InputError(f"there is no key {key}", self.nearest(key, kind, before))
        for name in hints:
            if name in required and name not in value:
                raise InputError(f"{self.whole} lacks {before}{name}", self.remedy or _expected(ways.get(name)))
        built = {}
        for name in (name for name in hints if name in value):
            if name in ways and (value[name] is not None or name in required):
                built[name] = _parsed(ways[name], value[name], before + name)
            else:
                built[name] = self.build(hints[name], value[name], before + name)
        return {**value, **built} if is_typeddict(kind) else kind(**built)

    def nearest(self, key: str, kind: Any, before: str) -> str:
        """A remedy with the keys most like an unknown one: the same name in another section, or a like spelling."""
        keys = list(dict.fromkeys([*_keys(self.root), *_keys(kind, before)]))
        same = [each for each in keys if each.split(".")[-1] == key.split(".")[-1]]
        near = same or difflib.get_close_matches(key, keys, n=3, cutoff=0.5)
        return f"did you mean {' or '.join(near)}?" if near else f"the keys are {', '.join(keys)}"


def _parsed(way: Mapping[str, Any], value: Any, key: str) -> Any:
    try:
        return way["parse"](value)
    except (TypeError, ValueError, LookupError) as error:
        why = f" ({error})" if isinstance(error, InputError) else ""
        raise InputError(f"{key} cannot be {_short(value)}", _expected(way) + why) from error


def _expected(way: Mapping[str, Any] | None) -> str:
    return f"expected {way['expected']}" if way else ""


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "keys with values"}
_EXAMPLES = {int: "256, 256", float: "0.5, 0.75"}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _ways(kind: Any) -> dict[str, Mapping[str, Any]]:
    """``written`` of the fields that have a way of their own."""
    return (
        {each.name: each.metadata for each in fields(kind) if "parse" in each.metadata} if is_dataclass(kind) else {}
    )


def _keys(kind: Any, before: str = "") -> Iterator[str]:
    """Every dotted key of a section, and of the sections in it."""
    for name, hint in _hints(kind).items():
        yield before + name
        if is_dataclass(hint):
            yield from _keys(hint, f"{before}{name}.")


def _unwritable(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """What cannot be written as JSON, at any depth: its dotted key, and what it is."""
    if isinstance(value, str) and not _is_unicode(value):
        yield ascii(key)[1:-1], "half of a surrogate pair, which is not text"
    if isinstance(value, float) and not math.isfinite(value):
        yield key, "a number that is not finite"
    in_list = enumerate(value) if isinstance(value, list | tuple) else ()
    for name, each in value.items() if isinstance(value, dict) else in_list:
        inner = f"{key}.{name}" if key else str(name)
        yield from _unwritable(name, inner)
        yield from _unwritable(each, inner)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written, which half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"
