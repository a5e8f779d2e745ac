"""Hundreds of malformed requests to every route: none is answered with 500, none leaves a traceback, none hangs."""

import http.client
import json
import random
import socket
import time
from urllib.parse import quote

import numpy as np
import pytest

from crsdun.scenes import Scene, write_scene
from crsdun.typed import finite
from crsdun.viewing.app.routes import routes
from crsdun.web.answers import Json
from tests.viewing.explorer import Client, running
from tests.viewing.test_app import scene

REQUESTS = 600
PATIENCE_S = 10  # for each answer

RAW = [
    "NaN", "-Infinity", "1e400", "-1e400", "1" * 5000, "1e308", "-0.0", "9007199254740993", str(10**9),
    str(-(10**18)),
    "null", "true", "[]", "{}", '""', '"x"', '"\\ud800"', '"\\u0000"', '"' + "y" * 5000 + '"', "[" * 900 + "]" * 900,
    '{"a":' * 400 + "1" + "}" * 400, "[[1,2],[3]]", '{"file": "y.npz", "key": 5}', '{"file": "\\ud800"}',
    '[{"top": 1e308, "left": -1e308}]', '[{"top": 1, "left": 1, "height": 1e18}]', "[null]", '"450-700:1000000000"',
    '"1e-9,1e400"', '"blue"', "0", "-1", "0.5", "33", '"produce-0"', '"../../etc/passwd"', '"gap-tv"', '"truth"',
    '"band"', '[{"rings": [[[1, 1], [9, 1], [1, 9]]]}]', '[{"rings": [[[1e6, -1e6], [NaN, 1], [1, 1e400]]]}]',
    '[{"file": "a.csv", "index": 1e15}]', "[[[0, 0], [5, 0], [0, 5]]]", "[[[0, 0], [5], {}]]",
]  # fmt: skip
BODIES = [
    "",
    "{",
    "[" * 100_000,
    "\x00",
    "\ufeff{}",
    "nul",
    '{"a":}',
    '"text"',
    "[1]",
    "7",
    '{"x": 1e400}' + "x",
    "{}" * 9,
]
REGIONS = [
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "a"}, "geometry": '
    '{"type": "Polygon", "coordinates": [[[1, 1], [9, 1], [1, 9], [1, 1]]]}}]}',
    "; ENVI Output of ROIs (4.8)\n; Number of ROIs: 1\n; File Dimension: 20 x 24\n; ROI name: a\n; ROI npts: 2\n"
    ";  ID  X  Y\n  1  5  7\n  2  6  7\n",
]
TABLE = "wavelength (nm),a,b\n450,0.1,0.2\n500,0.2,0.3\n700,0.3,0.4\n"
NAMES = [
    "sample", "measurement", "mask", "truth", "labels", "step", "bands", "bits", "wavelengths", "method", "engine",
    "iterations", "add_gap_tv", "size", "photons", "read_noise", "seed", "mask_seed", "transmission", "shift_down",
    "scene", "camera", "classifier",
    "points", "stage", "id", "code", "layer", "mode", "stretch", "block", "map", "top", "left", "height", "width",
    "low", "rings", "file", "index", "references",
    "high", "name", "dark", "white", "version", "workspace",
]  # fmt: skip
QUERIES = [
    *map(quote, RAW),
    "%FF%FE",
    "%00",
    "%ED%A0%80",
    "%",
    "1,2,",
    ",",
    "1,2,3,1e400",
    "-1",
    "é",
    "truth",
    "gap-tv",
]
HEADERS = [
    {"x-crsdun-version": "NaN"}, {"x-crsdun-version": "1e400"}, {"x-crsdun-version": "9" * 5000},
    {"x-crsdun-workspace": "é"},
    {"x-crsdun-token": "é"}, {"cookie": "="}, {"cookie": "a" * 3000}, {"cookie": 'x="; \x80'},
    {"content-type": "x" * 99},
    {"host": "["}, {"host": "]:99"}, {"host": "a:b:c"}, {"origin": "http://["}, {"origin": "x"},
    {"range": "bytes=9-1"},
    {"accept-encoding": "\x80"}, {"if-modified-since": "never"}, {"expect": "100-continue"}, {},
]  # fmt: skip
PATHS = [
    "//", "/%00", "/page/%00", "/page/..%2f..%2fserver.py", "/page/%ff", "/page/" + "a/" * 200,
    "/page/" + "n" * 300, "/page",
    "/api/download/%00?layer=truth", "/api/download/" + "n" * 300, "/api/files/" + "%F0%9F%98%80" * 99 + ".npy",
    "/api/files/%00.npy", "/api/files/.npy", "/?key=%00", "/?key=%ff", "/?key=é", "/?" + "a=1&" * 500, "/api", "*",
    "/api/state/",
]  # fmt: skip


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "truth.npz"
    write_scene(scene(), path)
    with running([path]) as link:
        yield Client(link)


