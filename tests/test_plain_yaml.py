"""YAML as people mean it."""

import math

import pytest

from crsdun.plain_yaml import NotYamlError, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-012", -12),
        ("+7", 7),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", 1000),
        ("0b11", "0b11"),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2026-11-30", "2026-11-30"),
        (".", "."),
        ("-", [None]),
        ("'010'", "010"),
        ("true", True),
        ("~", None),
        ("a: &b {c: 1}\nd: {<<: *b, c: 2}\ne: *b", {"a": {"c": 1}, "d": {"c": 2}, "e": {"c": 1}}),
    ],
)
def test_plain_values(text, value):
    parsed = parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert parse_yaml(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "has the key 'a' twice, on line 1 and 3"),
        ("rows:\n  A: {x: 1}\n  B: {x: 1, 'x': 2}", "has the key 'x' twice, on line 3"),
        ("a: [1", "is not valid YAML from line 1 on"),
        ("!!python/object:os.system {}", "is not valid YAML from line 1 on"),
        (b"a: \xff", "is not valid YAML"),
        ("9" * 5000, "is not valid YAML"),
    ],
)
def test_what_is_wrong_follows_the_name_of_the_file(text, words):
    with pytest.raises(NotYamlError) as caught:
        parse_yaml(text)
    assert str(caught.value) == words
