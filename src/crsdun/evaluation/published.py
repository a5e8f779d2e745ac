"""Published figures of the systems, mostly from the CRSDUN paper; none of them is measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PAPER = "He et al., CVPR 2026"


@dataclass(frozen=True)
class Published:
    """Published figures of a system: FVgNET, 50 test scenes; counts for ``ProblemSize``. None if unpublished.

    Attributes:
        psnr_db, miou: over the test scenes, mIoU as a share of 1.
        parameters: learnt values.
        multiply_adds: of one scene.
        source: where they are published.
    """

    psnr_db: float | None = None
    miou: float | None = None
    parameters: float | None = None
    multiply_adds: float | None = None
    source: str = PAPER


class ProblemSize(NamedTuple):
    """What counts depend on besides the network; the default is the published setting."""

    bands: int = 28
    classes: int = 23
    height: int = 256
    width: int = 256
    step: float = 2


# By the name of the network in the zoo.
PUBLISHED = {
    "mstpp+seg": Published(32.39, 0.7791, 3.10e6, 45.61e9),
    "rcump_9stg+seg": Published(38.35, 0.8566, 14.3e6, 152.1e9),
    "ssr_6stg+seg": Published(38.20, 0.8727, 6.91e6, 108.1e9),
    "ssr_9stg+seg": Published(39.50, 0.8574, 10.3e6, 161.0e9),
    "crsdun_3stg": Published(39.35, 0.9011, 4.02e6, 59.49e9),
    "crsdun_5stg": Published(39.88, 0.9233, 6.73e6, 99.07e9),
    # From the ablation table, whose row of the full network differs from the main table in the last digit of mIoU.
    "crsdun_3stg_baseline1": Published(37.33, 0.8431, 3.96e6, 60.41e9),
    "crsdun_3stg_theta": Published(37.90, 0.8608, 3.96e6, 60.68e9),
    "crsdun_3stg_lista": Published(38.03, 0.8655, 3.96e6, 60.91e9),
    "crsdun_3stg_cross_cube": Published(39.26, 0.8549),
    "crsdun_3stg_cross_class": Published(38.60, 0.8981),
    # That repository divides by 2²⁰ and 2³⁰ where others divide by 10⁶ and 10⁹.
    "ssr_9stg": Published(
        parameters=5.18 * 2**20,
        multiply_adds=78.93 * 2**30,
        source="repository of SSR, printed as 5.18 M and 78.93 G",
    ),
}
MAIN_TABLE = ("mstpp+seg", "rcump_9stg+seg", "ssr_6stg+seg", "ssr_9stg+seg", "crsdun_3stg", "crsdun_5stg")


def published(name: str, setting: ProblemSize) -> Published | None:
    """What is published of a system by its name in the zoo, where the setting is the published one."""
    return PUBLISHED.get(name) if setting == ProblemSize() else None
