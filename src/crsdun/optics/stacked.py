"""Several pictures of one scene as one measurement: exposures behind different masks, and a second camera.

Legend: C bands · H, W scene · K channels of a second camera · Hm, Wm the measurement, all pictures.

The pictures stand one below the other, and those that are narrower than the widest are continued by pixels without
light, which solvers leave out. Whatever takes a camera and its measurement takes these; networks, which were trained
for one exposure, refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crsdun.errors import InputError
from crsdun.optics.camera import LEAST_LIT, CassiCamera, Kept, check_is_picture
from crsdun.optics.values import as_values, exactly
from crsdun.optics.wavelengths import as_centres, check_same_bands


class View(Protocol):
    """One of the pictures: a ``CassiCamera`` or a ``SideCamera``; each member is as in the former."""

    @property
    def bands(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def measurement_shape(self) -> tuple[int, int]: ...
    @property
    def open_light(self) -> Tensor: ...
    @property
    def diagonal(self) -> Tensor: ...
    @property
    def tensors(self) -> list[Tensor]: ...
    def forward(self, cube: Tensor) -> Tensor: ...
    def adjoint(self, measurement: Tensor) -> Tensor: ...
    def variance(self, variances: Tensor) -> Tensor: ...
    def counted(self, measurement: Tensor) -> Tensor: ...
    def crop(self, top: int, left: int, height: int, width: int) -> View: ...
    def to(self, *args: Any, **kwargs: Any) -> View: ...
    def with_masks(self, change: Callable[[Tensor], Tensor]) -> View: ...
    def in_order(self, order: Sequence[int]) -> View: ...
    def over(self, unit: float) -> View: ...


class SideCamera:
    """A second camera that sees the scene itself, without a mask or a prism, pixel by pixel: grey, RGB, …. Immutable.

    Its K channels are one measurement, (K·H, W), one below the other.

    Args:
        response: (K,C), what each channel counts of a band at full reflectance; or (C,) of a single one.
        height, width: of the scene, on whose pixels its picture has been brought.

    Raises:
        InputError: the response has another shape, is negative or not finite.
    """

    def __init__(self, response: Tensor | np.ndarray | Sequence, height: int, width: int):
        values = as_values(response, "the response of a second camera")
        values = values if values.is_floating_point() else values.float()
        values = values[None] if values.ndim == 1 else values
        if values.ndim != 2 or not (values.is_meta or bool((values >= 0).all() and torch.isfinite(values).all())):
            raise InputError(
                f"the response of a second camera, of shape {tuple(values.shape)}, cannot be used",
                "expected finite numbers of 0 or more, (channels, bands)",
            )
        self.response, self.height, self.width = values, height, width

    @property
    def bands(self) -> int:
        return self.response.shape[1]

    @property
    def measurement_shape(self) -> tuple[int, int]:
        return len(self.response) * self.height, self.width

    def forward(self, cube: Tensor) -> Tensor:
        return self._seen(self.response, cube)

    def adjoint(self, measurement: Tensor) -> Tensor:
        channels = measurement.unflatten(-2, (len(self.response), self.height))
        return exactly(partial(torch.einsum, "kc,...khw->...chw"), self.response, channels)

    def variance(self, variances: Tensor) -> Tensor:
        return self._seen(self.response.square(), variances)

    @Kept
    def open_light(self) -> Tensor:
        return self.forward(self.response.new_ones(self.bands, self.height, self.width))

    @Kept
    def diagonal(self) -> Tensor:
        return self.variance(self.response.new_ones(self.bands, self.height, self.width))

    @property
    def tensors(self) -> list[Tensor]:
        return [self.response]

    def counted(self, measurement: Tensor) -> Tensor:
        return measurement

    def crop(self, top: int, left: int, height: int, width: int) -> SideCamera:
        return SideCamera(self.response, height, width)

    def to(self, *args: Any, **kwargs: Any) -> SideCamera:
        return SideCamera(self.response.to(*args, **kwargs), self.height, self.width)

    def with_masks(self, change: Callable[[Tensor], Tensor]) -> SideCamera:
        return self

    def in_order(self, order: Sequence[int]) -> SideCamera:
        return SideCamera(self.response[:, list(order)], self.height, self.width)

    def over(self, unit: float) -> SideCamera:
        return SideCamera(self.response / unit, self.height, self.width)

    def _seen(self, weights: Tensor, cube: Tensor) -> Tensor:
        return exactly(partial(torch.einsum, "kc,...chw->...khw"), weights, cube).flatten(-3, -2)


class StackedCamera(CassiCamera):
    """Cameras that look at one scene. Immutable.

    Args:
        first: gives the mask, the wavelengths and the dispersion that this camera tells.
        others: more exposures, behind other masks or with other dispersions, and second cameras.

    Attributes:
        views: all of them.

    Raises:
        InputError: they do not see the same bands, in the same order, and pixels.
    """

    def __init__(self, first: CassiCamera, *others: View):
        for other in others:
            sizes = [(view.bands, view.height, view.width) for view in (first, other)]
            if sizes[0] != sizes[1]:
                raise InputError(
                    "cameras of one scene see the same bands and pixels, but one sees {}×{}×{} and another "
                    "{}×{}×{}".format(*sizes[0], *sizes[1])
                )
            if isinstance(other, CassiCamera) and first.wavelengths and other.wavelengths:
                check_same_bands(
                    other.wavelengths,
                    first.wavelengths,
                    "cameras of one scene see the same bands in the same order, but one begins at "
                    f"{first.wavelengths[0]:g} nm and ends at {first.wavelengths[-1]:g} nm, and another at "
                    f"{other.wavelengths[0]:g} and {other.wavelengths[-1]:g} nm",
                    "camera.in_order(order) sorts the bands of a camera; or correct the wavelengths of one",
                )
        self.views: tuple[View, ...] = (first, *others)
        self.mask, self.bands, self.wavelengths = first.mask, first.bands, first.wavelengths
        self.offsets, self.moved, self.parts = first.offsets, first.moved, ()

    def __repr__(self) -> str:
        return f"StackedCamera({', '.join(map(repr, self.views))})"

    by_rows = False
    uncoupled = False

    @property
    def measurement_height(self) -> int:
        """Hm, rows of all pictures."""
        return sum(view.measurement_shape[0] for view in self.views)

    @property
    def measurement_width(self) -> int:
        """Wm, columns of the widest picture."""
        return max(view.measurement_shape[1] for view in self.views)

    def measurement(self, *pictures: Tensor | np.ndarray) -> Tensor:
        """The measurement (..., Hm, Wm) of pictures, one for each view.

        Args:
            pictures: (..., height, width) of each view; of a second camera also its channels (..., K, H, W).

        Raises:
            InputError: their number or sizes are others.
        """
        if len(pictures) != len(self.views):
            raise InputError(f"this camera takes {len(self.views)} pictures, not {len(pictures)}")
        flat = []
        for given, view in zip(pictures, self.views, strict=True):
            picture = as_values(given, "a picture", shared=True)
            if isinstance(view, SideCamera) and tuple(picture.shape[-3:]) == (
                len(view.response),
                view.height,
                view.width,
            ):
                picture = picture.flatten(-3, -2)
            if tuple(picture.shape[-2:]) != view.measurement_shape:
                raise InputError(
                    "a picture has {}×{} pixels, where its camera takes {}×{}".format(
                        *picture.shape[-2:], *view.measurement_shape
                    )
                )
            flat.append(picture)
        return self._stacked(flat)

    def forward(self, cube: Tensor) -> Tensor:
        """All pictures of a scene (..., C, H, W): (..., Hm, Wm)."""
        return self._stacked([view.forward(cube) for view in self.views])

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Aᵀ y, the sum of what all pictures send back: (..., Hm, Wm) → (..., C, H, W)."""
        self.check(measurement)
        return sum(
            view.adjoint(picture) for view, picture in zip(self.views, self.pictures(measurement), strict=True)
        )  # type: ignore[return-value]

    def variance(self, variances: Tensor) -> Tensor:
        """How independent errors of the voxels add up: (..., C, H, W) → (..., Hm, Wm)."""
        return self._stacked([view.variance(variances) for view in self.views])

    @Kept
    def lit(self) -> Tensor:
        """Where enough light arrives in its picture to be told from noise, bool (Hm, Wm)."""
        return self._stacked([view.open_light > LEAST_LIT * view.open_light.mean() for view in self.views])

    @Kept
    def diagonal(self) -> Tensor:
        """The diagonal of A Aᵀ, (Hm, Wm), 0 where no light arrives."""
        return self._stacked([view.diagonal for view in self.views])

    def pictures(self, measurement: Tensor) -> list[Tensor]:
        """The pictures in a measurement (..., Hm, Wm), which share its memory, one of each view."""
        sizes = [view.measurement_shape for view in self.views]
        parts = measurement.split([rows for rows, _ in sizes], -2)
        return [part[..., :width] for part, (_, width) in zip(parts, sizes, strict=True)]

    def counted(self, measurement: Tensor) -> Tensor:
        """A measurement with 0 in place of what pixels read that do not count."""
        pictures = zip(self.views, self.pictures(measurement), strict=True)
        return self._stacked([view.counted(picture) for view, picture in pictures])

    def check(self, measurement: Tensor | np.ndarray) -> None:
        """Raise an InputError unless the measurement is (..., Hm, Wm)."""
        check_is_picture(measurement)
        if tuple(measurement.shape[-2:]) != self.measurement_shape:
            raise InputError(
                "the measurement has {}×{} pixels, where {} pictures one below the other have {}×{}".format(
                    *measurement.shape[-2:], len(self.views), *self.measurement_shape
                ),
                "make it with camera.measurement(picture, picture, …)",
            )

    def crop(self, top: int, left: int, height: int, width: int) -> StackedCamera:
        """The cameras that would have taken only this part of the scene; errors as of one."""
        return self._of(view.crop(top, left, height, width) for view in self.views)

    def to(self, *args: Any, **kwargs: Any) -> StackedCamera:
        """The same cameras on another device or in another floating type (arguments of ``Tensor.to``)."""
        return self._of(view.to(*args, **kwargs) for view in self.views)

    def with_masks(self, change: Callable[[Tensor], Tensor]) -> StackedCamera:
        """The same optics with the mask of every exposure changed."""
        return self._of(view.with_masks(change) for view in self.views)

    def in_order(self, order: Sequence[int]) -> StackedCamera:
        """The same optics with the bands in another order, as of one."""
        camera = self._of([view.in_order(order) for view in self.views])
        camera.wavelengths = self.wavelengths and tuple(self.wavelengths[band] for band in order)
        return camera

    def with_wavelengths(self, wavelengths: Sequence[float]) -> StackedCamera:
        """The same with the centre of each band in nm, length C, known; errors as of one."""
        camera = self._of(self.views)
        camera.wavelengths = as_centres(wavelengths, self.bands)
        return camera

    def over(self, unit: float) -> StackedCamera:
        """The cameras that measure y / unit."""
        return self._of(view.over(unit) for view in self.views)

    @property
    def units(self) -> tuple[float, ...]:
        """The unit of each picture in which a white scene gives as much light as in the first one."""
        light = [float(view.open_light.mean()) for view in self.views]
        return tuple(each / light[0] if each * light[0] > 0 else 1.0 for each in light)

    def in_own_units(self) -> StackedCamera:
        """The cameras that measure each picture over its unit."""
        return self._of([view.over(unit) for view, unit in zip(self.views, self.units, strict=True)])

    @property
    def tensors(self) -> list[Tensor]:
        """All that it is made of besides numbers."""
        return [tensor for view in self.views for tensor in view.tensors]

    def with_mask(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are several."""
        raise InputError("there is one mask for each exposure", "change them one by one, and stack them anew")

    def through(self, *_: Any) -> NoReturn:
        """Refused: each view has its own parts."""
        raise InputError("each of several cameras has optics of its own", "give them to each, and stack them anew")

    def counting(self, valid: Tensor) -> NoReturn:
        """Refused for the same reason."""
        self.through(valid)

    def disperse(self, *_: Any, **__: Any) -> NoReturn:
        """Refused, as is ``gather``: there is more than one detector."""
        raise InputError(
            "this takes one exposure, and the camera has several pictures of the scene",
            "use a method without training, such as lr-tv, or one exposure alone",
        )

    gather = disperse

    def _of(self, views: Iterator[View] | Sequence[View]) -> StackedCamera:
        camera = StackedCamera(*views)
        if camera.bands == self.bands:
            camera.wavelengths = self.wavelengths
        return camera

    def _stacked(self, pictures: Sequence[Tensor]) -> Tensor:
        return torch.cat([F.pad(each, (0, self.measurement_width - each.shape[-1])) for each in pictures], -2)


def dual_disperser(
    mask: Tensor | np.ndarray, bands: int, step: int = 2, wavelengths: Sequence[float] | None = None
) -> CassiCamera:
    """A camera with a second prism behind the mask, which undoes what the first one before it did (DD-CASSI).

    Every band then arrives where it was, behind a part of the mask of its own: a mask for each band, no dispersion.

    Args:
        mask: (H, W + (bands − 1)·|step|), as wide as the dispersed scene.

    Raises:
        InputError: the mask is not wider than the dispersion, or as of ``CassiCamera``.

    Source: Gehm et al., "Single-shot compressive spectral imaging with a dual-disperser architecture", 2007.
    """
    values = as_values(mask, "the mask")
    width = values.shape[-1] - (bands - 1) * abs(step)
    if values.ndim != 2 or width < 1:
        raise InputError(
            f"a mask of shape {tuple(values.shape)} is too narrow for {bands} bands at step {step}",
            f"expected (height, width + {(bands - 1) * abs(step)})",
        )
    windows = CassiCamera(values.new_ones(len(values), width), bands, step=step).gather(values)
    return CassiCamera(windows.contiguous(), wavelengths=wavelengths, step=0)
