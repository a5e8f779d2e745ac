"""How a measurement becomes a cube without learning, for any camera: LR-TV, GAP-TV and ADMM-TV."""

from crsdun.solvers.gap_admm import AdmmTv, GapTv
from crsdun.solvers.lr_tv import LrTv
from crsdun.solvers.solver import SOLVERS, Solver, create_solver, register_solver

__all__ = ["SOLVERS", "AdmmTv", "GapTv", "LrTv", "Solver", "create_solver", "register_solver"]

register_solver("lr-tv", LrTv)
register_solver("gap-tv", GapTv)
register_solver("admm-tv", AdmmTv)
