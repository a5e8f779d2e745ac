"""Every data set by the name a person types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crsdun.errors import InputError
from crsdun.scenes.scene_set import SPLITS, SceneSet

if TYPE_CHECKING:
    from crsdun.scenes.file_dataset import DatasetIndex


def open_set(source: str | Path, split: str) -> SceneSet:
    """A split of a data set by what a person types.

    Args:
        source: ``produce`` (Produce-23, rendered on the fly) · ``indian-pines`` (28 bands on the N-BK7 grid) · a
            folder written by ``crsdun data make`` · a folder of FVgNET, authors' release or public mirror · a
            ``.yaml`` that describes a folder of cubes with label maps.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        InputError: no such data set or split, or what is there is not what the format says.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}", f"expected one of {', '.join(SPLITS)}")
    if str(source) == "produce":
        from crsdun.scenes.produce import ProduceSet

        return ProduceSet(split)
    if str(source) == "indian-pines":
        from crsdun.scenes.indian_pines import IndianPinesSet

        return IndianPinesSet(split)
    listing = dataset_index(source)
    if listing is not None:
        from crsdun.scenes.file_dataset import FileDataset

        return FileDataset(listing, split)
    from crsdun.scenes.produce import StoredProduce

    return StoredProduce(source, split)


def dataset_index(source: str | Path) -> DatasetIndex | None:
    """The files of a data set that consists of cubes with label maps; None for one that ``crsdun data make`` wrote.

    Raises:
        InputError: there is no data set, or its lists cannot be read.
    """
    path = Path(source)
    if path.suffix.lower() in (".yaml", ".yml"):
        from crsdun.scenes.folder_dataset import index_folder

        return index_folder(path)
    if path.is_dir():
        from crsdun.scenes.fvgnet import find_lists, index_fvgnet
        from crsdun.scenes.produce.dataset import file_name

        if find_lists(path):
            return index_fvgnet(path)
        if any((path / file_name(split)).is_file() for split in SPLITS):
            return None
    raise InputError(
        f"{source} is no data set",
        "expected produce, indian-pines, a folder with FVgNET's lists (train_data.csv and "
        "test_data.csv), a folder written by crsdun data make, or a .yaml that describes a folder of your own",
    )
