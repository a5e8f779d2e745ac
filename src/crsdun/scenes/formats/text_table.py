"""Tables as text: cells separated by commas, semicolons, tabs or spaces."""

from __future__ import annotations

import csv
from pathlib import Path

from crsdun.errors import InputError

TABLES = (".csv", ".txt")
MOST_BYTES = 32 << 20


def read_cells(path: Path, expected: str) -> tuple[list[list[str]], str]:
    """The cells of all lines, as many in each, and what separates decimals; no empty lines, no comments (#).

    Args:
        expected: what the table should hold, as the remedy of messages.

    Raises:
        InputError: there is no such file, it is too large, no text, empty, or its lines have different lengths.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 20} MB", "save the part that you need")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{path} is no text", expected)
    lines = [line for line in text.splitlines() if line.strip(" \t,;") and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path} is empty", "get it again")
    separator = max(";\t,", key=lines[0].count)
    if separator in lines[0]:
        try:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
        except csv.Error as error:
            raise InputError(f"{path} is no table ({error})", expected) from error
    else:
        rows = [line.split() for line in lines]
    while len(rows[0]) > 1 and all(len(row) == len(rows[0]) and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # a separator at the end of each line
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path} has {len(rows[0])} columns in its first line and {len(row)} in line {number}", expected
            )
    return rows, "." if separator == "," else ","
