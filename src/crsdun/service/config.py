"""What the service was started with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crsdun.errors import InputError
from crsdun.runtime import Preparation
from crsdun.web.uploads import LARGEST_LIMIT_MB, MEGABYTE

MOST_WORKERS, MOST_BATCH, MOST_QUEUE, LONGEST_S = 1024, 1024, 100_000, 86_400
SHORTEST_TOKEN = 16  # characters
TOKEN_LETTERS = rf"[!-~]{{{SHORTEST_TOKEN},}}"  # as a header can bring them
LOCAL, ADDRESSES = "127.0.0.1", ("127.0.0.1", "0.0.0.0", "::")
# Ports below belong to the system, and LitServe takes none of them.
FIRST_PORT, LAST_PORT = 1024, 65535
AUTO = "auto"  # shipped weights that fit, or a solver


@dataclass(frozen=True)
class ServiceConfig:
    """How the service was started.

    Attributes:
        method: name of a solver or of shipped weights, or a weights file; ``AUTO`` chooses for each measurement.
        settings: of a solver.
        cameras: by the id that requests name; of a measurement without one, the only camera.
        preparation: of measurements that bring their own camera; the mask of another is none of it, and left out.
        device: cpu, cuda or mps.
        workers: processes that decode, for each device.
        batch: most measurements of one size and camera that are decoded at once.
        queue: most requests that wait, besides those that are decoded.
        timeout: seconds from the arrival of a request to its answer.
        limit: bytes of the largest request.
        token: that a request must bring; None lets every program of this machine in.
        host, port: where it listens.
        memory: bytes that one file may need; None is a share of what is available.
        threads: of each process that decodes; None shares the cores among them.

    Raises:
        InputError: a number is out of its range, or somebody else than this machine could reach it without a token.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    cameras: Mapping[str, Preparation] = field(default_factory=dict)
    preparation: Preparation = field(default_factory=Preparation)
    device: str = "cpu"
    workers: int = 1
    batch: int = 1
    queue: int = 32
    timeout: float = 120
    limit: int = 256 * MEGABYTE
    token: str | None = field(default=None, repr=False)
    host: str = LOCAL
    port: int = 8629
    memory: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "preparation", self.preparation.without_camera())
        for name, value, low, high in (
            ("workers", self.workers, 1, MOST_WORKERS),
            ("batch", self.batch, 1, MOST_BATCH),
            ("queue", self.queue, 0, MOST_QUEUE),
            ("timeout", self.timeout, 1, LONGEST_S),
            ("limit", self.limit / MEGABYTE, 1, LARGEST_LIMIT_MB),
        ):
            if not low <= value <= high:
                between = f"between {low:,} and {high:,}"
                raise InputError(f"{name} lies {between}, not at {value:,g}", f"set another <{name}>")
        if self.host not in ADDRESSES:
            raise InputError(
                f"the service listens on {', '.join(ADDRESSES)}, not on {self.host!r}", "choose another <host>"
            )
        if self.port != 0 and not FIRST_PORT <= self.port <= LAST_PORT:
            raise InputError(
                f"a port lies between {FIRST_PORT} and {LAST_PORT}, not at {self.port}", "choose another <port>"
            )
        if self.token is not None and not re.fullmatch(TOKEN_LETTERS, self.token):
            raise InputError(
                f"a token has {SHORTEST_TOKEN} letters or more of ASCII, without spaces", "choose another token"
            )
        if self.token is None and self.host != LOCAL:
            raise InputError(
                f"whoever reaches {self.host} could use this service",
                "put a token into the variable CRSDUN_TOKEN, or into a <token_file>",
            )

    @property
    def lanes(self) -> int:
        """How many processes decode: some for each GPU."""
        if self.device != "cuda":
            return self.workers
        import torch

        return self.workers * torch.cuda.device_count()

    @property
    def capacity(self) -> int:
        """Most requests that are inside: decoded and waiting."""
        return self.lanes * self.batch + self.queue
