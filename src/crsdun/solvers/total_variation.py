"""The proximal step of total variation, for all bands at once.

Legend: B batch · C bands · H, W scene · c cube of spectral frequencies (B,C,H,W) · p, q dual variables (B,C,H,W).

Neighbouring bands of a scene look alike. An orthonormal cosine transform along the spectrum, T, gathers what they
have in common in the first frequencies, and edges are then counted in every frequency j with a weight of its own:

    R(x) = Σ_j ω_j Σ_pixels |∇(T x)_j|,    ω_j = (1 + j)^smoothness,

with |∇·| the length of the difference to the right and downwards (isotropic; none across the border). T is
orthonormal, so the proximal step is the ordinary one of each frequency between T and Tᵀ.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from crsdun import native


class TotalVariation:
    """argmin_u ½‖u − x‖² + weight · R(u), approximately, by projected gradient on the dual.

    The dual variables are kept between calls: an outer loop whose x changes little needs few inner steps.

    Args:
        shape: (B,C,H,W) of the cubes to come.
        like: a tensor of their device and floating type.
        smoothness: exponent of ω; 0 treats all spectral frequencies alike, larger values prefer smooth spectra.
        rank: how many spectral frequencies are kept, at most C; None keeps all.

    Attributes:
        transform: T, orthonormal rows, (B,r,C); the step projects on their span. ``turn`` replaces it.
        omega: ω, (r,1,1).
        local: weight of each pixel, (H,W), or None where all are alike.

    Source: Chambolle, "Total variation minimization and a class of binary MRF models", EMMCVPR 2005, eq. 19
    (the projected form of his algorithm of 2004).
    """

    def __init__(self, shape: torch.Size, like: Tensor, smoothness: float = 0.0, rank: int | None = None):
        batch, bands = shape[:2]
        rank = bands if rank is None else min(rank, bands)
        transform = scipy.fft.dct(np.eye(bands), axis=0, norm="ortho")[:rank]
        self.smoothness = smoothness
        self.transform = torch.as_tensor(transform, dtype=like.dtype, device=like.device).expand(batch, -1, -1)
        self.omega = self._weights(rank, like)
        self.local: Tensor | None = None
        # p[..., -1] and q[..., -1, :] stay 0: there is no neighbour beyond the border.
        shape = torch.Size((batch, rank, *shape[2:]))
        self.p, self.q = like.new_zeros(shape), like.new_zeros(shape)
        self._frequencies, self._work = like.new_empty(shape), like.new_empty(shape)

    def turn(self, transform: Tensor) -> None:
        """Continue with other components of the spectra, orthonormal rows (B,r,C); the dual variables turn along."""
        rotation = transform @ self.transform.mT
        self.p = (rotation @ self._rows(self.p)).view(*rotation.shape[:2], *self.p.shape[2:])
        self.q = (rotation @ self._rows(self.q)).view_as(self.p)
        self.transform = transform
        self.omega = self._weights(transform.shape[1], transform)
        self._frequencies, self._work = torch.empty_like(self.p), torch.empty_like(self.p)

    def _weights(self, rank: int, like: Tensor) -> Tensor:
        return torch.arange(1, rank + 1, dtype=like.dtype, device=like.device)[:, None, None] ** self.smoothness

    def coefficients(self, cube: Tensor) -> Tensor:
        """T x, (B,r,H,W), of a contiguous cube (B,C,H,W); valid until the next call."""
        self._mix(self.transform, cube, self._frequencies)
        return self._frequencies

    def rescale(self, factor: float) -> None:
        """Scale the dual variables for a next weight that is ``factor`` times the last."""
        self.p *= factor
        self.q *= factor

    def step(self, cube: Tensor, weight: float, inner: int, out: Tensor) -> Tensor:
        """The proximal step of ``cube`` (B,C,H,W) after ``inner`` dual steps, written to ``out``.

        Both are contiguous and may be the same tensor.
        """
        self.coefficients(cube)
        limit = weight * self.omega
        if native.usable(self._frequencies):
            radius = limit.flatten().repeat(len(cube))
            native.total_variation(self._frequencies, self.p, self.q, radius, self.local, inner, self._work)
        else:
            limit = limit if self.local is None else limit * self.local
            for _ in range(inner):
                self._dual_step(limit)
            self._primal()
        self._mix(self.transform.mT, self._work, out)
        return out

    def _dual_step(self, limit: Tensor) -> None:
        """One of length 1/8, the bound for two differences."""
        u = self._primal()
        # p ← p + ∇u/8 ...
        self.p[..., :-1].add_(u[..., 1:], alpha=0.125).sub_(u[..., :-1], alpha=0.125)
        self.q[..., :-1, :].add_(u[..., 1:, :], alpha=0.125).sub_(u[..., :-1, :], alpha=0.125)
        # ... and back into the disc |(p, q)| ≤ limit. u is no longer needed.
        length = torch.hypot(self.p, self.q, out=u)
        shrink = torch.div(limit, torch.maximum(length, limit, out=length), out=length)
        self.p *= shrink
        self.q *= shrink

    def _mix(self, matrix: Tensor, cube: Tensor, out: Tensor) -> None:
        """Each spectrum of a cube times a matrix (B,·,·)."""
        if native.usable(cube):
            native.mix_planes(matrix.contiguous(), self._rows(cube), self._rows(out))
        else:
            torch.bmm(matrix, self._rows(cube), out=self._rows(out))

    @staticmethod
    def _rows(cube: Tensor) -> Tensor:
        # A view, never a copy: what is written to it must reach the cube.
        return cube.view(*cube.shape[:2], -1)

    def _primal(self) -> Tensor:
        """u = c − ∇ᵀ(p, q), in the working buffer."""
        u = torch.add(self._frequencies, self.p, out=self._work)
        u[..., 1:] -= self.p[..., :-1]
        u += self.q
        u[..., 1:, :] -= self.q[..., :-1, :]
        return u
