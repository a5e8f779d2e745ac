"""The rules of the house: which way the arrows point, no circles, and how fast the door opens."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import crsdun

ROOT = Path(crsdun.__file__).parent

# From the ground up: each floor may import from those before it, never from one after it.
GROUND = (
    "version",
    "errors",
    "machine",
    "budget",
    "typed",
    "plain_yaml",
    "provenance",
    "remote",
    "storage",
    "cache",
    "native",
    "registry",
    "threads",
    "labelled",
    "showing",
    "spread",
    "tensor_file",
)
FLOORS = {
    "cluster": GROUND,
    "optics": GROUND,
    "scenes": (*GROUND, "optics"),
    "classifiers": (*GROUND, "optics", "scenes"),
    "solvers": (*GROUND, "optics"),
    "networks": (*GROUND, "optics", "solvers"),
    "methods": (*GROUND, "optics", "scenes", "solvers", "networks"),
    "evaluation": (*GROUND, "optics", "scenes", "solvers", "networks", "methods"),
    "training": (*GROUND, "optics", "scenes", "solvers", "networks", "methods", "evaluation"),
    "runtime": (*GROUND, "optics", "scenes", "classifiers", "solvers", "networks", "methods", "evaluation"),
}
FLOORS["web"] = GROUND
FLOORS["viewing"] = (*FLOORS["runtime"], "training", "runtime", "web")
FLOORS["service"] = (*FLOORS["viewing"], "viewing")
FLOORS["experiments"] = (*FLOORS["viewing"], "viewing", "cluster")
FLOORS["interop"] = FLOORS["experiments"]
FLOORS["cli"] = (*FLOORS["experiments"], "experiments", "service")
FLOORS |= {name: GROUND[:place] for place, name in enumerate(GROUND)}


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name without ``crsdun.``; a package is its ``__init__``."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, names: set[str]) -> Iterator[str]:
    """The modules among ``names`` that a file imports, wherever in the file and whatever for."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "crsdun":
                    yield alias.name.removeprefix("crsdun").removeprefix(".")
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError("relative imports hide which way the arrow points")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "crsdun":
            module = node.module.removeprefix("crsdun").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield inner if inner in names else module


@cache
def graph() -> dict[str, set[str]]:
    """Module → the modules it imports. The root only hands names on, and is everybody's door."""
    found = modules()
    return {name: set(imports(path.read_text(), set(found))) - {name} for name, path in found.items() if name != ""}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or around (Tarjan)."""
    order, low, stack, found = {}, {}, [], []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in arrows[name]:
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in arrows:
        if name not in order:
            visit(name)
    return found


@pytest.mark.parametrize("name", [name for name in modules() if name not in ("", "__main__")])
def test_arrows_point_one_way(name):
    floor = name.split(".")[0]
    imported = {other.split(".")[0] for other in graph()[name]}
    assert imported <= {*FLOORS[floor], floor}, f"{name} imports from a floor above it"


def test_there_is_no_circle_not_even_inside_a_folder():
    assert circles(graph()) == []


def test_the_tests_of_the_house_see_what_they_should():
    names = {"networks", "networks.zoo", "cli", "training", "errors"}
    assert list(imports("def f():\n    from crsdun.networks.zoo import create", names)) == ["networks.zoo"]
    assert list(imports("from crsdun.networks import zoo, create", names)) == ["networks.zoo", "networks"]
    assert list(imports("import crsdun.cli as c\nfrom crsdun import training", names)) == ["cli", "training"]
    with pytest.raises(AssertionError, match="relative imports"):
        list(imports("from .zoo import create", names))
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]


def test_only_the_napari_plugin_shares_what_the_explorer_asks_and_says():
    """What belongs to a page is its own; what others need of it lies one floor below."""
    for name, imported in graph().items():
        shared = {each for each in imported if each.startswith("viewing.app.")}
        if not name.startswith(("viewing.app", "cli.app")):
            allowed = {"viewing.app.requests", "viewing.app.wording"} if name.startswith("interop.napari") else set()
            assert shared <= allowed, name


@pytest.mark.parametrize("package", ["web", "viewing.app"])
def test_the_list_of_a_package_names_all_its_modules(package):
    said = ast.get_docstring(ast.parse(modules()[package].read_text()))
    inner = {name.removeprefix(f"{package}.") for name in modules() if name.startswith(f"{package}.")}
    assert {name for name in inner if f"``{name}``" not in said} == set()


def test_torch_never_enters_a_file_format():
    for path in (ROOT / "scenes").rglob("*.py"):
        assert "torch" not in path.read_text(), path


def test_tensors_are_read_in_one_place():
    """Others read headers alone."""
    for path in ROOT.rglob("*.py"):
        assert ".get_tensor(" not in path.read_text() or path.name == "tensor_file.py", path


def test_numbers_of_one_camera_live_nowhere():
    """Nothing knows 54 or 256: the dispersion and sizes of the paper's camera are never written into the code."""
    for folder in ("networks", "solvers", "methods", "runtime"):
        for path in (ROOT / folder).glob("*.py"):
            numbers = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert not numbers & {28, 54, 310, 256}, path


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_package_imports_in_under_a_second():
    code = "import time; t = time.process_time(); import crsdun; print(time.process_time() - t)"
    assert min(float(run(code)) for _ in range(3)) < 1  # of the processor, whatever else it has to do


@pytest.mark.parametrize("part", ["crsdun", "crsdun.optics", "crsdun.scenes", "crsdun.cli", "crsdun.viewing"])
def test_heavy_libraries_wait_until_they_are_used(part):
    loaded = run(f"import sys, {part}; print(*sys.modules)").split()
    assert not {"torch", "matplotlib", "scipy", "h5py", "colour", "spectral", "torchmetrics"} & set(loaded)


def test_everything_promised_at_the_door_is_there():
    for name in crsdun.__all__:
        assert getattr(crsdun, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crsdun.nothing  # noqa: B018
