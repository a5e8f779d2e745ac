"""Whether a decoded cube can be believed: it must explain the measurement, and look like a scene.

Only the residual tells that a network decodes what it was not trained for: a scene of another kind, or a real camera
whose mask and noise it has not seen. Of frames that ``crsdun_tiny`` was trained for it leaves at most 1.4 times what
a few iterations of ADMM-TV leave; of Indian Pines 3.2 times, of frames of a real camera about 1000 times.
"""

from __future__ import annotations

from torch import Tensor

from crsdun.methods import Method, MethodRun, RunOptions, run_method
from crsdun.solvers import create_solver

# Values of a cube on the scale of reflectance, 0..1, with room for what networks overshoot at edges (-0.09..1.27).
DARKEST, BRIGHTEST = -0.5, 2.0
# A residual up to this is not compared with that of a solver.
EXPLAINED = 0.03
# A network's residual may be this many times that of a solver after this many iterations.
WORSE, ITERATIONS = 1.6, 15


def find_doubt(run: MethodRun, method: Method, measurement: Tensor, options: RunOptions) -> str | None:
    """Why the estimate of a run should not be believed, in one line without a full stop; None if it may be.

    Args:
        run: of ``method`` on ``measurement``, y (H,Wm).
        options: of the run.

    Only asked of methods that need the scale of the measurement: those that have learnt what scenes are like.
    """
    if not method.needs_scale:
        return None
    low, high = float(run.estimate.cube.min()), float(run.estimate.cube.max())
    if low < DARKEST or high > BRIGHTEST:
        return f"{method.name} gives values from {low:.3g} to {high:.3g}, where a scene has 0 to 1"
    if run.residual <= EXPLAINED:
        return None
    solver = create_solver("admm-tv", iterations=ITERATIONS)
    usual = run_method(solver, measurement, run.camera, RunOptions(options.device, memory=options.memory)).residual
    if run.residual <= WORSE * usual:
        return None
    return (
        f"{method.name} leaves {run.residual:.1%} of the measurement unexplained, where a few iterations of "
        f"{solver.name} leave {usual:.1%}"
    )
