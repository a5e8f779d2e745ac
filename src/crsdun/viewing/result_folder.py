"""A reconstruction as a folder: data for programs, pictures and a report for people."""

from __future__ import annotations

from pathlib import Path

from crsdun.runtime import Reconstruction, write_data
from crsdun.storage import atomic_folder, write_text
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map
from crsdun.viewing.figures import Panel, band_sheet, class_map, comparison, save_png, spectra
from crsdun.viewing.pages import PAGE
from crsdun.viewing.pixel_selection import select_pixels
from crsdun.viewing.result_page import result_page


def write_results(result: Reconstruction, out: str | Path, overwrite: bool = False) -> None:
    """Write the folder ``out``; it appears only when it is complete.

    Besides the data of ``write_data``: ``picture.png`` the scene in colour · ``bands.png`` · ``spectra.png`` ·
    ``classes.png`` where the method segments · ``overview.png`` measurement, picture and truth side by side ·
    ``report.html`` all of it in one page.

    Raises:
        InputError: the folder exists already, or the disk refuses.
    """
    scene, truth = result.scene, result.truth
    with atomic_folder(out, overwrite) as folder:
        if scene.classes is not None:
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

        places = [list(map(int, point)) for point in points]
        write_data(result, folder, picture=description, spectra_at_row_column=places)
        write_text(folder / PAGE, result_page(result))


def overview(result: Reconstruction) -> list[Panel]:
    """The panels of one reconstruction: measurement, estimate, and truth with the error where there is truth."""
    scene, truth = result.scene, result.truth
    panels = [Panel("Measurement", measurement_picture(result.measurement.frame))]
    if truth is not None:
        panels.append(Panel("Truth", picture(truth)[0]))
    psnr = result.metrics.get("psnr_db")
    subtitle = f"{result.record['seconds']:.1f} s" if psnr is None else f"{psnr:.2f} dB"
    panels.append(Panel(result.record["method"], picture(scene, like=truth)[0], subtitle))
    if truth is not None:
        panels.append(Panel("Error", error_map(scene.cube, truth.cube), "RMSE over bands"))
    return panels
