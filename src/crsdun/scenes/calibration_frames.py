"""Frames of a calibration from files: the mask in light of several wavelengths, and dark and white frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError, UnitError
from crsdun.optics.wavelengths import band_order
from crsdun.remote import as_numbered
from crsdun.scenes.array_roles import ROLES, around, bands_first, find_beside, is_picture, role_by_name, with_axes
from crsdun.scenes.formats import SUFFIXES, ArrayFile, open_arrays, read_arrays
from crsdun.scenes.formats.envi import without_data
from crsdun.scenes.formats.pictures import grey, is_scene_folder
from crsdun.scenes.formats.zarr_store import is_zarr
from crsdun.scenes.measurement import open_exposures

# The wavelength of a frame in the name of its file; fewer digits are a bandwidth.
NANOMETRES = re.compile(r"(?<!\d)(\d{3,5}(?:[.,]\d+)?) *nm(?![a-z])", re.IGNORECASE)
# A dark or white frame by the name of its file.
KINDS = {
    kind: re.compile(f"(?<![a-z])(?:{'|'.join(ROLES[kind][2])})", re.I) for kind in ("dark frame", "white frame")
}
# Of one band, one list may give the exact wavelength and another that on the filter, so many nm away.
SAME_BAND = 10.0


@dataclass(frozen=True)
class BandFrames:
    """One frame for each band.

    Attributes:
        frames: (C,H,W) as stored: counts.
        names: of the frames, for messages: their wavelengths, or else their files.
        wavelengths: in nm, ascending, length C; None where they are unknown.
        order: which frame each was among those that were given, from 0, length C; None where that need not be the
            order of other frames, since these files tell their wavelengths and were in no order of them.
        files: of how many files each is the mean, length C.
    """

    frames: np.ndarray
    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None
    order: tuple[int, ...] | None
    files: tuple[int, ...]


def read_band_frames(
    paths: Sequence[str | Path],
    wavelengths: Sequence[float] | None = None,
    key: str | None = None,
    axes: str | None = None,
) -> BandFrames:
    """One frame for each band: from a stack in one file, from a folder, or from several files, sorted by wavelength.

    Names of files that contain a wavelength, as in ``mask_450nm.tif``, tell it; of several numbers it is the one that
    changes. Stacks in several files, and several files of one wavelength, are exposures of one band and are averaged.
    Other files in a folder, or in alphabetical order, come as they are numbered: ``mask_2`` before ``mask_10``.

    Args:
        paths: one file or folder, or one file for each band.
        wavelengths: of the bands in nm, in the order of the files, or of the stack, or in any order where these tell
            their own; None takes what they tell.
        key: name of the array in each file, where it holds several; dark and white frames are left out.
        axes: of stacks, such as "chw"; None finds out (``bands_first``).

    Raises:
        InputError: a file cannot be read, sizes differ, there are not as many wavelengths as frames or others than
            the files tell, names do not tell the wavelengths apart, or some are dark or white frames.
    """
    read = _read(paths, _Wanted("mask", key, axes), wavelengths)
    C, known = len(read.frames), read.wavelengths if wavelengths is None else tuple(map(float, wavelengths))
    if known is not None and len(set(known)) < len(known):
        raise InputError("two bands have the same wavelength", "correct <wavelengths>")
    if known is None or (C == 1 and len(known) > 1):  # one picture of the mask for all of them
        return replace(read, wavelengths=known)
    if len(known) != C:
        raise InputError(f"there are {len(known)} wavelengths for {C} frames", "give one for each, in their order")
    as_read = list(range(C))
    same = as_read
    if wavelengths is not None and read.wavelengths is not None and len(read.wavelengths) == C > 1:
        paired = _same_bands(read.wavelengths, known)
        if paired is None:
            raise InputError(
                f"the frames are of {_listed(read.wavelengths)} by their files, and of {_listed(known)} as given",
                "omit <wavelengths>, or correct what the files say",
            )
        same = paired
        known = tuple(known[k] for k in same)
    order = band_order(known) or as_read
    known = tuple(known[k] for k in order)
    in_this_order = read.wavelengths is None or (same == as_read and (wavelengths is not None or order == as_read))
    return BandFrames(
        read.frames[order],
        tuple(f"{value:g} nm" for value in known),
        known,
        tuple(order) if in_this_order else None,
        tuple(read.files[k] for k in order),
    )


def read_band_whites(
    paths: Sequence[str | Path], of: BandFrames, key: str | None = None, axes: str | None = None
) -> np.ndarray:
    """Frames without the mask, one for each band of the frames ``of`` the mask and in their order, (C,H,W) as stored.

    Those that tell their wavelengths are found by them; others were given in the same order as the frames.

    Args:
        paths, key, axes: as of ``read_band_frames``; arrays that are called white frames go before others.

    Raises:
        InputError: as there, or they are not of the bands of the frames.
    """
    C = len(of.frames)
    whites = _read(paths, _Wanted("white", key, axes), range(C))
    if len(whites.frames) != C:
        raise InputError(
            f"there are {len(whites.frames)} white frames for {C} bands", "give one for each band, or one <white>"
        )
    told = whites.wavelengths
    if C == 1:
        return whites.frames
    if told is None or len(told) != C:
        if of.order is None:
            raise InputError(
                "the white frames of the bands do not tell their wavelengths",
                "name them as in white_450nm.tif, or give <wavelengths> in the order of all frames",
            )
        return whites.frames[list(of.order)]
    if of.wavelengths is None:
        raise InputError(
            "the white frames of the bands tell their wavelengths and those of the mask do not",
            "give <wavelengths> in the order of the frames of the mask",
        )
    order = _same_bands(of.wavelengths, told)
    if order is None:
        raise InputError(
            f"the white frames are of {_listed(told)}, and those of the mask of {_listed(of.wavelengths)}",
            "give a white frame of each of these wavelengths",
        )
    return whites.frames[order]


def _same_bands(bands: Sequence[float], others: Sequence[float]) -> list[int] | None:
    """For each wavelength which of the others is of the same band; None where they are of different bands."""
    apart = np.abs(np.subtract.outer(bands, others))
    nearest = apart.argmin(1)
    back = apart.argmin(0)[nearest]
    if len(bands) != len(others) or (back != np.arange(len(bands))).any() or apart.min(1).max() > SAME_BAND:
        return None
    order: list[int] = nearest.tolist()
    return order


def _listed(wavelengths: Sequence[float]) -> str:
    if len(wavelengths) > 4:
        first, second, *_, last = wavelengths
        return f"{first:g}, {second:g} … {last:g} nm"
    return f"{', '.join(f'{value:g}' for value in wavelengths)} nm"


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


# -- files ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """Which array of a file holds the frames.

    Attributes:
        kind: "mask" or "white": what they are taken of.
        key: its name; None takes the only one that may be meant.
        axes: of a stack; None finds out.
    """

    kind: str
    key: str | None
    axes: str | None

    def of(self, path: Path) -> tuple[ArrayFile, str]:
        """The file with what belongs to the array, and its name.

        Raises:
            InputError: there is no such array, or several.
        """
        file = grey(read_arrays(path))
        if self.key is not None and self.key not in file.arrays:
            raise InputError(f"{path} has no array {self.key!r}", f"it holds {file.contents}")
        names = [name for name in file.arrays if self._is_meant(name, file.arrays[name])]
        white = [name for name in names if role_by_name(name, file.arrays[name]) == "white frame"]
        if self.kind == "white" and white:
            names = white
        if len(names) != 1:
            raise InputError(
                f"{path} holds {file.contents}, and one frame or one stack of them is needed", "choose it with <key>"
            )
        return with_axes(around(file, names[0]), self.axes), names[0]

    def _is_meant(self, name: str, array: np.ndarray) -> bool:
        other = ("dark frame", "white frame") if self.kind == "mask" else ("dark frame",)
        may_be = name == self.key if self.key is not None else role_by_name(name, array) not in other
        return may_be and array.ndim in (2, 3) and is_picture(array)


def _read(paths: Sequence[str | Path], wanted: _Wanted, bands: Sequence[float] | None) -> BandFrames:
    """Frames in the order in which they were given, with the wavelengths that files tell.

    Args:
        bands: one number for each, where their number is known.
    """
    files = as_numbered(without_data([Path(path) for path in paths]))
    if len(files) == 1 and files[0].is_dir() and not _is_stack(files[0]):
        folder, files = files[0], as_numbered(_files_in(files[0]))
        if not files:
            raise InputError(
                f"{folder} holds no frames", "expected one file for each wavelength, such as mask_450nm.tif"
            )
    if len(files) == 1:
        return _stack(files[0], wanted, bands)
    _check_one_kind(files)
    return _one_each(files, wanted, _told_by_names(files, bands))


def _is_stack(folder: Path) -> bool:
    """Whether a folder is read as one array: a store of Zarr, or numbered pictures."""
    told = any(NANOMETRES.search(file.stem) for file in _files_in(folder))
    return is_zarr(folder) or (is_scene_folder(folder) and not told)


def _files_in(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))


def _check_one_kind(files: Sequence[Path]) -> None:
    """Raise an InputError where names call some of the files dark or white frames, and others not."""
    for kind, pattern in KINDS.items():
        called = {bool(pattern.search(file.stem)): file for file in reversed(files)}
        if len(called) > 1:
            raise InputError(
                f"{called[True]} is called a {kind}, and {called[False].name} is not",
                "give each kind of frames by itself, with <dark>, <white> or <band_whites> if it is not the mask",
            )


def _told_by_names(files: Sequence[Path], bands: Sequence[float] | None) -> list[float] | None:
    """The wavelength in the name of each file, in nm; None where names do not tell it."""
    found = [tuple(float(each.replace(",", ".")) for each in NANOMETRES.findall(file.stem)) for file in files]
    if not any(found):
        return None
    odd = next((file for file, numbers in zip(files, found, strict=True) if not numbers), None)
    if odd is not None:
        raise InputError(
            f"{odd} has no wavelength in its name, and others have",
            "name every frame as in mask_450nm.tif, and keep dark and white frames elsewhere",
        )
    alike = len({len(numbers) for numbers in found}) == 1
    changing = {column for column in zip(*found, strict=alike) if len(set(column)) > 1}
    if not alike or len(changing) > 1:
        raise InputError(
            f"the names of the frames hold several numbers of nm, as in {files[-1].name}",
            "name each by its wavelength alone, as in mask_450nm.tif",
        )
    if changing:
        return list(changing.pop())
    if bands is not None and len(bands) == len(files):
        return None  # the same number in all names is not what tells them apart
    raise InputError(
        f"all {len(files)} files have {found[0][0]:g} nm in their names",
        "name each frame by its wavelength, as in mask_450nm.tif, or give <wavelengths> in the order of the files",
    )


def _stack(path: Path, wanted: _Wanted, bands: Sequence[float] | None) -> BandFrames:
    """The frames of one file, or of a folder with a picture for each band."""
    file, name = wanted.of(path)
    array = file.arrays[name]
    try:
        told = file.wavelengths
    except UnitError:
        if bands is None:
            raise
        told = None
    if array.ndim == 2:
        frames, names = file.encoding(name).decode(array)[None], [path.name]
        found = NANOMETRES.findall(path.stem)
        told = (float(found[0].replace(",", ".")),) if len(found) == 1 else told
    else:
        first = np.ascontiguousarray(bands_first(array, file, told if bands is None else bands))
        frames = file.encoding(name).decode(first)
        names = [f"frame {number}" for number in range(1, len(frames) + 1)]
    C = len(frames)
    return BandFrames(frames, tuple(names), told, tuple(range(C)), (1,) * C)


def _one_each(files: Sequence[Path], wanted: _Wanted, told: Sequence[float] | None) -> BandFrames:
    """One file for each frame, or several of one wavelength."""
    names = [str(file) for file in files] if told is None else [f"{value:g} nm" for value in told]
    by_name: dict[str, list[Path]] = {}
    for file, name in zip(files, names, strict=True):
        by_name.setdefault(name, []).append(file)
    frames: list[np.ndarray] = []
    for same in by_name.values():
        exposures = [_mean(file, wanted) for file in same]
        for file, frame in zip(same, exposures, strict=True):
            first = frames[0] if frames else exposures[0]
            if frame.shape != first.shape:
                raise InputError(
                    f"{file} has {frame.shape[0]}×{frame.shape[1]} pixels but {files[0].name} "
                    f"{first.shape[0]}×{first.shape[1]}",
                    "take all frames with the same detector window",
                )
        frames.append(exposures[0] if len(exposures) == 1 else np.stack(exposures).mean(0, dtype=np.float32))
        check_budget(frames[0].nbytes * len(by_name), "what these files contain")
    known = None if told is None else tuple(dict.fromkeys(told))
    counts = tuple(len(same) for same in by_name.values())
    return BandFrames(np.stack(frames), tuple(by_name), known, tuple(range(len(frames))), counts)


def _mean(path: Path, wanted: _Wanted) -> np.ndarray:
    """The frame in a file, or the mean of a stack of exposures."""
    file, name = wanted.of(path)
    values = file.encoding(name).decode(file.arrays[name])
    if values.ndim == 2:
        return values
    mean: np.ndarray = bands_first(values, file, None).mean(0, dtype=np.float32)
    return mean
