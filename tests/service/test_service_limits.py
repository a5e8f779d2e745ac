"""A real service without a token that has too much to do: queues, times, and processes that end."""

import http.client
import json
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.service.serving import serving

TIMEOUT_S = 8


@pytest.fixture(scope="module")
def service(given, tmp_path_factory):
    arguments = ("gap-tv", "--iterations", "10000000", "--queue", "1", "--timeout", str(TIMEOUT_S))
    with serving(tmp_path_factory.mktemp("slow"), *arguments, environment={"CRSDUN_TOKEN": ""}) as running:
        yield running


@pytest.fixture
def frame(given):
    return (given / "y.npz").read_bytes()


def begin(service, frame):
    """A connection on which a measurement has been sent."""
    connection = socket.create_connection(service.address.split(":"), timeout=60)
    head = f"POST /v1/reconstruct HTTP/1.1\r\nhost: {service.address}\r\ncontent-length: {len(frame)}\r\n\r\n"
    connection.sendall(head.encode() + frame)
    return connection


def answer(connection):
    with connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, dict(response.getheaders()), json.loads(response.read())


def wait_until(service, inside):
    for _ in range(1000):
        if service.figure("crsdun_requests_inside") == inside:
            return
        time.sleep(0.02)
    raise AssertionError(service.get("/metrics").decode())


def test_who_waits_too_long_or_is_too_many_is_told(service, frame):
    start = time.monotonic()
    connections = [begin(service, frame) for _ in range(2)]
    wait_until(service, inside=2)
    status, headers, error = answer(begin(service, frame))
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 600
    assert "2 requests are decoded or wait" in error["error"]
    assert service.get("/health") == b"ok\n", "whoever only asks is answered at once"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(answer, connections))
    assert [status for status, _, _ in answers] == [504, 504]
    assert "took longer" in answers[0][2]["error"]
    assert TIMEOUT_S - 1 < time.monotonic() - start < 3 * TIMEOUT_S
    wait_until(service, inside=0)


def test_whoever_goes_away_is_not_decoded_for(service, frame):
    connection = begin(service, frame)
    wait_until(service, inside=1)
    start = time.monotonic()
    connection.close()
    wait_until(service, inside=0)
    assert time.monotonic() - start < TIMEOUT_S - 1
    assert 'crsdun_requests_total{status="499"}' in service.get("/metrics").decode()
    assert not list(service.temporary.glob("*/requests/*")), "its files are gone"


def test_a_process_that_is_killed_is_replaced(service, frame):
    (file,) = service.temporary.glob(".crsdun-*/workers/0")
    process = int(file.read_text())
    connection = begin(service, frame)
    time.sleep(1)
    os.kill(process, signal.SIGKILL)
    status, headers, error = answer(connection)
    assert (status, "has ended" in error["error"]) == (503, True), error
    assert int(headers["retry-after"]) > 0
    until = time.monotonic() + 60
    while int(file.read_text() or process) == process:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert service.get("/ready") == b"ready\n"
    assert service.refused(b"nonsense")[0] == 400, "the new one reads"


def test_classes_are_not_promised_where_there_are_none(service, frame):
    status, error = service.refused(frame, "?product=classes")
    assert (status, error["error"]) == (400, "gap-tv gives no classes")
    assert "serve" in error["remedy"]
    assert re.search("weights", error["remedy"])


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "evil.example"}, "this service is not called 'evil.example'"),
        ({"origin": "http://evil.example"}, "a page of http://evil.example may not use this service"),
        ({"sec_fetch_site": "cross-site"}, "another page may not use this service"),
    ],
)
def test_pages_of_other_sites_reach_nothing(service, frame, headers, words):
    status, _, content = service.request("POST", "/v1/reconstruct", frame, token=None, **headers)
    assert (status, json.loads(content)["error"].startswith(words)) == (403, True)
    assert service.request("GET", "/v1/service", token=None)[0] == 200


def test_it_ends_where_nobody_talks_http_any_more(service):
    """The last test of this service: whoever watches over it can start it again."""
    with socket.create_connection(service.address.split(":")) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\nhost: {service.address}\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        os.kill(process_of(connection), signal.SIGKILL)
    assert service.process.wait(60) == 2
    assert "the process that talks HTTP has ended; start the service again" in service.log.read_text()


def process_of(connection):
    """The process at the other end of a connection."""
    ends = [f"{port:04X}" for _, port in (connection.getpeername(), connection.getsockname())]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = (row[9] for row in rows if [row[1][-4:], row[2][-4:]] == ends)
    for file in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(file) == f"socket:[{inode}]":
                return int(file.parts[2])
    raise AssertionError("nobody")
