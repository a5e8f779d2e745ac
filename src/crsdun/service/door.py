"""Who is let in: whoever brings the token; without one, programs of this machine and not the pages of other sites."""

from __future__ import annotations

import hmac
from typing import Any

from crsdun.web.answers import Json
from crsdun.web.origin import foreign

# What everybody may see: whether it runs, and how it is used.
OPEN = {"/", "/health", "/ready", "/docs", "/openapi.json"}
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Door:
    """ASGI middleware that refuses requests, and sets headers of answers.

    Args:
        app: the application behind it.
        token: to bring in the header Authorization; None asks for none.
        host: the address that the server listens on.
    """

    def __init__(self, app: Any, token: str | None, host: str):
        self.app, self.token, self.host = app, token, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        await (self.refusal(scope["method"], scope["path"], headers) or self.app)(scope, receive, send_with_headers)

    def refusal(self, method: str, path: str, headers: dict[str, str]) -> Json | None:
        """Why a request is refused; None where it is let in."""
        if self.token is None:
            way = "name it by its address, or start it with a token"
            elsewhere = foreign(method, headers, self.host, "this service", way)
            return None if elsewhere is None else Json({"error": elsewhere}, 403)
        if path in OPEN:
            return None
        scheme, _, brought = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(brought.strip().encode(), self.token.encode()):
            return None
        told = {"error": "this service asks for a token", "remedy": "send the header Authorization: Bearer TOKEN"}
        return Json(told, 401, {"www-authenticate": "Bearer"})
