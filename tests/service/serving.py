"""A running service for tests, in processes of its own, and a client."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import crsdun

PATIENCE_S = 120  # for a service to begin, on a machine that has other things to do
TOKEN = "a-token-for-tests-only"

# Read by every Python process of the service before anything else: notes whoever talks to another machine.
WATCH = """
import os, sys
LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", None)
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        name = arguments[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        name = arguments[0]
    else:
        return
    if (name.decode() if isinstance(name, bytes) else name) not in LOCAL:
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {arguments}\\n")
sys.addaudithook(watch)
with open(os.environ["WATCHED"] + ".processes", "a") as file:
    file.write(f"{os.getpid()}\\n")
"""


class Service:
    """A service that runs; ``get`` and ``post`` return status, headers and body.

    Attributes:
        process: of the command.
        log: what it prints as errors.
        watched: file that names connections to other machines.
        temporary: folder for its files.
    """

    def __init__(self, process: subprocess.Popen, link: str, folder: Path):
        self.process, self.link, self.folder = process, link, folder
        self.address = link.rpartition("/")[2]
        self.log, self.watched, self.temporary = folder / "log", folder / "watched", folder / "temporary"

    def request(
        self, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, {name.replace("_", "-"): each for name, each in headers.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> bytes:
        status, _, body = self.request("GET", path, **headers)
        assert status == 200, (status, body)
        return body

    def decode(self, body: Any, query: str = "", **headers: str) -> tuple[dict[str, str], bytes]:
        """The answer to a measurement."""
        status, answered, content = self.request("POST", f"/v1/reconstruct{query}", body, **headers)
        assert status == 200, (status, content)
        return answered, content

    def refused(self, body: Any, query: str = "", **headers: str) -> tuple[int, dict[str, str]]:
        """Status and error of a measurement that is refused."""
        status, _, content = self.request("POST", f"/v1/reconstruct{query}", body, **headers)
        assert 400 <= status < 500, (status, content)
        error = json.loads(content)
        assert error["error"]
        return status, error

    def form(self, parts: Sequence[tuple[str, str | None, bytes]], query: str = "") -> tuple[bytes, dict[str, str]]:
        """The body of a form and its headers; a part is a name, the name of a file or None, and the content."""
        lines = []
        for name, file, content in parts:
            of_file = "" if file is None else f'; filename="{file}"'
            lines += [b"--edge", f'content-disposition: form-data; name="{name}"{of_file}'.encode(), b"", content]
        return b"\r\n".join([*lines, b"--edge--", b""]), {"content_type": "multipart/form-data; boundary=edge"}

    def figure(self, name: str) -> float:
        """The sum of a figure for Prometheus over its labels."""
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextmanager
def serving(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """``crsdun serve`` with these arguments on a free port; it has ended in order when the block ends."""
    folder.mkdir(exist_ok=True)
    (folder / "site").mkdir()
    (folder / "temporary").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WATCH)
    sources = str(Path(crsdun.__file__).parents[1])
    # A tool that measures coverage, or a debugger, must not begin in the processes that are counted here.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), sources]),
        "WATCHED": str(folder / "watched"),
        "TMPDIR": str(folder / "temporary"),
        "CRSDUN_TOKEN": TOKEN,
        "OMP_NUM_THREADS": "1",
        **(environment or {}),
    }
    command = [sys.executable, "-m", "crsdun", "serve", *arguments, "--port", "0", "--json"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("{"), (line, (folder / "log").read_text())
        yield Service(process, json.loads(line)["link"], folder)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, (folder / "log").read_text()
        assert_nothing_is_left(folder)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def assert_nothing_is_left(folder: Path) -> None:
    """No process of the service runs, no file of it is left, and it has printed no traceback."""
    processes = [int(line) for line in (folder / "watched.processes").read_text().split()]
    until = time.monotonic() + 30
    while any(Path(f"/proc/{each}/cmdline").exists() and b"python" in cmdline(each) for each in processes):
        assert time.monotonic() < until, [cmdline(each) for each in processes]
        time.sleep(0.05)
    assert not [each for each in (folder / "temporary").iterdir() if each.name.startswith((".crsdun", "crsdun"))]
    assert "Traceback" not in (folder / "log").read_text()


def cmdline(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
