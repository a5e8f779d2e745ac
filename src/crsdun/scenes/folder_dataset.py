"""Your own data: a folder of cubes with label maps, described by a small YAML file.

=============  ====================================================================================================
cubes          pattern of the cubes' files, relative to the YAML, with ``{name}`` for what differs from scene to
               scene: ``cubes/{name}.npy``. Any format that ``read_scene`` reads, also a folder with a picture
               for each band: ``{name}_ms/{name}_ms``.
labels         the same for label maps, any format: pictures in colours, greys or indices, or arrays. They may lie
               beside the cubes: the map of a scene is no cube. Without it, ``labels_key`` names the map in the cube's
               file; without both, the scenes are not labelled.
classes        names, background first; or for each ``{name, colour, value}``: ``colour``, [red, green, blue] or
               "#rrggbb", in label pictures, and ``value`` in maps of numbers (default: position in this list). One
               called "background" is it wherever it stands; one called "unlabelled" or "unclassified" is none
               (``labels.read_legend``).
background     false where the first class is one like the others, which mIoU counts: an empty background then comes
               before it (default: found out, and said by ``crsdun data check``).
unlabelled     the value or colour of pixels whose class is unknown; losses and metrics leave them out.
splits         ``train``, ``validation`` and ``test``: each a list of names or patterns (``field_*``), or each a
               share of the scenes (0.7), drawn with ``seed``; with one scene at least.
seed           for drawing shares (default: 0).
wavelengths    of the cubes' bands in nm: a list, ``400-700:31``, ``nbk7`` or ``kaist`` (default: those of the first
               file, and no other may contradict them).
bands          number of bands, where no file states wavelengths.
resample       wavelengths to which every cube is interpolated.
divisor        what stored numbers are divided by, after gains that the files state (default: the largest value of 8-
               and 16-bit integers).
transpose      true where rows and columns of the cubes are swapped relative to the label maps.
cube_key       name of the cube in its file, where that holds several arrays; ``labels_key`` of the label map.
axes           of the stored cubes where they are unclear: hwc (height, width, bands), chw or hcw.
name           of the data set (default: that of the YAML).
=============  ====================================================================================================

A YAML with the key ``fvgnet`` names the folder of a copy of FVgNET instead, with any of the settings ``validation``,
``seed``, ``transpose`` and ``real_fake`` of ``index_fvgnet``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from glob import escape, glob
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.optics.wavelengths import parse_wavelengths
from crsdun.plain_yaml import NotYamlError, parse_yaml
from crsdun.scenes.array_roles import around, ascending_bands, find_array
from crsdun.scenes.file_dataset import DatasetIndex, FileSchema, SceneFiles, hash_shuffled
from crsdun.scenes.formats import open_arrays
from crsdun.scenes.formats.pictures import without_palette
from crsdun.scenes.fvgnet import REAL_FAKE, VALIDATION_SHARE, index_fvgnet
from crsdun.scenes.labels import LabelCodes, Legend, palette_of, plain, read_legend
from crsdun.scenes.scene import UNLABELLED, Scene
from crsdun.scenes.scene_set import SPLITS
from crsdun.typed import typed, written

Colour = tuple[int, int, int]


# -- the values of keys -----------------------------------------------------------------------------------------


def _pattern(value: Any) -> str:
    pattern: str = typed(str, value, "a pattern")
    if "{name}" not in pattern:
        raise ValueError
    return Path(pattern).as_posix()  # ./cubes//{name}.npy is cubes/{name}.npy


def _positive(value: Any) -> float:
    number: float = typed(float, value, "a number")
    if not number > 0:
        raise ValueError
    return number


def _share(value: Any) -> float:
    if not _positive(value) < 1:
        raise ValueError
    return _positive(value)


def _wavelengths(value: Any) -> tuple[float, ...]:
    if isinstance(value, list):
        value = ",".join(str(_positive(each)) for each in value)
    return parse_wavelengths(typed(str, value, "the wavelengths"))


def _colour(value: Any) -> Colour:
    if isinstance(value, str):
        if not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise ValueError
        value = list(bytes.fromhex(value[1:]))
    colour: Colour = typed(tuple[int, int, int], value, "a colour")
    if not all(0 <= each <= 255 for each in colour):
        raise ValueError
    return colour


def _code(value: Any) -> int | Colour:
    return typed(int, value, "a value") if isinstance(value, int) else _colour(value)


A_COLOUR = "a colour, [red, green, blue] of 0..255 or '#rrggbb'"


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name, and the colour or value that stands for it in label maps."""

    name: str
    colour: Colour | None = field(default=None, metadata=written(_colour, A_COLOUR))
    value: int | None = None


