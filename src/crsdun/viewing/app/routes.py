"""What each request of the page does."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from crsdun.errors import InputError
from crsdun.viewing.app import pictures, spectra
from crsdun.viewing.app.payloads import state_payload
from crsdun.viewing.app.requests import (
    AttentionRequest,
    DecodeRequest,
    OpenRequest,
    PictureRequest,
    SimulateRequest,
    SpectraRequest,
    Values,
    parse_json,
)
from crsdun.viewing.app.uploads import receive
from crsdun.viewing.app.wording import page_message
from crsdun.viewing.app.workspace import Workspace, plain_name

PAGE = Path(__file__).parent / "page"
CHART = Path(__file__).parent.parent / "templates" / "chart.js"  # which reports have too
MOST_JSON = 1 << 20  # bytes of a request


def routes() -> list[BaseRoute]:
    return [
        Route("/", front),
        Route("/page/chart.js", lambda _: FileResponse(CHART)),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/api/workspace", enter, methods=["POST"]),
        Route("/api/state", state),
        Route("/api/job", job),
        Route("/api/picture", picture),
        Route("/api/classes", classes),
        Route("/api/spectra", spectra_json, methods=["POST"]),
        Route("/api/spectra.csv", spectra_csv),
        Route("/api/attention", attention),
        Route("/api/files/{name}", upload, methods=["PUT"]),
        Route("/api/open", open_scene, methods=["POST"]),
        Route("/api/decode", decode, methods=["POST"]),
        Route("/api/simulate", simulate, methods=["POST"]),
        Route("/api/cancel", cancel, methods=["POST"]),
        Route("/api/forget", forget, methods=["POST"]),
        Route("/api/downloads", downloads),
        Route("/api/download/{file:path}", download),
    ]


# -- visitors and their tabs ------------------------------------------------------------------------------------


async def front(request: Request) -> Response:
    """The page; whoever comes by the link is admitted and sent on to the address without the key."""
    config, store = request.app.state.config, request.app.state.store
    key, known = request.query_params.get("key"), store.knows(request.cookies.get(config.cookie))
    if key is not None and secrets.compare_digest(key.encode(), config.key.encode()):
        response = RedirectResponse("/", 303)
        if not known:
            response.set_cookie(config.cookie, store.admit(), httponly=True, samesite="lax")
        return response
    if not known:
        return PlainTextResponse("Open the link that crsdun app printed: it holds the key to this explorer.\n", 403)
    return FileResponse(PAGE / "index.html")


async def enter(request: Request) -> Response:
    """The id of this tab's workspace: the one it had, as after a reload, or a new one."""
    known = (await _values(request)).text("id")
    visitor, store = _visitor(request), request.app.state.store
    if store.find(visitor, known) is None:
        known = await run_in_threadpool(store.create, visitor)
    return JSONResponse({"id": known})


def _visitor(request: Request) -> str:
    visitor = request.cookies.get(request.app.state.config.cookie)
    if visitor is None or not request.app.state.store.knows(visitor):
        raise InputError("this browser has not been admitted", "open the link that crsdun app printed again")
    return visitor


def _find_workspace(request: Request) -> Workspace | None:
    workspace_id = request.headers.get("x-crsdun-workspace") or request.query_params.get("workspace")
    return request.app.state.store.find(request.cookies.get(request.app.state.config.cookie), workspace_id)


def _workspace(request: Request) -> Workspace:
    _visitor(request)
    workspace = _find_workspace(request)
    if workspace is None:
        raise InputError("this tab was closed to make room for others", "reload the page to start again")
    return workspace


