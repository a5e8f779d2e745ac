"""The server of the explorer: the ASGI application, listening, and starting up."""

from __future__ import annotations

import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.applications import Starlette

from crsdun.errors import InputError
from crsdun.runtime import read_results
from crsdun.viewing.app import pictures
from crsdun.viewing.app.guard import Guard
from crsdun.viewing.app.jobs import simulate
from crsdun.viewing.app.open_scene import TRUTH
from crsdun.viewing.app.requests import PictureRequest, SimulatedCamera
from crsdun.viewing.app.routes import input_error, routes
from crsdun.viewing.app.samples import SAMPLES, read_sample
from crsdun.viewing.app.uploads import MEGABYTE
from crsdun.viewing.app.workspace_store import WorkspaceStore


@dataclass(frozen=True)
class ServerConfig:
    """How the explorer was started.

    Attributes:
        host, port: where it listens.
        paths: files and result folders of the command line, open to everybody who has the link.
        limit: bytes of the largest upload.
        key: part of the link; without it nobody gets in.
    """

    host: str
    port: int
    paths: tuple[Path, ...]
    limit: int
    key: str

    @property
    def cookie(self) -> str:
        """Browsers send cookies to every port of a host, so the port is part of the name."""
        return f"crsdun_{self.port}"


def application(config: ServerConfig) -> Guard:
    """The ASGI application."""
    store = WorkspaceStore(config.paths, config.limit)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=_warm_up, daemon=True).start()
        try:
            yield
        finally:
            store.close()

    app = Starlette(
        routes=routes(),
        exception_handlers={InputError: input_error, OSError: input_error, MemoryError: input_error},
        lifespan=lifespan,
    )
    app.state.config, app.state.store = config, store
    return Guard(app, config.host)


def start(paths: Sequence[Path], host: str, port: int, limit_mb: int, announce: Callable[[str], None]) -> None:
    """Check what was given, then listen until interrupted.

    Args:
        paths: files and result folders to open.
        port: 0 for any free one.
        limit_mb: of the largest upload.
        announce: called with the link once the port is taken.

    Raises:
        InputError: a file does not exist, a folder holds no result, or the address or the port cannot be had.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}", "check the name")
        if path.is_dir():
            read_results(path)
    if limit_mb < 1:
        raise InputError(f"a limit of {limit_mb} MB lets nothing in", "set <limit> to at least 1 MB")
    resolved = tuple(path.resolve() for path in paths)
    _serve(ServerConfig(host, port, resolved, limit_mb * MEGABYTE, secrets.token_urlsafe(16)), announce)


def _serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    import uvicorn

    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on {config.host}, port {config.port} ({error.strerror or error})",
            "choose another <port>",
        ) from error
    config = replace(config, port=listener.getsockname()[1])
    host = f"[{config.host}]" if ":" in config.host else config.host
    app = application(config)
    announce(f"http://{host}:{config.port}/?key={config.key}")
    settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(settings).run(sockets=[listener])


def _warm_up() -> None:
    """Load what the first picture needs before somebody waits for it."""
    try:
        scene = simulate(read_sample(next(iter(SAMPLES))), SimulatedCamera())
        pictures.render(scene, PictureRequest(TRUTH, None, "colour", (0,), False)).png()
    except Exception as error:  # opening the sample will report it
        print(f"crsdun: {error}", file=sys.stderr)
