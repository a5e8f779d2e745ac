"""Who is let in: whoever brings the token; without one, programs of this machine and not the pages of other sites."""

from __future__ import annotations

import hmac
from typing import Any

from crsdun.web.answers import Json
from crsdun.web.guarding import FORBIDDEN, HEADERS, Guarding
from crsdun.web.origin import foreign

# What everybody may see: whether it runs, and how it is used.
OPEN = {"/", "/health", "/ready", "/docs", "/openapi.json"}
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; {FORBIDDEN}"


class Door(Guarding):
    """Refuses requests without the token, or those of other sites where there is none.

    Args:
        app: the application behind it.
        token: to bring in the header Authorization; None asks for none.
        host: the address that the server listens on.
    """

    headers = {**HEADERS, "content-security-policy": POLICY}

    def __init__(self, app: Any, token: str | None, host: str):
        super().__init__(app)
        self.token, self.host = token, host

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
