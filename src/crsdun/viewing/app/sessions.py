"""One visitor each: what they opened and uploaded, in a folder that goes when they do."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.viewing.app.jobs import Job
from crsdun.viewing.app.uploads import found_in
from crsdun.viewing.app.workspace import Workspace

PREFIX = "crsdun-app-"
MOST_SESSIONS = 32
IDLE_SECONDS = 12 * 3600
MOST_TRIALS = 200
# What one visitor may keep here, in sizes of the largest upload.
QUOTA = 4
WEIGHTS = (".safetensors", ".onnx", ".xml")


@dataclass
class Session:
    """A visitor.

    Attributes:
        folder: for uploads and downloads of this visitor alone.
        files: measurements, masks and scenes, by the name the page shows.
        weights: of networks, by name.
        subject: what is open.
        version: grows with every change of the subject, so that the page knows when to ask again.
        job: the last computation.
        trials: simulations, with their settings and figures.
    """

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    subject: Workspace | None = None
    version: int = 0
    job: Job | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    used: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add_file(self, path: Path, limit: int) -> None:
        """A file that was uploaded, or named on the command line: looked into once."""
        if path.suffix.lower() in WEIGHTS:
            self.weights[path.stem] = path
        else:
            self.files[path.name] = path
        # Weights for other engines are no arrays; whether they are whole shows when they are used.
        self.found[path.name] = (
            {"name": path.name, "format": path.suffix, "looks_like": "weights"}
            if path.suffix.lower() in WEIGHTS[1:]
            else found_in(path, limit)
        )
        # The data of an ENVI pair may have come before its header, or after.
        for name, told in self.found.items():
            partner = self.files.get(name)
            if partner is not None and "problem" in told and partner.stem == path.stem and partner != path:
                self.found[name] = found_in(partner, limit)

    def open(self, subject: Workspace) -> None:
        """Look at something else."""
        with self.lock:
            self.subject, self.version = subject, self.version + 1

    def opened(self) -> Workspace:
        """What is open.

        Raises:
            InputError: nothing is.
        """
        if self.subject is None:
            raise InputError("nothing is open", "choose a sample or drop a file")
        return self.subject

    def room(self, limit: int) -> int:
        """Bytes that may still be uploaded."""
        taken = sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
        return min(limit, QUOTA * limit - taken)

    def close(self) -> None:
        if self.job is not None:
            self.job.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All visitors. A session is known by a token that only its browser has."""

    def __init__(self) -> None:
        _remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def new(self) -> tuple[str, Session]:
        """A visitor who just came; who has been away for long, or came first of too many, is forgotten."""
        token = secrets.token_urlsafe(32)
        session = Session(Path(tempfile.mkdtemp(dir=self.folder)))
        with self._lock:
            self._sessions[token] = session
            by_use = sorted(self._sessions, key=lambda each: self._sessions[each].used)
            now = time.monotonic()
            gone = [each for each in by_use if now - self._sessions[each].used > IDLE_SECONDS]
            gone += by_use[: max(0, len(by_use) - MOST_SESSIONS)]
            closed = [self._sessions.pop(each) for each in dict.fromkeys(gone)]
        for each in closed:
            each.close()
        return token, session

    def get(self, token: str | None) -> Session | None:
        session = self._sessions.get(token or "")
        if session is not None:
            session.used = time.monotonic()
        return session

    def close(self) -> None:
        """Forget everybody and remove their files."""
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_leftovers() -> None:
    """Folders of explorers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        match = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if match and not _alive(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
