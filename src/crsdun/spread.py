"""Which of many stand for all: some of a sequence, or rows of a frame too large to look at as a whole."""

from __future__ import annotations

import numpy as np

# Rows that stand for a frame: so many blocks of so many.
BLOCKS, BLOCK_ROWS = 8, 16


def spread_evenly(count: int, number: int | None) -> list[int]:
    """``number`` indices evenly spread over ``count``, the first and the last among them; None takes all."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(number or count, count)).round()})


def sample_rows(height: int) -> list[tuple[int, int]]:
    """The first row of each block that stands for a frame, and the one after its last."""
    rows = min(BLOCK_ROWS, height)
    return [(top, top + rows) for top in spread_evenly(height - rows + 1, BLOCKS)]
