"""A reconstruction as a folder: data for programs, pictures and a report for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crsdun.errors import InputError
from crsdun.remote import Place
from crsdun.runtime import Reconstruction, write_data
from crsdun.scenes import Scene
from crsdun.spread import spread_evenly
from crsdun.storage import atomic_file, atomic_folder, local_copy, write_text
from crsdun.viewing.colour import measurement_picture, picture
from crsdun.viewing.display import error_map, error_size
from crsdun.viewing.figures import Panel, band_sheet, class_map, comparison, save_png, spectra
from crsdun.viewing.pages import PAGE
from crsdun.viewing.pixel_selection import select_pixels
from crsdun.viewing.result_page import result_page

MOST_FRAMES, FRAME_SIDE = 30, 320  # on a sheet, and pixels
SHEET_TITLE = "crsdun: a picture of each frame"


def write_results(result: Reconstruction, out: str | Place, overwrite: bool = False) -> None:
    """Write the folder ``out``; it appears only when it is complete.

    Besides the data of ``write_data``: ``picture.png`` the scene in colour · ``bands.png`` · ``spectra.png`` ·
    ``classes.png`` where the method segments, grey where a class is unknown, and ``doubt.png`` how far it can be
    believed · ``error.png`` the expected error where it was requested · ``overview.png`` measurement, picture and
    truth side by side · ``report.html`` all of it in one page.

    Raises:
        InputError: the folder exists already, or the disk refuses.
    """
    with atomic_folder(out, overwrite) as folder:
        write_data(result, folder, **write_pictures(result, folder))
        write_text(folder / PAGE, result_page(result))


def write_pictures(result: Reconstruction, folder: Path) -> dict[str, Any]:
    """Write the pictures of ``write_results`` into a folder that exists, and return what its record says of them."""
    scene, truth = result.scene, result.truth
    if result.classes is not None:
        class_map(result.classes, scene.class_names, folder / "classes.png", "unknown")
    if result.doubt is not None:
        comparison(doubt_panels(result), folder / "doubt.png")
    if result.error is not None:
        comparison(error_panels(result), folder / "error.png")
    image, description = picture(scene)
    save_png(image, folder / "picture.png")
    band_sheet(scene.cube, scene.wavelengths, folder / "bands.png")
    cubes = {result.record["method"]: scene.cube}
    if truth is not None:
        cubes = {"truth": truth.cube, **cubes}
    points = select_pixels(scene.cube if truth is None else truth.cube)
    spectra(cubes, scene.wavelengths, points, folder / "spectra.png", image)
    comparison(overview(result), folder / "overview.png")
    return {"picture": description, "spectra_at_row_column": [list(map(int, point)) for point in points]}


class FrameSheet:
    """One sheet over the exposures of a file, drawn at the end; only small pictures are kept until then.

    Args:
        count: how many exposures there are; of more than ``MOST_FRAMES`` some are left out, evenly.
    """

    def __init__(self, count: int):
        self.shown = spread_evenly(count, MOST_FRAMES)
        self.panels: dict[int, Panel] = {}
        self._like: Scene | None = None  # all are exposed like the first

    def add(self, index: int, result: Reconstruction) -> None:
        """The result of an exposure, ``index`` from 0."""
        if index not in self.shown:
            return
        self._like = self._like or result.scene
        image = Image.fromarray(picture(result.scene, like=self._like)[0])
        image.thumbnail((FRAME_SIDE, FRAME_SIDE), Image.Resampling.BOX)
        psnr, residual = result.metrics.get("psnr_db"), result.metrics["data_residual"]
        subtitle = f"residual {residual:.2%}" if psnr is None else f"{psnr:.2f} dB"
        self.panels[index] = Panel(f"frame {index + 1}", np.asarray(image), subtitle)

    def write(self, path: Place, overwrite: bool = False) -> None:
        """Write the sheet, a PNG, also in place of an earlier one; errors as ``atomic_file``."""
        with atomic_file(path, overwrite or is_frame_sheet(path)) as part:
            comparison([self.panels[index] for index in sorted(self.panels)], part, title=SHEET_TITLE)


def is_frame_sheet(path: Place) -> bool:
    """Whether a file is a ``FrameSheet``, which follows its frames, and not another picture."""
    try:
        with local_copy(path) as file, Image.open(file) as image:
            return bool(image.info.get("Title") == SHEET_TITLE)
    except (InputError, OSError, Image.DecompressionBombError):
        return False


def doubt_panels(result: Reconstruction) -> list[Panel]:
    """The panels that show how far the classes can be believed: the confidence, and the doubt where it is known."""
    found = result.doubt
    assert found is not None
    if found.doubt is None:
        return [Panel("Largest softmax", found.confidence, "not calibrated")]
    share = f"{result.metrics['unknown']:.1%} unknown"
    return [Panel("Confidence", found.confidence), Panel("Doubt", found.doubt, share)]


def error_panels(result: Reconstruction) -> list[Panel]:
    """The panels of the expected error, and beside it the true one where there is truth."""
    assert result.error is not None
    panels = [Panel("Expected error", error_size(result.error), "RMS over bands")]
    if result.truth is not None:
        panels.append(Panel("Error", error_map(result.scene.cube, result.truth.cube), "RMSE over bands"))
    return panels


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
