"""A camera from pictures of its mask: per-band masks, dispersion, pixels that cannot be used.

Legend: C bands · H, W scene · Hm, Wm detector · f frames, (C,Hm,Wm), each of the mask in light of one band
· S_c the shift of band c as the camera does it (``CassiCamera.disperse``) · M_c the mask of band c, on the pixels of
the scene · l_c how much light band c has, a smooth surface · V 1 for detector pixels that can be used.

First where the mask lies in each frame, and the smooth curve that this follows (``registration``). With S_c known,
the masks are those with which the camera, as it computes, gives the frames of the calibration:

    argmin Σ_c ‖V (f_c − S_c (l_c M_c))‖²,        M_c = Σ_p T_p(c) D_p,

where the D_p, a few masks, say how M changes with the band: not at all, or as a polynomial of low degree (T_p are
Legendre's), if that explains more than noise would. All frames tell of each D_p, so that the noise of a frame hardly
comes in. A single frame is its own mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.optics.camera import CassiCamera
from crsdun.optics.camera_file import CameraFile
from crsdun.optics.counts import saturation
from crsdun.optics.geometry import span
from crsdun.optics.masks import check_transmission
from crsdun.optics.registration import DispersionCurve, Displacements, dispersion_curve, displacements

# Dispersion that is even within so many pixels counts as whole steps, and one along the rows as such.
WHOLE = 0.05
# Given displacements that are further off than so many pixels are not those of the frames.
MOST_OFF = 1.0
SMALLEST_SCENE = 8  # pixels along each axis
# The highest degree of the polynomials by which masks change with the band; one more must explain this many times
# what it would of noise alone.
DEGREE, CHANGES = 4, 1.5
# Iterations of conjugate gradients, and what keeps unknowns finite that no frame tells, of what one frame tells.
STEPS, RIDGE = 25, 1e-3
# A detector pixel is bad if it errs by this many times what its surroundings and all pixels do, or if a dark or white
# frame differs from what surrounds it by so many standard deviations and by this part of the white.
ERRS, STANDS_OUT, BY_PART = 8.0, 8.0, 0.3
# Of the light that frames have at their brightest: a floor that the closed mask should not have.
HIGH_FLOOR = 0.05
# Light beyond what the camera's bands explain that is worth a word, and a residual that is.
MUCH_OUTSIDE, MUCH_UNEXPLAINED = 0.03, 0.15
MOST_UNEXPLAINED = 0.6  # of what can be called a calibration
MOST_OPEN = 1.25  # of the light without the mask that an open element can have, with its noise

# Bands whose light, by that of an open element, differs by less than this have one mask. Pixels that suffice for a
# surface of light.
SAME_LIGHT, ENOUGH_PIXELS = 0.02, 200_000
COPIES = 16  # of the frames that are in memory at a time, about

# A linear map with its adjoint.
Linear: TypeAlias = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class CalibrationFrames:
    """What was taken for a calibration, in counts.

    Attributes:
        frames: (C,Hm,Wm), the mask in light of each band; or (1,H,W), one picture of it.
        names: of the frames, for messages; length C.
        wavelengths: of the bands in nm, ascending, length C; None where unknown.
        dark: without light, (Hm,Wm), or a level.
        white: without the mask, evenly lit, (Hm,Wm): how sensitive each detector pixel is.
        band_whites: without the mask in light of each band, (C,Hm,Wm): how much light each band had.

    Raises:
        InputError: sizes or counts disagree, values are not finite, or dark and white were swapped.
    """

    frames: np.ndarray
    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None = None
    dark: np.ndarray | float | None = None
    white: np.ndarray | None = None
    band_whites: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.white is not None and not np.ndim(self.white):
            raise InputError("one white level does not tell how sensitive each pixel is", "give a frame with <white>")
        size = self.frames.shape[1:]
        for name, frame in (("dark", self.dark), ("white", self.white), ("white of the bands", self.band_whites)):
            if frame is None:
                continue
            if np.ndim(frame) and np.shape(frame)[-2:] != size:
                shape = "×".join(map(str, np.shape(frame)[-2:]))
                raise InputError(
                    f"the {name} has {shape} pixels but the frames {size[0]}×{size[1]}",
                    "take all with the same detector window",
                )
            if not np.isfinite(frame).all():
                raise InputError(f"the {name} holds NaN or infinity", "give finite counts")
        if not np.isfinite(self.frames).all():
            raise InputError("the frames hold NaN or infinity", "give finite counts")
        if self.band_whites is not None and len(self.band_whites) != len(self.frames):
            raise InputError(
                f"there are {len(self.band_whites)} white frames for {len(self.frames)} bands",
                "give one for each band, in the same order, or one <white> for all",
            )
        if self.band_whites is not None and np.array_equal(self.band_whites, self.frames):
            raise InputError("the white frames of the bands are those of the mask", "give frames without the mask")
        dark = 0.0 if self.dark is None else float(np.median(self.dark))
        brightest = float(np.percentile(self.frames, 99.5))
        if not brightest > dark:
            raise InputError(
                f"the frames have {brightest:g} counts where they are bright, and the dark {dark:g}",
                "were frames and <dark> swapped? otherwise the frames are black",
            )
        for white in (each for each in (self.white, self.band_whites) if each is not None):
            bright = float(np.percentile(white, 90))
            if not bright > dark:
                raise InputError(f"the white has {bright:g} counts and the dark {dark:g}", "were they swapped?")


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        file: the camera, as it is stored.
        frames: the frames that the camera explains, on the scale of a transmission, (C,Hm,Wm) float32.
        explained: what it makes of them: S_c M_c, (C,Hm,Wm) float32.
        moves: displacements as measured, down and right, (C,2) pixels; None with one picture.
        curve: that they follow; None where they were given.
        levels: light of an open element in each frame, in counts, length C.
        residuals: ‖V(f_c − S_c M_c)‖ / ‖V f_c‖ for each band, length C.
        warnings: what should not be overlooked, in sentences.
        rivals: other displacements (C,2) that explain the frames as well, by what they are.
    """

    file: CameraFile
    frames: np.ndarray
    explained: np.ndarray
    moves: np.ndarray | None
    curve: DispersionCurve | None
    levels: np.ndarray
    residuals: np.ndarray
    warnings: tuple[str, ...] = field(default_factory=tuple)
    rivals: dict[str, np.ndarray] = field(default_factory=dict)