def _classes(value: Any) -> tuple[ClassEntry, ...]:
    entries = tuple(
        typed(ClassEntry, each if isinstance(each, dict) else {"name": each}, "a class")
        for each in typed(list[Any], value, "the classes")
    )
    if not entries:
        raise ValueError
    if len({plain(entry.name) for entry in entries}) < len(entries):
        raise InputError("two classes have the same name")
    return entries


def _split_lists(value: Any) -> dict[str, tuple[str, ...] | float]:
    if not isinstance(value, dict) or not value or not set(value) <= set(SPLITS):
        raise TypeError
    if all(isinstance(entry, (int, float)) for entry in value.values()):
        shares: dict[str, tuple[str, ...] | float] = {split: _positive(entry) for split, entry in value.items()}
        if sum(value.values()) > 1 + 1e-9:
            raise InputError("the shares add up to more than 1")
        return shares
    return {
        split: tuple(typed(list[str], [entry] if isinstance(entry, str) else entry, split))
        for split, entry in value.items()
    }


LABELS = "a pattern such as labels/{name}.png"
CLASSES = "a list of different names, or of {name: leaf, colour: [0, 128, 0], value: 1}"
IN_NM = "a list in nm, 400-700:31, nbk7 or kaist"
SPLIT_LISTS = (
    "train, validation and test, each a list of names or patterns (in quotes where YAML takes them for something "
    "else), or each a share of the scenes"
)


@dataclass(frozen=True)
class FolderConfig:
    """The contents of the YAML; see the module."""

    cubes: str = field(metadata=written(_pattern, "a pattern such as cubes/{name}.npy"))
    splits: Mapping[str, tuple[str, ...] | float] = field(metadata=written(_split_lists, SPLIT_LISTS))
    labels: str | None = field(default=None, metadata=written(_pattern, LABELS))
    classes: tuple[ClassEntry, ...] = field(default=(), metadata=written(_classes, CLASSES))
    background: bool | None = None
    unlabelled: int | Colour | None = field(default=None, metadata=written(_code, f"a whole number or {A_COLOUR}"))
    seed: int = 0
    wavelengths: tuple[float, ...] | None = field(default=None, metadata=written(_wavelengths, IN_NM))
    bands: int | None = None
    resample: tuple[float, ...] | None = field(default=None, metadata=written(_wavelengths, IN_NM))
    divisor: float | None = field(default=None, metadata=written(_positive, "a number above 0"))
    transpose: bool = False
    cube_key: str | None = None
    labels_key: str | None = None
    axes: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class FvgnetConfig:
    """The contents of a YAML that names a copy of FVgNET, by its folder relative to the YAML."""

    fvgnet: str
    validation: float = field(
        default=VALIDATION_SHARE, metadata=written(_share, "a share of the training list, such as 0.1")
    )
    seed: int = 0
    transpose: bool | None = None
    real_fake: tuple[int, int] = REAL_FAKE


# -- the scenes --------------------------------------------------------------------------------------------------


