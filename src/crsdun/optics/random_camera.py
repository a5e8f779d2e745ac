"""Cameras to learn behind: masks, dispersions, bands and noise drawn at random, and masks that are not quite known.

A network that has only ever seen one camera knows that camera. Each draw here is another one that could be built, and
depends on nothing but the generator of random numbers that is passed.

Legend: C bands · H, W scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics.camera import CassiCamera
from crsdun.optics.exposure import Exposure
from crsdun.optics.masks import moved_mask
from crsdun.optics.noise import SensorNoise
from crsdun.optics.wavelengths import KAIST_WAVELENGTHS, nbk7_wavelengths

# Spectra narrower than this (nm) are no cameras of their own.
NARROWEST_SPECTRUM = 120.0
# Pixels beyond those of the crop: what a blur spreads over, twice, and what comes in where a mask is moved.
REACH, MOVE = 3, 3
MARGIN = 2 * REACH + MOVE
# Rows and columns of the sensor that a crop is a part of.
SENSOR = 660
# Read-out noise is given for this many bands; more of them send more light.
READ_BANDS = 28


@dataclass(frozen=True)
class RandomExposure:
    """One drawn camera.

    Attributes:
        told: what the network is told.
        true: what takes the measurement; the same object where the mask is known exactly.
        noise: of the detector.
        dark: offset left over, as a share of the mean of y, either sign.
    """

    told: CassiCamera
    true: CassiCamera
    noise: SensorNoise
    dark: float

    def measure(self, cube: np.ndarray | Tensor, seed: int) -> Tensor:
        """The exposure of a cube (C,H,W) by the true camera, with noise and dark offset: (H,Wm), not below 0."""
        frame = Exposure(noise=self.noise).measure(cube, self.true, seed)
        return (frame + self.dark * frame.mean()).clamp(min=0)


@dataclass(frozen=True)
class CameraRandomisation:
    """Which cameras are drawn. Ranges are (lowest, highest), drawn evenly; a probability of 0 switches a kind off.

    Attributes:
        plain: probability of the camera that is configured, in place of a random one.
        open: share of the open pixels of a binary mask, 0..1.
        coarse: probability that the features of a mask measure 2×2 detector pixels instead of one.
        grey: probability of random grey levels instead of open and closed pixels.
        blurred: probability that the mask is blurred.
        blur: standard deviation of the blur in detector pixels, up to 1.
        leaking: probability that closed pixels let light through and open ones do not let all through.
        leak: transmission of closed pixels, 0..1.
        transmission: of open pixels, 0..1.
        saturated: probability that the mask was calibrated too bright: scaled by up to 1.6 and cut off at 1.
        vignetted: probability that light falls off smoothly towards the corners of the sensor around the crop.
        vignetting: light in those corners, relative to the centre, 0..1.
        per_band: probability of a mask of its own for each band, (C,H,W).
        band_shift: largest displacement of the mask between the first and the last band, pixels, each way; up to 1.
        band_blur: standard deviation of the blur of the least sharp band in pixels, at most; up to 1.
        band_transmission: of the band with the least light, relative to the brightest, above 0 and up to 1.
        steps: dispersion in pixels per band, without its sign.
        left: probability of dispersing to the left.
        fractional: probability of a step that is no whole number (such cameras take longer to compute).
        uneven: probability of offsets that are not even, like those of a prism; their mean step is within ``steps``.
        grids: probability of other bands than those of the data set.
        spectrum: nm, in which other bands are drawn, as far as the data set covers it.
        noisy: probability of noise.
        photons: at y = 1, drawn evenly on a logarithmic scale; null for no shot noise.
        read_sigma: standard deviation of the read-out noise in units of y for 28 bands, in proportion for others.
        dark: largest offset left over, as a share of the mean of y, either sign.
        misplaced: probability that the mask is not quite where the network is told.
        shift: standard deviation of the displacement in pixels, down and across.
        far: probability that a misplaced mask is displaced by up to ``farthest`` each way, evenly drawn, instead.
        farthest: pixels, up to 1.
        rotation: largest angle in degrees, either way, up to 0.5.
        scale: largest change of size, as a share, either way, up to 0.005.
    """

    plain: float = 0.0
    open: tuple[float, float] = (0.3, 0.7)
    coarse: float = 0.25
    grey: float = 0.1
    blurred: float = 0.4
    blur: tuple[float, float] = (0.2, 0.8)
    leaking: float = 0.4
    leak: tuple[float, float] = (0.005, 0.1)
    transmission: tuple[float, float] = (0.6, 1.0)
    saturated: float = 0.1
    vignetted: float = 0.3
    vignetting: tuple[float, float] = (0.4, 0.9)
    per_band: float = 0.15
    band_shift: float = 0.4
    band_blur: float = 0.4
    band_transmission: tuple[float, float] = (0.4, 1.0)
    steps: tuple[float, float] = (1.0, 3.0)
    left: float = 0.5
    fractional: float = 0.1
    uneven: float = 0.1
    grids: float = 0.5
    spectrum: tuple[float, float] = (400.0, 730.0)
    noisy: float = 0.67
    photons: tuple[float, float] | None = (50.0, 10_000.0)
    read_sigma: tuple[float, float] = (0.0, 0.1)
    dark: float = 0.01
    misplaced: float = 0.5
    shift: float = 0.1
    far: float = 0.1
    farthest: float = 0.5
    rotation: float = 0.1
    scale: float = 0.002

    def __post_init__(self) -> None:
        for names, low, high in _LIMITS:
            for name in names:
                value = getattr(self, name)
                ends = (value, value) if isinstance(value, float | int) else (low, high) if value is None else value
                if not low <= ends[0] <= ends[1] <= high:
                    kind = "a number" if isinstance(value, float | int) else "two ascending numbers"
                    raise InputError(f"{name} of random cameras must be {kind} in {low:g}..{high:g}, not {value}")
        if self.fractional + self.uneven > 1:
            raise InputError("fractional and uneven of random cameras are probabilities that add up to at most 1")
        if self.fractional + self.uneven < 1 and not self.whole_steps:
            raise InputError(
                f"there is no whole step in {self.steps} for random cameras", "widen steps, or set fractional to 1"
            )
        if self.spectrum[1] - self.spectrum[0] < NARROWEST_SPECTRUM:
            raise InputError(f"the spectrum of random cameras needs at least {NARROWEST_SPECTRUM:g} nm")

    @property
    def whole_steps(self) -> range:
        """Those within ``steps``."""
        return range(math.ceil(self.steps[0]), math.floor(self.steps[1]) + 1)

    def span(self, bands: int) -> int:
        """The most columns that a drawn camera adds to the measurement."""
        return math.ceil(self.steps[1] * (bands - 1))

    def step_ranges(self) -> tuple[tuple[float, float], ...]:
        """Ranges of the steps that are drawn, negative to the left."""
        low, high = self.steps
        return ((low, high),) * (self.left < 1) + ((-high, -low),) * (self.left > 0)

    def grid_range(self, wavelengths: Sequence[float] | None) -> tuple[float, float] | None:
        """Where bands of other cameras are drawn for scenes with these (nm); None where there are only their own."""
        if wavelengths is None or self.grids == 0:
            return None
        first, last = max(self.spectrum[0], wavelengths[0]), min(self.spectrum[1], wavelengths[-1])
        return (first, last) if last - first >= NARROWEST_SPECTRUM else None

    def grid(self, rng: np.random.Generator, wavelengths: tuple[float, ...] | None) -> tuple[float, ...] | None:
        """The bands of one camera for scenes with these (nm): theirs, or as many others."""
        within = self.grid_range(wavelengths)
        if wavelengths is None or within is None or rng.random() >= self.grids:
            return wavelengths
        return draw_grid(rng, len(wavelengths), within)

    def draw(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        bands: int,
        wavelengths: tuple[float, ...] | None = None,
    ) -> RandomExposure:
        """One camera for scenes of height × width pixels."""
        offsets = self._offsets(rng, bands)
        sharp = torch.from_numpy(self._aperture(rng, height + 2 * MARGIN, width + 2 * MARGIN))
        blur = rng.uniform(*self.blur) if rng.random() < self.blurred else 0.0
        base = point_spread(sharp, [blur], [(0.0, 0.0)])[0]
        if rng.random() < self.saturated:
            base = (base * rng.uniform(1, 1.6)).clamp(max=1)
        masks = [base]
        if rng.random() < self.misplaced:
            masks.append(torch.from_numpy(moved_mask(base.numpy(), *self._movement(rng))))
        masks = [mask[MOVE:-MOVE, MOVE:-MOVE] for mask in masks]
        if rng.random() < self.per_band:
            masks = self._by_band(rng, masks, bands)
        else:
            masks = [mask[REACH:-REACH, REACH:-REACH] for mask in masks]
        if rng.random() < self.vignetted:
            light = torch.from_numpy(self._light(rng, height, width))
            masks = [mask * light for mask in masks]
        told = CassiCamera(masks[0].contiguous(), bands, wavelengths, offsets=offsets)
        true = told.with_mask(masks[1].contiguous()) if len(masks) > 1 else told
        return RandomExposure(told, true, self._noise(rng, bands), float(rng.uniform(-self.dark, self.dark)))

    def _aperture(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A sharp mask, (height,width) float32."""
        pixels = 2 if rng.random() < self.coarse else 1
        levels = rng.random((height // pixels + 1, width // pixels + 1), dtype=np.float32)
        if rng.random() >= self.grey:
            levels = (levels < rng.uniform(*self.open)).astype(np.float32)
        if rng.random() < self.leaking:
            closed, opened = rng.uniform(*self.leak), rng.uniform(*self.transmission)
            levels = np.float32(closed) + np.float32(opened - closed) * levels
        top, left = rng.integers(pixels, size=2)
        return np.repeat(np.repeat(levels, pixels, 0), pixels, 1)[top : top + height, left : left + width]

    def _movement(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Down, right, degrees and scale by which the true mask is moved."""
        if rng.random() < self.far:
            down, right = rng.uniform(-self.farthest, self.farthest, 2)
        else:
            down, right = rng.normal(0, self.shift, 2).clip(-1, 1)
        degrees, larger = rng.uniform(-self.rotation, self.rotation), rng.uniform(-self.scale, self.scale)
        return float(down), float(right), float(degrees), 1 + float(larger)

    def _by_band(self, rng: np.random.Generator, masks: list[Tensor], bands: int) -> list[Tensor]:
        """Masks (C,H,W): blur, displacement and transmission that change smoothly with the band."""
        place = np.linspace(-1, 1, bands)
        focus = rng.uniform(-1, 1)
        sharpness = np.abs(place - focus) / (1 + abs(focus))
        blurs = rng.uniform(0, self.band_blur) * sharpness
        moves = place[:, None] * rng.uniform(-self.band_shift, self.band_shift, 2) / 2
        curve = np.interp(place, [-1, rng.uniform(-0.5, 0.5), 1], rng.random(3))
        curve = np.convolve(np.pad(curve, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
        lowest = rng.uniform(*self.band_transmission)
        curve = lowest + (1 - lowest) * (curve - curve.min()) / (np.ptp(curve) or 1)
        transmission = torch.from_numpy(curve.astype(np.float32))[:, None, None]
        return [point_spread(mask, blurs, moves) * transmission for mask in masks]

    def _light(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """How much light arrives at the pixels of a crop that lies anywhere on the sensor, (height,width) float32."""
        rows, columns = (
            (np.arange(length) - length / 2 + max(SENSOR - length, 0) * rng.uniform(-0.5, 0.5)) / (SENSOR / 2)
            for length in (height, width)
        )
        # A cosine to the fourth power of the angle, for which the corner (1, 1) has this much light.
        tangent = 1 / math.sqrt(rng.uniform(*self.vignetting)) - 1
        return ((1 + tangent * (rows[:, None] ** 2 + columns**2) / 2) ** -2).astype(np.float32)

    def _offsets(self, rng: np.random.Generator, bands: int) -> tuple[float, ...]:
        """Displacements of the bands, in pixels, the first 0."""
        kind, place = rng.random(), np.arange(bands, dtype=np.float64)
        if kind < self.fractional + self.uneven:
            step = rng.uniform(*self.steps)
            if kind >= self.fractional and bands > 1:  # steps that rise or fall evenly, up to threefold
                place = place * (1 + rng.uniform(-0.5, 0.5) * (1 - place / (bands - 1)))
        else:
            step = int(rng.choice(self.whole_steps))
        sign = -1 if rng.random() < self.left else 1
        return tuple(float(value) for value in sign * step * place)

    def _noise(self, rng: np.random.Generator, bands: int) -> SensorNoise:
        if rng.random() >= self.noisy:
            return SensorNoise()
        photons = None if self.photons is None else float(np.exp(rng.uniform(*np.log(self.photons))))
        return SensorNoise(photons, read_sigma=float(rng.uniform(*self.read_sigma)) * bands / READ_BANDS)


_LIMITS = (
    (
        (
            "plain", "open", "coarse", "grey", "blurred", "blur", "leaking", "leak", "transmission", "saturated",
            "vignetted", "per_band", "band_shift", "band_blur", "left", "fractional", "uneven", "grids", "noisy",
            "misplaced", "shift", "far", "farthest",
        ),
        0, 1,
    ),
    (("vignetting", "band_transmission"), 0.01, 1),
    (("steps",), 0, 1000),
    (("spectrum",), 1, 1e5),
    (("photons",), 1, 1e12),
    (("read_sigma",), 0, 1000),
    (("dark",), 0, 1),
    (("rotation",), 0, 0.5),
    (("scale",), 0, 0.005),
)  # fmt: skip


def draw_grid(
    rng: np.random.Generator, bands: int, within: tuple[float, float] = (400.0, 730.0)
) -> tuple[float, ...]:
    """Bands of one more camera, nm, ascending, length ``bands``.

    A quarter each: spread over the whole range by an N-BK7 prism, as the bands of the TSA-Net prototype (where they
    lie inside it, otherwise by the prism over a part), evenly over a part, by the prism over a part.

    Args:
        within: first and last wavelength that may be chosen, at least 120 nm apart, as are those of a part.

    Raises:
        InputError: they are closer.
    """
    first, last = within
    if last - first < NARROWEST_SPECTRUM:
        raise InputError(f"random cameras need at least {NARROWEST_SPECTRUM:g} nm, not {first:g} to {last:g} nm")
    kind = rng.integers(4)
    if kind == 1 and first <= KAIST_WAVELENGTHS[0] and KAIST_WAVELENGTHS[-1] <= last:
        places = np.linspace(0, len(KAIST_WAVELENGTHS) - 1, bands)
        grid = np.interp(places, np.arange(len(KAIST_WAVELENGTHS)), KAIST_WAVELENGTHS)
        return tuple(float(value) for value in grid)
    if kind != 0:
        length = rng.uniform(NARROWEST_SPECTRUM, last - first)
        first = rng.uniform(first, last - length)
        last = first + length
    if kind == 2:
        return tuple(float(value) for value in np.linspace(first, last, bands))
    return nbk7_wavelengths(bands, first, last)


def point_spread(mask: Tensor, blurs: ArrayLike, moves: ArrayLike) -> Tensor:
    """A mask as optics image it in each of C ways: (H,W) → (C, H−6, W−6), as no light from outside is known.

    A mask pixel and a detector pixel are squares of one size, and the blur a Gaussian; without it, moving is linear
    interpolation.

    Args:
        blurs: standard deviations in pixels, length C.
        moves: down and right in pixels, (C,2).
    """
    if not np.any(blurs) and not np.any(moves):
        return mask[REACH:-REACH, REACH:-REACH].expand(np.size(blurs), -1, -1)
    sigma = torch.as_tensor(np.asarray(blurs), dtype=torch.float64)[:, None, None].clamp(min=1e-6)
    # The second difference of the twice integrated Gaussian is a Gaussian seen from square to square.
    at = torch.arange(-REACH - 1, REACH + 2) + torch.as_tensor(np.asarray(moves), dtype=torch.float64)[..., None]
    twice = at * torch.special.ndtr(at / sigma) + sigma * torch.exp(-((at / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
    weights = twice.diff(n=2).clamp(min=0)  # below 0 by rounding
    weights = (weights / weights.sum(-1, keepdim=True)).to(mask.dtype)  # (C,2,7)
    kernels = weights[:, 0, :, None] * weights[:, 1, None, :]
    return F.conv2d(mask[None, None], kernels[:, None])[0]
