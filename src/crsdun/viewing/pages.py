"""Pages that a browser opens from disk: each is one file that needs no other, no server and no network.

What comes from files is escaped by the template engine, as text and as JSON. The page's policy allows pictures and
data that it carries itself and its own script by its hash: nothing else would run or load, whatever a name says.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shlex
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from crsdun.errors import InputError
from crsdun.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
LARGEST = 4_900_000  # bytes of a page: what an e-mail takes and a browser opens at once
MOST_SIDE = 1024  # px of a picture in a page
QUALITY = 82  # of lossy pictures


def render(name: str, data: Any, **values: Any) -> str:
    """The page of the template ``name``: ``data`` is what its script sees, ``values`` what the template writes."""
    from jinja2 import UndefinedError

    script = "".join(_text(part) for part in ("chart.js", f"{name}.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = _environment().get_template(f"{name}.html")
    parts = {"style": _text("style.css"), "script": script, "digest": digest, "version": __version__}
    try:
        return template.render(data=data, **parts, **values)
    except UndefinedError as error:
        raise InputError(
            f"the record of this folder lacks what its report tells ({error})", "make it again"
        ) from error


def picture_url(image: np.ndarray, quality: int = QUALITY) -> str:
    """A picture (H,W) or (H,W,3) uint8 as WebP inside a URL, made smaller where it is very large."""
    shown = Image.fromarray(image)
    shown.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.BOX)
    return _url(shown, "webp", quality=quality, method=2)


def exact_url(image: np.ndarray) -> str:
    """The same with the colours kept to the last bit, as PNG; no pixel is mixed with its neighbours."""
    shown = Image.fromarray(image)
    shown.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.NEAREST)
    return _url(shown, "png", optimize=True)


def file_url(path: Path, most_width: int = 1800) -> str | None:
    """The picture of a file for a page; None where there is none."""
    if not path.is_file():
        return None
    with Image.open(path) as stored:
        shown = stored.convert("RGB")
    shown.thumbnail((most_width, 16 * most_width), Image.Resampling.BOX)
    return _url(shown, "webp", quality=QUALITY, method=2)


def packed(values: np.ndarray) -> str:
    """An array of uint16 as base64 of its little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<u2").tobytes()).decode()


def hexadecimal(colour: Any) -> str:
    """A colour of three uint8 as ``#rrggbb``."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def command_line(arguments: list[str]) -> str:
    """The command as a person would type it again."""
    program, *rest = arguments or ["crsdun"]
    name = Path(program).name
    return shlex.join(["crsdun" if name in ("__main__.py", "crsdun.exe") else name, *rest])


def plain_words(value: Any) -> str:
    """A setting in a table: numbers short, lists with commas, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain_words(each)}" for name, each in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_words, value)) or "–"
    return str(value)


def _url(image: Image.Image, kind: str, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, format=kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("crsdun.viewing"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["words"] = plain_words
    return made


def _text(name: str) -> str:
    return (files("crsdun.viewing") / "templates" / name).read_text(encoding="utf-8")
