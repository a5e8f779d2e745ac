"""A data set as a folder of files: scenes that are rendered, or come from a plugin, for other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crsdun import provenance
from crsdun.errors import InputError
from crsdun.scenes.scene import UNLABELLED
from crsdun.scenes.scene_io import write_scene
from crsdun.scenes.scene_set import SceneSet
from crsdun.storage import RECORD, atomic_folder, write_json, write_text

CUBES = "cubes"


@dataclass(frozen=True)
class SetFiles:
    """What ``write_set`` wrote.

    Attributes:
        out: the folder.
        index: the ``.yaml`` in it that ``open_set`` opens.
        scenes: how many, by split.
        bytes: of all cubes.
    """

    out: Path
    index: Path
    scenes: dict[str, int]
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"out": str(self.out), "index": str(self.index), "scenes": self.scenes, "bytes": self.bytes}


def write_set(
    name: str,
    sets: Sequence[SceneSet],
    out: str | Path,
    most: int,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SetFiles:
    """Write the first scenes of splits into a folder: an HDF5 file for each, and a ``.yaml`` that describes them.

    Args:
        name: of the data set, and of the ``.yaml``.
        sets: its splits, with the same classes; their scenes have different names.
        out: the folder, which appears once it is complete.
        most: so many scenes of each split.
        overwrite: replace a folder that an earlier call wrote.
        progress: called with the number of scenes done and of all scenes.

    Raises:
        InputError: fewer than one scene is asked for, the folder exists, or writing fails.
    """
    import yaml

    if most < 1:
        raise InputError("there must be at least one scene to write", "ask for 1 or more")
    counts = {scenes.split: min(most, len(scenes)) for scenes in sets}
    done, size = 0, 0
    with atomic_folder(out, overwrite) as folder:
        (folder / CUBES).mkdir()
        for scenes in sets:
            for index in range(counts[scenes.split]):
                path = folder / CUBES / f"{scenes.names[index]}.h5"
                write_scene(scenes[index], path)
                done, size = done + 1, size + path.stat().st_size
                if progress is not None:
                    progress(done, sum(counts.values()))
        contents: dict[str, Any] = {"name": name, "cubes": f"{CUBES}/{{name}}.h5"}
        contents["splits"] = {each.split: list(each.names[: counts[each.split]]) for each in sets}
        contents["cube_key"] = "cube"
        if sets[0].wavelengths is None:
            contents["bands"] = sets[0].bands
        if sets[0].class_names is not None:
            contents |= {"labels_key": "classes", "classes": list(sets[0].class_names)}
            contents |= {"unlabelled": UNLABELLED, "background": True}
        write_text(folder / f"{name}.yaml", yaml.safe_dump(contents, sort_keys=False, allow_unicode=True))
        hashes = {key: digest for scenes in sets for key, digest in scenes.hashes().items()}
        write_json(folder / RECORD, provenance.record(data_set=name, scenes=counts, hashes=hashes))
    return SetFiles(Path(out), Path(out) / f"{name}.yaml", counts, size)
