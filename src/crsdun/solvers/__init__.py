"""How a measurement becomes a cube without learning: GAP-TV and ADMM-TV, for any camera and without weights."""

from dataclasses import fields
from typing import Any

from crsdun.errors import InputError
from crsdun.solvers.gap_admm import AdmmTv, GapTv

__all__ = ["SOLVERS", "AdmmTv", "GapTv", "by_name"]

SOLVERS: dict[str, type[GapTv | AdmmTv]] = {"gap-tv": GapTv, "admm-tv": AdmmTv}


def by_name(name: str, **overrides: Any) -> GapTv | AdmmTv:
    """The solver of this name, with some settings other than the default ones.

    Raises:
        InputError: no solver has this name, or it has no such setting.
    """
    if name not in SOLVERS:
        raise InputError(f"unknown solver {name!r}", f"there are: {', '.join(SOLVERS)}")
    settings = [setting.name for setting in fields(SOLVERS[name])]
    for override in overrides:
        if override not in settings:
            raise InputError(f"{name} has no setting {override!r}", f"it has: {', '.join(settings)}")
    return SOLVERS[name](**overrides)
