"""Produce-23 as a data set: rendered on the fly, or read from files that ``make_produce`` wrote and verified."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.produce.rendering import ONE, SIZE, VERSION, Rendering, render
from crsdun.scenes.produce.spectra import CLASS_NAMES, ILLUMINANTS, pairs
from crsdun.scenes.scene import Scene, window
from crsdun.scenes.scene_set import SceneSet
from crsdun.storage import atomic_files, made_folder, make_room

SCENES = {"train": 256, "validation": 25, "test": 50}

SOURCE = (
    "reflectances of Vrhel, Gershon and Iwan (1994) as distributed with Psychtoolbox-3 (Expat licence), "
    "shapes and light of crsdun.scenes.produce"
)

MAKE = "crsdun data make produce"
ROOM_FOR_THE_REST = 1 << 20  # bytes of a file of a split besides its cubes and classes


class _Produce(SceneSet):
    """What rendered and stored scenes have in common."""

    class_names = CLASS_NAMES

    def __init__(self, split: str):
        if split not in SCENES:
            raise InputError(f"Produce-23 has no split {split!r}", f"there are: {', '.join(SCENES)}")
        self.split = split
        self.name = f"produce-23 {VERSION} {split}"
        self.names = tuple(f"{split}_{index:03d}" for index in range(SCENES[split]))
        self.wavelengths = tuple(float(value) for value in pairs()["wavelengths"])

    @property
    def bands(self) -> int:
        return len(pairs()["wavelengths"])

    def size(self, index: int) -> tuple[int, int]:
        return SIZE, SIZE

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every scene (``scene_hash``) as frozen in the package, rendered and stored scenes alike."""
        return dict(zip(self.names, frozen_hashes()[self.split], strict=True))

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Scene:
        rows, columns = window(self.names[index], self.size(index), top, left, height, width)
        index = range(len(self))[index]
        cube, classes, illuminant = self._read(index, rows, columns)
        return Scene(
            cube.astype(np.float32) / ONE,
            self.wavelengths,
            classes.astype(np.int64),
            CLASS_NAMES,
            self.names[index],
            {"benchmark": f"Produce-23, version {VERSION}", "illuminant": illuminant, "source": SOURCE},
        )

    @abstractmethod
    def _read(self, index: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, str]:
        """A part of a stored scene: cube uint16, classes uint8, illuminant."""


class ProduceSet(_Produce):
    """A split of Produce-23, rendered on demand and verified; the last few scenes are cached.

    Raises:
        InputError: the split is not ``train``, ``validation`` or ``test``.
    """

    def _read(self, index: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, str]:
        scene = verified(self.split, index)
        return scene.cube[:, rows, columns], scene.classes[rows, columns], scene.illuminant


@lru_cache(maxsize=4)
def verified(split: str, index: int) -> Rendering:
    """A scene with exactly the bytes of the benchmark.

    Raises:
        InputError: this machine renders other bytes.
    """
    scene, frozen = render(split, index), frozen_hashes()[split][index]
    if scene_hash(scene) != frozen:
        raise InputError(
            f"scene {index} of {split} has SHA-256 {scene_hash(scene)} on this machine, but {frozen} in version "
            f"{VERSION} of Produce-23",
            f"please report this with your processor and NumPy's version ({np.__version__})",
        )
    return scene


class StoredProduce(_Produce):
    """A split of Produce-23 from a folder that ``make_produce`` wrote; a crop reads only its own part of the file.

    Raises:
        InputError: there is no such split or file, or the file is of another version of the benchmark.
    """

    def __init__(self, folder: str | Path, split: str):
        super().__init__(split)
        self.path = Path(folder) / file_name(split)
        if not self.path.is_file():
            raise InputError(f"{self.path} does not exist", f"write it: {MAKE} with <out> {folder}")
        with self._open() as file:
            stored = {key: str(file.attrs.get(key)) for key in ("benchmark", "version", "sha256")}
        expected = {"benchmark": "Produce-23", "version": VERSION, "sha256": split_hash(split)}
        if stored != expected:
            raise InputError(
                f"{self.path} holds {stored['benchmark']} {stored['version']} with SHA-256 {stored['sha256'][:12]}…, "
                f"not Produce-23 {VERSION} with {expected['sha256'][:12]}…",
                f"write it again: {MAKE} with <out> {folder} and <overwrite>",
            )

    def _open(self) -> Any:
        import h5py

        try:
            return h5py.File(self.path)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be read ({error})", f"write it again: {MAKE} with <overwrite>"
            ) from error

    def is_intact(self, index: int) -> bool:
        """Whether a stored scene has exactly the bytes of the benchmark."""
        stored = Rendering(*self._read(index, slice(None), slice(None)))
        return scene_hash(stored) == frozen_hashes()[self.split][index]

    def _read(self, index: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, str]:
        with self._open() as file:  # anew for each crop: forked workers must not share it
            illuminant = ILLUMINANTS[file["illuminants"][index]]
            return file["cubes"][index, :, rows, columns], file["classes"][index, rows, columns], illuminant


