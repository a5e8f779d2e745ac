"""The server of the explorer: the ASGI application, listening, and starting up."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect

from crsdun.errors import InputError
from crsdun.runtime import read_results
from crsdun.scenes.formats import is_result_folder, open_arrays
from crsdun.viewing.app import pictures
from crsdun.viewing.app.guard import Guard, OneTimeKey
from crsdun.viewing.app.jobs import simulate
from crsdun.viewing.app.open_scene import TRUTH
from crsdun.viewing.app.requests import PictureRequest, SimulatedCamera
from crsdun.viewing.app.routes import disconnected, input_error, routes
from crsdun.viewing.app.samples import SAMPLES, read_sample
from crsdun.viewing.app.workspace_store import WorkspaceStore
from crsdun.web.listening import address, listen
from crsdun.web.uploads import LARGEST_LIMIT_MB, MEGABYTE

# Pictures, spectra and files that are worked on at once: each may need several times the memory of its cube.
MOST_AT_ONCE = 2


@dataclass(frozen=True)
class ServerConfig:
    """How the explorer was started.

    Attributes:
        host, port: where it listens.
        paths: files and result folders of the command line, open to everybody who was let in.
        limit: bytes of the largest upload.
        make_key: makes the key of each link.
        announce: called with each link; a new one replaces a link that was used.
    """

    host: str
    port: int
    paths: tuple[Path, ...]
    limit: int
    make_key: Callable[[], str] = field(default=lambda: secrets.token_urlsafe(16))
    announce: Callable[[str], None] = field(default=lambda link: None)

    @property
    def cookie(self) -> str:
        """Browsers send cookies to every port of a host, so the port is part of the name."""
        return f"crsdun_{self.port}"

    def announce_key(self, key: str) -> None:
        self.announce(f"{address(self.host, self.port)}/?key={key}")


def application(config: ServerConfig) -> Guard:
    """The ASGI application."""
    store = WorkspaceStore(config.paths, config.limit)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        app.state.limiter = CapacityLimiter(MOST_AT_ONCE)
        threading.Thread(target=_warm_up, daemon=True).start()
        try:
            yield
        finally:
            store.close()

    app = Starlette(
        routes=routes(),
        exception_handlers={
            InputError: input_error,
            OSError: input_error,
            MemoryError: input_error,
            ClientDisconnect: disconnected,
        },
        lifespan=lifespan,
    )
    app.state.config, app.state.store = config, store
    app.state.key = OneTimeKey(config.make_key, config.announce_key)
    return Guard(app, config.host)


def start(paths: Sequence[Path], host: str, port: int, limit_mb: int, announce: Callable[[str], None]) -> None:
    """Check what was given, then listen until interrupted.

    Args:
        paths: files and result folders to open.
        port: 0 for any free one.
        limit_mb: of the largest upload.
        announce: called with the link once the port is taken, and with another one whenever a link has been used.

    Raises:
        InputError: a file does not exist, a folder holds neither a result nor a scene, or the address or the port
            cannot be had.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}", "check the name")
        if is_result_folder(path):
            read_results(path)
        elif path.is_dir():
            open_arrays(path)
    if not 1 <= limit_mb <= LARGEST_LIMIT_MB:
        raise InputError(f"the limit is 1 to {LARGEST_LIMIT_MB:,} MB, not {limit_mb}", "set another <limit>")
    resolved = tuple(path.resolve() for path in paths)
    _serve(ServerConfig(host, port, resolved, limit_mb * MEGABYTE, announce=announce))


def _serve(config: ServerConfig) -> None:
    import uvicorn

    listener = listen(config.host, config.port)
    config = replace(config, port=listener.getsockname()[1])
    settings = uvicorn.Config(application(config), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(settings).run(sockets=[listener])


def _warm_up() -> None:
    """Load what the first picture needs before somebody waits for it."""
    try:
        scene = simulate(read_sample(next(iter(SAMPLES))), SimulatedCamera())
        for mode in ("colour", "band"):
            pictures.render(scene, PictureRequest(TRUTH, None, mode, (0,))).png()
    except Exception as error:  # opening the sample will report it
        print(f"crsdun: {error}", file=sys.stderr)
