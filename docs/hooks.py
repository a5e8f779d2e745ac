"""What the site has besides the pages of this folder, made while mkdocs builds it so that nothing grows stale.

Files of the repository that are pages too, the commands as they describe themselves, the API reference, notebooks
with what they print today, the source of whatever a page asks for, and formulas as MathML, which needs no script.
"""

import argparse
import html
import inspect
import re
import tempfile
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from pkgutil import resolve_name
from types import ModuleType

import latex2mathml.converter
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

import crsdun
from crsdun.cli import parser

ROOT = Path(__file__).parents[1]

# Files and folders of the repository → their pages. Links to the former lead to the latter.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "NOTICE": "notice.md",
    "CITATION.cff": "citation.md",
    "configs": "configs.md",
    "examples": "examples.md",
    "src/crsdun/networks/weights/crsdun_small.md": "crsdun_small.md",
    "src/crsdun/networks/weights/crsdun_tiny.md": "crsdun_tiny.md",
    "src/crsdun/networks/weights/earlier/crsdun_small_1.md": "crsdun_small_1.md",
    "src/crsdun/networks/weights/earlier/crsdun_tiny_1.md": "crsdun_tiny_1.md",
    "src/crsdun/solvers/weights/coefficient_denoiser.md": "denoiser.md",
}
PARTS = [name for name in crsdun.__all__ if isinstance(getattr(crsdun, name), ModuleType)]
PRIVATE = Config({"KernelManager": {"transport_encryption": "auto"}})  # what a notebook and its kernel say
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


# -- what mkdocs calls ---------------------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here; a notebook's page takes its place."""
    made: dict[str, str | bytes] = {page: repository_page(ROOT / origin) for origin, page in PAGES.items()}
    made |= {f"reference/{part}.md": reference_page(f"crsdun.{part}") for part in PARTS}
    made["reference/commands.md"] = commands_page()
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            made |= notebook_page(file.src_uri, file.content_string)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages of the site; ``::source NAME`` becomes the source of that object."""
    folder = PurePosixPath(page.file.src_uri).parent
    up = "../" * len(folder.parts)
    # In the repository, this folder is docs/.
    home = "" if page.file.src_uri in PAGES.values() else f"{up}../"
    for origin, made in PAGES.items():
        markdown = re.sub(rf"\]\({re.escape(home + origin)}/?(#[^)]*)?\)", rf"]({up}{made}\1)", markdown)
    if not home:
        markdown = re.sub(r"\]\((\.\./)*docs/", "](", markdown)
    markdown = re.sub(r"(\]\([^):]+)\.ipynb\)", r"\1.md)", markdown)
    return re.sub(r"^::source (\S+)$", lambda found: source(found[1]), markdown, flags=re.MULTILINE)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas that ``pymdownx.arithmatex`` has found, as MathML."""
    return FORMULA.sub(mathml, content)


# -- what is made --------------------------------------------------------------------------------------------------


def repository_page(path: Path) -> str:
    """A file of the repository, or all files of a folder, as Markdown."""
    if path.suffix == ".md":
        return path.read_text()
    if path.is_file():
        return f"# {path.name}\n\n{fence(path)}"
    parts = [f"## {file.name}\n\n{fence(file)}" for file in sorted(path.iterdir()) if file.is_file()]
    return "\n".join([f"# {path.name.capitalize()}\n", *parts])


def fence(path: Path) -> str:
    language = {".py": "python", ".yaml": "yaml", ".cff": "yaml"}.get(path.suffix, "text")
    return f"```{language}\n{path.read_text().rstrip()}\n```\n"


def source(name: str) -> str:
    """The source of ``module:object`` under its path; a name that is gone fails the build."""
    found = resolve_name(name)
    found = getattr(found, "func", getattr(found, "fget", found))  # what a property computes
    found = inspect.unwrap(found)  # what a decorator calls
    path = Path(inspect.getsourcefile(found) or "").relative_to(Path(crsdun.__file__).parents[1])
    return f'```python title="{path}"\n{textwrap.dedent(inspect.getsource(found)).rstrip()}\n```'


def mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return latex2mathml.converter.convert(html.unescape(found[2]).strip(), display=display)


def reference_page(module: str) -> str:
    """What is public in a module; what has the name of a submodule hides behind that, and is asked for by itself."""
    hidden = [name for name in import_module(module).__all__ if find_spec(f"{module}.{name}")]
    shown = "\n    options: {show_root_heading: true, show_root_full_path: false, show_root_toc_entry: true}"
    return "\n\n".join([f"# {module}", f"::: {module}", *(f"::: {module}.{name}.{name}{shown}" for name in hidden)])


def commands_page() -> str:
    """Every command as ``--help`` tells it."""
    return "# Commands\n\n" + "\n".join(
        f"## {command.prog}\n\n```text\n{command.format_help().rstrip()}\n```\n" for command in commands(parser())
    )


def commands(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that do something."""
    below = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield top
    for command in below:
        for each in command.choices.values():
            yield from commands(each)


@cache
def notebook_page(uri: str, content: str) -> dict[str, str | bytes]:
    """A notebook, run now in an empty folder, as a page with its pictures; an error in a cell fails the build."""
    notebook = nbformat.reads(content, as_version=4)
    with tempfile.TemporaryDirectory(prefix="crsdun-") as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=where, config=PRIVATE).execute()
    page = PurePosixPath(uri).with_suffix("")
    exporter = MarkdownExporter()
    markdown, made = exporter.from_notebook_node(notebook, {"output_files_dir": f"{page.name}_pictures"})
    return {f"{page}.md": markdown} | {f"{page.parent}/{name}": data for name, data in made["outputs"].items()}
