"""Weights on the Hugging Face Hub, at an address such as ``hf://owner/name``.

Of a repository, only the file ``model.safetensors`` is read, whatever else it holds or names: the header of that file
says everything about the network. What was fetched stays in the cache of huggingface_hub, which also knows the user's
token and the address of the hub (``HF_TOKEN``, ``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``). The network is used
for such addresses alone, and nothing else is sent.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.provenance import sha256_of
from crsdun.version import __version__

WEIGHTS = "model.safetensors"
SCHEME = re.compile(r"hf:/{1,2}")  # a Path has lost one of the slashes
NAME = r"\w[\w.-]*"  # neither hidden nor the folder above: the cache has folders of these names
ADDRESS = re.compile(
    rf"{SCHEME.pattern}(?P<repository>{NAME}/{NAME})(@(?P<revision>{NAME}(/{NAME})*))?"
    r"(#sha256=(?P<sha256>[0-9a-fA-F]{64}))?",
    re.ASCII,
)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = 8  # digits of a commit in a title
FORMS = "write hf://owner/name, hf://owner/name@revision, or either with #sha256=… behind"


@dataclass(frozen=True)
class HubAddress:
    """Where weights lie on the hub.

    Attributes:
        repository: ``owner/name``.
        revision: a branch, a tag or a commit; None is the default branch, whatever it holds today.
        sha256: of the weights file, hexadecimal; None accepts whatever the hub states.
    """

    repository: str
    revision: str | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str | os.PathLike) -> HubAddress:
        """The address that is written in ``text``.

        Raises:
            InputError: it is none.
        """
        found = ADDRESS.fullmatch(os.fspath(text))
        if found is None:
            raise InputError(f"{text} is no address of weights on the hub", FORMS)
        sha256 = found["sha256"]
        return cls(found["repository"], found["revision"], sha256 and sha256.lower())

    @property
    def name(self) -> str:
        """The last part of the repository's name, and the revision if there is one, commits in short: for titles."""
        name, revision = self.repository.rpartition("/")[2], self.revision
        if revision is None:
            return name
        return f"{name}@{revision[:SHORT] if COMMIT.fullmatch(revision) else revision}"

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"hf://{self.repository}{revision}" + ("" if self.sha256 is None else f"#sha256={self.sha256}")


def is_hub_address(given: str | os.PathLike) -> bool:
    """Whether something given as weights is meant for the hub, be it written well or not."""
    return SCHEME.match(os.fspath(given)) is not None


# -- from the hub ----------------------------------------------------------------------------------------------

_fetched: dict[HubAddress, Path] = {}  # so that an address means the same file as long as a process lives


def fetch(address: HubAddress) -> Path:
    """The weights file at an address: from the cache if it is the newest of its revision, or else from the hub.

    Where the hub cannot be reached, what the cache holds of the revision is taken. In either case the file must have
    the checksum that the hub stated when it was fetched.

    Raises:
        InputError: huggingface_hub is not installed, there is no such repository, revision or file, the hub cannot be
            reached and the cache lacks the file, or a checksum differs.
    """
    known = _fetched.get(address)
    if known is not None and known.exists():
        return known
    hub = library()
    with refusals(address):
        path = Path(hub.hf_hub_download(address.repository, WEIGHTS, revision=address.revision, **_caller()))
        _check(path, address)
    _fetched[address] = path
    return path


def pinned(path: Path, address: HubAddress) -> HubAddress:
    """The address with the commit that a fetched file is of."""
    commit = path.parent.name  # the cache keeps it as snapshots/COMMIT/model.safetensors
    return replace(address, revision=commit) if COMMIT.fullmatch(commit) else address


def _check(path: Path, address: HubAddress) -> None:
    """Raise an InputError unless a file in the cache is what the hub stated, and what the address asks for."""
    found, stated = sha256_of(path), _stated(path, address)
    if stated is not None and stated != (found if len(stated) == len(found) else _git_hash(path)):
        for damaged in {path.resolve(), path}:
            damaged.unlink(missing_ok=True)
        raise InputError(
            f"the file at {replace(address, sha256=None)} is not what the hub states: its SHA-256 is {found}, not "
            f"{stated}",
            "it was removed from the cache: fetch it again",
        )
    if address.sha256 not in (None, found):
        raise InputError(
            f"the SHA-256 of {replace(address, sha256=None)} is {found}, not {address.sha256}",
            "name the revision that has it, or omit #sha256=… if you trust what is there now",
        )


