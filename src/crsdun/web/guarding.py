"""What stands before an application: it refuses requests, and sets headers of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of every answer of ours: nothing keeps it, tells others where it came from, or takes it for something else.
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# What every page of ours may not do, whatever else is allowed to it.
FORBIDDEN = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Guarding:
    """ASGI middleware; what derives from it says what is refused.

    Args:
        app: the application behind it.

    Attributes:
        headers: of every answer.
    """

    headers: Mapping[str, str] = HEADERS

    def __init__(self, app: Any):
        self.app = app

    def refusal(self, method: str, path: str, headers: dict[str, str]) -> Any:
        """The answer to a request that is refused; None where it is let in."""
        raise NotImplementedError

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # start-up and shutdown
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in self.headers.items()]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        await (self.refusal(scope["method"], scope["path"], headers) or self.app)(scope, receive, send_with_headers)
