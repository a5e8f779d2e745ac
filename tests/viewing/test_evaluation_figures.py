"""Pictures of an evaluation arrive, as large as their contents ask, and show what they were given."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import Scene
from crsdun.viewing.evaluation_figures import CELL, ContactSheetRow, confusion_picture, contact_sheet
from tests.evaluation.scenes import NAMES, PaintedSet
from tests.viewing.reports import png_pixels

N = 12
CONFUSION = np.diag([90, 50, *[10] * (N - 2)])
CONFUSION[0, 2], CONFUSION[1, 2], CONFUSION[3, 3] = 10, 50, 0


def row(index: int = 0, error: float = 0.1, **size) -> ContactSheetRow:
    truth = PaintedSet(index + 1, **size)[index]
    classes = np.maximum(truth.classes, 0)
    estimate = Scene(truth.cube + error, wavelengths=truth.wavelengths, classes=classes)
    return ContactSheetRow(f"worst: {truth.name}", "PSNR (dB) 20.00", truth, truth.cube.sum(0), estimate)


def test_the_darkest_entries_of_a_confusion_picture_are_the_large_shares(tmp_path):
    confusion_picture(CONFUSION, [f"class {label}" for label in range(N)], tmp_path / "c.png")
    image = png_pixels(tmp_path / "c.png")
    # The last CELL·N rows above the margin and the columns left of the counts hold the matrix.
    bottom, right = image.shape[0] - 24, image.shape[1] - 24 - 110
    matrix = image[bottom - N * CELL : bottom, right - N * CELL : right]
    # A corner of each cell, where neither its number nor a line is.
    corners = matrix[4::CELL, 4::CELL].sum(-1)
    assert corners[0, 0] < corners[1, 1] < corners[0, 2] < corners[0, 1]
    assert corners[1, 1] == corners[1, 2]
    assert (corners[3] == corners[0, 1]).all()  # an absent class stays empty


def test_a_confusion_matrix_must_have_a_name_for_each_class(tmp_path):
    with pytest.raises(InputError, match=r"of 5 classes has the shape \(5, 5\), not \(12, 12\)"):
        confusion_picture(CONFUSION, NAMES, tmp_path / "c.png")


def test_a_contact_sheet_grows_with_its_rows_and_columns(tmp_path):
    contact_sheet([row()], tmp_path / "one.png")
    contact_sheet([row(), row(1)], tmp_path / "two.png")
    without = row()._replace(estimate=Scene(row().truth.cube, wavelengths=row().truth.wavelengths))
    contact_sheet([without], tmp_path / "cubes.png")
    one, two, cubes = (png_pixels(tmp_path / f"{name}.png") for name in ("one", "two", "cubes"))
    assert two.shape[0] - one.shape[0] >= 256
    assert two.shape[1] == one.shape[1]
    assert one.shape[1] - cubes.shape[1] >= 2 * 256


def test_scenes_of_different_sizes_fit_one_sheet(tmp_path):
    contact_sheet([row(), row(1, height=40, width=40)], tmp_path / "sheet.png")
    assert png_pixels(tmp_path / "sheet.png").shape[0] > 2 * 256
    contact_sheet([row(height=8, width=200)], tmp_path / "strip.png")
    assert png_pixels(tmp_path / "strip.png").shape[1] < 6 * 450


def test_errors_share_one_scale(tmp_path):
    """The same error beside a larger one is drawn darker than alone."""
    contact_sheet([row(error=0.1)], tmp_path / "alone.png")
    contact_sheet([row(error=0.1), row(1, error=0.8)], tmp_path / "beside.png")
    alone, beside = (png_pixels(tmp_path / f"{name}.png")[:340] for name in ("alone", "beside"))
    assert beside.sum() < alone.sum()


def test_a_contact_sheet_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one scene"):
        contact_sheet([], tmp_path / "sheet.png")
