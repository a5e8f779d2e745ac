"""A cube as a few images, one for each of its strongest spectral components, and how the camera sees these.

Legend: C bands · r images · H, W scene · Wm measurement width · x cube (C,H,W) · u images (r,H,W) · y measurement
(H,Wm) · A the camera · m mean spectrum (C,) · B basis (C,r) · v variance of each detector pixel (H,Wm).

    x = m + B (u − ½) + rest

The rest, in weaker components, stays as it was estimated. The images lie in about 0..1, the first with a standard
deviation of 1/6 and the others with less. Each is in the unit in which the errors of an estimate are about as large
as in the others: they fall along the components as the square root of the standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crsdun.optics import CassiCamera

# The standard deviation of the first image is one part in so many.
RANGE = 6
# Components weaker than this part of the first one are noise, or were left out of the estimate.
WEAKEST = 3e-3
# Less contrast than this part of the brightness is none.
SMALLEST = 1e-6


@dataclass(frozen=True)
class Coefficients:
    """The basis of a scene.

    Attributes:
        camera: that sees the scene.
        mean: m, (C,).
        basis: B, (C,r), orthogonal columns, strongest first.
        rest: of the estimate, (C,H,W), orthogonal to B.
    """

    camera: CassiCamera
    mean: Tensor
    basis: Tensor
    rest: Tensor

    @classmethod
    def of(cls, cube: Tensor, most: int, camera: CassiCamera) -> Coefficients:
        """The strongest components of an estimate x: at most ``most``, and none of one without contrast."""
        mean, variance, vectors = components(cube)
        deviation, vectors = variance[:most].sqrt(), vectors[:, :most]
        least = max(WEAKEST * float(deviation[0]), SMALLEST * float(mean.abs().max()))
        kept = int((deviation > least).sum())
        deviation, vectors = deviation[:kept], vectors[:, :kept]
        unit = RANGE * (deviation * deviation[:1]).sqrt()
        mean, basis = mean.to(cube.dtype), (vectors * unit).to(cube.dtype)
        without = cls(camera, mean, basis, torch.zeros_like(cube))
        return replace(without, rest=cube - without.cube(without.images(cube)))

    def images(self, cube: Tensor) -> Tensor:
        """u, the coefficients of x."""
        inverse = self.basis.mT / self.basis.square().sum(0)[:, None]
        return torch.tensordot(inverse, cube - self.mean[:, None, None], 1) + 0.5

    def cube(self, images: Tensor) -> Tensor:
        """x, the cube of u."""
        return torch.tensordot(self.basis, images - 0.5, 1) + self.mean[:, None, None] + self.rest

    def rows(self, top: int, count: int) -> Coefficients:
        """The same of these rows alone."""
        camera = self.camera.crop(top, 0, count, self.camera.width)
        return replace(self, camera=camera, rest=self.rest[:, top : top + count])

    def explained(self, images: Tensor) -> Tensor:
        """A x, what the camera sees of u."""
        return self.camera.forward(self.cube(images))

    def towards(self, images: Tensor, y: Tensor, variance: Tensor, sigma: float, iterations: int = 8) -> Tensor:
        """argmin_u ‖(y − A x) ⊘ √v‖² + ‖u − images‖² / σ², by conjugate gradients that begin at ``images``.

        Args:
            variance: v, infinite where a detector pixel shall not count.
            sigma: σ, how wrong the images are.
        """
        trust, tie = 1 / variance, sigma**-2

        def hessian(p: Tensor) -> Tensor:
            seen = self.camera.forward(torch.tensordot(self.basis, p, 1))
            return self._adjoint(trust * seen) + tie * p

        change = torch.zeros_like(images)
        r = self._adjoint(trust * (y - self.explained(images)))
        p, square = r, r.square().sum()
        for _ in range(iterations):
            if not square > 0:
                break
            turned = hessian(p)
            step = square / (p * turned).sum()
            change, r = change + step * p, r - step * turned
            before, square = square, r.square().sum()
            p = r + square / before * p
        return images + change

    def _adjoint(self, measurement: Tensor) -> Tensor:
        return torch.tensordot(self.basis.mT, self.camera.adjoint(measurement), 1)


def components(cube: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), variances (C,) and directions (C,C) of the spectra of a cube (C,H,W), strongest first, float64."""
    pixels = cube.flatten(1).double()
    mean = pixels.mean(1)
    pixels = pixels - mean[:, None]
    variance, vectors = torch.linalg.eigh(pixels @ pixels.mT / pixels.shape[1])
    variance, vectors = variance.flip(0).clamp(min=0), vectors.flip(1)
    # Either direction of a component is as good; most spectra are positive.
    return mean, variance, vectors * torch.where(vectors.sum(0) < 0, -1, 1)
