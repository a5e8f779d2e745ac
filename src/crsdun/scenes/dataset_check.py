"""Is a data set as it should be? Every file is examined, and everything wrong is reported at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median_high
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.scenes.array_roles import MOST_ABOVE_WHITE, above_white
from crsdun.scenes.catalog import dataset_index, open_set
from crsdun.scenes.file_dataset import DatasetIndex, FileSchema, SceneFiles
from crsdun.scenes.orientation import AS_THE_LABELS, best_orientation, edge_contrasts, mean_picture
from crsdun.scenes.produce import StoredProduce
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.scenes.scene_set import SPLITS, SceneSet
from crsdun.storage import write_text

Progress = Callable[[int, int], None]

# The brightest values of scenes on one scale differ by a smaller factor; percent, 255ths and counts by a larger one.
# Outliers, the upper part of all values, do not count.
SCALES_APART, OUTLIERS = 50, 1e-3
# A larger share of 16-bit values at the end of their range has lost its light.
MOST_SATURATED = 0.001
# A larger share of scenes in other orientations than the rest says more about the pictures than about the files.
MOST_TURNED = 0.2
# A single cube is only called turned if its borders are this clear when it is turned back: more than chance gives, as
# wrong orientations of Produce-23 reach 2.4.
CLEAR = 2.5


@dataclass
class SplitStatistics:
    """What a split contains.

    Attributes:
        scenes, files: how many.
        shapes, types, orientations: of the cubes, with the count of each; shapes are (C,H,W).
        low, high: smallest and largest finite value.
        values, above_one, missing: how many values there are, exceed 1, and hold no data.
        brightest: of each scene, the largest value but for outliers.
        too_bright: of each scene most of whose light exceeds 1, the share that does.
        digests: SHA-256 of the cube of each scene, as it is read.
        with_gaps: names of the scenes that lack data.
        without_wavelengths: names of the scenes whose files state none.
        labels: state of the label maps, with the count of each.
        pixels: of each class, by name.
        unlabelled: pixels whose class is unknown.
    """

    scenes: int = 0
    files: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    orientations: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf
    values: int = 0
    above_one: int = 0
    missing: int = 0
    brightest: dict[str, float] = field(default_factory=dict)
    too_bright: dict[str, float] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    with_gaps: list[str] = field(default_factory=list)
    without_wavelengths: list[str] = field(default_factory=list)
    pixels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0

    def add_cube(self, cube: np.ndarray, name: str, stored_type: str) -> None:
        """Count a cube (C,H,W), that of a scene."""
        self.shapes["×".join(map(str, cube.shape))] += 1
        self.types[stored_type] += 1
        finite = cube[np.isfinite(cube)]
        self.values += cube.size
        if missing := int(np.isnan(cube).sum()):
            self.missing += missing
            self.with_gaps.append(name)
        self.above_one += int((finite > 1).sum())
        self.digests[name] = hashlib.sha256(cube.tobytes()).hexdigest()
        if (share := above_white(finite)) > MOST_ABOVE_WHITE:
            self.too_bright[name] = share
        if finite.size:
            self.brightest[name] = float(np.quantile(finite, 1 - OUTLIERS))
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))

    def add_classes(self, classes: np.ndarray, cube: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
        """Count a class map (H,W) with its cube (C,H,W); returns their ``edge_contrasts``."""
        counts = np.bincount(classes[classes != UNLABELLED], minlength=len(names))
        self.pixels.update(dict(zip(names, counts.tolist(), strict=True)))
        self.unlabelled += int((classes == UNLABELLED).sum())
        contrasts = edge_contrasts(mean_picture(cube), classes)
        if orientation := best_orientation([contrasts]):
            self.orientations[orientation] += 1
        return contrasts

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        finite = self.low <= self.high
        return {
            "scenes": self.scenes,
            "files": self.files,
            "shapes": dict(self.shapes),
            "types": dict(self.types),
            "orientations": dict(self.orientations),
            "labels": dict(self.labels),
            "min": self.low if finite else None,
            "max": self.high if finite else None,
            "above_one": self.above_one / self.values if self.values else None,
            "without_data": self.missing,
            "pixels": dict(self.pixels),
            "unlabelled": self.unlabelled,
        }


@dataclass(frozen=True)
class Check:
    """The outcome of ``check_set``.

    Attributes:
        name, layout: of the data set.
        class_names: background first; empty without labels.
        splits: statistics by split.
        problems: what is wrong, one line each; empty if all is well.
        notes: what to know, one line each.
        hashes: SHA-256 by file or scene.
    """

    name: str
    layout: str
    class_names: tuple[str, ...]
    splits: dict[str, SplitStatistics]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    hashes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "name": self.name,
            "layout": self.layout,
            "splits": {split: statistics.to_json() for split, statistics in self.splits.items()},
            "problems": list(self.problems),
            "notes": list(self.notes),
            "hashes": self.hashes,
        }


def check_set(source: str | Path, progress: Progress | None = None) -> Check:
    """Examine every scene of a data set; ``source`` as in ``open_set``.

    Reported with the file or scene: scenes without cube or label map, files that cannot be read, wrong numbers of
    bands, labels of another size, colours that are no class, too little data (``Scene.check_data``), values far from
    0..1 or from those of other scenes, cubes in another orientation than their labels (``edge_contrasts``), and a
    cube in two splits.

    Raises:
        InputError: there is no such data set.
    """
    index = dataset_index(source)
    return _check_open(source, progress) if index is None else _check_files(index, progress)


def _check_files(index: DatasetIndex, progress: Progress | None) -> Check:
    problems = list(index.problems)
    splits = {split: SplitStatistics() for split in index.splits}
    contrasts: dict[Path, dict[str, float]] = {}
    hashes = index.hashes((*index.lists, *index.unpaired))
    total = sum(len(scenes) for scenes in index.splits.values())
    for split, scenes in index.splits.items():
        for scene in scenes:
            contrasts[scene.cube] = _check_scene(index.schema, scene, splits[split], problems)
            if progress is not None:
                progress(len(contrasts), total)
        files = index.files(split)
        splits[split].scenes, splits[split].files = len(scenes), len(files)
        hashes |= index.hashes(files)
    usual = best_orientation(list(contrasts.values()))
    if usual not in (None, AS_THE_LABELS):
        problems.append(
            f"the labels look as if the cubes were {usual}; transpose (true or false) in a .yaml of the data set "
            "swaps rows and columns, any other turn has to be made in the files"
        )
    orientations = {cube: best_orientation([each]) for cube, each in contrasts.items()}
    turned = {
        cube: each
        for cube, each in orientations.items()
        if each is not None and each not in (AS_THE_LABELS, usual) and contrasts[cube][each] > CLEAR
    }
    notes = index.notes
    if len(turned) > max(1, MOST_TURNED * len(contrasts)):
        notes += (
            f"{len(turned)} of {len(contrasts)} cubes look turned relative to their labels, but not all in one way: "
            "probably their pictures change little at the borders of classes",
        )
    else:
        for cube, orientation in turned.items():
            problems.append(f"{cube} is {orientation} relative to its labels; turn it, or leave the scene out")
    unstated = [name for statistics in splits.values() for name in statistics.without_wavelengths]
    if index.schema.stated_by is not None and unstated:
        notes += (f"{_listed(unstated)}: no wavelengths in the file; taken for those of {index.schema.stated_by}",)
    names = index.schema.class_names or ()
    return _completed(Check(index.name, index.layout, names, splits, tuple(problems), notes, hashes))


def _check_scene(
    schema: FileSchema, scene: SceneFiles, statistics: SplitStatistics, problems: list[str]
) -> dict[str, float]:
    """Examine one scene; returns how well its labels fit in each orientation."""
    try:
        stored, file = schema.open_cube(scene.cube)
        numbers = np.asarray(stored[:, :, :])
        cube = schema.scaled(numbers, file)
    except InputError as error:
        problems.append(str(error))
        return {}
    statistics.add_cube(cube, scene.name, f"{stored.dtype} in {file.format}")
    try:
        Scene(cube, name=scene.name).check_data()
    except InputError as error:
        problems.append(f"{scene.cube}: {error}")
    try:
        if not schema.check_wavelengths(file):
            statistics.without_wavelengths.append(scene.name)
    except InputError as error:
        problems.append(str(error))
    doubt = schema.doubt(numbers, file)
    if doubt is not None and doubt.refused:  # of the others all scenes together decide
        problems.append(f"{doubt.message}; {doubt.remedy}")
    if numbers.dtype.kind in "iu" and numbers.itemsize == 2:
        saturated = float((numbers[~np.isnan(cube)] == np.iinfo(numbers.dtype).max).sum()) / numbers.size
        if saturated > MOST_SATURATED:
            problems.append(
                f"{scene.cube}: {saturated:.1%} of the values are saturated; expose for less, or crop them"
            )
    if scene.labels is None or not scene.labels.exists():  # a missing one is among the problems of the index
        return {}
    try:
        classes = schema.read_classes(scene.labels, cube.shape[1:])
    except InputError as error:
        statistics.labels[f"{scene.labels.suffix}, refused"] += 1
        problems.append(str(error))
        return {}
    statistics.labels[f"{scene.labels.suffix}, every pixel known"] += 1
    return statistics.add_classes(classes, cube, schema.class_names or ())


def _check_open(source: str | Path, progress: Progress | None) -> Check:
    """The same for data sets that are not an index of files."""
    sets: list[SceneSet] = [open_set(source, split) for split in SPLITS]
    splits, problems = {}, []
    hashes: dict[str, str] = {}
    done, total = 0, sum(map(len, sets))
    for scenes in sets:
        statistics = splits[scenes.split] = SplitStatistics(scenes=len(scenes))
        hashes |= scenes.hashes()
        for index in range(len(scenes)):
            done += 1
            if progress is not None:
                progress(done, total)
            try:
                scene = scenes[index]
            except (InputError, OSError) as error:
                problems.append(str(error))
                continue
            statistics.add_cube(scene.cube, scene.name, str(scene.cube.dtype))
            if isinstance(scenes, StoredProduce) and not scenes.is_intact(index):
                problems.append(f"{scene.name} is not that of the frozen benchmark; make the files again")
            if scene.classes is not None and scenes.class_names is not None:
                statistics.add_classes(scene.classes, scene.cube, scenes.class_names)
    first = sets[0]
    layout = f"{first.bands} bands"
    if first.wavelengths:
        layout += f" from {first.wavelengths[0]:g} to {first.wavelengths[-1]:g} nm"
    name = first.name.removesuffix(f" {SPLITS[0]}")
    return _completed(Check(name, layout, first.class_names or (), splits, tuple(problems), (), hashes))


def _completed(check: Check) -> Check:
    """With the problems and notes that only all splits together reveal."""
    problems, notes = check.problems, check.notes
    splits = check.splits.values()
    values = sum(statistics.values for statistics in splits)
    problems += tuple(_scale_problems(check.splits))
    for copy, across in _copies(check.splits):
        if across:
            problems += (f"{copy}; take it out of one",)
        else:
            notes += (f"{copy}, which counts twice",)
    missing = sum(statistics.missing for statistics in splits)
    if missing:
        where = _listed([name for statistics in splits for name in statistics.with_gaps])
        notes += (
            f"{missing} of {values} values hold no data, in {where}; exposures, losses and metrics leave them out",
        )
    pixels = sum((statistics.pixels for statistics in splits), Counter[str]())
    absent = [name for name in check.class_names[1:] if not pixels[name]]
    if absent and pixels:
        notes += (f"no pixel is {', '.join(absent)}",)
    return replace(check, problems=problems, notes=notes)


def _listed(names: list[str]) -> str:
    """Scenes in a sentence."""
    first, *others = names
    return f"{first} and {len(others)} other scenes" if len(others) > 1 else " and ".join(names)


def _scale_problems(splits: dict[str, SplitStatistics]) -> Iterator[str]:
    """What is wrong with the scale of all scenes, or with that of some."""
    brightest = {name: value for each in splits.values() for name, value in each.brightest.items()}
    too_bright = {name: share for each in splits.values() for name, share in each.too_bright.items()}
    if too_bright and all(name in too_bright for name, value in brightest.items() if value > 0):
        yield (
            "in all scenes most of the values above 0 exceed 1, but metrics take 1 for white; set a divisor in a "
            ".yaml of the data set"
        )
        return
    for name, share in too_bright.items():
        yield (
            f"{name}: {share:.0%} of the values above 0 exceed 1, which metrics take for white, and go up to "
            f"{brightest[name]:.4g}, unlike those of other scenes; bring all to one scale"
        )
    likely = {name: value for name, value in brightest.items() if name not in too_bright}
    usual = median_high(likely.values()) if likely else 0.0
    for name, value in likely.items():
        if not usual / SCALES_APART <= value <= usual * SCALES_APART:
            yield (
                f"{name}: the values go up to {value:.4g}, those of other scenes to {usual:.4g}; bring all to one "
                "scale"
            )


def _copies(splits: dict[str, SplitStatistics]) -> Iterator[tuple[str, bool]]:
    """The scenes whose cube is that of another scene, and whether that lies in another split."""
    first: dict[str, tuple[str, str]] = {}
    for split, statistics in splits.items():
        for name, digest in statistics.digests.items():
            before, where = first.setdefault(digest, (name, split))
            if before != name:
                yield f"the cube of {name} in the {split} split is that of {before} in {where}", where != split


# -- manifests ---------------------------------------------------------------------------------------------------


def write_manifest(hashes: dict[str, str], path: Path) -> None:
    """Write one line for each file, in the format that ``sha256sum --check`` reads."""
    write_text(path, "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items())))


def compare_manifest(hashes: dict[str, str], path: Path) -> dict[str, list[str]]:
    """The names, sorted, that have ``changed``, are ``missing`` and are ``new`` since a manifest was written.

    Raises:
        InputError: the file is not a manifest.
    """
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        before = {name: digest for digest, name in lines if len(digest) == 64}
    except ValueError:
        before = {}
    if not before:
        raise InputError(f"{path} is not a manifest (SHA-256, two spaces, name)", "choose another name for a new one")
    return {
        "changed": sorted(name for name in before.keys() & hashes.keys() if before[name] != hashes[name]),
        "missing": sorted(before.keys() - hashes.keys()),
        "new": sorted(hashes.keys() - before.keys()),
    }
