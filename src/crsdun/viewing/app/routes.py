"""What each request of the page does."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from anyio import to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from crsdun.errors import InputError
from crsdun.viewing import region_files
from crsdun.viewing.app import pictures, spectra
from crsdun.viewing.app.jobs import fitting_weights
from crsdun.viewing.app.open_scene import OpenScene
from crsdun.viewing.app.payloads import state_payload
from crsdun.viewing.app.references import references as read_references
from crsdun.viewing.app.requests import (
    AttentionRequest,
    ClassifyRequest,
    DecodeRequest,
    OpenRequest,
    PictureRequest,
    ReferencesRequest,
    SimulateRequest,
    SpectraRequest,
)
from crsdun.viewing.app.uploads import receive
from crsdun.viewing.app.wording import page_message
from crsdun.viewing.app.workspace import StaleRequest, Workspace
from crsdun.viewing.regions import Region, check_region
from crsdun.web.answers import Json, attachment, file_answer
from crsdun.web.archives import plain_name
from crsdun.web.values import Values, parse_json

PAGE = Path(__file__).parent / "page"
CHART = Path(__file__).parent.parent / "templates" / "chart.js"  # which reports have too
MOST_JSON = 1 << 20  # bytes of a request
MOST_REGIONS_FILE = 1 << 23


def routes() -> list[BaseRoute]:
    return [
        Route("/", front),
        Route("/page/chart.js", lambda _: FileResponse(CHART)),
        Mount("/page", StaticFiles(directory=PAGE)),
        _post("/api/token", token),
        _post("/api/workspace", enter),
        Route("/api/state", state),
        Route("/api/job", job),
        _limited("/api/picture", picture),
        _limited("/api/value", value),
        _limited("/api/classes", classes),
        _post("/api/spectra", spectra_json, limited=True),
        _post("/api/spectra.csv", spectra_csv, limited=True),
        _post("/api/attention", attention, limited=True),
        Route("/api/regions", read_regions, methods=["PUT"]),
        _post("/api/regions.geojson", regions_geojson, limited=True),
        _post("/api/regions.txt", regions_envi, limited=True),
        _post("/api/references", references, limited=True),
        Route("/api/files/{name}", upload, methods=["PUT"]),
        _post("/api/fit", fit, limited=True),
        _post("/api/open", open_scene, limited=True),
        _post("/api/decode", decode),
        _post("/api/refine", refine),
        _post("/api/simulate", simulate),
        _post("/api/classify", classify),
        _limited("/api/classifier", classifier),
        _post("/api/cancel", cancel),
        _post("/api/forget", forget),
        _limited("/api/downloads", downloads),
        _limited("/api/download/{file:path}", download),
    ]


def _limited(path: str, function: Callable[[Request], Response]) -> Route:
    """A request that takes memory and time: in a thread, and only a few of them at once."""

    async def endpoint(request: Request) -> Response:
        return await _run(request, partial(function, request))

    return Route(path, endpoint)


def _post(path: str, function: Callable[[Request, Values], Any], limited: bool = False) -> Route:
    """A request with a JSON object; ``function`` returns the answer, or the JSON value of it."""

    async def endpoint(request: Request) -> Response:
        work = partial(function, request, await _values(request))
        answer = await (_run(request, work) if limited else run_in_threadpool(work))
        return answer if isinstance(answer, Response) else Json(answer)

    return Route(path, endpoint, methods=["POST"])


def _run(request: Request, work: Callable[[], Any]) -> Awaitable[Any]:
    def quietly() -> Any:
        with np.errstate(all="ignore"):  # extreme values of a file are shown
            return work()

    return to_thread.run_sync(quietly, limiter=request.app.state.limiter)


async def _values(request: Request) -> Values:
    """The JSON object of a request."""
    return Values(parse_json(await _body(request, MOST_JSON)))


async def _body(request: Request, most: int) -> bytes:
    """What a request brings; raises an InputError where it is more than ``most`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise InputError(f"the request is longer than {most} bytes")
    return bytes(body)


async def input_error(request: Request, error: Exception) -> Response:
    """The exception handler for what a person can put right."""
    workspace = _find_workspace(request)
    message = page_message(error, workspace.folders if workspace else ())
    return Json({"error": message}, 409 if isinstance(error, StaleRequest) else 400)


async def disconnected(request: Request, error: Exception) -> Response:
    """The exception handler for a browser that went away while it was sending; nobody reads the answer."""
    return Response(status_code=400)


# -- visitors and their tabs ------------------------------------------------------------------------------------


def front(request: Request) -> Response:
    """The page; whoever comes by the link is let in and sent on to the address without the key."""
    config, store, key = request.app.state.config, request.app.state.store, request.app.state.key
    visitor, given = request.cookies.get(config.cookie), request.query_params.get("key")
    if given is not None and request.method == "GET" and key.redeem(given):
        cookie, code = store.admit(visitor)
        response = RedirectResponse(f"/#code={code}", 303)  # the page takes it out of the address at once
        response.set_cookie(config.cookie, cookie, httponly=True, samesite="lax")
        return response
    if not store.knows(visitor):
        text = "Open the latest link that crsdun app printed: it holds the key to this explorer, and works once.\n"
        return PlainTextResponse(text, 403)
    return RedirectResponse("/", 303) if given is not None else FileResponse(PAGE / "index.html")


def token(request: Request, values: Values) -> dict[str, str]:
    """The token of a visitor, for the code with which the page was opened."""
    exchanged = request.app.state.store.exchange(_visitor(request), values.text("code"))
    if exchanged is None:
        raise InputError("this code has been used", "open the latest link that crsdun app printed")
    return {"token": exchanged}


def enter(request: Request, values: Values) -> dict[str, str]:
    """The id of this tab's workspace: the one it had, as after a reload, or a new one."""
    known, visitor, store = values.text("id"), _visitor(request), request.app.state.store
    if not store.owns(visitor, request.headers.get("x-crsdun-token", "")):
        raise InputError("this page was not opened by its link", "open the latest link that crsdun app printed")
    return {"id": known if store.find(visitor, known) is not None else store.create(visitor)}


def _visitor(request: Request) -> str:
    visitor = request.cookies.get(request.app.state.config.cookie)
    if visitor is None or not request.app.state.store.knows(visitor):
        raise InputError("this browser has not been admitted", "open the link that crsdun app printed last")
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


def _version(request: Request) -> int | None:
    """Which version of its workspace a request speaks of."""
    version = request.headers.get("x-crsdun-version") or request.query_params.get("version")
    return Values({"version": version}).whole("version", None)


# -- looking ----------------------------------------------------------------------------------------------------


def state(request: Request) -> Response:
    return Json(asdict(state_payload(_workspace(request))))


def picture(request: Request) -> Response:
    scene = _workspace(request).current(_version(request))
    return _picture(pictures.render(scene, PictureRequest.parse(Values(request.query_params))))


def value(request: Request) -> Response:
    """The value at ``top`` and ``left`` of what a picture shows, and of what; null for colours."""
    scene, query = _workspace(request).current(_version(request)), Values(request.query_params)
    shown = pictures.value_map(scene, PictureRequest.parse(query))
    if shown is None:
        return Json({"value": None, "text": ""})
    height, width = shown.values.shape
    top, left = query.whole("top", 0, 0, height - 1), query.whole("left", 0, 0, width - 1)
    return Json({"value": float(shown.values[top, left]), "text": shown.text})


def attention(request: Request, values: Values) -> Response:
    scene = _workspace(request).current(_version(request))
    return _picture(pictures.attention(scene, AttentionRequest.parse(values)))


def _picture(rendered: pictures.Picture) -> Response:
    legend = bytes(Json(asdict(rendered.legend)).body).decode()
    return Response(rendered.png(), media_type="image/png", headers={"x-legend": legend})


def classes(request: Request) -> Response:
    query = PictureRequest.parse(Values(request.query_params))
    labels = pictures.class_bytes(_workspace(request).current(_version(request)), query.layer, query.stage)
    return Response(labels.tobytes(), media_type="application/octet-stream")


def spectra_json(request: Request, values: Values) -> list[dict[str, Any]]:
    scene = _workspace(request).current(_version(request))
    regions = spectra.spectra_at(scene, SpectraRequest.parse(values))
    return [{name: asdict(spectrum) for name, spectrum in region.items()} for region in regions]


def spectra_csv(request: Request, values: Values) -> Response:
    scene = _workspace(request).current(_version(request))
    return _text(spectra.spectra_csv(scene, SpectraRequest.parse(values)), "text/csv", "spectra.csv")


async def read_regions(request: Request) -> Response:
    """The regions in a file, as points of requests."""
    scene = _workspace(request).current(_version(request))
    content = await _body(request, MOST_REGIONS_FILE)
    regions = await _run(request, partial(region_files.read_regions, content, *scene.shape[1:]))
    return Json([asdict(region) for region in regions])


def regions_geojson(request: Request, values: Values) -> Response:
    regions, _ = _regions(request, values)
    return _text(region_files.to_geojson(regions), "application/geo+json", "regions.geojson")


def regions_envi(request: Request, values: Values) -> Response:
    regions, scene = _regions(request, values)
    return _text(region_files.to_envi(regions, *scene.shape[1:]), "text/plain", "regions.txt")


def _regions(request: Request, values: Values) -> tuple[tuple[Region, ...], OpenScene]:
    scene = _workspace(request).current(_version(request))
    regions = SpectraRequest.parse(values).points
    for region in regions:
        check_region(region, *scene.shape[1:])
    return regions, scene


def references(request: Request, values: Values) -> list[dict[str, Any]]:
    workspace = _workspace(request)
    scene = workspace.current(_version(request))
    chosen = read_references(scene, workspace.libraries, ReferencesRequest.parse(values))
    return [asdict(reference) for reference in chosen]


def _text(text: str, kind: str, name: str) -> Response:
    return Response(text.encode("utf-8", "replace"), media_type=kind, headers=attachment(name))


# -- doing ------------------------------------------------------------------------------------------------------


async def upload(request: Request) -> Response:
    workspace = _workspace(request)
    announced = Values(request.headers).whole("content-length", None)
    path = await receive(request.path_params["name"], request.stream(), workspace.uploads, announced)
    return Json(asdict(await _run(request, partial(workspace.add_file, path))))


def fit(request: Request, values: Values) -> dict[str, str | None]:
    """For each of the shipped weights why they would not fit what would be opened; null where they would."""
    return fitting_weights(_workspace(request).prepare(OpenRequest.parse(values)))


def open_scene(request: Request, values: Values) -> dict[str, int]:
    workspace = _workspace(request)
    workspace.open(OpenRequest.parse(values))
    return {"version": workspace.version}


def decode(request: Request, values: Values) -> dict[str, Any]:
    return asdict(_workspace(request).decode(DecodeRequest.parse(values), _version(request)))


def refine(request: Request, values: Values) -> dict[str, Any]:
    return asdict(_workspace(request).refine(_version(request)))


def simulate(request: Request, values: Values) -> dict[str, Any]:
    return asdict(_workspace(request).simulate(SimulateRequest.parse(values), _version(request)))


def classify(request: Request, values: Values) -> dict[str, Any]:
    return asdict(_workspace(request).classify(ClassifyRequest.parse(values), _version(request)))


def classifier(request: Request) -> Response:
    """The classifier that gave the classes of a layer, as a file."""
    content = _workspace(request).classifier(request.query_params.get("layer", ""), _version(request))
    return Response(content, media_type="application/octet-stream", headers=attachment("classes.safetensors"))


def job(request: Request) -> Response:
    workspace = _workspace(request)
    current = workspace.job
    return Json({"job": current and asdict(current.status()), "version": workspace.version})


def cancel(request: Request, values: Values) -> dict[str, int]:
    _workspace(request).cancel()
    return {}


def forget(request: Request, values: Values) -> dict[str, int]:
    workspace = _workspace(request)
    workspace.forget()
    return {"version": workspace.version}


# -- downloading ------------------------------------------------------------------------------------------------


def downloads(request: Request) -> Response:
    """Names and sizes of the files of a result."""
    layer = request.query_params.get("layer", "")
    folder = _workspace(request).result_folder(layer, _version(request))
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return Json([{"name": path.name, "bytes": path.stat().st_size} for path in files])


def download(request: Request) -> Response:
    """One file of a result, or ``everything.zip``."""
    workspace, name = _workspace(request), request.path_params["file"]
    layer = request.query_params.get("layer", "")
    if name == "everything.zip":
        return file_answer(workspace.archive(layer, _version(request)), f"{plain_name(layer)}.zip")
    folder = workspace.result_folder(layer, _version(request))
    if name not in os.listdir(folder) or not (folder / name).is_file():
        raise InputError(f"there is no file {name!r} in this result")
    return file_answer(folder / name, name)
