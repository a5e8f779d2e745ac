"""Where a request comes from, as far as a browser gives it away.

A page of another site, open in the same browser, may send requests to a server on this machine (the Origin header
names it), or make its own name resolve to this machine (DNS rebinding; the Host header names it).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit


def foreign(method: str, headers: Mapping[str, str], listening: str, server: str, way: str) -> str | None:
    """Why a request does not come from a page of this server, nor from a program; None where it may.

    Args:
        headers: by their names in small letters.
        listening: the address that the server listens on.
        server: what it is called in the message, such as ``this explorer``.
        way: how it is reached instead, for the message.
    """
    host = headers.get("host", "")
    name = _split(f"//{host}")[1]
    if not (_is_address(name) or name in {"localhost", listening, socket.gethostname().lower()}):
        return f"{server} is not called {name!r}; {way}"
    origin = headers.get("origin")
    if origin is not None and _split(origin)[0] != host:
        return f"a page of {origin} may not use {server}"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and (
        method != "GET" or headers.get("sec-fetch-mode") != "navigate"
    ):
        return f"another page may not use {server}"
    return None


def _split(address: str) -> tuple[str, str]:
    """Host with port, and host alone, of an address; empty where it is none."""
    try:
        parts = urlsplit(address)
        return parts.netloc, parts.hostname or ""
    except ValueError:
        return "", ""


def _is_address(name: str) -> bool:
    """Whether it is a literal IP address, which no foreign domain name can pass for."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
