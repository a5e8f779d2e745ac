"""Spectra in boxes: which pixels count, and what the table says."""

import csv
import io

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.scenes import Box, Scene, spectra_csv, spectra_in

# Every voxel records where it is: 100 · band + 10 · row + column.
BANDS, ROWS, COLUMNS = np.mgrid[:3, :4, :6]
CUBE = (100 * BANDS + 10 * ROWS + COLUMNS).astype(np.float32)
SCENE = Scene(CUBE, (450.0, 500.25, 600.0))


def rows(table: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table)))


def test_a_column_for_each_place_and_a_line_for_each_band():
    assert rows(spectra_csv(SCENE, [Box(1, 2, 1, 1), Box(0, 4, 2, 2)])) == [
        ["wavelength_nm", "x2_y1", "x4-5_y0-1", "x4-5_y0-1_sd"],
        ["450", "12", "9.5", "5.024938"],
        ["500.25", "112", "109.5", "5.024938"],
        ["600", "212", "209.5", "5.024938"],
    ]


def test_without_wavelengths_bands_are_numbered():
    assert [row[0] for row in rows(spectra_csv(Scene(CUBE), [Box(0, 0, 1, 1)]))] == ["band", "1", "2", "3"]


def test_what_holds_no_data_counts_nowhere():
    cube = CUBE.copy()
    cube[0, 0, 0] = cube[1, :2, :2] = np.nan
    (found,) = spectra_in(Scene(cube), [Box(0, 0, 2, 2)])
    np.testing.assert_allclose(found.mean, [(1 + 10 + 11) / 3, np.nan, 205.5])
    assert [row[1] for row in rows(spectra_csv(Scene(cube), [Box(0, 0, 1, 1)]))[1:]] == ["", "", "200"]


def test_the_mean_of_many_pixels_is_exact():
    cube = np.full((1, 3000, 1000), 0.1, np.float32)
    (found,) = spectra_in(Scene(cube), [Box(0, 0, 3000, 1000)])
    assert found.mean[0] == pytest.approx(np.float64(np.float32(0.1)), rel=1e-12)
    assert found.deviation[0] < 1e-12


@pytest.mark.parametrize("place", [(4, 0, 1, 1), (0, 6, 1, 1), (-1, 0, 1, 1), (0, 5, 1, 2), (0, 0, 0, 1)])
def test_places_outside_are_refused(place):
    with pytest.raises(InputError, match=r"is no part of the scene of 6 columns \(x\) and 4 rows \(y\); count both"):
        spectra_in(SCENE, [Box(*place)])
