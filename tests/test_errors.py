"""The one error for a person: one line, with the remedy in the words of whoever shows it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crsdun.errors import InputError, UnitError


def test_python_shows_the_bare_names_of_settings():
    error = InputError("the file holds raw counts", "set <bits>, or <white> and <dark>")
    assert str(error) == "the file holds raw counts; set bits, or white and dark"
    assert (error.message, error.remedy) == ("the file holds raw counts", "set <bits>, or <white> and <dark>")
    assert isinstance(error, ValueError)


def test_each_front_end_words_the_remedy_in_its_own_controls():
    error = InputError("raw counts", "set <bits> or <white_key>")
    assert error.worded(lambda name: f"--{name.replace('_', '-')}") == "raw counts; set --bits or --white-key"
    assert error.worded(str.upper) == "raw counts; set BITS or WHITE_KEY"


def test_only_the_remedy_names_settings():
    """A message quotes what was given, and that may look like a setting."""
    error = InputError("there is no class <b>", "choose <name>, or a < b > c")
    assert error.worded(lambda name: f"[{name}]") == "there is no class <b>; choose [name], or a < b > c"


def test_a_message_may_need_no_remedy():
    assert str(InputError("a bit depth lies between 1 and 32")) == "a bit depth lies between 1 and 32"


def test_an_unknown_unit_is_an_input_error():
    with pytest.raises(InputError, match="unit 'furlong'; set wavelengths"):
        raise UnitError("unit 'furlong'", "set <wavelengths>")


SOURCES = sorted((Path(__file__).parents[1] / "src" / "crsdun").rglob("*.py"))


def texts(node: ast.expr) -> Iterator[str]:
    """What an expression says literally, in any of its branches."""
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_no_message_has_a_setting_left_over_and_every_remedy_names_it_as_one():
    """The front ends word the remedy alone, and know a setting by letters and underscores."""
    raised = 0
    for source in SOURCES:
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("InputError", "UnitError"):
                raised += 1
                message, *remedy = call.args
                for text in texts(message):
                    assert not re.search(r"<[a-z][\w-]*>", text), f"{source.name}: {text}"
                for text in texts(remedy[0]) if remedy else ():
                    assert not re.search(r"<\w+-[\w-]+>", text), f"{source.name}: {text}"
    assert raised > 300