def _stated(path: Path, address: HubAddress) -> str | None:
    """The checksum that the hub stated of a file in the cache: its SHA-256, or its hash in git; None if unknown."""
    if path.is_symlink():
        return Path(os.readlink(path)).name  # a file of the cache is called by it
    hub = library()  # this file system has no links: ask again, where that is possible
    if hub.is_offline_mode():
        return None
    commit = pinned(path, address).revision
    stated: str | None = hub.get_hf_file_metadata(hub.hf_hub_url(address.repository, WEIGHTS, revision=commit)).etag
    return stated


def _git_hash(path: Path) -> str:
    """What git calls a file, and the hub one that is not kept apart from its repository."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


# -- to the hub ------------------------------------------------------------------------------------------------


def publish(
    address: HubAddress,
    files: Mapping[str, bytes],
    message: str,
    private: bool | None = None,
    keep: frozenset[str] = frozenset(),
) -> tuple[HubAddress, set[str]]:
    """Commit files to a repository, all of them or none; it is created where it is missing.

    Args:
        address: its revision is a branch, created where it is missing.
        files: by their names in the repository; ``model.safetensors`` must be among them.
        private: whether a new repository is; None leaves that to the owner's settings.
        keep: files that are left as they are where the repository has them.

    Returns:
        the address of what was published, with its commit and SHA-256, and the names of the files that were left.

    Raises:
        InputError: huggingface_hub is not installed, there is no token or it permits too little, the hub cannot be
            reached, or it does not state the checksum of what was sent.
    """
    if address.sha256 is not None or COMMIT.fullmatch(address.revision or ""):
        raise InputError(f"nothing can be published at {address}", "write hf://owner/name or hf://owner/name@branch")
    hub = library()
    if hub.get_token() is None:
        raise InputError(
            "publishing needs a token of the hub", "log in with hf auth login, or set the variable HF_TOKEN"
        )
    api = hub.HfApi(**_caller())
    where: dict[str, Any] = {"repo_id": address.repository, "revision": address.revision}
    with refusals(address):
        api.create_repo(address.repository, private=private, exist_ok=True)
        if address.revision is not None:
            api.create_branch(address.repository, branch=address.revision, exist_ok=True)
        left = {name for name in sorted(keep & files.keys()) if api.file_exists(filename=name, **where)}
        operations = [hub.CommitOperationAdd(name, files[name]) for name in files if name not in left]
        commit = api.create_commit(operations=operations, commit_message=message, **where)
        sent = hashlib.sha256(files[WEIGHTS]).hexdigest()
        published = replace(address, revision=commit.oid, sha256=sent)
        stated = hub.get_hf_file_metadata(hub.hf_hub_url(address.repository, WEIGHTS, revision=commit.oid)).etag
    if stated != sent:
        raise InputError(
            f"what was published at {replace(published, sha256=None)} has SHA-256 {stated} on the hub, not {sent}",
            "publish it again",
        )
    return published, left


# -- the library -----------------------------------------------------------------------------------------------


def library() -> Any:
    """huggingface_hub, without telemetry; imported by this function alone, since it reads its settings but once.

    Raises:
        InputError: it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise InputError(
            f"weights on the hub need huggingface_hub, which is not installed ({error})", "pip install 'crsdun[hub]'"
        ) from error
    return huggingface_hub


def _caller() -> dict[str, str]:
    """Who asks the hub."""
    return {"library_name": "crsdun", "library_version": __version__}


@contextmanager
def refusals(address: HubAddress) -> Iterator[None]:
    """Inside the block, errors of huggingface_hub become InputErrors."""
    hub = library()
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # those of its transport have no base class in common with its own
        raise _refusal(address, error, hub) from error


def _refusal(address: HubAddress, error: Exception, hub: Any) -> InputError:
    errors, place = hub.errors, replace(address, sha256=None)
    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"the owner of {address.repository} asks for consent first",
            "give it on the page of the repository, and log in with hf auth login or set the variable HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(
            f"there is no repository {address.repository} on the hub, or it is private",
            "check the name; for a private one, log in with hf auth login or set the variable HF_TOKEN",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(
            f"{address.repository} has no revision {address.revision or 'main'}",
            "name a branch, a tag or a commit of it",
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return InputError(
            f"{place} holds no {WEIGHTS}", "only weights that crsdun push has published are read, and no pickles"
        )
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        if hub.is_offline_mode():
            return InputError(f"{place} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it", "unset it once")
        return InputError(
            f"{place} is not in the cache, and the hub cannot be reached ({_reason(error.__cause__ or error)})",
            "try again where it can be",
        )
    return InputError(f"the hub refused {place} ({_reason(error)})", "check the address, your token and the network")


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
