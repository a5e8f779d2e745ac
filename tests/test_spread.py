"""Which of many stand for all."""

import numpy as np
import pytest

from crsdun.scenes import open_exposures
from crsdun.scenes.measurement import Exposures
from crsdun.spread import BLOCK_ROWS, sample_rows, spread_evenly


def test_first_and_last_are_among_them_and_none_comes_twice():
    assert spread_evenly(10, 4) == [0, 3, 6, 9]
    assert spread_evenly(3, 8) == spread_evenly(3, None) == [0, 1, 2]
    assert spread_evenly(9, 1) == [0]
    for count in range(2, 60):
        for number in range(2, count + 1):
            chosen = spread_evenly(count, number)
            assert (len(chosen), chosen[0], chosen[-1]) == (number, 0, count - 1)


@pytest.mark.parametrize("height", [1, 16, 20, 300])
def test_rows_that_stand_for_a_frame_reach_over_all_of_it(height):
    rows = sample_rows(height)
    assert (rows[0][0], rows[-1][1]) == (0, height)
    assert {bottom - top for top, bottom in rows} == {min(BLOCK_ROWS, height)}


def test_a_frame_is_looked_at_in_those_rows(tmp_path, monkeypatch):
    np.save(tmp_path / "y.npy", np.zeros((300, 8), np.float32))
    seen, stored = [], Exposures._stored
    monkeypatch.setattr(
        Exposures,
        "_stored",
        lambda self, index, rows: seen.append((rows.start, rows.stop)) or stored(self, index, rows),
    )
    open_exposures(tmp_path / "y.npy").part(0, 100, 110)
    assert set(seen) == {*sample_rows(300), (100, 110)}
