"""Every data set by the name that a person types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crsdun.errors import InputError
from crsdun.optics.wavelengths import nbk7_wavelengths
from crsdun.registry import Registry
from crsdun.scenes.file_dataset import DatasetIndex, FileDataset
from crsdun.scenes.folder_dataset import index_folder
from crsdun.scenes.fvgnet import find_lists, index_fvgnet
from crsdun.scenes.indian_pines import IndianPinesSet, indian_pines
from crsdun.scenes.patchwork import PatchworkSet, WildProduceSet
from crsdun.scenes.produce import ProduceSet, StoredProduce
from crsdun.scenes.produce.dataset import file_name
from crsdun.scenes.scene_io import read_scene
from crsdun.scenes.scene_set import SPLITS, SceneSet, WholeScene

Opener = Callable[[str], SceneSet]

DATASETS: Registry[Opener] = Registry("data set")


def register_dataset(name: str, opener: Opener) -> None:
    """Let ``open_set``, and with it the commands that evaluate, train and check, know a data set by name.

    Args:
        opener: split (one of ``SPLITS``) → data set; an InputError where there is no such split.

    Raises:
        InputError: another data set has this name.
    """
    DATASETS.register(name, opener)


register_dataset("produce", ProduceSet)
register_dataset("indian-pines", IndianPinesSet)
register_dataset("patchwork", PatchworkSet)
register_dataset("produce-wild", WildProduceSet)


def open_set(source: str | Path, split: str) -> SceneSet:
    """A split of a data set.

    Args:
        source: a registered name: ``produce`` (Produce-23, rendered on the fly), ``patchwork`` and
            ``produce-wild`` (the same), ``indian-pines`` (28 bands on the N-BK7 grid) or one of a plugin · a folder
            written by ``crsdun data make produce`` · a folder of FVgNET, authors' release or public mirror · a
            ``.yaml`` that describes a folder of cubes with label maps.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        InputError: there is no such data set or split, or its files are not as they should be.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}", f"expected one of {', '.join(SPLITS)}")
    if str(source) in DATASETS:
        return DATASETS[str(source)](split)
    index = dataset_index(source)
    return StoredProduce(source, split) if index is None else FileDataset(index, split)


def open_whole(source: str | Path) -> WholeScene:
    """A single scene as a set of its own.

    Args:
        source: file of the scene, as for ``read_scene``, or ``indian-pines``: all of it, in the 28 bands of the N-BK7
            grid.

    Raises:
        InputError: the scene cannot be read.
    """
    return WholeScene(indian_pines(nbk7_wavelengths()) if str(source) == "indian-pines" else read_scene(source))


def dataset_index(source: str | Path) -> DatasetIndex | None:
    """The index of a data set of cubes with label maps; None for a registered one, or files of ``crsdun data make``.

    Raises:
        InputError: there is no such data set, or its lists cannot be read.
    """
    path = Path(source)
    if str(source) in DATASETS:
        return None
    if path.suffix.lower() in (".yaml", ".yml"):
        return index_folder(path)
    if path.is_dir():
        if find_lists(path):
            return index_fvgnet(path)
        if any((path / file_name(split)).is_file() for split in SPLITS):
            return None
    raise InputError(
        f"{source} is not a data set",
        f"expected {', '.join(DATASETS)}, a folder with FVgNET's lists (train_data.csv and test_data.csv), "
        "a folder written by crsdun data make produce, or a .yaml that describes a folder of your own",
    )
