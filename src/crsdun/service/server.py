"""Starting the service, and ending it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import litserve
from starlette.formparsers import MultiPartParser

from crsdun.errors import InputError
from crsdun.methods import Method
from crsdun.runtime import open_method
from crsdun.service.config import AUTO, ServiceConfig
from crsdun.service.engine import WORKERS, DecodingApi
from crsdun.service.front import REQUESTS, Front
from crsdun.storage import scratch_folder
from crsdun.version import __version__
from crsdun.web.listening import address, listen
from crsdun.web.uploads import MEGABYTE

SPOOL = 1 << 20  # bytes of a form that stay in memory; LitServe, imported above, has made it all of them
LAST_ANSWERS_S = 10  # that requests may still take when the service ends
WATCH_S = 2.0  # between looks at the process that talks HTTP
MOST_CONNECTIONS = 256  # besides those of requests that are decoded or wait


def start(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """Serve until interrupted, by Ctrl-C or SIGTERM.

    Args:
        announce: called with the address once a process decodes.

    Raises:
        InputError: the method or a camera cannot be used, or the port cannot be had.
    """
    method = None if config.method == AUTO else open_method(config.method, **config.settings)
    described = describe(config, method)
    port = free_port(config)
    with scratch_folder() as folder:
        for name in (REQUESTS, WORKERS):
            (folder / name).mkdir()
        server = build(replace(config, port=port), folder, described, announce)
        ended, mute = threading.Event(), threading.Event()
        threading.Thread(target=_end_with_http, args=(server, ended, mute), daemon=True).start()
        try:
            with ended_by_signals(server):
                server.run(
                    host=config.host,
                    port=port,
                    num_api_servers=1,
                    generate_client_file=False,
                    log_level="error",
                    access_log=False,
                    server_header=False,
                    limit_concurrency=config.capacity + MOST_CONNECTIONS,
                )
            if mute.is_set():
                raise InputError("the process that talks HTTP has ended", "start the service again")
        except RuntimeError as error:  # each process has printed why it could not begin
            raise InputError(f"no process could begin to decode ({error})", "see what is printed above") from error
        finally:
            ended.set()
            for process in getattr(server, "inference_workers", []):  # those that LitServe has left
                process.kill()


def build(
    config: ServiceConfig, folder: Path, described: dict[str, Any], announce: Callable[[str], None]
) -> litserve.LitServer:
    """LitServe's server with our own requests in place of its own; arguments as for ``Front`` and ``start``."""
    MultiPartParser.spool_max_size = SPOOL
    api = DecodingApi(config, folder)
    server = litserve.LitServer(
        api,
        accelerator=config.device,
        devices="auto" if config.device == "cuda" else 1,
        workers_per_device=config.workers,
        timeout=config.timeout,
        restart_workers=True,
        disable_openapi_url=True,
    )
    server.uvicorn_graceful_timeout = LAST_ANSWERS_S
    front = Front(config, folder, api.spec, described)
    server.app.router.routes.clear()
    server.app.router.default = front.app
    server.app.user_middleware.clear()  # one that packs cubes, in the event loop
    theirs = server.app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with theirs(app) as state:
            announcing = asyncio.create_task(_announce(config, announce))
            yield state
            announcing.cancel()

    server.app.router.lifespan_context = lifespan
    return server


def describe(config: ServiceConfig, method: Method | None) -> dict[str, Any]:
    """The method, the cameras and the limits, as JSON; raises an InputError for a camera that is not told in full."""
    cameras = {}
    for name, preparation in config.cameras.items():
        told = preparation.camera_file or preparation
        bands = (preparation.camera_file, preparation.bands, preparation.wavelengths, preparation.offsets)
        known = any(each is not None for each in bands) or (told.mask is not None and told.mask.ndim == 3)
        cameras[name] = {
            "detector": list(preparation.detector_shape()) if known else None,  # as wide as the frames that come
            "wavelengths_nm": told.wavelengths,
        }
    card = None if method is None else method.card
    return {
        "version": __version__,
        "method": config.method if method is None else method.name,
        "settings": {} if method is None else method.settings,
        "segments": None if method is None else bool(method.class_count),
        "class_names": card and card.class_names,
        "wavelengths_nm": card and card.wavelengths,
        "cameras": cameras,
        "limits": {
            "megabytes": config.limit // MEGABYTE,
            "seconds": config.timeout,
            "requests_inside": config.capacity,
            "batch": config.batch if method is not None and method.batches else 1,
        },
    }


def free_port(config: ServiceConfig) -> int:
    """The port of the service, or any free one for 0; raises an InputError where it cannot be had."""
    with listen(config.host, config.port) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def ended_by_signals(server: litserve.LitServer) -> Iterator[None]:
    """Inside the block signals end the service in order: requests that are inside are answered, for some seconds.

    LitServe on its own takes the processes that it ends on KeyboardInterrupt for dead ones, and starts them anew.
    """
    parent = os.getpid()

    def end(number: int, _: Any) -> None:
        if os.getpid() != parent:  # a child that repeats the signal by which it has ended
            sys.exit(0)
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)  # a second one ends it at once
        if server._shutdown_event is None:
            raise KeyboardInterrupt  # it has not begun
        # The event lives in another process, and this thread waits for an answer from there.
        threading.Thread(target=server._shutdown_event.set).start()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_http(server: litserve.LitServer, ended: threading.Event, mute: threading.Event) -> None:
    """End the service, and set ``mute``, where the process that talks HTTP has ended, which LitServe does not notice.

    Args:
        ended: the service has ended.
    """
    begun = False
    while not ended.wait(WATCH_S):
        talks = any(child.name.startswith("LitServer") for child in multiprocessing.active_children())
        if begun and not talks:
            with suppress(OSError, EOFError):  # the service has ended just now
                if not server._shutdown_event.is_set():
                    mute.set()
                    server._shutdown_event.set()
            return
        begun = begun or talks


async def _announce(config: ServiceConfig, announce: Callable[[str], None]) -> None:
    """Tell the address once somebody listens there; uvicorn begins to listen after it has called the application."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(config.host, config.port)
            writer.close()
            break
        await asyncio.sleep(0.05)
    announce(address(config.host, config.port))
