"""The CASSI camera: how a hyperspectral cube becomes one coded exposure, and back.

Legend: B batch · C bands · H, W scene · Hm, Wm measurement · x cube (B,C,H,W) · y measurement (B,Hm,Wm)
· M coded aperture (H,W), or (C,H,W) when calibrated for each band.

A single-disperser camera multiplies every band by the mask, a prism moves band c by its offset, along the rows (then
Hm = H) or in any direction, and the detector adds up all bands:

    A x = Σ_c shift_c(M ⊙ x_c)          (Aᵀ y)_c = M ⊙ unshift_c(y)          D = Σ_c shift_c(M²)

A Aᵀ is diagonal, with diagonal D, when all offsets are whole pixels. Fractional offsets are linear
interpolation between two pixels, or four, which couples neighbours, and so do a blur or a distortion behind the prism
(``through``). Networks then still divide by the diagonal; solvers take a few steps of conjugate gradients.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property, reduce
from typing import Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics.camera_file import CameraFile, read_camera, write_camera
from crsdun.optics.geometry import check_height, describe_fits, span, without_rounding
from crsdun.optics.masks import check_transmission
from crsdun.optics.parts import PARTS, Part, Validity
from crsdun.optics.values import as_values, check_tensor, check_unmasked
from crsdun.optics.wavelengths import MOST_BANDS, as_centres, band_order

# In pixels; no detector is that wide, and a typing error should not fill the memory.
LARGEST_OFFSET = 100_000
# Of the mean exposure of a white scene; a detector pixel with less is not lit.
LEAST_LIT = 1e-3

# Displacement of each band in pixels: to the right, length C, or (down, right), (C,2).
Offsets: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | np.ndarray


class Kept:
    """A property of a camera, a tensor, that is computed once; anew each time where a gradient reaches the camera.

    What is kept serves every later use: it is no inference tensor, which no backward pass could use.
    """

    def __init__(self, func: Callable[[Any], Tensor]):
        self.func, self.name, self.__doc__ = func, func.__name__, func.__doc__

    def __get__(self, camera: Any, kind: type | None = None) -> Tensor:
        if camera is None:  # of the class
            return self  # type: ignore[return-value]
        if any(tensor.requires_grad for tensor in camera.tensors):
            return self.func(camera)
        kept: dict[str, Tensor] = camera.__dict__
        if self.name not in kept:
            with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
                kept[self.name] = self.func(camera)
        return kept[self.name]


class CassiCamera:
    """A coded-aperture snapshot spectral imager with a single disperser. Immutable.

    Args:
        mask: coded aperture, (H,W), or (C,H,W) calibrated per band; transmissions, usually 0..1, grey allowed.
            A tensor keeps its device and floating type, anything else becomes float32 on the CPU. The camera has a
            copy of its own, but for a mask that is learnt: one that requires a gradient keeps its graph.
        bands: number of bands C; may be omitted if ``wavelengths``, ``offsets`` or a per-band mask determine it.
        wavelengths: centre of each band in nm, length C.
        step: dispersion in pixels per band; negative disperses to the left, fractions are interpolated.
        offsets: displacement of each band in pixels instead of ``step``: to the right, length C, or down and right,
            (C,2).

    Attributes:
        offsets: as they were given; where no band moves down, those to the right alone.
        parts: what light meets behind the prism, in this order (``through``).
        moved: by how many pixels, down and right, its mask lies from where it was told (``solvers.align``).

    Raises:
        InputError: shapes or counts disagree, or the mask contains NaN, infinity, negative values or raw counts
            (``masks.check_transmission``), or masked ones.
    """

    def __init__(
        self,
        mask: Tensor | np.ndarray | Sequence,
        bands: int | None = None,
        wavelengths: Sequence[float] | None = None,
        step: float = 2,
        offsets: Offsets | None = None,
    ):
        if isinstance(mask, str | os.PathLike):
            raise InputError("a camera takes the mask itself", "read the file with crsdun.scenes.read_mask(path)")
        values = as_values(mask, "the mask")
        mask = values if isinstance(mask, Tensor) and values.is_floating_point() else values.float()
        if mask.ndim not in (2, 3) or 0 in mask.shape:
            raise InputError(
                f"the mask has shape {tuple(mask.shape)}", "expected (height, width) or (bands, height, width)"
            )
        if not mask.is_meta and not bool(torch.isfinite(mask).all() and (mask >= 0).all()):
            raise InputError("the mask holds negative, NaN or infinite values", "a transmission is 0 or more")
        if not mask.is_meta:
            check_transmission(mask.detach())
        given = {
            "bands": None if bands is None else _count(bands),
            "wavelengths": None if wavelengths is None else len(wavelengths),
            "offsets": None if offsets is None else len(offsets),
            "mask": mask.shape[0] if mask.ndim == 3 else None,
        }
        counts = {name: count for name, count in given.items() if count is not None}
        if len(set(counts.values())) != 1 or min(counts.values()) < 1:
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"
            raise InputError(f"a camera needs one number of bands of at least 1, but was given {listed}")

        self.mask, self.moved = mask, (0.0, 0.0)
        self.parts: tuple[Part, ...] = ()
        self.bands: int = next(iter(counts.values()))
        if self.bands > MOST_BANDS:
            raise InputError(f"a camera has at most {MOST_BANDS:,} bands, not {self.bands}")
        self.wavelengths = None if wavelengths is None else as_centres(wavelengths, self.bands)
        moves = _down_and_right(_evenly(step, self.bands) if offsets is None else offsets)
        self.offsets: tuple[float, ...] | tuple[tuple[float, float], ...]
        self.offsets = moves if any(down for down, _ in moves) else tuple(right for _, right in moves)

    def __repr__(self) -> str:
        per_band = " per band" if self.mask.ndim == 3 else ""
        dispersion = f"step {self.step:g}" if self.step is not None else f"offsets {self.offsets}"
        parts = "".join(f", {part.name}" for part in self.parts)
        return f"CassiCamera(mask {self.height}×{self.width}{per_band}, {self.bands} bands, {dispersion}{parts})"

    # -- sizes ---------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """H, rows of the scene."""
        return self.mask.shape[-2]

    @property
    def width(self) -> int:
        """W, columns of the scene."""
        return self.mask.shape[-1]

    @cached_property
    def down_and_right(self) -> tuple[tuple[float, float], ...]:
        """The displacement of each band in pixels, whichever way it was given, (C,2)."""
        return _down_and_right(self.offsets)

    @property
    def along_rows(self) -> bool:
        """Whether the dispersion runs along the rows."""
        return not isinstance(self.offsets[0], tuple)

    @property
    def by_rows(self) -> bool:
        """Whether each detector row sees one row of the scene alone, so that rows may be decoded apart."""
        return self.along_rows and not any(part.couples for part in self.parts)

    @cached_property
    def span_down(self) -> int:
        """Rows that the dispersion adds to the measurement; 0 where it runs along the rows."""
        return span([down for down, _ in self.down_and_right])

    @cached_property
    def span(self) -> int:
        """Columns that the dispersion adds to the measurement: (C−1)·|step| for whole steps."""
        return span([right for _, right in self.down_and_right])

    @property
    def measurement_height(self) -> int:
        """Hm, rows of the measurement; H where the dispersion runs along the rows."""
        return self.height + self.span_down

    @property
    def measurement_width(self) -> int:
        """Wm, columns of the measurement."""
        return self.width + self.span

    @property
    def measurement_shape(self) -> tuple[int, int]:
        """(Hm, Wm)."""
        return self.measurement_height, self.measurement_width

    @property
    def mask_per_band(self) -> Tensor:
        """M, the mask as every band sees it, (C, H, W)."""
        return self.mask.expand(self.bands, -1, -1)

    @cached_property
    def step(self) -> float | None:
        """Dispersion along the rows in pixels per band; None where it is not even, or also runs down."""
        if not self.along_rows:
            return None
        if self.bands == 1:
            return 0
        offsets = [right for _, right in self.down_and_right]
        step = offsets[1] - offsets[0]
        even = all(math.isclose(o, offsets[0] + step * c, abs_tol=1e-9) for c, o in enumerate(offsets))
        return (int(step) if step.is_integer() else step) if even else None

    @property
    def dispersion(self) -> str:
        """The dispersion in words, for messages."""
        if self.step is not None:
            return f"a step of {self.step:g}"
        return "uneven offsets" if self.along_rows else "offsets that also run down"

    # -- light → measurement → light -----------------------------------------------------------------------

    def forward(self, cube: Tensor) -> Tensor:
        """A x: the exposure of a scene on the detector.

        Args:
            cube: (..., C, H, W), usually 0..1.

        Returns:
            (..., Hm, Wm), the plain sum over bands (0..C for a cube in 0..1).

        Raises:
            InputError: the cube does not fit the mask and the number of bands.
        """
        check_tensor(cube, "a camera measures a tensor")
        if tuple(cube.shape[-3:]) != (self.bands, self.height, self.width):
            raise InputError(
                f"the cube has shape {tuple(cube.shape)}",
                f"this camera sees (..., {self.bands}, {self.height}, "
                f"{self.width}): crop the cube or the mask to the same size",
            )
        if self._adds_up(cube):
            return self._seen_through(self._added_up(cube))
        return self._detected(self.disperse(self.mask * cube))

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Aᵀ y: every detector pixel sent back to all the voxels that reached it, weighted by the mask.

        Args:
            measurement: (..., Hm, Wm).

        Returns:
            (..., C, H, W).
        """
        return self.mask * self._sent_back(measurement)

    def initial_estimate(self, measurement: Tensor) -> Tensor:
        """H, the usual first guess of the cube: unshift(2y/C), (..., Hm, Wm) → (..., C, H, W)."""
        return self.gather(self.counted(measurement) * (2 / self.bands))

    def mean_estimate(self, measurement: Tensor) -> Tensor:
        """A first guess that does not depend on how much light the mask lets through: unshift(y ⊘ A 1).

        Each detector pixel as if all its bands were alike, 0 where it is not ``lit``; (..., Hm, Wm) → (..., C, H, W).
        """
        check_tensor(measurement, "a camera sends a tensor back")
        # Divided by 1 where it is not lit: an infinite quotient, though unused, would make gradients NaN.
        return self.gather(torch.where(self.lit, measurement / torch.where(self.lit, self.open_light, 1), 0))

    def brightness(self, measurement: Tensor) -> Tensor:
        """The grey scene that would send as much light, mean |y| / mean A 1: (..., Hm, Wm) → (...), 0 if dark."""
        light = self.open_light.mean()
        mean = self.counted(measurement).abs().mean((-2, -1))
        return torch.where(light > 0, mean / torch.where(light > 0, light, 1), 0)

    def pictures(self, measurement: Tensor) -> list[Tensor]:
        """The pictures of the scene in a measurement (..., Hm, Wm), which share its memory: one for each detector."""
        return [measurement]

    def counted(self, measurement: Tensor) -> Tensor:
        """A measurement (..., Hm, Wm) with 0 in place of what pixels read that do not count (``Validity``)."""
        check_tensor(measurement, "a camera counts in a tensor")
        return reduce(lambda y, part: part.forward(y) if isinstance(part, Validity) else y, self.parts, measurement)

    @Kept
    def open_light(self) -> Tensor:
        """A 1, the exposure of a white scene, (Hm, Wm)."""
        return self.forward(self.mask.new_ones(self.bands, self.height, self.width))

    @Kept
    def lit(self) -> Tensor:
        """Where enough light arrives to be told from noise, bool (Hm, Wm).

        Behind the tail of a blurred mask some does almost everywhere, and dividing by it gives anything.
        """
        return self.open_light > LEAST_LIT * self.open_light.mean()

    @Kept
    def counted_pixels(self) -> Tensor:
        """Which detector pixels count (``counted``), bool (Hm, Wm)."""
        return self.counted(self.mask.new_ones(self.measurement_shape)) > 0

    @Kept
    def diagonal(self) -> Tensor:
        """D, the diagonal of A Aᵀ, (Hm, Wm), 0 where no light arrives.

        Exact. Behind several parts that spread light it takes as many measurements as a square of pixels has that
        share any: half a second or more.
        """
        if self._spreads > 1:
            return self._probed_diagonal()
        return self._detected(self.disperse(self.mask_per_band.square(), power=2), power=2)

    @Kept
    def row_sums(self) -> Tensor:
        """A Aᵀ 1, (Hm, Wm): the diagonal, where A Aᵀ is diagonal, and else a bound, D^-½ A Aᵀ D^-½ ≤ 1."""
        return self.forward(self.adjoint(self.mask.new_ones(self.measurement_shape)))

    @cached_property
    def uncoupled(self) -> bool:
        """Whether A Aᵀ is diagonal: no voxel sends light to more than one detector pixel."""
        return self._spreads == 0

    def variance(self, variances: Tensor) -> Tensor:
        """How independent errors of the voxels add up: (A ∘ A) v, (..., C, H, W) → (..., Hm, Wm).

        Behind several parts that spread light, the ways from a voxel to a pixel are taken for independent as well.
        """
        return self._detected(self.disperse(self.mask_per_band.square() * variances, power=2), power=2)

    def disperse(self, bands: Tensor, power: int = 1) -> Tensor:
        """shift_c: each band of (..., C, H, W) at its place on a zero canvas, (..., C, Hm, Wm).

        ``power`` is applied to the interpolation weights (2 gives the diagonal of A Aᵀ from M²).
        """
        step = self._whole_step
        if step is not None:
            lead, (C, H, W), Wm = bands.shape[:-3], bands.shape[-3:], self.measurement_width
            if step < 0:
                bands = bands.flip(-3)
            # A shear without a loop: rows padded to Wm, then each band extended by |step|
            # elements, move band c exactly |step|·c columns to the right when read as (C, H, Wm) again.
            flat = F.pad(bands.contiguous(), (0, Wm - W)).reshape(*lead, C, H * Wm)
            sheared = F.pad(flat, (0, abs(step))).flatten(-2)[..., : C * H * Wm].view(*lead, C, H, Wm)
            return sheared.flip(-3) if step < 0 else sheared
        placed = []
        for band, corners in zip(bands.unbind(-3), self._corners, strict=True):
            parts = [
                F.pad(band * weight**power, (left, self.span - left, top, self.span_down - top))
                for top, left, weight in corners
            ]
            placed.append(sum(parts[1:], parts[0]))
        return torch.stack(placed, -3)

    def each_band(self, bands: Tensor) -> Tensor:
        """What the detector counts of each band alone, without the mask: (..., C, H, W) → (..., C, Hm, Wm)."""
        return reduce(lambda pictures, part: part.forward(pictures), self.parts, self.disperse(bands))

    def gather(self, measurement: Tensor) -> Tensor:
        """unshift_c: the window of (..., Hm, Wm) that band c fell on, for every band, (..., C, H, W).

        Whole steps to the right give a view of the measurement: nothing is copied.
        """
        check_tensor(measurement, "a camera sends a tensor back")
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
        return self._windows([measurement] * self.bands)

    # -- other cameras from this one -----------------------------------------------------------------------

    def crop(self, top: int, left: int, height: int, width: int) -> CassiCamera:
        """The camera that would have taken only this part of the scene.

        Its diagonal and its measurements do not depend on the neighbouring pixels: it measures of a cube cropped to
        the same part what the whole camera measures of a scene that is black everywhere else; but where several parts
        spread light, without that which leaves the window and comes back.

        Raises:
            InputError: the part does not lie inside the mask.
        """
        if min(top, left) < 0 or min(height, width) < 1 or top + height > self.height or left + width > self.width:
            raise InputError(
                f"a crop of {height}×{width} at row {top}, column {left} leaves the {self.height}×{self.width} mask"
            )
        camera = self.with_mask(self.mask[..., top : top + height, left : left + width])
        window = top, left, *camera.measurement_shape
        camera.parts = tuple(part.crop(*window) for part in self.parts)
        return camera

    def through(self, *parts: Part) -> CassiCamera:
        """The camera whose light, behind the prism, also meets these parts, after those that it has.

        Raises:
            InputError: a part has another size or number of bands; a map of valid pixels is not the last.
        """
        return self.with_parts(*self.parts, *parts)

    def with_parts(self, *parts: Part) -> CassiCamera:
        """The same mask and dispersion with these parts alone; errors as ``through``."""
        camera = self.with_mask(self.mask)
        for part in parts:
            part.check(self.bands, *self.measurement_shape)
        if any(isinstance(part, Validity) for part in parts[:-1]):
            raise InputError("pixels that do not count come last: light does not pass through the detector")
        camera.parts = tuple(part.like(self.mask) for part in parts)
        return camera

    def counting(self, valid: Tensor) -> CassiCamera:
        """The same optics where only these pixels of the detector count, (Hm,Wm), of those that did."""
        counted = Validity(self.counted(valid.to(self.mask)))
        camera = self.with_mask(self.mask)
        camera.parts = tuple(part for part in self.parts if not isinstance(part, Validity))
        return camera.through(counted)

    def to(self, *args: Any, **kwargs: Any) -> CassiCamera:
        """The same camera on another device or in another floating type (arguments of ``Tensor.to``)."""
        mask = self.mask.to(*args, **kwargs)
        if not mask.is_floating_point():
            raise InputError(f"a camera computes in a floating type, not in {mask.dtype}")
        camera = self.with_mask(mask)
        camera.parts = tuple(part.like(mask) for part in self.parts)
        return camera

    def with_wavelengths(self, wavelengths: Sequence[float]) -> CassiCamera:
        """The same optics with the centre of each band in nm, length C, known.

        Raises:
            InputError: their number is another, or one is not positive and finite.
        """
        camera = self.with_mask(self.mask)
        camera.wavelengths = as_centres(wavelengths, self.bands)
        return camera

    def in_order(self, order: Sequence[int]) -> CassiCamera:
        """The same optics with the bands in another order: its measurements are those of the reordered cubes.

        Args:
            order: the index of each band among those of this camera, as from ``wavelengths.band_order``.
        """
        camera = self.with_mask(self.mask if self.mask.ndim == 2 else self.mask[order])
        camera.wavelengths = self.wavelengths and tuple(self.wavelengths[band] for band in order)
        placed = np.array([self.down_and_right[band] for band in order])
        moves = _down_and_right(placed - np.floor(placed[0]))  # whole pixels for all bands alike are no dispersion
        camera.offsets = tuple(right for _, right in moves) if self.along_rows else moves
        camera.parts = tuple(part.in_order(order) for part in self.parts)
        return camera

    def ascending(self) -> CassiCamera:
        """The same with its bands by ascending wavelength; itself where they are, or where these are unknown."""
        order = band_order(self.wavelengths)
        return self if order is None else self.in_order(order)

    @property
    def tensors(self) -> list[Tensor]:
        """All that it is made of besides numbers: the mask, and the values of its parts."""
        return [self.mask, *(part.values for part in self.parts)]

    def with_masks(self, change: Callable[[Tensor], Tensor]) -> CassiCamera:
        """The same optics with every mask changed; there is one, but for cameras of several exposures."""
        return self.with_mask(change(self.mask))

    def with_mask(self, mask: Tensor, moved: tuple[float, float] | None = None) -> CassiCamera:
        """The same optics behind another mask, floating point; its values are not checked.

        Args:
            moved: by how much further this mask lies from where it was told.
        """
        camera = object.__new__(CassiCamera)
        camera.mask, camera.bands, camera.wavelengths = mask, self.bands, self.wavelengths
        camera.offsets, camera.parts = self.offsets, self.parts
        down, right = moved or (0.0, 0.0)
        camera.moved = (self.moved[0] + down, self.moved[1] + right)
        return camera

    def over(self, unit: float) -> CassiCamera:
        """The camera that measures y / unit."""
        return self.with_mask(self.mask / unit)

    @property
    def units(self) -> tuple[float, ...]:
        """The unit of each picture in which a white scene gives as much light as in the first one."""
        return (1.0,)

    def in_own_units(self) -> CassiCamera:
        """The camera that measures each picture over its unit: itself where there is one."""
        return self

    def upside_down(self) -> CassiCamera | None:
        """The camera that takes of a scene turned upside down the same measurement turned upside down.

        None where more than the mask would have to be turned.
        """
        turns = type(self) is CassiCamera and self.along_rows and not self.parts
        return self.with_mask(self.mask.flip(-2)) if turns else None

    # -- from and to files ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, stored: str | os.PathLike | CameraFile) -> CassiCamera:
        """The camera of a camera file (``crsdun calibrate``), or of what ``optics.read_camera`` has read of one.

        Raises:
            InputError: as ``optics.read_camera``.
        """
        stored = stored if isinstance(stored, CameraFile) else read_camera(stored)
        camera = cls(stored.mask, wavelengths=stored.wavelengths, offsets=stored.offsets)
        validity = [] if stored.valid is None else [Validity(stored.valid)]
        parts = [*(PARTS[name](torch.from_numpy(values)) for name, values in stored.parts), *validity]
        return camera.through(*parts) if parts else camera

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write a camera file (.npz), whole or not at all.

        Raises:
            InputError: as ``optics.write_camera``, or the camera has several pictures of the scene.
        """
        if type(self) is not CassiCamera:
            raise InputError("a camera file holds one camera", "save each of these alone")
        mask, *values = (each.detach().cpu().numpy() for each in self.tensors)
        parts = [(part.name, each) for part, each in zip(self.parts, values, strict=True)]
        valid = parts.pop()[1] != 0 if parts and parts[-1][0] == Validity.name else None
        stored = CameraFile(mask, self.down_and_right, self.wavelengths, valid=valid, parts=tuple(parts))
        write_camera(stored, path, overwrite)

    # -- checks --------------------------------------------------------------------------------------------

    def check(self, measurement: Tensor | np.ndarray) -> None:
        """Raise an InputError that names the cameras that would fit, unless the measurement is (..., Hm, Wm)."""
        check_is_picture(measurement)
        height, width = measurement.shape[-2:]
        check_height((self.height, self.width), (height, width), self.span_down)
        if width != self.measurement_width:
            dispersion = f"step {self.step:g}" if self.step is not None else "these offsets"
            raise InputError(
                f"the measurement is {width} columns wide, but {self.bands} bands at {dispersion} behind a mask "
                f"{self.width} wide give {self.measurement_width}",
                describe_fits(self.width, width, self.step),
            )

    # -- how bands are moved -------------------------------------------------------------------------------

    @cached_property
    def _whole_step(self) -> int | None:
        """The step if it is a whole number and the offsets are even, the case that needs no interpolation."""
        whole = self.step is not None and float(self.step).is_integer() and self.down_and_right[0][1].is_integer()
        return int(self.step) if whole and self.step is not None else None

    def _windows(self, pictures: Sequence[Tensor]) -> Tensor:
        """unshift_c, each band from a picture (..., Hm, Wm) of its own: (..., C, H, W)."""
        H, W = self.height, self.width
        windows = []
        for picture, corners in zip(pictures, self._corners, strict=True):
            parts = [picture[..., top : top + H, left : left + W] * weight for top, left, weight in corners]
            windows.append(sum(parts[1:], parts[0]))
        return torch.stack(windows, -3)

    def _detected(self, bands: Tensor, power: int = 1) -> Tensor:
        """What the detector counts of dispersed bands: (..., C, Hm, Wm) → (..., Hm, Wm)."""
        for part in self.parts[: self._bandwise]:
            bands = part.forward(bands, power)
        return self._seen_through(bands.sum(-3), power)

    def _seen_through(self, picture: Tensor, power: int = 1) -> Tensor:
        """A picture (..., Hm, Wm) behind the parts that come after the bands are added up."""
        for part in self.parts[self._bandwise :]:
            picture = part.forward(picture, power)
        return picture

    def _adds_up(self, cube: Tensor) -> bool:
        """Whether the bands can be added to one picture one by one: whole offsets, and no gradient or graph."""
        return (
            not self._between_pixels
            and not self._bandwise
            and cube.device.type == "cpu"
            and cube.dtype == self.mask.dtype
            and not (torch.is_grad_enabled() and (cube.requires_grad or self.mask.requires_grad))
            and not torch.compiler.is_compiling()
        )

    def _added_up(self, cube: Tensor) -> Tensor:
        """What ``disperse`` and a sum give but for rounding, sooner: (..., C, H, W) → (..., Hm, Wm)."""
        picture = cube.new_zeros(*cube.shape[:-3], *self.measurement_shape)
        for mask, band, [(top, left, _)] in zip(self.mask_per_band, cube.unbind(-3), self._corners, strict=True):
            picture[..., top : top + self.height, left : left + self.width].addcmul_(mask, band)
        return picture

    @property
    def _between_pixels(self) -> bool:
        """Whether an offset is no whole number."""
        return any(not by.is_integer() for move in self.down_and_right for by in move)

    @cached_property
    def _spreads(self) -> int:
        """How many times light is spread over several pixels: between two by the dispersion, and by parts."""
        return self._between_pixels + sum(part.couples for part in self.parts)

    def _probed_diagonal(self) -> Tensor:
        """The diagonal of A Aᵀ from its products with pictures of pixels so far apart that none share light."""
        apart = reduce(lambda reach, part: part.reach(reach), self.parts, int(self._between_pixels)) + 1
        diagonal = self.mask.new_zeros(self.measurement_shape)
        for top in range(min(apart, self.measurement_height)):
            for left in range(min(apart, self.measurement_width)):
                pixels = torch.zeros_like(diagonal)
                pixels[top::apart, left::apart] = 1
                diagonal = diagonal + pixels * self.forward(self.adjoint(pixels))
        return diagonal

    def _sent_back(self, measurement: Tensor) -> Tensor:
        """The adjoint of dispersion and detection: (..., Hm, Wm) → (..., C, H, W)."""
        check_tensor(measurement, "a camera sends a tensor back")
        self.check(measurement)
        for part in reversed(self.parts[self._bandwise :]):
            measurement = part.adjoint(measurement)
        if not self._bandwise:
            return self.gather(measurement)
        bands = measurement.unsqueeze(-3).expand(*measurement.shape[:-2], self.bands, -1, -1)
        for part in reversed(self.parts[: self._bandwise]):
            bands = part.adjoint(bands)
        return self._windows(bands.unbind(-3))

    @property
    def _bandwise(self) -> int:
        """How many parts come before the bands are added up: all up to the last that tells them apart."""
        return max((count for count, part in enumerate(self.parts, 1) if part.per_band), default=0)

    @cached_property
    def _corners(self) -> list[list[tuple[int, int, float]]]:
        """For each band the places, (top, left) on the detector, of its corner, and the weight of each, above 0."""
        first = [math.floor(min(axis)) for axis in zip(*self.down_and_right, strict=True)]
        bands = []
        for move in self.down_and_right:
            rows, columns = (
                [(math.floor(by) - least, 1 - by % 1), (math.floor(by) - least + 1, by % 1)]
                for by, least in zip(move, first, strict=True)
            )
            bands.append([(top, left, a * b) for top, a in rows for left, b in columns if a * b > 0])
        return bands


def check_is_picture(measurement: Tensor | np.ndarray) -> None:
    """Raise an InputError unless a measurement has rows and columns."""
    if measurement.ndim < 2:
        raise InputError(
            f"a measurement has rows and columns, but this one has the shape {tuple(measurement.shape)}",
            "expected (..., height, width)",
        )


def _count(bands: int) -> int:
    try:
        return operator.index(bands)
    except TypeError:
        raise InputError(f"the number of bands must be a whole number, not {bands!r}") from None


def _evenly(step: float, bands: int) -> list[float]:
    """The offsets of bands that lie ``step`` pixels apart."""
    try:
        return [float(step) * band for band in range(bands)]
    except (TypeError, ValueError):
        raise InputError(f"the step must be a number of pixels per band, not {step!r}") from None


def _down_and_right(offsets: Offsets) -> tuple[tuple[float, float], ...]:
    """Offsets as pairs, whole pixels where they differ from these by rounding.

    Raises:
        InputError: they are neither numbers nor pairs of numbers, or not finite, or too large.
    """
    check_unmasked(offsets, "the list of offsets")
    try:
        moves = np.asarray(offsets, dtype=np.float64)
    except (TypeError, ValueError):
        moves = np.empty(0)
    if moves.ndim == 1 and moves.size:
        moves = np.stack([np.zeros_like(moves), moves], 1)
    if moves.ndim != 2 or moves.shape[1] != 2:
        raise InputError(
            "the offsets of the bands cannot be understood",
            "expected one number for each band, to the right, or one pair, down and right",
        )
    if not (np.abs(moves) <= LARGEST_OFFSET).all():
        raise InputError(
            f"the dispersion moves bands by up to {np.abs(moves).max():g} pixels",
            f"expected finite offsets of at most {LARGEST_OFFSET:,}",
        )
    return cast(tuple[tuple[float, float], ...], tuple(tuple(move) for move in without_rounding(moves).tolist()))
