"""The one error for a person: one line, with the remedy in the words of whoever shows it."""

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
