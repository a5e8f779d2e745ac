"""What is installed is complete: the wheel, the conda recipe and the container files beside ``pyproject.toml``."""

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
import yaml

import crsdun

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 reads no TOML by itself")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTAINERS = sorted((ROOT / "containers").glob("*.Dockerfile"))
# Names of PyPI → those of conda-forge, where they differ.
IN_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from a copy, since building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", *PROJECT["license-files"]):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    assert file.name == f"crsdun-{crsdun.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(file)


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel):
    """Code, weights, pages, templates, C sources, data: every file of src/crsdun."""
    here = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "crsdun").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"crsdun/networks/weights/crsdun_small.safetensors", "crsdun/viewing/templates/result.html"} <= here
    assert {"crsdun/native/kernels.c", "crsdun/viewing/app/page/index.html", "crsdun/py.typed"} <= here
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert sorted(here - packed) == [], "not in the wheel: name them in tool.setuptools.package-data"
    assert sorted(packed - here) == []


def test_the_wheel_states_what_it_needs_and_offers(wheel):
    info = f"crsdun-{crsdun.__version__}.dist-info"
    told = BytesParser().parsebytes(wheel.read(f"{info}/METADATA"))
    assert (told["Requires-Python"], told["License-Expression"]) == (PROJECT["requires-python"], PROJECT["license"])
    assert set(told.get_all("Provides-Extra")) == PROJECT["optional-dependencies"].keys()
    assert "crsdun = crsdun.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"dist/{Path(wheel.filename).name}[" in (ROOT / "docs" / "installing.md").read_text()
    for name in PROJECT["license-files"]:
        assert wheel.read(f"{info}/licenses/{name}") == (ROOT / name).read_bytes()


def required(lines: list[str]) -> dict[str, str]:
    """Names of packages and their lower bounds, of requirements for pip or for conda."""
    found = (re.match(r"([\w-]+)(?:\[[\w,]+\])?\s*(>=[\w.]+)?", line) for line in lines)
    return {each[1].lower(): each[2] or "" for each in found}


def test_the_conda_recipe_asks_for_the_same():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text())
    assert recipe["context"]["version"] == crsdun.__version__
    entry_points = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == entry_points
    run = required(recipe["requirements"]["run"])
    assert run.pop("python") == PROJECT["requires-python"]
    assert run == {IN_CONDA.get(name, name): bound for name, bound in required(PROJECT["dependencies"]).items()}
    offered = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    assert required(recipe["requirements"]["run_constraints"]).items() <= required(offered).items()


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda file: file.stem)
def test_container_files_name_what_is_there(file):
    text = file.read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert copied, "it installs something else than this copy"
    for source in (each for line in copied for each in line if not each.startswith("--")):
        assert (ROOT / source).exists(), source
    extras = {extra for found in re.findall(r'"\.\[([\w,]+)\]"', text) for extra in found.split(",")}
    assert extras <= PROJECT["optional-dependencies"].keys()
    assert "constraints.txt" in text, "its versions are not those that were tested"
    assert re.search(r"^USER (?!root)\w", text, re.MULTILINE), "it runs as root"
