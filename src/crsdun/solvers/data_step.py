"""The step towards the measurement: the one place where solvers divide by A Aᵀ.

Legend: B batch · Hm, Wm measurement · A the camera · E a positive diagonal · D = A Aᵀ 1 · r residual (..., Hm, Wm).

    (A Aᵀ + E)⁻¹ r

Where A Aᵀ is diagonal this is a division. Where it is not, because of fractional offsets, a blur, a distortion or
several exposures of one scene, a few steps of conjugate gradients come near it, preconditioned by the same division:
D bounds A Aᵀ, D^-½ A Aᵀ D^-½ ≤ 1, so that even the first step does not overshoot.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from crsdun.optics import CassiCamera

# More bring an iteration of a solver nearer to what it stands for, but the solver hardly nearer to its end.
STEPS = 5


def solved(
    camera: CassiCamera, residual: Tensor, noise: Tensor | float, divided: Callable[[Tensor], Tensor]
) -> Tensor:
    """(A Aᵀ + E)⁻¹ r, (..., Hm, Wm), exactly where A Aᵀ is diagonal, and nearly where it is not.

    Args:
        noise: E, a number or (Hm,Wm).
        divided: what divides by D + E, and gives 0 for pixels that are not used.
    """
    s = divided(residual)
    if camera.uncoupled:
        return s
    tiny = torch.finfo(residual.dtype).tiny
    r, p, s = residual, s, torch.zeros_like(residual)
    fit = (r * p).sum((-2, -1), keepdim=True)
    for _ in range(STEPS):
        turned = camera.forward(camera.adjoint(p)) + noise * p
        step = fit / (p * turned).sum((-2, -1), keepdim=True).clamp(min=tiny)
        s, r = s + step * p, r - step * turned
        z = divided(r)
        before, fit = fit, (r * z).sum((-2, -1), keepdim=True)
        p = z + fit / before.clamp(min=tiny) * p
    return s
