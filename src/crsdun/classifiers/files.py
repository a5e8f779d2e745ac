"""Classifiers in files: safetensors, that is plain arrays and a JSON header. Nothing in them is ever executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.classifiers.classifier import SpectralClassifier
from crsdun.classifiers.kinds import KINDS
from crsdun.classifiers.marks import MOST_CLASSES, MOST_NAMES
from crsdun.classifiers.normalisation import NORMALISATIONS
from crsdun.errors import InputError
from crsdun.storage import atomic_file
from crsdun.tensor_file import read_tensors
from crsdun.typed import FormatOnly, parse_versioned
from crsdun.version import __version__

SUFFIX = ".safetensors"
HEADER = "crsdun_classes"  # the one metadata entry, JSON
FORMAT = 2  # 1 had a floor of the normalisation, on the scale of its scene
AGAIN = "make it again with crsdun classes"


class StoredClassifier(FormatOnly):
    """The header of a file."""

    version: str
    kind: str
    class_names: list[str]
    given: list[int]
    bands: int
    wavelengths: list[float] | None
    normalisation: str
    smoothing: float
    provenance: dict[str, Any]


def save_classifier(classifier: SpectralClassifier, path: str | Path, overwrite: bool = False) -> None:
    """Write a classifier to a ``.safetensors`` file, whole or not at all.

    Raises:
        InputError: another suffix, the file exists, or the disk refuses.
    """
    path = check_suffix(path)
    with atomic_file(path, overwrite) as part:
        part.write_bytes(to_bytes(classifier))


def check_suffix(path: str | Path) -> Path:
    """The path; raises an InputError unless it ends in ``.safetensors``."""
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path} does not end in {SUFFIX}, as files of classifiers do", "choose another <out>")
    return path


def to_bytes(classifier: SpectralClassifier) -> bytes:
    """The content of a file."""
    from safetensors.numpy import save

    header: StoredClassifier = {
        "format": FORMAT,
        "version": __version__,
        "kind": classifier.kind,
        "class_names": list(classifier.class_names),
        "given": classifier.given.tolist(),
        "bands": classifier.bands,
        "wavelengths": None if classifier.wavelengths is None else list(classifier.wavelengths),
        "normalisation": classifier.normalisation,
        "smoothing": classifier.smoothing,
        "provenance": classifier.provenance,
    }
    return save(
        {name: np.ascontiguousarray(each) for name, each in classifier.arrays.items()}, {HEADER: json.dumps(header)}
    )


def load_classifier(path: str | Path) -> SpectralClassifier:
    """The classifier that ``save_classifier`` wrote.

    Raises:
        InputError: there is no such file, it holds something else, was damaged, or was written by a newer version.
    """
    from safetensors import SafetensorError

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    check_budget(path.stat().st_size, str(path))
    try:
        metadata, arrays = read_tensors(path, "numpy")
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no whole {SUFFIX} file ({' '.join(str(error).split())[:100]})", AGAIN) from error
    if HEADER not in metadata:
        what = "weights of a network" if "crsdun" in metadata else "no classifier of crsdun"
        raise InputError(f"{path} holds {what}", "choose a file that crsdun classes wrote")
    stored: StoredClassifier = parse_versioned(StoredClassifier, FORMAT, metadata[HEADER], path, AGAIN)
    problem = _problem(stored, arrays)
    if problem:
        raise InputError(f"{path} was damaged or edited: {problem}", AGAIN)
    known = stored["wavelengths"]
    return SpectralClassifier(
        stored["kind"],
        tuple(stored["class_names"]),
        np.array(stored["given"], np.int64),
        arrays,
        stored["bands"],
        None if known is None else tuple(known),
        stored["normalisation"],
        stored["smoothing"],
        stored["provenance"],
    )


def _problem(stored: StoredClassifier, arrays: dict[str, np.ndarray]) -> str | None:
    """Why what was read makes no classifier; None where it does."""
    given, known, names = stored["given"], stored["wavelengths"], stored["class_names"]
    if stored["kind"] not in KINDS or stored["normalisation"] not in NORMALISATIONS:
        return f"there is no kind {stored['kind']!r} on spectra normalised by {stored['normalisation']!r}"
    if (
        not 2 <= len(given) <= MOST_CLASSES
        or given != sorted(set(given))
        or not 0 <= given[0] <= given[-1] < len(names)
    ):
        return f"it gives the classes {str(given)[:60]} of {len(names)}"
    if len(names) > MOST_NAMES:
        return f"it names {len(names)} classes, more than {MOST_NAMES}"
    if stored["bands"] < 1 or not stored["smoothing"] >= 0:
        return f"bands {stored['bands']} and smoothing {stored['smoothing']:g} cannot be"
    if known is not None and (len(known) != stored["bands"] or (np.diff(known) <= 0).any()):
        return "its wavelengths are not those of its bands"
    try:
        KINDS[stored["kind"]].check(arrays, len(given), stored["bands"])
    except InputError as error:
        return error.message
    return None