def malformed(rng: random.Random):
    """A method, a path, a body and headers."""
    route = rng.choice([route for route in routes() if route.path != "/page"])
    method = rng.choice(
        [*(getattr(route, "methods", None) or ["GET"])] * 9 + ["POST", "PUT", "DELETE", "OPTIONS", "BREW"]
    )
    path = route.path.replace(
        "{name}", rng.choice(["a.npy", "%00.h5", "x" * 300 + ".mat", "é.npz", "a.csv", "a.sli"])
    )
    path = path.replace("{file:path}", rng.choice(["cube.npz", "everything.zip", "..%2f..", "%00", "n" * 300]))
    values = {rng.choice(NAMES): rng.choice(RAW) for _ in range(rng.randint(1, 6))}
    body = "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
    if method == "GET":
        path += "?" + "&".join(f"{rng.choice(NAMES)}={rng.choice(QUERIES)}" for _ in range(rng.randint(1, 6)))
    elif route.path == "/api/regions":
        body = damaged(rng.choice(REGIONS), rng)
    elif rng.random() < 0.2:
        body = rng.choice(BODIES)
    if rng.random() < 0.1:
        path = rng.choice(PATHS)
    return (
        method,
        path.encode("utf-8", "replace").decode("latin-1"),
        body.encode("utf-8", "surrogatepass"),
        rng.choice(HEADERS),
    )


def damaged(text: str, rng: random.Random) -> str:
    """A text of which parts were cut out, doubled, or replaced by values that are no good there."""
    for _ in range(rng.randint(0, 3)):
        start, length = rng.randrange(len(text)), rng.choice([1, 3, 20])
        middle = rng.choice(["", text[start : start + length] * 3, rng.choice(RAW), "\x00", "\n"])
        text = text[:start] + middle + text[start + length :] or "x"
    return text


def test_no_damaged_file_of_spectra_fails_the_server(visitor, capfd):
    rng = random.Random(4)
    for index in range(60):
        visitor.put(f"{index % 5}.csv", damaged(TABLE, rng).encode("utf-8", "surrogatepass"))
        choice = {"file": f"{index % 5}.csv", "index": rng.choice([0, 1, 2, 99])}
        status, _, answer = visitor.request("POST", "/api/references", json.dumps({"references": [choice]}))
        assert status in (200, 400), answer
        json.loads(answer, parse_constant=pytest.fail)
    visitor.state()
    assert "Traceback" not in capfd.readouterr().err


def test_no_malformed_request_fails_the_server(visitor, capfd):
    rng = random.Random(11)
    for index in range(REQUESTS):
        method, path, body, headers = malformed(rng)
        if path.startswith("/api/forget"):
            continue  # it takes no values, and works
        with socket.create_connection(visitor.host.split(":"), timeout=PATIENCE_S) as connection:
            own = {
                "host": visitor.host, "x-crsdun": "page", "cookie": visitor.cookie, "x-crsdun-token": visitor.token,
                "x-crsdun-workspace": visitor.workspace, "x-crsdun-version": str(visitor.version), **headers,
            }  # fmt: skip
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items())]
            lines += [f"content-length: {len(body)}", "connection: close", "", ""]
            connection.sendall("\r\n".join(lines).encode("latin-1", "replace") + body)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            answer = response.read()
            response.close()
        assert response.status < 500, (index, method, path, body[:300], headers, answer)
        if answer and response.getheader("content-type") == "application/json":
            json.loads(answer, parse_constant=pytest.fail)
        if index % 3 == 0:
            visitor.state()
    visitor.post("/api/cancel")
    assert "Traceback" not in capfd.readouterr().err


def test_a_connection_that_breaks_off_leaves_no_traceback(visitor, capfd):
    for path in ("PUT /api/files/a.npy", "POST /api/open"):
        with socket.create_connection(visitor.host.split(":")) as connection:
            lines = [f"{path} HTTP/1.1", f"host: {visitor.host}", "x-crsdun: page", f"cookie: {visitor.cookie}"]
            lines += [f"x-crsdun-workspace: {visitor.workspace}", "content-length: 100000", "", "abc"]
            connection.sendall("\r\n".join(lines).encode())
    time.sleep(0.3)
    assert visitor.state()["scene"]
    assert "Traceback" not in capfd.readouterr().err


def test_no_value_of_a_file_fails_the_state(tmp_path):
    rng = np.random.default_rng(0)
    cube = rng.random((3, 8, 8)).astype(np.float32)
    labels = np.zeros((8, 8), np.int64)
    labels[0, 0] = 2**62
    write_scene(Scene(cube, None, labels, None, "labels"), tmp_path / "labels.npz")
    odd = {"nan": np.full((3, 8, 8), np.nan), "low": np.full((3, 8, 8), -1.7e308), "inf": cube * np.inf}
    for name, values in odd.items():
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "empty.npy", np.zeros((0, 4)))
    with running() as link:
        visitor = Client(link)
        for path in sorted(tmp_path.iterdir()):
            visitor.put(path.name, path.read_bytes())
            status, _, _ = visitor.request("POST", "/api/open", json.dumps({"truth": {"file": path.name}}))
            assert status in (200, 400)
            json.dumps(visitor.state(), allow_nan=False)
            for mode in ("colour", "band", "false"):
                bands = "2,1,0" if mode == "false" else "1"
                assert visitor.request("GET", f"/api/picture?layer=truth&mode={mode}&bands={bands}")[0] in (200, 400)
            points = json.dumps({"points": [{"top": 0, "left": 0, "height": 8, "width": 8}]})
            assert visitor.request("POST", "/api/spectra", points)[0] in (200, 400)


def test_json_has_no_nan():
    values = {"psnr_db": float("inf"), "list": [float("nan"), (1.0, -float("inf"))], 5: "\ud800"}
    assert finite(values) == {"psnr_db": None, "list": [None, [1.0, None]], "5": "\ud800"}
    assert b"\\ud800" in Json(values).body
