"""How a measurement becomes a cube without learning: GAP-TV and ADMM-TV, for any camera and without weights."""

from crsdun.solvers.gap_admm import AdmmTv, GapTv
from crsdun.solvers.solver import SOLVERS, Solver, create_solver, register_solver

__all__ = ["SOLVERS", "AdmmTv", "GapTv", "Solver", "create_solver", "register_solver"]

register_solver("gap-tv", GapTv)
register_solver("admm-tv", AdmmTv)
