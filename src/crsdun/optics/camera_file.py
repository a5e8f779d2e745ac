"""The camera file: one .npz with everything that has been measured of a camera, and nothing outside it.

Arrays by name, and one text, ``crsdun``, with the rest as JSON:

    mask         (H,W), or (C,H,W) one for each band, transmissions
    wavelengths  (C,) nm; missing where they are unknown
    dark, white  (Hm,Wm) counts of the detector without light, and of a white reference without the mask; if measured
    0_blur …     what light meets behind the prism, in this order: as of ``optics.Blur`` and ``optics.Distortion``
    valid        (Hm,Wm) 1 where a detector pixel can be used, 0 where not; missing where all can
    crsdun       format, version, offsets (down and right of each band), measured, provenance, and how the arrays are
                 stored for whoever opens the file as a file of arrays

``FORMAT`` grows when a reader of today would understand a file wrongly: an array that it must not leave out, such as
another part of the optics, or another meaning. It then says so, and does not guess.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.optics.geometry import dispersion_in_words, span
from crsdun.showing import Outlined
from crsdun.storage import atomic_file
from crsdun.typed import FormatOnly, parse_json, parse_versioned
from crsdun.version import __version__

FORMAT = 1
HEADER = "crsdun"  # name of the text
# Array → how many axes it has.
ARRAYS = {"mask": (2, 3), "wavelengths": (1,), "dark": (2,), "white": (2,), "valid": (2,)}
PARTS = {"blur": (2, 3), "distortion": (3,)}
# What NumPy and zipfile raise over a file that is no whole archive of arrays.
UNREADABLE = (ValueError, EOFError, MemoryError, AttributeError, NotImplementedError, zipfile.BadZipFile)
REMEDY = "calibrate again, or get the file again"
OTHERS = "camera files are written by crsdun calibrate and CassiCamera.save; a mask alone is given as <mask>"


class StoredHeader(FormatOnly):
    """The text of a camera file."""

    kind: str
    version: str
    offsets: list[list[float]]
    measured: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True, repr=False)
class CameraFile(Outlined):
    """What a camera file holds.

    Attributes:
        mask: (H,W), or (C,H,W) one for each band, float32.
        offsets: displacement of each band down and right in pixels, (C,2).
        wavelengths: of the bands in nm, length C; None where unknown.
        dark: counts of the detector without light, (Hm,Wm) float32; None where not measured.
        white: counts of a white reference seen without the mask, (Hm,Wm) float32; None where not measured.
        valid: (Hm,Wm) bool, which detector pixels can be used; None where all can.
        parts: names and values of what light meets behind the prism, in this order: "blur", "distortion".
        measured: what the calibration found besides, and how exactly, as plain JSON values.
        provenance: how it was made, as plain JSON values.

    Raises:
        InputError: shapes or numbers of bands disagree.
    """

    mask: np.ndarray
    offsets: tuple[tuple[float, float], ...]
    wavelengths: tuple[float, ...] | None = None
    dark: np.ndarray | None = None
    white: np.ndarray | None = None
    valid: np.ndarray | None = None
    parts: tuple[tuple[str, np.ndarray], ...] = ()
    measured: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {len(self.offsets)}
        counts |= {len(self.mask)} if self.mask.ndim == 3 else set()
        counts |= set() if self.wavelengths is None else {len(self.wavelengths)}
        if len(counts) != 1 or 0 in counts:
            raise InputError(f"its mask, offsets and wavelengths are of {', '.join(map(str, sorted(counts)))} bands")
        sizes = {array.shape for array in (self.dark, self.white, self.valid) if array is not None}
        if len(sizes) > 1:
            raise InputError(f"its dark, white and map of valid pixels have the sizes {sorted(sizes)}")

    def _outline(self) -> list[str]:
        return [self.outline]

    @property
    def bad_pixels(self) -> int:
        """How many detector pixels cannot be used."""
        return 0 if self.valid is None else int((~self.valid).sum())

    @property
    def detector(self) -> tuple[int, int]:
        """(Hm,Wm), the size of the frames that it takes."""
        height, width = self.mask.shape[-2:]
        down, right = (span(axis) for axis in zip(*self.offsets, strict=True))
        return height + down, width + right

    @property
    def outline(self) -> str:
        """Its bands, mask and dispersion, in words."""
        height, width = self.mask.shape[-2:]
        each = "" if self.mask.ndim == 2 else " for each band"
        bands = f"{len(self.offsets)} band{'s' if len(self.offsets) > 1 else ''}"
        return f"{bands}, a mask of {height}×{width}{each}, {dispersion_in_words(self.offsets)}"

    @property
    def doubts(self) -> list[str]:
        """What its calibration said should not be overlooked."""
        said = self.measured.get("warnings")
        return [str(each) for each in said] if isinstance(said, list) else []

    def described(self) -> list[str]:
        """What it holds, in a few lines for a person."""
        rows, columns = self.detector
        known = [name for name in ("dark", "white") if getattr(self, name) is not None]
        behind = [name for name, _ in self.parts]
        lines = [
            self.outline,
            f"takes frames of {rows}×{columns} pixels, "
            + (f"{self.bad_pixels} of which cannot be used" if self.bad_pixels else "all of which can be used"),
            f"knows its {' and its '.join(known)}" if known else "knows no dark and no white",
        ]
        return lines + ([f"light meets {' and '.join(behind)} behind the prism"] if behind else [])


def write_camera(stored: CameraFile, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Write a camera file, whole or not at all; ``read_camera`` returns it.

    Raises:
        InputError: the name does not end in .npz, the file exists, or the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise InputError(f"a camera file ends in .npz, and {path.name!r} does not", "choose another <out>")
    header = {
        "format": FORMAT,
        "kind": "camera",
        "version": __version__,
        "offsets": [list(map(float, move)) for move in stored.offsets],
        "measured": stored.measured,
        "provenance": stored.provenance,
        "axes": "CHW",
        "wavelength_units": "nm",
    }
    arrays: dict[str, Any] = {"mask": stored.mask.astype(np.float32)}
    if stored.wavelengths is not None:
        arrays["wavelengths"] = np.array(stored.wavelengths, dtype=np.float64)
    arrays |= {
        name: frame.astype(np.float32)
        for name, frame in (("dark", stored.dark), ("white", stored.white))
        if frame is not None
    }
    arrays |= {f"{number}_{name}": values for number, (name, values) in enumerate(stored.parts)}
    if stored.valid is not None:
        arrays["valid"] = stored.valid.astype(np.uint8)
    arrays[HEADER] = np.array(json.dumps(header, allow_nan=False))
    with atomic_file(path, overwrite) as part:
        np.savez(part, **arrays)


def read_camera(path: str | os.PathLike) -> CameraFile:
    """The camera in a file that ``write_camera`` wrote.

    Raises:
        InputError: it is missing, damaged, no camera file, larger than the budget, or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder", f"name the camera file in it, such as {path / 'camera.npz'}")
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise InputError(f"{path} is no camera file, or not a whole one", OTHERS)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            check_budget(sum(member.file_size for member in archive.zip.infolist()), f"what {path} contains")
            if HEADER not in archive.files:
                raise InputError(f"{path} is no camera file: it does not say what camera it holds", OTHERS)
            header = _header(str(archive[HEADER]), path)
            arrays = {name: archive[name] for name in archive.files if name != HEADER}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no camera file {path}", "check the name and the folder") from None
    except (*UNREADABLE, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is not a whole camera file ({reason})", OTHERS) from error
    try:
        return _built(header, arrays)
    except InputError as error:
        raise InputError(f"{path} was damaged or edited: {error}", REMEDY) from error


def _header(text: str, path: Path) -> StoredHeader:
    """
    Raises:
        InputError: it is not that of a camera, or damaged, or of a newer format.
    """
    if parse_json(dict[str, Any], text, path, REMEDY).get("kind") != "camera":
        raise InputError(f"{path} was written by crsdun but holds no camera", OTHERS)
    header: StoredHeader = parse_versioned(StoredHeader, FORMAT, text, path, REMEDY)
    return header


def _built(header: StoredHeader, arrays: dict[str, np.ndarray]) -> CameraFile:
    """
    Raises:
        InputError: an array is missing, unknown, of another shape, or holds what it cannot hold.
    """
    parts: list[tuple[str, np.ndarray]] = []
    for name, array in arrays.items():
        number, _, part = name.partition("_")
        axes = PARTS.get(part) if number == str(len(parts)) else ARRAYS.get(name)
        if axes is None:
            raise InputError(f"there is no array called {name!r} in a camera file, or not in this place")
        if number == str(len(parts)):
            parts.append((part, array))
        if array.ndim not in axes or not array.size or array.dtype.kind not in "biuf":
            raise InputError(f"its {name} is {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"its {name} holds NaN or infinity")
    if "mask" not in arrays:
        raise InputError("it holds no mask")
    if any(len(move) != 2 for move in header["offsets"]):
        raise InputError("its offsets are not pairs, down and right")
    dark, white = (arrays[name].astype(np.float32) if name in arrays else None for name in ("dark", "white"))
    return CameraFile(
        arrays["mask"].astype(np.float32),
        tuple((move[0], move[1]) for move in header["offsets"]),
        tuple(arrays["wavelengths"].astype(np.float64).tolist()) if "wavelengths" in arrays else None,
        dark=dark,
        white=white,
        valid=arrays["valid"] != 0 if "valid" in arrays else None,
        parts=tuple(parts),
        measured=header["measured"],
        provenance=header["provenance"],
    )
