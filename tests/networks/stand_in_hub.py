"""A stand-in for the Hugging Face Hub on this machine: what huggingface_hub asks for downloads and commits.

It speaks the hub's HTTP as huggingface_hub 2.4 uses it, with LFS for large files as the hub has it where ``hf_xet``
is switched off, and notes every request.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from crsdun.networks import hub as ours

TOKEN = "hf_of_the_stand_in"
LFS = (".safetensors", ".bin", ".pt", ".pkl")


@dataclass
class Repository:
    """Commits by their id, each with all its files, and what branches and tags point to."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """A commit with these files besides those of the branch; returns its id."""
        whole = {**self.commits.get(self.names.get(branch, ""), {}), **files}
        told = repr(
            [len(self.commits), sorted((name, hashlib.sha256(data).digest()) for name, data in whole.items())]
        )
        commit = hashlib.sha1(told.encode()).hexdigest()
        self.commits[commit] = whole
        self.names[branch] = commit
        return commit

    def at(self, revision: str) -> str | None:
        return self.names.get(revision, revision if revision in self.commits else None)


@dataclass
class StandInHub:
    """Its repositories, what was uploaded, and what was asked.

    Attributes:
        address, store: of the hub, and of its store of large files, which goes by another name.
        swapped: bytes that are sent in place of an object of LFS, by its SHA-256.
        requests: method, path and headers of each.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    swapped: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""
    store: str = ""

    def repository(self, name: str, files: dict[str, bytes], **facts: bool) -> Repository:
        """A new one with one commit."""
        made = self.repositories[name] = Repository(**facts)
        made.commit(files)
        self.objects |= {hashlib.sha256(data).hexdigest(): data for data in files.values()}
        return made

    def asked(self) -> list[str]:
        """Method and path of each request."""
        return [f"{method} {path}" for method, path, _ in self.requests]


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def handler_of(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def begin(self) -> list[str]:
            """Note the request; the parts of its path."""
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            hub.requests.append((self.command, self.path, dict(self.headers)))
            return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

        def known(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def answer(self, status: int, body: bytes | dict = b"", **headers: str) -> None:
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def refuse(self, status: int, code: str, **headers: str) -> None:
            self.answer(status, X_Error_Code=code, X_Error_Message=code, **headers)

        def visible(self, name: str) -> Repository | None:
            """A repository that the caller may see; otherwise it is refused as the hub does."""
            repository = hub.repositories.get(name)
            if repository is None or (repository.private and not self.known()):
                self.refuse(404 if self.known() else 401, "RepoNotFound")
                return None
            if repository.gated and not self.known():
                self.refuse(401, "GatedRepo")
                return None
            return repository

        # -- downloads -------------------------------------------------------------------------------------------

        def do_HEAD(self):
            self.file(self.begin())

        def do_GET(self):
            parts = self.begin()
            if parts[0] == "lfs":
                self.answer(200, hub.swapped.get(parts[1], hub.objects[parts[1]]))
            elif parts[:2] == ["api", "models"]:
                repository = self.visible("/".join(parts[2:4]))
                if repository is not None:
                    name = "/".join(parts[2:4])
                    self.answer(200, {"id": name, "modelId": name, "sha": repository.at((parts[5:] or ["main"])[0])})
            else:
                self.file(parts)

        def file(self, parts: list[str]) -> None:
            """OWNER/NAME/resolve/REVISION/FILE"""
            if parts[2:3] != ["resolve"]:
                return self.refuse(404, "NotFound")
            repository = self.visible("/".join(parts[:2]))
            if repository is None:
                return None
            commit, name = repository.at(parts[3]), "/".join(parts[4:])
            if commit is None:
                return self.refuse(404, "RevisionNotFound")
            data = repository.commits[commit].get(name)
            if data is None:
                return self.refuse(404, "EntryNotFound", X_Repo_Commit=commit)
            if not name.endswith(LFS):
                return self.answer(200, data, X_Repo_Commit=commit, ETag=f'"{git_hash(data)}"')
            digest = hashlib.sha256(data).hexdigest()
            linked = {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(data))}
            return self.answer(302, X_Repo_Commit=commit, Location=f"{hub.store}/lfs/{digest}", **linked)

        # -- uploads ---------------------------------------------------------------------------------------------

        def do_PUT(self):
            _, digest = self.begin()
            hub.objects[digest] = self.body
            self.answer(200)

        def do_POST(self):
            parts = self.begin()
            if parts == ["api", "validate-yaml"]:
                return self.answer(200, {"errors": [], "warnings": []})
            if not self.known():
                return self.refuse(401, "Unauthorized")
            told = self.body.decode()
            if parts == ["api", "repos", "create"]:
                return self.create(json.loads(told))
            if parts[2:] == ["info", "lfs", "objects", "batch"]:
                return self.batch(json.loads(told))
            if parts[0] == "verify":
                asked = json.loads(told)
                right = hashlib.sha256(hub.objects[asked["oid"]]).hexdigest() == asked["oid"]
                return self.answer(200 if right else 422)
            _, _, owner, name, what, revision = parts
            repository = hub.repositories[f"{owner}/{name}"]
            if what == "branch":
                if revision in repository.names:
                    return self.refuse(409, "Conflict")
                repository.names[revision] = repository.names["main"]
                return self.answer(201)
            if what == "preupload":
                old = repository.commits[repository.names[revision]]
                files = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["path"].endswith(LFS) else "regular",
                        "shouldIgnore": False,
                        "oid": git_hash(old[each["path"]]) if each["path"] in old else None,
                    }
                    for each in json.loads(told)["files"]
                ]
                return self.answer(200, {"files": files})
            url = f"{hub.address}/{owner}/{name}"
            return self.commit(repository, url, revision, [json.loads(line) for line in told.splitlines()])

        def create(self, told: dict) -> None:
            name = f"{told['organization']}/{told['name']}"
            made = {"url": f"{hub.address}/{name}", "name": name}
            if name in hub.repositories:
                return self.answer(409, {**made, "error": "You already created this model repo"})
            hub.repositories[name] = Repository(told.get("visibility") == "private")
            hub.repositories[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            return self.answer(200, made)

        def batch(self, told: dict) -> None:
            objects = []
            for each in told["objects"]:
                verify = {"href": f"{hub.address}/verify"}
                upload = {"href": f"{hub.address}/lfs-upload/{each['oid']}"}
                there = each["oid"] in hub.objects
                objects.append(each if there else {**each, "actions": {"upload": upload, "verify": verify}})
            self.answer(200, {"transfer": "basic", "objects": objects})

        def commit(self, repository: Repository, url: str, branch: str, lines: list[dict]) -> None:
            files = {}
            for each in lines:
                value = each["value"]
                if each["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif each["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            commit = repository.commit(files, branch)
            self.answer(200, {"commitUrl": f"{url}/commit/{commit}", "commitOid": commit})

    return Handler


@contextmanager
def serving() -> Iterator[StandInHub]:
    """A stand-in that listens on a free port of this machine."""
    hub = StandInHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    server.daemon_threads = True
    hub.address, hub.store = (f"http://{name}:{server.server_address[1]}" for name in ("127.0.0.1", "localhost"))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def in_place_of_the_hub(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[StandInHub]:
    """A stand-in to which huggingface_hub speaks in this process, with an empty cache, and a token that it knows."""
    patch.setenv("HF_TOKEN", TOKEN)
    ours.library()
    constants = import_module("huggingface_hub.constants")
    with serving() as hub:
        patch.setattr(constants, "ENDPOINT", hub.address)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(ours, "_fetched", {})
        yield hub
