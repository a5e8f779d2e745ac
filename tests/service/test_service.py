"""A real service with weights, two cameras and a token: what comes out, and what is refused."""

import http.client
import io
import json
import pickle
import random
import re
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import crsdun
from crsdun.scenes import read_scene
from crsdun.web.archives import plain_name
from tests.service.serving import TOKEN, serving
from tests.viewing import test_app_limits as bombs
from tests.viewing.test_app import BANDS, NAMES, WAVELENGTHS, H, W
from tests.viewing.test_app_malformed import HEADERS, QUERIES, RAW, damaged

MALFORMED = 150
LIMIT = 4 << 20


@pytest.fixture(scope="module")
def service(given, tmp_path_factory):
    cameras = ("--camera", str(given / "lab.npz"), "--camera", f"other={given / 'lab.npz'}")
    arguments = (str(given / "net.safetensors"), *cameras, "--batch", "4", "--limit", str(LIMIT >> 20))
    with serving(tmp_path_factory.mktemp("service"), *arguments) as running:
        yield running
        assert not running.watched.exists(), running.watched.read_text()
        assert len((running.folder / "watched.processes").read_text().split()) > 2


@pytest.fixture(scope="module")
def expected(given):
    return crsdun.reconstruct(given / "y.npz", method=given / "net.safetensors")


@pytest.fixture
def frame(given):
    return (given / "y.npz").read_bytes()


# -- what comes out ------------------------------------------------------------------------------------------------


def test_the_cube_is_that_of_reconstruct(service, frame, expected, tmp_path):
    headers, content = service.decode(frame)
    assert headers["content-type"] == "application/x-npz"
    assert headers["content-disposition"] == 'attachment; filename="waves_cube.npz"'
    (tmp_path / "cube.npz").write_bytes(content)
    scene = read_scene(tmp_path / "cube.npz")
    np.testing.assert_allclose(scene.cube, expected.scene.cube, atol=1e-6)
    assert np.array_equal(scene.classes, expected.scene.classes)
    assert (scene.wavelengths, scene.class_names) == (WAVELENGTHS, NAMES)
    figures = json.loads(headers["crsdun-figures"])
    assert figures["method"] == "net.safetensors"
    assert figures["metrics"]["data_residual"] == pytest.approx(expected.metrics["data_residual"], rel=1e-4)


def test_each_product_in_each_kind_of_file(service, frame, expected):
    _, content = service.decode(frame, "?format=safetensors")
    arrays = safetensors.numpy.load(content)
    np.testing.assert_allclose(arrays["cube"], expected.scene.cube, atol=1e-6)
    assert np.array_equal(arrays["classes"], expected.classes)
    length = int.from_bytes(content[:8], "little")
    told = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["crsdun"])
    assert (told["wavelengths_nm"], told["shape"]) == (list(WAVELENGTHS), [BANDS, H, W])

    _, content = service.decode(frame, "?product=classes")
    assert np.array_equal(np.load(io.BytesIO(content))["classes"], expected.classes)
    _, content = service.decode(frame, "?product=classes&format=safetensors")
    assert set(safetensors.numpy.load(content)) == {"classes", "confidence"}
    _, content = service.decode(frame, "?product=classes&format=png")
    assert Image.open(io.BytesIO(content)).format == "PNG"
    headers, content = service.decode(frame, accept="image/png")
    assert (headers["content-type"], Image.open(io.BytesIO(content)).size) == ("image/png", (W, H))
    _, content = service.decode(frame, accept="application/json")
    figures = json.loads(content)
    assert figures["class_names"] == list(NAMES)
    assert figures["record"]["method"] == "net.safetensors"
    assert service.folder.name not in content.decode(), "nothing of this machine"
    _, content = service.decode(frame, "?product=everything")
    places = [Path(name) for name in zipfile.ZipFile(io.BytesIO(content)).namelist()]
    assert {"cube.hdr", "picture.png", "report.html", "record.json"} <= {place.name for place in places}
    assert {place.parts[0] for place in places} == {plain_name(figures["record"]["measurement"]["name"])}


def test_every_way_in_gives_the_same_cube(service, given, frame, expected):
    image = io.BytesIO()
    Image.fromarray(np.load(given / "frame.npy")).save(image, "TIFF")
    mask = (given / "mask.npy").read_bytes()
    spectral = f"wavelengths={','.join(map(str, WAVELENGTHS))}"
    ways = [
        (*service.form([("measurement", "y.npz", frame)]), ""),
        (*service.form([("measurement", "y.tif", image.getvalue()), ("camera", None, b"lab")]), ""),
        (*service.form([("measurement", "y.tif", image.getvalue()), ("mask", "m.npy", mask)]), f"?{spectral}"),
        (image.getvalue(), {}, "?camera=lab"),
        ((given / "frame.raw").read_bytes(), {}, "?camera=other&dtype=float32"),
        ((given / "frame.npy").read_bytes(), {"content_type": "application/x-www-form-urlencoded"}, "?camera=lab"),
    ]
    for body, headers, query in ways:
        _, content = service.decode(body, query, **headers)
        np.testing.assert_allclose(np.load(io.BytesIO(content))["cube"], expected.scene.cube, atol=1e-6)


