"""Who may talk to the explorer: its own page, opened by people who were given its link.

The key in the link opens once. It is exchanged for a cookie, whose name holds the port, and for a code that the page
exchanges for a token. Browsers send cookies to every port of a host, so to the servers of others too; the token,
which they keep for this port alone, goes into a header, and nothing is opened without it.

Another site open in the same browser must not reach it: neither by sending requests here (the Origin header gives it
away), nor by making its own name resolve to this machine (DNS rebinding; the Host header gives it away).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse

from crsdun.web.guarding import FORBIDDEN, HEADERS, Guarding
from crsdun.web.origin import foreign

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    f"{FORBIDDEN}"
)


class OneTimeKey:
    """The key of the link.

    Args:
        make: makes a key.
        announce: called with every new key, the first one and those that replace a used one.
    """

    def __init__(self, make: Callable[[], str], announce: Callable[[str], None]):
        self._make, self._announce = make, announce
        self._renew()

    def redeem(self, key: str) -> bool:
        """Whether this is the key; if so, it is replaced."""
        if not secrets.compare_digest(key.encode(), self._key.encode()):
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        self._key = self._make()
        self._announce(self._key)


class Guard(Guarding):
    """Refuses requests from elsewhere and sets the headers that isolate the page.

    Args:
        app: the application behind it.
        host: the address that the server listens on.
    """

    headers = {**HEADERS, "content-security-policy": POLICY, "cross-origin-opener-policy": "same-origin"}

    def __init__(self, app: Any, host: str):
        super().__init__(app)
        self.host = host

    def refusal(self, method: str, path: str, headers: dict[str, str]) -> Any:
        """403 with the reason; None where it is allowed."""
        reason = refusal(method, headers, self.host)
        return None if reason is None else JSONResponse({"error": reason}, 403)


def refusal(method: str, headers: dict[str, str], listening: str) -> str | None:
    """Why a request is refused; None where it is allowed."""
    elsewhere = foreign(method, headers, listening, "this explorer", "open the link that crsdun app printed")
    if elsewhere is not None:
        return elsewhere
    if method not in ("GET", "HEAD") and headers.get("x-crsdun") != "page":
        return "only the explorer's own page may change anything"
    return None
