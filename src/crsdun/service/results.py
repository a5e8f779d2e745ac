"""The answers: what is sent back of a reconstruction, as which kind of file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.runtime import Reconstruction
from crsdun.scenes import write_arrays, write_scene
from crsdun.storage import atomic_file, scratch_folder, write_json
from crsdun.typed import finite
from crsdun.viewing.colour import picture
from crsdun.viewing.figures import class_map, save_png
from crsdun.viewing.result_folder import write_results
from crsdun.web.archives import pack, plain_name

Notes = list[str]


def write_answer(result: Reconstruction, notes: Notes, product: str, kind: str, path: Path) -> None:
    """Write what was asked for.

    Args:
        notes: what was decided automatically, in lines.
        product, kind: as in ``settings.PRODUCTS``; ``kind`` is the suffix of ``path``.

    Raises:
        InputError: the method gives no classes, or the disk refuses.
    """
    WRITERS[product, kind](result, notes, path)


def figures_of(result: Reconstruction, notes: Notes) -> dict[str, Any]:
    """How well a result explains its measurement, warnings and what was decided, as JSON values."""
    return finite({"method": result.record["method"], "metrics": result.metrics, "notes": notes})


def described(result: Reconstruction, notes: Notes) -> dict[str, Any]:
    """The same, with what its arrays are."""
    scene = result.scene
    return figures_of(result, notes) | {
        "shape": list(scene.cube.shape),
        "wavelengths_nm": scene.wavelengths,
        "class_names": scene.class_names,
    }


def check_classes(segments: bool, product: str, method: str) -> None:
    """Raise an InputError where classes are asked of a method without."""
    if product == "classes" and not segments:
        raise InputError(f"{method} gives no classes", "ask for the cube, or serve <weights> that do")


def _cube_npz(result: Reconstruction, notes: Notes, path: Path) -> None:
    write_scene(result.known_scene, path)


def _cube_safetensors(result: Reconstruction, notes: Notes, path: Path) -> None:
    _write_safetensors({"cube": result.scene.cube, **_classes(result)}, result, notes, path)


def _classes_npz(result: Reconstruction, notes: Notes, path: Path) -> None:
    write_arrays(path, _segmented(result), {"class_names": result.scene.class_names, "name": result.scene.name})


def _classes_safetensors(result: Reconstruction, notes: Notes, path: Path) -> None:
    _write_safetensors(_segmented(result), result, notes, path)


def _classes_png(result: Reconstruction, notes: Notes, path: Path) -> None:
    class_map(_segmented(result)["classes"], result.scene.class_names, path, "unknown")


def _picture_png(result: Reconstruction, notes: Notes, path: Path) -> None:
    save_png(picture(result.scene)[0], path)


def _figures_json(result: Reconstruction, notes: Notes, path: Path) -> None:
    write_json(path, {**described(result, notes), "record": finite(result.record)})


def _everything_zip(result: Reconstruction, notes: Notes, path: Path) -> None:
    with scratch_folder(path.parent) as scratch:
        folder = scratch / plain_name(result.measurement.name)
        write_results(result, folder)
        pack(folder).replace(path)


WRITERS: dict[tuple[str, str], Callable[[Reconstruction, Notes, Path], None]] = {
    ("cube", "npz"): _cube_npz,
    ("cube", "safetensors"): _cube_safetensors,
    ("classes", "npz"): _classes_npz,
    ("classes", "safetensors"): _classes_safetensors,
    ("classes", "png"): _classes_png,
    ("picture", "png"): _picture_png,
    ("figures", "json"): _figures_json,
    ("everything", "zip"): _everything_zip,
}


def _segmented(result: Reconstruction) -> dict[str, np.ndarray]:
    """The class map and how far it can be believed; an InputError where there is none."""
    check_classes(result.classes is not None, "classes", result.record["method"])
    return _classes(result)


def _classes(result: Reconstruction) -> dict[str, np.ndarray]:
    """The same, or nothing: classes (H,W) int32, −1 where unknown, and the maps of ``Doubt``."""
    if result.classes is None:
        return {}
    maps = {name: getattr(result.doubt, name, None) for name in ("confidence", "doubt")}
    return {
        "classes": result.classes.astype(np.int32),
        **{name: each for name, each in maps.items() if each is not None},
    }


def _write_safetensors(arrays: Mapping[str, np.ndarray], result: Reconstruction, notes: Notes, path: Path) -> None:
    """Arrays, and the figures as JSON in the header."""
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(each) for name, each in arrays.items()}
    with atomic_file(path) as part:
        save_file(contiguous, part, metadata={"crsdun": json.dumps(described(result, notes), allow_nan=False)})
