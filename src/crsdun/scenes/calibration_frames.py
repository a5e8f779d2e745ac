"""Frames of a calibration from files: the mask in light of several wavelengths, and dark and white frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.optics.wavelengths import band_order
from crsdun.scenes.array_roles import bands_first, find_beside, is_picture, role_by_name
from crsdun.scenes.formats import SUFFIXES, ArrayFile, open_arrays, read_arrays
from crsdun.scenes.formats.pictures import grey, is_scene_folder
from crsdun.scenes.measurement import open_exposures

# The wavelength of a frame in the name of its file.
NANOMETRES = re.compile(r"(\d+(?:\.\d+)?) *nm(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class BandFrames:
    """One frame for each band.

    Attributes:
        frames: (C,H,W) as stored: counts.
        names: of the frames, for messages: their wavelengths, or else their files.
        wavelengths: in nm, ascending, length C; None where they are unknown.
    """

    frames: np.ndarray
    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None


def read_band_frames(
    paths: Sequence[str | Path], wavelengths: Sequence[float] | None = None, key: str | None = None
) -> BandFrames:
    """One frame for each band: from a stack in one file, from a folder, or from several files, sorted by wavelength.

    Names of files that contain a wavelength, as in ``mask_450nm.tif``, tell it. Stacks in several files, and several
    files of one wavelength, are exposures of one band, and are averaged.

    Args:
        paths: one file or folder, or one file for each band.
        wavelengths: of the bands in nm, in the order of the files, or of the stack; None takes what the files tell.
        key: name of the array in each file, where it holds several.

    Raises:
        InputError: a file cannot be read, sizes differ, or there are not as many wavelengths as frames.
    """
    files = [Path(path) for path in paths]
    if len(files) == 1 and files[0].is_dir() and not is_scene_folder(files[0]):
        folder, files = files[0], _files_in(files[0])
        if not files:
            raise InputError(
                f"{folder} holds no frames", "expected one file for each wavelength, such as mask_450nm.tif"
            )
    if len(files) == 1:
        frames, names, known = _stack(files[0], wavelengths, key)
    else:
        frames, names, known = _one_each(files, key)
    known = known if wavelengths is None else tuple(float(value) for value in wavelengths)
    if known is not None and len(known) != len(frames) and len(frames) > 1:
        raise InputError(
            f"there are {len(known)} wavelengths for {len(frames)} frames", "give one for each, in their order"
        )
    if known is not None and len(known) == len(frames):
        names = [f"{value:g} nm" for value in known]
        order = band_order(known)
        if order is not None:
            frames, names, known = frames[order], [names[k] for k in order], tuple(known[k] for k in order)
        elif len(set(known)) < len(known):
            raise InputError("two bands have the same wavelength", "correct <wavelengths>")
    return BandFrames(frames, tuple(names), known)


def read_frame(path: str | Path, kind: str | None = None, key: str | None = None) -> np.ndarray | float:
    """A calibration frame (H,W) from its file, or the mean of a stack of them; a level where the file holds one.

    Args:
        kind: ``dark`` or ``white``: where an array has a name of this role (``ROLES``), that is the frame. None, or a
            file without such names, takes what would be read as a measurement.
        key: of the exposure: in a file with groups its name says which frame belongs to it.

    Raises:
        InputError: the file holds several frames of this kind, or none and several others; or as ``open_exposures``.
    """
    name = None if kind is None else _called(path, kind, key)
    if name is not None and (level := open_arrays(path).arrays[name]).size == 1:
        return float(np.asarray(level).item())
    exposures = open_exposures(path, name)
    if len(exposures) == 1:
        return exposures[0].frame
    total = np.zeros(exposures.frames.shape[1:])
    for exposure in exposures:
        total += exposure.frame
    mean: np.ndarray = (total / len(exposures)).astype(np.float32)
    return mean


def _called(path: str | Path, kind: str, key: str | None) -> str | None:
    """The array of a file whose name says that it is of a ``kind``; None where it is the only one that may be."""
    file, role = open_arrays(path), f"{kind} frame"
    found = find_beside(file, role, key or "")
    if found is not None:
        return found
    roles = [role_by_name(name, array) for name, array in file.arrays.items() if is_picture(array)]
    possible = [role for role in roles if role in (None, "measurement", "dark frame", "white frame")]
    if len(possible) > 1 or {"dark frame", "white frame"} & set(possible):
        raise InputError(
            f"no array of {file.path} is called {kind}, and it holds {file.contents}",
            f"call the right array {kind!r}, or keep it in a file of its own",
        )
    return None


def _files_in(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def _stack(
    path: Path, wavelengths: Sequence[float] | None, key: str | None
) -> tuple[np.ndarray, list[str], tuple[float, ...] | None]:
    """The frames of one file, or of a folder with a picture for each band."""
    file = grey(read_arrays(path))
    name, array = _frames_of(file, key)
    known = file.wavelengths if wavelengths is None else tuple(wavelengths)
    if array.ndim == 2:
        found = NANOMETRES.search(path.stem)
        return file.encoding(name).decode(array)[None], [path.name], (float(found[1]),) if found else known
    frames = file.encoding(name).decode(np.ascontiguousarray(bands_first(array, file, known)))
    return frames, [f"frame {number}" for number in range(1, len(frames) + 1)], known


def _one_each(paths: Sequence[Path], key: str | None) -> tuple[np.ndarray, list[str], tuple[float, ...] | None]:
    """One file for each frame, or several of one wavelength."""
    found = [NANOMETRES.search(path.stem) for path in paths]
    if any(found) and not all(found):
        odd = next(path for path, match in zip(paths, found, strict=True) if not match)
        raise InputError(
            f"{odd} has no wavelength in its name, and others have",
            "name every frame as in mask_450nm.tif, and keep dark and white frames elsewhere",
        )
    by_name: dict[str, list[Path]] = {}
    for path, match in zip(paths, found, strict=True):
        by_name.setdefault(f"{float(match[1]):g} nm" if match and all(found) else str(path), []).append(path)
    frames: list[np.ndarray] = []
    for same in by_name.values():
        exposures = [_mean(path, key) for path in same]
        for path, frame in zip(same, exposures, strict=True):
            first = frames[0] if frames else exposures[0]
            if frame.shape != first.shape:
                raise InputError(
                    f"{path} has {frame.shape[0]}×{frame.shape[1]} pixels but {paths[0].name} "
                    f"{first.shape[0]}×{first.shape[1]}",
                    "take all frames with the same detector window",
                )
        frames.append(exposures[0] if len(exposures) == 1 else np.stack(exposures).mean(0, dtype=np.float32))
        check_budget(frames[0].nbytes * len(by_name), "what these files contain")
    known = tuple(float(name.removesuffix(" nm")) for name in by_name) if all(found) else None
    return np.stack(frames), list(by_name), known


def _mean(path: Path, key: str | None) -> np.ndarray:
    """The frame in a file, or the mean of a stack of exposures."""
    file = grey(read_arrays(path))
    name, array = _frames_of(file, key)
    values = file.encoding(name).decode(array)
    if values.ndim == 2:
        return values
    mean: np.ndarray = bands_first(values, file, None).mean(0, dtype=np.float32)
    return mean


def _frames_of(file: ArrayFile, key: str | None) -> tuple[str, np.ndarray]:
    """The array with frames: the one called ``key``, or the only one that is a frame or a stack."""
    if key is not None and key not in file.arrays:
        raise InputError(f"{file.path} has no array {key!r}", f"it holds {file.contents}")
    arrays = {name: array for name, array in file.arrays.items() if key in (None, name) and array.ndim in (2, 3)}
    if len(arrays) != 1:
        raise InputError(
            f"{file.path} holds {file.contents}, and one frame or one stack of them is needed", "choose it with <key>"
        )
    return next(iter(arrays.items()))
