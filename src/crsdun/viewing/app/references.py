"""Reference spectra from files, to draw beside those of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crsdun.errors import InputError
from crsdun.scenes import SpectralLibrary, read_spectral_library
from crsdun.viewing.app.open_scene import OpenScene
from crsdun.viewing.app.requests import ReferencesRequest


@dataclass(frozen=True)
class Reference:
    """A spectrum at its own wavelengths, as far as the scene has any there; a value may be NaN."""

    name: str
    wavelengths: list[float]
    values: list[float]


def references(scene: OpenScene, files: Mapping[str, Path], request: ReferencesRequest) -> list[Reference]:
    """The spectra that were requested.

    Args:
        files: by the name that the page knows.

    Raises:
        InputError: there is no such file or spectrum, it does not cover the scene's wavelengths, or these are not
            known.
    """
    if scene.wavelengths is None and request.choices:
        raise InputError("the wavelengths of the scene are not known", "set <wavelengths>")
    return [_reference(scene, files, file, index) for file, index in request.choices]


def _reference(scene: OpenScene, files: Mapping[str, Path], file: str, index: int) -> Reference:
    if file not in files:
        raise InputError(f"there are no spectra of {file!r} here", "drop the file again")
    library = read_library(files[file], files[file].stat().st_mtime_ns)
    if index >= len(library.names):
        raise InputError(f"{file} has only {len(library.names)} spectra", "choose another")
    assert scene.wavelengths is not None
    low, high = min(scene.wavelengths), max(scene.wavelengths)
    shown = [channel for channel, nm in enumerate(library.wavelengths) if low <= nm <= high]
    if len(shown) < 2:
        first, last = library.wavelengths[0], library.wavelengths[-1]
        raise InputError(
            f"{file} has {len(shown)} of its wavelengths ({first:g} to {last:g} nm) where the scene is ({low:g} to "
            f"{high:g} nm)",
            "choose spectra of this part of the light",
        )
    values = library.values[index, shown]
    return Reference(
        library.names[index],
        [library.wavelengths[channel] for channel in shown],
        [float(f"{value:.7g}") for value in values],
    )


@lru_cache(maxsize=4)
def read_library(path: Path, modified: int) -> SpectralLibrary:
    """A library, read once; ``modified`` is the time of its file."""
    return read_spectral_library(path)
