"""A reconstruction as a folder: data for programs, pictures and a report for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crsdun.errors import InputError
from crsdun.optics import CassiCamera
from crsdun.runtime import Reconstruction
from crsdun.scenes import read_measurement, read_scene, write_measurement, write_scene
from crsdun.storage import RECORD, atomic_folder, write_json, write_text
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map
from crsdun.viewing.figures import Panel, band_sheet, class_map, comparison, save_png, spectra
from crsdun.viewing.pages import PAGE
from crsdun.viewing.pixel_selection import select_pixels
from crsdun.viewing.result_page import result_page

METRICS = "metrics.json"


def write_results(result: Reconstruction, out: str | Path, overwrite: bool = False) -> None:
    """Write the folder ``out``; it appears only when it is complete.

    ``cube.hdr`` + ``cube.img`` (ENVI) and ``cube.npz`` the cube with its wavelengths · ``classes.npy`` and
    ``classes.png`` the class map where the method segments · ``picture.png`` the scene in colour · ``bands.png`` ·
    ``spectra.png`` · ``overview.png`` measurement, picture and truth side by side · ``measurement.npz`` on the
    scale of y = A x, with the mask · ``truth.npz`` on the camera's bands where it was given · ``metrics.json`` ·
    ``record.json`` how it was made · ``report.html`` all of it in one page.

    Raises:
        InputError: the folder exists already, or the disk refuses.
    """
    scene, truth = result.scene, result.truth
    with atomic_folder(out, overwrite) as folder:
        write_scene(scene, folder / "cube.hdr")
        write_scene(scene, folder / "cube.npz")
        if scene.classes is not None:
            np.save(folder / "classes.npy", scene.classes)
            class_map(scene.classes, scene.class_names, folder / "classes.png")

        image, description = picture(scene)
        save_png(image, folder / "picture.png")
        band_sheet(scene.cube, scene.wavelengths, folder / "bands.png")
        cubes = {result.record["method"]: scene.cube}
        if truth is not None:
            cubes = {"truth": truth.cube, **cubes}
        points = select_pixels(scene.cube if truth is None else truth.cube)
        spectra(cubes, scene.wavelengths, points, folder / "spectra.png", image)
        comparison(overview(result), folder / "overview.png")

        camera = result.camera
        optics: dict[str, Any] = {
            "mask": camera.mask.cpu().numpy(),
            "wavelengths": camera.wavelengths,
            "step": camera.step,
        }
        write_measurement(replace(result.measurement, **optics), folder / "measurement.npz")
        if truth is not None:
            write_scene(truth, folder / "truth.npz")
        write_json(folder / METRICS, result.metrics)
        places = [list(map(int, point)) for point in points]
        record = {**result.record, "picture": description, "spectra_at_row_column": places}
        write_json(folder / RECORD, record)
        write_text(folder / PAGE, result_page(result))


def read_results(folder: str | Path) -> Reconstruction:
    """The reconstruction that ``write_results`` wrote into a folder.

    Raises:
        InputError: it is not such a folder, or a file in it is missing or broken.
    """
    folder = Path(folder)
    try:
        record, metrics = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (RECORD, METRICS))
        offsets = record["camera"]["offsets_pixels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is not a complete folder of crsdun reconstruct ({error})", "reconstruct again"
        ) from error
    measurement = read_measurement(folder / "measurement.npz")
    if measurement.mask is None:
        raise InputError(f"{folder / 'measurement.npz'} holds no mask", "reconstruct again")
    return Reconstruction(
        measurement,
        CassiCamera(measurement.mask, wavelengths=measurement.wavelengths, offsets=offsets),
        read_scene(folder / "cube.npz"),
        read_scene(folder / "truth.npz") if (folder / "truth.npz").exists() else None,
        metrics,
        record,
    )


def overview(result: Reconstruction) -> list[Panel]:
    """The panels of one reconstruction: measurement, estimate, and truth with the error where there is truth."""
    scene, truth = result.scene, result.truth
    panels = [Panel("Measurement", measurement_picture(result.measurement.frame))]
    if truth is not None:
        panels.append(Panel("Truth", picture(truth)[0]))
    subtitle = f"{result.metrics['psnr_db']:.2f} dB" if truth is not None else f"{result.record['seconds']:.1f} s"
    panels.append(Panel(result.record["method"], picture(scene, like=truth)[0], subtitle))
    if truth is not None:
        panels.append(Panel("Error", error_map(scene.cube, truth.cube), "RMSE over bands"))
    return panels
