"""Tables as text: cells separated by commas, semicolons, tabs or spaces."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from crsdun.errors import InputError

TABLES = (".csv", ".txt")
MOST_BYTES = 32 << 20


class Cells(NamedTuple):
    """A table as text.

    Attributes:
        rows: the cells of each line, as many in all; without empty lines and comments (#).
        decimal: what separates decimals.
        lines: the number of each of these lines in the file, from 1; of one with line breaks in its cells, the first.
    """

    rows: list[list[str]]
    decimal: str
    lines: list[int]


def read_cells(path: Path, expected: str) -> Cells:
    """The cells of a table.

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
    told = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip(" \t,;") and not line.startswith("#")
    ]
    if not told:
        raise InputError(f"{path} is empty", "get it again")
    numbers, lines = [number for number, _ in told], [line for _, line in told]
    separator = max(";\t,", key=lines[0].count)
    if separator in lines[0]:
        rows, ends, reader = [], [0], csv.reader(lines, delimiter=separator)
        try:
            for row in reader:
                rows.append([cell.strip() for cell in row])
                ends.append(reader.line_num)
        except csv.Error as error:
            raise InputError(f"{path} is no table ({error})", expected) from error
        numbers = [numbers[end] for end in ends[:-1]]
    else:
        rows = [line.split() for line in lines]
    while len(rows[0]) > 1 and all(len(row) == len(rows[0]) and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # a separator at the end of each line
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path} has {len(rows[0])} columns in line {numbers[0]} and {len(row)} in line {number}", expected
            )
    return Cells(rows, "." if separator == "," else ",", numbers)
