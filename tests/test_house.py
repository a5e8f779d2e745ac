"""The rules of the house: which way the arrows point, and how fast the door opens."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import crsdun

ROOT = Path(crsdun.__file__).parent

# Each room stands above all it may import from; the ground floor is everybody's.
GROUND = {"errors", "storage", "provenance", "registry"}
ARROWS = {
    "optics": set(),
    "scenes": {"optics"},
    "solvers": {"optics"},
    "networks": {"optics", "solvers"},
    "methods": {"optics", "solvers", "networks"},
    "evaluation": {"optics", "scenes", "solvers", "networks", "methods"},
    "training": {"optics", "scenes", "solvers", "networks", "methods", "evaluation"},
    "runtime": {"optics", "scenes", "solvers", "networks", "methods", "evaluation"},
    "viewing": {"optics", "scenes", "solvers", "networks", "methods", "evaluation", "training", "runtime"},
}
ARROWS["experiments"] = {*ARROWS}
ARROWS["cli"] = {*ARROWS}
# The version is everybody's.
FOR_ALL = {"__version__"}


def imports_of_ours(source: str) -> set[str]:
    """First name behind ``crsdun`` in every import of a file, wherever in the file it stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports hide which way the arrow points"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("crsdun.")}
    return found


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path):
    folder = path.relative_to(ROOT).parts[0]
    assert imports_of_ours(path.read_text()) - FOR_ALL - GROUND <= ARROWS[folder] | {folder}


def test_the_arrow_test_sees_an_arrow_back():
    assert imports_of_ours("def f():\n    from crsdun.networks.zoo import create") == {"networks"}
    assert imports_of_ours("import crsdun.cli as c") == {"cli"}
    assert imports_of_ours("from crsdun import training") == {"training"}


def test_torch_never_enters_a_file_format():
    for path in (ROOT / "scenes").glob("*.py"):
        assert "torch" not in path.read_text(), path


def test_numbers_of_one_camera_live_nowhere():
    """Nothing knows 54 or 256: the dispersion and sizes of the paper's camera are never written into the code."""
    for folder in ("networks", "solvers", "runtime"):
        for path in (ROOT / folder).glob("*.py"):
            numbers = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert not numbers & {28, 54, 310, 256}, path


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_package_imports_in_under_a_second():
    code = "import time; t = time.perf_counter(); import crsdun; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(3)) < 1


@pytest.mark.parametrize("part", ["crsdun", "crsdun.optics", "crsdun.scenes", "crsdun.cli", "crsdun.viewing"])
def test_heavy_libraries_wait_until_they_are_used(part):
    loaded = run(f"import sys, {part}; print(*sys.modules)").split()
    assert not {"torch", "matplotlib", "scipy", "h5py", "colour", "spectral", "torchmetrics"} & set(loaded)


def test_everything_promised_at_the_door_is_there():
    for name in crsdun.__all__:
        assert getattr(crsdun, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crsdun.nothing  # noqa: B018