def test_requests_that_come_together_are_decoded_together(service, frame, expected):
    before = service.figure("crsdun_batch_size_sum"), service.figure("crsdun_batch_size_count")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: service.decode(frame)[1], range(12)))
    total, count = (service.figure(f"crsdun_batch_size_{name}") for name in ("sum", "count"))
    assert count - before[1] == 12
    assert total - before[0] > 12, "some were alone, some were not"
    for content in answers:
        np.testing.assert_allclose(np.load(io.BytesIO(content))["cube"], expected.scene.cube, atol=1e-5)


def test_what_it_says_of_itself(service, frame):
    assert service.get("/health") == b"ok\n"
    assert service.get("/ready") == b"ready\n"
    about = json.loads(service.get("/v1/service"))
    assert (about["method"], about["segments"], about["class_names"]) == ("net.safetensors", True, list(NAMES))
    assert about["cameras"]["lab"] == about["cameras"]["other"]
    assert about["cameras"]["lab"]["detector"] == [H, W + 2 * (BANDS - 1)]
    before = service.figure("crsdun_requests_total")
    service.decode(frame)
    assert service.figure("crsdun_requests_total") == before + 1
    assert service.figure("crsdun_worker_resident_bytes") > 10e6
    assert service.figure("crsdun_request_seconds_count") > 0


def test_its_page_needs_nothing_from_anywhere(service):
    described = json.loads(service.get("/openapi.json"))
    assert set(described["paths"]) >= {"/v1/reconstruct", "/health", "/ready", "/metrics"}
    status, headers, content = service.request("GET", "/docs", token=None)
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    page = content.decode()
    assert not re.findall(r"(?:src|href)=\"(?!/openapi.json)", page)
    assert "<script" not in page
    assert all(name in page for name in ("measurement", "Retry-After", "lab", "wavelengths"))
    assert service.request("GET", "/", token=None)[1].get("location", "/docs") == "/docs"


# -- who is let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "wrong", f"{TOKEN}x", TOKEN[:-1], "é"])
def test_without_the_token_nothing_is_decoded(service, frame, token):
    for method, path in (("POST", "/v1/reconstruct"), ("GET", "/v1/service"), ("GET", "/metrics"), ("GET", "/none")):
        status, headers, content = service.request(method, path, frame, token=token)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "token" in json.loads(content)["error"]
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert service.request("GET", path, token=token)[0] == 200


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?camera=none", 400, "there is no camera 'none'; there are lab, other"),
        ("?bit=12", 400, "there is no setting 'bit'"),
        ("?bits=12&bits=12", 400, "bits is given twice"),
        ("?bits=many", 400, "bits must be a whole number"),
        ("?bits=99", 400, "bits must lie between 1 and 32"),
        ("?frame=2", 400, "has no frame 2"),
        ("?product=spectra", 400, "product is one of"),
        ("?product=picture&format=npz", 400, "picture is sent as png"),
        ("?dtype=uint8&camera=lab", 400, "send exactly the pixels"),
        ("?dtype=uint8", 400, "a mask as the part mask"),
        ("?camera=lab&step=3", 400, "already knows the step of this camera, and the request says otherwise"),
        ("?wavelengths=blue", 400, "cannot read the wavelengths"),
    ],
)
def test_settings_that_cannot_be(service, frame, query, status, words):
    answered, error = service.refused(frame, query)
    assert answered == status
    assert words in f"{error['error']}; {error.get('remedy', '')}"
    assert "--" not in str(error)
    assert "<" not in str(error)


def test_answers_that_are_not_accepted(service, frame):
    status, error = service.refused(frame, accept="text/html")
    assert (status, "application/x-npz" in error["remedy"]) == (406, True)
    assert service.refused(frame, "?product=picture", accept="application/json")[0] == 406
    assert service.decode(frame, accept="text/html, image/*;q=0.5")[0]["content-type"] == "image/png"


