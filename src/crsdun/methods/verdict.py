"""Whether a decoded cube can be believed: it must explain its measurement, and look like a scene.

Only the residual tells that a network decodes what it was not trained for: a scene of another kind, or a real camera
whose mask and noise it has not seen. Of frames that ``crsdun_tiny_1`` was trained for it leaves at most 1.4 times
what a few iterations of ADMM-TV leave; of Indian Pines 3.2 times, of frames of a real camera about 1000 times.

A solver without learning explains almost anything, also behind a wrong mask. What it then cannot do is to predict
detector pixels that it has not used any better than behind any other mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crsdun.methods.method import Method
from crsdun.methods.run import MethodRun, RunOptions, run_method
from crsdun.optics import CassiCamera, Fit, ModelCard
from crsdun.solvers import create_solver

# Values of a cube on the scale of reflectance, 0..1, with room for what networks overshoot at edges (-0.09..1.27).
DARKEST, BRIGHTEST = -0.5, 2.0
# A residual up to this is not compared with that of a solver.
EXPLAINED = 0.03
# The residual of what has learnt may be this many times that of a solver after this many iterations.
WORSE, ITERATIONS = 1.6, 15
# The residual that the noise explains, and one that it explains partly, relative to the noise.
WITHIN, PARTLY = 1.5, 4.0
# Noise, relative to the measurement, above which a residual within it says little.
LARGE_NOISE = 0.2
# The trial of the mask: iterations, rows in the middle of the frame, and the error of pixels held out that a mask
# must stay below, relative to that behind a wrong one. Right masks reach 0.08 without noise, 0.42 on Indian Pines
# with shot noise, and up to 0.86 on frames of a real camera; masks one pixel off 0.94 to 1.03.
TRIAL, TRIAL_ROWS, BETTER = 80, 128, 0.9
# A trial of a frame that is decoded by rows has no more pixels than this, which is a trial of usual width.
TRIAL_PIXELS = 1 << 15
# Masks that are more alike than this are the same for the trial.
ALIKE = 0.5
MASK_DOUBT = (
    "the mask explains the measurement hardly better than another mask would, so mask, step or bands are probably "
    "not those of this camera"
)

FITS = {
    "fits": "explains the measurement",
    "partly": "explains the measurement only partly",
    "not": "does not explain the measurement",
}


def describe_fit(metrics: Mapping[str, Any]) -> str:
    """What the ``fit`` in the figures of a reconstruction says of its cube; empty where there is none.

    A cube that should not be believed may fit the measurement all the same, behind a wrong mask for instance, and
    where noise is a large part of the measurement, a fit says little.
    """
    if metrics.get("fit") == "fits" and "warning" in metrics:
        return "should not be believed although it fits the measurement: see the warning"
    if metrics.get("fit") == "fits" and metrics.get("noise", 0) > LARGE_NOISE:
        return "fits the measurement within its noise, which is large"
    if metrics.get("fit") == "fits" and "noise" in metrics:
        return "fits the measurement within its noise"
    return FITS.get(metrics.get("fit", ""), "")


def describe_move(metrics: Mapping[str, Any]) -> str:
    """Where a method found the mask, from the figures of a reconstruction; empty where it was where it was told."""
    if "mask_moved" not in metrics:
        return ""
    down, right = metrics["mask_moved"]
    return f"its mask was found {down:+.2f} rows and {right:+.2f} columns off its given position"


@dataclass(frozen=True)
class Verdict:
    """How well a cube explains its measurement.

    Attributes:
        fit: a name in ``FITS``.
        held_out, noise: as in ``Fit``; None where the method does not know them.
        doubt: why the estimate should not be believed, in one line without a full stop; None if it may be.
    """

    fit: str
    held_out: float | None = None
    noise: float | None = None
    doubt: str | None = None


def judge_run(run: MethodRun, method: Method, measurement: Tensor, options: RunOptions) -> Verdict:
    """The verdict on a run of ``method`` on ``measurement``, y (H,Wm), with ``options``."""
    low, high = float(run.estimate.cube.min()), float(run.estimate.cube.max())
    known = run.estimate.fits[0] if run.estimate.fits else None
    return judge_figures(method, run.residual, known, (low, high)) or against_solver(
        method, run.residual, measurement, run.camera, options
    )


def judge_figures(method: Method, residual: float, known: Fit | None, span: tuple[float, float]) -> Verdict | None:
    """The verdict that figures of a run suffice for; None where its residual is to be compared (``against_solver``).

    Args:
        residual: ‖y − A x‖ / ‖y‖.
        known: what the method knows of its fit.
        span: least and largest value of the cube.
    """
    if known is not None:
        # What is more than the noise, but less than a hundredth of the light, is no matter.
        within = max(known.noise, 0.01 / WITHIN)
        fit = "fits" if residual <= WITHIN * within else "partly" if residual <= PARTLY * within else "not"
        return Verdict(fit, known.held_out, known.noise)
    low, high = span
    if method.needs_scale and (low < DARKEST or high > BRIGHTEST):
        doubt = f"{method.name} gives values from {low:.3g} to {high:.3g}, where a scene has 0 to 1"
        return Verdict("fits" if residual <= EXPLAINED else "not", doubt=doubt)
    if residual <= EXPLAINED:
        return Verdict("fits")
    return None if is_learnt(method) else Verdict("partly")


def against_solver(
    method: Method, residual: float, measurement: Tensor, camera: CassiCamera, options: RunOptions
) -> Verdict:
    """The verdict on a residual of what has learnt, by what a few iterations of a solver leave of y, (H,Wm)."""
    solver = create_solver("admm-tv", iterations=ITERATIONS)
    usual = run_method(solver, measurement, camera, RunOptions(options.device, memory=options.memory)).residual
    if residual <= WORSE * usual:
        return Verdict("partly")
    return Verdict(
        "not",
        doubt=f"{method.name} leaves {residual:.1%} of the measurement unexplained, where a few iterations of "
        f"{solver.name} leave {usual:.1%}",
    )


def is_learnt(method: Method) -> bool:
    """Whether a method has learnt from scenes, as its card says, and so can be wrong about those of another kind."""
    return method.needs_scale or method.card != ModelCard()


def doubt_mask(measurement: Tensor, camera: CassiCamera, options: RunOptions) -> str | None:
    """Why the mask, or the dispersion, cannot be that of the measurement, y (H,Wm); None if it may be.

    A part of the frame, or all of it where light crosses the rows, is decoded behind the mask, and behind the same
    mask turned by half a circle and moved.
    """
    y = measurement
    if camera.by_rows:
        top, bottom = trial_rows(camera.height)
        y, camera = measurement[top:bottom], camera.crop(top, 0, bottom - top, camera.width)
    other = camera.with_masks(lambda mask: mask.flip(-2, -1).roll(7, -1))
    if _likeness(camera.mask, other.mask) > ALIKE:
        return None
    solver = create_solver("lr-tv", iterations=TRIAL)
    how = RunOptions(options.device, memory=options.memory)
    errors = [run_method(solver, y, each, how).estimate.fits[0].held_out for each in (camera, other)]
    if errors[0] <= BETTER * errors[1]:
        return None
    return MASK_DOUBT


def remedy_of(warning: str) -> str:
    """What may mend what a result is doubted for, as the remedy of an ``InputError``; empty where nothing is."""
    return "if the mask has only moved, <refine_camera> finds by how much" if warning == MASK_DOUBT else ""


def trial_rows(height: int, rows: int = TRIAL_ROWS) -> tuple[int, int]:
    """The rows in the middle of a frame that stand for all of them, the first and the one after the last."""
    rows = min(rows, height)
    top = (height - rows) // 2
    return top, top + rows


def _likeness(one: Tensor, other: Tensor) -> float:
    """Correlation of two masks; 1 where one of them does not vary."""
    pair = torch.stack([one.flatten(), other.flatten()])
    correlation = float(torch.corrcoef(pair)[0, 1])
    return correlation if correlation == correlation else 1.0
