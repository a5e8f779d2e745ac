"""The requests of the page, and the server that answers them."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from crsdun.errors import InputError
from crsdun.networks import pretrained_weights
from crsdun.optics import parse_wavelengths
from crsdun.runtime import choose_weights, read_results
from crsdun.scenes import Scene, read_mask, read_measurement, read_scene
from crsdun.solvers import SOLVERS
from crsdun.storage import RECORD
from crsdun.version import __version__
from crsdun.viewing.app import pictures, spectra
from crsdun.viewing.app.guard import Guard
from crsdun.viewing.app.jobs import ENGINES, Job, decode, simulated
from crsdun.viewing.app.payloads import ROLES, fits, suggested, workspace_payload
from crsdun.viewing.app.samples import SAMPLES, sample
from crsdun.viewing.app.sessions import MOST_TRIALS, Session, Sessions
from crsdun.viewing.app.uploads import MEGABYTE, receive
from crsdun.viewing.app.wording import page_message
from crsdun.viewing.app.workspace import TRUTH, Workspace, open_exposure, open_folder, open_scene
from crsdun.viewing.result_folder import write_results

PAGE = Path(__file__).parent / "page"
MOST_JSON = 1 << 20  # bytes of what the page says


@dataclass(frozen=True)
class ServerConfig:
    """How the explorer was started.

    Attributes:
        host, port: where it listens.
        given: files and result folders of the command line, open to everybody who has the link.
        limit: bytes of the largest upload.
        key: part of the link; without it nobody gets in.
    """

    host: str
    port: int
    given: tuple[Path, ...]
    limit: int
    key: str

    @property
    def cookie(self) -> str:
        """Cookies do not tell ports apart."""
        return f"crsdun_{self.port}"


def application(settings: ServerConfig) -> Any:
    """The ASGI application: answers the page of whoever has the link."""
    sessions = Sessions()

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=_warm_up, daemon=True).start()
        try:
            yield
        finally:
            sessions.close()

    app = Starlette(
        routes=[
            Route("/", _front),
            Mount("/page", StaticFiles(directory=PAGE)),
            Route("/api/state", _state),
            Route("/api/job", _job),
            Route("/api/picture", _picture),
            Route("/api/classes", _classes),
            Route("/api/spectra", _spectra, methods=["POST"]),
            Route("/api/spectra.csv", _spectra_csv),
            Route("/api/attention", _attention),
            Route("/api/files/{name}", _upload, methods=["PUT"]),
            Route("/api/open", _open, methods=["POST"]),
            Route("/api/run", _run, methods=["POST"]),
            Route("/api/simulate", _simulate, methods=["POST"]),
            Route("/api/cancel", _cancel, methods=["POST"]),
            Route("/api/forget", _forget, methods=["POST"]),
            Route("/api/downloads", _downloads),
            Route("/api/download/{file:path}", _download),
        ],
        exception_handlers={InputError: _input_error, OSError: _input_error, MemoryError: _input_error},
        lifespan=life,
    )
    app.state.settings, app.state.sessions = settings, sessions
    return Guard(app, settings.host)


def serve(settings: ServerConfig, tell: Callable[[str], None]) -> None:
    """Listen until interrupted.

    Raises:
        InputError: the port is taken or the address not ours.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on {settings.host}, port {settings.port} ({error.strerror or error})",
            "choose another <port>",
        ) from error
    # Port 0 asks for any that is free.
    settings = ServerConfig(settings.host, listening.getsockname()[1], settings.given, settings.limit, settings.key)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    config = uvicorn.Config(application(settings), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    tell(f"http://{shown}:{settings.port}/?key={settings.key}")
    uvicorn.Server(config).run(sockets=[listening])


# -- who asks ---------------------------------------------------------------------------------------------------


async def _front(request: Request) -> Response:
    """The page; for whoever comes by the link a session, and the link without its key."""
    settings: ServerConfig = request.app.state.settings
    sessions: Sessions = request.app.state.sessions
    key = request.query_params.get("key")
    if key is not None and secrets.compare_digest(key.encode(), settings.key.encode()):
        answer: Response = RedirectResponse("/", 303)
        if sessions.get(request.cookies.get(settings.cookie)) is None:
            token, session = sessions.new()
            await run_in_threadpool(_welcome, session, settings)
            answer.set_cookie(settings.cookie, token, httponly=True, samesite="lax")
        return answer
    if sessions.get(request.cookies.get(settings.cookie)) is None:
        return PlainTextResponse("Open the link that crsdun app printed: it holds the key to this explorer.\n", 403)
    return FileResponse(PAGE / "index.html")


def _welcome(session: Session, settings: ServerConfig) -> None:
    """What a new visitor finds open: what was named on the command line, else a sample."""
    session.weights.update(pretrained_weights())
    folders = [path for path in settings.given if path.is_dir()]
    for path in settings.given:
        if not path.is_dir():
            session.add_file(path, max(settings.limit, path.stat().st_size))
    try:
        if folders:
            subject = open_folder(folders[0])
            for folder in folders[1:]:
                _add_folder(subject, open_folder(folder))
            session.open(subject)
        elif session.files:
            _open_files(session, suggested(session))
    except InputError as error:
        session.found.setdefault("", {"name": "", "problem": str(error)})
    if session.subject is None and not session.files:
        session.open(_sample_subject("produce-0"))


def _add_folder(subject: Workspace, other: Workspace) -> None:
    """The results of another method on the same scene, beside the first."""
    if other.shape != subject.shape:
        raise InputError(
            f"{other.folder} holds a cube of {other.shape}, {subject.folder} one of {subject.shape}",
            "open them singly",
        )
    for name, layer in other.layers.items():
        if name == TRUTH:
            continue
        layer.name = name if name not in subject.layers else f"{name} · {other.folder and other.folder.name}"
        subject.layers[layer.name] = layer


def _session(request: Request) -> Session:
    settings: ServerConfig = request.app.state.settings
    session = request.app.state.sessions.get(request.cookies.get(settings.cookie))
    if session is None:
        raise InputError("this explorer does not know you any more", "open the link that crsdun app printed again")
    return session


async def _said(request: Request) -> dict[str, Any]:
    """What the page sends, as an object."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON:
            raise InputError("that is more than the page ever says")
    try:
        said = json.loads(body or b"{}")
    except ValueError as error:
        raise InputError("that was no JSON") from error
    if not isinstance(said, dict):
        raise InputError("expected a JSON object")
    return said


async def _input_error(request: Request, error: Exception) -> Response:
    session = request.app.state.sessions.get(request.cookies.get(request.app.state.settings.cookie))
    return JSONResponse({"error": page_message(error, session and session.folder)}, 400)


# -- what there is ----------------------------------------------------------------------------------------------


def _state(request: Request) -> Response:
    """Everything the page needs to draw itself."""
    session = _session(request)
    settings: ServerConfig = request.app.state.settings
    with session.lock:
        subject = session.subject
        return JSONResponse(
            {
                "version": session.version,
                "made_by": f"crsdun {__version__}",
                "subject": None if subject is None else workspace_payload(subject),
                "files": list(session.found.values()),
                "suggested": suggested(session),
                "fits": fits(session),
                "samples": [{"name": name, "title": title} for name, title in SAMPLES.items()],
                "weights": sorted(session.weights),
                "fitting": _fitting(subject),
                "methods": list(SOLVERS),
                "engines": [each for each in ENGINES if find_spec(each) is not None],
                "job": session.job and session.job.described(),
                "trials": session.trials,
                "limit_mb": settings.limit // MEGABYTE,
                "maps": {name: pictures.map_stops(name) for name in (pictures.SEQUENTIAL, pictures.DIVERGING)},
            }
        )


def _fitting(subject: Workspace | None) -> str | None:
    """The shipped weights that fit what is open."""
    if subject is None or subject.measurement is None or subject.camera is None:
        return None
    return choose_weights(subject.measurement, subject.camera)[0]


# -- what is looked at ------------------------------------------------------------------------------------------


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def _picture(request: Request) -> Response:
    asked = request.query_params
    look = pictures.look(
        _session(request).opened(),
        asked.get("of", TRUTH),
        _whole(asked.get("stage")),
        asked.get("mode", "colour"),
        [_whole(band) or 0 for band in asked.get("bands", "0").split(",")],
        asked.get("stretch") == "1",
    )
    # In a header only ASCII is sure to arrive.
    return Response(look.png(), media_type="image/png", headers={"x-legend": json.dumps(look.legend)})


def _classes(request: Request) -> Response:
    asked = request.query_params
    subject = _session(request).opened()
    classes = pictures.class_bytes(subject, asked.get("of", TRUTH), _whole(asked.get("stage")))
    return Response(classes.tobytes(), media_type="application/octet-stream")


def _places(value: Any, subject: Workspace) -> list[spectra.Region]:
    if not isinstance(value, list):
        raise InputError("points come as a list")
    return [spectra.Region.from_json(each, subject) for each in value]


async def _spectra(request: Request) -> Response:
    subject, said = _session(request).opened(), await _said(request)
    stage = said.get("stage")
    return JSONResponse(spectra.spectra_at(subject, _places(said.get("points"), subject), stage))


def _spectra_csv(request: Request) -> Response:
    subject, asked = _session(request).opened(), request.query_params
    try:
        points = json.loads(asked.get("points", "[]"))
    except ValueError as error:
        raise InputError("points come as a JSON list") from error
    text = spectra.spectra_csv(subject, _places(points, subject), _whole(asked.get("stage")))
    return PlainTextResponse(text, media_type="text/csv", headers=_attachment("spectra.csv"))


def _attention(request: Request) -> Response:
    """Where one block of cross-aggregation looks for a point, over the picture."""
    subject, asked = _session(request).opened(), request.query_params
    place = spectra.Region.from_json(dict(asked), subject)
    look = pictures.attention(
        subject, asked.get("of", ""), _whole(asked.get("block")) or 0, asked.get("what", ""), place
    )
    return Response(look.png(), media_type="image/png", headers={"x-legend": json.dumps(look.legend)})


# -- what is done -----------------------------------------------------------------------------------------------


async def _upload(request: Request) -> Response:
    session, settings = _session(request), request.app.state.settings
    told = request.headers.get("content-length")
    room = session.room(settings.limit)
    if room <= 0:
        raise InputError("your uploads here are full", "start afresh with Forget everything")
    path = await receive(request.path_params["name"], request.stream(), session.folder, room, _whole(told))
    await run_in_threadpool(session.add_file, path, settings.limit)
    return JSONResponse(session.found[path.name])


async def _open(request: Request) -> Response:
    session, said = _session(request), await _said(request)
    if "sample" in said:
        session.open(await run_in_threadpool(_sample_subject, str(said["sample"])))
    else:
        await run_in_threadpool(_open_files, session, said)
    return JSONResponse({"version": session.version})


def _sample_subject(name: str) -> Workspace:
    """A sample and its measurement by a camera as the paper's: a random mask and a step of 2."""
    return simulated(sample(name), {}, None)


def _open_files(session: Session, said: dict[str, Any]) -> None:
    """What lies in the session's files, in the roles that were chosen.

    Raises:
        InputError: what was given does not fit together; the message says what would.
    """

    def chosen(role: str) -> tuple[Path, str | None] | None:
        value = said.get(role)
        if not isinstance(value, dict) or not value.get("file"):
            return None
        if value["file"] not in session.files:
            raise InputError(f"there is no file {value['file']!r} here", "drop it again")
        key = value.get("key")
        return session.files[value["file"]], None if key is None else str(key)

    measurement, mask, truth, labels = (chosen(role) for role in ROLES.values())
    camera, calibration = _camera_said(said)
    scene = None
    if truth is not None:
        scene = read_scene(*truth, classes=labels and labels[0], classes_key=labels and labels[1])
    if measurement is None:
        if scene is None:
            raise InputError("choose which array is the measurement, or which is a cube to look at")
        session.open(open_scene(scene))
        return
    exposure = read_measurement(*measurement, camera["wavelengths"])
    session.open(open_exposure(exposure, mask and read_mask(*mask), scene, camera, calibration))


def _camera_said(said: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    wavelengths = parse_wavelengths(str(said["wavelengths"])) if said.get("wavelengths") else None
    try:
        step, bands, bits = (said.get(name) for name in ("step", "bands", "bits"))
        camera: dict[str, Any] = {
            "step": None if step in (None, "") else float(step),
            "bands": None if bands in (None, "") else int(bands),
            "wavelengths": wavelengths,
        }
        return camera, {"bit_depth": None if bits in (None, "") else int(bits)}
    except (TypeError, ValueError) as error:
        raise InputError("step, bands and bit depth are numbers", "leave them empty to be found") from error


def _begin(session: Session, title: str, work: Callable[[Job], str]) -> Response:
    with session.lock:
        if session.job is not None and session.job.running:
            raise InputError("something is being computed already", "cancel it, or wait")
        session.job = Job(title, work, session.folder).start()
    return JSONResponse(session.job.described())


async def _run(request: Request) -> Response:
    session, said = _session(request), await _said(request)
    subject, method = session.opened(), str(said.get("method"))

    def work(job: Job) -> str:
        message = decode(subject, method, _method_said(said), session.weights, job)
        session.version += 1
        return message

    return _begin(session, method, work)


async def _simulate(request: Request) -> Response:
    """Measure a scene anew and decode it; one more trial in the table."""
    session, said = _session(request), await _said(request)
    scene, mask = await run_in_threadpool(_scene_and_mask, session, said)
    method = str(said.get("method"))

    def work(job: Job) -> str:
        subject = simulated(scene, said, mask)
        message = decode(subject, method, _method_said(said), session.weights, job)
        session.open(subject)
        layer = list(subject.layers.values())[1]
        shown = ("step", "photons", "read_noise", "mask_seed", "shift_down", "shift_right", "size")
        figures = {name: layer.metrics.get(name) for name in ("psnr_db", "ssim", "miou_present", "data_residual")}
        trial = {"scene": scene.name, "method": layer.name, **{name: said.get(name) for name in shown}, **figures}
        session.trials = [*session.trials, trial][-MOST_TRIALS:]
        return message

    return _begin(session, f"{method} on a simulated measurement", work)


def _scene_and_mask(session: Session, said: dict[str, Any]) -> tuple[Scene, np.ndarray | None]:
    name = str(said.get("scene") or "open")
    if name == "open":
        scene = session.opened().truth
        if scene is None:
            raise InputError("what is open has no true scene to simulate from", "choose a sample")
    else:
        scene = sample(name)
    mask = said.get("mask")
    if not mask:
        return scene, None
    if mask not in session.files:
        raise InputError(f"there is no mask file {mask!r} here", "drop it first")
    return scene, read_mask(session.files[mask])


def _method_said(said: dict[str, Any]) -> dict[str, Any]:
    iterations = said.get("iterations")
    try:
        number = int(iterations) if iterations else None
    except (TypeError, ValueError) as error:
        raise InputError("iterations are a whole number", "leave it empty for the default") from error
    engine = said.get("engine")
    return {"iterations": number, "engine": engine if engine in ENGINES else None, "beside": bool(said.get("beside"))}


async def _job(request: Request) -> Response:
    session = _session(request)
    described = session.job.described() if session.job else None
    return JSONResponse({"job": described, "version": session.version})


async def _cancel(request: Request) -> Response:
    session = _session(request)
    if session.job is not None:
        session.job.cancel()
    return JSONResponse({})


def _forget(request: Request) -> Response:
    """Everything this visitor opened and uploaded goes."""
    session = _session(request)
    with session.lock:
        if session.job is not None:
            session.job.cancel()
        shutil.rmtree(session.folder, ignore_errors=True)
        session.folder.mkdir()
        session.files, session.found, session.trials, session.weights = {}, {}, [], {}
        _welcome(session, request.app.state.settings)
        session.version += 1
    return JSONResponse({"version": session.version})


# -- what is taken home -----------------------------------------------------------------------------------------


def _downloads(request: Request) -> Response:
    """Names and sizes of the files of a result."""
    layer = request.query_params.get("of", "")
    folder = _result_folder(_session(request), layer)
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return JSONResponse([{"name": path.name, "bytes": path.stat().st_size} for path in files])


def _download(request: Request) -> Response:
    """One file of a result, or ``everything.zip``."""
    session, name = _session(request), request.path_params["file"]
    layer = request.query_params.get("of", "")
    folder = _result_folder(session, layer)
    if name == "everything.zip":
        packed = session.folder / f"{folder.name}.zip"
        if not packed.exists():
            shutil.make_archive(str(packed.with_suffix("")), "zip", folder.parent, folder.name)
        return FileResponse(packed, headers=_attachment(f"{_plain_name(layer)}.zip"))
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise InputError(f"there is no file {name!r} in this result")
    return FileResponse(path, headers=_attachment(name))


def _result_folder(session: Session, name: str) -> Path:
    """The folder that ``crsdun reconstruct`` would have written, written when first asked for."""
    subject = session.opened()
    layer, _ = subject.layer(name)
    if layer.result is None:
        raise InputError("only what was decoded can be downloaded", "decode first")
    with session.lock:
        out = session.folder / f"result-{session.version}-{_plain_name(name)}"
        if not (out / RECORD).is_file():
            write_results(layer.result, out)
    return out


def _plain_name(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-") or "result"


def _attachment(name: str) -> dict[str, str]:
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    return {"content-disposition": f'attachment; filename="{plain}"'}


def _warm_up() -> None:
    """Load what the first picture needs before somebody waits for it."""
    try:
        subject = _sample_subject("produce-0")
        pictures.look(subject, TRUTH, None, "colour", [0], False).png()
    except Exception as error:  # whoever asks for it is told
        print(f"crsdun: {error}", file=sys.stderr)


def start(given: Sequence[Path], host: str, port: int, limit_mb: int, tell: Callable[[str], None]) -> None:
    """Check what was given and serve it; see ``ServerConfig``.

    Raises:
        InputError: a file is not there or a folder no result, or as ``serve``.
    """
    for path in given:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}", "check the name")
        if path.is_dir():
            read_results(path)
    if limit_mb < 1:
        raise InputError(f"a limit of {limit_mb} MB lets nothing in", "give <limit> a number of megabytes from 1 on")
    paths = tuple(path.resolve() for path in given)
    serve(ServerConfig(host, port, paths, limit_mb * MEGABYTE, secrets.token_urlsafe(16)), tell)
