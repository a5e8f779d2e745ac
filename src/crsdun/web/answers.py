"""Answers that every server of ours gives alike."""

from __future__ import annotations

import json
import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from crsdun.typed import finite

CHUNK = 1 << 18  # bytes of a file that are read at once


class Json(Response):
    """A JSON value in ASCII; NaN and infinity, which JSON does not have, are null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(finite(content), allow_nan=False).encode()


def file_answer(path: Path, name: str, kind: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """A file as it is now: opened here, so that it is sent whole even if it is removed meanwhile.

    Args:
        name: what it is called where it is saved.
        kind: its media type; empty guesses it from the name.
        headers: besides those of a file.
    """
    file = path.open("rb")

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK):
                yield chunk

    length = str(os.fstat(file.fileno()).st_size)
    kind = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return StreamingResponse(
        chunks(), media_type=kind, headers={"content-length": length, **attachment(name), **(headers or {})}
    )


def attachment(name: str) -> dict[str, str]:
    """The header by which a browser saves an answer as a file of this name."""
    ascii_name = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    return {"content-disposition": f'attachment; filename="{ascii_name}"'}
