"""All workspaces of an explorer, and the visitors they belong to."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from crsdun.errors import InputError
from crsdun.storage import scratch_folder
from crsdun.viewing.app.workspace import Workspace

# Beyond this, the least recently used workspace that is not computing is closed.
MOST_WORKSPACES = 16


class WorkspaceStore:
    """Workspaces by an id that only their tab has, which only the visitor that created them may use.

    A visitor is a browser that came by the link. It has a cookie, and a token that only this explorer's page knows.

    Args:
        paths: files and result folders of the command line, open in every tab.
        limit: bytes of the largest upload.
    """

    def __init__(self, paths: Sequence[Path] = (), limit: int = 0):
        self.paths, self.limit = paths, limit
        self._scratch = ExitStack()
        self.folder = self._scratch.enter_context(scratch_folder())
        self._tokens: dict[str, str] = {}  # by the visitor's cookie
        self._codes: dict[str, str] = {}  # of the visitors that have not exchanged theirs
        self._workspaces: dict[tuple[str, str], Workspace] = {}
        self._lock = threading.Lock()

    def admit(self, visitor: str | None = None) -> tuple[str, str]:
        """The cookie of a new visitor, or of one that came again, and the code to exchange for a token."""
        if visitor is None or not self.knows(visitor):
            visitor = secrets.token_urlsafe(32)
            self._tokens[visitor] = secrets.token_urlsafe(32)
        self._codes[visitor] = secrets.token_urlsafe(16)
        return visitor, self._codes[visitor]

    def knows(self, visitor: str | None) -> bool:
        return visitor in self._tokens

    def exchange(self, visitor: str, code: str) -> str | None:
        """The token of a visitor for its code, once."""
        if not secrets.compare_digest(self._codes.get(visitor, "").encode(), code.encode()) or not code:
            return None
        del self._codes[visitor]
        return self._tokens[visitor]

    def owns(self, visitor: str, token: str) -> bool:
        """Whether this is the token of the visitor."""
        return secrets.compare_digest(self._tokens.get(visitor, "").encode(), token.encode()) and bool(token)

    def create(self, visitor: str) -> str:
        """The id of a new workspace.

        Raises:
            InputError: every workspace is computing.
        """
        workspace_id = secrets.token_urlsafe(16)
        with self._lock:
            idle = [key for key, workspace in self._workspaces.items() if not workspace.computing]
            idle.sort(key=lambda key: self._workspaces[key].last_used)
            excess = max(0, len(self._workspaces) + 1 - MOST_WORKSPACES)
            if excess > len(idle):
                raise InputError(f"all {MOST_WORKSPACES} workspaces are computing", "wait until one of them is done")
            closed = [self._workspaces.pop(key) for key in idle[:excess]]
            workspace = Workspace(Path(tempfile.mkdtemp(dir=self.folder)), self.paths, self.limit)
            self._workspaces[visitor, workspace_id] = workspace
        for each in closed:
            each.close()
        workspace.start()
        return workspace_id

    def find(self, visitor: str | None, workspace_id: str | None) -> Workspace | None:
        workspace = self._workspaces.get((visitor or "", workspace_id or ""))
        if workspace is not None:
            workspace.last_used = time.monotonic()
        return workspace

    def close(self) -> None:
        """Close all workspaces and remove their files."""
        with self._lock:
            for workspace in self._workspaces.values():
                workspace.close()
            self._workspaces.clear()
        self._scratch.close()
