"""How many requests are inside, how long they take, and when to come again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from crsdun.errors import InputError

# How far the mean of the seconds follows the last request.
FOLLOWS = 0.2
LONGEST_RETRY_S = 600


class Full(InputError):
    """Too many requests wait; ``seconds`` until it makes sense to come again."""

    def __init__(self, waiting: int, seconds: int):
        super().__init__(
            f"{waiting} requests are decoded or wait, the most there may be", f"come again in {seconds} s"
        )
        self.seconds = seconds


class Desk:
    """Counts the requests that are inside; all of it happens in one event loop, so it needs no lock.

    Args:
        capacity: most that may be inside.
        lanes: processes that decode.
    """

    def __init__(self, capacity: int, lanes: int):
        self.capacity, self.lanes = capacity, lanes
        self.inside = 0
        self.mean_seconds = 1.0  # of decoding

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place inside, until the block ends; raises ``Full`` where there is none."""
        if self.inside >= self.capacity:
            raise Full(self.inside, self.retry_after)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def took(self, seconds: float) -> None:
        """A measurement was decoded in so many seconds."""
        self.mean_seconds += FOLLOWS * (seconds - self.mean_seconds)

    @property
    def retry_after(self) -> int:
        """Seconds until half of what is inside is decoded, as far as one can tell; at least one."""
        seconds = self.inside / 2 * self.mean_seconds / self.lanes
        return min(max(1, math.ceil(seconds)), LONGEST_RETRY_S)
