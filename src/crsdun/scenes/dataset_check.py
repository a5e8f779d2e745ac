"""Is a data set what it should be? Every file is looked at, and all that is wrong is said at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError, UnitError
from crsdun.scenes.catalog import dataset_index, open_set
from crsdun.scenes.file_dataset import DatasetIndex, SceneFiles
from crsdun.scenes.orientation import AS_THE_LABELS, best_orientation, edge_contrasts
from crsdun.scenes.produce import StoredProduce
from crsdun.scenes.produce.dataset import scene_hash
from crsdun.scenes.produce.rendering import ONE, Rendering
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.scenes.scene_set import SPLITS, SceneSet
from crsdun.storage import write_text

Progress = Callable[[int, int], None]

# More of the values above 1 than this, and they are hardly on the scale whose white is 1 (FVgNET has 3.4 %).
MOST_ABOVE_ONE = 0.5
# nm: by how much a file's own wavelengths may differ from those of the data set.
SAME_WAVELENGTH = 0.5


@dataclass
class SplitFacts:
    """What was found in a split.

    Attributes:
        scenes, files: how many.
        shapes, types, orientations: of the cubes, with how many there are of each; shapes are (C,H,W).
        low, high: of the finite values.
        values, above_one, broken: how many there are, exceed 1, are NaN or infinite.
        labels: what became of the label maps, with how many there are of each.
        pixels: of each class, by name.
        unlabelled: pixels that nobody knows.
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
    broken: int = 0
    pixels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0

    def add_cube(self, cube: np.ndarray, stored_type: str) -> None:
        """Count a cube (C,H,W)."""
        self.shapes["×".join(map(str, cube.shape))] += 1
        self.types[stored_type] += 1
        finite = cube[np.isfinite(cube)]
        self.values += cube.size
        self.broken += cube.size - finite.size
        self.above_one += int((finite > 1).sum())
        if finite.size:
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))

    def add_classes(self, classes: np.ndarray, cube: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
        """Count a class map (H,W) with its cube (C,H,W); returns their ``edge_contrasts``."""
        counts = np.bincount(classes[classes != UNLABELLED], minlength=len(names))
        self.pixels.update(dict(zip(names, counts.tolist(), strict=True)))
        self.unlabelled += int((classes == UNLABELLED).sum())
        contrasts = edge_contrasts(cube.mean(axis=0), classes)
        if lies := best_orientation([contrasts]):
            self.orientations[lies] += 1
        return contrasts


@dataclass(frozen=True)
class Check:
    """The outcome of ``check_set``.

    Attributes:
        name, layout: of the data set.
        class_names: background first; empty without labels.
        splits: facts by split.
        problems: what is wrong, one line each; none if all is well.
        notes: what to know, one line each.
        hashes: file or scene → SHA-256.
    """

    name: str
    layout: str
    class_names: tuple[str, ...]
    splits: dict[str, SplitFacts]
    problems: list[str]
    notes: list[str]
    hashes: dict[str, str]


def check_set(source: str | Path, progress: Progress | None = None) -> Check:
    """Look at every scene of a data set; ``source`` as in ``open_set``.

    Found, and named with the file: scenes without cube or label map, files that cannot be read, other numbers of
    bands, labels of another size, colours that are no class, NaN, values far from 0..1, and cubes that lie otherwise
    than their labels (``edge_contrasts``).

    Raises:
        InputError: this is no data set at all.
    """
    named = str(source) in ("produce", "indian-pines")
    listing = None if named else dataset_index(source)
    return _check_open(source, progress) if listing is None else _check_listing(listing, progress)


def _check_listing(listing: DatasetIndex, progress: Progress | None) -> Check:
    problems, notes = list(listing.problems), list(listing.notes)
    splits = {split: SplitFacts() for split in listing.splits}
    contrasts: dict[Path, dict[str, float]] = {}
    hashes = listing.hashes((*listing.lists, *listing.unpaired))
    done, total = 0, sum(len(pairs) for pairs in listing.splits.values())
    for split, pairs in listing.splits.items():
        for pair in pairs:
            contrasts[pair.cube] = _check_pair(listing, pair, splits[split], problems)
            done += 1
            if progress is not None:
                progress(done, total)
        splits[split].scenes = len(pairs)
        files = listing.files(split)
        splits[split].files = len(files)
        hashes |= listing.hashes(files)
    usual = best_orientation(list(contrasts.values()))
    if usual not in (None, AS_THE_LABELS):
        problems.append(
            f"the labels look as if the cubes were {usual}; transpose (true or false) in a .yaml of the data set "
            "exchanges rows and columns, any other turn has to be made in the files"
        )
    for cube, each in contrasts.items():
        lies = best_orientation([each])
        if lies not in (None, AS_THE_LABELS, usual):
            problems.append(f"{cube} lies {lies} to its labels; turn it, or leave the scene out")
    names = listing.reading.class_names or ()
    return _judged(Check(listing.name, listing.layout, names, splits, problems, notes, hashes))


def _check_pair(listing: DatasetIndex, pair: SceneFiles, facts: SplitFacts, problems: list[str]) -> dict[str, float]:
    """Look at one scene; returns how its labels fit, in every orientation."""
    reading = listing.reading
    try:
        stored, file = reading.open_cube(pair.cube)
        cube = reading.scaled(stored[:, :, :], file)
    except InputError as error:
        problems.append(str(error))
        return {}
    facts.add_cube(cube, f"{stored.dtype} in {file.format}")
    if broken := int((~np.isfinite(cube)).sum()):
        problems.append(f"{pair.cube} holds {broken} NaN or infinite values; replace them")
    try:
        told = file.wavelengths
    except UnitError:  # what the file tells is not needed, where the data set does
        told = None
    expected = reading.wavelengths
    if told and expected and len(told) == len(expected) and not np.allclose(told, expected, 0, SAME_WAVELENGTH):
        problems.append(
            f"{pair.cube} tells wavelengths of {told[0]:g}–{told[-1]:g} nm but the data set {expected[0]:g}–"
            f"{expected[-1]:g} nm; correct the one that is wrong"
        )
    if pair.labels is None or not pair.labels.is_file():  # a missing one is among the listing's problems
        return {}
    try:
        classes = reading.read_classes(pair.labels, cube.shape[1:])
    except InputError as error:
        facts.labels[f"{pair.labels.suffix}, refused"] += 1
        problems.append(str(error))
        return {}
    facts.labels[f"{pair.labels.suffix}, every pixel known"] += 1
    return facts.add_classes(classes, cube, reading.class_names or ())


def _check_open(source: str | Path, progress: Progress | None) -> Check:
    """The same for data sets that crsdun itself makes or brings."""
    sets: list[SceneSet] = [open_set(source, split) for split in SPLITS]
    splits, problems = {}, []
    hashes: dict[str, str] = {}
    done, total = 0, sum(map(len, sets))
    for each in sets:
        facts = splits[each.split] = SplitFacts(scenes=len(each))
        frozen = each.hashes()
        for index in range(len(each)):
            done += 1
            if progress is not None:
                progress(done, total)
            try:
                scene = each[index]
            except (InputError, OSError) as error:
                problems.append(str(error))
                continue
            facts.add_cube(scene.cube, str(scene.cube.dtype))
            if isinstance(each, StoredProduce) and _stored_hash(scene) != frozen[scene.name]:
                problems.append(f"{scene.name} is not that of the frozen benchmark; make the files again")
            if scene.classes is not None and each.class_names is not None:
                facts.add_classes(scene.classes, scene.cube, each.class_names)
        hashes |= frozen
    name, known = sets[0].name.removesuffix(f" {SPLITS[0]}"), sets[0].wavelengths
    layout = f"{sets[0].bands} bands" + (f" from {known[0]:g} to {known[-1]:g} nm" if known else "")
    return _judged(Check(name, layout, sets[0].class_names or (), splits, problems, [], hashes))


def _stored_hash(scene: Scene) -> str:
    """The hash of a scene of Produce-23 as it is stored."""
    assert scene.classes is not None
    cube = np.rint(scene.cube * ONE).astype(np.uint16)
    return scene_hash(Rendering(cube, scene.classes.astype(np.uint8), scene.provenance["illuminant"]))


def _judged(check: Check) -> Check:
    """With what only the whole tells."""
    values = sum(facts.values for facts in check.splits.values())
    above = sum(facts.above_one for facts in check.splits.values())
    if values and above / values > MOST_ABOVE_ONE:
        check.problems.append(
            f"{above / values:.0%} of the values exceed 1, but metrics take 1 for white; say a divisor in a .yaml of "
            "the data set"
        )
    seen = {name for facts in check.splits.values() for name, count in facts.pixels.items() if count}
    unseen = [name for name in check.class_names[1:] if name not in seen]
    if unseen and seen:
        check.notes.append(f"no pixel is {', '.join(unseen)}")
    return check


# -- manifests ---------------------------------------------------------------------------------------------------


def write_manifest(hashes: dict[str, str], path: Path) -> None:
    """One line for each file, as ``sha256sum --check`` reads them."""
    write_text(path, "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items())))


def compare_manifest(hashes: dict[str, str], path: Path) -> dict[str, list[str]]:
    """What has ``changed``, is ``missing`` and is ``new`` since a manifest was written, names sorted.

    Raises:
        InputError: the file is no manifest.
    """
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        before = {name: digest for digest, name in lines if len(digest) == 64}
    except ValueError:
        before = {}
    if not before:
        raise InputError(f"{path} is no manifest (SHA-256, two spaces, name)", "choose another name for a new one")
    return {
        "changed": sorted(name for name in before.keys() & hashes.keys() if before[name] != hashes[name]),
        "missing": sorted(before.keys() - hashes.keys()),
        "new": sorted(hashes.keys() - before.keys()),
    }


def as_plain(check: Check) -> dict[str, Any]:
    """A check as JSON can hold it."""
    return {
        "name": check.name,
        "layout": check.layout,
        "splits": {
            split: {
                "scenes": facts.scenes,
                "files": facts.files,
                "shapes": dict(facts.shapes),
                "types": dict(facts.types),
                "orientations": dict(facts.orientations),
                "labels": dict(facts.labels),
                "min": facts.low if facts.values > facts.broken else None,
                "max": facts.high if facts.values > facts.broken else None,
                "above_one": facts.above_one / facts.values if facts.values else None,
                "nan_or_infinite": facts.broken,
                "pixels": dict(facts.pixels),
                "unlabelled": facts.unlabelled,
            }
            for split, facts in check.splits.items()
        },
        "problems": check.problems,
        "notes": check.notes,
        "hashes": check.hashes,
    }
