"""Files that come in: which kinds, how large, and what is in them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from crsdun.budget import also_limited_to
from crsdun.classifiers import load_classifier
from crsdun.classifiers.files import HEADER as OF_A_CLASSIFIER
from crsdun.errors import InputError
from crsdun.optics import CassiCamera, read_camera
from crsdun.scenes import describe, read_spectral_library
from crsdun.scenes.formats.envi import DATA_SUFFIXES as ENVI_SUFFIXES
from crsdun.scenes.formats.text_table import TABLES
from crsdun.scenes.inspection import ArrayDescription, FileDescription, WeightsDescription
from crsdun.storage import HIDDEN
from crsdun.viewing.app.wording import page_message
from crsdun.web.uploads import MEGABYTE, UNPACKED, file_name

SUFFIXES = {".mat", ".npy", ".npz", ".h5", ".hdf5", ".hdr", ".tif", ".tiff", ".png", ".safetensors"}
SUFFIXES |= {suffix for suffix in ENVI_SUFFIXES if suffix}  # data that belongs to a .hdr
SUFFIXES |= set(TABLES)
QUOTA = 4  # what a tab may store, in the same
WEIGHTS = (".safetensors", ".onnx", ".xml")


@dataclass(frozen=True)
class CameraSummary:
    """A camera file: what it holds, and what its calibration doubted, in lines; (rows, columns) of its frames."""

    lines: tuple[str, ...]
    doubts: tuple[str, ...]
    detector: tuple[int, int]


@dataclass(frozen=True)
class FileSummary:
    """What is in a file, or the ``problem`` with it.

    Attributes:
        name: as the browser knows the file.
        is_weights: it holds a network instead of arrays.
        wavelengths: their number, the first and the last in nm; None where the file has none.
        spectra: names of the spectra that it holds instead of arrays.
        camera: that it holds instead of arrays.
        classes: names of those that its classifier gives, which it holds instead of arrays.
    """

    name: str
    format: str = ""
    problem: str = ""
    is_weights: bool = False
    arrays: tuple[ArrayDescription, ...] = ()
    wavelengths: tuple[int, float, float] | None = None
    spectra: tuple[str, ...] = ()
    camera: CameraSummary | None = None
    classes: tuple[str, ...] = ()


class Uploads:
    """The folder of the uploads of a tab, and how many bytes they may have.

    Args:
        folder: is created.
        limit: bytes of the largest upload; all of them together may have ``QUOTA`` times that.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit, self.room = folder, limit, QUOTA * limit
        folder.mkdir(parents=True)

    def take(self, count: int) -> None:
        """Reserve bytes; raises an InputError where there is no room for them."""
        if count > self.room:
            raise InputError("there is no room for more uploads in this tab", "start afresh with Forget everything")
        self.room -= count


async def receive(name: str, chunks: AsyncIterator[bytes], uploads: Uploads, announced: int | None) -> Path:
    """Write an upload into a folder, whole or not at all; of several of one name, the last to be complete stays.

    All uploads run in the event loop, one step at a time, so what they reserve needs no lock.

    Args:
        name: as the browser calls it; only its last part is used.
        announced: bytes that the browser announces; too many are refused before they are read.

    Raises:
        InputError: another kind of file, too large, or no room for it.
    """
    name = file_name(name)
    if not name or Path(name).suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{name or 'this'} is not a file that can be opened here",
            "expected .mat, .npy, .npz, .h5, .tif, .png, an ENVI pair (.hdr with its data), a camera file (.npz), "
            "spectra (.csv, .sli with its .hdr), weights or a classifier (.safetensors)",
        )
    too_large = InputError(
        f"{name} is larger than {uploads.limit / MEGABYTE:.0f} MB, the most this explorer takes",
        "crop it, or raise <limit>",
    )
    if announced is not None and announced > uploads.limit:
        raise too_large
    path, size = uploads.folder / name, 0
    with tempfile.NamedTemporaryFile(dir=uploads.folder, prefix=HIDDEN, delete=False) as file:
        part = Path(file.name)
        try:
            async for chunk in chunks:
                if size + len(chunk) > uploads.limit:
                    raise too_large
                uploads.take(len(chunk))
                size += len(chunk)
                file.write(chunk)
            file.flush()
            replaced = path.stat().st_size if path.exists() else 0
            part.replace(path)
            size = replaced
        finally:
            uploads.room += size
            part.unlink(missing_ok=True)
    return path


def summarise(path: Path, limit: int) -> FileSummary:
    """What is in a file; ``limit``: bytes of the largest upload."""
    suffix = path.suffix.lower()
    if suffix in WEIGHTS and suffix != ".safetensors":
        # Networks of other engines hold no arrays; whether they are whole shows when they are used.
        return FileSummary(path.name, format=suffix, is_weights=True)
    try:
        with also_limited_to(limit * UNPACKED, "limit"):
            if suffix in TABLES:
                return _summarise_library(path, "table")
            description = describe(path)
            if isinstance(description, FileDescription) and "spectra_names" in description.metadata:
                return _summarise_library(path, description.format)
            if isinstance(description, FileDescription) and description.metadata.get("kind") == "camera":
                return _summarise_camera(path)
            if isinstance(description, WeightsDescription) and OF_A_CLASSIFIER in description.metadata:
                return _summarise_classifier(path)
    except (InputError, OSError, MemoryError) as error:
        return FileSummary(path.name, problem=page_message(error, [path.parent]))
    if isinstance(description, WeightsDescription):
        return FileSummary(path.name, description.format, is_weights=True)
    known = description.wavelengths
    wavelengths = (len(known), known[0], known[-1]) if known else None
    return FileSummary(path.name, description.format, arrays=description.arrays, wavelengths=wavelengths)


def _summarise_camera(path: Path) -> FileSummary:
    stored = read_camera(path)
    CassiCamera.load(stored)  # its arrays fit together
    known = stored.wavelengths
    return FileSummary(
        path.name, "camera file",
        wavelengths=None if known is None else (len(known), known[0], known[-1]),
        camera=CameraSummary(tuple(stored.described()), tuple(stored.doubts), stored.detector),
    )  # fmt: skip


def _summarise_classifier(path: Path) -> FileSummary:
    classifier = load_classifier(path)
    known, names = classifier.wavelengths, tuple(classifier.class_names[number] for number in classifier.given)
    wavelengths = None if known is None else (len(known), known[0], known[-1])
    return FileSummary(path.name, f"classifier ({classifier.kind})", wavelengths=wavelengths, classes=names)


def _summarise_library(path: Path, format: str) -> FileSummary:
    library = read_spectral_library(path)
    known = library.wavelengths
    return FileSummary(path.name, format, wavelengths=(len(known), known[0], known[-1]), spectra=library.names)
