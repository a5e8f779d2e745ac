"""Answers that every server of ours gives alike."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from crsdun.typed import finite


class Json(Response):
    """A JSON value in ASCII; NaN and infinity, which JSON does not have, are null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(finite(content), allow_nan=False).encode()