def test_bodies_that_are_no_measurement(service, given, frame):
    counts = io.BytesIO()
    np.save(counts, (np.load(given / "frame.npy") * 500).astype(np.uint16))
    form = service.form
    refused = [
        (b"", {}, "", 400, "no body"),
        (b"nonsense", {}, "", 400, "not in a format that crsdun reads"),
        (frame[:300], {}, "", 400, "damaged"),
        (b"{}", {"content_type": "application/json"}, "", 415, "send its file"),
        (counts.getvalue(), {}, "?camera=lab", 400, "set the setting bits to the camera's bit depth"),
        ((given / "frame.npy").read_bytes(), {}, "", 400, "set a mask as the part mask"),
        (*form([("other", "y.npz", frame)]), "", 400, "no part 'other'"),
        (*form([("measurement", "y.npz", frame)] * 2), "", 400, "comes twice"),
        (*form([("bits", None, b"12")]), "", 400, "no file measurement"),
        (*form([("measurement", "y.npz", frame), ("bits", None, b"x")]), "", 400, "bits must be"),
        (*form([("measurement", "y.npz", frame)] * 4), "", 400, "Too many files"),
        (b"--edge\r\nbroken", {"content_type": "multipart/form-data; boundary=edge"}, "", 400, "no file"),
        (b"x", {"content_type": "multipart/form-data"}, "", 400, "boundary"),
    ]
    for body, headers, query, status, words in refused:
        answered, error = service.refused(body, query, **headers)
        assert (answered, words in f"{error['error']}; {error.get('remedy', '')}") == (status, True), error


def test_pickles_are_never_opened(service, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    objects = io.BytesIO()
    np.save(objects, np.array([Harmful()], object), allow_pickle=True)
    archive = io.BytesIO()
    np.savez(archive, y=np.array([Harmful()], object))
    for body in (pickle.dumps(Harmful()), objects.getvalue(), archive.getvalue()):
        assert "pickle" in service.refused(body)[1]["error"]
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.mat", bombs.mat_of_a_struct, "GB of memory"),
        ("a.h5", bombs.deep_groups, "groups within groups"),
        ("a.h5", bombs.external_link, "refers to another file"),
        ("a.npy", bombs.claims_too_much, "damaged"),
        ("a.npz", bombs.entry_claims_too_much, "damaged"),
    ],
)
def test_what_would_take_too_much_is_refused(service, tmp_path, name, write, words):
    write(tmp_path / name)
    status, error = service.refused((tmp_path / name).read_bytes())
    assert (status, words in error["error"]) == (400, True), error
    assert str(service.temporary) not in str(error)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(service):
    with socket.create_connection(service.address.split(":"), timeout=60) as connection:
        lines = ["POST /v1/reconstruct HTTP/1.1", f"host: {service.address}", f"authorization: Bearer {TOKEN}"]
        connection.sendall("\r\n".join([*lines, f"content-length: {10**12}", "", ""]).encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.getheader("connection")) == (413, "close")
        assert "4 MB" in json.loads(response.read())["error"]
    chunks = (bytes(1 << 16) for _ in range(2 + (LIMIT >> 16)))  # nobody announced it
    assert service.refused(chunks)[0] == 413


def test_no_malformed_request_fails_the_service(service, frame):
    rng = random.Random(5)
    paths = ["//", "/%00", "/v1/none", "/docs/", "*", "/v1/reconstruct/", "/v1/reconstruct?" + "a=1&" * 500]
    names = ["camera", "key", "frame", "dtype", "bits", "exposure", "dark", "white", "wavelengths", "step", "product"]
    for index in range(MALFORMED):
        query = "&".join(f"{rng.choice(names)}={rng.choice(QUERIES)}" for _ in range(rng.randint(1, 3)))
        path = rng.choice(paths) if rng.random() < 0.15 else f"/v1/reconstruct?{query}"
        parts = [("measurement", rng.choice(["y.npz", "é", "../x", ""]), rng.choice([frame, b"", b"\x89PNG"]))]
        parts += [(rng.choice(names), None, rng.choice(RAW).encode("utf-8", "surrogatepass"))]
        body, headers = service.form(parts)
        if rng.random() < 0.5:
            body = damaged(body.decode("latin-1"), rng).encode("latin-1", "replace")
        method = rng.choice(["POST"] * 8 + ["GET", "PUT", "DELETE", "BREW"])
        odd = {name: each for name, each in rng.choice(HEADERS).items() if name not in ("expect", "x-crsdun-version")}
        with socket.create_connection(service.address.split(":"), timeout=60) as connection:
            told = {
                "host": service.address, "authorization": f"Bearer {TOKEN}",
                "content-type": headers["content_type"], **odd,
            }  # fmt: skip
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {each}" for name, each in told.items())]
            lines += [f"content-length: {len(body)}", "connection: close", "", ""]
            connection.sendall("\r\n".join(lines).encode("latin-1", "replace") + body)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            answer = response.read()
            response.close()
        assert response.status < 500, (index, method, path, body[:300], odd, answer)
        if response.status >= 400 and response.getheader("content-type") == "application/json":
            assert set(json.loads(answer)) <= {"error", "remedy"}
    service.decode(frame)
    assert "Traceback" not in service.log.read_text()
