"""Where a server listens."""

from __future__ import annotations

import errno
import socket

from crsdun.errors import InputError


def address(host: str, port: int) -> str:
    """What a browser is told of a server, without a path; an address of IPv6 stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; ``port`` 0 takes any free one.

    It names its protocol, because asyncio turns off Nagle's algorithm (40 ms for each answer) only on such sockets.

    Raises:
        InputError: the address or the port cannot be had.
    """
    unknown = InputError(f"{host!r} is not an address of this machine", "choose another <host>")
    if not host:
        raise unknown
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError, OverflowError) as error:
        listener.close()
        nowhere = isinstance(error, socket.gaierror | UnicodeError)
        if nowhere or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            raise unknown from error
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host}, port {port} ({reason})", "choose another <port>") from error
    return listener
