"""How a measurement becomes a cube without training, for any camera: LR-TV, PnP, deep prior, GAP-TV, ADMM-TV."""

from crsdun.solvers.alignment import Shift, align
from crsdun.solvers.deep_prior import DeepPrior
from crsdun.solvers.gap_admm import AdmmTv, GapTv
from crsdun.solvers.lr_tv import LrTv
from crsdun.solvers.pnp import Pnp, per_image
from crsdun.solvers.self_calibration import Deviation, Refinement, refine_camera
from crsdun.solvers.solver import SOLVERS, Solver, create_solver, register_solver
from crsdun.solvers.spectral_denoiser import SpectralDenoiser

__all__ = [
    "SOLVERS",
    "AdmmTv",
    "DeepPrior",
    "Deviation",
    "GapTv",
    "LrTv",
    "Pnp",
    "Refinement",
    "Shift",
    "Solver",
    "SpectralDenoiser",
    "align",
    "create_solver",
    "per_image",
    "refine_camera",
    "register_solver",
]

register_solver("lr-tv", LrTv)
register_solver("pnp", Pnp)
register_solver("deep-prior", DeepPrior)
register_solver("gap-tv", GapTv)
register_solver("admm-tv", AdmmTv)