def index_folder(path: str | Path) -> DatasetIndex:
    """The scenes that a YAML describes, for a ``FileDataset``.

    Raises:
        InputError: there is no such file, it holds something invalid, or no file matches its pattern of the cubes.
    """
    path = Path(path)
    values = _read_yaml(path)
    try:
        if "fvgnet" in values:
            copy = asdict(typed(FvgnetConfig, values, "it"))
            return index_fvgnet(path.parent / copy.pop("fvgnet"), **copy)
        config: FolderConfig = typed(FolderConfig, values, "it")
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.remedy) from error

    root, problems = path.parent, list[str]()
    cubes = _find_cubes(path, config)
    legend = _legend(path, config)
    label_codes = None if legend is None else _label_codes(path, config, legend)
    splits = _splits(config, list(cubes), problems)
    used = {name for names in splits.values() for name in names}
    first = next((cube for name, cube in cubes.items() if name in used), next(iter(cubes.values())))
    wavelengths = config.wavelengths or _stated_wavelengths(first, config.cube_key)
    if wavelengths is None and config.bands is None:
        raise InputError(
            "the files of the cubes hold no wavelengths", f"give wavelengths, such as 400-700:31, or bands in {path}"
        )
    if wavelengths and config.bands not in (None, len(wavelengths)):
        whose = path if config.wavelengths else first
        raise InputError(
            f"{path} gives {config.bands} bands, but {whose} {len(wavelengths)} wavelengths", "correct one of them"
        )
    _check_bands(path, config, wavelengths)
    scenes = {}
    for name, cube in cubes.items():
        labels = _label_map(path, config, name) or (cube if config.labels_key else None)
        scenes[name] = SceneFiles(name, cube, labels)
    for name, files in scenes.items():
        if name in used and files.labels is not None and not files.labels.exists():
            problems.append(f"{name} has no label map {files.labels}; add it, or leave the scene out of the splits")
    unused = [name for name in scenes if name not in used]
    return DatasetIndex(
        name=config.name or path.stem,
        layout=f"folder described by {path.name}",
        root=root,
        schema=FileSchema(
            bands=len(wavelengths) if wavelengths else config.bands or 0,
            wavelengths=wavelengths,
            stated_by=None if config.wavelengths or not wavelengths else first,
            label_codes=label_codes,
            class_names=None if legend is None else legend.names,
            colours=None if legend is None else _colours(config, legend),
            resample=config.resample,
            transposed=config.transpose,
            divisor=config.divisor,
            cube_key=config.cube_key,
            labels_key=config.labels_key,
            axes=config.axes,
            palette=_first_palette(config, [files.labels for files in scenes.values() if files.labels is not None]),
        ),
        splits={split: tuple(scenes[name] for name in names) for split, names in splits.items()},
        lists=(path,),
        problems=tuple(problems),
        notes=(*((f"in no split: {', '.join(unused)}",) if unused else ()), *(legend.notes if legend else ())),
    )


def _find_cubes(path: Path, config: FolderConfig) -> dict[str, Path]:
    """Cubes by the name of their scene, sorted; the label map of a scene is none, if it matches their pattern too."""
    before, *after = config.cubes.split("{name}")
    files = sorted(glob("*".join(escape(part) for part in (before, *after)), root_dir=path.parent))
    # Where the name occurs twice, as in {name}/{name}.npy, both are the same.
    parts = re.compile(re.escape(before) + "([^/]+)" + r"\1".join(re.escape(part) for part in after))
    matches = {file: parts.fullmatch(Path(file).as_posix()) for file in files}
    cubes = {match[1]: path.parent / file for file, match in matches.items() if match}
    if not cubes:
        raise InputError(f"no file matches {path.parent / config.cubes}", f"correct cubes in {path}")
    maps = {name: _label_map(path, config, name) for name in cubes}
    return {name: cube for name, cube in cubes.items() if cube == maps[name] or cube not in maps.values()}


def _stated_wavelengths(cube: Path, key: str | None) -> tuple[float, ...] | None:
    """Those that the file of a cube states for it."""
    file = without_palette(open_arrays(cube))
    return around(file, find_array(file, "cube", key)[0]).wavelengths


def _check_bands(path: Path, config: FolderConfig, wavelengths: tuple[float, ...] | None) -> None:
    """Raise an InputError if no scene can have these bands, or be resampled to those that are wanted."""
    bands = len(wavelengths) if wavelengths else config.bands or 0
    if bands < 1:
        raise InputError(f"{path}: {bands} is no number of bands", "correct bands")
    moves = np.diff(config.resample or ())
    if (moves == 0).any():
        raise InputError(f"{path}: two wavelengths of resample are the same", "drop one")
    if (moves < 0).any():
        raise InputError(f"{path}: the wavelengths of resample do not ascend", "sort them")
    try:
        cube, ascending = ascending_bands(np.zeros((bands, 1, 1), np.float32), wavelengths)
        pixel = Scene(cube, ascending, name=config.name or path.stem)
        if config.resample:
            pixel.resampled(config.resample)
    except InputError as error:
        remedy = error.remedy and error.remedy.replace("<wavelengths>", "wavelengths")
        raise InputError(f"{path}: {error.message}", remedy) from error


def _label_map(path: Path, config: FolderConfig, name: str) -> Path | None:
    """The file of the label map of a scene where it has one of its own."""
    return None if config.labels is None else path.parent / config.labels.replace("{name}", name)


