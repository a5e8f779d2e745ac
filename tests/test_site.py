"""The documentation builds without warnings, its notebooks run, and a browser fetches nothing else for it."""

import inspect
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import get_origin

import pytest

import crsdun
from crsdun.cli import COMMANDS

for needed in ("mkdocs", "material", "mkdocstrings", "nbclient", "nbconvert", "ipykernel", "latex2mathml"):
    pytest.importorskip(needed, reason="needs the extra docs")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# What a browser loads by itself; the href of a link is loaded only where it is clicked.
LOADED = {"src", "srcset", "data", "poster", "background", "style"}


class Reader(HTMLParser):
    """The words of a page, its ids, and what a browser would fetch for it from elsewhere."""

    def __init__(self, page: str):
        super().__init__()
        self.words, self.ids, self.fetched = "", set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            carried = (value or "").startswith("data:image/")  # with the page, and in base64 // is as likely as any
            loaded = not carried and (name in LOADED or (tag, name) == ("link", "href"))
            if loaded and re.search(r"(https?:)?//", value or ""):
                self.fetched.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.add(value)

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    # The notebooks are small: a second thread would mostly wait for the first.
    settings = {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(out / "ipython"), "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return out


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Reader]:
    return {str(path.relative_to(site)): Reader(path.read_text()) for path in site.rglob("*.html")}


def test_nothing_is_fetched_from_elsewhere(site, pages):
    assert len(pages) > 25
    assert {name: page.fetched for name, page in pages.items() if page.fetched} == {}
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text()), style
    # The theme's script would fetch a library to draw such diagrams.
    assert not [path for path in site.rglob("*.html") if 'class="mermaid"' in path.read_text()]


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn/a.js"></script>', '<link rel="preconnect" href="//fonts">',
        '<p style="background: url(https://a/b.png)">', '<img srcset="a.png, http://a/b.png 2x">',
    ],
)  # fmt: skip
def test_what_would_be_fetched_is_seen(page):
    assert Reader(page).fetched
    assert not Reader('<a href="https://doi.org"></a><img src="images/a.png"><script>"//"</script>').fetched


def test_formulas_stand_beside_the_code_that_computes_them(site, pages):
    page = (site / "method.html").read_text()
    assert page.count("<math") > 20
    assert "arithmatex" not in page
    assert "\\" not in re.sub(r"<(script|code).*?</\1>", "", page, flags=re.DOTALL)
    for part in (crsdun.CassiCamera.forward, crsdun.networks.Crsdun.forward):
        source = inspect.getsource(part)
        assert "".join(source.split()) in "".join(pages["method.html"].words.split())


def test_everything_public_is_in_the_reference(pages):
    for part in ("optics", "scenes", "networks", "solvers", "training", "evaluation", "runtime", "viewing"):
        module, page = import_module(f"crsdun.{part}"), pages[f"reference/{part}.html"]
        # All but constants and aliases of types.
        values = {name: getattr(module, name) for name in module.__all__}
        public = [name for name, value in values.items() if callable(value) and not get_origin(value)]
        assert public
        ids = {name: {f"crsdun.{part}.{name}", f"crsdun.{part}.{name}.{name}"} for name in public}
        assert [name for name in public if not ids[name] & page.ids] == []
    for command in COMMANDS:
        assert f"crsdun {command.__name__.split('.')[-1]}" in pages["reference/commands.html"].words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_ran_and_is_kept_without_what_it_printed(path, site, pages):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert len(list((site / "notebooks").glob(f"{path.stem}_pictures/*.png"))) >= 2
    words = pages[f"notebooks/{path.stem}.html"].words
    assert "Traceback" not in words
    assert re.search(r"PSNR \d\d\.\d\d dB|'psnr_db': \d\d\.\d", words)
