"""A running explorer for tests, and a client that talks to it without a browser."""

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
from crsdun.web.listening import listen

KEY = "the-key"


@contextmanager
def running(paths: Sequence[Path] = (), limit: int = 8 << 20) -> Iterator[str]:
    """The link of an explorer that listens on a free port until the block ends; it opens as often as it is used."""
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        config = ServerConfig("127.0.0.1", port, tuple(paths), limit, make_key=lambda: KEY)
        uvicorn_config = uvicorn.Config(application(config), log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(uvicorn_config)
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


class Client:
    """A tab of a visitor; ``get``, ``post`` and ``put`` return the answer.

    Its requests speak of the last version of what is open that it was answered.

    Args:
        visitor: another tab of the same browser; None is a browser that has just come.
    """

    def __init__(self, link: str, key: str | None = KEY, visitor: Client | None = None):
        self.host = link.split("/")[2]
        self.cookie, self.token = (visitor.cookie, visitor.token) if visitor else ("", "")
        self.workspace, self.version = "", 0
        if key is not None:
            status, headers, _ = self.request("GET", f"/?key={key}")
            assert status == 303, status
            self.cookie = headers["set-cookie"].partition(";")[0]
            self.token = self.post("/api/token", code=headers["location"].rpartition("=")[2])["token"]
            self.workspace = self.post("/api/workspace")["id"]
            self.state()

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        own = {"cookie": self.cookie, "x-crsdun-token": self.token, "x-crsdun-workspace": self.workspace}
        headers = {"x-crsdun": "page", "x-crsdun-version": str(self.version), **own, **headers}
        try:
            connection.request(method, path, body, {name: value for name, value in headers.items() if value})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> bytes:
        status, _, body = self.request("GET", path)
        assert status == 200, body
        return body

    def state(self) -> dict[str, Any]:
        return self._answer(self.get("/api/state"))

    def post(self, path: str, **body: Any) -> Any:
        status, _, answer = self.request("POST", path, json.dumps(body))
        assert status == 200, answer
        return self._answer(answer)

    def text(self, path: str, **body: Any) -> str:
        """What is answered to a JSON object with something other than JSON."""
        status, _, answer = self.request("POST", path, json.dumps(body))
        assert status == 200, answer
        return answer.decode()

    def _answer(self, body: bytes) -> Any:
        answer = json.loads(body)
        if isinstance(answer, dict):
            self.version = answer.get("version", self.version)
        return answer

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> str:
        """The error message of a refused request."""
        status, _, answer = self.request(method, path, body, **headers)
        assert 400 <= status < 500, (status, answer)
        return json.loads(answer)["error"]

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        status, _, body = self.request("PUT", f"/api/files/{name}", content)
        assert status == 200, body
        return json.loads(body)

    def wait(self) -> dict[str, Any]:
        """The job, when it has ended."""
        for _ in range(3000):
            job = self._answer(self.get("/api/job"))["job"]
            if job["state"] not in ("waiting", "running"):
                return job
            time.sleep(0.02)
        raise AssertionError("it never ended")


# Milliseconds from an event to the frame in which its change is seen, for bands, stages (also of the map of spectral
# angles) and pixels not shown before.
LATENCIES = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const soon = () => new Promise((resume) => setTimeout(resume, 1));
  const views = [...document.querySelectorAll(".view")].filter((view) => view.clientWidth);
  const times = { band: [], stage: [], angle: [], spectrum: [] };
  const time = async (what, act, done) => {
    const start = performance.now();
    act();
    while (!done()) await soon();
    await frame();
    times[what].push(performance.now() - start);
  };
  const slide = (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input"));
  };
  const shown = (words) => views.every((view) => view.dataset.shown?.includes(words));

  for (let band = 0; band < 12; band++) await time("band", () => slide("band", band), () => shown(`bands=${band}&`));
  const mode = document.getElementById("mode"), last = views.at(-1), stages = document.getElementById("stage").max;
  if (stages > 1) {
    const hasTruth = !mode.querySelector("option[value=angle]").disabled;
    for (const look of ["colour", "false", "band", ...(hasTruth ? ["angle"] : [])]) {
      mode.value = look;
      mode.dispatchEvent(new Event("change"));
      while (!shown(`mode=${look}`)) await soon();
      const what = look === "angle" ? look : "stage";
      await time(what, () => slide("stage", 1), () => last.dataset.shown.includes("stage=1&"));
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
  return times;
}"""
