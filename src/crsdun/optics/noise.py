"""What a real detector adds to y = A x: shot noise, read-out noise, quantisation. All seeded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crsdun.errors import InputError


def poisson_shot_noise(measurement: Tensor, photons: float, generator: torch.Generator | None = None) -> Tensor:
    """Photon noise: Poisson(y · photons) / photons.

    Args:
        measurement: y ≥ 0, any shape; negative values count as 0.
        photons: detected photons where y = 1 (one band at full reflectance through an open mask pixel).
    """
    return torch.poisson(measurement.clamp(min=0) * photons, generator=generator) / photons


def binomial_shot_noise(
    measurement: Tensor,
    bands: int,
    bits: int = 11,
    quantum_efficiency: float = 0.4,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The field's recipe for shot noise when training for real captures.

    h = 2.4 y / C is the measurement scaled towards the detector's range; int(h · 2^bits / QE) photons arrive and
    each is detected with probability QE: Binomial(int(h · 2^bits / QE), QE) / 2^bits. Returned on the scale of y.

    Args:
        measurement: y ≥ 0, any shape; negative values count as 0.
        bands: C.
        bits: bit depth of the detector, 11 or 12 in the field.
        quantum_efficiency: QE in (0, 1].
    """
    scale = 2 / bands * 1.2
    photons = (measurement.clamp(min=0) * scale * 2**bits / quantum_efficiency).floor()
    detected = torch.binomial(photons, torch.full_like(photons, quantum_efficiency), generator=generator)
    return detected / 2**bits / scale


def read_noise(measurement: Tensor, sigma: float, generator: torch.Generator | None = None) -> Tensor:
    """Read-out noise: y plus a normal deviate of standard deviation ``sigma`` (units of y) in each pixel."""
    normal = torch.randn(measurement.shape, generator=generator, device=measurement.device, dtype=measurement.dtype)
    return measurement + sigma * normal


def quantise(measurement: Tensor, bits: int, full_scale: float) -> Tensor:
    """The output of an analogue-to-digital converter of ``bits`` bits: 2^bits levels over 0..full_scale, clipped."""
    levels = 2**bits - 1
    return (measurement / full_scale).clamp(0, 1).mul(levels).round() / levels * full_scale


@dataclass(frozen=True)
class SensorNoise:
    """A detector's noise as one setting; ``noise(measurement, bands, generator)`` applies it in physical order.

    A detector counts nothing below its black level, so the result is never negative. Without any noise the
    measurement is returned unchanged.

    Attributes:
        photons: photons at y = 1 for Poisson shot noise; None for none.
        binomial_bits: bit depth of the field's binomial recipe instead of Poisson; None for none.
        quantum_efficiency: of the binomial recipe.
        read_sigma: standard deviation of the read-out noise, in units of y.
        bits: bit depth of the quantisation over 0..C; None for none.
    """

    photons: float | None = None
    binomial_bits: int | None = None
    quantum_efficiency: float = 0.4
    read_sigma: float = 0.0
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.photons is not None and self.binomial_bits is not None:
            raise InputError("shot noise is either Poisson (photons) or binomial (binomial_bits), not both")
        if self.photons is not None and not 0 < self.photons <= 1e12:
            raise InputError(f"photons must lie between 0 and 1e12, not {self.photons}")
        if not 0 < self.quantum_efficiency <= 1:
            raise InputError(f"the quantum efficiency must lie in (0, 1], not {self.quantum_efficiency}")
        if not 0 <= self.read_sigma < float("inf"):
            raise InputError(f"the read-out noise must be 0 or a positive number, not {self.read_sigma}")
        if any(bits is not None and not 1 <= bits <= 32 for bits in (self.bits, self.binomial_bits)):
            raise InputError("a bit depth lies between 1 and 32")

    @property
    def silent(self) -> bool:
        """Whether nothing is added."""
        return self == SensorNoise()

    def __call__(self, measurement: Tensor, bands: int, generator: torch.Generator | None = None) -> Tensor:
        if self.silent:
            return measurement
        if self.photons is not None:
            measurement = poisson_shot_noise(measurement, self.photons, generator)
        if self.binomial_bits is not None:
            measurement = binomial_shot_noise(
                measurement, bands, self.binomial_bits, self.quantum_efficiency, generator
            )
        if self.read_sigma > 0:
            measurement = read_noise(measurement, self.read_sigma, generator)
        if self.bits is not None:
            measurement = quantise(measurement, self.bits, full_scale=bands)
        return measurement.clamp(min=0)
