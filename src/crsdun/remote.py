"""Files behind an address, such as ``s3://bucket/frames/one.npz``: fetched to be read, sent once they are whole.

Which addresses there are is fsspec's matter: ``s3://`` by s3fs, and every other scheme that it knows. Credentials and
endpoints are those of the environment, as for any other program (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` …).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from crsdun.errors import InputError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://[^/]")  # a single letter is a drive of Windows


class Remote(PurePosixPath):
    """The address of a file or folder elsewhere, with the names and parts of a path; ``str`` is the address."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def resolve(self) -> Remote:
        """An address is absolute."""
        return self


Place = Path | Remote
SomePlace = TypeVar("SomePlace", Path, Place)


def place(text: str) -> Place:
    """What a person types for a file or folder: an address, or a path on this machine."""
    return Remote(text) if ADDRESS.match(text) else Path(text)


def natural_order(path: Place) -> tuple[Any, ...]:
    """Sorts paths as people number them: ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", str(path))
    return (*((text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], 0], strict=True)), str(path))


def as_numbered(paths: Sequence[SomePlace]) -> list[SomePlace]:
    """Paths in the order in which they were given; in natural order where that is alphabetical, as a shell expands
    patterns."""
    is_alphabetical = list(paths) == sorted(paths, key=str)
    return sorted(paths, key=natural_order) if is_alphabetical else list(paths)


def exists(path: Remote) -> bool:
    """
    Raises:
        InputError: the store cannot be reached, or there is no library for it.
    """
    with _reaching(path):
        files, name = _open(path)
        return bool(files.exists(name))


def listed(path: Remote) -> list[Remote]:
    """What a pattern with * ? [ matches, or what lies directly in a folder; errors as ``exists``.

    What exists is called so, and no pattern.
    """
    with _reaching(path):
        files, name = _open(path)
        folder = name
        while has_magic(folder) and not files.exists(folder):
            folder = folder.rpartition("/")[0]
        found = files.ls(name, detail=False) if folder == name else files.glob(escape(folder) + name[len(folder) :])
        return [Remote(files.unstrip_protocol(each)) for each in found if each.rstrip("/") != name.rstrip("/")]


def all_in(path: Remote) -> list[str]:
    """The names of all files in a folder and those in it, relative to it; errors as ``exists``."""
    with _reaching(path):
        files, name = _open(path)
        return [each[len(name) :].lstrip("/") for each in files.find(name)]


def is_folder(path: Remote) -> bool:
    """Errors as ``exists``."""
    with _reaching(path):
        files, name = _open(path)
        return bool(files.isdir(name))


def fetch(path: Remote, folder: Path) -> Path:
    """Copy a file or folder into a folder of this machine; of an ENVI header, what has its stem comes along.

    Raises:
        InputError: there is none, or as ``exists``.
    """
    target = folder / path.name
    with _reaching(path):
        files, name = _open(path)
        if not files.exists(name):
            raise InputError(f"there is no {path}")
        if files.isdir(name):
            target.mkdir(exist_ok=True)
            places = {each: target / each[len(name) :].lstrip("/") for each in files.find(name)}
        else:
            places = {name: target}
            if path.suffix.lower() == ".hdr":
                beside = files.glob(f"{escape(name.removesuffix(path.suffix))}.*")
                places |= {each: folder / each.rpartition("/")[2] for each in beside if files.isfile(each)}
        for each, where in places.items():
            if ".." in where.relative_to(folder).parts:
                raise InputError(f"{path} holds {each}, which would lie outside it", "rename it")
            where.parent.mkdir(parents=True, exist_ok=True)
        # Of lists none is taken for a pattern.
        files.get([*places], [str(where) for where in places.values()])
    return target


def send(sources: Sequence[Path], root: Path, path: Remote) -> None:
    """Copy files below ``root`` to the same places below ``path``, one after the other, in this order.

    Raises:
        InputError: as ``exists``.
    """
    with _reaching(path):
        files, name = _open(path)
        targets = {source: f"{name}/{source.relative_to(root).as_posix()}" for source in sources}
        for folder in {target.rpartition("/")[0] for target in targets.values()}:
            files.makedirs(folder, exist_ok=True)
        for source, target in targets.items():
            files.put_file(str(source), target)


def delete(path: Remote) -> None:
    """Delete a file, or a folder with everything in it; errors as ``exists``."""
    with _reaching(path):
        files, name = _open(path)
        if has_magic(name):  # which ``rm`` would take for a pattern
            for each in files.find(name):
                files.rm_file(each)
        else:
            files.rm(name, recursive=True)


def _open(path: Remote) -> tuple[Any, str]:
    """The store, and the path in it; what others write to it is seen at once."""
    from fsspec.core import url_to_fs

    files, name = url_to_fs(str(path), use_listings_cache=False)
    return files, name


@contextmanager
def _reaching(path: Remote) -> Iterator[None]:
    """Every store has errors of its own, which become one kind."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"{path} needs a library that is missing ({error})", "pip install 'crsdun[cluster]'"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path} cannot be reached: {reason}", "check the address, the endpoint and the credentials"
        ) from error
