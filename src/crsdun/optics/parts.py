"""What light meets between the prism and the numbers: blur, distortion, pixels that do not count.

Legend: C bands · Hm, Wm measurement · P a part.

Each part is a linear map of pictures (..., Hm, Wm), or of one picture for each band (..., C, Hm, Wm), with its exact
adjoint; a camera that has parts measures P A x (``CassiCamera.through``). Parts hold no light back at the border of
the detector: what leaves it is lost, and none comes in.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics.values import as_values, exactly


class Part(ABC):
    """A linear map of what falls on the detector; immutable.

    Attributes:
        name: for records.
        per_band: whether it acts on each band in another way, and so before the detector adds them up.
        couples: whether light of one detector pixel reaches others, after which A Aᵀ is no longer diagonal.
        values: what it is made of, a tensor of its own.
    """

    name: ClassVar[str]
    per_band = False
    couples = True

    def __init__(self, values: Tensor):
        self.values = values

    @abstractmethod
    def forward(self, picture: Tensor, power: int = 1) -> Tensor:
        """P of (..., Hm, Wm), the same shape; ``power`` is applied to each entry of P."""

    @abstractmethod
    def adjoint(self, picture: Tensor) -> Tensor:
        """Pᵀ of (..., Hm, Wm), the same shape."""

    @abstractmethod
    def reach(self, before: int) -> int:
        """How many rows or columns two pixels may be apart that share light, where it was ``before`` without P."""

    def crop(self, top: int, left: int, height: int, width: int) -> Part:
        """The part of a detector that has only this window, which may reach beyond what is known.

        There no pixel counts, and distortion is as at the border.
        """
        return self

    def in_order(self, order: Sequence[int]) -> Part:
        """The part of a camera whose bands have another order (``CassiCamera.in_order``)."""
        return self

    def like(self, tensor: Tensor) -> Part:
        """The same on the device and in the floating type of a tensor."""
        return type(self)(self.values.to(tensor))

    def check(self, bands: int, height: int, width: int) -> None:  # noqa: B027 – some fit all
        """Raise an InputError unless it fits so many bands on a detector of height × width."""


class Validity(Part):
    """Pixels that are dead, or saturated: whatever they read says nothing, so the camera counts no light there.

    Args:
        valid: (Hm,Wm), true where a pixel counts.

    Raises:
        InputError: it has another shape.
    """

    name = "validity"
    couples = False

    def __init__(self, valid: Tensor | np.ndarray):
        values = as_values(valid, "the map of valid pixels")
        if values.ndim != 2:
            raise InputError(f"a map of valid pixels has the shape (height, width), not {tuple(values.shape)}")
        super().__init__(values if values.is_floating_point() else values.bool().float())

    def forward(self, picture: Tensor, power: int = 1) -> Tensor:
        # Not a product: what a dead pixel reads may be anything, also infinite.
        return torch.where(self.values != 0, picture, 0)

    def adjoint(self, picture: Tensor) -> Tensor:
        return self.forward(picture)

    def reach(self, before: int) -> int:
        return before

    def crop(self, top: int, left: int, height: int, width: int) -> Part:
        rows, columns = self.values.shape
        return Validity(F.pad(self.values, (-left, left + width - columns, -top, top + height - rows)))

    def check(self, bands: int, height: int, width: int) -> None:
        _check_size("the map of valid pixels", tuple(self.values.shape), (height, width))
        if not (self.values.is_meta or bool(self.values.any())):
            raise InputError("the map of valid pixels leaves none", "is it true where a pixel counts?")


class Blur(Part):
    """A point spread function: where the light of a point falls around its place.

    Args:
        spread: (k,l), or (C,k,l) one for each band; odd sizes, the middle is the point's own place; not negative,
            with a sum of 1 where no light is lost.

    Raises:
        InputError: it has another shape, or values that no light has.
    """

    name = "blur"

    def __init__(self, spread: Tensor | np.ndarray):
        values = as_values(spread, "the point spread function")
        values = values if values.is_floating_point() else values.float()
        if values.ndim not in (2, 3) or not all(size % 2 for size in values.shape[-2:]):
            raise InputError(
                f"a point spread function has the shape (k, l) or (bands, k, l), k and l odd, not "
                f"{tuple(values.shape)}"
            )
        if not (values.is_meta or bool((values >= 0).all() and torch.isfinite(values).all() and values.any())):
            raise InputError(
                "a point spread function holds finite numbers that are not negative, some of them above 0"
            )
        super().__init__(values)
        self.per_band = values.ndim == 3

    @classmethod
    def gaussian(cls, sigma: float | Sequence[float] | np.ndarray | Tensor) -> Blur:
        """A Gaussian with a standard deviation of ``sigma`` pixels, or one such for each band; sum 1.

        Raises:
            InputError: a deviation is not positive, or larger than 100; or they are more than one for each band.
        """
        given = as_values(sigma, "the standard deviation of a blur").detach().double().cpu()
        deviations = given.reshape(-1, 1)
        if given.ndim > 1 or not given.numel():
            raise InputError(
                f"the standard deviations of a blur have the shape {tuple(given.shape)}",
                "give one, or one for each band",
            )
        if not bool(((deviations > 0) & (deviations <= 100)).all()):
            raise InputError(f"the standard deviation of a blur lies between 0 and 100 pixels, not {sigma}")
        radius = math.ceil(3 * float(deviations.max()))
        line = torch.exp(-((torch.arange(-radius, radius + 1) / deviations) ** 2) / 2)
        line = line / line.sum(1, keepdim=True)
        spread = (line[:, :, None] * line[:, None, :]).float()
        return cls(spread if given.ndim else spread[0])

    def in_order(self, order: Sequence[int]) -> Part:
        return Blur(self.values[order]) if self.per_band else self

    def forward(self, picture: Tensor, power: int = 1) -> Tensor:
        return self._convolved(picture, self.values.flip(-2, -1) ** power)

    def adjoint(self, picture: Tensor) -> Tensor:
        return self._convolved(picture, self.values)

    def reach(self, before: int) -> int:
        return before + max(self.values.shape[-2:]) - 1

    def check(self, bands: int, height: int, width: int) -> None:
        if self.per_band and len(self.values) != bands:
            raise InputError(
                f"there are {len(self.values)} point spread functions for {bands} bands", "give one, or one for each"
            )

    def _convolved(self, picture: Tensor, kernel: Tensor) -> Tensor:
        padding = [size // 2 for size in kernel.shape[-2:]]
        kernels = kernel[:, None] if self.per_band else kernel[None, None]
        pictures = picture.reshape(-1, len(kernels), *picture.shape[-2:])
        return exactly(
            lambda weights, seen: F.conv2d(seen, weights, padding=padding, groups=len(weights)), kernels, pictures
        ).view(picture.shape)


class Distortion(Part):
    """Smooth distortion of the picture on the detector, with linear interpolation between four pixels.

    Args:
        field: (2,Hm,Wm): each detector pixel sees what would fall so many pixels further down and to the right
            without distortion. Neighbours differ by less than one pixel in all.

    Raises:
        InputError: it has another shape, is not finite, or not smooth.
    """

    name = "distortion"

    def __init__(self, field: Tensor | np.ndarray):
        values = as_values(field, "the field of distortion")
        values = values if values.is_floating_point() else values.float()
        if values.ndim != 3 or len(values) != 2:
            raise InputError(
                f"a field of distortion has the shape (2, height, width), down and right, not {tuple(values.shape)}"
            )
        self.steepness = 0.0
        if not values.is_meta:
            if not bool(torch.isfinite(values).all()):
                raise InputError("the field of distortion holds NaN or infinity")
            steps = (values.diff(dim=axis).abs() for axis in (1, 2))
            self.steepness = sum(float(step.max()) if step.numel() else 0.0 for step in steps)
        if self.steepness >= 1:
            raise InputError(
                f"the field of distortion changes by up to {self.steepness:.2g} pixels from one pixel to the next",
                "a smooth one changes by less than one",
            )
        super().__init__(values)
        with torch.inference_mode(False):  # kept for every later use, backward passes too
            self._corners = _four_corners(values)

    def forward(self, picture: Tensor, power: int = 1) -> Tensor:
        flat = picture.flatten(-2)
        parts = [flat[..., place].mul(weight**power) for place, weight in self._corners]
        return self._as_promoted(sum(parts[1:], parts[0]), picture)

    def adjoint(self, picture: Tensor) -> Tensor:
        flat = picture.flatten(-2)
        sent = torch.zeros_like(flat, dtype=torch.promote_types(flat.dtype, self._corners[0][1].dtype))
        for place, weight in self._corners:
            sent = sent.index_add(-1, place, flat * weight)
        return self._as_promoted(sent, picture)

    def _as_promoted(self, flat: Tensor, picture: Tensor) -> Tensor:
        """In the shape of a picture and the type of its product with the field, whatever precision sums have."""
        return flat.view(picture.shape).to(torch.promote_types(picture.dtype, self.values.dtype))

    def reach(self, before: int) -> int:
        # Pixels n apart look at places at least n (1 − steepness) apart, and each place takes in two pixels.
        return math.ceil((before + 2) / (1 - self.steepness)) - 1

    def crop(self, top: int, left: int, height: int, width: int) -> Part:
        places = ((top, height, self.values.shape[1]), (left, width, self.values.shape[2]))
        rows, columns = (
            torch.arange(first, first + count, device=self.values.device).clamp(0, size - 1)
            for first, count, size in places
        )
        return Distortion(self.values[:, rows[:, None], columns])

    def check(self, bands: int, height: int, width: int) -> None:
        _check_size("the field of distortion", tuple(self.values.shape[1:]), (height, width))


def _four_corners(field: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The pixels between which each pixel looks, as flat indices (N,), and their weights (N,), 0 outside."""
    height, width = field.shape[1:]
    field = field.to(torch.promote_types(field.dtype, torch.float32))
    rows = torch.arange(height, device=field.device)[:, None] + field[0].floor().long()
    columns = torch.arange(width, device=field.device) + field[1].floor().long()
    below, beside = field - field.floor()  # of the way to the next pixel
    corners = []
    for down in (0, 1):
        for right in (0, 1):
            row, column = rows + down, columns + right
            weight = (below if down else 1 - below) * (beside if right else 1 - beside)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            corners.append((place.flatten(), torch.where(inside, weight, 0).flatten()))
    return corners


def _check_size(what: str, size: tuple[int, ...], expected: tuple[int, int]) -> None:
    if size != expected:
        raise InputError(f"{what} has {size[0]}×{size[1]} pixels but the measurement {expected[0]}×{expected[1]}")


# The kinds of parts, by their names in records.
PARTS: dict[str, type[Part]] = {kind.name: kind for kind in (Validity, Blur, Distortion)}
