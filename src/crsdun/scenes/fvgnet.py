"""FVgNET: real and fake fruit and vegetables, as its authors released it and as the public mirror has it.

CRSDUN is trained on it: 512×512 pixels, 28 bands from 400 to 730 nm, 23 classes. Neither copy comes with crsdun. A
folder is recognised as FVgNET by its lists of scenes: ``.csv`` files with the columns ``names`` and ``masks``.

=================  =============================================  ==========================================
                   authors' release                               public mirror
=================  =============================================  ==========================================
lists              train_data.csv, test_data.csv                  one list, or these two
cubes              visible_28/NAME.npy, (512, 512, 28) float      NAME.npy, (512, 512, 34) float64 on
                                                                  400, 410 … 730 nm; or NAME.h5, 204 bands
labels             labels/NAME.png, RGB in ``PALETTE``            NAME.npy, two channels of integers:
                                                                  object, and whether it is real or fake
cubes are          as the labels                                  transposed relative to the labels
=================  =============================================  ==========================================

File names of the mirror vary, so files are recognised by their contents, anywhere in the folder: an array of three
axes, one of them of length 28, 34 or 204, is a cube; one whose first or last axis has length 2, and every picture, is
a label map, preferably in a folder with "label" in its name. Only the file's name without suffix must be that of the
scene.

Cubes of 34 and 204 bands are interpolated linearly to the 28 bands of the release. Values stay as distributed:
about 3 % exceed 1, nothing is clipped.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import nbk7_wavelengths
from crsdun.scenes.file_dataset import DatasetIndex, FileSchema, SceneFiles, hash_shuffled
from crsdun.scenes.formats import open_arrays
from crsdun.scenes.labels import LabelCodes

WAVELENGTHS = nbk7_wavelengths()

PALETTE: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0),
    "real potato": (128, 0, 0), "fake potato": (0, 128, 0),
    "real apple": (128, 128, 0), "fake apple": (0, 0, 128),
    "real orange": (128, 0, 128), "fake orange": (0, 128, 128),
    "real grape": (128, 128, 128), "fake grape": (64, 0, 0),
    "real lemon": (192, 0, 0), "fake lemon": (64, 128, 0),
    "real avocado": (192, 128, 0), "fake avocado": (64, 0, 128),
    "real pepper": (192, 0, 128), "fake pepper": (64, 128, 128),
    "real plant": (192, 128, 128), "fake plant": (0, 64, 0),
    "real banana": (128, 64, 0), "fake banana": (0, 192, 0),
    "real onion": (128, 192, 0), "fake onion": (0, 64, 128),
    "real unknown": (128, 64, 128), "fake unknown": (0, 192, 128),
}  # fmt: skip
CLASS_NAMES = tuple(PALETTE)

# The first channel of the mirror's label maps, 0 where there is no object.
OBJECTS = {
    1: "potato", 2: "onion", 3: "grape", 4: "plant", 5: "lemon", 6: "orange", 7: "apple", 8: "pepper", 9: "banana",
    10: "unknown", 11: "avocado", 12: "unknown",  # the last is starfruit, which has no class of its own
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Cubes of one number of bands: which copy they belong to, their wavelengths and their orientation."""

    name: str
    wavelengths: tuple[float, ...]
    transposed: bool


# By number of bands. The layout with most cubes is taken, on a tie the first.
LAYOUTS = {
    28: Layout("FVgNET, authors' release", WAVELENGTHS, transposed=False),
    34: Layout("FVgNET, public mirror, 34 bands", tuple(np.linspace(400.0, 730.0, 34).tolist()), transposed=True),
    204: Layout(
        "FVgNET, public mirror, 204 bands", tuple(np.linspace(397.32, 1003.58, 204).tolist()), transposed=True
    ),
}

