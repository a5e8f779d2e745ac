"""What is written beside arrays, the attributes of data sets and the fields of headers, as texts and numbers."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Any

import numpy as np

# What writers put where there is no number.
NO_NUMBER = ("", "none", "null", "n/a")


def text_in(value: Any) -> str:
    """The text of an attribute: of a str, of bytes, or of an array of one; that of the first of several."""
    items = np.ravel(np.asarray(value, dtype=object)).tolist()
    first: Any = items[0] if items else ""
    if isinstance(first, bytes):
        try:
            first = first.decode("utf-8")
        except UnicodeDecodeError:
            first = first.decode("latin-1")
    return str(first).strip("\0 ")


def numbers_in(value: Any) -> tuple[float, ...]:
    """The numbers of an attribute, which may be stored as text, ``0, 10000``; none where it says ``none``.

    Zarr has no infinite numbers in its attributes, so xarray writes floating-point ones as the base64 of their 8
    bytes.

    Raises:
        ValueError: it says something else.
    """
    found: list[float] = []
    for item in np.ravel(np.asarray(value, dtype=object)).tolist():
        if isinstance(item, str | bytes):
            text = text_in(item)
            if text.lower() not in NO_NUMBER:
                found += map(_number, re.split(r"[\s,;]+", text.strip(",; ")))
        elif item is not None:
            found.append(float(item))
    return tuple(found)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        try:
            (value,) = struct.unpack("<d", base64.b64decode(text, validate=True))
        except (binascii.Error, struct.error):
            raise ValueError(f"{text!r} is no number") from error
        return float(value)
