"""A scene as several systems see it: a column of pictures for each, errors on one scale."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import Scene
from crsdun.viewing.palette import class_colours
from crsdun.viewing.sheet import STYLE
from crsdun.viewing.system_sheet import CELL, COLUMNS, HEADER, SEAM, SystemCell, system_sheet
from tests.evaluation.scenes import PaintedSet
from tests.viewing.reports import png_pixels

TRUTH = PaintedSet(1, height=42, width=42)[0]
FRAME = TRUTH.cube.sum(0)
SIDE = CELL[0]  # of a square picture


def cell(error: float = 0.1, classes: np.ndarray | None = None) -> SystemCell:
    return SystemCell("a system", "20 dB", Scene(TRUTH.cube + error, wavelengths=TRUTH.wavelengths, classes=classes))


def drawn(cells, folder) -> np.ndarray:
    system_sheet(TRUTH, FRAME, cells, folder / "sheet.png")
    return png_pixels(folder / "sheet.png")


def part(sheet: np.ndarray, column: int, row: int) -> np.ndarray:
    """A picture of the first line."""
    left, top = STYLE.margin + column * (SIDE + STYLE.gap), STYLE.margin + HEADER + row * (SIDE + SEAM)
    return sheet[top : top + SIDE, left : left + SIDE]


def test_each_system_stands_beside_the_truth_with_its_error_and_classes(tmp_path):
    classes = np.full((42, 42), 2)
    sheet = drawn([cell(0.0, classes), cell(0.4)], tmp_path)
    assert np.array_equal(part(sheet, 0, 0), part(sheet, 1, 0))
    assert not np.array_equal(part(sheet, 0, 0), part(sheet, 2, 0))
    assert part(sheet, 1, 1).mean() < part(sheet, 2, 1).mean()  # no error is dark
    assert (part(sheet, 1, 2) == class_colours(3)[2]).all()
    assert (part(sheet, 2, 2) == 255).all()  # no classes


def test_errors_share_one_scale(tmp_path):
    alone, beside = (part(drawn(cells, tmp_path), 1, 1) for cells in ([cell(0.1)], [cell(0.1), cell(0.8)]))
    assert beside.sum() < alone.sum()


def test_further_systems_begin_a_new_line(tmp_path):
    line, more = (drawn([cell()] * count, tmp_path) for count in (COLUMNS - 1, COLUMNS))
    assert line.shape[1] == more.shape[1]
    assert more.shape[0] - line.shape[0] > 2 * SIDE


def test_a_sheet_of_no_systems_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        drawn([], tmp_path)
