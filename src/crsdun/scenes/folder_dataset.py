"""Your own data: a folder of cubes with label maps, described by a small YAML file.

=============  ====================================================================================================
cubes          pattern of the cubes' files, relative to the YAML, with ``{name}`` for what differs from scene to
               scene: ``cubes/{name}.npy``. Any format that ``read_scene`` reads, also a folder with a picture
               for each band: ``{name}_ms/{name}_ms``.
labels         the same for label maps, any format: pictures in colours, greys or indices, or arrays. Without it,
               ``labels_key`` names the map in the cube's file; without both, the scenes are not labelled.
classes        names, background first; or for each ``{name, colour, value}``: ``colour``, [red, green, blue] or
               "#rrggbb", in label pictures, and ``value`` in maps of numbers (default: position in this list).
unlabelled     the value or colour of pixels whose class is unknown; losses and metrics leave them out.
splits         ``train``, ``validation`` and ``test``: each a list of names or patterns (``field_*``), or each a
               share of the scenes (0.7), drawn with ``seed``.
seed           for drawing shares (default: 0).
wavelengths    of the cubes' bands in nm: a list, ``400-700:31``, ``nbk7`` or ``kaist`` (default: from the files).
bands          number of bands, where the wavelengths are unknown.
resample       wavelengths to which every cube is interpolated.
divisor        what stored numbers are divided by (default: the largest value of 8- and 16-bit integers).
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from glob import escape, glob
from pathlib import Path
from typing import Any

from crsdun.errors import InputError
from crsdun.optics.wavelengths import parse_wavelengths
from crsdun.scenes.file_dataset import DatasetIndex, FileSchema, SceneFiles, hash_shuffled
from crsdun.scenes.formats import open_arrays
from crsdun.scenes.fvgnet import index_fvgnet
from crsdun.scenes.labels import LabelCodes, palette_of
from crsdun.scenes.scene import UNLABELLED
from crsdun.scenes.scene_set import SPLITS

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassEntry:
    """One class: its name, and the colour or value that stands for it in label maps."""

    name: str
    colour: Colour | None = None
    value: int | None = None


@dataclass(frozen=True)
class FolderConfig:
    """The contents of the YAML; see the module."""

    cubes: str
    splits: Mapping[str, tuple[str, ...] | float]
    labels: str | None = None
    classes: tuple[ClassEntry, ...] = ()
    unlabelled: int | Colour | None = None
    seed: int = 0
    wavelengths: tuple[float, ...] | None = None
    bands: int | None = None
    resample: tuple[float, ...] | None = None
    divisor: float | None = None
    transpose: bool = False
    cube_key: str | None = None
    labels_key: str | None = None
    axes: str | None = None
    name: str | None = None


def index_folder(path: str | Path) -> DatasetIndex:
    """The scenes that a YAML describes, for a ``FileDataset``.

    Raises:
        InputError: there is no such file, it holds something invalid, or no file matches its pattern of the cubes.
    """
    path = Path(path)
    values = _read_yaml(path)
    if "fvgnet" in values:
        settings = _typed(path, values, {name: KEYS[name] for name in ("seed", "transpose")} | FVGNET_KEYS)
        return index_fvgnet(path.parent / settings.pop("fvgnet"), **settings)
    typed = _typed(path, values, KEYS)
    for key in ("cubes", "splits"):
        if key not in typed:
            raise InputError(f"{path} lacks the key {key}", f"expected {KEYS[key][1]}")
    config = FolderConfig(**typed)

    root, problems = path.parent, list[str]()
    cubes = _find_cubes(path, config.cubes)
    label_codes = _label_codes(path, config)
    wavelengths = config.wavelengths or open_arrays(next(iter(cubes.values()))).wavelengths
    if wavelengths is None and config.bands is None:
        raise InputError(
            "the files of the cubes hold no wavelengths", f"give wavelengths, such as 400-700:31, or bands in {path}"
        )
    scenes = {}
    for name, cube in cubes.items():
        labels = cube if config.labels_key else None
        if config.labels is not None:
            labels = root / config.labels.replace("{name}", name)
        scenes[name] = SceneFiles(name, cube, labels)
    splits = _splits(config, list(scenes), problems)
    used = {name for names in splits.values() for name in names}
    for name, files in scenes.items():
        if name in used and files.labels is not None and not files.labels.is_file():
            problems.append(f"{name} has no label map {files.labels}; add it, or leave the scene out of the splits")
    unused = [name for name in scenes if name not in used]
    return DatasetIndex(
        name=config.name or path.stem,
        layout=f"folder described by {path.name}",
        root=root,
        schema=FileSchema(
            bands=len(wavelengths) if wavelengths else config.bands or 0,
            wavelengths=wavelengths,
            label_codes=label_codes,
            class_names=tuple(entry.name for entry in config.classes) or None,
            colours=tuple(entry.colour for entry in config.classes if entry.colour) or None,
            resample=config.resample,
            transposed=config.transpose,
            divisor=config.divisor,
            cube_key=config.cube_key,
            labels_key=config.labels_key,
            axes=config.axes,
            palette=next((palette_of(files.labels) for files in scenes.values() if files.labels), None),
        ),
        splits={split: tuple(scenes[name] for name in names) for split, names in splits.items()},
        lists=(path,),
        problems=tuple(problems),
        notes=(f"in no split: {', '.join(unused)}",) if unused else (),
    )


def _find_cubes(path: Path, pattern: str) -> dict[str, Path]:
    """Cubes by the name of their scene, sorted."""
    before, *after = pattern.split("{name}")
    files = sorted(glob("*".join(escape(part) for part in (before, *after)), root_dir=path.parent))
    # Where the name occurs twice, as in {name}/{name}.npy, both are the same.
    parts = re.compile(re.escape(before) + "([^/]+)" + r"\1".join(re.escape(part) for part in after))
    matches = {file: parts.fullmatch(Path(file).as_posix()) for file in files}
    cubes = {match[1]: path.parent / file for file, match in matches.items() if match}
    if not cubes:
        raise InputError(f"no file matches {path.parent / pattern}", f"correct cubes in {path}")
    return cubes


def _label_codes(path: Path, config: FolderConfig) -> LabelCodes | None:
    if not config.classes:
        if config.labels or config.labels_key:
            raise InputError(f"{path} gives labels but no classes", f"expected {KEYS['classes'][1]}")
        return None
    if not config.labels and not config.labels_key:
        raise InputError(f"{path} gives classes but no labels", f"expected {KEYS['labels'][1]} as labels")
    colours = [entry.colour for entry in config.classes]
    if None in colours and any(colours):
        name = config.classes[colours.index(None)].name
        raise InputError(f"{path} gives some classes a colour but not {name!r}", "give all of them one, or none")
    codes: list[tuple[tuple[int, ...], int]] = []
    for index, entry in enumerate(config.classes):
        codes.append(((index if entry.value is None else entry.value,), index))
        if entry.colour is not None:
            codes.append((entry.colour, index))
    if config.unlabelled is not None:
        single = isinstance(config.unlabelled, int)
        codes.append(((config.unlabelled,) if single else config.unlabelled, UNLABELLED))  # type: ignore[arg-type]
    label_codes: LabelCodes = {}
    for code, index in codes:
        if code in label_codes:
            first, second = (
                "unlabelled" if each < 0 else config.classes[each].name for each in (label_codes[code], index)
            )
            shown = code[0] if len(code) == 1 else code
            raise InputError(
                f"{path}: {shown} stands for {first!r} and for {second!r}",
                "give each class its own colour or value",
            )
        label_codes[code] = index
    return label_codes


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
        else:
            for pattern in entry:
                if not any(fnmatchcase(name, pattern) for name in names):
                    problems.append(f"the {split} split lists {pattern!r}, but no cube has that name; correct it")
            splits[split] = [name for name in names if any(fnmatchcase(name, pattern) for pattern in entry)]
        for other in list(splits)[:-1]:
            for name in sorted(set(splits[split]) & set(splits[other])):
                problems.append(f"{name} is in the {other} and in the {split} split; take it out of one")
    return splits


# -- the values of keys -----------------------------------------------------------------------------------------


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise InputError(f"there is no file {path}", "check the name and the folder")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no keys", "expected lines such as cubes: cubes/{name}.npy")
    return values


def _typed(path: Path, values: dict[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a YAML in the types of their keys."""
    typed = {}
    for key, value in values.items():
        if key not in keys:
            close = get_close_matches(str(key), keys, 1)
            meant = f"did you mean {close[0]}? There are" if close else "there are"
            raise InputError(f"{path} has the unknown key {key!r}", f"{meant} {', '.join(keys)}")
        parse, expected = keys[key]
        try:
            typed[key] = parse(value)
        except (TypeError, ValueError, LookupError) as error:
            why = f" ({error})" if isinstance(error, InputError) else ""
            raise InputError(f"{path} has {key}: {value!r}", f"expected {expected}{why}") from error
    return typed


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _pattern(value: Any) -> str:
    if "{name}" not in _text(value):
        raise ValueError
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _positive(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise TypeError
    return value


def _share(value: Any) -> float:
    if not _positive(value) < 1:
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _wavelengths(value: Any) -> tuple[float, ...]:
    if isinstance(value, list):
        value = ",".join(str(_positive(each)) for each in value)
    return parse_wavelengths(_text(value))


def _colour(value: Any) -> Colour:
    if isinstance(value, str):
        if not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise ValueError
        value = list(bytes.fromhex(value[1:]))
    red, green, blue = (_integer(each) for each in value)
    if not all(0 <= each <= 255 for each in (red, green, blue)):
        raise ValueError
    return red, green, blue


def _code(value: Any) -> int | Colour:
    return _integer(value) if isinstance(value, int) else _colour(value)


def _classes(value: Any) -> tuple[ClassEntry, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError
    entries = []
    for each in value:
        if isinstance(each, dict):
            parsers: dict[str, Callable[[Any], Any]] = {"name": _text, "colour": _colour, "value": _integer}
            entries.append(ClassEntry(**{key: parsers[key](entry) for key, entry in each.items()}))
        else:
            entries.append(ClassEntry(_text(each)))
    if len({entry.name for entry in entries}) < len(entries):
        raise InputError("two classes have the same name")
    return tuple(entries)


def _split_lists(value: Any) -> dict[str, tuple[str, ...] | float]:
    if not isinstance(value, dict) or not value or not set(value) <= set(SPLITS):
        raise TypeError
    if all(isinstance(entry, (int, float)) for entry in value.values()):
        shares: dict[str, tuple[str, ...] | float] = {
            split: float(_positive(entry)) for split, entry in value.items()
        }
        if sum(value.values()) > 1 + 1e-9:
            raise InputError("the shares add up to more than 1")
        return shares
    return {
        split: (_text(entry),) if isinstance(entry, str) else tuple(_text(name) for name in entry)
        for split, entry in value.items()
    }


Key = tuple[Callable[[Any], Any], str]
KEYS: dict[str, Key] = {
    "cubes": (_pattern, "a pattern such as cubes/{name}.npy"),
    "labels": (_pattern, "a pattern such as labels/{name}.png"),
    "classes": (_classes, "a list of different names, or of {name: leaf, colour: [0, 128, 0], value: 1}"),
    "unlabelled": (_code, "a whole number or a colour [red, green, blue] of 0..255"),
    "splits": (
        _split_lists,
        "train, validation and test, each a list of names or patterns (in quotes where YAML takes them for "
        "something else), or each a share of the scenes",
    ),
    "seed": (_integer, "a whole number"),
    "wavelengths": (_wavelengths, "a list in nm, 400-700:31, nbk7 or kaist"),
    "bands": (_integer, "a whole number"),
    "resample": (_wavelengths, "a list in nm, 400-700:31, nbk7 or kaist"),
    "divisor": (_positive, "a number above 0"),
    "transpose": (_flag, "true or false"),
    "cube_key": (_text, "the name of an array"),
    "labels_key": (_text, "the name of an array"),
    "axes": (_text, "hwc (height, width, bands), chw or hcw"),
    "name": (_text, "a name"),
}
FVGNET_KEYS: dict[str, Key] = {
    "fvgnet": (_text, "the folder of the copy, relative to this file"),
    "validation": (_share, "a share of the training list, such as 0.1"),
    "real_fake": (
        lambda value: (_integer(value[0]), _integer(value[1])),
        "[1, 2]: the codes of real and of fake objects in the second channel of the label maps",
    ),
}
