"""Pages that a browser opens from disk: each is a single file that needs no other file, no server and no network.

What comes from files is escaped by the template engine, as text and as JSON. The page's policy allows the pictures
and data that it carries itself, and its own script by its hash: nothing else runs or loads, whatever a name contains.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from crsdun.errors import InputError
from crsdun.evaluation import FIGURES
from crsdun.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
MAX_BYTES = 4_900_000  # of a page: what an e-mail takes and a browser opens at once
MAX_SIDE = 1024  # px of a picture in a page
QUALITY = 82  # of lossy pictures


class Tile(NamedTuple):
    """A figure in large type."""

    name: str
    value: str
    unit: str = ""


def figure_tiles(figures: Mapping[str, Any], names: Iterable[str] = FIGURES) -> list[Tile]:
    """Those of the figures called ``names`` that have a value."""
    return [
        Tile(FIGURES[name].name, FIGURES[name].number(figures[name]), FIGURES[name].unit.strip())
        for name in names
        if figures.get(name) is not None
    ]


def render(name: str, data: Any, **values: Any) -> str:
    """The page of the template ``name``: ``data`` is for its script, ``values`` are for the template.

    Raises:
        InputError: a record lacks an entry that the template shows.
    """
    from jinja2 import UndefinedError

    script = "".join(_text(part) for part in ("chart.js", f"{name}.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = _environment().get_template(f"{name}.html")
    parts = {"style": _text("style.css"), "script": script, "digest": digest, "version": __version__}
    try:
        return template.render(data=data, **parts, **values)
    except UndefinedError as error:
        raise InputError(f"the record in this folder is incomplete ({error})", "make the folder again") from error


def fragment(template: str, **values: Any) -> str:
    """What the template makes of these values: a part of a page, or a drawing, without a script."""
    return _environment().get_template(template).render(**values)


def picture_url(image: np.ndarray, quality: int = QUALITY) -> str:
    """A picture (H,W) or (H,W,3) uint8 as WebP inside a URL, reduced where it is very large."""
    reduced = Image.fromarray(image)
    reduced.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return _url(reduced, "webp", quality=quality, method=2)


def exact_url(image: np.ndarray) -> str:
    """The same as PNG, with exact colours; no pixel is mixed with its neighbours."""
    reduced = Image.fromarray(image)
    reduced.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.NEAREST)
    return _url(reduced, "png", optimize=True)


def file_url(path: Path, max_width: int = 1800) -> str | None:
    """The picture in a file as a URL; None where there is no such file."""
    if not path.is_file():
        return None
    with Image.open(path) as stored:
        reduced = stored.convert("RGB")
    reduced.thumbnail((max_width, 16 * max_width), Image.Resampling.BOX)
    return _url(reduced, "webp", quality=QUALITY, method=2)


def command_line(arguments: list[str]) -> str:
    """The command as a person would type it again."""
    program, *rest = arguments or ["crsdun"]
    name = Path(program).name
    return shlex.join(["crsdun" if name in ("__main__.py", "crsdun.exe") else name, *rest])


def plain_text(value: Any) -> str:
    """A setting in a table: numbers short, lists with commas, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain_text(each)}" for name, each in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_text, value)) or "–"
    return str(value)


def _url(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("crsdun.viewing"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["plain"] = plain_text
    return environment


def _text(name: str) -> str:
    return (files("crsdun.viewing") / "templates" / name).read_text(encoding="utf-8")
