"""What every method states about itself and returns: its card, its progress, and the one result type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from crsdun.errors import InputError
from crsdun.labelled import labelled
from crsdun.showing import Shown, size_in_words, spectrum_in_words

if TYPE_CHECKING:
    import xarray

    from crsdun.optics.camera import CassiCamera

# Called with (done, total); what it raises ends the computation.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClassCalibration:
    """What was found about a network's class maps on labelled scenes it has not learnt from (``methods.doubt``).

    Attributes:
        temperature: by which logits are divided before their softmax, so that confidences are probabilities.
        means, whiteners: of each class, where its pixels lie among all spectra and logits; packed arrays.
        chance, distance, doubt: quantiles of those pixels at ``methods.doubt.LEVELS``: of the log odds of being
            wrong, of the distance from the pixels of the class, and of the larger rank of both.
        made_from: the scenes, the exposure, the number of pixels, and the calibration error before and after.
    """

    temperature: float
    means: str
    whiteners: str
    chance: tuple[float, ...]
    distance: tuple[float, ...]
    doubt: tuple[float, ...]
    made_from: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """What is known about a trained network besides its layers; stored in the header of its weights file.

    Attributes:
        wavelengths: of the bands it was trained for, nm, length C.
        class_names: length N.
        step: dispersion, in pixels per band, of the camera it was trained for.
        steps: where it has learnt behind random cameras, the ranges of their steps, negative to the left; ``step`` is
            then only the one it was validated with.
        grids: where it has learnt any bands, the first and last wavelength of them, nm; ``wavelengths`` are then
            those of its data, which it knows as well.
        provenance: data, recipe, versions, licence … as plain JSON values.
        calibration: of its class maps; None if nobody has calibrated them.
    """

    wavelengths: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    step: float | None = None
    steps: tuple[tuple[float, float], ...] | None = None
    grids: tuple[float, float] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    calibration: ClassCalibration | None = None


@dataclass(frozen=True)
class Fit:
    """What a method knows about how well its cube explains a frame; all relative to the root mean square of y.

    Attributes:
        held_out: root mean square difference of detector pixels that the method had not used.
        noise: estimated standard deviation of the noise.
        rank: number of spectral components of the cube.
    """

    held_out: float
    noise: float
    rank: int


@dataclass(frozen=True, repr=False)
class Estimate(Shown):
    """Cubes and class logits of the stages, first to last.

    Attributes:
        cubes: one (B,C,H,W) per stage, reflectance usually 0..1 (not clipped).
        logits: one (B,N,H,W) for each of the last stages that segments; empty for a method that does not.
        fits: one for each frame of the batch; empty for a method that does not hold out detector pixels.
        camera: as the method found it, where that is not the one it was told; else None.
        wavelengths: of the bands of its cubes in nm, in their order, length C; None where nobody has told.
    """

    cubes: list[Tensor]
    logits: list[Tensor] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    camera: CassiCamera | None = None
    wavelengths: tuple[float, ...] | None = None

    def _outline(self) -> list[str]:
        count, *shape = self.cube.shape
        frames = "" if count == 1 else f"{count} frames"
        stages = "" if len(self.cubes) == 1 else f"{len(self.cubes)} stages"
        classes = f"{self.logits[-1].shape[1]} classes" if self.logits else ""
        return [frames, size_in_words(shape), spectrum_in_words(self.wavelengths), stages, classes]

    @property
    def cube(self) -> Tensor:
        """The final cube: x of the last stage, (B,C,H,W)."""
        return self.cubes[-1]

    @property
    def classes(self) -> Tensor:
        """The final class map: the most probable class of each pixel in the last stage, (B,H,W) int64.

        Raises:
            InputError: the method does not segment.
        """
        if not self.logits:
            raise InputError("this method reconstructs a cube but has no class map")
        return self.logits[-1].argmax(1)

    @property
    def stages(self) -> list[tuple[Tensor, Tensor | None]]:
        """(x, θ) of every stage, θ None if the stage does not segment: two-stage systems segment only in the last."""
        without: list[Tensor | None] = [None] * (len(self.cubes) - len(self.logits))
        return list(zip(self.cubes, [*without, *self.logits], strict=True))

    @property
    def is_finite(self) -> bool:
        """Whether no cube and no logits of any stage hold NaN or infinity."""
        return all(bool(values.isfinite().all()) for values in (*self.cubes, *self.logits))

    def frames(self) -> list[Estimate]:
        """The estimate of each frame of the batch, as a batch of one."""
        parts = [slice(index, index + 1) for index in range(len(self.cube))]
        return [
            replace(
                self, cubes=[x[part] for x in self.cubes], logits=[o[part] for o in self.logits], fits=self.fits[part]
            )
            for part in parts
        ]

    def in_order(self, order: Sequence[int]) -> Estimate:
        """The estimate with its bands, and those of its camera, in another order (``CassiCamera.in_order``)."""
        return replace(
            self,
            cubes=[x[:, order] for x in self.cubes],
            camera=self.camera and self.camera.in_order(order),
            wavelengths=self.wavelengths and tuple(self.wavelengths[band] for band in order),
        )

    def last_stage(self) -> Estimate:
        """The last stage alone."""
        return replace(self, cubes=self.cubes[-1:], logits=self.logits[-1:])

    def to_xarray(self) -> xarray.Dataset:
        """The last stage with names on its axes, on the CPU, without a copy where it is there already.

        ``cube`` (batch, y, x, wavelength), and where the method segments ``classes`` (batch, y, x).

        Raises:
            InputError: xarray is not installed.
        """
        cube = self.cube.detach().cpu().movedim(1, -1).numpy()
        variables: dict[str, Any] = {"cube": (("batch", "y", "x", "wavelength"), cube)}
        if self.logits:
            variables["classes"] = (("batch", "y", "x"), self.classes.cpu().numpy())
        return labelled(variables, self.wavelengths, {})