async def _values(request: Request) -> Values:
    """The JSON object of a request."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON:
            raise InputError(f"the request is longer than {MOST_JSON} bytes")
    return Values(parse_json(body))


async def input_error(request: Request, error: Exception) -> Response:
    """The exception handler for what a person can put right."""
    workspace = _find_workspace(request)
    return JSONResponse({"error": page_message(error, workspace.folders if workspace else ())}, 400)


# -- looking ----------------------------------------------------------------------------------------------------


def state(request: Request) -> Response:
    return JSONResponse(asdict(state_payload(_workspace(request))))


def picture(request: Request) -> Response:
    scene = _workspace(request).current()
    return _picture(pictures.render(scene, PictureRequest.parse(Values(request.query_params))))


def attention(request: Request) -> Response:
    scene = _workspace(request).current()
    return _picture(pictures.attention(scene, AttentionRequest.parse(Values(request.query_params))))


def _picture(rendered: pictures.Picture) -> Response:
    legend = json.dumps(asdict(rendered.legend))  # in ASCII, all that a header may hold
    return Response(rendered.png(), media_type="image/png", headers={"x-legend": legend})


def classes(request: Request) -> Response:
    query = PictureRequest.parse(Values(request.query_params))
    labels = pictures.class_bytes(_workspace(request).current(), query.layer, query.stage)
    return Response(labels.tobytes(), media_type="application/octet-stream")


async def spectra_json(request: Request) -> Response:
    scene, wanted = _workspace(request).current(), SpectraRequest.parse(await _values(request))
    regions = spectra.spectra_at(scene, wanted)
    return JSONResponse([{name: asdict(spectrum) for name, spectrum in region.items()} for region in regions])


def spectra_csv(request: Request) -> Response:
    query: dict[str, Any] = dict(request.query_params)
    query["points"] = parse_json(query.get("points", "[]"))
    text = spectra.spectra_csv(_workspace(request).current(), SpectraRequest.parse(Values(query)))
    return PlainTextResponse(text, media_type="text/csv", headers=_attachment("spectra.csv"))


# -- doing ------------------------------------------------------------------------------------------------------


async def upload(request: Request) -> Response:
    workspace = _workspace(request)
    announced = Values(request.headers).whole("content-length", None)
    path = await receive(request.path_params["name"], request.stream(), workspace.folder, workspace.room(), announced)
    return JSONResponse(asdict(await run_in_threadpool(workspace.add_file, path)))


async def open_scene(request: Request) -> Response:
    workspace, wanted = _workspace(request), OpenRequest.parse(await _values(request))
    await run_in_threadpool(workspace.open, wanted)
    return JSONResponse({})


async def decode(request: Request) -> Response:
    workspace, wanted = _workspace(request), DecodeRequest.parse(await _values(request))
    return JSONResponse(asdict(workspace.decode(wanted)))


async def simulate(request: Request) -> Response:
    workspace, wanted = _workspace(request), SimulateRequest.parse(await _values(request))
    return JSONResponse(asdict(await run_in_threadpool(workspace.simulate, wanted)))


def job(request: Request) -> Response:
    current = _workspace(request).job
    return JSONResponse({"job": current and asdict(current.status())})


def cancel(request: Request) -> Response:
    _workspace(request).cancel()
    return JSONResponse({})


def forget(request: Request) -> Response:
    _workspace(request).forget()
    return JSONResponse({})


# -- downloading ------------------------------------------------------------------------------------------------


def downloads(request: Request) -> Response:
    """Names and sizes of the files of a result."""
    folder = _workspace(request).result_folder(request.query_params.get("layer", ""))
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return JSONResponse([{"name": path.name, "bytes": path.stat().st_size} for path in files])


def download(request: Request) -> Response:
    """One file of a result, or ``everything.zip``."""
    workspace, name = _workspace(request), request.path_params["file"]
    layer = request.query_params.get("layer", "")
    folder = workspace.result_folder(layer)
    if name == "everything.zip":
        archive = workspace.folder / f"{folder.name}.zip"
        if not archive.exists():
            shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parent, folder.name)
        return FileResponse(archive, headers=_attachment(f"{plain_name(layer)}.zip"))
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise InputError(f"there is no file {name!r} in this result")
    return FileResponse(path, headers=_attachment(name))


def _attachment(name: str) -> dict[str, str]:
    ascii_name = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    return {"content-disposition": f'attachment; filename="{ascii_name}"'}