def calibrate(
    taken: CalibrationFrames,
    offsets: Sequence[tuple[float, float]] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Calibration:
    """The camera that took the frames.

    Args:
        taken: two or more frames, each in light of one band; or one picture of the mask, which needs offsets.
        offsets: displacement of each band down and right in pixels, where it is known, (C,2); None finds it. With one
            frame, C is the number of bands of the camera.
        provenance: for the camera file.

    Raises:
        InputError: the frames do not show one mask, one mask does not explain them, or there are too few.
    """
    single = len(taken.frames) == 1
    if single and offsets is None:
        raise InputError(
            "one picture of the mask does not tell how the bands are dispersed",
            "give frames of several wavelengths, or set <step> or <offsets>",
        )
    check_budget(COPIES * taken.frames.size * 4, f"a calibration of {len(taken.frames)} frames", "crop them")
    light, valid, warnings = _light(taken)
    moves = curve = None
    rivals: dict[str, np.ndarray] = {}
    if not single:
        if offsets is not None and len(offsets) != len(light):
            raise InputError(f"there are {len(offsets)} offsets for {len(light)} frames", "give one for each band")
        found = displacements(np.where(valid, light, 0), taken.names, offsets)
        moves = found.moves
        if offsets is None:
            curve = dispersion_curve(moves, taken.wavelengths)
            rivals = _rivals(curve, found)
            warnings += _doubts_of_curve(curve, taken.names) + _doubts_of_rivals(curve, found)
            offsets = _rounded(curve.down_and_right)
        else:
            _check_given(offsets, moves)
    assert offsets is not None
    levels = _levels_of_whites(taken)
    if single:
        masks, levels = _one_picture(light[0], valid, levels)
        explained = masks
    else:
        fit = _Fit(light, valid, offsets)
        valid = fit.without_bad_pixels()
        masks, levels = fit.masks(levels)
        explained = fit.explained(masks)
        warnings += fit.doubts()
    frames = light / levels[:, None, None]
    residuals = _relative(frames - explained, frames, valid)
    if np.median(residuals) > MOST_UNEXPLAINED:
        raise InputError(
            f"one mask does not explain these frames: {np.median(residuals):.0%} of their light is left",
            "check that frames, <dark> and <white> are what they are said to be, or average more exposures",
        )
    warnings += _doubts_of_residuals(residuals, taken.names)
    _check_masks(masks, of_whites=taken.band_whites is not None)
    if taken.band_whites is not None:
        warnings += _doubts_of_whites(masks)
    moved = any(down or right for down, right in offsets)
    on_detector = not (single and moved)  # a picture of the mask alone is smaller than the detector
    if not on_detector:
        warnings += _doubts_of_what_is_left_out(taken)
    measured = {
        "frames": list(taken.names),
        "offsets": None if moves is None else np.round(moves, 4).tolist(),
        "curve": None if curve is None else _described(curve, taken.names),
        "as_well": {name: np.round(each, 4).tolist() for name, each in rivals.items()},
        "levels_counts": np.round(levels, 4).tolist(),
        "residuals": np.round(residuals, 6).tolist(),
        "bad_pixels": int((~valid).sum()),
        "warnings": warnings,
    }
    is_level = taken.dark is None or not np.ndim(taken.dark)
    added = (span(axis) for axis in zip(*offsets, strict=True))
    height, width = (size + more for size, more in zip(masks.shape[-2:], added, strict=True))
    stored = CameraFile(
        masks[0] if len(masks) == 1 else masks,
        tuple((float(down), float(right)) for down, right in offsets),
        taken.wavelengths,
        dark=_frame(taken.dark, (height, width)) if on_detector or is_level else None,
        white=np.asarray(taken.white, np.float32) if on_detector and taken.white is not None else None,
        valid=valid if on_detector and not valid.all() else None,
        measured=measured,
        provenance=provenance or {},
    )
    return Calibration(
        stored, frames.astype(np.float32), explained, moves, curve, levels, residuals, tuple(warnings), rivals
    )


def _described(curve: DispersionCurve, names: Sequence[str]) -> dict[str, Any]:
    """A curve as plain JSON values."""
    return {
        "of": curve.of,
        "degree": curve.degree,
        "axis_degrees": round(curve.axis_degrees, 3),
        "rms_pixels": round(curve.rms, 4),
        "held_out_pixels": None if math.isnan(curve.held_out) else round(curve.held_out, 4),
        "strays": [names[band] for band in curve.strays],
    }


# -- counts → light ------------------------------------------------------------------------------------------------


def _light(taken: CalibrationFrames) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Frames without dark and evenly sensitive, (C,Hm,Wm) float32, in counts; the pixels that can be used; doubts."""
    dark = 0.0 if taken.dark is None else taken.dark
    light = taken.frames.astype(np.float32) - np.asarray(dark, dtype=np.float32)
    valid = np.ones(light.shape[1:], dtype=bool)
    warnings = []
    if np.ndim(dark):
        valid &= ~_stands_out(np.asarray(dark, dtype=np.float32), 0.0)
    if taken.white is not None:
        white = taken.white.astype(np.float32) - np.asarray(dark, dtype=np.float32)
        level = _lit_level(white)
        valid &= ~_stands_out(white, BY_PART * level) & (white > 0.02 * level)
        light *= level / np.maximum(white, 0.02 * level)
    bright = np.percentile(light, 99, axis=(1, 2))[:, None, None]
    dim = [name for name, level in zip(taken.names, bright.ravel(), strict=True) if not level > 0]
    if dim:
        raise InputError(f"{dim[0]} is not brighter than the dark", "leave it out, or expose it for longer")
    if len(light) > 1:  # bright in all frames, though the mask moves
        valid &= ~((light / bright).min(0) > 1.3)
    floor = float(np.percentile(light[:, valid] / bright[..., 0], 2))
    if taken.dark is None and floor > HIGH_FLOOR:
        warnings.append(
            f"where the frames are darkest they still have {floor:.0%} of their brightest light, and no dark frame "
            "was given: the closed elements of the mask will look half open"
        )
    if full := saturation(taken.frames[:, valid]):
        high, saturated = full
        warnings.append(
            f"{saturated:.1%} of the pixels have {high:g} counts, the most that their file holds: the frames are "
            "probably saturated, and their open elements then look alike; expose for less time"
        )
    return light, valid, warnings


def _stands_out(frame: np.ndarray, least: float) -> np.ndarray:
    """Pixels (H,W) that differ from the median around them by more than ``least`` and far more than usual."""
    from scipy.ndimage import median_filter

    off = np.abs(frame - median_filter(frame, 5, mode="nearest"))
    usual = 1.4826 * float(np.median(off))
    return off > max(STANDS_OUT * usual, least, 1e-6 * float(np.abs(frame).max()))


def _lit_level(white: np.ndarray) -> float:
    """The light where a white frame has some."""
    return float(np.median(white[white >= np.percentile(white, 90) / 2]))


def _levels_of_whites(taken: CalibrationFrames) -> np.ndarray | None:
    """Light of each band without the mask, in counts, length C; None where it was not measured."""
    if taken.band_whites is None:
        return None
    dark = np.asarray(0.0 if taken.dark is None else taken.dark, dtype=np.float32)
    whites = taken.band_whites.astype(np.float32) - dark
    levels = np.array([_lit_level(white) for white in whites], dtype=np.float32)
    dim = [name for name, level in zip(taken.names, levels, strict=True) if not level > 0]
    if dim:
        raise InputError(f"the white of {dim[0]} is not brighter than the dark", "were they swapped?")
    return levels


# -- dispersion ----------------------------------------------------------------------------------------------------


def _rounded(moves: np.ndarray) -> list[tuple[float, float]]:
    """Displacements along each axis as whole steps where they hardly differ from them."""
    count = np.arange(len(moves))
    columns = []
    for values in moves.T:
        step = np.rint(np.polyfit(count, values, 1)[0]) if len(moves) > 1 else 0.0
        columns.append(step * count if np.abs(values - step * count).max() <= WHOLE else values)
    return [(float(down), float(right)) for down, right in zip(*columns, strict=True)]


def _check_given(offsets: Sequence[tuple[float, float]], moves: np.ndarray) -> None:
    """Raise an InputError if given offsets are not those of the frames."""
    off = np.hypot(*(np.array(offsets) - offsets[0] - moves).T).max()
    if not off <= MOST_OFF:
        raise InputError(
            f"the frames lie up to {off:.1f} pixels off the displacements that were given",
            "omit <step> and <offsets> to have them found",
        )


def _doubts_of_curve(curve: DispersionCurve, names: Sequence[str]) -> list[str]:
    doubts = [
        f"{names[band]} lies {curve.residuals[band]:.1f} pixels off the curve of the other bands, which was taken in "
        "its place: was the camera touched, or is the wavelength wrong?"
        for band in curve.strays
    ]
    if curve.degree is None and len(names) > max(4, len(curve.strays) + 4):
        doubts.append(
            f"the displacements follow no smooth curve (up to {curve.residuals.max():.1f} pixels off), so they are "
            "taken as measured: are the wavelengths right, and in the right order?"
        )
    return doubts


def _rivals(curve: DispersionCurve, found: Displacements) -> dict[str, np.ndarray]:
    """Other displacements (C,2) that explain the frames as well, by what they are."""
    count = np.arange(len(found.moves))[:, None]
    rivals = {} if curve.rival is None else {curve.rival_of: curve.rival}
    if len(found.repeats):
        nearest = found.repeats[0]
        # Of the two ways to go on, the one that leaves the displacements smaller.
        way = min((nearest, -nearest), key=lambda by: float(np.abs(curve.down_and_right + count * by).max()))
        rivals["a repeat of the mask per band"] = curve.down_and_right + count * way
    return rivals


def _doubts_of_rivals(curve: DispersionCurve, found: Displacements) -> list[str]:
    """What other displacements explain the frames as well, in sentences."""
    doubts = []
    if len(found.repeats):
        down, right = found.repeats[0]
        doubts.append(
            f"the dispersion is ambiguous: {down:g} pixels further down and {right:g} to the right the mask looks "
            "like itself, so bands that are displaced by so much more, or less, explain the frames as well; the "
            "least displacement from one band to the next was taken, and a dispersion that is told settles it"
        )
    if curve.rival is not None:
        apart = np.hypot(*(curve.rival - curve.down_and_right).T)
        doubts.append(
            f"the dispersion is ambiguous: polynomials of degree {curve.degree} in {curve.of} and of "
            f"{curve.rival_of} predict frames about equally well, and lie up to {apart.max():.2f} pixels apart; the "
            "first was taken, and frames at more wavelengths would tell"
        )
    return doubts


# -- masks ---------------------------------------------------------------------------------------------------------


class _Fit:
    """The masks behind frames whose dispersion is known."""

    def __init__(self, light: np.ndarray, valid: np.ndarray, offsets: Sequence[tuple[float, float]]):
        height, width = light.shape[1:]
        point = CassiCamera(torch.ones(1, 1), offsets=list(offsets))
        size = height - point.span_down, width - point.span
        if min(size) < SMALLEST_SCENE:
            raise InputError(
                f"bands displaced by {point.span_down} pixels down and {point.span} to the right leave a scene of "
                f"{max(size[0], 0)}×{max(size[1], 0)} pixels on a detector of {height}×{width}",
                "take the frames with a larger detector window, or give fewer bands",
            )
        self.camera = CassiCamera(torch.ones(size), offsets=list(offsets))
        self.f, self.v = torch.from_numpy(light), torch.from_numpy(valid)
        bands = torch.ones(len(light), *size)
        # The adjoint of each band alone: what ``gather`` does to one frame for all bands.
        self._back = torch.func.vjp(self.camera.disperse, bands)[1]
        self.within = self.camera.disperse(bands) > 0  # (C,Hm,Wm), where each band falls
        rows, columns = (torch.linspace(-1, 1, length) for length in size)
        one, y, x = torch.ones(size), rows[:, None].expand(size), columns.expand(size)
        self.surfaces = torch.stack([one, y, x, y * y, x * y, x * x])  # (6,H,W)
        self._solve()

    def without_bad_pixels(self) -> np.ndarray:
        """The pixels that can be used (Hm,Wm), now also without those that err in most frames; fits again."""
        from scipy.ndimage import median_filter

        lit = self.within & self.v
        squares = (self._error(self.common).square().sum(0) / lit.sum(0).clamp(min=1)).numpy()
        around = median_filter(squares, 5, mode="nearest")
        usual = float(np.median(squares[self.v.numpy()]))
        bad = (squares > ERRS * np.maximum(around, usual)) & (lit.sum(0).numpy() > 1) & (usual > 0)
        if bad.any():
            self.v = self.v & torch.from_numpy(~bad)
            self._solve()
        return self.v.numpy()

    def masks(self, levels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """M, (C,H,W), or (1,H,W) where it is the same for all bands; and the light of each frame, in counts.

        Args:
            levels: of the light, measured without the mask; None takes that of open elements of the mask.
        """
        brightest = torch.quantile(self.light.flatten(1)[:, ::7], 0.99, dim=1)
        patterns = self._patterns()
        if levels is None:
            # A blur leaves the mean of a mask as it is, so that tells the light of bands; the sharpest, its level.
            mean = patterns.mean((-2, -1))
            sharpest = int((patterns.std((-2, -1)) / mean).argmax())
            levels = (open_level(patterns[sharpest].numpy()) * brightest * mean / mean[sharpest]).numpy()
        surfaces = self.light / torch.from_numpy(levels)[:, None, None]
        differ = float((surfaces - surfaces.mean(0)).abs().max() / surfaces.max())
        alike = len(patterns) == 1 and differ < SAME_LIGHT
        masks = (surfaces * patterns).clamp(min=0)
        return (masks.mean(0, keepdim=True) if alike else masks).numpy(), levels

    def explained(self, masks: np.ndarray) -> np.ndarray:
        """S M, (C,Hm,Wm), for masks (C,H,W) or (1,H,W)."""
        explained: np.ndarray = self.shifted(torch.from_numpy(masks).expand(len(self.f), -1, -1)).numpy()
        return explained

    def doubts(self) -> list[str]:
        """Light that no band of the camera explains."""
        light = torch.where(self.v, self.f, 0).clamp(min=0)
        outside = float(light[~self.within].sum() / light.sum())
        if outside <= MUCH_OUTSIDE:
            return []
        return [
            f"{outside:.0%} of the light falls on the detector beyond the part of the scene that all bands see: "
            "the scene is wider than the camera's, so the borders of cubes will be less exact; a field stop would "
            "end that"
        ]

    def shifted(self, masks: Tensor) -> Tensor:
        """S of each band (C,H,W)."""
        return self.camera.disperse(masks)

    def back(self, frames: Tensor) -> Tensor:
        """Sᵀ V of each frame (C,Hm,Wm)."""
        sent: Tensor = self._back(torch.where(self.v, frames, 0))[0]
        return sent

    def _solve(self) -> None:
        """M, the same for all bands, and l, in turns."""
        brightness = torch.where(self.v, self.f, 0).square().mean((-2, -1)).sqrt()  # (C,)
        if not bool((brightness > 0).all()):
            raise InputError("a frame has no light above the dark", "leave it out, or expose it for longer")
        self.scale = (brightness * brightness.mean()).sqrt()  # as the noise of light grows
        self.light = brightness[:, None, None].expand(-1, self.camera.height, self.camera.width)
        for _ in range(2):
            self.common = self._explaining(degree=0)
            self.light = self._surfaces()

    def _patterns(self) -> Tensor:
        """M (C,H,W), or (1,H,W) where the frames do not show that it changes with the band."""
        masks = self._explaining(degree=0)
        for degree in range(1, min(DEGREE, len(self.f) - 2) + 1):
            each = self._explaining(degree)
            before, left = (float(self._error(some).square().sum()) for some in (masks, each))
            if before - left <= CHANGES * left / (len(self.f) - 1 - degree):
                break
            masks = each
        return masks

    def _error(self, masks: Tensor) -> Tensor:
        """Of each frame, in units of ``scale``, (C,Hm,Wm); 0 where pixels do not count."""
        error = (self.f - self.shifted(self.light * masks)) / self.scale[:, None, None]
        return torch.where(self.within & self.v, error, 0)

    def _explaining(self, degree: int) -> Tensor:
        """M for known light, a polynomial of the band: (C,H,W), or (1,H,W) for degree 0."""
        C = len(self.f)
        turns = np.polynomial.legendre.legvander(np.linspace(-1, 1, C), degree)
        T = torch.from_numpy(turns).float()  # (C,P)
        weights = self.light / self.scale[:, None, None]

        def forward(parts: Tensor) -> Tensor:
            return self.shifted(weights * torch.einsum("cp,phw->chw", T, parts))

        def adjoint(frames: Tensor) -> Tensor:
            return torch.einsum("cp,chw->phw", T, weights * self.back(frames))

        sent = adjoint(torch.where(self.within, self.f, 0) / self.scale[:, None, None])
        parts = _least_squares((forward, adjoint), sent, RIDGE, STEPS)
        masks = torch.einsum("cp,phw->chw", T if degree else T[:1], parts)
        return masks.clamp(min=0)

    def _surfaces(self) -> Tensor:
        """l_c for a known mask, (C,H,W): the quadratic surface that explains its frame best."""
        C, every = len(self.f), 1 + self.v.numel() // ENOUGH_PIXELS

        def column(values: Tensor) -> Tensor:
            return torch.where(self.v, values, 0).flatten(1)[:, ::every]

        parts = [column(self.shifted((surface * self.common).expand(C, -1, -1))) for surface in self.surfaces]
        columns = torch.stack(parts, -1).double()  # (C,N,6)
        target = column(torch.where(self.within, self.f, 0))[..., None].double()
        normal = columns.mT @ columns
        ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(len(self.surfaces))
        fitted = torch.linalg.solve(normal + ridge, columns.mT @ target)[..., 0].float()  # (C,6)
        light = torch.einsum("cs,shw->chw", fitted, self.surfaces)
        return light.clamp(min=0.02 * light.amax((-2, -1), keepdim=True))


def _one_picture(light: np.ndarray, valid: np.ndarray, levels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """As ``_Fit.masks``, of a single picture of the mask (H,W); bad pixels as their neighbours."""
    from scipy.ndimage import median_filter

    mask = np.maximum(np.where(valid, light, median_filter(light, 5, mode="nearest")), 0)
    level = open_level(mask) if levels is None else float(levels[0])
    return (mask / level)[None].astype(np.float32), np.array([level], dtype=np.float32)


def open_level(mask: np.ndarray) -> float:
    """The light of an open element, from the values of a mask in any units.

    That is what few of its brighter values exceed: where it is blurred, only open elements among open ones are fully
    so.
    """
    upper = mask[mask >= np.percentile(mask, 99.8) / 2]
    return float(np.percentile(upper, 96))


def _least_squares(linear: Linear, sent: Tensor, ridge: float, steps: int) -> Tensor:
    """argmin_x ‖A x − y‖² + ridge ‖x‖² by conjugate gradients, for ``sent`` = Aᵀ y."""
    forward, adjoint = linear
    x, residual = torch.zeros_like(sent), sent
    direction, energy = residual, float(residual.square().sum())
    for _ in range(steps):
        if energy <= 0:
            break
        image = adjoint(forward(direction)) + ridge * direction
        length = energy / float((direction * image).sum())
        x, residual = x + length * direction, residual - length * image
        before, energy = energy, float(residual.square().sum())
        direction = residual + energy / before * direction
    return x


def _relative(errors: np.ndarray, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Of each band, ‖V e‖ / ‖V f‖."""
    errors, frames = (np.where(valid, each, 0).reshape(len(each), -1) for each in (errors, frames))
    quotient: np.ndarray = np.linalg.norm(errors, axis=1) / np.maximum(np.linalg.norm(frames, axis=1), 1e-30)
    return quotient


def _doubts_of_residuals(residuals: np.ndarray, names: Sequence[str]) -> list[str]:
    poor = [name for name, residual in zip(names, residuals, strict=True) if residual > MUCH_UNEXPLAINED]
    if not poor:
        return []
    listed = ", ".join(poor[:3]) + (f" and {len(poor) - 3} more" if len(poor) > 3 else "")
    return [
        f"the camera leaves up to {residuals.max():.0%} of the light of {listed} unexplained: noise, a mask out of "
        "focus, or light that did not come through the mask"
    ]


def _check_masks(masks: np.ndarray, of_whites: bool) -> None:
    """Raise an InputError if masks (C,H,W) are none that a camera takes, for their file could not be opened.

    Args:
        of_whites: whether white frames of the bands told how much light an open element has.
    """
    try:
        check_transmission(masks)
    except InputError:
        unit = "that was measured without it" if of_whites else "of its open elements"
        raise InputError(
            f"the mask lets through up to {float(masks.max()):.3g} times the light {unit}",
            "take <band_whites> in the same light and with the same exposure time as the frames, or omit them"
            if of_whites
            else "light it evenly, or give a <white>",
        ) from None


def _doubts_of_what_is_left_out(taken: CalibrationFrames) -> list[str]:
    """Of one picture of the mask, what has its size and not that of the detector."""
    given = {"dark frame": taken.dark, "white frame": taken.white}
    left_out = " and the ".join(name for name, each in given.items() if each is not None and np.ndim(each))
    if not left_out:
        return []
    return [
        f"the {left_out} had the size of the picture of the mask, not of the wider detector, so they were used but "
        "not kept: give those of the whole detector with each measurement"
    ]


def _doubts_of_whites(masks: np.ndarray) -> list[str]:
    """Of masks (C,H,W) on the scale of white frames of the bands."""
    most = max(map(open_level, masks))
    if most <= MOST_OPEN:
        return []
    return [
        f"open elements let through up to {most:.3g} times the light of the white frames of the bands: were these "
        "taken in the same light and with the same exposure time?"
    ]


def _frame(dark: np.ndarray | float | None, shape: tuple[int, ...]) -> np.ndarray | None:
    return None if dark is None else np.broadcast_to(np.asarray(dark, dtype=np.float32), shape).copy()
