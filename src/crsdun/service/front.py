"""What each request does: the side of the service that talks HTTP."""

from __future__ import annotations

import asyncio
import errno
import shutil
import sys
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread
from litserve.utils import LitAPIStatus, ResponseBufferItem
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from crsdun.errors import InputError
from crsdun.service.config import ServiceConfig
from crsdun.service.decoder import MASK, MEASUREMENT, UNEXPECTED, Answer, Job
from crsdun.service.desk import Desk, Full
from crsdun.service.door import Door
from crsdun.service.engine import WORKERS, Connection
from crsdun.service.figures import Figures
from crsdun.service.openapi import RECONSTRUCT, document, page
from crsdun.service.settings import NotAcceptable, Settings
from crsdun.service.wording import in_json
from crsdun.storage import is_running
from crsdun.web.answers import Json, file_answer
from crsdun.web.uploads import MEGABYTE, file_name

REQUESTS = "requests"  # folder with one for each request
GONE = 499  # the status of a request whose sender did not wait; nobody reads it
MOST_FIELDS, MOST_FIELD = 32, 1 << 14  # of a form, and bytes of one
WATCH_S = 1.0  # between looks at the process that decodes
NOT_TAKEN = ("application/json", "text/")  # which hold no measurement

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Returned = TypeVar("Returned")


class TooLarge(InputError):
    """The body of a request is larger than the limit."""


class Slow(InputError):
    """The body of a request took longer than a request may take."""


