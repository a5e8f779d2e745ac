"""The data of a reconstruction as files, and back; ``viewing.result_folder`` adds pictures and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from crsdun.errors import InputError
from crsdun.methods.doubt import COVERAGE, Doubt
from crsdun.optics import CassiCamera, StackedCamera
from crsdun.optics.parts import PARTS, Part
from crsdun.provenance import Record
from crsdun.remote import Place, Remote
from crsdun.runtime.pipeline import INPUTS
from crsdun.runtime.reconstruction import Reconstruction
from crsdun.scenes import (
    Scene,
    read_arrays,
    read_measurement,
    read_scene,
    write_arrays,
    write_measurement,
    write_scene,
)
from crsdun.scenes.formats.table import CUBE, STORE
from crsdun.storage import RECORD, local_copy, write_json
from crsdun.typed import read_json

# Of a sequence, a line for each frame.
FRAMES = "frames.jsonl"
METRICS, OPTICS = "metrics.json", "optics.npz"
# How far the classes can be believed, and the expected error of each voxel.
DOUBT, ERROR = "doubt.npz", "error.npz"


class StoredDispersion(TypedDict):
    offsets_pixels: list[list[float]] | list[float]


class StoredCamera(StoredDispersion, total=False):
    mask_moved_pixels: tuple[float, float]


class StoredMeasurement(TypedDict):
    name: str


class StoredRecord(Record):
    """What is read of ``record.json``."""

    method: str
    settings: dict[str, Any]
    seconds: float
    device: str
    engine: str
    precision: str
    tiles: dict[str, Any] | None
    camera: StoredCamera
    measurement: StoredMeasurement
    truth: dict[str, Any] | None


class StoredResidual(TypedDict):
    data_residual: float


class StoredMetrics(StoredResidual, total=False):
    """``metrics.json``."""

    psnr_db: float | None
    ssim: float | None
    sam_deg: float | None
    rmse: float | None
    miou: float | None
    miou_present: float | None
    accuracy: float | None
    protocol: str
    voxels_without_data: int
    class_note: str
    fit: str
    held_out_residual: float
    noise: float
    mask_moved: list[float]
    warning: str
    calibrated: bool
    coverage: float
    unknown: float


def write_data(result: Reconstruction, folder: Path, **record: Any) -> None:
    """Write a reconstruction into a folder that exists; ``read_results`` returns it.

    ``cube.hdr`` + ``cube.img`` (ENVI) and ``cube.npz`` the cube with its wavelengths · ``classes.npy`` the class map
    where the method segments, and ``doubt.npz`` its confidence and, of calibrated weights, doubt and unknown pixels ·
    ``error.npz`` the expected error of each voxel where it was requested · ``measurement.npz`` on the scale of
    y = A x, or saying that it holds counts, with the mask · ``truth.npz`` on the camera's bands where it was given ·
    ``optics.npz`` the parts behind the prism, where the camera has any · ``metrics.json`` · ``record.json`` how it
    was made, with ``record`` added.

    Raises:
        InputError: the camera has several pictures of the scene, or the disk refuses.
    """
    scene, camera = result.scene, result.camera
    if isinstance(camera, StackedCamera):
        raise InputError(
            "a folder of results holds one exposure, and this camera has several pictures of the scene",
            "write the cube alone with crsdun.scenes.write_scene",
        )
    write_scene(scene, folder / "cube.hdr")
    write_scene(scene, folder / CUBE)
    if scene.classes is not None:
        np.save(folder / "classes.npy", scene.classes)
    if result.doubt is not None:
        maps = {name: getattr(result.doubt, name) for name in ("confidence", "doubt", "unknown")}
        write_arrays(folder / DOUBT, {name: each for name, each in maps.items() if each is not None}, {})
    if result.error is not None:
        write_scene(Scene(result.error, scene.wavelengths, name=f"expected error of {scene.name}"), folder / ERROR)
    measurement = replace(
        result.measurement, mask=camera.mask.cpu().numpy(), wavelengths=camera.wavelengths, step=camera.step
    )
    write_measurement(measurement, folder / "measurement.npz")
    if camera.parts:
        parts = {f"{number}_{part.name}": part.values.cpu().numpy() for number, part in enumerate(camera.parts)}
        write_arrays(folder / OPTICS, parts, {})
    if result.truth is not None:
        write_scene(result.truth, folder / "truth.npz")
    write_json(folder / METRICS, result.metrics)
    write_json(folder / RECORD, {**result.record, **record})


def finished_before(folder: Place, fingerprint: str, command: Sequence[str]) -> Reconstruction | None:
    """The reconstruction in a folder, if the same command made it from the same inputs; otherwise None.

    Args:
        fingerprint: of these inputs (``Pipeline.fingerprint``).
    """
    try:
        result = read_results(folder)
    except InputError:
        return None
    is_same = result.record["command"] == list(command) and result.record.get(INPUTS) == fingerprint
    return result if is_same else None


def read_results(folder: str | Place) -> Reconstruction:
    """The reconstruction that ``write_data`` wrote into a folder.

    Raises:
        InputError: it is not such a folder, or a file in it is missing or broken.
    """
    if isinstance(folder, Remote):
        with local_copy(folder) as copy:
            return read_results(copy)
    folder = Path(folder)
    if (folder / STORE).is_dir():
        raise InputError(
            f"{folder} holds a frame that was decoded by rows, and is not read whole",
            f"read {STORE} in it with crsdun.scenes.open_scene_rows",
        )
    if (folder / FRAMES).is_file():
        raise InputError(
            f"{folder} holds a sequence, and one frame is needed",
            "reconstruct that one alone, or read the cubes in it with crsdun.scenes.open_series",
        )
    try:
        metrics = read_json(StoredMetrics, folder / METRICS, "reconstruct again")  # which no other folder has
        record = read_json(StoredRecord, folder / RECORD, "reconstruct again")
    except OSError as error:
        raise InputError(
            f"{folder} is not a complete folder of crsdun reconstruct ({error})", "reconstruct again"
        ) from error
    measurement = read_measurement(folder / "measurement.npz")
    if measurement.mask is None:
        raise InputError(f"{folder / 'measurement.npz'} holds no mask", "reconstruct again")
    stored = record["camera"]
    camera = CassiCamera(measurement.mask, wavelengths=measurement.wavelengths, offsets=stored["offsets_pixels"])
    camera = camera.with_mask(camera.mask, stored.get("mask_moved_pixels"))
    if (folder / OPTICS).exists():
        camera = camera.through(*_read_parts(folder / OPTICS))
    return Reconstruction(
        measurement,
        camera,
        read_scene(folder / CUBE),
        read_scene(folder / "truth.npz") if (folder / "truth.npz").exists() else None,
        metrics,
        record,
        doubt=_read_doubt(folder / DOUBT, metrics),
        error=read_scene(folder / ERROR).cube if (folder / ERROR).exists() else None,
    )


def _read_doubt(path: Path, metrics: StoredMetrics) -> Doubt | None:
    if not path.exists():
        return None
    arrays = read_arrays(path).arrays
    if "confidence" not in arrays:
        raise InputError(f"{path} holds no confidence", "reconstruct again")
    return Doubt(arrays["confidence"], arrays.get("doubt"), metrics.get("coverage", COVERAGE))


def _read_parts(path: Path) -> list[Part]:
    """The parts of a camera, in the order of their numbers."""
    arrays = read_arrays(path).arrays
    names = sorted(arrays, key=lambda name: int(name.partition("_")[0]))
    return [PARTS[name.partition("_")[2]](arrays[name]) for name in names]
