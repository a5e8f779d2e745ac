"""A running explorer for tests, and somebody who talks to it without a browser."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from crsdun.viewing.app.server import ServerConfig, application

KEY = "the-key"


@contextmanager
def running(given: Sequence[Path] = (), limit: int = 8 << 20) -> Iterator[str]:
    """The link of an explorer that listens on a free port until the block ends."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        settings = ServerConfig("127.0.0.1", port, tuple(given), limit, KEY)
        config = uvicorn.Config(application(settings), log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}/?key={KEY}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


class Visitor:
    """Somebody with a session: ``get``, ``say`` and ``put`` return what was answered."""

    def __init__(self, link: str, key: str | None = KEY):
        self.host = link.split("/")[2]
        self.cookie = ""
        if key is not None:
            status, headers, _ = self.ask("GET", f"/?key={key}")
            assert status == 303, status
            self.cookie = headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        given = {"x-crsdun": "page", "cookie": self.cookie, **headers}
        try:
            connection.request(method, path, body, {name: value for name, value in given.items() if value})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        status, _, body = self.ask("GET", path)
        assert status == 200, body
        return body

    def state(self) -> dict[str, Any]:
        return json.loads(self.get("/api/state"))

    def say(self, path: str, **what: Any) -> Any:
        status, _, body = self.ask("POST", path, json.dumps(what))
        assert status == 200, body
        return json.loads(body)

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> str:
        """The message with which something is refused."""
        status, _, answer = self.ask(method, path, body, **headers)
        assert 400 <= status < 500, (status, answer)
        return json.loads(answer)["error"]

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        status, _, body = self.ask("PUT", f"/api/files/{name}", content)
        assert status == 200, body
        return json.loads(body)

    def wait(self) -> dict[str, Any]:
        """The job, when it has ended."""
        for _ in range(3000):
            job = json.loads(self.get("/api/job"))["job"]
            if job["state"] not in ("waiting", "running"):
                return job
            time.sleep(0.02)
        raise AssertionError("it never ended")


# Milliseconds from an event to the frame in which its change is seen, for bands, stages and pixels not shown before.
LATENCIES = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const soon = () => new Promise((resume) => setTimeout(resume, 1));
  const views = [...document.querySelectorAll(".view")].filter((view) => view.clientWidth);
  const told = { band: [], stage: [], spectrum: [] };
  const time = async (what, act, done) => {
    const start = performance.now();
    act();
    while (!done()) await soon();
    await frame();
    told[what].push(performance.now() - start);
  };
  const slide = (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input"));
  };
  const shown = (words) => views.every((view) => view.dataset.shown.includes(words));

  for (let band = 0; band < 12; band++) await time("band", () => slide("band", band), () => shown(`bands=${band}&`));
  const mode = document.getElementById("mode"), last = views.at(-1), stages = document.getElementById("stage").max;
  if (stages > 1) {
    for (const look of ["colour", "false", "band"]) {
      mode.value = look;
      mode.dispatchEvent(new Event("change"));
      while (!shown(`mode=${look}`)) await soon();
      await time("stage", () => slide("stage", 1), () => last.dataset.shown.includes("stage=1&"));
      slide("stage", stages);
      while (!last.dataset.shown.includes(`stage=${stages}&`)) await soon();
    }
  }
  const box = document.querySelector(".stack").getBoundingClientRect(), where = document.getElementById("where");
  for (let step = 0; step < 12; step++) {
    const at = { clientX: box.x + box.width * (0.1 + step / 15), clientY: box.y + box.height / 2 };
    const before = where.textContent;
    const move = () => views[0].dispatchEvent(new PointerEvent("pointermove", at));
    await time("spectrum", move, () => where.textContent !== before);
  }
  return told;
}"""