class Front:
    """Answers requests; everything in one event loop.

    Args:
        config: of the service.
        folder: of the service, with one for requests and one for the processes that decode.
        connection: to these processes.
        described: the method and the cameras, as JSON.
    """

    def __init__(self, config: ServiceConfig, folder: Path, connection: Connection, described: dict[str, Any]):
        self.config, self.folder, self.connection, self.described = config, folder, connection, described
        self.desk = Desk(config.capacity, config.lanes)
        self.figures = Figures(lambda: self.desk.inside, lambda: self.workers().values())
        self.sender = ThreadPoolExecutor(1)  # each thread has a connection of its own to the queue
        document_ = document(config)
        routes = [
            Route("/", lambda _: RedirectResponse("/docs")),
            Route("/docs", lambda _: HTMLResponse(page(document_, config))),
            Route("/openapi.json", lambda _: Json(document_)),
            Route("/health", lambda _: PlainTextResponse("ok\n")),
            Route("/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/v1/service", lambda _: Json(described)),
            Route(RECONSTRUCT, self.reconstruct, methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: told, ClientDisconnect: told, Exception: told}
        self.app = Door(Starlette(routes=routes, exception_handlers=handlers), config.token, config.host)

    # -- looking ----------------------------------------------------------------------------------------------------

    def workers(self) -> dict[int, int]:
        """The processes that decode: number of the process by number of the worker."""
        files = (self.folder / WORKERS).glob("*")
        return {int(file.name): int(text) for file in sorted(files) if (text := file.read_text())}

    def ready(self, request: Request) -> Response:
        if any(is_running(process) for process in self.workers().values()):
            return PlainTextResponse("ready\n")
        return Json({"error": "no process decodes yet", "remedy": "come again soon"}, 503, {"retry-after": "2"})

    def metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.figures.registry), media_type=CONTENT_TYPE_LATEST)

    # -- decoding ---------------------------------------------------------------------------------------------------

    async def reconstruct(self, request: Request) -> Response:
        """Receive, have it decoded, send; the folder of the request lives as long as this."""
        arrived = time.monotonic()
        try:
            response = await self._reconstruct(request, arrived)
        except Exception as error:
            response = await told(request, error)
        self.figures.requests.labels(str(response.status_code)).inc()
        if response.status_code == 200:
            self.figures.seconds.observe(time.monotonic() - arrived)
        return response

    async def _reconstruct(self, request: Request, arrived: float) -> Response:
        with self.desk.place():
            announced = request.headers.get("content-length", "")
            if announced.isdecimal() and float(announced) > self.config.limit:  # however many digits
                raise self._too_large()
            folder = self.folder / REQUESTS / uuid.uuid4().hex
            folder.mkdir()
            try:
                deadline = arrived + self.config.timeout
                job = await _within(self._received(request, folder, deadline), self.config.timeout)
                answer = await self._decoded(job, request.receive)
                if answer.status != 200:
                    headers = {"retry-after": "2"} if answer.status == 503 else None
                    return Json(answer.error, answer.status, headers)
                self.desk.took(answer.seconds)
                self.figures.decoding.observe(answer.seconds)
                self.figures.batches.observe(answer.batch)
                figures = bytes(Json(answer.figures).body).decode()
                return file_answer(folder / answer.file, answer.name, answer.kind, {"crsdun-figures": figures})
            finally:
                await to_thread.run_sync(shutil.rmtree, folder, True)

    async def _received(self, request: Request, folder: Path, deadline: float) -> Job:
        """The job that a request describes, its files written into a folder."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith(NOT_TAKEN):
            raise HTTPException(415, f"a measurement is not sent as {kind}; send its file, or a form with it")
        request = Request(request.scope, self._limited(request.receive))
        given = list(request.query_params.multi_items())
        if kind == "multipart/form-data":
            given += await self._form(request, folder)
        else:
            await _save(request.stream(), folder / MEASUREMENT / "measurement")
        settings = Settings.parse(given)
        product, kind = settings.answer(request.headers.get("accept", ""))
        return Job(folder, settings, product, kind, deadline)

    async def _form(self, request: Request, folder: Path) -> Iterable[tuple[str, str]]:
        """The texts of a form; its files go into the folder."""
        texts, files = [], set()
        async with request.form(max_files=2, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    texts.append((name, value))
                    continue
                if name not in (MEASUREMENT, MASK) or name in files:
                    raise InputError(
                        f"the form has no part {name[:80]!r} for a file, or it comes twice",
                        f"there are {MEASUREMENT} and {MASK}",
                    )
                files.add(name)
                path = folder / name / (file_name(value.filename or "") or name)
                await to_thread.run_sync(_copy, value.file, path)
        if MEASUREMENT not in files:
            raise InputError(f"the form has no file {MEASUREMENT}", f"send the file as the part {MEASUREMENT}")
        return texts

    def _limited(self, receive: Receive) -> Receive:
        """The same messages, until the body is larger than the limit."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            count = len(message.get("body", b""))
            size += count
            self.figures.received.inc(count)
            if size > self.config.limit:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> TooLarge:
        most = f"{self.config.limit / MEGABYTE:.0f} MB"
        return TooLarge(f"the body is larger than {most}, the most this service takes", "crop it, or raise <limit>")

    async def _decoded(self, job: Job, receive: Receive) -> Answer:
        """The answer of the process that decodes a job, as long as somebody waits for it and there is time."""
        item, name = ResponseBufferItem(asyncio.Event()), job.folder.name
        buffer = self.connection.response_buffer
        buffer[name] = item
        message = (self.connection.response_queue_id, name, time.monotonic(), job)
        await asyncio.get_running_loop().run_in_executor(self.sender, self.connection.request_queue.put, message)
        came, gone = asyncio.ensure_future(item.event.wait()), asyncio.ensure_future(_disconnected(receive))
        process: int | None = None
        try:
            while True:
                left = job.deadline - time.monotonic()
                seconds = max(0.0, min(left, WATCH_S))
                done, _ = await asyncio.wait({came, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if came in done:
                    answer, status = item.response
                    if status != LitAPIStatus.OK:
                        raise RuntimeError(f"a job was answered with {status}: {answer}")
                    return answer
                if gone in done:
                    return Answer(GONE, {"error": "the request was withdrawn"})
                if left <= 0:
                    return Answer(504, {"error": f"decoding took longer than {self.config.timeout:g} s"})
                if process is None and item.worker_id is not None:
                    process = self.workers().get(item.worker_id)
                if process is not None and not is_running(process):
                    return Answer(
                        503,
                        {
                            "error": "the process that decoded this has ended; its memory may not suffice",
                            "remedy": "send it again; if that fails too, crop it",
                        },
                    )
        finally:
            came.cancel()
            gone.cancel()
            buffer.pop(name, None)


async def told(request: Request, error: Exception) -> Response:
    """An error as an answer."""
    if isinstance(error, Full):
        return Json(in_json(error), 429, {"retry-after": str(error.seconds)})
    if isinstance(error, InputError):
        statuses = {TooLarge: 413, Slow: 408, NotAcceptable: 406}
        # What is left of the body is not read, so the connection cannot serve another request.
        unread = isinstance(error, TooLarge | Slow)
        return Json(in_json(error), statuses.get(type(error), 400), {"connection": "close"} if unread else None)
    if isinstance(error, HTTPException):
        return Json({"error": str(error.detail)}, error.status_code, error.headers)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=GONE)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Json({"error": "the disk of the service is full", "remedy": "come again later"}, 507)
    traceback.print_exception(error, file=sys.stderr)
    return Json({"error": UNEXPECTED}, 500)


async def _within(work: Awaitable[Returned], seconds: float) -> Returned:
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise Slow(f"the body took longer than {seconds:g} s to arrive", "send it faster, or crop it") from None


async def _disconnected(receive: Receive) -> None:
    """Wait until nobody waits for the answer any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _save(chunks: Any, path: Path) -> None:
    """Write a body into a file; raises an InputError where it is empty."""
    path.parent.mkdir()
    size = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            await to_thread.run_sync(file.write, chunk)
    if not size:
        raise InputError("the request has no body", "send the file of a measurement, or a form with it")


def _copy(source: Any, path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        shutil.copyfileobj(source, file)
