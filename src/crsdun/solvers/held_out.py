"""What the detector pixels that a solver does not use tell: how good its estimate is, and how strong the noise.

Legend: H, Wm measurement · y measurement (H,Wm), of one picture of the scene or several · A the camera · D = A Aᵀ 1.

A few per cent of the pixels are held out. What these differ by from A x is their noise and the error of the
prediction, so the regularisation with which they differ least is the best one, whatever the scene, the noise and the
errors of the camera's model are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from crsdun.optics import CassiCamera

# Detector pixels with less than this part of the mean of D hold no light of the scene.
UNLIT = 1e-3
# Where at least this part of all pixels has the largest value, the detector saturates; where more than MOST has it,
# the scene is like that.
PLATEAU, MOST = 1e-4, 0.05
# A pixel's variance, relative to the mean: bright pixels are not trusted less than this.
LARGEST_VARIANCE = 3.0
# Fewer pixels than this tell nothing.
FEWEST = 10


def valid_pixels(y: Tensor, camera: CassiCamera) -> Tensor:
    """The detector pixels, bool (H,Wm), that say something about the scene: lit through the mask, not saturated."""
    valid = torch.zeros_like(y, dtype=torch.bool)
    for part, picture, D in zip(*map(camera.pictures, (valid, y, camera.row_sums)), strict=True):
        part.copy_(_valid(picture, D))
    return valid


def _valid(y: Tensor, D: Tensor) -> Tensor:
    """Of one picture."""
    lit = UNLIT * D.mean() < D
    brightest = y >= y.max()
    saturated = max(PLATEAU, FEWEST / y.numel()) < float(brightest.float().mean()) < MOST
    return lit & ~brightest if saturated else lit


class HeldOut:
    """The pixels that are held out, and what they told when they were last looked at.

    Args:
        y: (H,Wm), on the scale of the solver.
        camera: that took it.
        part: of the valid pixels, that is held out.
        known: variance of the noise of a pixel without light and its rise per unit of y; None finds them from the
            residuals.

    Attributes:
        valid: the pixels that say something about the scene, bool (H,Wm).
        held, used: the pixels held out, and the other valid ones, bool (H,Wm); where these are few, both are all.
        error: mean square residual of the pixels held out.
        noise: variance of the noise: pixels that are used are explained too well by about as much as the others are
            explained too badly, so it is the geometric mean of both residuals.
        variance: of each pixel relative to the mean, (H,Wm): a constant part, and one in proportion to the brightness
            (shot noise, errors of the mask), each that of its picture.
    """

    def __init__(self, y: Tensor, camera: CassiCamera, part: float, known: tuple[float, float] | None = None):
        # Always the same pixels, so that results can be repeated.
        generator = torch.Generator().manual_seed(7041)
        chosen = torch.rand(y.shape, generator=generator, dtype=torch.float32).to(y.device) < part
        self.valid = valid = valid_pixels(y, camera)
        chosen = valid & chosen
        if int(chosen.sum()) < FEWEST:
            chosen = torch.zeros_like(valid)
        self.y, self.camera, self.known, self.used = y, camera, known, valid & ~chosen
        self.held = chosen if chosen.any() else valid
        self.variance = torch.ones_like(y)
        self.error = self.noise = math.nan

    def look(self, explained: Tensor) -> float:
        """Compare y with what an estimate explains, A x, (H,Wm); returns ``error``."""
        if not self.held.any():
            self.error = self.noise = 0.0
            return self.error
        squares = (self.y - explained).square()
        self.error = float(squares[self.held].mean())
        self.noise = math.sqrt(self.error * float(squares[self.used].mean()))
        brightness, variance = explained.clamp(min=0), torch.zeros_like(squares)
        for part, *picture in zip(
            *map(self.camera.pictures, (variance, brightness, squares, self.held)), strict=True
        ):
            # Where too few pixels of a picture are held out, those of all tell.
            light, errors, held = picture if int(picture[2].sum()) >= FEWEST else (brightness, squares, self.held)
            constant, slope = self.known or _line(errors[held], light[held])
            part.copy_(constant + slope * picture[0])
        mean = variance[self.used].mean()
        if mean > 0:
            self.variance = (variance / mean).clamp(max=LARGEST_VARIANCE)
        return self.error


def _line(squares: Tensor, brightness: Tensor) -> tuple[float, float]:
    """a, b ≥ 0 with a + b · brightness nearest to the squares, those of bright pixels counting less."""
    mean = brightness.mean().clamp(min=torch.finfo(brightness.dtype).tiny)
    weight = (0.3 + 0.7 * brightness / mean).square().reciprocal()
    total, first, second = (float((weight * brightness**power).sum()) for power in range(3))
    level, rise = float((weight * squares).sum()), float((weight * squares * brightness).sum())
    determinant = total * second - first * first
    if determinant <= 0:
        return level / total, 0.0
    a, b = (second * level - first * rise) / determinant, (total * rise - first * level) / determinant
    if a < 0:
        return 0.0, rise / second
    return (level / total, 0.0) if b < 0 else (a, b)