# -- files and hashes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredSplit:
    """A file that ``make_produce`` wrote: its size in bytes, its scenes, and the hash of the split."""

    bytes: int
    scenes: int
    sha256: str


@dataclass(frozen=True)
class ProduceFiles:
    """The files that ``make_produce`` wrote.

    Attributes:
        out: the folder.
        version: of the benchmark.
        files: by name.
        references: the published reference points.
    """

    out: Path
    version: str
    files: dict[str, StoredSplit]
    references: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"out": str(self.out)}


def make_produce(
    out: str | Path, overwrite: bool = False, progress: Callable[[int, int], None] | None = None
) -> ProduceFiles:
    """Render all of Produce-23 into a folder, one HDF5 file for each split, and verify every scene.

    A file holds ``cubes`` (n,C,H,W) uint16 (value / attribute ``one`` = reflectance), ``classes`` (n,H,W) uint8,
    ``illuminants`` (n,) uint8, ``wavelengths`` (C,) in nm, and in its attributes benchmark, version, split, class
    names, names of the illuminants and the hash of the split. All appear once they are complete and verified.

    Args:
        out: the folder, created if necessary.
        overwrite: replace files of an earlier call.
        progress: called with the number of scenes done and of all scenes.

    Raises:
        InputError: a file exists, this machine renders other bytes than the benchmark's, or writing fails.
    """
    paths = {split: Path(out) / file_name(split) for split in SCENES}
    before = 0
    with made_folder(out), atomic_files(list(paths.values()), overwrite) as parts:
        for split, part in zip(paths, parts, strict=True):
            for done in _write(part, split):
                if progress is not None:
                    progress(before + done, sum(SCENES.values()))
            before += SCENES[split]
    written = {
        path.name: StoredSplit(path.stat().st_size, SCENES[split], split_hash(split)) for split, path in paths.items()
    }
    return ProduceFiles(Path(out), VERSION, written, references())


def _write(path: Path, split: str) -> Iterator[int]:
    """Write a split to a file; yields the number of scenes done after each."""
    import h5py

    count, bands = SCENES[split], len(pairs()["wavelengths"])
    make_room(path, count * SIZE * SIZE * (2 * bands + 1) + ROOM_FOR_THE_REST)
    at_once = h5py.h5p.create(h5py.h5p.DATASET_CREATE)  # each data set has its place before it is filled
    at_once.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    at_once.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        # A crop reads little more than its part. Compression would save a quarter and make crops ten times slower.
        cubes = file.create_dataset(
            "cubes", (count, bands, SIZE, SIZE), "u2", chunks=(1, bands, 32, 32), dcpl=at_once
        )
        classes = file.create_dataset(
            "classes", (count, SIZE, SIZE), "u1", chunks=(1, SIZE, SIZE), dcpl=at_once.copy()
        )
        illuminants = file.create_dataset("illuminants", (count,), "u1")
        file["wavelengths"] = pairs()["wavelengths"]
        file.attrs.update(
            benchmark="Produce-23", version=VERSION, split=split, one=ONE, class_names=CLASS_NAMES,
            illuminant_names=ILLUMINANTS, sha256=split_hash(split), source=SOURCE,
        )  # fmt: skip
        file.flush()
        make_room(path, path.stat().st_size)  # again: opening it has emptied it
        for index in range(count):
            scene = verified(split, index)
            cubes[index], classes[index] = scene.cube, scene.classes
            illuminants[index] = ILLUMINANTS.index(scene.illuminant)
            yield index + 1


def file_name(split: str) -> str:
    """Name of the file of a split in a folder that ``make_produce`` writes."""
    return f"produce-23_{split}.h5"


def scene_hash(scene: Rendering) -> str:
    """SHA-256 of a scene: its cube (C,H,W) as little-endian uint16, then its classes (H,W) as bytes."""
    digest = hashlib.sha256(scene.cube.astype("<u2").tobytes())
    digest.update(scene.classes.tobytes())
    return digest.hexdigest()


def split_hash(split: str) -> str:
    """SHA-256 of the hashes of a split's scenes, one hexadecimal line each."""
    return hashlib.sha256("".join(f"{each}\n" for each in frozen_hashes()[split]).encode()).hexdigest()


@cache
def frozen_hashes() -> dict[str, list[str]]:
    """``scene_hash`` of every scene of this version, by split."""
    return json.loads(files(__package__).joinpath("hashes.json").read_text(encoding="utf-8"))


@cache
def references() -> dict[str, Any]:
    """The published reference points, measured by ``benchmarks/produce_references.py``."""
    return json.loads(files(__package__).joinpath("references.json").read_text(encoding="utf-8"))