# The share of the training list that is kept for validation and, where there is only one list, for the test (50 of
# the mirror's 252 scenes).
VALIDATION_SHARE, TEST_SHARE = 0.1, 50 / 252
# The codes of a real and of a fake object in the second channel of the mirror's label maps.
REAL_FAKE = (1, 2)
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0", "")


def index_fvgnet(
    folder: str | Path,
    validation: float = VALIDATION_SHARE,
    seed: int = 0,
    transpose: bool | None = None,
    real_fake: tuple[int, int] = REAL_FAKE,
) -> DatasetIndex:
    """The scenes of an FVgNET folder, for a ``FileDataset``.

    The validation split is drawn from the training list, never from the test list. With only one list, as in the
    mirror, test scenes are drawn from it first; results on them cannot be compared with the paper's.

    Args:
        validation: share of the training list, 0..1.
        seed: of the draws.
        transpose: whether the cubes are transposed relative to the labels; None takes what is usual for the layout.
        real_fake: the codes of a real and of a fake object in the second channel of the mirror's label maps.

    Raises:
        InputError: the folder holds no list of scenes.
    """
    folder = Path(folder)
    lists = find_lists(folder)
    if not lists:
        raise InputError(f"{folder} holds no list of scenes (.csv with the columns names and masks)")
    problems: list[str] = []
    notes: list[str] = []
    listed = {path: _names(path, rows, problems) for path, rows in lists.items()}
    left_out = sum(map(len, lists.values())) - sum(map(len, listed.values()))
    if left_out:
        notes.append(f"listed scenes without masks, left out: {left_out}")
    splits = _splits(listed, validation, seed, problems, notes)
    names = sorted({name for some in splits.values() for name in some})
    cubes, labels, unusable = _find_files(folder, set(names))
    bands = max(LAYOUTS, key=lambda bands: len(cubes[bands]))
    layout = LAYOUTS[bands]
    wavelengths = layout.wavelengths
    if bands == 204:
        stored = open_arrays(next(iter(cubes[bands].values()))).wavelengths
        wavelengths = stored or wavelengths
        if stored is None:
            notes.append("the cubes' files hold no wavelengths: assumed evenly spaced from 397.32 to 1003.58 nm")
    transposed = layout.transposed if transpose is None else transpose
    usual = {"transpose": layout.transposed, "real_fake": REAL_FAKE}
    settings = {"transpose": transposed, "real_fake": tuple(real_fake)}
    scenes = {name: SceneFiles(name, cubes[bands][name], labels[name]) for name in cubes[bands] if name in labels}
    unpaired = []
    for name in names:
        for part, path in (("cube", cubes[bands].get(name)), ("label map", labels.get(name))):
            if path is None:
                reason = f" ({unusable[name][1]})" if part == "cube" and name in unusable else ""
                problems.append(f"{name} has no {part}{reason}; get it, or set masks to False in the list")
            elif name not in scenes:
                unpaired.append(path)
    return DatasetIndex(
        name="fvgnet",
        layout=layout.name,
        root=folder,
        schema=FileSchema(
            bands=bands,
            wavelengths=wavelengths,
            label_codes=label_codes(real_fake),
            class_names=CLASS_NAMES,
            colours=tuple(PALETTE.values()),
            resample=None if bands == len(WAVELENGTHS) else WAVELENGTHS,
            transposed=transposed,
        ),
        splits={split: tuple(scenes[name] for name in some if name in scenes) for split, some in splits.items()},
        lists=tuple(lists),
        settings={name: value for name, value in settings.items() if value != usual[name]},
        unpaired=(*unpaired, *(path for path, _ in unusable.values())),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def find_lists(folder: Path) -> dict[Path, list[dict[str, str]]]:
    """The lists of scenes in a folder, with their rows."""
    lists = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            if {"names", "masks"} <= set(reader.fieldnames or ()):
                lists[path] = list(reader)
    return lists


def label_codes(real_fake: tuple[int, int] = REAL_FAKE) -> LabelCodes:
    """The classes of the colours of the release and of the pairs of the mirror."""
    codes: LabelCodes = {colour: cls for cls, colour in enumerate(PALETTE.values())}
    codes |= {(0, code): 0 for code in {0, *real_fake}}
    for number, kind in OBJECTS.items():
        for authenticity, code in zip(("real", "fake"), real_fake, strict=True):
            codes[number, code] = CLASS_NAMES.index(f"{authenticity} {kind}")
    return codes


def _names(path: Path, rows: list[dict[str, str]], problems: list[str]) -> list[str]:
    """The scenes of a list that have masks."""
    names = []
    for number, row in enumerate(rows, start=2):  # the first line is the header
        name, masks = Path(row["names"] or "").name, (row["masks"] or "").strip().lower()
        name = name.removesuffix(".npy").removesuffix(".png")
        if masks not in TRUE + FALSE:
            problems.append(f"{path.name} has masks = {row['masks']!r} in line {number}; expected True or False")
        elif masks in TRUE and name in names:
            problems.append(f"{path.name} lists {name} again in line {number}; delete the line")
        elif masks in TRUE:
            names.append(name)
    return names


def _splits(
    listed: Mapping[Path, list[str]], validation: float, seed: int, problems: list[str], notes: list[str]
) -> dict[str, list[str]]:
    """The scenes of each split, sorted."""

    def listed_for(split: str) -> set[str]:
        return {name for path, names in listed.items() if split in path.stem.lower() for name in names}

    train, test = listed_for("train"), listed_for("test")
    if not train and not test:
        everything = {name for names in listed.values() for name in names}
        test = set(hash_shuffled(everything, seed)[: round(TEST_SHARE * len(everything))])
        train = everything - test
        notes.append(
            f"only one list: {len(test)} test scenes were drawn from it (seed {seed}); results can be compared with "
            "the paper's only on its own train_data.csv and test_data.csv"
        )
    for split, names in (("train", train), ("test", test)):
        if not names:
            problems.append(f"no list names scenes for the {split} split; put {split}_data.csv into the folder")
    for name in sorted(train & test):
        problems.append(f"{name} is in the training and in the test list; take it out of one")
    kept = set(hash_shuffled(train, seed)[: round(validation * len(train))])
    return {"train": sorted(train - kept), "validation": sorted(kept), "test": sorted(test)}


def _find_files(
    folder: Path, names: set[str]
) -> tuple[dict[int, dict[str, Path]], dict[str, Path], dict[str, tuple[Path, str]]]:
    """Cubes by number of bands and scene, label maps by scene, and files that are neither, with the reason."""
    cubes: dict[int, dict[str, Path]] = {bands: {} for bands in LAYOUTS}
    labels: dict[str, Path] = {}
    unusable: dict[str, tuple[Path, str]] = {}
    # Not every picture is a label map: those in a folder called so come first.
    for path in sorted(folder.rglob("*"), key=lambda path: ("label" not in path.parent.name.lower(), path)):
        name, suffix = path.stem, path.suffix.lower()
        if name not in names:
            continue
        if suffix == ".png":
            labels.setdefault(name, path)
        elif suffix in (".npy", ".h5", ".hdf5"):
            try:
                shapes = [array.shape for array in open_arrays(path).arrays.values() if array.ndim == 3]
            except InputError as error:
                unusable[name] = path, str(error)
                continue
            bands = [length for shape in shapes for length in shape if length in LAYOUTS]
            if bands:
                cubes[bands[0]].setdefault(name, path)
            elif any(2 in (shape[0], shape[-1]) for shape in shapes):
                labels.setdefault(name, path)
            else:
                contents = ", ".join(str(shape) for shape in shapes) or "no cube"
                unusable[name] = path, f"{path.relative_to(folder)} holds {contents}, expected 28, 34 or 204 bands"
    return cubes, labels, unusable
