"""The one network interface: ``network(measurement, camera) -> Estimate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from crsdun.errors import InputError
from crsdun.optics import CassiCamera, Estimate

# Weights see other colours than they were trained for when a band is further off than this.
WAVELENGTH_TOLERANCE_NM = 5.0


@dataclass(frozen=True)
class ModelCard:
    """What a trained network knows besides its layers; travels in the header of its weights file.

    Attributes:
        wavelengths: bands (nm) it was trained for, length C.
        class_names: length N.
        step: dispersion in pixels per band of the camera it was trained for.
        provenance: data, recipe, versions, licence … as plain JSON values.
    """

    wavelengths: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    step: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Network(nn.Module):
    """A learnt method. ``config`` decides its layers, ``card`` says what it was trained for."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.card = ModelCard()

    def forward(self, measurement: Tensor, camera: CassiCamera) -> Estimate:
        raise NotImplementedError


def check_counts(network: str, **counts: int) -> None:
    """Raise an InputError unless all counts of a configuration are whole numbers of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{network} needs {name} of at least 1, not {value!r}")


def check_input(network: Network, measurement: Tensor, camera: CassiCamera) -> None:
    """Raise an InputError unless the measurement is (B,H,Wm) and comes from this camera with the network's bands."""
    if not isinstance(measurement, Tensor) or not isinstance(camera, CassiCamera):
        raise InputError(
            f"a network is called as network(measurement, camera) with a tensor and a CassiCamera, not with "
            f"{type(measurement).__name__} and {type(camera).__name__}",
            "torch.from_numpy makes a tensor of an array",
        )
    if camera.bands != network.config.bands:
        raise InputError(
            f"the network was built for {network.config.bands} bands but the camera has {camera.bands}",
            "create or load one for the camera's bands",
        )
    if measurement.ndim != 3:
        raise InputError(
            f"a network takes measurements of shape (batch, height, width), not {tuple(measurement.shape)}",
            "for a single one use measurement[None]",
        )
    camera.check(measurement)


def fit_to_card(camera: CassiCamera, card: ModelCard, bands: int) -> CassiCamera:
    """The camera, with the wavelengths a network was trained for where it has none of its own.

    Raises:
        InputError: the network was trained for other bands or another dispersion.
    """
    if camera.bands != bands:
        raise InputError(
            f"these weights are for {bands} bands but the camera has {camera.bands}",
            "use weights for this camera, or admm-tv, which needs none",
        )
    if card.step is not None and camera.step != card.step:
        raise InputError(
            f"these weights are for a dispersion of {card.step:g} pixels per band, not {camera.step}",
            "use weights for this camera, or admm-tv, which needs none",
        )
    if card.wavelengths is None:
        return camera
    if camera.wavelengths is None:
        return CassiCamera(camera.mask, wavelengths=card.wavelengths, offsets=camera.offsets)
    off = max(abs(a - b) for a, b in zip(camera.wavelengths, card.wavelengths, strict=True))
    if off > WAVELENGTH_TOLERANCE_NM:
        raise InputError(
            f"these weights are for bands from {card.wavelengths[0]:g} to {card.wavelengths[-1]:g} nm, but the "
            f"camera has {camera.wavelengths[0]:g} to {camera.wavelengths[-1]:g} nm (up to {off:.0f} nm apart)",
            "use weights for this camera, or admm-tv, which needs none",
        )
    return camera
