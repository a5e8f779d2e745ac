"""The one interface of everything that estimates, and the one way to run it."""

from crsdun.methods.doubt import Doubt, doubt_of
from crsdun.methods.memory import SMALL_BLOCK, available_memory, keep_freed_memory, return_freed_memory
from crsdun.methods.method import Method
from crsdun.methods.precision import PRECISIONS
from crsdun.methods.run import MethodRun, RunOptions, data_residual, run_batch, run_method
from crsdun.methods.sequence import Before
from crsdun.methods.tiles import Tiles
from crsdun.optics import Progress
from crsdun.solvers import register_solver

__all__ = [
    "PRECISIONS",
    "SMALL_BLOCK",
    "Before",
    "Doubt",
    "Method",
    "MethodRun",
    "Progress",
    "RunOptions",
    "Tiles",
    "available_memory",
    "data_residual",
    "doubt_of",
    "keep_freed_memory",
    "register_solver",
    "return_freed_memory",
    "run_batch",
    "run_method",
]