def _legend(path: Path, config: FolderConfig) -> Legend | None:
    """What the classes of the YAML mean; None without labels."""
    if not config.classes:
        if config.labels or config.labels_key:
            raise InputError(f"{path} gives labels but no classes", f"expected {CLASSES}")
        return None
    if not config.labels and not config.labels_key:
        raise InputError(f"{path} gives classes but no labels", f"expected {LABELS} as labels")
    colours = [entry.colour for entry in config.classes]
    if None in colours and any(colours):
        name = config.classes[colours.index(None)].name
        raise InputError(f"{path} gives some classes a colour but not {name!r}", "give all of them one, or none")
    try:
        return read_legend([entry.name for entry in config.classes], config.background)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.remedy) from error


def _label_codes(path: Path, config: FolderConfig, legend: Legend) -> LabelCodes:
    codes: list[tuple[tuple[int, ...], int]] = []
    for index, (entry, number) in enumerate(zip(config.classes, legend.numbers, strict=True)):
        codes.append(((index if entry.value is None else entry.value,), number))
        if entry.colour is not None:
            codes.append((entry.colour, number))
    if config.unlabelled is not None:
        single = isinstance(config.unlabelled, int)
        codes.append(((config.unlabelled,) if single else config.unlabelled, UNLABELLED))  # type: ignore[arg-type]
    label_codes: LabelCodes = {}
    for code, number in codes:
        if code in label_codes and not label_codes[code] == number == UNLABELLED:
            first, second = (
                "unlabelled" if each == UNLABELLED else legend.names[each] for each in (label_codes[code], number)
            )
            shown = code[0] if len(code) == 1 else code
            raise InputError(
                f"{path}: {shown} stands for {first!r} and for {second!r}",
                "give each class its own colour or value",
            )
        label_codes[code] = number
    if isinstance(config.unlabelled, int) and all(e.colour and len(set(e.colour)) == 1 for e in config.classes):
        label_codes.setdefault((config.unlabelled,) * 3, UNLABELLED)  # pictures in grey are read as colours then
    return label_codes


def _colours(config: FolderConfig, legend: Legend) -> tuple[Colour, ...] | None:
    """Of the classes; the darkest unused grey for a background that the legend adds. None where none are given."""
    own = {n: e.colour for e, n in zip(config.classes, legend.numbers, strict=True) if e.colour and n != UNLABELLED}
    if not own:
        return None
    greys = ((level, level, level) for level in range(256) if (level, level, level) not in own.values())
    return tuple(own[number] if number in own else next(greys) for number in range(len(legend.names)))


def _first_palette(config: FolderConfig, labels: list[Path]) -> tuple[tuple[int, ...], ...] | None:
    """The palette that all label maps must share where their indices are the codes; None without any."""
    if config.labels is None or any(entry.colour for entry in config.classes):
        return None
    return next(filter(None, map(palette_of, labels)), None)


def _splits(config: FolderConfig, names: list[str], problems: list[str]) -> dict[str, list[str]]:
    """The scenes of each split, sorted."""
    splits: dict[str, list[str]] = {}
    start, share, order = 0, 0.0, hash_shuffled(names, config.seed)
    for split in (split for split in SPLITS if split in config.splits):
        entry = config.splits[split]
        if isinstance(entry, float):
            share += entry
            end = round(share * len(names))
            splits[split] = sorted(order[start:end])
            start = end
            if not splits[split]:
                problems.append(
                    f"the {split} split has no scene: its share, {entry:g} of {len(names)}, is too small; give it a "
                    "larger one, or list its scenes"
                )
        else:
            listed = {pattern: _named(pattern, names) for pattern in entry}
            for pattern, found in listed.items():
                if not found:
                    problems.append(f"the {split} split lists {pattern!r}, but no cube has that name; correct it")
            if not listed:
                problems.append(f"the {split} split lists no scene; list some, or leave it out")
            splits[split] = [name for name in names if any(name in found for found in listed.values())]
        for other in list(splits)[:-1]:
            for name in sorted(set(splits[split]) & set(splits[other])):
                problems.append(f"{name} is in the {other} and in the {split} split; take it out of one")
    return splits


def _named(pattern: str, names: list[str]) -> list[str]:
    """The scene of exactly this name, else those that a pattern with * ? [ matches."""
    return [pattern] if pattern in names else [name for name in names if fnmatchcase(name, pattern)]


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    try:
        values = parse_yaml(path.read_bytes())
    except NotYamlError as error:
        raise InputError(f"{path} {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no keys", "expected lines such as cubes: cubes/{name}.npy")
    return values
