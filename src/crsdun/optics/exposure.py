"""One exposure: the camera for a scene and the noise of its detector. Every simulated measurement is made here."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from crsdun.budget import check_budget
from crsdun.errors import InputError
from crsdun.optics.camera import CassiCamera
from crsdun.optics.masks import RandomMask, for_bands, moved_mask
from crsdun.optics.noise import SensorNoise
from crsdun.optics.values import as_values
from crsdun.optics.wavelengths import band_order

# In pixels; a mask that lies further away is another one.
FURTHEST = 16


class SceneLike(Protocol):
    """What an exposure needs to know about a scene."""

    @property
    def cube(self) -> np.ndarray: ...
    @property
    def wavelengths(self) -> tuple[float, ...] | None: ...


@dataclass(frozen=True)
class Exposure:
    """How scenes are measured.

    Attributes:
        mask: coded aperture, (H,W) or (C,H,W), whose upper left part is used if it is larger than a scene; or a
            random one of the size of each scene.
        mask_wavelengths: of the bands of a (C,H,W) mask in nm, in its order, which need not be that of scenes; None
            where unknown.
        step: dispersion in pixels per band.
        offsets: displacement of each band in pixels instead of ``step``, as of ``CassiCamera``.
        calibrated: a camera that was measured, in place of mask, step and offsets, whose upper left part is used if
            it sees more than a scene; its bands ascend by wavelength, where it knows them.
        noise: of the detector.
        seed: of the noise.
        moved: by how many pixels, down and right, the mask has moved since it was calibrated: light passes through
            the moved one (``moved_mask``), and ``camera`` still has the other.
    """

    mask: np.ndarray | RandomMask = field(default_factory=RandomMask)
    step: float = 2
    offsets: tuple[float, ...] | tuple[tuple[float, float], ...] | None = None
    noise: SensorNoise = field(default_factory=SensorNoise)
    seed: int = 0
    moved: tuple[float, float] = (0.0, 0.0)
    calibrated: CassiCamera | None = None
    mask_wavelengths: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mask, str | os.PathLike):
            raise InputError(
                "an exposure takes the mask itself",
                "read the file with crsdun.scenes.read_mask(path); RandomMask(seed) is one of the size of each scene",
            )
        if not isinstance(self.mask, RandomMask | np.ndarray) or isinstance(self.mask, np.ma.MaskedArray):
            object.__setattr__(self, "mask", as_values(self.mask, "the mask").detach().cpu().numpy())
        if self.calibrated is not None:
            if not isinstance(self.mask, RandomMask) or self.step != 2 or self.offsets is not None:
                raise InputError("a calibrated camera already has its mask and its dispersion", "omit these")
            if band_order(self.calibrated.wavelengths) is not None:
                raise InputError(
                    "the bands of this camera do not ascend by wavelength, as those of scenes do",
                    "save it with its mask, offsets and wavelengths in ascending order",
                )
        if not isinstance(self.noise, SensorNoise):
            raise InputError(
                f"the noise of a detector is a SensorNoise, not {self.noise!r}",
                "crsdun.optics.SensorNoise(photons=500) is shot noise",
            )
        if not isinstance(self.seed, int | np.integer) or not 0 <= self.seed < 2**63:
            raise InputError(
                f"the seed of the noise must be a whole number, 0 or more and below 2⁶³, not {self.seed!r}"
            )
        if len(self.moved) != 2 or not all(abs(by) <= FURTHEST for by in self.moved):
            raise InputError(
                f"a mask moves by at most {FURTHEST} pixels, two numbers, down and right, not by {self.moved}"
            )

    def camera(self, scene: SceneLike) -> CassiCamera:
        """The camera for a scene; errors as ``camera_of_size``."""
        bands, height, width = scene.cube.shape
        return self.camera_of_size(height, width, bands, scene.wavelengths)

    def camera_of_size(
        self, height: int, width: int, bands: int, wavelengths: tuple[float, ...] | None = None
    ) -> CassiCamera:
        """The camera for scenes of height × width pixels.

        Raises:
            InputError: the mask is smaller, or calibrated for another number of bands, or others; or a calibrated
                camera has other wavelengths.
        """
        if self.calibrated is not None:
            return self._part_of(self.calibrated, height, width, bands, wavelengths)
        mask = self.mask.of_size(height, width) if isinstance(self.mask, RandomMask) else self.mask
        if mask.shape[-2] < height or mask.shape[-1] < width:
            raise InputError(
                f"the mask ({mask.shape[-2]}×{mask.shape[-1]}) is smaller than the scene ({height}×{width})",
                "crop the scene, or set <mask> to a larger one or to random:SEED",
            )
        mask = for_bands(mask[..., :height, :width], self.mask_wavelengths, wavelengths)
        return CassiCamera(mask, bands, wavelengths, self.step, self.offsets)

    def _part_of(
        self, camera: CassiCamera, height: int, width: int, bands: int, wavelengths: tuple[float, ...] | None
    ) -> CassiCamera:
        """The upper left part of a camera, on bands whose wavelengths it may not know."""
        if height > camera.height or width > camera.width:
            raise InputError(
                f"the camera sees {camera.height}×{camera.width} pixels, and the scene has {height}×{width}",
                "crop the scene to these",
            )
        known = camera.wavelengths
        if bands != camera.bands or (
            known and wavelengths and not np.allclose(known, wavelengths, rtol=0, atol=0.05)
        ):
            raise InputError(f"the camera has {camera.bands} bands of its own, and the scene {bands} others")
        part = camera
        if (height, width) != (camera.height, camera.width):
            part = camera.crop(0, 0, height, width)
        return part if known or wavelengths is None else part.with_wavelengths(wavelengths)

    def whole_camera(self, bands: int, wavelengths: tuple[float, ...] | None = None) -> CassiCamera:
        """The camera behind the whole mask, which must not be random (see ``sized``)."""
        if self.calibrated is not None:
            return self.camera_of_size(self.calibrated.height, self.calibrated.width, bands, wavelengths)
        assert not isinstance(self.mask, RandomMask)
        mask = for_bands(self.mask, self.mask_wavelengths, wavelengths)
        return CassiCamera(mask, bands, wavelengths, self.step, self.offsets)

    def measure(self, cube: np.ndarray | Tensor, camera: CassiCamera, seed: int | str | None = None) -> Tensor:
        """The exposure of a cube (C,H,W): (Hm,Wm), 0 or more, on the CPU.

        Voxels without data (NaN, or masked) send no light, and a pixel where those of a cube that was measured add up
        to less than 0 receives none.

        Args:
            camera: as returned by ``camera``, or a part of it.
            seed: of the noise: a number in place of the exposure's own seed, or the name of the scene, which is
                combined with it, so that the noise does not depend on what was measured before.

        Raises:
            InputError: so many bands, so far apart, need more memory than the budget.
        """
        check_budget(
            4 * camera.bands * camera.measurement_height * camera.measurement_width,
            f"an exposure of {camera.bands} bands, {camera.measurement_height}×{camera.measurement_width},",
            "take fewer bands or a smaller step",
        )
        camera = self._as_moved(camera)
        if isinstance(cube, np.ma.MaskedArray):
            cube = cube.filled(0)
        frame = camera.forward(fill_missing(as_values(cube, "the cube", shared=True))).clamp(min=0)
        if self.noise.silent:
            return frame
        if seed is None:
            seed = self.seed
        elif isinstance(seed, str):
            digest = hashlib.sha256(f"{self.seed} {seed}".encode()).digest()
            seed = int.from_bytes(digest[:7], "little")
        return self.noise(frame, camera.bands, torch.Generator().manual_seed(operator.index(seed)))

    def complete_pixels(self, valid: np.ndarray | None, camera: CassiCamera) -> np.ndarray | None:
        """Where the detector (Hm,Wm) received all of a scene's light, bool; None where it did everywhere.

        Args:
            valid: (C,H,W) bool, which voxels of the scene hold data; None if all do.
            camera: as returned by ``camera``, or a part of it.
        """
        if valid is None:
            return None
        lost: np.ndarray = self._as_moved(camera).forward(torch.from_numpy(~valid).float()).numpy()
        return lost == 0

    def _as_moved(self, camera: CassiCamera) -> CassiCamera:
        """The camera with the mask where light passes through it."""
        if not any(self.moved):
            return camera
        return camera.with_mask(torch.from_numpy(moved_mask(camera.mask.numpy(), *self.moved)))

    def sized(self, height: int, width: int) -> Exposure:
        """The same with a random mask fixed at this size, so that all crops see parts of one mask."""
        if self.calibrated is not None or not isinstance(self.mask, RandomMask):
            return self
        return replace(self, mask=self.mask.of_size(height, width))

    def described(self) -> dict[str, Any]:
        """Everything that decides what is measured, as plain JSON values; ``noise`` is empty if there is none."""
        camera = self.calibrated
        if camera is not None:
            mask = _hashed(camera.mask.cpu().numpy())
            dispersion = {"offsets": _plain(camera.offsets)} if camera.step is None else {"step": camera.step}
        else:
            mask = self.mask.described() if isinstance(self.mask, RandomMask) else _hashed(self.mask)
            dispersion = {"step": self.step} if self.offsets is None else {"offsets": _plain(self.offsets)}
        known = {} if self.mask_wavelengths is None else {"mask_wavelengths": list(self.mask_wavelengths)}
        parts = [f"{part.name} {_hashed(part.values.cpu().numpy())}" for part in camera.parts] if camera else []
        silent = asdict(SensorNoise())
        noise = {name: value for name, value in asdict(self.noise).items() if value != silent[name]}
        noise |= {"seed": self.seed} if noise else {}
        moved = {"moved": list(self.moved)} if any(self.moved) else {}
        return {"mask": mask, **known, **moved, **dispersion, **({"parts": parts} if parts else {}), "noise": noise}


def _plain(offsets: Sequence[float | tuple[float, float]]) -> list[float | list[float]]:
    """Displacements as JSON values."""
    return [list(move) if isinstance(move, tuple) else move for move in offsets]


def _hashed(values: np.ndarray) -> str:
    """The size and the hash of an array."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return f"{'×'.join(map(str, values.shape))}, SHA-256 {digest}"


def fill_missing(cube: Tensor) -> Tensor:
    """A cube with 0 in place of NaN; itself where there is none."""
    missing = cube.isnan()
    return cube.masked_fill(missing, 0) if bool(missing.any()) else cube
