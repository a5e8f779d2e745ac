"""The CASSI camera: how a hyperspectral cube becomes one coded exposure, and back.

Legend: B batch · C bands · H, W scene · Wm measurement width · x cube (B,C,H,W) · y measurement (B,H,Wm)
· M coded aperture (H,W), or (C,H,W) when calibrated for each band.

A single-disperser camera multiplies every band by the mask, a prism moves band c sideways by its offset, and
the detector adds up all bands:

    A x = Σ_c shift_c(M ⊙ x_c)          (Aᵀ y)_c = M ⊙ unshift_c(y)          D = Σ_c shift_c(M²)

A Aᵀ is diagonal, with diagonal D, when all offsets are whole pixels. Fractional offsets are linear
interpolation between two pixels, which couples neighbours; networks then still use the diagonal, solvers the row
sums.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics.geometry import check_height, describe_fits
from crsdun.optics.wavelengths import MOST_BANDS

# In pixels; no detector is that wide, and a typing error should not fill the memory.
LARGEST_OFFSET = 100_000
# Of the mean exposure of a white scene; a detector pixel with less is not lit.
LEAST_LIT = 1e-3


class CassiCamera:
    """A coded-aperture snapshot spectral imager with a single disperser. Immutable.

    Args:
        mask: coded aperture, (H,W), or (C,H,W) calibrated per band; transmissions, usually 0..1, grey allowed.
            A tensor keeps its device and floating type, anything else becomes float32 on the CPU.
        bands: number of bands C; may be omitted if ``wavelengths``, ``offsets`` or a per-band mask determine it.
        wavelengths: centre of each band in nm, length C.
        step: dispersion in pixels per band; negative disperses to the left, fractions are interpolated.
        offsets: displacement of each band in pixels, length C, instead of ``step``.

    Attributes:
        moved: by how many pixels, down and right, its mask lies from where it was told (``solvers.align``).

    Raises:
        InputError: shapes or counts disagree, or the mask contains NaN, infinity or negative values.
    """

    def __init__(
        self,
        mask: Tensor | np.ndarray | Sequence,
        bands: int | None = None,
        wavelengths: Sequence[float] | None = None,
        step: float = 2,
        offsets: Sequence[float] | None = None,
    ):
        if isinstance(mask, str | os.PathLike):
            raise InputError("a camera takes the mask itself", "read the file with crsdun.scenes.read_mask(path)")
        if not isinstance(mask, Tensor) or not mask.is_floating_point():
            values = np.asarray(mask)
            if values.dtype.kind in "iu" and values.size and values.max() > 1:
                raise InputError(
                    f"the mask holds integers up to {values.max()}",
                    "a transmission lies in 0..1: divide by the "
                    "largest value of the type, or read the file with crsdun.scenes.read_mask",
                )
            mask = torch.as_tensor(values.astype(np.float32))
        if mask.ndim not in (2, 3) or 0 in mask.shape:
            raise InputError(
                f"the mask has shape {tuple(mask.shape)}", "expected (height, width) or (bands, height, width)"
            )
        if not mask.is_meta and not bool(torch.isfinite(mask).all() and (mask >= 0).all()):
            raise InputError("the mask holds negative, NaN or infinite values", "a transmission is 0 or more")
        given = {
            "bands": None if bands is None else operator.index(bands),
            "wavelengths": None if wavelengths is None else len(wavelengths),
            "offsets": None if offsets is None else len(offsets),
            "mask": mask.shape[0] if mask.ndim == 3 else None,
        }
        counts = {name: count for name, count in given.items() if count is not None}
        if len(set(counts.values())) != 1 or min(counts.values()) < 1:
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"
            raise InputError(f"a camera needs one number of bands of at least 1, but was given {listed}")

        self.mask, self.moved = mask, (0.0, 0.0)
        self.bands: int = next(iter(counts.values()))
        if self.bands > MOST_BANDS:
            raise InputError(f"a camera has at most {MOST_BANDS:,} bands, not {self.bands}")
        self.wavelengths = None if wavelengths is None else tuple(float(value) for value in wavelengths)
        if self.wavelengths is not None and not all(0 < value < math.inf for value in self.wavelengths):
            raise InputError("the wavelengths of the bands must be positive numbers of nanometres")
        if offsets is None:
            offsets = [step * band for band in range(self.bands)]
        self.offsets = tuple(float(offset) for offset in offsets)
        if not all(abs(offset) <= LARGEST_OFFSET for offset in self.offsets):
            raise InputError(
                f"the dispersion moves bands by up to {max(map(abs, self.offsets)):g} pixels",
                f"expected finite offsets of at most {LARGEST_OFFSET:,}",
            )

    def __repr__(self) -> str:
        per_band = " per band" if self.mask.ndim == 3 else ""
        dispersion = f"step {self.step:g}" if self.step is not None else f"offsets {self.offsets}"
        return f"CassiCamera(mask {self.height}×{self.width}{per_band}, {self.bands} bands, {dispersion})"

    # -- sizes ---------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """H, rows of the scene and of the measurement."""
        return self.mask.shape[-2]

    @property
    def width(self) -> int:
        """W, columns of the scene."""
        return self.mask.shape[-1]

    @property
    def span(self) -> int:
        """Columns that the dispersion adds to the measurement: (C−1)·|step| for whole steps."""
        return math.ceil(max(self.offsets)) - math.floor(min(self.offsets))

    @property
    def measurement_width(self) -> int:
        """Wm, columns of the measurement."""
        return self.width + self.span

    @property
    def mask_per_band(self) -> Tensor:
        """M, the mask as every band sees it, (C, H, W)."""
        return self.mask.expand(self.bands, -1, -1)

    @cached_property
    def step(self) -> float | None:
        """Dispersion in pixels per band, or None where it is not the same between all bands."""
        if self.bands == 1:
            return 0
        step = self.offsets[1] - self.offsets[0]
        even = all(math.isclose(o, self.offsets[0] + step * c, abs_tol=1e-9) for c, o in enumerate(self.offsets))
        return (int(step) if step.is_integer() else step) if even else None

    # -- light → measurement → light -----------------------------------------------------------------------

    def forward(self, cube: Tensor) -> Tensor:
        """A x: the exposure of a scene on the detector.

        Args:
            cube: (..., C, H, W), usually 0..1.

        Returns:
            (..., H, Wm), the plain sum over bands (0..C for a cube in 0..1).

        Raises:
            InputError: the cube does not fit the mask and the number of bands.
        """
        if tuple(cube.shape[-3:]) != (self.bands, self.height, self.width):
            raise InputError(
                f"the cube has shape {tuple(cube.shape)}",
                f"this camera sees (..., {self.bands}, {self.height}, "
                f"{self.width}): crop the cube or the mask to the same size",
            )
        return self.disperse(self.mask * cube).sum(-3)

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Aᵀ y: every detector pixel sent back to all the voxels that reached it, weighted by the mask.

        Args:
            measurement: (..., H, Wm).

        Returns:
            (..., C, H, W).
        """
        return self.mask * self.gather(measurement)

    def initial_estimate(self, measurement: Tensor) -> Tensor:
        """H, the usual first guess of the cube: unshift(2y/C), (..., H, Wm) → (..., C, H, W)."""
        return self.gather(measurement * (2 / self.bands))

    def mean_estimate(self, measurement: Tensor) -> Tensor:
        """A first guess that does not depend on how much light the mask lets through: unshift(y ⊘ A 1).

        Each detector pixel as if all its bands were alike, 0 where it is not ``lit``; (..., H, Wm) → (..., C, H, W).
        """
        return self.gather(torch.where(self.lit, measurement / self.open_light, 0))

    def brightness(self, measurement: Tensor) -> Tensor:
        """The grey scene that would send as much light, mean |y| / mean A 1: (..., H, Wm) → (...), 0 if dark."""
        light = self.open_light.mean()
        return torch.where(light > 0, measurement.abs().mean((-2, -1)) / light, 0)

    @cached_property
    def open_light(self) -> Tensor:
        """A 1, the exposure of a white scene, (H, Wm)."""
        return self.forward(self.mask.new_ones(self.bands, self.height, self.width))

    @cached_property
    def lit(self) -> Tensor:
        """Where enough light arrives to be told from noise, bool (H, Wm).

        Behind the tail of a blurred mask some does almost everywhere, and dividing by it gives anything.
        """
        return self.open_light > LEAST_LIT * self.open_light.mean()

    @cached_property
    def diagonal(self) -> Tensor:
        """D, the diagonal of A Aᵀ, (H, Wm), 0 where no light arrives."""
        return self.disperse(self.mask_per_band.square(), power=2).sum(-3)

    def disperse(self, bands: Tensor, power: int = 1) -> Tensor:
        """shift_c: each band of (..., C, H, W) at its place on a zero canvas, (..., C, H, Wm).

        ``power`` is applied to the interpolation weights (2 gives the diagonal of A Aᵀ from M²).
        """
        lead, (C, H, W), Wm = bands.shape[:-3], bands.shape[-3:], self.measurement_width
        step = self._whole_step
        if step is not None:
            if step < 0:
                bands = bands.flip(-3)
            # A shear without a loop: rows padded to Wm, then each band extended by |step|
            # elements, move band c exactly |step|·c columns to the right when read as (C, H, Wm) again.
            flat = F.pad(bands.contiguous(), (0, Wm - W)).reshape(*lead, C, H * Wm)
            sheared = F.pad(flat, (0, abs(step))).flatten(-2)[..., : C * H * Wm].view(*lead, C, H, Wm)
            return sheared.flip(-3) if step < 0 else sheared
        left, right = self._interpolation(bands)
        column = self._columns(bands.device).expand(bands.shape)
        canvas = bands.new_zeros(*lead, C, H, Wm + 1)
        canvas = canvas.scatter_add(-1, column, bands * left**power)
        return canvas.scatter_add(-1, column + 1, bands * right**power)[..., :Wm]

    def gather(self, measurement: Tensor) -> Tensor:
        """unshift_c: the window of (..., H, Wm) that band c fell on, for every band, (..., C, H, W).

        Whole steps to the right give a view of the measurement: nothing is copied.
        """
        self.check(measurement)
        lead, step = measurement.shape[:-2], self._whole_step
        if step == 0:
            return measurement.unsqueeze(-3).expand(*lead, self.bands, -1, -1)
        if step is not None and torch.compiler.is_exporting():
            # The inverse shear of ``disperse``: a graph for all sizes has no windows of unknown width.
            C, H, W, Wm = self.bands, self.height, self.width, self.measurement_width
            flat = F.pad(measurement.unsqueeze(-3).expand(*lead, C, H, Wm).flatten(-3), (0, C * abs(step)))
            sheared = flat.view(*lead, C, H * Wm + abs(step))[..., : H * Wm].view(*lead, C, H, Wm)[..., :W]
            return sheared.flip(-3) if step < 0 else sheared
        if step is not None:
            # Windows of width W every |step| columns are all the unshifted bands at once.
            windows = measurement.unfold(-1, self.width, abs(step)).movedim(-2, -3)
            return windows.flip(-3) if step < 0 else windows
        canvas = F.pad(measurement, (0, 1)).unsqueeze(-3).expand(*lead, self.bands, -1, -1)
        left, right = self._interpolation(measurement)
        column = self._columns(measurement.device).expand(*lead, self.bands, self.height, self.width)
        return canvas.gather(-1, column) * left + canvas.gather(-1, column + 1) * right

    # -- other cameras from this one -----------------------------------------------------------------------

    def crop(self, top: int, left: int, height: int, width: int) -> CassiCamera:
        """The camera that would have taken only this part of the scene.

        Its diagonal and its measurements do not depend on the neighbouring pixels: it measures of a cube cropped to
        the same part what the whole camera measures of a scene that is black everywhere else.

        Raises:
            InputError: the part does not lie inside the mask.
        """
        if min(top, left) < 0 or min(height, width) < 1 or top + height > self.height or left + width > self.width:
            raise InputError(
                f"a crop of {height}×{width} at row {top}, column {left} leaves the {self.height}×{self.width} mask"
            )
        return self.with_mask(self.mask[..., top : top + height, left : left + width])

    def to(self, *args: Any, **kwargs: Any) -> CassiCamera:
        """The same camera on another device or in another floating type (arguments of ``Tensor.to``)."""
        mask = self.mask.to(*args, **kwargs)
        if not mask.is_floating_point():
            raise InputError(f"a camera computes in a floating type, not in {mask.dtype}")
        return self.with_mask(mask)

    def with_mask(self, mask: Tensor, moved: tuple[float, float] | None = None) -> CassiCamera:
        """The same dispersion behind another mask, floating point; its values are not checked.

        Args:
            moved: by how much further this mask lies from where it was told.
        """
        camera = object.__new__(CassiCamera)
        camera.mask, camera.bands, camera.wavelengths = mask, self.bands, self.wavelengths
        camera.offsets = self.offsets
        down, right = moved or (0.0, 0.0)
        camera.moved = (self.moved[0] + down, self.moved[1] + right)
        return camera

    def upside_down(self) -> CassiCamera:
        """The camera that takes of a scene turned upside down the same measurement turned upside down."""
        return self.with_mask(self.mask.flip(-2))

    # -- checks --------------------------------------------------------------------------------------------

    def check(self, measurement: Tensor | np.ndarray) -> None:
        """Raise an InputError that names the cameras that would fit, unless the measurement is (..., H, Wm)."""
        height, width = measurement.shape[-2:]
        check_height(self.height, height, width)
        if width != self.measurement_width:
            dispersion = f"step {self.step:g}" if self.step is not None else "these offsets"
            raise InputError(
                f"the measurement is {width} columns wide, but {self.bands} bands at {dispersion} behind a mask "
                f"{self.width} wide give {self.measurement_width}",
                f"{describe_fits(self.width, width)}",
            )

    # -- how bands are moved -------------------------------------------------------------------------------

    @cached_property
    def _whole_step(self) -> int | None:
        """The step if it is a whole number and the offsets are even, the case that needs no interpolation."""
        whole = self.step is not None and float(self.step).is_integer() and self.offsets[0].is_integer()
        return int(self.step) if whole and self.step is not None else None

    def _interpolation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (C,1,1) of the pixel at the whole part of each offset, and of the one to its right."""
        offsets = torch.tensor(self.offsets, dtype=torch.float64)
        right = (offsets - offsets.floor()).to(like.device, like.dtype)[:, None, None]
        return 1 - right, right

    def _columns(self, device: torch.device) -> Tensor:
        """Column (C,1,W) of the canvas on which each scene column falls, before interpolation."""
        first = math.floor(min(self.offsets))
        start = torch.tensor([math.floor(offset) - first for offset in self.offsets], device=device)
        return start[:, None, None] + torch.arange(self.width, device=device)
