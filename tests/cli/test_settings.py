"""Remedies name settings in angle brackets, which the command line words as options: each of them must exist."""

import ast
import re
from pathlib import Path

import pytest

import crsdun
from crsdun.cli import parser
from crsdun.cli.printing import error_line
from crsdun.errors import SETTING, InputError

ROOT = Path(crsdun.__file__).parent
# Settings that only another front end has, and what only looks like one (HTML, groups of a pattern): file → names.
ELSEWHERE: dict[str, set[str]] = {
    "networks/hub.py": {"repository", "revision", "sha256"},
    "service/decoder.py": {"dtype"},
    "service/openapi.py": {"h1", "h2", "p", "pre", "code", "span", "html", "head", "body", "style", "title", "table"}
    | {"tr", "td", "th", "thead", "tbody"},
    "viewing/notebook.py": {"b", "br", "div"},
}
FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))


def texts(tree: ast.AST) -> list[str]:
    """Every string of a program that is not a docstring."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def options() -> set[str]:
    """Every option of every command, without its dashes."""
    names: set[str] = set()
    waiting = [parser()]
    while waiting:
        for action in waiting.pop()._actions:
            names |= {option.removeprefix("--") for option in action.option_strings}
            waiting += [*getattr(action, "choices", None).values()] if isinstance(action.choices, dict) else []
    return names


@pytest.mark.parametrize("file", [file for file in FILES if SETTING.search((ROOT / file).read_text())])
def test_every_setting_that_a_remedy_names_is_an_option(file):
    named = {name for text in texts(ast.parse((ROOT / file).read_text())) for name in SETTING.findall(text)}
    assert {name.replace("_", "-") for name in named - ELSEWHERE.get(file, set())} <= options()


@pytest.mark.parametrize(
    "file", [file for file in FILES if re.search(r"(Input|Unit)Error\(", (ROOT / file).read_text())]
)
def test_only_remedies_name_settings(file):
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "UnitError"):
            message, *remedy = ("".join(texts(each)) for each in node.args)
            assert not re.search(r"<[\w-]+>", message), node.lineno
            assert all(SETTING.fullmatch(each) for each in re.findall(r"<[\w-]+>", "".join(remedy))), node.lineno


def test_no_remedy_outside_the_command_line_speaks_of_options():
    """Whole commands to type, as in ``crsdun data make produce --out``, are the exception."""
    for file in FILES:
        if file.startswith("cli/"):
            continue
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "UnitError"):
                for words in map("".join, map(texts, node.args)):
                    assert "crsdun " in words or not re.search(r"(^|\s)--\w", words), (file, node.lineno)


def test_a_remedy_is_worded_for_each_front_end():
    error = InputError("these are counts", "set <bits>, or give <mask_key>")
    assert error_line(error) == "these are counts; set --bits N, or give --mask-key"
    assert str(error) == "these are counts; set bits, or give mask_key"
